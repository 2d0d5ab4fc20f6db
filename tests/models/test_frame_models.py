"""Frame Transformer and Frame Primer: size, who sees whom, masks."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from audiform.dsp.vocal_free import VocalFreeConfig
from audiform.models.frame_primer import FramePrimer, FramePrimerConfig
from audiform.models.frame_transformer import FrameTransformer, FrameTransformerConfig
from audiform.nn.frame_attention import FrameAttention
from audiform.nn.time_convolution import TimeConvolution
from tests.models_for_tests import TINY_FRAME_PRIMER, TINY_FRAME_TRANSFORMER

TINY_STACK = TINY_FRAME_PRIMER.model_copy(update={"form": "stack", "num_layers": 3})
NETWORKS = {
    "frame-transformer": (FrameTransformer, TINY_FRAME_TRANSFORMER),
    "frame-primer": (FramePrimer, TINY_FRAME_PRIMER),
    "frame-primer, stack": (FramePrimer, TINY_STACK),
}
every_network = pytest.mark.parametrize("name", NETWORKS)


def build(name: str, **changes) -> torch.nn.Module:
    torch.manual_seed(0)
    network, config = NETWORKS[name]
    return network(type(config).model_validate({**config.model_dump(), **changes})).eval()


def magnitudes(num_frames: int = 20) -> torch.Tensor:
    return torch.rand(1, 2, 32, num_frames, generator=torch.Generator().manual_seed(1))


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def silence_attention(network: torch.nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, FrameAttention):
            torch.nn.init.zeros_(module.output.weight)
            torch.nn.init.zeros_(module.output.bias)


def shut_time_convolutions(network: torch.nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, TimeConvolution):
            with torch.no_grad():
                module.weight[..., : module.padding] = 0
                module.weight[..., module.padding + 1 :] = 0


def frames_that_change(network: torch.nn.Module, *, changed: int) -> list[int]:
    before = magnitudes()
    after = before.clone()
    after[..., changed] = 1 - after[..., changed]
    with torch.inference_mode():
        (first,), (second,) = network.core(before), network.core(after)
    return (first - second).abs().amax(dim=(0, 1, 2, 3)).gt(1e-7).nonzero().flatten().tolist()


@every_network
def test_only_attention_and_time_convolutions_join_frames(name) -> None:
    network = build(name)
    silence_attention(network)
    shut_time_convolutions(network)
    assert frames_that_change(network, changed=7) == [7]


@every_network
def test_each_of_the_two_joins_frames(name) -> None:
    by_convolution, by_attention = build(name), build(name)
    silence_attention(by_convolution)
    shut_time_convolutions(by_attention)
    assert {6, 7, 8} <= set(frames_that_change(by_convolution, changed=7))
    assert len(frames_that_change(by_attention, changed=7)) == 20


def test_the_described_frame_transformer_has_87_million_weights() -> None:
    """Summed by hand, layer by layer: c = 8, F = 2048, two layers on each side of four levels."""
    with torch.device("meta"):
        network = FrameTransformer(FrameTransformerConfig())
    half, wide, heads = 2048, 4096, 8

    def attention(bins: int) -> int:
        return 4 * bins * bins + 2 * bins + heads  # q, k, v, o; biases of q, o; a weight per head

    def feed_forward(bins: int) -> int:
        return 2 * bins * wide + wide + bins

    def norm(width: int) -> int:
        return 2 * width

    def separable(bins_in: int, bins_out: int, kernel: int) -> int:
        return bins_in * kernel + bins_in * bins_out + bins_out

    def encoder(bins: int) -> int:
        gate = bins * 2 * bins + 2 * bins
        branches = (bins * wide + wide) + (bins * half // 2 * 3 + half // 2) + norm(wide)
        branches += separable(wide, bins, 9)
        return gate + branches + attention(bins) + feed_forward(bins) + 4 * norm(bins)

    def decoder(bins: int) -> int:
        branches = separable(bins, wide, 11) + separable(bins, half // 2, 7) + norm(wide)
        branches += separable(wide, bins, 7)
        return branches + 4 * attention(bins) + feed_forward(bins) + 5 * norm(bins)

    def convolution(channels_in: int, channels_out: int) -> int:
        return channels_in * channels_out * 3 + norm(channels_out)

    bins = [512, 256, 128, 64]
    layers = network.trunk.encoders, network.trunk.decoders
    for level, width in enumerate(bins, start=1):
        for stack, expected in zip(layers, (encoder(width), decoder(width)), strict=True):
            assert [count(layer) for layer in stack[level].layers] == [expected] * 2
    transformers = sum(2 * encoder(width) + 2 * decoder(width) for width in bins)

    down = [(2, 8), (8, 16), (16, 16), (18, 32), (32, 32), (34, 48), (48, 48), (50, 64), (64, 64)]
    up = [(68 + 50, 48), (50 + 34, 32), (34 + 18, 16), (18 + 8, 8)]
    convolutions = sum(convolution(*channels) for channels in down + up)
    # weights of the channels and the norm of what they are squeezed into: input, then memory
    bottlenecks = sum(channels + index + 2 for channels in (16, 32, 48, 64) for index in (0, 1))
    for channels, memory in ((66, 66), (48, 50), (32, 34), (16, 18)):
        bottlenecks += sum(channels + index + 2 + memory + 2 for index in (0, 1))
    head = 8 * 2 + 2
    assert count(network) == transformers + convolutions + bottlenecks + head
    assert count(network) == pytest.approx(87e6, rel=0.005)


def test_the_described_frame_primer_has_205_million_weights() -> None:
    with torch.device("meta"):
        network = FramePrimer(FramePrimerConfig())
    assert count(network) == pytest.approx(205e6, rel=0.01)
    widths = [
        [layer.gate.both.in_features for layer in stack.layers] for stack in network.trunk.encoders
    ]
    assert widths == [[1024] * 2, [512] * 2, [256] * 2, [128] * 2, [64] * 2]


@every_network
def test_the_mask_never_adds_anything(name) -> None:
    with torch.inference_mode():
        (masks,) = build(name).core(magnitudes())
    assert masks.min() > 0
    assert masks.max() < 1


def test_the_second_source_is_the_rest() -> None:
    network = build("frame-transformer")
    mixture = 0.1 * torch.randn(1, 2, 3000)
    with torch.inference_mode():
        stems = network(mixture)
    torch.testing.assert_close(stems.sum(dim=1), mixture, atol=1e-6, rtol=0)
    assert stems.std(dim=-1).min() > 1e-3


def test_any_number_of_sources_has_masks_of_its_own() -> None:
    for sources in (("vocals",), ("a", "b"), ("a", "b", "c", "d", "e")):
        network = build("frame-transformer", sources=sources, rest_source=False)
        with torch.inference_mode():
            assert network(0.1 * torch.randn(1, 2, 2000)).shape == (1, len(sources), 2, 2000)
            assert network.core(magnitudes())[0].shape[1] == len(sources)


def test_the_highest_bin_has_the_mask_of_its_neighbour() -> None:
    network = build("frame-transformer")
    with torch.no_grad():
        network.head.to_masks.weight.zero_()
        network.head.to_masks.bias.fill_(-20)
        nyquist = 0.1 * torch.tensor([1.0, -1.0]).repeat(1, 2, 1000)
        assert network(nyquist)[0, 0].abs().max() < 1e-6


def test_vocal_free_stretches_are_the_mixture() -> None:
    config = VocalFreeConfig(threshold=0.4, min_frames=5, max_gap_frames=2, fade_frames=2)
    network = build("frame-transformer", vocal_free=config)
    with torch.no_grad():
        network.head.to_masks.weight.zero_()  # masks of one half everywhere
        network.head.to_masks.bias.zero_()
        mixture = 0.1 * torch.randn(1, 2, 3000)
        torch.testing.assert_close(network(mixture)[:, 0], mixture, atol=1e-6, rtol=0)
        network.head.to_masks.bias.fill_(-1)
        assert (network(mixture)[:, 0] - mixture).abs().max() > 0.05


@every_network
def test_recomputed_layers_give_the_same_gradients(name) -> None:
    results = []
    for recompute in (False, True):
        network = build(name, recompute=recompute, dropout=0.2).train()
        torch.manual_seed(4)
        network.core(magnitudes())[0].square().mean().backward()
        results.append([parameter.grad for parameter in network.parameters()])
    for held, again in zip(*results, strict=True):
        torch.testing.assert_close(held, again)


@pytest.mark.parametrize(
    ("network", "wrong", "says"),
    [
        (FrameTransformerConfig, {"num_heads": 7}, "must divide"),
        (FrameTransformerConfig, {"sources": ("a", "b", "c")}, "set rest_source to false"),
        (FrameTransformerConfig, {"vocal_free": {}, "context_frames": 20}, "raise it"),
        (FrameTransformerConfig, {"vocal_free": {}, "rest_source": False}, "needs rest_source"),
        (FramePrimerConfig, {"kernel_frames": 4}, "odd"),
        (FramePrimerConfig, {"num_heads": 1000}, "must divide"),
    ],
)
def test_what_does_not_fit_is_refused(network, wrong, says) -> None:
    with pytest.raises(ValidationError, match=says):
        network.model_validate(wrong)
