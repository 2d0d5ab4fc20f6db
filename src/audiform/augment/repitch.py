"""Another pitch and tempo, as Demucs is trained with (arXiv:1911.13254, section 4).

Differs from the published recipe in the machine: our own phase vocoder, which keeps attacks
and, for the sources named in the configuration, the formants.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field, NonNegativeFloat, NonNegativeInt
from torch import Tensor

from audiform.augment.layout import AugmentationConfig, Share, StemLayout, draw_chance
from audiform.dsp.change_pitch import change_pitch
from audiform.errors import ConfigError

#: Samples by which a changed stem may be shorter than the arithmetic says.
SPARE_SAMPLES = 8


class RepitchConfig(AugmentationConfig):
    """How often, and how far.

    Semitones are drawn evenly from -``max_semitones`` .. ``max_semitones``, tempo changes from a
    normal distribution that is clamped. ``together`` treats the stems of an example alike.
    ``formant_sources`` keep the timbre of their pitch: voices.
    """

    kind: Literal["repitch"] = "repitch"
    share: Share = 0.2
    max_semitones: NonNegativeInt = 2
    tempo_deviation_percent: NonNegativeFloat = 5.0
    max_tempo_percent: float = Field(default=12.0, ge=0.0, le=50.0)
    together: bool = True
    formant_sources: tuple[str, ...] = ("vocals",)


@dataclass(frozen=True)
class Repitch:
    """Change of each stem; ``rate`` 1.1 is 10 % faster. The result has ``samples`` samples."""

    semitones: Int[Tensor, "batch source"]
    rate: Float[Tensor, "batch source"]
    keep_formants: Bool[Tensor, " source"]
    samples: int
    sample_rate: int


def repitch_input_samples(config: RepitchConfig, samples: int, sample_rate: int) -> int:
    """Return how many samples give ``samples`` at the fastest tempo."""
    if config.share == 0.0:
        return samples
    return math.ceil((samples + SPARE_SAMPLES) * (1.0 + config.max_tempo_percent / 100.0))


def draw_repitch(config: RepitchConfig, layout: StemLayout, generator: torch.Generator) -> Repitch:
    """Draw intervals and tempi; raises :class:`ConfigError` for stems of a few samples."""
    shape = (layout.batch_size, 1) if config.together else layout.shape
    most = config.max_semitones
    semitones = torch.randint(-most, most + 1, shape, generator=generator)
    percent = config.tempo_deviation_percent * torch.randn(shape, generator=generator)
    percent = percent.clamp(-config.max_tempo_percent, config.max_tempo_percent)
    changed = draw_chance(config.share, shape, generator)
    samples = layout.samples
    if config.share > 0.0:
        samples = int(samples / (1.0 + config.max_tempo_percent / 100.0)) - SPARE_SAMPLES
    if samples < 1:
        raise ConfigError(
            f"a change of tempo was asked for stems of {layout.samples} samples; read longer ones"
        )
    return Repitch(
        semitones=torch.where(changed, semitones, 0).expand(layout.shape),
        rate=torch.where(changed, 1.0 + percent / 100.0, 1.0).expand(layout.shape),
        keep_formants=torch.tensor([name in config.formant_sources for name in layout.sources]),
        samples=samples,
        sample_rate=layout.sample_rate,
    )


def apply_repitch(
    stems: Float[Tensor, "batch source channel time"], drawn: Repitch
) -> Float[Tensor, "batch source channel new_time"]:
    """Change the stems and cut them to a common length; those without a change are only cut."""
    out = stems[..., : drawn.samples].clone()
    for example, source in torch.cartesian_prod(*map(torch.arange, stems.shape[:2])).tolist():
        semitones = float(drawn.semitones[example, source])
        rate = float(drawn.rate[example, source])
        if semitones == 0.0 and rate == 1.0:
            continue
        needed = math.ceil((drawn.samples + SPARE_SAMPLES) * rate)
        changed = change_pitch(
            stems[example, source, :, :needed],
            semitones=semitones,
            rate=rate,
            sample_rate=drawn.sample_rate,
            keep_formants=bool(drawn.keep_formants[source]),
        )
        out[example, source] = changed[:, : drawn.samples]
    return out
