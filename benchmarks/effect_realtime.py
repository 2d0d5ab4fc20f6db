"""How many times faster than real time learned effects run, block by block on one core.

python benchmarks/effect_realtime.py [--blocks 64 128 512] [--seconds 2] [--onnx] [--json FILE]

Each block is timed alone. The fastest is what the code takes; the median is what this machine,
with all else that runs on it, gave it. Knobs stand still, as in ``Effect.step`` and streams;
``--moving`` adds what a network takes that is told its knobs with each block, ``--onnx`` the
exported graph in ONNX Runtime.
"""

from __future__ import annotations

import json
import tempfile
import time
from functools import partial
from pathlib import Path
from statistics import median

import measure
import numpy as np
import torch

from audiform.checkpoints import export_effect, read_checkpoint, write_checkpoint
from audiform.checkpoints.effect_formats import EffectFormat
from audiform.knob import Knob
from audiform.models import MODELS
from audiform.protocols import FollowsBeats, SettlesKnobs, step_at

KNOBS = tuple(Knob(name=f"knob_{n}", minimum=0.0, maximum=1.0, default=0.0) for n in range(4))


@torch.inference_mode()
def block_times(
    network: torch.nn.Module, block_samples: int, seconds: float, *, moving: bool = False
) -> list[float]:
    """Return the time that each block of ``seconds`` of audio took."""
    count = max(20, round(seconds * network.spec.sample_rate / block_samples))
    audio = 0.1 * torch.randn(count, 1, 1, block_samples)
    knobs = torch.zeros(len(KNOBS))
    step = step_at(network, knobs)
    if moving:
        step = lambda block, state: network.step(block, knobs[None], state)  # noqa: E731
    times, state = [], network.initial_state()
    for block in audio:
        started = time.perf_counter()
        _, state = step(block, state)
        times.append(time.perf_counter() - started)
    return times


def onnx_block_times(network: torch.nn.Module, block_samples: int, seconds: float) -> list[float]:
    """Return the same for the network's graph in ONNX Runtime."""
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        config = network.config
        file = write_checkpoint(
            Path(folder) / "effect.safetensors",
            architecture=next(name for name, e in MODELS.items() if e.config is type(config)),
            config=config,
            state=network.state_dict(),
            knobs=config.knobs,
            sample_rate=config.sample_rate,
        )
        graph = export_effect(
            read_checkpoint(file),
            Path(folder) / "effect.onnx",
            to=EffectFormat.onnx,
            block_samples=block_samples,
        )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        session = onnxruntime.InferenceSession(graph, options)
    about = json.loads(session.get_modelmeta().custom_metadata_map["audiform"])
    states = {state["name"]: np.zeros(state["shape"], state["dtype"]) for state in about["states"]}
    count = max(20, round(seconds * config.sample_rate / block_samples))
    audio = 0.1 * np.random.default_rng(0).standard_normal((count, 1, 1, block_samples))
    knobs = np.zeros((1, len(KNOBS)), np.float32)
    times = []
    for block in audio.astype(np.float32):
        started = time.perf_counter()
        _, *after = session.run(None, {"dry": block, "knobs": knobs, **states})
        times.append(time.perf_counter() - started)
        states = dict(zip(states, after, strict=True))
    return times


def main() -> None:
    """Time every effect of the table and print."""
    parser = measure.parser(__doc__)
    parser.add_argument("--blocks", type=int, nargs="+", default=[64, 128, 512])
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--moving", action="store_true", help="time moving knobs, too")
    parser.add_argument("--onnx", action="store_true", help="time ONNX Runtime, too")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows: dict[str, str | float] = {}
    for name, entry in MODELS.items():
        if not entry.is_effect:
            continue
        network = entry.network(entry.config(knobs=KNOBS)).eval()
        own = network.spec.block_samples
        for size in arguments.blocks if own == 1 else [own]:
            audio = size / network.spec.sample_rate
            ways = {"": block_times}
            if arguments.moving and isinstance(network, SettlesKnobs):
                ways[", knobs moving"] = partial(block_times, moving=True)
            if arguments.onnx and not isinstance(network, FollowsBeats):
                ways[", ONNX Runtime"] = onnx_block_times
            for runtime, timed in ways.items():
                times = timed(network, size, arguments.seconds)
                rows[f"{name}, blocks of {size}{runtime}"] = (
                    f"{audio / min(times):.1f} x best, {audio / median(times):.1f} x median"
                )
    measure.report("Learned effects, times real time on one core", rows, arguments.json)


if __name__ == "__main__":
    main()
