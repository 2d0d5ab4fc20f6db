"""Arms differ in what their experiment is about, and are alike in what it is not."""

from __future__ import annotations

import pytest
import torch
from experiments.arms import ARMS
from experiments.table import EXPERIMENTS, Experiment

from audiform.nn.frame_unet import FrameUNet

FRAMES = 32


def num_weights(name: str) -> int:
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in ARMS[name].build().parameters())


def test_experiments_name_arms_that_there_are_and_use_all_of_them() -> None:
    used = set()
    for experiment in EXPERIMENTS.values():
        whole = isinstance(experiment, Experiment)
        used |= set(experiment.arms.values()) if whole else {experiment.arm}
        labels = experiment.arms if whole else experiment.ways
        for claim in experiment.claims:
            assert {claim.better, claim.than} <= set(labels)
    assert used == set(ARMS)


@pytest.mark.parametrize("name", ARMS)
def test_an_arm_gives_masks_and_all_its_weights_a_gradient(name) -> None:
    network = ARMS[name].build()
    (masks,) = network.core(torch.rand(2, 2, 128, FRAMES))
    assert masks.shape == (2, 1, 2, 128, FRAMES)
    masks.square().mean().backward()
    without = [name for name, weight in network.named_parameters() if weight.grad is None]
    assert without == []


def test_the_stack_of_equal_weights_has_as_many_as_the_unet() -> None:
    assert num_weights("primer-stack-weights") == pytest.approx(num_weights("primer"), rel=0.1)
    assert num_weights("primer-stack-steps") == num_weights("primer-stack-weights")


@pytest.mark.parametrize(
    "name", ["transformer-relative", "transformer-both", "transformer-nowhere", "transformer-3x3"]
)
def test_what_is_compared_at_equal_size_is_nearly_of_one_size(name) -> None:
    assert num_weights(name) == pytest.approx(num_weights("transformer"), rel=0.1)


def reach(name: str) -> set[int]:
    """Return by how many frames the U-Net's convolutions carry a change, transformers shut off."""
    trunk = ARMS[name].build().double().eval().trunk
    assert isinstance(trunk, FrameUNet)
    for stack in (*trunk.encoders, *trunk.decoders):
        for layer in stack.layers:
            layer.register_forward_hook(lambda module, inputs, output: torch.zeros_like(output))
    magnitudes = torch.rand(1, FRAMES, 128, 2, dtype=torch.float64)
    changed = magnitudes.clone()
    changed[:, FRAMES // 2] += 1
    with torch.no_grad():
        difference = trunk(changed).last - trunk(magnitudes).last
    frames = difference.abs().amax(dim=(0, 2, 3)) > 1e-12
    return {int(frame) - FRAMES // 2 for frame in frames.nonzero()}


def test_only_convolutions_over_planes_join_frames() -> None:
    assert reach("transformer") == {0}
    assert {-1, 0, 1} < reach("transformer-3x3")


def test_halving_frames_halves_them_at_each_level() -> None:
    trunk = ARMS["transformer-halving"].build().trunk
    seen: list[tuple[int, int]] = []
    for level in trunk.down:
        level.register_forward_hook(
            lambda module, inputs, output: seen.append(tuple(output.shape[1:3]))
        )
    assert trunk(torch.rand(1, 37, 128, 2)).last.shape[1:3] == (37, 128)
    assert seen == [(19, 64), (10, 32), (5, 16)]
