"""GridAligner: moves what is played off a grid onto it, hit by hit.

A spectrogram's frames attend to the frames near them and say where hits begin: that is learned.
All else follows from it: each hit goes to the nearest line of the grid, by as much of the way
as is wanted, and takes the sound up to the next hit with it; a sound that has to last longer is
continued from its own end. Alignment of drums to a grid as a learned effect: S. H. Hawley,
"Learning tunable audio effects via neural networks with self attention" (2020). Differs from
the published network, which had one line in the middle of its window and synthesised the whole
window anew: here the grid is given, by tempo and offset or as times, tracks are of any length,
and what is moved is the recording's own samples.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field, PositiveFloat, PositiveInt, model_validator
from torch import Tensor, nn

from audiform.dsp.onset_strength import pick_onsets
from audiform.knob import HALF_RANGE, Knob
from audiform.nn.bounded_effect import BLOCKS_AT_A_TIME, BoundedEffect
from audiform.nn.near_frames import (
    EMBEDDED_SIDE,
    NearFrames,
    NearFramesConfig,
    relative_levels,
)
from audiform.nn.slices import REMEMBERED_SAMPLES, Slice, render
from audiform.protocols import EffectSpec, EffectState

#: Power of a bin that counts as silence: noise at -90 dB of full scale.
POWER_FLOOR = 1e-9

#: Levels, in nepers of power, times this.
LEVEL_SCALE = 0.25

#: Frames on each side of the likeliest one that say where in between a hit begins.
CENTROID_SIDE = 2

STRENGTH = Knob(name="strength", minimum=0.0, maximum=1.0, default=1.0)
TEMPO = Knob(name="tempo_bpm", unit="bpm", minimum=20.0, maximum=400.0, default=120.0)
OFFSET = Knob(name="offset_ms", unit="ms", minimum=0.0, maximum=3000.0, default=0.0)
LINES = Knob(name="lines_per_beat", minimum=1.0, maximum=12.0, default=4.0)


class GridAlignerConfig(NearFramesConfig):
    """Hyper-parameters of :class:`GridAligner`, besides those of :class:`NearFramesConfig`.

    - ``knobs``: the first says how far hits are moved. ``tempo_bpm``, ``offset_ms`` (where a
      beat lies) and ``lines_per_beat`` are the grid, the fields of these names where there is
      no such knob; any other is told to the network.
    - ``threshold``: how likely a hit must be; 0.83 are even odds, as hits count five times in
      training. ``min_gap_seconds``: of hits that are nearer to
      each other the likeliest counts. ``max_shift_seconds``: a hit that is further from every
      line stays. ``hold_seconds``: how long a hit takes along what follows it.
    - ``lead_seconds``: a slice begins so long before its hit. ``fade_seconds``: slices are
      faded into each other.
    - ``block_samples``: the length of a block of a stream.
    """

    knobs: tuple[Knob, ...] = (STRENGTH, TEMPO, OFFSET, LINES)
    n_fft: PositiveInt = 1024
    hop_length: PositiveInt = 256
    bands: tuple[tuple[PositiveInt, PositiveInt], ...] = ((4, 8), (8, 8), (16, 8), (32, 4))
    hidden_channels: PositiveInt = 24
    threshold: float = Field(0.8, gt=0.0, lt=1.0)
    min_gap_seconds: PositiveFloat = 0.05
    max_shift_seconds: PositiveFloat = 0.18
    hold_seconds: PositiveFloat = 2.0
    lead_seconds: PositiveFloat = 0.008
    fade_seconds: PositiveFloat = 0.002
    tempo_bpm: PositiveFloat = 120.0
    offset_ms: float = 0.0
    lines_per_beat: PositiveFloat = 4.0
    block_samples: PositiveInt = 65536

    @model_validator(mode="after")
    def _blocks_fit(self) -> GridAlignerConfig:
        if self.block_samples % self.hop_length:
            raise ValueError(
                f"block_samples {self.block_samples} must be a multiple of hop_length "
                f"{self.hop_length}"
            )
        return self

    @property
    def gap_frames(self) -> int:
        """Frames within which one hit counts."""
        return max(1, round(self.min_gap_seconds * self.sample_rate / self.hop_length))

    @property
    def unknown_frames(self) -> int:
        """Frames at both ends of a stretch in which hits cannot be told."""
        heard = (self.num_blocks + 1) * self.reach_frames + EMBEDDED_SIDE
        return heard + self.gap_frames + CENTROID_SIDE

    @property
    def conditions(self) -> tuple[int, ...]:
        """The places of the knobs that the network is told."""
        grid = (TEMPO.name, OFFSET.name, LINES.name)
        return tuple(
            place for place, knob in enumerate(self.knobs) if place and knob.name not in grid
        )

    def samples(self, seconds: float) -> int:
        """Return ``seconds`` in whole samples, at least one."""
        return max(1, round(seconds * self.sample_rate))


@dataclass(frozen=True)
class Grid:
    """Lines in samples: evenly, or at ``times``, between which ``lines_per_beat`` are drawn."""

    period: float
    offset: float
    times: Sequence[float]

    def nearest(self, sample: float) -> float:
        """Return the line nearest to a sample; beyond the times it is the first or the last."""
        if not self.times:
            return self.offset + round((sample - self.offset) / self.period) * self.period
        after = bisect.bisect_left(self.times, sample)
        near = self.times[max(0, after - 1) : after + 1]
        return min(near, key=lambda line: abs(line - sample))


class GridAligner(BoundedEffect):
    """Effect that moves hits onto a grid; see the module's text."""

    window: Tensor

    def __init__(self, config: GridAlignerConfig) -> None:
        super().__init__()
        self.config = config
        self.frames = NearFrames(
            config.all_bands,
            config.hidden_channels,
            num_levels=2 * EMBEDDED_SIDE + 1,
            num_blocks=config.num_blocks,
            num_heads=config.num_heads,
            reach=config.reach_frames,
            num_settings=len(config.conditions),
        )
        num_bands = sum(count for _, count in config.all_bands)
        self.norm = nn.LayerNorm(config.hidden_channels)
        self.head = nn.Linear(num_bands * config.hidden_channels, 1)
        self.register_buffer("window", torch.hann_window(config.n_fft), persistent=False)

    @property
    def spec(self) -> EffectSpec:
        """What the engine must know."""
        config = self.config
        unknown = config.unknown_frames * config.hop_length + config.n_fft
        edge = config.samples(config.lead_seconds) + config.samples(config.fade_seconds) + 2
        moved = 2 * config.samples(config.max_shift_seconds) + edge
        behind = config.samples(config.hold_seconds) + REMEMBERED_SAMPLES
        hop = config.hop_length
        return EffectSpec(
            sample_rate=config.sample_rate,
            audio_channels=1,
            knobs=config.knobs,
            context_samples=-(-(unknown + moved + behind) // hop) * hop,
            block_samples=config.block_samples,
            latency_samples=-(-(unknown + moved) // hop) * hop,
            channels_together=True,
        )

    def detect(
        self, dry: Float[Tensor, "batch channels time"], settings: Float[Tensor, "batch setting"]
    ) -> Float[Tensor, "batch frame"]:
        """Return for each frame how likely a hit begins in its middle, as a logit.

        Frame k is centred on sample ``k hop_length + n_fft / 2``.
        """
        config = self.config
        frames = dry.unfold(-1, config.n_fft, config.hop_length)
        spectrum = torch.fft.rfft(frames * self.window, norm="ortho")
        power = (spectrum.real.square() + spectrum.imag.square()).mean(dim=1)
        levels = relative_levels(power, reach=config.reach_frames, floor=POWER_FLOOR)
        tokens = self.norm(self.frames(LEVEL_SCALE * levels, settings))
        return self.head(tokens.flatten(2))[..., 0]

    def hits(self, logits: Float[Tensor, " frame"]) -> Float[Tensor, " hit"]:
        """Return where hits begin, in samples: the middle of what is likely around each."""
        config = self.config
        likely = logits.sigmoid()
        picked = pick_onsets(
            likely.detach(), min_gap_frames=config.gap_frames, threshold=config.threshold
        )
        unknown = config.unknown_frames
        picked = picked[(picked >= unknown) & (picked < len(likely) - unknown)]
        if not len(picked):
            return likely[:0]
        side = torch.arange(-CENTROID_SIDE, CENTROID_SIDE + 1, device=likely.device)
        around = likely[picked[:, None] + side]
        offset = (around * side).sum(dim=1) / around.sum(dim=1)
        return (picked + offset) * config.hop_length + config.n_fft / 2

    def predict(
        self, dry: Float[Tensor, "batch channels time"], knobs: Float[Tensor, "batch knob"]
    ) -> Float[Tensor, "batch channels wet_time"]:
        """Return what ``dry`` becomes, without its look-back and its look-ahead.

        Time is counted so that the answer ends with a block of a stream.
        """
        spec = self.spec
        start = -(spec.context_samples + spec.latency_samples) % spec.block_samples
        return self._answer(dry, knobs, start, ())

    def forward(
        self, dry: Float[Tensor, "batch channels time"], knobs: Float[Tensor, "batch knob"]
    ) -> Float[Tensor, "batch channels time"]:
        """Return what ``dry`` becomes, at its length; its first sample is at time 0."""
        spec, length = self.spec, dry.shape[-1]
        at_a_time = BLOCKS_AT_A_TIME * spec.block_samples
        late, beyond = spec.latency_samples, spec.context_samples + spec.latency_samples
        rest = -(length + late) % spec.block_samples
        padded = F.pad(dry, (beyond, late + rest))
        parts = [
            self._answer(padded[..., start : start + at_a_time + beyond], knobs, start - beyond, ())
            for start in range(0, padded.shape[-1] - beyond, at_a_time)
        ]
        return torch.cat(parts, dim=-1)[..., late : late + length]

    def initial_state(self, batch_size: int = 1) -> EffectState:
        """Return the state before the first block: silence, time 0, no beats but the knobs'."""
        return self.state_with_beats((), batch_size)

    def state_with_beats(self, beats: Sequence[float], batch_size: int = 1) -> EffectState:
        """Return the state before the first block, with the beats' times in seconds.

        They replace tempo and offset where there are any.
        """
        (past,) = super().initial_state(batch_size)
        known = past.shape[-1]
        start = torch.full((batch_size, 1), -known, dtype=torch.int64, device=past.device)
        times = torch.tensor(list(beats), dtype=torch.float64, device=past.device)
        return past, start, times.expand(batch_size, -1).clone()

    def step(
        self,
        block: Float[Tensor, "batch channels time"],
        knobs: Float[Tensor, "batch knob"],
        state: EffectState,
    ) -> tuple[Float[Tensor, "batch channels time"], EffectState]:
        """Take the next block of dry audio and return wet audio of its length, and the state."""
        past, start, beats = state
        audio = torch.cat([past.expand(-1, block.shape[1], -1), block], dim=-1)
        wet = self._answer(audio, knobs, int(start[0, 0]), beats[0].tolist())
        return wet, (audio[..., -past.shape[-1] :], start + block.shape[-1], beats)

    def _answer(
        self,
        dry: Float[Tensor, "batch channels time"],
        knobs: Float[Tensor, "batch knob"],
        start: int,
        beats: Sequence[float],
    ) -> Float[Tensor, "batch channels wet_time"]:
        """Return the middle of ``dry``, whose first sample is sample ``start`` of the track."""
        config, spec = self.config, self.spec
        logits = self.detect(dry, knobs[:, list(config.conditions)])
        fade = config.samples(config.fade_seconds)
        middle = slice(spec.context_samples, dry.shape[-1] - spec.latency_samples)
        rows = []
        for audio, likely, settings in zip(dry, logits, knobs, strict=True):
            slices = self._slices(
                self.hits(likely), self._grid(settings, beats), settings, start, audio.shape[-1]
            )
            slices = [
                part
                for part in slices
                if part.stop + fade > middle.start and part.start < middle.stop
            ]
            rows.append(render(audio, slices, fade_samples=fade)[:, middle])
        return torch.stack(rows)

    def _grid(self, settings: Float[Tensor, " knob"], beats: Sequence[float]) -> Grid:
        config = self.config
        own = {"tempo_bpm": config.tempo_bpm, "offset_ms": config.offset_ms,
               "lines_per_beat": config.lines_per_beat}  # fmt: skip
        for knob, position in zip(config.knobs, settings.tolist(), strict=True):
            if knob.name in own:
                own[knob.name] = knob.from_network(position)
        lines = max(1, round(own["lines_per_beat"]))
        rate = config.sample_rate
        times = [rate * beat for beat in beats]
        between = [
            early + (late - early) * number / lines
            for early, late in itertools.pairwise(times)
            for number in range(lines)
        ]
        return Grid(
            period=60.0 * rate / own["tempo_bpm"] / lines,
            offset=rate * own["offset_ms"] / 1000.0,
            times=[*between, *times[-1:]],
        )

    def _slices(
        self,
        hits: Float[Tensor, " hit"],
        grid: Grid,
        settings: Float[Tensor, " knob"],
        start: int,
        length: int,
    ) -> list[Slice]:
        """Return what sounds when, in the order of time, within a stretch of audio."""
        config = self.config
        lead, hold = config.samples(config.lead_seconds), config.samples(config.hold_seconds)
        shifts = self._shifts(hits, grid, settings, start)
        cuts = [round(hit) - lead for hit in hits.tolist()]
        whole = [round(shift) for shift in shifts.tolist()]
        nothing = hits.new_zeros(())
        ends = [*cuts[1:], length][: len(cuts)]
        found: list[tuple[int, int, int, int, Tensor]] = [
            (-hold, -hold, cuts[0] if cuts else length, 0, nothing)
        ]
        for cut, end, shift, exact in zip(cuts, ends, whole, shifts, strict=True):
            while len(found) > 1 and found[-1][0] >= cut + shift:
                found.pop()  # what is overtaken gives way
            found.append((cut + shift, cut, end, shift, exact))
            if shift and end - cut > hold:  # nothing is played for long: back to where it was
                found.append((cut + shift + hold, cut, end, 0, nothing))
        starts = [*(begin for begin, *_ in found[1:]), length + hold]
        return [
            Slice(begin, stop, cut + shift, end + shift, shift, exact)
            for (begin, cut, end, shift, exact), stop in zip(found, starts, strict=True)
        ]

    def _shifts(
        self,
        hits: Float[Tensor, " hit"],
        grid: Grid,
        settings: Float[Tensor, " knob"],
        start: int,
    ) -> Float[Tensor, " hit"]:
        """Return by how many samples each hit is moved.

        Of hits with one line in common the nearest gets there, the others keep their distance.
        """
        config = self.config
        times = [hit + start for hit in hits.detach().tolist()]
        lines = [grid.nearest(time) for time in times]
        best: dict[float, int] = {}
        for number, (time, line) in enumerate(zip(times, lines, strict=True)):
            rival = best.get(line)
            if rival is None or abs(time - line) < abs(times[rival] - line):
                best[line] = number
        leaders = [best[line] for line in lines]
        far = [
            abs(times[leader] - line) > config.samples(config.max_shift_seconds)
            or abs(time - line) > config.samples(config.max_shift_seconds)
            for time, line, leader in zip(times, lines, leaders, strict=True)
        ]
        amount = settings[0] + HALF_RANGE if config.knobs else hits.new_ones(())
        goals = hits.new_tensor([line - start for line in lines])
        moved = amount * (goals - hits[leaders] if leaders else goals)
        return torch.where(torch.tensor(far, device=hits.device, dtype=torch.bool), 0.0, moved)
