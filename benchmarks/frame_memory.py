"""Peak memory of one training step of the frame networks: forward, backward, optimiser.

The process measures itself: what it holds at most, everything included.
"""

from __future__ import annotations

import resource
import sys
import time

import torch
from measure import parser, report
from torch.nn.attention import SDPBackend, sdpa_kernel

from audiform.models.frame_primer import FramePrimer, FramePrimerConfig
from audiform.models.frame_transformer import FrameTransformer, FrameTransformerConfig
from audiform.training.frame_pretraining import (
    FramePretrainer,
    FramePretrainingConfig,
    draw_pretraining_batch,
)


def peak_gb() -> float:
    """Return the most that this process held so far."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def main() -> None:
    """Take one step of pretraining and report."""
    arguments = parser(__doc__ or "")
    arguments.add_argument(
        "--network", default="frame-primer", choices=["frame-transformer", "frame-primer"]
    )
    arguments.add_argument("--frames", type=int, default=1024)
    arguments.add_argument("--batch-size", type=int, default=1)
    arguments.add_argument("--hold", action="store_true", help="hold activations, no recomputation")
    arguments.add_argument("--precision", default="float32", choices=["float32", "bfloat16"])
    options = arguments.parse_args()
    torch.manual_seed(0)
    recompute = not options.hold
    network = (
        FramePrimer(FramePrimerConfig(recompute=recompute))
        if options.network == "frame-primer"
        else FrameTransformer(FrameTransformerConfig(recompute=recompute))
    )
    pretrainer = FramePretrainer(network, FramePretrainingConfig()).train()
    optimiser = torch.optim.AdamW(pretrainer.parameters())
    shape = (options.batch_size, 2, network.config.num_bins, options.frames)
    batch = draw_pretraining_batch(
        torch.rand(shape), torch.rand(shape), FramePretrainingConfig(), generator=torch.Generator()
    )
    before = peak_gb()
    started = time.perf_counter()
    autocast = torch.autocast("cpu", torch.bfloat16, enabled=options.precision == "bfloat16")
    # the plain form of attention is the faster one backward on a CPU
    with autocast, sdpa_kernel(SDPBackend.MATH):
        loss = pretrainer(batch).total
        # inside: the layers that are computed again must be so in the same form
        loss.backward()
    optimiser.step()
    rows = {
        "network": options.network,
        "weights, millions": sum(weight.numel() for weight in network.parameters()) / 1e6,
        "frames": options.frames,
        "batch size": options.batch_size,
        "activations": "held" if options.hold else "recomputed",
        "precision": options.precision,
        "before the step, GB": before,
        "peak, GB": peak_gb(),
        "seconds": time.perf_counter() - started,
    }
    report("memory of one training step", rows, options.json)


if __name__ == "__main__":
    main()
