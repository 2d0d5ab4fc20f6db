"""Tiny networks with committed weights, input and output: the numbers must not move."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from audiform.models import MODELS
from tests.contracts import test_effect_models, test_models

TINY = test_models.TINY | test_effect_models.TINY

#: Outputs are stored as float16: half a unit in its last place, and kernels that differ.
TOLERANCE = 1e-3


@pytest.mark.parametrize("name", MODELS)
def test_a_frozen_network_gives_its_frozen_output(name) -> None:
    path = Path(__file__).parent / f"{name}.safetensors"
    assert path.exists(), f"missing golden file: python -m tests.make_golden {name}"
    tensors = load_file(path)
    network = MODELS[name].network(TINY[name]).eval()
    network.load_state_dict(
        {key[6:]: value.float() for key, value in tensors.items() if key.startswith("state.")}
    )
    with torch.inference_mode():
        if MODELS[name].is_effect:
            found, expected = network(tensors["dry"], tensors["knobs"]), tensors["wet"].float()
        else:
            found, expected = network(tensors["mixture"]), tensors["stems"].float()
    assert (found - expected).abs().max() <= TOLERANCE * expected.abs().max()
