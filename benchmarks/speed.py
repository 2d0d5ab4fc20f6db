"""Time and memory of whole processes, ours and the peer's in turn; medians of several runs."""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

from measure import Run, audiform, demucs, parser, report, run
from released_shape import SIGNATURE, write_checkpoint
from songs import write_song


def main() -> None:
    """Separate one song with both programs, and with the embedded model."""
    arguments = parser(__doc__ or "")
    arguments.add_argument("--seconds", type=float, default=30.0)
    arguments.add_argument("--repeats", type=int, default=3)
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_checkpoint(folder / "repo")
        song = write_song(folder / "song.wav", seconds=options.seconds)
        common = ["-n", SIGNATURE, "--repo", str(folder / "repo"), "--shifts", "0", "-d", "cpu",
                  "-o", str(folder), str(song)]  # fmt: skip
        runs: dict[str, list[Run]] = {"demucs": [], "audiform": [], "embedded model": []}
        for _ in range(options.repeats):
            runs["demucs"].append(run(*demucs(*common)))
            runs["audiform"].append(run(*audiform("separate", *common)))
            runs["embedded model"].append(run(*audiform("separate", str(song), "-o", str(folder))))
    seconds = {name: statistics.median(r.seconds for r in done) for name, done in runs.items()}
    rows: dict[str, str | float] = {}
    for name, done in runs.items():
        rows[f"{name}: seconds"] = seconds[name]
        rows[f"{name}: peak memory, MB"] = max(r.peak_mb for r in done)
        rows[f"{name}: times real time"] = options.seconds / seconds[name]
    rows["demucs / audiform, same network"] = seconds["demucs"] / seconds["audiform"]
    report(f"speed, {options.seconds:g} s of stereo, released shape", rows, options.json)


if __name__ == "__main__":
    main()
