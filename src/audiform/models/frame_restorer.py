"""FrameRestorer: takes noise, a room or another damage away from a sound, as much as is wanted.

A spectrogram's frames attend to the frames near them and say for every bin which share of it is
damage; how far the bin stands out of its own past and of its softest moments counts too, bin by
bin. The share is cut out, transformed back and subtracted: ``dry - amount * damage``. So an
amount of 0 returns the very samples, what is left of the damage falls evenly with the amount,
and the network need not be told of it. Denoising and de-reverberation as effects with a
strength: S. H. Hawley, "Learning tunable audio effects via neural networks with self attention"
(2020). Differs from the published network in that frames look both ways (its latency is what
they look ahead), and in estimating the damage and not the result.

A real share of a bin cannot turn its phase, as a room does. So for rooms linear prediction gives
a first estimate of what they send back, phases and all, and the network says for every bin how
much of that is to be believed: what rings by itself can be predicted just as well.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Complex, Float
from pydantic import BaseModel, ConfigDict, PositiveInt, model_validator
from torch import Tensor, nn

from audiform.dsp.linear_prediction import LinearPrediction, late_reverberation
from audiform.dsp.stft import StftSpec
from audiform.knob import HALF_RANGE, Knob
from audiform.nn.bounded_effect import BoundedEffect
from audiform.nn.near_frames import (
    EMBEDDED_SIDE,
    BandHead,
    NearFrames,
    NearFramesConfig,
    contrasts,
    relative_levels,
)
from audiform.protocols import EffectSpec

#: Power of a bin that counts as silence: noise at -90 dB of full scale.
POWER_FLOOR = 1e-9

#: Levels, in nepers of power, times this.
LEVEL_SCALE = 0.25

#: Before training a bin is taken for clean by so much, and by more where it stands out.
INITIAL_CLEAN, INITIAL_CONTRAST = 1.0, 0.25

#: Contrasts of each bin, and all of its levels.
NUM_CONTRASTS, NUM_LEVELS = 3, 3 + 2 * EMBEDDED_SIDE + 1

#: Levels of what is predicted of each bin, and of what is left of it then.
NUM_PREDICTED_LEVELS = 2

STRENGTH = Knob(name="strength", minimum=0.0, maximum=1.0, default=1.0)


class PredictionConfig(BaseModel):
    """How reverberation is predicted: :class:`audiform.dsp.linear_prediction.LinearPrediction`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    n_fft: PositiveInt = 2048
    hop_length: PositiveInt = 512
    delay: PositiveInt = 2
    taps: PositiveInt = 16
    num_bins: PositiveInt = 372

    @property
    def prediction(self) -> LinearPrediction:
        """The same without hyper-parameters' checks."""
        spec = StftSpec(n_fft=self.n_fft, hop_length=self.hop_length)
        return LinearPrediction(spec, delay=self.delay, taps=self.taps, num_bins=self.num_bins)


class FrameRestorerConfig(NearFramesConfig):
    """Hyper-parameters of :class:`FrameRestorer`, besides those of :class:`NearFramesConfig`.

    - ``knobs``: the first says how much is taken away; others, if any, change what is.
    - ``block_frames``: frames that a block of a stream holds.
    - ``late``: how reverberation is predicted, over one block and what is heard around it;
      None: not at all, which is right for noise.
    """

    knobs: tuple[Knob, ...] = (STRENGTH,)
    n_fft: PositiveInt = 2048
    hop_length: PositiveInt = 1024
    bands: tuple[tuple[PositiveInt, PositiveInt], ...] = ((8, 16), (16, 12), (32, 8), (64, 6))
    hidden_channels: PositiveInt = 40
    block_frames: PositiveInt = 32
    late: PredictionConfig | None = None

    @model_validator(mode="after")
    def _hops_fit(self) -> FrameRestorerConfig:
        if self.n_fft % (2 * self.hop_length):
            raise ValueError(f"hop_length {self.hop_length} must divide half of n_fft {self.n_fft}")
        return self

    @property
    def heard_frames(self) -> int:
        """Frames to each side that one frame's answer depends on."""
        return (self.num_blocks + 2) * self.reach_frames + EMBEDDED_SIDE

    @property
    def heard_samples(self) -> int:
        """Samples to each side that one sample's answer depends on."""
        return (self.heard_frames - 1) * self.hop_length + self.n_fft


