"""Time against length with a small model: what a second of music costs must not grow."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from measure import audiform, parser, report, run
from songs import write_song

from audiform.checkpoints import write_checkpoint
from audiform.models.htdemucs import HTDemucs, HTDemucsConfig

SMALL = HTDemucsConfig(hidden_channels=8, bottom_channels=64, transformer_layers=3)


def main() -> None:
    """Separate songs of several lengths, each once, after one that warms up."""
    arguments = parser(__doc__ or "")
    arguments.add_argument("--minutes", type=float, nargs="+", default=[10.0, 30.0, 60.0])
    options = arguments.parse_args()
    torch.manual_seed(0)
    rows: dict[str, str | float] = {}
    seconds = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = write_checkpoint(
            folder / "small.safetensors",
            architecture="htdemucs",
            config=SMALL,
            state=HTDemucs(SMALL).state_dict(),
            sources=SMALL.sources,
            sample_rate=SMALL.sample_rate,
        )
        for minutes in (0.2, *options.minutes):
            song = write_song(folder / "song.wav", seconds=60 * minutes)
            done = run(*audiform("separate", str(song), "-n", str(model), "-o", str(folder)))
            seconds.append(done.seconds)
            rows[f"{minutes:g} min: seconds"] = done.seconds
            rows[f"{minutes:g} min: peak memory, MB"] = done.peak_mb
    lengths = [60 * minutes for minutes in options.minutes]
    slopes = [
        (late - early) / (long - short)
        for early, late, short, long in zip(
            seconds[1:], seconds[2:], lengths, lengths[1:], strict=False
        )
    ]
    for index, slope in enumerate(slopes):
        rows[f"seconds per second, part {index + 1}"] = slope
    if len(slopes) > 1:
        rows["largest slope over smallest"] = max(slopes) / min(slopes)
    report("scaling", rows, options.json)


if __name__ == "__main__":
    main()
