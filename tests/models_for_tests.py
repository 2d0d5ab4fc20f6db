"""Small networks for tests: no training, known results."""

from __future__ import annotations

from fractions import Fraction

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audiform.dsp.level import MonoDeviation, NoStatistic
from audiform.knob import Knob
from audiform.models.band_split import BandSplitConfig
from audiform.models.demucs import DemucsConfig
from audiform.models.effect_rnn import EffectRNNConfig
from audiform.models.effect_tcn import EffectTCNConfig
from audiform.models.frame_primer import FramePrimerConfig
from audiform.models.frame_restorer import FrameRestorerConfig
from audiform.models.frame_transformer import FrameTransformerConfig
from audiform.models.gain_tcn import GainTCNConfig
from audiform.models.grid_aligner import GridAlignerConfig
from audiform.models.hdemucs import HDemucsConfig
from audiform.models.htdemucs import HTDemucs, HTDemucsConfig
from audiform.models.nam_wavenet import NamWaveNetConfig, StackConfig
from audiform.models.signaltrain import SignalTrainConfig
from audiform.models.signaltrain_attention import SignalTrainAttentionConfig
from audiform.protocols import Analysis, CentreCrop, OverlapAdd, SeparationSpec

SOURCES = ("drums", "bass", "other", "vocals")
SHARES = (0.1, 0.2, 0.3, 0.4)

TINY_HTDEMUCS = HTDemucsConfig(
    hidden_channels=4,
    n_fft=1024,
    depth=3,
    bottom_channels=16,
    transformer_layers=3,
    transformer_heads=2,
    transformer_hidden_scale=2.0,
    branch_compression=4.0,
    segment_seconds=Fraction(1, 2),
)
TINY_DEMUCS = DemucsConfig(
    hidden_channels=4,
    depth=3,
    norm_starts=1,
    norm_groups=2,
    lstm_layers=1,
    decoder_branches=True,
    branch_compression=2.0,
    branch_attention_starts=1,
    branch_lstm_starts=2,
    segment_seconds=Fraction(1, 5),
)
TINY_HDEMUCS = HDemucsConfig(
    hidden_channels=4,
    n_fft=256,
    depth=4,
    norm_starts=2,
    norm_groups=2,
    decoder_branches=True,
    branch_compression=4.0,
    branch_attention_starts=2,
    branch_lstm_starts=3,
    band_edges=(0.25, 0.5),
    banded_levels=1,
    segment_seconds=Fraction(3, 20),
)
TINY_BAND_SPLIT = BandSplitConfig(
    n_fft=512,
    hop_length=128,
    bands=((8, 4), (32, 2)),
    hidden_channels=8,
    num_blocks=2,
    num_heads=2,
    segment_seconds=0.5,
    context_seconds=0.1,
    fade_seconds=0.02,
)
TINY_FRAME_TRANSFORMER = FrameTransformerConfig(
    n_fft=64,
    hop_length=32,
    segment_frames=24,
    context_frames=8,
    hidden_channels=2,
    channel_factors=(1, 2, 3),
    num_heads=2,
    feed_forward_width=16,
    position_reach=6,
)
TINY_FRAME_PRIMER = FramePrimerConfig(
    sources=("drums", "bass", "other", "vocals"),
    rest_source=False,
    n_fft=64,
    hop_length=32,
    segment_frames=24,
    context_frames=8,
    hidden_channels=2,
    channel_factors=(1, 2, 3),
    num_heads=2,
    feed_forward_width=16,
    position_reach=6,
)

