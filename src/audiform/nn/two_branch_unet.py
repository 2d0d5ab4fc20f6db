"""Two U-Nets side by side: one over the frequencies of a spectrum, one over time.

Hybrid Demucs, A. Défossez, 2021, section 3.1. The branches are lists of layers that the network
holds; here is the way down through both and up again, skips, lengths and all.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor, nn

Spectrum = Float[Tensor, "batch channels frequency frames"]
Waveform = Float[Tensor, "batch features steps"]


class Descent(NamedTuple):
    """Where both branches came to, and what is needed on the way up, outermost first."""

    spectrum: Tensor
    waveform: Tensor
    spectrum_skips: list[Tensor]
    waveform_skips: list[Tensor]
    bins: list[int]
    steps: list[int]


def descend(
    spectrum: Spectrum,
    waveform: Waveform,
    layers: Iterable[tuple[nn.Module, nn.Module]],
    *,
    embedding: nn.Module | None,
) -> Descent:
    """Run the encoder ``layers`` (spectrum, waveform), outermost first.

    ``embedding`` is applied to the spectrum after the first.
    """
    way = Descent(spectrum, waveform, [], [], [], [])
    for spectrum_layer, waveform_layer in layers:
        way.bins.append(way.spectrum.shape[-2])
        way.steps.append(way.waveform.shape[-1])
        spectrum, waveform = spectrum_layer(way.spectrum), waveform_layer(way.waveform)
        if embedding is not None and not way.spectrum_skips:
            spectrum = embedding(spectrum)
        way.spectrum_skips.append(spectrum)
        way.waveform_skips.append(waveform)
        way = way._replace(spectrum=spectrum, waveform=waveform)
    return way


def ascend(
    spectrum: Spectrum,
    waveform: Waveform,
    layers: Iterable[tuple[nn.Module, nn.Module]],
    *,
    way: Descent,
) -> tuple[Float[Tensor, "batch channels_out bins frames"], Float[Tensor, "batch stems_out time"]]:
    """Run the decoder ``layers`` (spectrum, waveform), innermost first, back up the ``way``.

    Its skips are taken off it as they are used, so that they are not held any longer.
    """
    for spectrum_layer, waveform_layer in layers:
        spectrum = spectrum_layer(spectrum, way.spectrum_skips.pop(), way.bins.pop())
        waveform = waveform_layer(waveform, way.waveform_skips.pop(), way.steps.pop())
    return spectrum, waveform
