"""Ways of sharing weights out that do not work are refused before anything is moved."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from accelerate.utils import DistributedType

from audiform.errors import ConfigError
from audiform.training.config import TrainingConfig
from audiform.training.parallel import check_sharding, new_accelerator
from audiform.training.quantise import QuantiserConfig
from audiform.training.regularizers import SingularValueConfig

CONFIG = TrainingConfig(max_steps=1)


def accelerator(kind, *, is_fsdp2=False):
    return SimpleNamespace(distributed_type=kind, is_fsdp2=is_fsdp2)


@pytest.mark.parametrize("kind", ["NO", "MULTI_CPU", "MULTI_GPU"])
def test_one_device_and_ddp_go(kind):
    check_sharding(accelerator(DistributedType(kind)), CONFIG)


def test_fsdp_goes_in_its_second_version_alone():
    check_sharding(accelerator(DistributedType.FSDP, is_fsdp2=True), CONFIG)
    with pytest.raises(ConfigError, match="fsdp_version: 2"):
        check_sharding(accelerator(DistributedType.FSDP), CONFIG)


@pytest.mark.parametrize(
    "changed", [{"quantiser": QuantiserConfig()}, {"singular_values": SingularValueConfig()}]
)
def test_fsdp_and_what_needs_all_weights_do_not_go_together(changed):
    with pytest.raises(ConfigError, match=f"{next(iter(changed))} needs each process"):
        check_sharding(
            accelerator(DistributedType.FSDP, is_fsdp2=True), CONFIG.model_copy(update=changed)
        )


def test_other_launchers_are_refused():
    with pytest.raises(ConfigError, match="alone, with DDP or with FSDP"):
        check_sharding(accelerator(DistributedType.DEEPSPEED), CONFIG)


def test_float16_wants_a_gpu(monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    with pytest.raises(ConfigError, match="trains on a GPU only"):
        new_accelerator(CONFIG.model_copy(update={"precision": "float16"}))
    assert new_accelerator(CONFIG).mixed_precision == "no"
