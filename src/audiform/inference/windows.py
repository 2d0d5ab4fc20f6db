"""Where segments begin and end, and how much each counts where they meet.

Pure arithmetic: no audio here. A track of unknown length is planned window by window; the
last ones need the length.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from audiform.errors import ConfigError
from audiform.protocols import CentreCrop, OverlapAdd, SeparationModel


@dataclass(frozen=True)
class Window:
    """One segment of a track, in samples of the model's rate.

    The result is kept for [start, stop), weighted from ``weight_start`` on; the network sees
    [input_start, input_stop), zeros where that reaches beyond the track.
    """

    start: int
    stop: int
    input_start: int
    input_stop: int
    weight_start: int


@dataclass(frozen=True)
class WindowPlan:
    """How a track is cut for a model.

    Window k covers [k stride - shift - lead, k stride - shift - lead + len(weights)); windows go
    on as long as k stride - shift lies inside the track. ``input_samples`` says how much the
    network is fed for a window of some length; what it is fed in excess is real context around
    the window. With ``whole_inputs`` it is fed as much for a window that an end of the track
    cuts short, and stays inside a track that is long enough: no zeros in place of music.
    Without, such a window lies amid zeros (Demucs).
    """

    stride: int
    lead: int
    whole_inputs: bool
    weights: Float[Tensor, " window"]
    input_samples: Callable[[int], int]
    shift: int = 0

    @property
    def history_samples(self) -> int:
        """How far before its start a window can reach for context."""
        return self.input_samples(len(self.weights))

    def shifted(self, samples: int) -> WindowPlan:
        """Return the plan whose borders lie so much earlier, all inputs whole."""
        return replace(self, shift=samples % self.stride, whole_inputs=True)

    def half_shifted(self) -> WindowPlan:
        """Return the plan whose borders lie in the middle between those of this one."""
        return self.shifted(self.stride // 2)

    def window(self, index: int, num_samples: int) -> Window | None:
        """Return window ``index`` of a track of ``num_samples``, None when there is none."""
        if index * self.stride - self.shift >= num_samples:
            return None
        nominal = self._nominal_start(index)
        start = max(0, nominal)
        stop = min(num_samples, nominal + len(self.weights))
        if self.whole_inputs:
            fed = self.input_samples(min(len(self.weights), num_samples))
            # a track that is shorter than the input lies in it as a whole
            earliest, latest = sorted((0, num_samples - fed))
            input_start = min(max(self._context_start(nominal), earliest), latest)
        else:
            fed = self.input_samples(stop - start)
            input_start = start - (fed - (stop - start)) // 2
        return Window(start, stop, input_start, input_start + fed, start - nominal)

    def window_so_far(self, index: int, known_samples: int) -> Window | None:
        """Return window ``index`` if it is the same however a track of which so much is known
        goes on, None otherwise.
        """
        nominal = self._nominal_start(index)
        input_stop = max(0, self._context_start(nominal)) + self.history_samples
        if max(input_stop, nominal + len(self.weights)) > known_samples:
            return None
        return self.window(index, known_samples)

    def final_before(self, index: int) -> int:
        """Return the first sample that window ``index`` and later ones may still change."""
        return max(0, self._nominal_start(index))

    def _nominal_start(self, index: int) -> int:
        """Return where a window would begin if the track did not."""
        return index * self.stride - self.shift - self.lead

    def _context_start(self, nominal: int) -> int:
        """Return where the input of a window begins that no end of the track cuts short."""
        return nominal - (self.history_samples - len(self.weights)) // 2


def plan_windows(
    model: SeparationModel,
    *,
    segment_samples: int | None = None,
    overlap: float | None = None,
    join_share: float = 1.0,
) -> WindowPlan:
    """Plan windows for ``model``, with its own segment and join unless told otherwise.

    ``overlap`` (a share of the segment, in [0, 1)) replaces the join of any model by weighted
    overlap-add. Without it ``join_share`` in (0, 1] is how much of the model's own overlap or
    context is used. Raises :class:`ConfigError` for a segment that the model cannot take, or an
    overlap out of range.
    """
    spec = model.spec
    segment = spec.segment_samples if segment_samples is None else segment_samples
    if segment < 1:
        raise ConfigError("a segment must be longer than 0 s; leave --segment out, or raise it")
    if spec.fixed_segment and segment > spec.segment_samples:
        raise ConfigError(
            f"a segment of {segment / spec.sample_rate:g} s was asked for, but the model was "
            f"trained on {spec.segment_samples / spec.sample_rate:g} s and cannot take more; "
            "choose a shorter one or leave it out"
        )
    join = _lessened(spec.join, join_share) if overlap is None else OverlapAdd(overlap)
    if isinstance(join, OverlapAdd):
        return _overlap_add(model, join, segment)
    return _centre_crop(join, segment)


def _lessened(join: OverlapAdd | CentreCrop, share: float) -> OverlapAdd | CentreCrop:
    if isinstance(join, OverlapAdd):
        return OverlapAdd(share * join.overlap)
    return CentreCrop(round(share * join.context_samples), join.fade_samples)


def _overlap_add(model: SeparationModel, join: OverlapAdd, segment: int) -> WindowPlan:
    if not 0 <= join.overlap < 1:
        raise ConfigError(
            f"overlap must be at least 0 and below 1, got {join.overlap:g}; 0.25 is usual"
        )
    rising = torch.arange(1, segment // 2 + 1, dtype=torch.float32)
    falling = torch.arange(segment - segment // 2, 0, -1, dtype=torch.float32)
    weights = torch.cat([rising, falling])
    fixed = model.spec.fixed_segment
    return WindowPlan(
        stride=max(1, int((1 - join.overlap) * segment)),
        lead=0,
        whole_inputs=False,
        weights=weights / weights.max(),
        input_samples=(lambda _: segment) if fixed else model.input_samples,
    )


def _centre_crop(join: CentreCrop, segment: int) -> WindowPlan:
    fade = min(join.fade_samples, 2 * join.context_samples, segment) // 2 * 2
    ramp = (torch.arange(fade, dtype=torch.float32) + 0.5) / max(1, fade)
    fed = segment + 2 * join.context_samples
    return WindowPlan(
        stride=segment,
        lead=fade // 2,
        whole_inputs=True,
        weights=torch.cat([ramp, torch.ones(segment - fade), ramp.flip(0)]),
        input_samples=lambda _: fed,
    )
