"""Attention across frames against loops over queries and keys."""

from __future__ import annotations

import pytest
import torch

from audiform.nn.frame_attention import FrameAttention, FrameAttentionShape
from audiform.nn.frame_position import (
    DistanceWeights,
    RelativePositions,
    by_key,
    by_key_last_query_first,
)

HEADS, WIDTH, FRAMES = 2, 8, 11
KINDS = {
    "plain": FrameAttentionShape(HEADS),
    "distance": FrameAttentionShape(HEADS, distance=True),
    "relative": FrameAttentionShape(HEADS, reach=FRAMES - 1, kernel_frames=3),
    "relative, short reach": FrameAttentionShape(HEADS, reach=3),
    "both": FrameAttentionShape(HEADS, distance=True, reach=3, kernel_frames=3),
    "by the frame": FrameAttentionShape(HEADS, distance=True, scale_by="frame"),
}


def frames(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def layer(kind: str) -> FrameAttention:
    torch.manual_seed(1)
    attention = FrameAttention(WIDTH, KINDS[kind]).double()
    if attention.distance is not None:
        torch.nn.init.normal_(attention.distance.weight)
    return attention


def by_loops(attention: FrameAttention, x: torch.Tensor, memory: torch.Tensor) -> torch.Tensor:
    """One score at a time."""
    size = WIDTH // HEADS
    queries = attention.query_convolution(attention.query(x))
    keys, values = attention.key_value_convolution(attention.key_value(memory)).chunk(2, dim=-1)
    found = torch.zeros_like(x)
    for item in range(len(x)):
        for head in range(HEADS):
            part = slice(head * size, (head + 1) * size)
            for i in range(x.shape[1]):
                query = queries[item, i, part]
                scores = []
                for j in range(x.shape[1]):
                    score = query @ keys[item, j, part]
                    if attention.positions is not None:
                        reach = attention.positions.reach
                        offset = max(-reach, min(reach, j - i))
                        score = score + query @ attention.positions.table[offset + reach]
                    score = score * attention.scale
                    if attention.distance is not None:
                        score = score + attention.distance.weight[head] * abs(i - j)
                    scores.append(score)
                found[item, i, part] = torch.stack(scores).softmax(0) @ values[item, :, part]
    return attention.output(found)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("with_memory", [False, True])
def test_equals_loops_over_queries_and_keys(kind, with_memory) -> None:
    attention = layer(kind)
    x = frames(2, FRAMES, WIDTH)
    memory = frames(2, FRAMES, WIDTH, seed=3) if with_memory else None
    with torch.no_grad():
        expected = by_loops(attention, x, x if memory is None else memory)
        found = attention(x, memory)
    # double precision up to rounding; positions are kept in float32 on the way
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("kind", ["distance", "both"])
def test_gradients_equal_those_of_loops(kind) -> None:
    attention = layer(kind)
    x = frames(1, FRAMES, WIDTH)
    probe = frames(1, FRAMES, WIDTH, seed=5)
    parameters = list(attention.parameters())
    found = torch.autograd.grad((attention(x) * probe).sum(), parameters)
    expected = torch.autograd.grad((by_loops(attention, x, x) * probe).sum(), parameters)
    for ours, theirs in zip(found, expected, strict=True):
        assert theirs.abs().max() > 0
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("num_frames", [1, 2, 7, 30])
def test_scores_of_any_number_of_frames(num_frames) -> None:
    positions = RelativePositions(4, reach=5)
    queries = frames(1, 1, num_frames, 4).float()
    with torch.no_grad():
        found = by_key(positions(queries, scale=1.0))
        for i in range(num_frames):
            for j in range(num_frames):
                row = positions.table[max(-5, min(5, j - i)) + 5]
                assert abs((queries[0, 0, i] @ row - found[0, 0, i, j]).item()) <= 1e-6
        distances = by_key_last_query_first(DistanceWeights(2)(num_frames)).flip(1)
    assert distances.shape == (2, num_frames, num_frames)
    assert torch.equal(distances, distances.transpose(1, 2))


def test_relative_positions_move_with_the_music() -> None:
    """Where far offsets are shut off, moving the input moves the output, edges aside."""
    reach, moved, length = 4, 5, 40
    attention = FrameAttention(WIDTH, FrameAttentionShape(HEADS, reach=reach, kernel_frames=3))
    positions = attention.positions
    assert positions is not None
    with torch.no_grad():
        size = WIDTH // HEADS
        first = torch.arange(0, WIDTH, size)  # a feature of each head's queries that is always one
        attention.query.weight[first] = 0
        attention.query.bias[first] = 1
        attention.query_convolution.weight[first] = torch.tensor([0.0, 1.0, 0.0])
        positions.table[0], positions.table[-1] = 0, 0
        positions.table[0, 0] = positions.table[-1, 0] = -200
        x = torch.zeros(1, length, WIDTH)
        x[:, 8:24] = frames(1, 16, WIDTH).float()
        here, there = attention(x), attention(x.roll(moved, dims=1))
    inside = slice(reach + 2, length - moved - reach - 2)
    assert here[:, inside].std() > 0.05
    torch.testing.assert_close(
        there[:, inside.start + moved : inside.stop + moved], here[:, inside], atol=1e-6, rtol=0
    )


def test_a_head_may_look_near_or_far() -> None:
    attention = FrameAttention(WIDTH, FrameAttentionShape(HEADS, distance=True))
    assert attention.distance is not None
    with torch.no_grad():
        attention.query.weight.zero_()
        attention.query.bias.zero_()
        attention.output.weight.copy_(torch.eye(WIDTH))
        attention.output.bias.zero_()
        attention.distance.weight.copy_(torch.tensor([-50.0, 50.0]))
        x = frames(1, FRAMES, WIDTH).float()
        found = attention(x)
        values = attention.key_value(x).chunk(2, dim=-1)[1]
    size = WIDTH // HEADS
    torch.testing.assert_close(found[0, :, :size], values[0, :, :size], atol=1e-5, rtol=0)
    torch.testing.assert_close(found[0, 0, size:], values[0, -1, size:], atol=1e-5, rtol=0)
