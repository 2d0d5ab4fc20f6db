"""Our program against the published one: the same checkpoint, file to file."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import soundfile
from measure import audiform, demucs, parser, report, run
from released_shape import OPTIONS, SIGNATURE, write_checkpoint
from songs import write_song


def main() -> None:
    """Separate one song with both and compare the stems."""
    arguments = parser(__doc__ or "")
    arguments.add_argument("--seconds", type=float, default=20.0)
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_checkpoint(folder / "repo")
        song = write_song(folder / "song.wav", seconds=options.seconds)
        common = ["-n", SIGNATURE, "--repo", str(folder / "repo"), "--shifts", "0", "--float32",
                  "--clip-mode", "none", "-d", "cpu", str(song)]  # fmt: skip
        run(*demucs(*common, "-o", str(folder / "theirs")))
        run(*audiform("separate", "--compat", "demucs", *common, "-o", str(folder / "ours")))
        rows: dict[str, str | float] = {}
        for stem in OPTIONS["sources"]:
            place = Path(SIGNATURE) / "song" / f"{stem}.wav"
            theirs, _ = soundfile.read(folder / "theirs" / place)
            ours, _ = soundfile.read(folder / "ours" / place)
            peak = np.abs(theirs).max()
            rows[f"{stem}: largest difference / peak"] = float(np.abs(ours - theirs).max() / peak)
    report(f"equality, {options.seconds:g} s", rows, options.json)


if __name__ == "__main__":
    main()
