"""Reference effects: the truth that a learned effect is held against.

Adding one: write its file (its ``KNOBS`` and its function), add its line to ``EFFECTS``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor

from audiform.effects import (
    compressor,
    distortion,
    echo,
    equaliser,
    low_pass,
    reverb,
    tremolo,
)
from audiform.errors import ConfigError
from audiform.knob import Knob, complete_settings


@dataclass(frozen=True)
class ReferenceEffect:
    """An effect that is known exactly.

    ``process(audio, state, *, sample_rate, **knobs)`` returns the wet block and the state after
    it; a state of None is silence before. It takes any leading axes, and keeps each apart.
    """

    summary: str
    knobs: tuple[Knob, ...]
    process: Callable[..., tuple[Tensor, Any]]

    def apply(
        self, audio: Float[Tensor, "*leading time"], sample_rate: int, **settings: float
    ) -> Float[Tensor, "*leading time"]:
        """Return ``audio`` with the effect on; knobs by name in their units, or the defaults.

        As long as ``audio``: what rings on is cut. Raises :class:`ConfigError` for a knob that
        is not there or out of its range.
        """
        return self.step(audio, None, sample_rate, **settings)[0]

    def step(
        self,
        audio: Float[Tensor, "*leading time"],
        state: Any,
        sample_rate: int,
        **settings: float,
    ) -> tuple[Float[Tensor, "*leading time"], Any]:
        """Return the next block and the state to go on from; blocks give what one pass gives.

        The first ``state`` is None. Knobs may change from block to block.
        """
        if sample_rate <= 0:
            raise ConfigError(f"the sample rate must be positive, got {sample_rate} Hz")
        complete = complete_settings(self.knobs, settings)
        return self.process(audio, state, sample_rate=sample_rate, **complete)


#: Name, as the command line and recipes give it -> effect.
EFFECTS: dict[str, ReferenceEffect] = {
    "compressor": ReferenceEffect(
        "turns down what is loud, times of 1 to 40 ms", compressor.KNOBS, compressor.compressor
    ),
    "compressor-large": ReferenceEffect(
        "the same with times of up to 1 s",
        compressor.LARGE_KNOBS,
        compressor.compressor,
    ),
    "distortion": ReferenceEffect("a tanh without memory", distortion.KNOBS, distortion.distortion),
    "echo": ReferenceEffect("two echoes", echo.KNOBS, echo.echo),
    "equaliser": ReferenceEffect(
        "low shelf, moving bell, high shelf", equaliser.KNOBS, equaliser.equaliser
    ),
    "low-pass": ReferenceEffect(
        "Butterworth filter of third order", low_pass.KNOBS, low_pass.low_pass
    ),
    "reverb": ReferenceEffect("a room of eight delay lines", reverb.KNOBS, reverb.reverb),
    "tremolo": ReferenceEffect("a gain that swings", tremolo.KNOBS, tremolo.tremolo),
}


def find_effect(name: str) -> ReferenceEffect:
    """Return the effect called ``name``; raises :class:`ConfigError` if there is none."""
    if name not in EFFECTS:
        raise ConfigError(f"there is no effect {name!r}; choose from {', '.join(EFFECTS)}")
    return EFFECTS[name]
