"""Networks and packages of the published package, the oracle of these tests."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import torch
from demucs.htdemucs import HTDemucs
from safetensors.torch import save_file

FOUR = ["drums", "bass", "other", "vocals"]
SIX = [*FOUR, "guitar", "piano"]

#: Small in width, but with all parts: half a second, branches on both sides.
TINY = {
    "sources": FOUR,
    "channels": 8,
    "bottom_channels": 32,
    "t_heads": 4,
    "t_layers": 3,
    "dconv_mode": 3,
    "segment": Fraction(1, 2),
}


def network(**options):
    """A published network with random weights that float16 holds exactly, as published ones."""
    torch.manual_seed(7)
    model = HTDemucs(**(TINY | options)).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "scale" in name or "gamma" in name:  # almost 0 at the start: hides wrong names
                parameter.uniform_(0.2, 1.0)
            elif "norm" in name or ".1." in name or ".4." in name:
                parameter.add_(0.3 * torch.rand_like(parameter))
    model.load_state_dict({key: value.half() for key, value in model.state_dict().items()})
    return model


def half_state(model):
    return {key: value.half() for key, value in model.state_dict().items()}


def package(model, **changes):
    """What the published trainer saves, as a table."""
    args, kwargs = model._init_args_kwargs
    return {
        "klass": HTDemucs,
        "args": args,
        "kwargs": kwargs,
        "state": half_state(model),
        "training_args": {"lr": 3e-4, "sources": list(kwargs["sources"])},
    } | changes


def save_th(path: Path, content, *, legacy: bool = False) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    return path


def save_hub(path: Path, model, **metadata) -> Path:
    args, kwargs = model._init_args_kwargs
    encoded = {
        key: {
            "_type": "fraction",
            "numerator": value.numerator,
            "denominator": value.denominator,
        }
        if isinstance(value, Fraction)
        else value
        for key, value in kwargs.items()
    }
    save_file(
        {key: value.contiguous() for key, value in half_state(model).items()},
        path,
        metadata={
            "klass": "demucs.htdemucs.HTDemucs",
            "args": json.dumps(args),
            "kwargs": json.dumps(encoded),
        }
        | metadata,
    )
    return path
