"""What every separator promises. A new one in ``MODELS`` needs a tiny configuration here."""

import inspect
import json
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

from audiform.models import MODELS
from audiform.models.band_split import BandSplitConfig
from audiform.protocols import SeparationModel
from tests.models_for_tests import (
    TINY_BAND_SPLIT,
    TINY_DEMUCS,
    TINY_FRAME_PRIMER,
    TINY_FRAME_TRANSFORMER,
    TINY_HDEMUCS,
    TINY_HTDEMUCS,
)

TINY = {
    "band-split": TINY_BAND_SPLIT,
    "demucs": TINY_DEMUCS,
    "frame-primer": TINY_FRAME_PRIMER,
    "frame-transformer": TINY_FRAME_TRANSFORMER,
    "hdemucs": TINY_HDEMUCS,
    "htdemucs": TINY_HTDEMUCS,
}
KEYS = Path(__file__).parent / "state_keys.json"
#: A key's bias shifts all scores of a query alike, which the softmax takes out again.
ZERO_BY_CONSTRUCTION = {"query_key_value.bias": "the middle third: the bias of the keys"}
#: The same in local attention, where the keys have a layer of their own: rounding is left.
ONLY_ROUNDING = ".key.bias"

SEPARATORS = {name: entry for name, entry in MODELS.items() if not entry.is_effect}

every_model = pytest.mark.parametrize("name", SEPARATORS)


def build(name: str) -> torch.nn.Module:
    torch.manual_seed(0)
    network = MODELS[name].network(TINY[name])
    with torch.no_grad():  # no gain near zero, so that every part counts
        for parameter in network.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
    return network.eval()


def music(length: int, *, batch: int = 1, channels: int = 2) -> torch.Tensor:
    return 0.1 * torch.randn(batch, channels, length, generator=torch.Generator().manual_seed(1))


def test_every_model_has_a_tiny_configuration_here() -> None:
    assert set(TINY) == set(SEPARATORS)
    for name, entry in SEPARATORS.items():
        assert isinstance(TINY[name], entry.config)


@every_model
def test_its_constructor_takes_a_configuration_and_nothing_else(name) -> None:
    parameters = inspect.signature(MODELS[name].network).parameters
    assert list(parameters) == ["config"]


@every_model
def test_it_is_what_the_engine_expects(name) -> None:
    network = build(name)
    assert isinstance(network, SeparationModel)
    assert network.spec.sources == network.config.sources
    assert network.spec.segment_samples > 0


@every_model
@pytest.mark.parametrize("offset", [0, -1, -333])
def test_the_length_is_kept(name, offset) -> None:
    network = build(name)
    length = network.spec.segment_samples + offset
    with torch.inference_mode():
        stems = network(music(length))
    assert stems.shape == (1, len(network.spec.sources), 2, length)


@every_model
def test_a_batch_of_two_is_two_of_one(name) -> None:
    network = build(name)
    mixture = music(network.spec.segment_samples, batch=2)
    with torch.inference_mode():
        both = network(mixture)
        alone = torch.cat([network(mixture[:1]), network(mixture[1:])])
    torch.testing.assert_close(both, alone, atol=1e-5 * alone.abs().max().item(), rtol=0)


@every_model
def test_evaluation_repeats_exactly_and_leaves_the_input_alone(name) -> None:
    network = build(name)
    mixture = music(network.spec.segment_samples)
    before = mixture.clone()
    with torch.inference_mode():
        assert torch.equal(network(mixture), network(mixture))
    assert torch.equal(mixture, before)


@every_model
def test_silence_gives_something_finite(name) -> None:
    network = build(name)
    with torch.inference_mode():
        stems = network(torch.zeros(1, 2, network.spec.segment_samples))
    assert torch.isfinite(stems).all()


@every_model
def test_the_three_steps_are_the_whole(name) -> None:
    network = build(name)
    mixture = music(network.spec.segment_samples)
    with torch.inference_mode():
        analysis = network.analyse(mixture)
        assert all(tensor.dtype == torch.float32 for tensor in analysis.inputs)
        stems = network.synthesise(network.core(*analysis.inputs), analysis)
        torch.testing.assert_close(stems, network(mixture), atol=0, rtol=0)


@every_model
def test_the_configuration_survives_json(name) -> None:
    config = TINY[name]
    again = type(config).model_validate(json.loads(config.model_dump_json()))
    assert again == config
    with pytest.raises(ValidationError):
        type(config).model_validate({"no_such_option": 1})


@every_model
def test_state_keys_are_frozen(name) -> None:
    """Renaming a parameter makes every checkpoint out there unreadable."""
    found = {key: list(value.shape) for key, value in build(name).state_dict().items()}
    assert found == json.loads(KEYS.read_text())[name]


@every_model
def test_every_parameter_learns(name) -> None:
    network = build(name).train()
    stems = network(music(network.spec.segment_samples, batch=2))
    weights = torch.randn(stems.shape, generator=torch.Generator().manual_seed(2))
    (stems * weights).sum().backward()
    for key, parameter in network.named_parameters():
        assert parameter.grad is not None, key
        gradient = parameter.grad
        if any(key.endswith(part) for part in ZERO_BY_CONSTRUCTION):
            gradient = gradient.chunk(3)[0]
        if key.endswith(ONLY_ROUNDING):
            continue
        assert gradient.abs().max() > 0, key


def test_a_depth_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValidationError, match="lower depth or raise n_fft"):
        type(TINY_HTDEMUCS)(n_fft=256)
    with pytest.raises(ValidationError, match="heads"):
        type(TINY_HTDEMUCS)(transformer_heads=7)
    with pytest.raises(ValidationError, match="twice stride"):
        type(TINY_HTDEMUCS)(kernel_size=4)


def test_sources_are_free() -> None:
    config = TINY_HTDEMUCS.model_copy(update={"sources": ("speech", "noise", "music")})
    with torch.inference_mode():
        assert MODELS["htdemucs"].network(config).eval()(music(22050)).shape[1] == 3
    assert BandSplitConfig().sources == ("drums", "bass", "other", "vocals")
