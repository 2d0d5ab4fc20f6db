"""Peak resident memory for a short and a long song: it must not grow with the length."""

from __future__ import annotations

import tempfile
from pathlib import Path

from measure import audiform, parser, report, run
from songs import write_song


def main() -> None:
    """Separate a short and a long song with the embedded model."""
    arguments = parser(__doc__ or "")
    arguments.add_argument("--short", type=float, default=3.0, help="minutes")
    arguments.add_argument("--long", type=float, default=60.0, help="minutes")
    arguments.add_argument("--model", default="default")
    options = arguments.parse_args()
    rows: dict[str, str | float] = {}
    peaks = []
    for minutes in (options.short, options.long):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            song = write_song(folder / "song.wav", seconds=60 * minutes)
            done = run(*audiform("separate", str(song), "-n", options.model, "-o", str(folder)))
        peaks.append(done.peak_mb)
        rows[f"{minutes:g} min: peak memory, MB"] = done.peak_mb
        rows[f"{minutes:g} min: seconds"] = done.seconds
        rows[f"{minutes:g} min: times real time"] = 60 * minutes / done.seconds
    rows["growth, MB"] = peaks[1] - peaks[0]
    report("memory", rows, options.json)


if __name__ == "__main__":
    main()
