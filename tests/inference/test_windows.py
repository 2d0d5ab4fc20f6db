"""What the network is shown of a track, and what is kept of its answers."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audiform.inference.windows import WindowPlan, plan_windows
from audiform.protocols import CentreCrop, OverlapAdd
from tests.models_for_tests import ShareModel


def windows_of(plan: WindowPlan, num_samples: int) -> list:
    found = []
    while (window := plan.window(len(found), num_samples)) is not None:
        found.append(window)
    return found


def plan_of(join, *, half: bool, segment: int = 100, **options) -> WindowPlan:
    plan = plan_windows(ShareModel(segment_samples=segment, join=join, **options))
    return plan.half_shifted() if half else plan


@pytest.mark.parametrize(
    ("join", "half"),
    [(CentreCrop(20, 10), False), (CentreCrop(20, 10), True), (OverlapAdd(0.25), True)],
)
@pytest.mark.parametrize("fixed", [True, False])
@given(num_samples=st.integers(1, 700))
@settings(max_examples=60, deadline=None)
def test_no_input_holds_zeros_that_music_could_replace(join, half, fixed, num_samples) -> None:
    for window in windows_of(plan_of(join, half=half, fixed_segment=fixed), num_samples):
        length = window.input_stop - window.input_start
        if num_samples >= length:
            assert window.input_start >= 0 and window.input_stop <= num_samples
        else:
            assert window.input_start <= 0 and window.input_stop >= num_samples


@given(
    half=st.booleans(), num_samples=st.integers(1, 700), context=st.integers(0, 40),
    segment=st.integers(1, 200),
)  # fmt: skip
@settings(max_examples=100, deadline=None)
def test_what_is_kept_has_its_context_or_an_end_of_the_track(
    half, num_samples, context, segment
) -> None:
    plan = plan_of(CentreCrop(context, 0), half=half, segment=segment)
    kept = 0
    for window in windows_of(plan, num_samples):
        assert window.start == kept
        assert window.input_start <= max(0, window.start - context)
        assert window.input_stop >= min(num_samples, window.stop + context)
        kept = window.stop
    assert kept == num_samples


def test_borders_of_the_shifted_pass_lie_between_the_others() -> None:
    plan = plan_of(CentreCrop(20, 0), half=False)
    assert [window.start for window in windows_of(plan, 260)] == [0, 100, 200]
    assert [window.start for window in windows_of(plan.half_shifted(), 260)] == [0, 50, 150, 250]


@given(
    join=st.one_of(
        st.builds(OverlapAdd, st.floats(0, 0.9)),
        st.builds(CentreCrop, st.integers(0, 40), st.integers(0, 60)),
    ),
    half=st.booleans(),
    known=st.integers(0, 600),
    more=st.integers(0, 300),
    extra=st.integers(0, 30),
)
@settings(max_examples=100, deadline=None)
def test_a_window_that_is_run_early_is_that_of_the_whole_track(
    join, half, known, more, extra
) -> None:
    plan = plan_of(join, half=half, extra_input=extra)
    index = 0
    while (window := plan.window_so_far(index, known)) is not None:
        assert window == plan.window(index, known + more)
        assert max(window.stop, window.input_stop) <= known
        index += 1
    assert plan.window_so_far(index + 1, known) is None
    assert index >= (known - plan.history_samples - 100) // plan.stride


def test_without_a_shift_overlapping_segments_lie_amid_zeros_at_the_end_as_in_demucs() -> None:
    last = windows_of(plan_of(OverlapAdd(0.25), half=False, fixed_segment=True), 170)[-1]
    assert (last.start, last.stop) == (150, 170)
    assert (last.input_start, last.input_stop) == (110, 210)
