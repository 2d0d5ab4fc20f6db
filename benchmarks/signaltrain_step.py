"""A training step of SignalTrain: our layout against the published one, from one start.

python benchmarks/signaltrain_step.py [--batch 200] [--steps 4] [--json FILE]

The published layout (strided convolutions to all 1024 bins, the mirrored spectrum, the knobs
repeated for each bin) is written here from its description. Both begin with equal weights and
see equal chunks: their losses must agree, and the time of a step is compared.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Iterator

import measure
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audiform.knob import Knob
from audiform.models.signaltrain import SignalTrain, SignalTrainConfig

KNOBS = tuple(Knob(name=f"knob_{n}", minimum=0.0, maximum=1.0, default=0.0) for n in range(4))
N_FFT, HOP, BINS, FRAMES, OUTPUT_FRAMES, OUTPUT = 1024, 384, 513, 25, 9, 2048

#: Weight of the magnitudes in the loss, and of the highest bin against the lowest (e^7).
MAGNITUDE_WEIGHT, HIGH_WEIGHT = 2e-6, 7.0

Step = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


class PublishedAutoencoder(nn.Module):
    """Nine linear layers on the last axis, each followed by an ELU."""

    def __init__(self) -> None:
        super().__init__()
        widths = [(FRAMES, 64), (64, 32), (32, 16), (16, 16), (16 + len(KNOBS), 16)]
        widths += [(16, 16), (16, 32), (32, 64), (64, OUTPUT_FRAMES)]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in widths)

    def forward(self, bins: Tensor, knobs: Tensor) -> Tensor:
        """Run the layers; knobs are repeated for each bin and concatenated before the fifth."""
        for number, layer in enumerate(self.layers):
            if number == 4:
                repeated = knobs[:, None].repeat(1, bins.shape[1], 1)
                bins = torch.cat([bins, repeated], dim=2)
            bins = F.elu(layer(bins))
        return bins


class PublishedLayout(nn.Module):
    """SignalTrain as its paper and its public description lay it out."""

    def __init__(self) -> None:
        super().__init__()
        shape = {"kernel_size": N_FFT, "stride": HOP, "bias": False}
        self.analysis = nn.ModuleList(nn.Conv1d(1, N_FFT, padding=N_FFT, **shape) for _ in range(2))
        self.synthesis = nn.ModuleList(nn.ConvTranspose1d(N_FFT, 1, **shape) for _ in range(2))
        self.magnitude_path = PublishedAutoencoder()
        self.phase_path = PublishedAutoencoder()

    def forward(self, chunks: Tensor, knobs: Tensor) -> tuple[Tensor, Tensor]:
        """Return the wet end of the chunks and its magnitudes."""
        level = chunks[:, None] / 2
        real, imaginary = (conv(level)[:, :BINS] for conv in self.analysis)
        magnitude = (real.square() + imaginary.square()).clamp_min(1e-34).sqrt()
        phase = torch.atan2(imaginary, real + 1e-7)
        new_magnitude = self.magnitude_path(magnitude, knobs) * magnitude[..., -OUTPUT_FRAMES:]
        new_phase = self.phase_path(phase, knobs) + phase[..., -OUTPUT_FRAMES:]
        real, imaginary = new_magnitude * new_phase.cos(), new_magnitude * new_phase.sin()
        real = torch.cat([real, real[:, 1:-1].flip(1)], dim=1)
        imaginary = torch.cat([imaginary, -imaginary[:, 1:-1].flip(1)], dim=1)
        wet = self.synthesis[0](real) + self.synthesis[1](imaginary)
        wet = wet[:, 0, N_FFT:-N_FFT]
        return 2 * (wet + level[:, 0, -OUTPUT:]), new_magnitude

    def begin_as(self, other: SignalTrain) -> None:
        """Take over the weights of our layout with all bins."""
        state = dict(other.state_dict())
        with torch.no_grad():
            for mine, theirs in (
                (self.analysis, state["stft.analysis"]),
                (self.synthesis, state["stft.synthesis"]),
            ):
                for convolution, weight in zip(mine, theirs, strict=True):
                    convolution.weight.copy_(weight[:, None])
        for mine, theirs in (
            (self.magnitude_path, other.magnitude_path),
            (self.phase_path, other.phase_path),
        ):
            layers = [*theirs.encode, theirs.add_knobs, *theirs.decode]
            for layer, source in zip(mine.layers, layers, strict=True):
                layer.load_state_dict(source.state_dict())


def loss(wet: Tensor, magnitudes: Tensor, target: Tensor) -> Tensor:
    """Return the published loss: log cosh, and magnitudes that cost more the higher they lie."""
    error = (wet - target).abs()
    waveform = (error + F.softplus(-2 * error) - math.log(2)).mean()
    slope = torch.exp(HIGH_WEIGHT * torch.arange(BINS) / BINS)[:, None]
    return waveform + MAGNITUDE_WEIGHT * (magnitudes.abs() * slope).mean()


def batches(size: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield chunks of decaying tones, knobs, and what a gain set by the knobs makes of them."""
    generator = torch.Generator().manual_seed(0)
    time_axis = torch.arange(8192) / 44100
    while True:
        pitch, decay, phase = torch.rand(3, size, 1, generator=generator)
        tone = torch.sin(2 * math.pi * ((100 + 2000 * pitch) * time_axis + phase))
        dry = tone * torch.exp(-20 * decay * time_axis)
        dry += 0.01 * torch.randn(size, 8192, generator=generator)
        knobs = torch.rand(size, len(KNOBS), generator=generator) - 0.5
        yield dry, knobs, torch.tanh((1 + knobs[:, :1]) * dry[:, -OUTPUT:])


