"""What learned bits cost: a network trained with and without them, size against SDR.

A small Demucs is trained for ``--steps`` as it is (or ``--model`` is taken as it comes); from
there on for half as many steps twice, once as it is and once with the quantiser. Both see the
same batches. Rounding the float network to the same number of bits everywhere is shown
beside them.
"""

from __future__ import annotations

import copy
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from measure import parser, report

from audiform.audio import Audio
from audiform.checkpoints import build_model, resolve, write_checkpoint
from audiform.data.layouts import read_tracks
from audiform.data.pool import SOURCES
from audiform.data.segments import SegmentDataset
from audiform.data.track import Track
from audiform.inference.separator import Separator
from audiform.metrics.separation import sdr
from audiform.models.demucs import Demucs, DemucsConfig
from audiform.training.quantise import PseudoQuantiser, QuantiserConfig

#: Demucs as in its first paper, narrow and without upsampling: no branches, no norms, ReLU.
NETWORK = DemucsConfig(
    hidden_channels=24,
    depth=4,
    lstm_layers=1,
    gelu=False,
    norm_starts=99,
    encoder_branches=False,
    resample=False,
    rescale_reference=0.1,
)

SAMPLE_RATE = NETWORK.sample_rate

SEGMENT_SECONDS = 1.5
BATCH_SIZE = 4
#: Of the weights from scratch, of those of a trained network, and of the bits: runs are short,
#: so the last is larger than usual.
LEARNING_RATE, TUNING_RATE, BITS_RATE = 1e-3, 1e-4, 3e-2

#: Of each song so much is read, from so far on.
START_SECONDS, READ_SECONDS = 30.0, 60.0


