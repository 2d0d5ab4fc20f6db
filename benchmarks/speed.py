"""Whole processes, ours and the peer's in turn: one song, or many short ones in one call."""

from __future__ import annotations

import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from measure import parser, report
from songs import write_song

from audiform.bench.separate import compare_with_demucs, write_random_htdemucs


def main() -> None:
    """Compare with our own choice of backend and precision, or with ``--exact`` in fp32."""
    arguments = parser(__doc__ or "")
    arguments.add_argument("--seconds", type=float, default=60.0)
    arguments.add_argument("--files", type=int, default=1, help="songs of this length each")
    arguments.add_argument("--repeats", type=int, default=3)
    arguments.add_argument("--exact", action="store_true", help="ours in torch and fp32")
    arguments.add_argument("--peer-call-per-file", action="store_true")
    arguments.add_argument("--python", default=sys.executable, help="the Python that has demucs")
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found = compare_with_demucs(
            songs=[
                write_song(folder / f"song{index}.wav", seconds=options.seconds)
                for index in range(options.files)
            ],
            model=write_random_htdemucs(folder / "repo"),
            repo=folder / "repo",
            folder=folder,
            repeats=options.repeats,
            exact=options.exact,
            peer_calls_per_song=options.peer_call_per_file,
            python=options.python,
            on_run=lambda who, run: print(
                f"{who} {run.seconds:.2f} s ({run.processor_seconds:.2f})", flush=True
            ),
        )
    kind = "torch, fp32" if options.exact else "our choice"
    rows: dict[str, str | float] = dict(asdict(found))
    title = f"{options.files} x {options.seconds:g} s of stereo, released shape, {kind}"
    report(title, rows, options.json)


if __name__ == "__main__":
    main()
