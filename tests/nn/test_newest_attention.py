"""Attention of the newest frames; the toy of F. Fleuret's attentiontoy1d, made smaller.

A sequence has two triangles and two boxes. Task "kind": each takes the mean height of its kind;
task "place": the two on the left, and the two on the right, take the mean of theirs. Convolutions
reach a few samples far: the first needs attention, the second positions too.
"""

import pytest
import torch
from torch import nn

from audiform.nn.newest_attention import NewestAttention, age_code, near_and_far

LENGTH, WIDTH, SLOT = 48, 32, 12


def sequences(count: int, *, task: str, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw (count, 1, LENGTH) sequences and what is wanted of them, one shape in each quarter."""
    generator = torch.Generator().manual_seed(seed)
    heights = torch.rand(count, 4, generator=generator) * 3
    is_box = torch.rand(count, 4, generator=generator).argsort(dim=1) < 2
    mates = is_box if task == "kind" else torch.tensor([False, False, True, True]).expand(count, 4)
    means = torch.stack([(heights * (mates == side)).sum(1) / 2 for side in (False, True)], dim=1)
    wanted = means.gather(1, mates.long())
    width = torch.randint(5, 10, (count, 4, 1), generator=generator)
    place = (torch.arange(SLOT) - SLOT // 2).abs()
    box = (place <= width // 2).float()
    triangle = (1 - place / (width / 2 + 0.5)).clamp_min(0)
    shapes = torch.where(is_box[..., None], box, triangle)
    drawn = (heights[..., None] * shapes).reshape(count, 1, LENGTH)
    noise = 0.02 * torch.randn(count, 1, LENGTH, generator=generator)
    return drawn + noise, (wanted[..., None] * shapes).reshape(count, 1, LENGTH)


class ToyNet(nn.Module):
    """Five layers; the middle one is a convolution, or attention of all places to all."""

    def __init__(self, *, attention: bool, positions: bool) -> None:
        super().__init__()
        self.positions = positions

        def convolution(a: int, b: int) -> nn.Conv1d:
            return nn.Conv1d(a, b, 5, padding=2)

        self.before = nn.Sequential(
            convolution(1, WIDTH), nn.ReLU(), convolution(WIDTH, WIDTH), nn.ReLU()
        )
        self.attention = NewestAttention(WIDTH, num_heads=2) if attention else None
        self.convolution = None if attention else convolution(WIDTH, WIDTH)
        self.after = nn.Sequential(convolution(WIDTH, WIDTH), nn.ReLU(), convolution(WIDTH, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.before(x)
        if self.convolution is not None:
            return self.after(self.convolution(hidden).relu())
        assert self.attention is not None
        tokens = hidden.transpose(1, 2)
        if self.positions:
            tokens = tokens + age_code(torch.arange(float(LENGTH)).flip(0), WIDTH)
        return self.after(self.attention(tokens, tokens).transpose(1, 2))


def trained_error(*, task: str, attention: bool, positions: bool, steps: int = 250) -> float:
    """Return the mean squared error on new sequences, of the variance of what is wanted."""
    torch.manual_seed(0)
    net = ToyNet(attention=attention, positions=positions)
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    given, wanted = sequences(32 * steps, task=task, seed=1)
    for x, y in zip(given.split(32), wanted.split(32), strict=True):
        optimizer.zero_grad()
        (net(x) - y).square().mean().backward()
        optimizer.step()
    given, wanted = sequences(200, task=task, seed=2)
    with torch.no_grad():
        return ((net(given) - wanted).square().mean() / wanted.var()).item()


def test_shapes_of_one_kind_need_attention() -> None:
    without = trained_error(task="kind", attention=False, positions=False)
    with_it = trained_error(task="kind", attention=True, positions=False)
    assert with_it < 0.5 * without


def test_shapes_on_one_side_need_positions() -> None:
    without = trained_error(task="place", attention=True, positions=False)
    with_it = trained_error(task="place", attention=True, positions=True)
    assert with_it < 0.5 * without


def test_far_frames_come_in_groups_that_know_their_age() -> None:
    tokens = torch.arange(10.0)[None, :, None].expand(1, 10, 4)
    keys, ages = near_and_far(tokens, near_frames=3, group=3)
    assert keys[0, :, 0].tolist() == [9, 8, 7, 5, 2, 0]
    assert ages.tolist() == [0, 1, 2, 4, 7, 9]
    assert near_and_far(tokens, near_frames=10, group=3)[0].shape[1] == 10


def test_a_longer_look_back_moves_no_position() -> None:
    short, long = (near_and_far(torch.zeros(1, n, 8), near_frames=4, group=2)[1] for n in (8, 80))
    assert torch.equal(age_code(long, 8)[: len(short)], age_code(short, 8))


@pytest.mark.parametrize("change", ["newest", "oldest"])
def test_queries_look_at_every_frame(change) -> None:
    torch.manual_seed(0)
    attention = NewestAttention(8, num_heads=2, num_settings=1).eval()
    memory, settings = torch.randn(1, 6, 8), torch.zeros(1, 1)
    other = memory.clone()
    other[:, 0 if change == "newest" else -1] += torch.randn(8)
    queries = memory[:, 1:3]
    assert not torch.allclose(
        attention(queries, memory, settings), attention(queries, other, settings)
    )