def train(network: nn.Module, step: Step, *, batch: int, steps: int) -> tuple[list[float], float]:
    """Return the losses, and the seconds of processor time of the fastest step."""
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)
    losses, fastest = [], float("inf")
    for (dry, knobs, target), _ in zip(batches(batch), range(steps), strict=False):
        started = time.process_time()
        value = loss(*step(dry, knobs), target)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        fastest = min(fastest, time.process_time() - started)
        losses.append(value.item())
    return losses, fastest


def main() -> None:
    """Train the layouts in turn and print."""
    parser = measure.parser(__doc__)
    parser.add_argument("--batch", type=int, default=200)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--threads", type=int, default=1)
    arguments: argparse.Namespace = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    published_config = SignalTrainConfig.published(knobs=KNOBS)
    all_bins = SignalTrain(published_config)
    published = PublishedLayout()
    published.begin_as(all_bins)
    half = SignalTrain(published_config.model_copy(update={"all_bins": False}))
    state = dict(all_bins.state_dict())
    for name in ("stft.analysis", "stft.synthesis"):
        state[name] = state[name][:, :BINS]
    half.load_state_dict(state)
    rows: dict[str, str | float] = {}
    runs = {}
    for name, network, step in (
        ("published layout", published, published),
        ("ours, all bins", all_bins, all_bins.core),
        ("ours, half of the bins", half, half.core),
    ):
        runs[name] = train(network, step, batch=arguments.batch, steps=arguments.steps)
        rows[f"{name}: seconds a step"] = runs[name][1]
    losses, slow = runs.pop("published layout")
    rows["published layout: first and last loss"] = f"{losses[0]:.6g}, {losses[-1]:.6g}"
    for name, (own, seconds) in runs.items():
        rows[f"{name}: times faster"] = slow / seconds
        apart = max(abs(a - b) / b for a, b in zip(own, losses, strict=True))
        rows[f"{name}: losses apart at most"] = f"{apart:.2g} of the loss"
    measure.report(f"SignalTrain, steps of batch {arguments.batch}", rows, arguments.json)


if __name__ == "__main__":
    main()
