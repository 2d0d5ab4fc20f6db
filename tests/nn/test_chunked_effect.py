"""Answers that overlap: what they are made of, in one pass, in blocks and in training."""

import pytest
import torch
from torch import Tensor, nn

from audiform.nn.chunked_effect import ChunkedEffect, ChunkFrames


class UnevenGain(ChunkedEffect):
    """A network that is wrong by its place in the answer: it gets louder towards the end."""

    def __init__(self, overlap: int) -> None:
        frames = ChunkFrames(
            n_fft=32,
            hop_length=12,
            chunk_samples=256,
            shrink_factor=4,
            look_ahead=True,
            overlap=overlap,
        )
        super().__init__(frames, sample_rate=8000, knobs=())
        self.gain = nn.Parameter(torch.linspace(0.5, 1.5, frames.output_samples))

    def core(self, chunks: Tensor, knobs: Tensor) -> tuple[Tensor, ...]:
        end = self.frames.chunk_samples
        return (self.gain * chunks[:, end - self.frames.output_samples : end],)


def played(network: ChunkedEffect, length: int = 500) -> Tensor:
    with torch.inference_mode():
        return network(torch.ones(1, 1, length), torch.zeros(1, 0))[0, 0]


@pytest.mark.parametrize("overlap", [2, 4, 8])
def test_the_noise_of_a_place_does_not_repeat_with_the_answers(overlap: int) -> None:
    spread = [played(UnevenGain(k).eval())[64:-64] for k in (1, overlap)]
    assert (spread[0].max() - spread[0].min()).item() == pytest.approx(1.0)
    assert (spread[1].max() - spread[1].min()).item() < 1.05 / overlap
    # the gains of all places, on the average
    assert spread[1].mean().item() == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize("overlap", [1, 4])
@pytest.mark.parametrize("blocks_at_a_time", [1, 3])
def test_blocks_are_the_pass_delayed(overlap: int, blocks_at_a_time: int) -> None:
    network = UnevenGain(overlap).eval()
    latency = network.spec.latency_samples
    dry = torch.randn(1, 1, 12 * 64, generator=torch.Generator().manual_seed(0))
    state, parts = network.initial_state(), []
    with torch.inference_mode():
        whole = network(dry, torch.zeros(1, 0))
        for block in dry.split(blocks_at_a_time * network.spec.block_samples, dim=-1):
            wet, state = network.step(block, torch.zeros(1, 0), state)
            parts.append(wet)
    torch.testing.assert_close(
        torch.cat(parts, dim=-1)[..., latency:], whole[..., : dry.shape[-1] - latency]
    )


@pytest.mark.parametrize("blocks", [1, 4, 7])
def test_in_training_answers_stand_side_by_side(blocks: int) -> None:
    network = UnevenGain(4).train()
    spec = network.spec
    length = blocks * spec.block_samples
    dry = torch.ones(2, 1, spec.context_samples + length + spec.latency_samples)
    wet = network.predict(dry, torch.zeros(2, 0))
    assert wet.shape == (2, 1, length)
    expected = network.gain.repeat(-(-length // len(network.gain)))[:length]
    assert torch.equal(wet[1, 0], expected)
    assert network.eval().predict(dry, torch.zeros(2, 0)).shape == wet.shape


def test_an_overlap_divides_the_answer() -> None:
    problem = ChunkFrames(
        n_fft=32, hop_length=12, chunk_samples=256, shrink_factor=4, look_ahead=True, overlap=5
    ).problem()
    assert problem is not None and "give an overlap that divides their length" in problem
