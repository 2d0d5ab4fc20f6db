"""The engine: overlap-add of known models, for any length, segment, overlap and block size."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audiform.dsp.level import Normalisation
from audiform.errors import Cancelled, ConfigError, DeviceError
from audiform.inference.engine import SegmentRunner, SegmentStream
from audiform.inference.ensemble import StreamMean, shift_delays
from audiform.inference.windows import plan_windows
from audiform.protocols import CentreCrop, OverlapAdd
from tests.models_for_tests import SHARES, ShareModel, tiny_htdemucs

CPU = torch.device("cpu")
joins = st.one_of(
    st.builds(OverlapAdd, st.floats(0, 0.9)),
    st.builds(CentreCrop, st.integers(0, 40), st.integers(0, 60)),
)


def run(
    model, audio, *, blocks=None, normalisation=None, batch_size=1, workers=1, half=False, **options
):
    plan = plan_windows(model, **options)
    plan = plan.half_shifted() if half else plan
    runner = SegmentRunner(model, device=CPU, batch_size=batch_size, num_workers=workers)
    stream = SegmentStream(runner, plan, normalisation=normalisation or Normalisation())
    pieces = audio.split(blocks or audio.shape[-1], dim=-1)
    outputs = [stream.push(piece) for piece in pieces]
    return torch.cat([*outputs, stream.finish()], dim=-1)


def expected_shares(audio):
    return torch.stack([share * audio for share in SHARES])


@settings(max_examples=60, deadline=None)
@given(joins, st.integers(1, 900), st.integers(2, 300), st.integers(1, 400), st.integers(1, 5),
       st.integers(0, 50), st.booleans(), st.booleans())  # fmt: skip
def test_shares_come_back_exactly(join, length, segment, block, batch, extra, fixed, half) -> None:
    audio = torch.randn(2, length)
    model = ShareModel(segment_samples=segment, join=join, extra_input=extra, fixed_segment=fixed)
    found = run(model, audio, blocks=block, batch_size=batch, half=half)
    torch.testing.assert_close(found, expected_shares(audio), atol=1e-5, rtol=1e-5)


@settings(max_examples=40, deadline=None)
@given(joins, st.booleans(), st.integers(1, 900), st.integers(1, 300), st.integers(1, 7),
       st.integers(1, 3))  # fmt: skip
def test_blocks_batches_and_workers_do_not_change_the_result(
    join, half, length, block, batch, workers
) -> None:
    audio = torch.randn(2, length)
    model = ShareModel(segment_samples=200, context=9, join=join)
    whole = run(model, audio, half=half)
    pieces = run(model, audio, blocks=block, batch_size=batch, workers=workers, half=half)
    torch.testing.assert_close(pieces, whole, atol=1e-6, rtol=1e-5)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 2000), st.integers(0, 40))
def test_a_crop_with_enough_context_has_no_borders(length, fade) -> None:
    audio = torch.randn(2, length)
    join = CentreCrop(context_samples=30, fade_samples=fade)
    model = ShareModel(segment_samples=200, join=join, context=9)
    unbroken = run(ShareModel(segment_samples=10_000, context=9), audio)
    torch.testing.assert_close(run(model, audio), unbroken, atol=1e-5, rtol=1e-5)


def test_a_crop_without_context_has_borders() -> None:
    audio = torch.randn(2, 1000)
    model = ShareModel(segment_samples=200, join=CentreCrop(0, 0), context=9)
    unbroken = run(ShareModel(segment_samples=10_000, context=9), audio)
    assert not torch.allclose(run(model, audio), unbroken, atol=1e-3)


def test_what_is_final_is_handed_out_early() -> None:
    model = ShareModel(segment_samples=100, join=OverlapAdd(0.25))
    stream = SegmentStream(
        SegmentRunner(model, device=CPU), plan_windows(model), normalisation=Normalisation()
    )
    handed_out = 0
    for _ in range(50):
        handed_out += stream.push(torch.randn(2, 100)).shape[-1]
    assert handed_out > 50 * 100 - 200
    assert stream._input.shape[-1] < 500 and stream._total.shape[-1] < 500


def test_the_level_is_taken_out_and_put_back() -> None:
    audio = torch.randn(2, 500) + 3
    seen = []

    class Watching(ShareModel):
        def analyse(self, mixture):
            seen.append(mixture.clone())
            return super().analyse(mixture)

    level = Normalisation(offset=3.0, scale=2.0)
    model = Watching(segment_samples=500, join=OverlapAdd(0))
    found = run(model, audio, normalisation=level)
    torch.testing.assert_close(seen[0][0], (audio - 3) / 2)
    torch.testing.assert_close(found, expected_shares(audio - 3), atol=1e-5, rtol=1e-5)


def test_the_offset_is_restored_on_demand() -> None:
    audio = torch.randn(2, 300) + 3
    model = ShareModel(segment_samples=100)
    stream = SegmentStream(
        SegmentRunner(model, device=CPU),
        plan_windows(model),
        normalisation=Normalisation(offset=3.0, scale=1.0),
        restore_offset=True,
    )
    found = torch.cat([stream.push(audio), stream.finish()], dim=-1)
    torch.testing.assert_close(found, expected_shares(audio - 3) + 3, atol=1e-5, rtol=1e-5)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 300), min_size=1, max_size=3), st.integers(1, 700))
def test_shifts_and_members_average_without_moving_anything(delays, length) -> None:
    audio = torch.randn(2, length)
    model = ShareModel(segment_samples=100)
    streams = [
        SegmentStream(
            SegmentRunner(model, device=CPU),
            plan_windows(model),
            normalisation=Normalisation(),
            delay_samples=delay,
        )
        for delay in delays
    ]
    mean = StreamMean(streams, [[1.0] * 4] * len(delays))
    found = torch.cat([*(mean.push(part) for part in audio.split(64, -1)), mean.finish()], dim=-1)
    torch.testing.assert_close(found, expected_shares(audio), atol=1e-5, rtol=1e-5)


def test_members_count_by_their_weights_per_source() -> None:
    audio = torch.randn(2, 300)
    one, two = (
        ShareModel(segment_samples=100, shares=shares) for shares in ((1.0, 1.0), (3.0, 5.0))
    )
    streams = [
        SegmentStream(
            SegmentRunner(model, device=CPU), plan_windows(model), normalisation=Normalisation()
        )
        for model in (one, two)
    ]
    mean = StreamMean(streams, [[1.0, 0.0], [1.0, 2.0]])
    found = torch.cat([mean.push(audio), mean.finish()], dim=-1)
    torch.testing.assert_close(found[0], 2 * audio)
    torch.testing.assert_close(found[1], 5 * audio)


def test_delays_are_drawn_from_the_seed_alone() -> None:
    first = shift_delays(5, sample_rate=44100, seed=3)
    torch.manual_seed(17)
    assert shift_delays(5, sample_rate=44100, seed=3) == first
    assert shift_delays(5, sample_rate=44100, seed=4) != first
    assert all(0 <= delay <= 22050 for delay in first)
    assert shift_delays(0, sample_rate=44100, seed=3) == [0]
    with pytest.raises(ConfigError, match="0 or more"):
        shift_delays(-1, sample_rate=44100, seed=3)


class ShortOfMemory(ShareModel):
    """Takes at most ``fits`` segments at once."""

    fits = 2

    def core(self, *inputs):
        if len(inputs[0]) > self.fits:
            raise torch.OutOfMemoryError("no room")
        return super().core(*inputs)


def test_batches_are_halved_when_memory_is_short() -> None:
    audio = torch.randn(2, 3000)
    model = ShortOfMemory(segment_samples=100)
    runner = SegmentRunner(model, device=CPU, batch_size=8)
    stream = SegmentStream(runner, plan_windows(model), normalisation=Normalisation())
    found = torch.cat([stream.push(audio), stream.finish()], dim=-1)
    torch.testing.assert_close(found, expected_shares(audio), atol=1e-5, rtol=1e-5)
    assert runner.batch_size == 2
    assert max(model.calls) == 2


def test_a_segment_that_never_fits_says_what_to_do() -> None:
    model = ShortOfMemory(segment_samples=100)
    model.fits = 0
    with pytest.raises(DeviceError, match="shorter --segment"):
        run(model, torch.randn(2, 300), batch_size=4)


def test_a_segment_longer_than_the_training_is_refused_where_that_matters() -> None:
    model = ShareModel(segment_samples=100, fixed_segment=True)
    with pytest.raises(ConfigError, match="cannot take more"):
        plan_windows(model, segment_samples=101)
    assert len(plan_windows(model, segment_samples=60).weights) == 60
    assert len(plan_windows(ShareModel(segment_samples=100), segment_samples=400).weights) == 400


@pytest.mark.parametrize("overlap", [-0.1, 1.0, 2.0])
def test_overlaps_out_of_range_are_refused(overlap) -> None:
    with pytest.raises(ConfigError, match="overlap"):
        plan_windows(ShareModel(), overlap=overlap)


def test_a_real_network_gives_the_same_in_pieces() -> None:
    model = tiny_htdemucs()
    audio = 0.1 * torch.randn(2, 3 * model.spec.segment_samples + 77)
    whole = run(model, audio)
    pieces = run(model, audio, blocks=5000, batch_size=3)
    torch.testing.assert_close(pieces, whole, atol=2e-6 * whole.abs().max().item(), rtol=0)


def test_cancelling_from_the_callback_reaches_the_caller(tmp_path) -> None:
    from audiform.audio import Audio
    from audiform.inference.separator import Separator

    def stop(done, total):
        raise Cancelled("enough")

    with pytest.raises(Cancelled):
        Separator(ShareModel()).separate(Audio(torch.randn(2, 9000), 44100), on_progress=stop)
