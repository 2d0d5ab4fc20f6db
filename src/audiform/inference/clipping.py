"""What is done to stems that would exceed full scale.

``common`` (our default) turns all outputs of a track down by one gain, so that they still sum
to the mixture; ``rescale`` (Demucs' default) each by its own, ``clamp`` cuts the peaks off,
``none`` leaves them to the file format.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from jaxtyping import Float32

from audiform.errors import ConfigError

ClipMode = Literal["common", "rescale", "clamp", "none"]

#: The peak is brought to 1 / 1.01 of full scale; as Demucs' "rescale".
CLIP_HEADROOM = 1.01
#: Where "clamp" cuts; as Demucs.
CLAMP_LEVEL = 0.99


def check_clip_mode(mode: str) -> None:
    """Raise :class:`ConfigError` for an unknown mode."""
    if mode not in get_args(ClipMode):
        raise ConfigError(
            f"clip mode {mode!r} was asked for; choose one of {', '.join(get_args(ClipMode))}"
        )


def needs_peaks(mode: ClipMode) -> bool:
    """Tell whether the whole track must be known before its first sample can be written."""
    return mode in ("common", "rescale")


def output_gains(
    mode: ClipMode, peaks: Float32[np.ndarray, " outputs"]
) -> Float32[np.ndarray, " outputs"]:
    """Return the gain of each output, given the largest absolute sample of each.

    ``common`` leaves a track that stays below full scale alone. ``rescale`` starts at
    1 / 1.01 of it, as Demucs does.
    """
    if mode == "common":
        peak = float(peaks.max(initial=0.0))
        return np.full_like(peaks, 1 / (CLIP_HEADROOM * peak) if peak > 1 else 1.0)
    if mode == "rescale":
        return (1 / np.maximum(CLIP_HEADROOM * peaks, 1)).astype(np.float32)
    return np.ones_like(peaks)


def clamp(outputs: np.ndarray) -> np.ndarray:
    """Cut off what exceeds +-0.99."""
    return np.clip(outputs, -CLAMP_LEVEL, CLAMP_LEVEL)
