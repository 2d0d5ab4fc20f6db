"""``Effect``: a learned effect with knobs, over audio in memory or block by block."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from audiform.audio import Audio
from audiform.checkpoints.file import build_model
from audiform.checkpoints.model_package import resolve
from audiform.errors import AudioError, CheckpointError, ConfigError
from audiform.inference.device import choose_device
from audiform.inference.effect_automation import Automation
from audiform.inference.effect_stream import EffectStream, as_batch
from audiform.knob import Knob, complete_settings, settings_to_network
from audiform.protocols import (
    EffectModel,
    EffectSpec,
    EffectState,
    FixedStep,
    FollowsBeats,
    step_at,
)

#: Samples that go through at once.
BLOCK_SAMPLES = 2**16


class Effect:
    """A learned effect out of a checkpoint: a path, or a name of the catalogue.

    Raises :class:`CheckpointError` where it cannot be read or is no effect.
    """

    def __init__(self, name: str | Path, *, device: str = "cpu") -> None:
        package = resolve(name)
        member = package.members[0]
        checkpoint = member.read()
        if checkpoint.header.knobs is None:
            raise CheckpointError(
                f"{package.name!r} takes songs apart and is no effect; use audiform.Separator, or "
                "`audiform separate -n`"
            )
        self.name = package.name
        self.path = member.path
        self.header = checkpoint.header
        network = build_model(checkpoint).to(choose_device(device).device)
        self.network = cast(EffectModel, network)
        self.num_weights = sum(weight.numel() for weight in network.parameters())
        self._step_at: tuple[dict[str, float], FixedStep] | None = None

    @property
    def spec(self) -> EffectSpec:
        """What the network says of itself: rate, latency, length of blocks."""
        return self.network.spec

    @property
    def knobs(self) -> tuple[Knob, ...]:
        """The knobs: name, unit, range, default."""
        return self.spec.knobs

    @property
    def sample_rate(self) -> int:
        """The network's rate in Hz, which :meth:`step` takes blocks at."""
        return self.spec.sample_rate

    @cached_property
    def info(self) -> dict[str, Any]:
        """What is known of the effect, as plain data."""
        return {
            "name": self.name,
            "architecture": self.header.architecture,
            "knobs": [knob.model_dump() for knob in self.knobs],
            "sample_rate": self.sample_rate,
            "latency_samples": self.spec.latency_samples,
            "block_samples": self.spec.block_samples,
            "weights": self.num_weights,
            "size_bytes": self.path.stat().st_size,
            "licence": self.header.licence.model_dump(),
            "training": self.header.training,
            "scores": self.header.scores,
        }

    def apply(
        self,
        audio: Audio,
        *,
        automation: Automation | None = None,
        beats: Sequence[float] = (),
        **knobs: float,
    ) -> Audio:
        """Return ``audio`` with the effect on it, at its rate and length.

        Knobs by name in their units, or the defaults; ``automation`` moves those that it names.
        ``beats`` are times in seconds, for effects that follow them. Channels go through each
        on its own, unless the effect hears them together; latency is taken out. Raises
        :class:`ConfigError` for a knob that is not there or a value outside its range.
        """
        stream = self.stream(
            audio.sample_rate, audio.num_channels, automation=automation, beats=beats, **knobs
        )
        dry = audio.samples.detach().cpu().float().numpy()
        starts = range(0, audio.num_samples, BLOCK_SAMPLES)
        parts = [stream.push(dry[:, start : start + BLOCK_SAMPLES]) for start in starts]
        wet = np.concatenate([*parts, stream.finish()], axis=1)
        return Audio(torch.from_numpy(wet), audio.sample_rate)

    def stream(
        self,
        sample_rate: int,
        num_channels: int = 1,
        *,
        automation: Automation | None = None,
        beats: Sequence[float] = (),
        **knobs: float,
    ) -> EffectStream:
        """Return what takes blocks of a sound at its own rate and gives :meth:`apply`'s."""
        state = None
        if len(beats):
            if not isinstance(self.network, FollowsBeats):
                raise ConfigError(f"{self.name} follows no beats; leave them out")
            state = self.network.state_with_beats(beats)
        return EffectStream(
            self.network,
            sample_rate=sample_rate,
            num_channels=num_channels,
            settings=knobs,
            automation=automation,
            state=state,
        )

    def initial_state(self, num_channels: int = 1) -> EffectState:
        """Return the state before the first block of :meth:`step`: silence."""
        return self.network.initial_state(1 if self.spec.channels_together else num_channels)

    def step(
        self, block: Float[Tensor, "channels time"], state: EffectState, **knobs: float
    ) -> tuple[Float[Tensor, "channels time"], EffectState]:
        """Take the next block at :attr:`sample_rate`; return it wet, and the state after it.

        Joined, the results are what :meth:`apply` gives, later by ``spec.latency_samples``.
        Knobs may change from block to block. Raises :class:`AudioError` for a length that is no
        multiple of ``spec.block_samples``, or channels that the state is not of.
        """
        size = self.spec.block_samples
        if block.ndim != 2 or block.shape[1] % size or not block.shape[1]:
            raise AudioError(
                f"a block of shape {tuple(block.shape)} was given; {self.name} takes (channels, "
                f"time) with a time that is a multiple of {size}"
            )
        items = as_batch(block, self.spec)
        if len(items) != len(state[0]):
            raise AudioError(
                f"a block of {len(block)} channels was given with a state of {len(state[0])}; "
                "begin with initial_state(num_channels)"
            )
        settings = complete_settings(self.knobs, knobs)
        device = next(self.network.parameters()).device  # type: ignore[attr-defined]
        if self._step_at is None or settings != self._step_at[0]:
            positions = settings_to_network(self.knobs, settings).to(device)
            self._step_at = (settings, step_at(self.network, positions))
        with torch.inference_mode():
            wet, state = self._step_at[1](items.to(device), state)
        return wet.flatten(0, 1).cpu(), state
