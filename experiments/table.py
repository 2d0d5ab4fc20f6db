"""The experiments: what a text claims, and which arms are held against each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Claim:
    """``better`` beats ``than``; with ``or_equal`` it must only not be worse.

    Both are labels of the experiment's arms.
    """

    text: str
    better: str
    than: str
    or_equal: bool = False


@dataclass(frozen=True)
class Experiment:
    """``arms`` are names in :data:`experiments.arms.ARMS` by the label that they have here."""

    question: str
    arms: Mapping[str, str]
    claims: tuple[Claim, ...]


@dataclass(frozen=True)
class PaddingExperiment:
    """The same trained networks, run in crops with context around them and without.

    ``ways`` are frames that are kept of a run, and frames of context on either side.
    """

    question: str
    arm: str
    ways: Mapping[str, tuple[int, int]]
    claims: tuple[Claim, ...]


EXPERIMENTS: Mapping[str, Experiment | PaddingExperiment] = MappingProxyType(
    {
        "unet-against-stack": Experiment(
            question="A U-Net over frequency, or a densely connected stack of layers?",
            arms={
                "U-Net": "primer",
                "stack, equal weights": "primer-stack-weights",
                "stack, 2.5 times the weights": "primer-stack-time",
                "stack, 2.8 times the steps": "primer-stack-steps",
            },
            claims=(
                Claim(
                    "the U-Net is of significantly higher quality than the pure transformer",
                    better="U-Net",
                    than="stack, equal weights",
                ),
                Claim(
                    "the same at equal time, the stack larger",
                    better="U-Net",
                    than="stack, 2.5 times the weights",
                ),
                Claim(
                    "the same at equal time, the stack trained for longer",
                    better="U-Net",
                    than="stack, 2.8 times the steps",
                ),
            ),
        ),
        "positions": Experiment(
            question="What should attention know of where frames are?",
            arms={
                "distances": "transformer",
                "relative positions": "transformer-relative",
                "both": "transformer-both",
                "none": "transformer-nowhere",
            },
            claims=(
                Claim("weighted distances help", better="distances", than="none"),
                Claim("relative positions help", better="relative positions", than="none"),
                Claim(
                    "relative positions beside distances are a fine tuning",
                    better="both",
                    than="distances",
                ),
            ),
        ),
        "convolutions": Experiment(
            question="Should the U-Net's convolutions join frames, and its levels halve time?",
            arms={
                "3x1": "transformer",
                "3x3": "transformer-3x3",
                "3x3, halving time": "transformer-halving",
            },
            claims=(
                Claim(
                    "3x1 convolutions have a drastic effect on learning, for the better",
                    better="3x1",
                    than="3x3",
                ),
                Claim(
                    "a U-Net over frequency alone beats those that halve time as well",
                    better="3x1",
                    than="3x3, halving time",
                ),
                Claim(
                    "the same with 3x3 convolutions in both",
                    better="3x3",
                    than="3x3, halving time",
                ),
            ),
        ),
        "pretraining": Experiment(
            question="Does pretraining on mixtures help at equal supervised steps?",
            arms={"pretrained": "primer-magnitudes", "from scratch": "primer"},
            claims=(
                Claim(
                    "pretraining as BERT helps separation",
                    better="pretrained",
                    than="from scratch",
                ),
            ),
        ),
        "targets": Experiment(
            question="Should pretraining predict magnitudes, or a distribution over codes?",
            arms={
                "magnitudes": "primer-magnitudes",
                "codes": "primer-codes",
                "from scratch": "primer",
            },
            claims=(
                Claim(
                    "predicting distributions is where the power is",
                    better="codes",
                    than="magnitudes",
                ),
                Claim("codes beat no pretraining", better="codes", than="from scratch"),
            ),
        ),
        "one-song": Experiment(
            question="And where only one song has stems?",
            arms={
                "magnitudes": "primer-magnitudes-one-song",
                "codes": "primer-codes-one-song",
                "from scratch": "primer-one-song",
            },
            claims=(
                Claim(
                    "pretraining as BERT helps separation",
                    better="magnitudes",
                    than="from scratch",
                ),
                Claim(
                    "predicting distributions is where the power is",
                    better="codes",
                    than="magnitudes",
                ),
                Claim("codes beat no pretraining", better="codes", than="from scratch"),
            ),
        ),
        "padding": PaddingExperiment(
            question="Should crops see more of the song than is kept of them?",
            arm="transformer",
            ways={
                "plain, 64": (64, 0),
                "plain, 128": (128, 0),
                "32 of 64": (32, 16),
                "64 of 128": (64, 32),
            },
            claims=(
                Claim(
                    "context helps, runs of equal length (64 frames)",
                    better="32 of 64",
                    than="plain, 64",
                ),
                Claim(
                    "context helps, runs of equal length (128 frames)",
                    better="64 of 128",
                    than="plain, 128",
                ),
                Claim(
                    "context helps, equally many frames kept of a run (64)",
                    better="64 of 128",
                    than="plain, 64",
                ),
            ),
        ),
        "channels": Experiment(
            question="Should channels double where bins are halved?",
            arms={"kept": "primer-kept", "doubled": "primer"},
            claims=(
                Claim(
                    "fewer channels do not hurt: it is the downsampling that helps",
                    better="kept",
                    than="doubled",
                    or_equal=True,
                ),
            ),
        ),
    }
)
