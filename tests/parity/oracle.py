"""What the parity tests of the older networks share: published networks, files, comparisons."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import torch
from safetensors.torch import save_file

from audiform.checkpoints.published_classes import CLASSES
from audiform.checkpoints.published_names import renamed
from audiform.dsp.level import Normalisation
from audiform.inference.engine import SegmentRunner, SegmentStream
from audiform.inference.windows import plan_windows

SOURCES = ["drums", "bass", "other", "vocals"]

#: Rounding of float32 over some fifty layers, of the peak.
TOLERANCE = 1e-5

#: A key's bias shifts all scores of a query alike, which the softmax takes out again: what is
#: left of its gradient is rounding.
ZERO_BY_CONSTRUCTION = ".key.bias"


def published(klass, options, *, seed=0, noise=0.05):
    """Make a network of the package with random weights that float16 holds.

    ``noise`` is added to all of them, so that norms and biases count too.
    """
    torch.manual_seed(seed)
    network = klass(**({"sources": SOURCES} | options)).eval()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("scale"):  # near zero at the start: would hide the branches
                parameter.uniform_(0.2, 1.0)
            else:
                parameter += noise * torch.randn_like(parameter)
    return network.half().float()


def save_th(network, path: Path) -> Path:
    """Write a network as the published trainer does."""
    args, kwargs = network._init_args_kwargs
    state = {key: value.half() for key, value in network.state_dict().items()}
    package = {"klass": type(network), "args": args, "kwargs": kwargs, "state": state}
    torch.save(package | {"training_args": {}}, path)
    return path


def save_hub(network, path: Path) -> Path:
    """Write a network as the published hub layout has it."""
    args, kwargs = network._init_args_kwargs
    fraction = {"_type": "fraction"}
    encoded = {
        key: fraction | {"numerator": value.numerator, "denominator": value.denominator}
        if isinstance(value, Fraction)
        else value
        for key, value in kwargs.items()
    }
    state = {key: value.half().contiguous() for key, value in network.state_dict().items()}
    klass = f"{type(network).__module__}.{type(network).__qualname__}"
    metadata = {"klass": klass, "args": json.dumps(args), "kwargs": json.dumps(encoded)}
    save_file(state, path, metadata=metadata)
    return path


def music(network, samples, *, batch=1, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return 0.1 * torch.randn(batch, network.audio_channels, samples, generator=generator)


def assert_equal(found, expected) -> None:
    assert found.shape == expected.shape
    difference = (found - expected).abs().max() / expected.abs().max()
    assert difference <= TOLERANCE, difference.item()


def assert_equal_forward(theirs, ours, lengths) -> None:
    for samples in lengths:
        mixture = music(theirs, samples, batch=2)
        with torch.no_grad():
            assert_equal(ours(mixture), theirs(mixture.clone()))


def assert_equal_gradients(theirs, ours, *, samples) -> None:
    """The gradient of an L1 loss, parameter by parameter: norm of difference over norm."""
    mixture = music(theirs, samples)
    target = music(theirs, samples * len(theirs.sources), seed=2)
    target = target.reshape(1, theirs.audio_channels, -1, samples).transpose(1, 2)
    for network in (theirs, ours):
        (network(mixture.clone()) - target).abs().mean().backward()
    published_class = CLASSES[f"{type(theirs).__module__}.{type(theirs).__qualname__}"]
    prefixes = published_class.parameter_prefixes(ours.config)
    found = dict(ours.named_parameters())
    for name, parameter in theirs.named_parameters():
        key = renamed(name, prefixes)
        gradient, expected = found.pop(key).grad, parameter.grad
        if key.endswith(ZERO_BY_CONSTRUCTION):
            weights = theirs.get_parameter(name.removesuffix("bias") + "weight").grad
            assert max(gradient.norm(), expected.norm()) <= 1e-4 * weights.norm(), key
            continue
        assert expected.norm() > 0, key
        difference = ((gradient - expected).norm() / expected.norm()).item()
        assert difference <= 1e-3, (key, difference)
    assert not found


def assert_equal_engine(theirs, ours, *, seconds, segment=None, overlap=0.25) -> None:
    from demucs.apply import apply_model

    rate = theirs.samplerate
    mixture = music(theirs, int(seconds * rate))
    with torch.no_grad():
        expected = apply_model(theirs, mixture, shifts=0, segment=segment, overlap=overlap)[0]
    plan = plan_windows(
        ours, overlap=overlap, segment_samples=None if segment is None else int(segment * rate)
    )
    runner = SegmentRunner(ours, device=torch.device("cpu"), batch_size=2)
    stream = SegmentStream(runner, plan, normalisation=Normalisation())
    pieces = [stream.push(piece) for piece in mixture[0].split(3_000, -1)]
    assert_equal(torch.cat([*pieces, stream.finish()], dim=-1), expected)
