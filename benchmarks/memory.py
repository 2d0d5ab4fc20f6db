"""Peak resident memory for a short and a long song: it must not grow with the length."""

from __future__ import annotations

import tempfile
from pathlib import Path

from measure import Run, audiform, parser, report, run
from songs import write_song

from audiform.bench.separate import write_random_htdemucs

#: Minutes of the song that is separated first, unmeasured: a network may be prepared once.
WARM_UP = 0.2


def main() -> None:
    """Separate a short and a long song with the embedded model, or another one."""
    arguments = parser(__doc__ or "")
    arguments.add_argument("--short", type=float, default=3.0, help="minutes")
    arguments.add_argument("--long", type=float, default=60.0, help="minutes")
    arguments.add_argument("--model", default="default")
    arguments.add_argument(
        "--released-shape", action="store_true", help="HT Demucs' shape, random weights, instead"
    )
    options = arguments.parse_args()
    rows: dict[str, str | float] = {}
    peaks = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = ["-n", options.model]
        if options.released_shape:
            repo = folder / "repo"
            model = ["-n", write_random_htdemucs(repo), "--repo", str(repo)]

        def separate(minutes: float) -> Run:
            song = write_song(folder / "song.wav", seconds=60 * minutes)
            return run(*audiform("separate", str(song), *model, "-o", str(folder)))

        separate(WARM_UP)
        for minutes in (options.short, options.long):
            done = separate(minutes)
            peaks.append(done.peak_mb)
            rows[f"{minutes:g} min: peak memory, MB"] = done.peak_mb
            rows[f"{minutes:g} min: seconds"] = done.seconds
            rows[f"{minutes:g} min: times real time"] = 60 * minutes / done.seconds
    rows["growth, MB"] = peaks[1] - peaks[0]
    report("memory", rows, options.json)


if __name__ == "__main__":
    main()
