"""Pack a checkpoint with equally many bits for every weight, so that it can travel.

Norms, biases and other small tensors become float16; with ``--bits 32`` all weights stay as they
are, for effects, which are small. ``python benchmarks/pack_weights.py RUN/model.safetensors
OUT.safetensors``; says how far a weight moves at most, in the range of its tensor.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from audiform.checkpoints.file import read_checkpoint, write_checkpoint
from audiform.checkpoints.header import Licence

#: Bits of a weight that is not packed.
WHOLE_BITS = 32

#: Weights that share a number of bits; smaller tensors stay as they are.
GROUP_SIZE = 8
SMALLEST = 4096


def main() -> None:
    """Write the packed file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--bits", type=int, default=9)
    parser.add_argument("--weights-licence", default="unknown")
    parser.add_argument("--data-licence", default="unknown")
    arguments = parser.parse_args()

    checkpoint = read_checkpoint(arguments.source)
    header, state = checkpoint.header, checkpoint.state
    bits = {
        name: torch.full((-(-weight.numel() // GROUP_SIZE),), arguments.bits)
        for name, weight in state.items()
        if arguments.bits < WHOLE_BITS and weight.is_floating_point() and weight.numel() >= SMALLEST
    }
    licence = Licence(
        code=header.licence.code, weights=arguments.weights_licence, data=arguments.data_licence
    )
    write_checkpoint(
        arguments.target,
        architecture=checkpoint.architecture,
        config=checkpoint.config,
        state=state,
        sources=header.sources,
        knobs=None if header.knobs is None else checkpoint.config.knobs,
        sample_rate=header.sample_rate,
        licence=licence,
        scores=header.scores,
        training=header.training,
        half=bool(bits),
        bits=bits or None,
        group_size=GROUP_SIZE,
    )
    packed = read_checkpoint(arguments.target).state
    worst = max(
        (
            ((packed[name] - weight).abs().max() / (weight.max() - weight.min())).item()
            for name, weight in state.items()
            if name in bits
        ),
        default=0.0,
    )
    size = arguments.target.stat().st_size / 1e6
    print(f"{arguments.target}: {size:.2f} MB, {len(bits)} tensors packed, moved {worst:.1e}")


if __name__ == "__main__":
    main()
