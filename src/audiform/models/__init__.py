"""The networks. Adding one: write its file, add its line to ``MODELS``."""

from __future__ import annotations

from typing import NamedTuple

from pydantic import BaseModel
from torch import nn

from audiform.models.band_split import BandSplit, BandSplitConfig
from audiform.models.demucs import Demucs, DemucsConfig
from audiform.models.effect_rnn import EffectRNN, EffectRNNConfig
from audiform.models.effect_tcn import EffectTCN, EffectTCNConfig
from audiform.models.frame_primer import FramePrimer, FramePrimerConfig
from audiform.models.frame_restorer import FrameRestorer, FrameRestorerConfig
from audiform.models.frame_transformer import FrameTransformer, FrameTransformerConfig
from audiform.models.gain_tcn import GainTCN, GainTCNConfig
from audiform.models.grid_aligner import GridAligner, GridAlignerConfig
from audiform.models.hdemucs import HDemucs, HDemucsConfig
from audiform.models.htdemucs import HTDemucs, HTDemucsConfig
from audiform.models.nam_wavenet import NamWaveNet, NamWaveNetConfig
from audiform.models.signaltrain import SignalTrain, SignalTrainConfig
from audiform.models.signaltrain_attention import (
    SignalTrainAttention,
    SignalTrainAttentionConfig,
)


class ModelEntry(NamedTuple):
    """A network's class and the class of its configuration; built as ``network(config)``."""

    config: type[BaseModel]
    network: type[nn.Module]

    @property
    def is_effect(self) -> bool:
        """Whether the network has knobs: an effect. The others have sources: separators."""
        return "knobs" in self.config.model_fields


#: Architecture name, as checkpoints and recipes give it -> classes.
MODELS: dict[str, ModelEntry] = {
    "band-split": ModelEntry(BandSplitConfig, BandSplit),
    "demucs": ModelEntry(DemucsConfig, Demucs),
    "effect-rnn": ModelEntry(EffectRNNConfig, EffectRNN),
    "effect-tcn": ModelEntry(EffectTCNConfig, EffectTCN),
    "frame-primer": ModelEntry(FramePrimerConfig, FramePrimer),
    "frame-restorer": ModelEntry(FrameRestorerConfig, FrameRestorer),
    "frame-transformer": ModelEntry(FrameTransformerConfig, FrameTransformer),
    "gain-tcn": ModelEntry(GainTCNConfig, GainTCN),
    "grid-aligner": ModelEntry(GridAlignerConfig, GridAligner),
    "hdemucs": ModelEntry(HDemucsConfig, HDemucs),
    "htdemucs": ModelEntry(HTDemucsConfig, HTDemucs),
    "nam-wavenet": ModelEntry(NamWaveNetConfig, NamWaveNet),
    "signaltrain": ModelEntry(SignalTrainConfig, SignalTrain),
    "signaltrain-attention": ModelEntry(SignalTrainAttentionConfig, SignalTrainAttention),
}
