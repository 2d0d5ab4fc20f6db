"""The figures that songs are scored with: what each is called and what it means."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FigureKind:
    """Name of a figure in tables, its unit, and a sentence that says what it is.

    ``mean`` is the figure that holds the mean over windows where this one is the median.
    """

    label: str
    unit: str
    meaning: str
    mean: str | None = None


#: Figures by their key in files, in the order of tables.
FIGURES: dict[str, FigureKind] = {
    "bsseval_sdr_db": FigureKind(
        "BSSEval SDR", "dB", "true stem over all error, per second", "bsseval_sdr_mean_db"
    ),
    "bsseval_isr_db": FigureKind(
        "BSSEval ISR", "dB", "true stem over its filtering and panning", "bsseval_isr_mean_db"
    ),
    "bsseval_sir_db": FigureKind(
        "BSSEval SIR", "dB", "stem over what other stems left in it", "bsseval_sir_mean_db"
    ),
    "bsseval_sar_db": FigureKind(
        "BSSEval SAR", "dB", "stem over what no stem explains", "bsseval_sar_mean_db"
    ),
    "mdx_sdr_db": FigureKind("MDX SDR", "dB", "true stem over all error, whole song"),
    "si_sdr_db": FigureKind("SI-SDR", "dB", "the same, the estimate's level set free"),
    "bleedless": FigureKind("bleedless", "of 100", "little of other stems in the mel spectrogram"),
    "fullness": FigureKind("fullness", "of 100", "little of the stem missing in it"),
    "silent_level_db": FigureKind(
        "level in silence", "dB", "estimate over mixture where the true stem is silent; low is good"
    ),
}
