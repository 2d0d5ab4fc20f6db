"""The formats that a learned effect can be written in; needs no torch to be listed."""

from enum import StrEnum


class EffectFormat(StrEnum):
    """Formats of other programs; see :mod:`audiform.checkpoints.effect_export`."""

    torch = "torch"
    onnx = "onnx"
    nam = "nam"
    guitarml = "guitarml"
    rtneural = "rtneural"
