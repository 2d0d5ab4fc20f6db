"""A bag of one network per stem, one stem wanted: networks that it does not need are not run."""

from __future__ import annotations

import tempfile
from pathlib import Path

from measure import audiform, parser, report, run
from released_shape import write_checkpoint
from songs import write_song


def main() -> None:
    """Separate with all four members of a bag shaped as htdemucs_ft, and for one stem."""
    arguments = parser(__doc__ or "")
    arguments.add_argument("--seconds", type=float, default=23.0)
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        checkpoint = write_checkpoint(folder)
        digest = checkpoint.stem.partition("-")[2]
        signatures = [f"feedcaf{number}" for number in range(4)]
        for signature in signatures:
            (folder / f"{signature}-{digest}.th").hardlink_to(checkpoint)
        weights = [[float(row == column) for column in range(4)] for row in range(4)]
        (folder / "bag.yaml").write_text(f"models: {signatures}\nweights: {weights}\n")
        song = write_song(folder / "song.wav", seconds=options.seconds)
        common = ["separate", str(song), "-n", "bag", "--repo", str(folder), "-o", str(folder)]
        everything = run(*audiform(*common))
        one = run(*audiform(*common, "--two-stems", "vocals", "--other-method", "minus"))
    rows: dict[str, str | float] = {
        "all four networks: seconds": everything.seconds,
        "vocals and the rest: seconds": one.seconds,
        "all / one": everything.seconds / one.seconds,
    }
    report(f"skipping, {options.seconds:g} s, released shape", rows, options.json)


if __name__ == "__main__":
    main()
