"""All that the engine may ask of a model.

A model takes audio and gives audio, in three steps: ``analyse`` (STFT, normalisation),
``core`` (the network alone: plain tensors in and out, what a backend compiles) and
``synthesise``. Its :class:`SeparationSpec` says how the engine cuts a track into segments
and joins the results.

An effect with knobs takes dry audio and the positions of its knobs and gives wet audio, whole
or block by block with a state in between. Its :class:`EffectSpec` says what blocks it takes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from audiform.dsp.level import Normalisation
from audiform.knob import Knob


@runtime_checkable
class TrackStatistic(Protocol):
    """A statistic of a whole track, gathered block by block; immutable."""

    def update(self, block: Float[Tensor, "channels time"]) -> TrackStatistic:
        """Return the statistic with ``block`` taken in."""
        ...

    def normalisation(self) -> Normalisation:
        """Return what the gathered blocks say about the level."""
        ...


@dataclass(frozen=True)
class OverlapAdd:
    """Segments overlap by this share of their length and are faded into each other.

    The weights are a triangle over the segment, divided by their running sum (Demucs).
    ``overlap`` is in [0, 1).
    """

    overlap: float = 0.25


@dataclass(frozen=True)
class CentreCrop:
    """Segments are extended by real context, of which nothing is kept but a short fade.

    ``context_samples`` on either side of a segment are shown to the model and dropped;
    neighbours are faded into each other over ``fade_samples`` (at most twice the context)
    around their border.
    """

    context_samples: int
    fade_samples: int


class SeparationConfig(Protocol):
    """What the configuration of every separation model says."""

    @property
    def sample_rate(self) -> int:
        """In Hz."""
        ...

    @property
    def audio_channels(self) -> int:
        """Channels that go in and come out."""
        ...

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the stems."""
        ...

    @property
    def segment_samples(self) -> int:
        """Length that the model is at its best with."""
        ...


@dataclass(frozen=True)
class SeparationSpec:
    """What a separation model tells the engine about itself.

    ``segment_samples`` is the length that the model is at its best with; ``fixed_segment``
    says that it cannot take a longer one. ``statistic`` is the empty statistic of the whole
    track that the model wants to be normalised by.
    """

    sample_rate: int
    audio_channels: int
    sources: tuple[str, ...]
    segment_samples: int
    join: OverlapAdd | CentreCrop
    statistic: TrackStatistic
    fixed_segment: bool = False

    @classmethod
    def of(
        cls,
        config: SeparationConfig,
        *,
        join: OverlapAdd | CentreCrop,
        statistic: TrackStatistic,
        fixed_segment: bool = False,
    ) -> SeparationSpec:
        """Return what a model of this configuration tells the engine."""
        return cls(
            config.sample_rate,
            config.audio_channels,
            config.sources,
            config.segment_samples,
            join,
            statistic,
            fixed_segment,
        )


class Analysis(NamedTuple):
    """What ``analyse`` hands on: tensors for ``core``, and what ``synthesise`` needs besides."""

    inputs: tuple[Tensor, ...]
    context: Any


