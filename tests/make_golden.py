"""Write what the golden tests compare with: ``python -m tests.make_golden NAME...``.

A name is a network's or a tiny recipe's (its curve of losses). Only on purpose, when one is
meant to change; the diff shows which one did.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from safetensors.torch import save_file

from audiform.models import MODELS

FOLDER = Path(__file__).parent / "golden"
CURVES = FOLDER / "curves"
KEYS = Path(__file__).parent / "contracts" / "state_keys.json"


def make(name: str) -> None:
    """Freeze a tiny network: its weights, an input and the output."""
    from tests.contracts import test_effect_models, test_models

    if MODELS[name].is_effect:
        network = test_effect_models.build(name)
        inputs = {"dry": test_effect_models.play(500), "knobs": test_effect_models.settings(1)}
        output = "wet"
    else:
        network = test_models.build(name)
        inputs = {"mixture": test_models.music(network.spec.segment_samples)}
        output = "stems"
    state = {f"state.{key}": value.half() for key, value in network.state_dict().items()}
    network.load_state_dict({key[6:]: value.float() for key, value in state.items()})
    with torch.inference_mode():
        found = network(*inputs.values())
    save_file({**state, **inputs, output: found.half()}, FOLDER / f"{name}.safetensors")
    keys = json.loads(KEYS.read_text()) if KEYS.exists() else {}
    keys[name] = {key: list(value.shape) for key, value in network.state_dict().items()}
    KEYS.write_text(json.dumps(keys, indent=1) + "\n")


def make_curve(name: str) -> None:
    """Freeze the losses of a tiny recipe's steps."""
    from tests.recipes.runs import (
        TINY_EFFECTS,
        TINY_INVERSE,
        losses,
        train_tiny,
        write_default_data,
        write_notes,
        write_overdrive,
        write_songs,
    )

    torch.set_num_threads(1)
    with TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        writers = {
            "default-tiny": write_default_data,
            **dict.fromkeys(TINY_EFFECTS, write_overdrive),
            **dict.fromkeys(TINY_INVERSE, write_notes),
        }
        train_tiny(name, writers.get(name, write_songs)(Path(folder) / "data"), run)
        (CURVES / f"{name}.json").write_text(json.dumps(losses(run)) + "\n")


if __name__ == "__main__":
    for wanted in sys.argv[1:] or list(MODELS):
        if wanted in MODELS:
            make(wanted)
        else:
            make_curve(wanted)
