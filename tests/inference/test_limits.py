"""Quality and memory: what the names stand for, what is refused before a run."""

import pytest
import torch

from audiform.cli.separate import QualityName
from audiform.dsp.level import Normalisation
from audiform.errors import ConfigError, DeviceError
from audiform.inference import memory
from audiform.inference.engine import SegmentRunner
from audiform.inference.quality import QUALITIES
from audiform.inference.separator import Separator
from audiform.inference.windows import plan_windows
from audiform.protocols import CentreCrop
from tests.models_for_tests import ShareModel

CPU = torch.device("cpu")


def plan_of(separator: Separator):
    return separator._member(0).plan


def passes_of(separator: Separator) -> int:
    return len(separator._open_stream(Normalisation())._streams)


def test_the_command_line_offers_all_of_them() -> None:
    assert [name.value for name in QualityName] == list(QUALITIES)


@pytest.mark.parametrize(
    ("quality", "stride", "passes"),
    [(None, 750, 1), ("fast", 900, 1), ("balanced", 750, 1), ("best", 750, 2)],
)
def test_what_a_quality_stands_for(quality, stride, passes) -> None:
    separator = Separator(ShareModel(segment_samples=1000), quality=quality)
    assert (plan_of(separator).stride, passes_of(separator)) == (stride, passes)


def test_an_option_goes_before_the_quality() -> None:
    model = ShareModel(segment_samples=1000)
    separator = Separator(model, quality="fast", overlap=0.5, shifts=3)
    assert (plan_of(separator).stride, passes_of(separator)) == (500, 3)


def test_less_context_where_segments_are_cropped() -> None:
    model = ShareModel(segment_samples=1000, join=CentreCrop(context_samples=100, fade_samples=10))
    assert plan_windows(model).history_samples == 1200
    assert plan_windows(model, join_share=0.4).history_samples == 1080


def test_a_quality_that_does_not_exist() -> None:
    with pytest.raises(ConfigError, match="use fast, balanced, best"):
        Separator(ShareModel(segment_samples=100), quality="superb")


def test_too_little_memory_is_an_error_before_the_run() -> None:
    with pytest.raises(DeviceError, match=r"one segment of 0\.0 s takes \d+ MB .* --max-memory"):
        Separator(ShareModel(segment_samples=1000), max_memory_mb=10)


def test_as_many_at_once_as_fit(monkeypatch) -> None:
    """Before 100 MB, 150 with one segment, next to nothing for the track: 50 for each more."""
    monkeypatch.setattr(memory, "_peak_of_one_segment", lambda *_: (100.0, 150.0))
    sizes = {}
    for limit in (151, 201, 260, 1000):
        runner = SegmentRunner(
            ShareModel(segment_samples=1000), device=CPU, batch_size=2, num_workers=2
        )
        memory.fit_into(limit, runner, segment_samples=1000)
        sizes[limit] = (runner.num_workers, runner.batch_size)
    assert sizes == {151: (1, 1), 201: (2, 1), 260: (2, 1), 1000: (2, 2)}


def test_batches_of_a_gpu_fit_its_free_memory(monkeypatch) -> None:
    runner = SegmentRunner(ShareModel(segment_samples=1000), device=CPU)
    for name, value in {
        "reset_peak_memory_stats": lambda _: None,
        "memory_allocated": lambda _: 1000,
        "max_memory_allocated": lambda _: 3000,
        "mem_get_info": lambda _: (20_000, 50_000),
    }.items():
        monkeypatch.setattr(memory.torch.cuda, name, value)
    assert memory.gpu_batch_size(runner, segment_samples=1000) == 8  # 0.8 x 20000 / 2000


def test_the_peak_is_that_of_the_process() -> None:
    before = memory.peak_mb()
    held = torch.ones(64 * 2**20 // 4)
    assert memory.peak_mb() >= before
    assert memory.peak_mb() > held.nbytes / 2**20
