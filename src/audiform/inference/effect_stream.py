"""A learned effect over sound that comes in blocks of any length, at any rate.

Sound is brought to the network's rate and back; what the network's latency delays is moved back.
Channels are processed each on its own. Knobs that move are set anew every
:data:`CONTROL_SAMPLES` samples of the network's rate, counted from the first one, so that the
result does not depend on the blocks.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from audiform.inference.effect_automation import Automation
from audiform.io.resample import StreamResampler, resampled_length
from audiform.knob import complete_settings
from audiform.protocols import EffectModel, EffectSpec, EffectState, FixedStep, step_at

#: Knobs that move are set anew after so many samples: 1.5 ms at 44.1 kHz.
CONTROL_SAMPLES = 64

#: Longest stretch that the network is given at once.
STRETCH_SAMPLES = 2**14


def as_batch(
    block: Float[Tensor, "channels time"], spec: EffectSpec
) -> Float[Tensor, "item item_channels time"]:
    """Return the channels of a block as items of a batch, or as those of one item."""
    return block[None] if spec.channels_together else block[:, None]


class EffectStream:
    """All that :meth:`push` and :meth:`finish` return, joined, is as long as what was pushed.

    ``state`` is what the network begins with, silence by default.
    """

    def __init__(
        self,
        network: EffectModel,
        *,
        sample_rate: int,
        num_channels: int,
        settings: Mapping[str, float],
        automation: Automation | None = None,
        state: EffectState | None = None,
    ) -> None:
        spec = network.spec
        self.network, self.spec = network, spec
        self.num_channels = num_channels
        if automation is not None:
            automation.check(spec.knobs)
        complete = complete_settings(spec.knobs, settings)
        self.fixed = np.array([knob.to_network(complete[knob.name]) for knob in spec.knobs])
        self.automation = automation if automation is not None and automation.points else None
        together = spec.channels_together
        self.state = state or network.initial_state(1 if together else num_channels)
        self.device = next(network.parameters()).device  # type: ignore[attr-defined]
        self.step_at: tuple[np.ndarray, FixedStep] | None = None
        rates = {"from_rate_hz": sample_rate, "to_rate_hz": spec.sample_rate}
        self.inward = StreamResampler(**rates, num_channels=num_channels)
        self.outward = StreamResampler(
            from_rate_hz=spec.sample_rate, to_rate_hz=sample_rate, num_channels=num_channels
        )
        self.waiting = np.zeros((num_channels, 0), np.float32)
        self.to_drop = spec.latency_samples
        self.pushed = self.done = 0

    def push(self, block: np.ndarray) -> np.ndarray:
        """Take in (channels, n) at the outer rate; return what is ready, perhaps (channels, 0)."""
        self.pushed += block.shape[1]
        return self.outward.push(self._process(self.inward.push(block)))

    def finish(self) -> np.ndarray:
        """Return the rest."""
        if self.pushed == 0:
            return np.zeros((self.num_channels, 0), np.float32)
        inner = resampled_length(
            self.pushed,
            from_rate_hz=self.inward.from_rate_hz,
            to_rate_hz=self.inward.to_rate_hz,
        )
        ready = self._process(self.inward.finish(inner))
        out = max(0, self.done - self.spec.latency_samples)
        missing = inner + self.spec.latency_samples - self.done
        padding = missing + (-missing) % self.spec.block_samples - self.waiting.shape[1]
        silence = np.zeros((self.num_channels, padding), np.float32)
        last = self._process(silence)[:, : inner - out]
        rest = self.outward.push(np.concatenate([ready, last], axis=1))
        return np.concatenate([rest, self.outward.finish(self.pushed)], axis=1)

    def _process(self, block: np.ndarray) -> np.ndarray:
        """Take in samples at the network's rate; return those that are ready, undelayed."""
        self.waiting = np.concatenate([self.waiting, block], axis=1)
        size = self.spec.block_samples
        stretch = max(size, STRETCH_SAMPLES // size * size)
        parts = [self.waiting[:, :0]]
        while count := min(stretch, self.waiting.shape[1] // size * size):
            count, positions = self._positions(count)
            taken, self.waiting = self.waiting[:, :count], self.waiting[:, count:]
            wet = self._step(taken, positions)
            dropped = min(self.to_drop, count)
            self.to_drop -= dropped
            parts.append(wet[:, dropped:])
            self.done += count
        return np.concatenate(parts, axis=1)

    def _step(self, dry: np.ndarray, positions: np.ndarray) -> np.ndarray:
        if self.step_at is None or not np.array_equal(positions, self.step_at[0]):
            knobs = torch.tensor(positions, dtype=torch.float32, device=self.device)
            self.step_at = (positions, step_at(self.network, knobs))
        block = as_batch(torch.tensor(np.ascontiguousarray(dry), device=self.device), self.spec)
        with torch.inference_mode():
            wet, self.state = self.step_at[1](block, self.state)
        return wet.flatten(0, 1).float().cpu().numpy()

    def _positions(self, count: int) -> tuple[int, np.ndarray]:
        """Return how far the knobs stay where they are, at most ``count``, and where that is."""
        if self.automation is None:
            return count, self.fixed
        size = self.spec.block_samples
        control = max(size, CONTROL_SAMPLES // size * size)
        first = self.done // control
        last = (self.done + count - 1) // control
        seconds = np.arange(first, last + 1) * control / self.spec.sample_rate
        table = np.tile(self.fixed, (len(seconds), 1))
        for index, knob in enumerate(self.spec.knobs):
            if knob.name in self.automation.points:
                table[:, index] = self.automation.positions(knob, seconds)
        moved = np.flatnonzero((table != table[0]).any(axis=1))
        if not len(moved):
            return count, table[0]
        return min(count, int(first + moved[0]) * control - self.done), table[0]