def main() -> None:
    """Train, write, read back and score."""
    arguments = parser(__doc__ or "")
    arguments.add_argument("songs", type=Path, help="folder of songs to train on")
    arguments.add_argument("test", type=Path, help="folder of songs to score")
    arguments.add_argument("--held-out", default="ev_lithium", help="song not to train on")
    arguments.add_argument("--song", default="ev_lithium_10s", help="song to score")
    arguments.add_argument("--model", help="trained model to start from, such as default")
    arguments.add_argument("--steps", type=int, default=200)
    arguments.add_argument("--penalty", type=float, default=QuantiserConfig().penalty)
    arguments.add_argument("--threads", type=int, default=2)
    options = arguments.parse_args()
    torch.set_num_threads(options.threads)
    songs = [song for song in read_tracks(options.songs) if song.name != options.held_out]
    whole = [song for song in songs if set(SOURCES) <= set(song.sources)]
    audio = [read(song, START_SECONDS, READ_SECONDS) for song in whole]
    tests = read_tracks(options.test)
    reference = next(read(song, 0.0, None) for song in tests if song.name == options.song)

    started = time.perf_counter()
    network, about = fresh() if options.model is None else trained(options.model)
    rate = LEARNING_RATE if options.model is None else TUNING_RATE
    first = options.steps if options.model is None else 0
    train(network, audio, range(first), rate)
    with_bits = copy.deepcopy(network)
    rest = range(first, first + options.steps // 2)
    train(network, audio, rest, rate)
    quantiser = PseudoQuantiser(with_bits, QuantiserConfig(penalty=options.penalty))
    train(with_bits, audio, rest, rate, quantiser)
    seconds = time.perf_counter() - started

    even = {
        f"float, rounded to {width} bits": dict(
            bits={name: torch.full_like(bits, width) for name, bits in quantiser.bits().items()},
            half=True,
        )
        for width in (8, 4, 3)
    }
    rows: dict[str, str | float] = {
        "weights": sum(weight.numel() for weight in network.parameters()),
        "steps": first + len(rest),
        "training, s": seconds,
        "penalty per MB": options.penalty,
        "mean bits": torch.cat(list(quantiser.bits().values())).double().mean().item(),
        "size told beforehand, KB": quantiser.true_size_mb(half=True) * 1024,
        "SDR of the mixture, dB": score(reference.sum(dim=0).expand_as(reference), reference),
    }
    plain = 0.0
    with tempfile.TemporaryDirectory() as name:
        for title, model, storing in [
            ("float", network.eval(), {}),
            *((title, network, storing) for title, storing in even.items()),
            ("learned bits, not rounded", with_bits, {}),
            ("learned bits", with_bits, dict(bits=quantiser.bits(), half=True)),
        ]:
            path = Path(name) / "model.safetensors"
            write_checkpoint(
                path,
                state=model.state_dict(),
                sources=SOURCES,
                sample_rate=SAMPLE_RATE,
                **about,
                **storing,
            )
            estimate = separated(path, reference.sum(dim=0))
            size = path.stat().st_size
            plain = plain or size
            rows[f"{title}: SDR, dB"] = score(estimate, reference)
            rows[f"{title}: size, KB"] = size / 1024
            rows[f"{title}: size divided by"] = plain / size
    report(f"quantisation, {options.song}", rows, options.json)


def fresh():
    """Return the small network with initial weights, and what its checkpoint says of it."""
    torch.manual_seed(0)
    return Demucs(NETWORK), {"architecture": "demucs", "config": NETWORK}


def trained(name):
    """Return a trained network, and what its checkpoint says of it."""
    checkpoint = resolve(name).members[0].read()
    about = {"architecture": checkpoint.architecture, "config": checkpoint.config}
    return build_model(checkpoint), about


def separated(path, mixture) -> torch.Tensor:
    """Return the stems of a mixture as the program makes them."""
    stems = Separator(path).separate(Audio(mixture, SAMPLE_RATE))
    return torch.stack([stems[source].samples for source in SOURCES])


def read(song: Track, start_seconds: float, duration_seconds: float | None) -> torch.Tensor:
    """Return the stems of a song as (sources, channels, time)."""
    dataset = SegmentDataset(
        [song],
        SOURCES,
        sample_rate=SAMPLE_RATE,
        audio_channels=NETWORK.audio_channels,
        segment_seconds=1.0,
        missing="silence",
    )
    length = dataset.track_length_samples(0)
    start = min(length, int(start_seconds * SAMPLE_RATE))
    if duration_seconds is not None:
        length = min(length, start + int(duration_seconds * SAMPLE_RATE))
    return torch.from_numpy(
        dataset.read_track(0, start_samples=start, length_samples=length - start)
    )


def draw(audio, step) -> torch.Tensor:
    """Return stems of different songs and places, at different levels; mixtures have one level."""
    generator = np.random.default_rng(step)
    length = int(SEGMENT_SECONDS * SAMPLE_RATE)
    batch = torch.empty(BATCH_SIZE, len(SOURCES), 2, length)
    for item in batch:
        for index, stem in enumerate(item):
            song = audio[generator.integers(len(audio))]
            start = generator.integers(song.shape[-1] - length)
            stem.copy_(song[index, :, start : start + length] * generator.uniform(0.5, 1.2))
    deviation = batch.sum(dim=1).mean(dim=1).std(dim=-1)
    return batch / (deviation[:, None, None, None] + 1e-4)


def train(network, audio, steps, learning_rate, quantiser=None) -> None:
    """Train with Adam and the L1 distance between waveforms, relative to the mixture's."""
    network.train()
    groups = [{"params": list(network.parameters())}]
    if quantiser is not None:
        groups.append({"params": list(quantiser.parameters()), "lr": BITS_RATE})
    optimiser = torch.optim.Adam(groups, lr=learning_rate)
    for step in steps:
        stems = draw(audio, step)
        mixture = stems.sum(dim=1)
        optimiser.zero_grad()
        if quantiser is None:
            loss = distance(network(mixture), stems)
        else:
            with quantiser.noise(network, torch.Generator().manual_seed(step)):
                loss = distance(network(mixture), stems) + quantiser.penalty()
        loss.backward()
        optimiser.step()


def distance(estimate, stems) -> torch.Tensor:
    """Return the mean absolute error over the mixture's mean absolute value."""
    return (estimate - stems).abs().mean() / stems.sum(dim=1).abs().mean()


def score(estimate, reference) -> float:
    """Return the mean SDR over the stems in dB."""
    return sdr(estimate=estimate, reference=reference).mean().item()


if __name__ == "__main__":
    main()
