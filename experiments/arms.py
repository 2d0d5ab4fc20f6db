"""What is trained, by name: an arm is a network, and what it is pretrained on, if anything."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from audiform.models.frame_primer import FramePrimer, FramePrimerConfig
from audiform.models.frame_transformer import FrameTransformer, FrameTransformerConfig
from experiments.convolutions import join_frames
from experiments.settings import SAMPLE_RATE, SPECTRUM

#: What all networks have: a quarter of the described levels' bins, one layer where there are
#: two, and no dropout, as no run is long enough to need it.
SMALL: Mapping[str, Any] = MappingProxyType(
    {
        "sample_rate": SAMPLE_RATE,
        "n_fft": SPECTRUM.n_fft,
        "hop_length": SPECTRUM.hop_length,
        "num_heads": 4,
        "feed_forward_width": 128,
        "dropout": 0.0,
        "compression": 0.3,
    }
)
#: U-Nets: bins 128 to 16, channels doubled from level to level.
UNET = MappingProxyType({"hidden_channels": 4, "channel_factors": (1, 2, 4, 8), "num_layers": 1})
#: Relative positions within a crop of 128 frames.
REACH = 63


class Arm(BaseModel):
    """A network by its configuration, and how it comes to its weights.

    - ``system``: the Frame Transformer of the first text, or the Frame Primer of the second.
    - ``convolutions`` of the U-Net: over the bins of a frame, over 3 x 3 frames and bins, or
      over these and halving frames as well as bins from level to level.
    - ``pretraining``: masked frames found again as magnitudes, or as codes of a codebook; with
      the next-segment task in both. None: from scratch.
    - ``steps_factor``: times the steps of the others, for an arm whose steps cost less.
    - ``labelled_songs`` to train on with stems, all if None; pretraining has the mixtures of
      all songs but the one held out.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    system: Literal["frame-transformer", "frame-primer"]
    network: dict[str, Any] = {}
    convolutions: Literal["frame", "plane", "plane halving frames"] = "frame"
    pretraining: Literal["magnitudes", "codes"] | None = None
    steps_factor: float = 1.0
    labelled_songs: int | None = None

    def build(self) -> FrameTransformer | FramePrimer:
        """Return the network, its weights drawn from the global generator."""
        network: FrameTransformer | FramePrimer
        if self.system == "frame-transformer":
            network = FrameTransformer(FrameTransformerConfig(**{**SMALL, **UNET, **self.network}))
        else:
            settings = {**SMALL, "position_reach": REACH, **UNET, **self.network}
            network = FramePrimer(FramePrimerConfig(**settings))
        if self.convolutions != "frame":
            join_frames(network, halve_frames=self.convolutions == "plane halving frames")
        return network


def _transformer(**network: Any) -> Arm:
    return Arm(system="frame-transformer", network=network)


def _primer(**network: Any) -> Arm:
    return Arm(system="frame-primer", network=network)


def _pretrained(
    pretraining: Literal["magnitudes", "codes"] | None, labelled_songs: int | None = None
) -> Arm:
    return Arm(system="frame-primer", pretraining=pretraining, labelled_songs=labelled_songs)


ARMS: Mapping[str, Arm] = MappingProxyType(
    {
        "transformer": _transformer(),
        "transformer-relative": _transformer(distance_encoding=False, position_reach=REACH),
        "transformer-both": _transformer(position_reach=REACH),
        "transformer-nowhere": _transformer(distance_encoding=False),
        "transformer-3x3": Arm(system="frame-transformer", convolutions="plane"),
        "transformer-halving": Arm(system="frame-transformer", convolutions="plane halving frames"),
        "primer": _primer(),
        "primer-kept": _primer(channel_factors=(1, 1, 1, 1)),
        "primer-stack-weights": _primer(form="stack", num_layers=4),
        "primer-stack-steps": Arm(
            system="frame-primer", network={"form": "stack", "num_layers": 4}, steps_factor=2.8
        ),
        "primer-stack-time": _primer(form="stack", num_layers=10),
        "primer-magnitudes": _pretrained("magnitudes"),
        "primer-codes": _pretrained("codes"),
        "primer-one-song": _pretrained(None, 1),
        "primer-magnitudes-one-song": _pretrained("magnitudes", 1),
        "primer-codes-one-song": _pretrained("codes", 1),
    }
)