KNOBS = (
    Knob(name="threshold_db", unit="dB", minimum=-30.0, maximum=0.0, default=-10.0),
    Knob(name="release_ms", unit="ms", minimum=1.0, maximum=1000.0, default=50.0, scale="log"),
)
TINY_SIGNALTRAIN = SignalTrainConfig(
    knobs=KNOBS, n_fft=32, hop_length=12, chunk_samples=256, rank=8
)
TINY_SIGNALTRAIN_ATTENTION = SignalTrainAttentionConfig(
    knobs=KNOBS,
    n_fft=32,
    hop_length=12,
    chunk_samples=1024,
    rank=8,
    token_channels=8,
    num_heads=2,
    level_samples=16,
    near_levels=24,
    point_samples=4,
    num_ramps=3,
)
TINY_FRAME_RESTORER = FrameRestorerConfig(
    knobs=KNOBS,
    n_fft=64,
    hop_length=16,
    bands=((2, 4), (4, 4)),
    hidden_channels=8,
    num_heads=2,
    reach_frames=4,
    block_frames=4,
)
#: A line every 64 samples, which is a block.
TINY_GRID_ALIGNER = GridAlignerConfig(
    knobs=KNOBS,
    n_fft=64,
    hop_length=16,
    bands=((2, 4), (4, 4)),
    hidden_channels=8,
    num_heads=2,
    num_blocks=1,
    reach_frames=4,
    threshold=0.1,
    min_gap_seconds=0.001,
    max_shift_seconds=0.0007,
    hold_seconds=0.005,
    lead_seconds=0.0001,
    fade_seconds=0.0001,
    tempo_bpm=44100 * 60 / 64,
    lines_per_beat=1,
    block_samples=64,
)
TINY_GAIN_TCN = GainTCNConfig(
    knobs=KNOBS,
    hidden_channels=4,
    kernel_size=3,
    dilations=(1, 4, 16),
    num_followers=2,
    curve_channels=4,
    knob_channels=8,
    filter_taps=12,
    filter_shapes=2,
    look_ahead_samples=3,
    look_back_seconds=0.002,
)
TINY_EFFECT_RNN = EffectRNNConfig(
    knobs=KNOBS, hidden_channels=4, num_layers=2, look_back_seconds=0.002
)
TINY_EFFECT_TCN = EffectTCNConfig(
    knobs=KNOBS, hidden_channels=4, kernel_size=3, dilations=(1, 4, 16)
)
TINY_NAM_WAVENET = NamWaveNetConfig(
    knobs=KNOBS,
    stacks=(
        StackConfig(
            channels=4, head_channels=3, kernel_sizes=(3, 3, 2), dilations=(1, 2, 8), gated=True
        ),
        StackConfig(
            channels=3,
            head_channels=1,
            kernel_sizes=(3, 4),
            dilations=(1, 5),
            activation="leaky-relu",
            head_kernel_size=4,
            head_bias=True,
        ),
    ),
    head_scale=0.5,
)


class ShareModel(nn.Module):
    """Gives each source a fixed share of the mixture: overlap-add must give exactly that back.

    ``context`` > 0 looks that many samples around: each share is then taken of a moving mean,
    so that wrong context at a border shows.
    """

    def __init__(
        self,
        *,
        segment_samples: int = 1000,
        join: OverlapAdd | CentreCrop | None = None,
        sample_rate: int = 44100,
        audio_channels: int = 2,
        context: int = 0,
        normalise: bool = False,
        fixed_segment: bool = False,
        extra_input: int = 0,
        shares: tuple[float, ...] = SHARES,
    ) -> None:
        super().__init__()
        self.context = context
        self.extra_input = extra_input
        self.shares = shares
        self.calls: list[int] = []
        self.spec = SeparationSpec(
            sample_rate=sample_rate,
            audio_channels=audio_channels,
            sources=SOURCES[-len(shares) :],
            segment_samples=segment_samples,
            join=join or OverlapAdd(0.25),
            statistic=MonoDeviation() if normalise else NoStatistic(),
            fixed_segment=fixed_segment,
        )

    def input_samples(self, segment_samples: int) -> int:
        return segment_samples + self.extra_input

    def analyse(self, mixture: Tensor) -> Analysis:
        return Analysis((mixture,), None)

    def core(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        (mixture,) = inputs
        self.calls.append(len(mixture))
        if self.context:
            width = 2 * self.context + 1
            mixture = F.avg_pool1d(mixture, width, 1, self.context, count_include_pad=True)
        return (torch.stack([share * mixture for share in self.shares], dim=1),)

    def synthesise(self, outputs: tuple[Tensor, ...], analysis: Analysis) -> Tensor:
        return outputs[0]

    def forward(self, mixture: Tensor) -> Tensor:
        analysis = self.analyse(mixture)
        return self.synthesise(self.core(*analysis.inputs), analysis)


def tiny_htdemucs(seed: int = 0) -> HTDemucs:
    """Return a tiny network with weights that matter everywhere: no gain near zero."""
    generator = torch.Generator().manual_seed(seed)
    network = HTDemucs(TINY_HTDEMUCS)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return network.eval()
