"""A filter of second order over a signal that comes in blocks of any length.

The recursion is run over blocks of ``BLOCK_SAMPLES``: within one it is a product with the
impulse response, and from one to the next the two numbers of its state go through the power of
a matrix, all blocks at once by doubling (W. D. Hillis and G. L. Steele, "Data Parallel
Algorithms", 1986). Equal to the recursion sample by sample but for rounding, in float64.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from audiform.dsp.biquad import Biquad

#: Longer blocks cost more products per sample, shorter ones more steps: fastest on a CPU.
BLOCK_SAMPLES = 64


class _BlockMatrices(NamedTuple):
    """What a block does: to its output by input and state, and to its state by both."""

    from_input: Float[Tensor, "block block"]
    from_state: Float[Tensor, "2 block"]
    to_state: Float[Tensor, "block 2"]
    powers: Float[Tensor, "block_and_one 2 2"]


def recursive_filter(
    audio: Float[Tensor, "*leading time"],
    biquad: Biquad,
    state: Float[Tensor, "*leading 2"] | None = None,
) -> tuple[Float[Tensor, "*leading time"], Float[Tensor, "*leading 2"]]:
    """Filter ``audio`` with one ``biquad``; returns the result and the state after it.

    Without a ``state`` nothing has sounded before. The state is float64 and that of the
    transposed direct form II (A. V. Oppenheim and R. W. Schafer, "Discrete-Time Signal
    Processing", section 6.3).
    """
    length = audio.shape[-1]
    rest = length % BLOCK_SAMPLES
    kept = _block_matrices(*biquad.numerator.tolist(), *biquad.denominator.tolist())
    matrices = _BlockMatrices(*(matrix.to(audio.device) for matrix in kept))
    if state is None:
        state = audio.new_zeros(*audio.shape[:-1], 2, dtype=torch.float64)
    whole, last = audio.double().split([length - rest, rest], dim=-1)
    filtered, state = _whole_blocks(whole, matrices, state)
    ending = last @ matrices.from_input[:rest, :rest] + state @ matrices.from_state[:, :rest]
    state = state @ matrices.powers[rest].T + last @ matrices.to_state[BLOCK_SAMPLES - rest :]
    return torch.cat([filtered, ending], dim=-1).to(audio.dtype), state


def _whole_blocks(audio: Tensor, matrices: _BlockMatrices, state: Tensor) -> tuple[Tensor, Tensor]:
    if audio.shape[-1] == 0:
        return audio, state
    blocks = audio.unflatten(-1, (-1, BLOCK_SAMPLES))
    given = blocks @ matrices.to_state
    states = _scan(torch.cat([state[..., None, :], given], dim=-2), matrices.powers[-1])
    filtered = blocks @ matrices.from_input + states[..., :-1, :] @ matrices.from_state
    return filtered.flatten(-2), states[..., -1, :]


def _scan(given: Tensor, step: Tensor) -> Tensor:
    """Return s[k] = step s[k - 1] + given[k] for all k along the last axis but one."""
    distance = 1
    while distance < given.shape[-2]:
        moved = F.pad(given[..., :-distance, :], (0, 0, distance, 0))
        given = given + moved @ step.T
        step = step @ step
        distance *= 2
    return given


@lru_cache(maxsize=64)  # many short blocks have one filter
def _block_matrices(
    b0: float, b1: float, b2: float, a0: float, a1: float, a2: float
) -> _BlockMatrices:
    b0, b1, b2, a1, a2 = b0 / a0, b1 / a0, b2 / a0, a1 / a0, a2 / a0
    step = torch.tensor([[-a1, 1.0], [-a2, 0.0]], dtype=torch.float64)
    entry = torch.tensor([b1 - a1 * b0, b2 - a2 * b0], dtype=torch.float64)
    powers = [torch.eye(2, dtype=torch.float64)]
    for _ in range(BLOCK_SAMPLES):
        powers.append(step @ powers[-1])
    stacked = torch.stack(powers)
    reached = stacked[:-1] @ entry  # the state k samples after an impulse went in
    response = torch.cat([torch.tensor([b0], dtype=torch.float64), reached[:-1, 0]])
    age = torch.arange(BLOCK_SAMPLES) - torch.arange(BLOCK_SAMPLES)[:, None]
    return _BlockMatrices(
        from_input=response[age.clamp(min=0)] * (age >= 0),
        from_state=stacked[:-1, 0, :].T.contiguous(),
        to_state=reached.flip(0),
        powers=stacked,
    )