class FrameRestorer(BoundedEffect):
    """Effect that subtracts what it takes for damage; see the module's text."""

    window: Tensor

    def __init__(self, config: FrameRestorerConfig) -> None:
        super().__init__()
        self.config = config
        num_predicted = NUM_PREDICTED_LEVELS if config.late else 0
        self.frames = NearFrames(
            config.all_bands,
            config.hidden_channels,
            num_levels=NUM_LEVELS + num_predicted,
            num_blocks=config.num_blocks,
            num_heads=config.num_heads,
            reach=config.reach_frames,
            num_settings=max(0, len(config.knobs) - 1),
        )
        self.head = BandHead(config.all_bands, config.hidden_channels)
        if config.late:
            self.late_head = BandHead(config.all_bands, config.hidden_channels)
        self.contrast = nn.Parameter(torch.full((NUM_CONTRASTS, config.num_bins), INITIAL_CONTRAST))
        window = torch.hann_window(config.n_fft).sqrt()
        self.register_buffer("window", window, persistent=False)

    @property
    def spec(self) -> EffectSpec:
        """What the engine must know."""
        config = self.config
        return EffectSpec(
            sample_rate=config.sample_rate,
            audio_channels=1,
            knobs=config.knobs,
            context_samples=config.heard_samples,
            block_samples=config.block_frames * config.hop_length,
            latency_samples=config.heard_samples,
        )

    def core(
        self,
        power: Float[Tensor, "batch frame bin"],
        settings: Float[Tensor, "batch setting"],
        *predicted: Float[Tensor, "batch frame bin"],
    ) -> list[Float[Tensor, "batch frame bin"]]:
        """Return which share of each bin is damage; frames near both ends know too little.

        ``predicted``: the power of what is predicted and of what that leaves, if anything is.
        Then the share of the prediction that is to be believed comes second, and the first is
        of what is left.
        """
        reach = self.config.reach_frames
        levels = relative_levels(power, reach=reach, floor=POWER_FLOOR)
        against = contrasts(power, reach=reach, floor=POWER_FLOOR)
        level = (power + POWER_FLOOR).log()
        parts = [((part + POWER_FLOOR).log() - level)[:, :, None] for part in predicted]
        tokens = self.frames(LEVEL_SCALE * torch.cat([levels, against, *parts], dim=2), settings)
        clean = self.head(tokens) + (against * self.contrast).sum(dim=2)
        shares = [torch.sigmoid(-clean - INITIAL_CLEAN)]
        return [*shares, torch.sigmoid(self.late_head(tokens))] if predicted else shares

    def predict(
        self, dry: Float[Tensor, "batch 1 time"], knobs: Float[Tensor, "batch knob"]
    ) -> Float[Tensor, "batch 1 wet_time"]:
        """Return what ``dry`` becomes, without its look-back and its look-ahead.

        It must hold both and a whole number of hops, of blocks if reverberation is predicted.
        """
        damage = self._damage(dry[:, 0], knobs[:, 1:])
        start = self.config.heard_samples
        own = dry[:, 0, start : dry.shape[-1] - start]
        amount = knobs[:, :1] + HALF_RANGE if self.config.knobs else 1.0
        return (own - amount * damage)[:, None]

    def _damage(
        self, dry: Float[Tensor, "batch time"], settings: Float[Tensor, "batch setting"]
    ) -> Float[Tensor, "batch wet_time"]:
        if self.config.late is None:
            return self._damage_in(dry, settings)
        # a prediction depends on all that it is made of: every block has one of its own
        size = self.config.block_frames * self.config.hop_length
        blocks = dry.unfold(1, size + 2 * self.config.heard_samples, size)
        rows = blocks.flatten(0, 1), settings.repeat_interleave(blocks.shape[1], dim=0)
        return self._damage_in(*rows).reshape(len(dry), -1)

    def _damage_in(
        self, dry: Float[Tensor, "batch time"], settings: Float[Tensor, "batch setting"]
    ) -> Float[Tensor, "batch wet_time"]:
        config = self.config
        spectrum = self._analyse(dry)
        late = None
        if config.late is not None:
            with torch.no_grad():
                late = self._analyse(late_reverberation(dry, config.late.prediction))
        parts = [] if late is None else [late, spectrum - late]
        powers = [part.real.square() + part.imag.square() for part in (spectrum, *parts)]
        heard = slice(config.heard_frames, -config.heard_frames)
        share, *of_late = (part[:, heard] for part in self.core(powers[0], settings, *powers[1:]))
        damage = share * spectrum[:, heard]
        if late is not None:
            damage = damage + (1.0 - share) * of_late[0] * late[:, heard]
        audio = self._synthesise(damage)
        aside = config.n_fft - config.hop_length
        return audio[:, aside : audio.shape[-1] - aside]

    def _analyse(self, audio: Float[Tensor, "batch time"]) -> Complex[Tensor, "batch frame bin"]:
        """Frame k starts at sample k times the hop; scaled so that white noise keeps its power."""
        frames = audio.unfold(-1, self.config.n_fft, self.config.hop_length)
        return torch.fft.rfft(frames * self.window, norm="ortho")

    def _synthesise(
        self, spectrum: Complex[Tensor, "batch frame bin"]
    ) -> Float[Tensor, "batch time"]:
        config = self.config
        frames = torch.fft.irfft(spectrum, config.n_fft, norm="ortho") * self.window
        length = (frames.shape[1] - 1) * config.hop_length + config.n_fft
        joined = F.fold(
            frames.transpose(1, 2),
            (1, length),
            kernel_size=(1, config.n_fft),
            stride=(1, config.hop_length),
        )
        return joined[:, 0, 0] * (2.0 * config.hop_length / config.n_fft)