@runtime_checkable
class SeparationModel(Protocol):
    """A network that takes a mixture apart."""

    @property
    def spec(self) -> SeparationSpec:
        """What the engine must know."""
        ...

    def input_samples(self, segment_samples: int) -> int:
        """How many samples to feed for a segment of this length, real context included."""
        ...

    def analyse(self, mixture: Float[Tensor, "batch channels time"]) -> Analysis:
        """Turn audio into the network's input tensors."""
        ...

    def core(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Run the network alone."""
        ...

    def synthesise(
        self, outputs: tuple[Tensor, ...], analysis: Analysis
    ) -> Float[Tensor, "batch sources channels time"]:
        """Turn the network's output tensors into audio."""
        ...

    def __call__(
        self, mixture: Float[Tensor, "batch channels time"]
    ) -> Float[Tensor, "batch sources channels time"]:
        """Run the three steps."""
        ...


@runtime_checkable
class Backend(Protocol):
    """Runs the core of one model by some means, at some precision.

    Called with the tensors that ``analyse`` gives, it returns what ``core`` would, in float32 on
    the device of the inputs.
    """

    @property
    def name(self) -> str:
        """What runs the network."""
        ...

    @property
    def precision(self) -> str:
        """What it calculates in: fp32, bf16 or fp16."""
        ...

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Run the network alone."""
        ...


@dataclass(frozen=True)
class EffectSpec:
    """What a learned effect tells the engine and the trainer about itself.

    ``context_samples``: how much dry audio before a sample the wet one depends on, its look-back;
    what a state remembers beyond it fades slowly. ``block_samples``: the length of a block is a
    multiple of it. ``latency_samples``: how much later than dry audio wet audio comes out of
    :meth:`EffectModel.step`. ``channels_together``: the channels of a sound are heard as one, as
    the channels of an item of a batch; otherwise each goes through by itself, as an item.
    """

    sample_rate: int
    audio_channels: int
    knobs: tuple[Knob, ...]
    context_samples: int
    block_samples: int = 1
    latency_samples: int = 0
    channels_together: bool = False


#: What an effect remembers between two blocks: plain tensors, so that an exported network can
#: have them as inputs and outputs. The first axis of each is the batch.
EffectState = tuple[Tensor, ...]

#: The next block and the state before it -> wet audio and the state after, at fixed knobs.
FixedStep = Callable[[Tensor, EffectState], tuple[Tensor, EffectState]]


@runtime_checkable
class EffectModel(Protocol):
    """A network that has learned an effect with knobs, or without.

    Knobs are one number each in the network's range (:meth:`audiform.knob.Knob.to_network`), in
    the order of ``spec.knobs``.
    """

    @property
    def spec(self) -> EffectSpec:
        """What the engine must know."""
        ...

    def __call__(
        self, dry: Float[Tensor, "batch channels time"], knobs: Float[Tensor, "batch knob"]
    ) -> Float[Tensor, "batch channels time"]:
        """Return what ``dry`` becomes, undelayed, at its length; silence lies before it."""
        ...

    def predict(
        self, dry: Float[Tensor, "batch channels time"], knobs: Float[Tensor, "batch knob"]
    ) -> Float[Tensor, "batch channels wet_time"]:
        """Return what all of ``dry`` but its look-back and look-ahead becomes: for training.

        ``dry`` has ``context_samples``, a multiple of ``block_samples``, ``latency_samples``.
        """
        ...

    def initial_state(self, batch_size: int = 1) -> EffectState:
        """Return the state before the first block: silence."""
        ...

    def step(
        self,
        block: Float[Tensor, "batch channels time"],
        knobs: Float[Tensor, "batch knob"],
        state: EffectState,
    ) -> tuple[Float[Tensor, "batch channels time"], EffectState]:
        """Take the next block and the state before it; return wet audio and the state after."""
        ...


@runtime_checkable
class SettlesKnobs(Protocol):
    """A network whose steps are quicker once its knobs stand still."""

    def settled(self, knobs: Float[Tensor, " knob"]) -> FixedStep:
        """Return :meth:`EffectModel.step` for these knobs and the weights as they are now."""
        ...


def step_at(network: EffectModel, knobs: Float[Tensor, " knob"]) -> FixedStep:
    """Return ``network.step`` for knobs that stand still, and weights that do."""
    if isinstance(network, SettlesKnobs):
        return network.settled(knobs)
    return lambda block, state: network.step(block, knobs.expand(len(block), -1), state)


@runtime_checkable
class FollowsBeats(Protocol):
    """An effect that can be told when beats are."""

    def state_with_beats(self, beats: Sequence[float], batch_size: int = 1) -> EffectState:
        """Return the state before the first block, with the beats' times in seconds."""
        ...
