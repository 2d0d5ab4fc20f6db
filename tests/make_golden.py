"""Write what the golden tests compare with: ``python -m tests.make_golden NAME...``.

Only on purpose, when a network is meant to change; the diff shows which one did.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from audiform.models import MODELS

FOLDER = Path(__file__).parent / "golden"
KEYS = Path(__file__).parent / "contracts" / "state_keys.json"


def make(name: str) -> None:
    """Freeze a tiny network: its weights, an input and the output."""
    from tests.contracts.test_models import build, music

    network = build(name)
    mixture = music(network.spec.segment_samples)
    with torch.inference_mode():
        stems = network(mixture)
    state = {f"state.{key}": value.half() for key, value in network.state_dict().items()}
    network.load_state_dict({key[6:]: value.float() for key, value in state.items()})
    with torch.inference_mode():
        stems = network(mixture)
    save_file({**state, "mixture": mixture, "stems": stems.half()}, FOLDER / f"{name}.safetensors")
    keys = json.loads(KEYS.read_text()) if KEYS.exists() else {}
    keys[name] = {key: list(value.shape) for key, value in network.state_dict().items()}
    KEYS.write_text(json.dumps(keys, indent=1) + "\n")


if __name__ == "__main__":
    for wanted in sys.argv[1:] or list(MODELS):
        make(wanted)
