"""The delay of a machine that drifts, followed by pulses that went through it with the sound.

A tape machine is as late as its heads are apart, and by a little more or less as the tape runs
unevenly. A train of pulses recorded on a second track at the same time shows the delay at every
pulse; what was recorded beside it can then be read at the places where it should have been.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Float64, Int
from torch import Tensor

from audiform.errors import DataError

#: Samples above this share of the highest one belong to a pulse.
PULSE_LEVEL = 0.5

#: Half the length of what is compared of a pulse, in seconds.
PULSE_SECONDS = 0.0007

#: Where a pulse's correlation is below this share of the typical one, its delay is not used.
WEAK_PULSE = 0.4

#: A delay that lies further than this from those around it is a mistake, in samples.
OUTLIER_SAMPLES = 6.0

#: Delays around a pulse by whose median mistakes are told.
MEDIAN_PULSES = 9

#: Zero crossings to each side of the interpolating sinc, and the shape of its Kaiser window.
ZERO_CROSSINGS, KAISER_BETA = 32, 9.0

#: Samples that are interpolated at once.
BLOCK_SAMPLES = 1 << 15


@dataclass(frozen=True, eq=False)
class DelayTrack:
    """What entered at ``seconds`` came out ``delay_samples`` later; both (pulses), float64."""

    seconds: Float64[Tensor, " pulses"]
    delay_samples: Float64[Tensor, " pulses"]
    sample_rate: int

    def at(self, samples: Float64[Tensor, " time"]) -> Float64[Tensor, " time"]:
        """Return the delay of what entered at these samples; held beyond the ends.

        Between pulses by cubics (Catmull and Rom, 1974).
        """
        places, delays = self.seconds * self.sample_rate, self.delay_samples
        slope = F.pad(delays[2:] - delays[:-2], (1, 1)) / F.pad(
            places[2:] - places[:-2], (1, 1), value=1.0
        )
        left = torch.searchsorted(places, samples.contiguous()).clamp(1, len(places) - 1) - 1
        step = places[left + 1] - places[left]
        share = ((samples - places[left]) / step).clamp(0.0, 1.0)
        rest = 1.0 - share
        ends = delays[left] * rest.square() * (1 + 2 * share)
        ends = ends + delays[left + 1] * share.square() * (1 + 2 * rest)
        bend = slope[left] * rest - slope[left + 1] * share
        return ends + bend * step * share * rest

    @property
    def drift_samples(self) -> float:
        """How far the delay moves in all."""
        return float(self.delay_samples.max() - self.delay_samples.min())


def delay_track(
    *,
    dry_pulses: Float[Tensor, " time"],
    wet_pulses: Float[Tensor, " wet_time"],
    sample_rate: int,
    lag_samples: int,
) -> DelayTrack:
    """Return the delay at every pulse that came through.

    ``lag_samples`` is the delay to within half of the distance between pulses, which look alike:
    that of the sound beside them
    (:func:`~audiform.data.effect_alignment.estimate_alignment`). Raises :class:`DataError` where
    fewer than two pulses are found.
    """
    dry, wet = dry_pulses.detach().double(), wet_pulses.detach().double()
    places = _pulses(dry)
    if len(places) < 2:
        raise DataError(
            f"the pulse track has {len(places)} pulses, a delay is followed by at least 2; give "
            "the track that has the pulses, as it was played"
        )
    half = max(4, round(PULSE_SECONDS * sample_rate))
    reach = max(half, int(places.diff().min()) // 2)
    starts = places + lag_samples - reach - half
    inside = (starts >= 0) & (starts + 2 * (reach + half) + 1 <= len(wet)) & (places >= half)
    inside &= places + half < len(dry)
    places, starts = places[inside], starts[inside]
    if len(places) < 2:
        raise DataError(
            f"at a delay of {lag_samples} samples fewer than 2 pulses lie within the recording of "
            f"{len(wet)}; record longer, or correct the delay"
        )
    windows = wet.unfold(0, 2 * (reach + half) + 1, 1)[starts]
    shape = dry.unfold(0, 2 * half + 1, 1)[places - half].mean(dim=0)
    first, _ = _offsets(windows, shape)
    # The machine changes the shape of a pulse: compare with what comes out on average.
    shape = _mean_shape(windows, first, half)
    offsets, heights = _offsets(windows, shape)
    # which says how pulses lie against each other; where they lie at all, the first comparison.
    offsets += (first - offsets).median()
    good = heights > WEAK_PULSE * heights.median()
    good &= (offsets - _running_median(offsets)).abs() <= OUTLIER_SAMPLES
    if int(good.sum()) < 2:
        raise DataError(
            f"of {len(places)} pulses fewer than 2 can be told from noise where the delay is "
            f"{lag_samples} samples; correct the delay, or record them louder"
        )
    delays = offsets + (lag_samples - reach)
    return DelayTrack(places[good].double() / sample_rate, delays[good], sample_rate)


def undo_delay(
    wet: Float[Tensor, "*leading time"], track: DelayTrack
) -> Float[Tensor, "*leading new_time"]:
    """Return ``wet`` as if it had come at once; it ends where what entered last came out.

    Band-limited interpolation: sinc, Kaiser window. Raises :class:`DataError` where the delay
    is as long as the recording.
    """
    length = wet.shape[-1]
    count = length - math.ceil(float(track.delay_samples[-1]))
    if count < 1:
        raise DataError(
            f"the delay is {float(track.delay_samples[-1]):.0f} samples, the recording has "
            f"{length}; record longer"
        )
    padded = F.pad(wet, (ZERO_CROSSINGS, ZERO_CROSSINGS + 1))
    taps = torch.arange(-ZERO_CROSSINGS + 1, ZERO_CROSSINGS + 1)
    pieces = []
    for start in range(0, count, BLOCK_SAMPLES):
        entered = torch.arange(start, min(count, start + BLOCK_SAMPLES), dtype=torch.float64)
        place = (entered + track.at(entered)).clamp(0, length - 1)
        whole = place.floor().long()
        distance = taps - (place - whole)[:, None]
        kernel = (torch.sinc(distance) * _kaiser(distance)).to(wet.dtype)
        pieces.append((padded[..., whole[:, None] + taps + ZERO_CROSSINGS] * kernel).sum(dim=-1))
    return torch.cat(pieces, dim=-1)


def _kaiser(distance: Tensor) -> Tensor:
    inside = (1.0 - (distance / ZERO_CROSSINGS).square()).clamp(min=0.0).sqrt()
    norm = torch.special.i0(torch.tensor(KAISER_BETA, dtype=distance.dtype))
    return torch.special.i0(KAISER_BETA * inside) / norm


def _pulses(dry: Tensor) -> Int[Tensor, " pulses"]:
    """Return where the pulses peak."""
    magnitude = dry.abs()
    if not magnitude.any():
        return torch.zeros(0, dtype=torch.long)
    loud = torch.nonzero(magnitude >= PULSE_LEVEL * magnitude.max())[:, 0]
    is_new = F.pad(loud.diff() > 16, (1, 0), value=True)
    starts = loud[is_new]
    ends = torch.cat([starts[1:], torch.tensor([len(dry)])])
    peaks = [
        int(start) + int(magnitude[start : min(int(end), int(start) + 16)].argmax())
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True)
    ]
    return torch.tensor(peaks, dtype=torch.long)


def _offsets(
    windows: Float64[Tensor, "pulses time"], shape: Float64[Tensor, " shape"]
) -> tuple[Float64[Tensor, " pulses"], Float64[Tensor, " pulses"]]:
    """Return where in its window each pulse is most like ``shape``, and how much it is."""
    likeness = F.conv1d(windows[:, None], shape[None, None])[:, 0]
    # The first comparison does not know whether the machine turns pulses round.
    likeness = likeness * torch.sign(likeness.sum(dim=0)[likeness.sum(dim=0).abs().argmax()])
    top, index = likeness.max(dim=1)
    index = index.clamp(1, likeness.shape[1] - 2)
    rows = torch.arange(len(windows))
    before, after = likeness[rows, index - 1], likeness[rows, index + 1]
    bend = before - 2 * likeness[rows, index] + after
    offset = torch.where(bend < 0, 0.5 * (before - after) / bend.clamp(max=-1e-300), 0.0)
    return index + offset.clamp(-0.5, 0.5), top


def _mean_shape(
    windows: Float64[Tensor, "pulses time"], offsets: Float64[Tensor, " pulses"], half: int
) -> Float64[Tensor, " shape"]:
    """Return the mean of the pulses, each moved by whole samples to where it lies."""
    starts = offsets.round().long().clamp(0, windows.shape[1] - 2 * half - 1)
    places = starts[:, None] + torch.arange(2 * half + 1)
    return windows.gather(1, places).mean(dim=0)


def _running_median(values: Float64[Tensor, " pulses"]) -> Float64[Tensor, " pulses"]:
    half = min(MEDIAN_PULSES, len(values)) // 2
    padded = torch.cat(
        [values[:half].flip(0), values, values[-half:].flip(0)] if half else [values]
    )
    return padded.unfold(0, 2 * half + 1, 1).median(dim=-1).values
