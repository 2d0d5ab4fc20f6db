"""``audiform --help`` against ``demucs --help``: medians of runs in turn."""

from __future__ import annotations

import statistics

from measure import audiform, demucs, parser, report, run


def main() -> None:
    """Start both programs in turn."""
    arguments = parser(__doc__ or "")
    arguments.add_argument("--repeats", type=int, default=9)
    options = arguments.parse_args()
    ours, theirs = [], []
    for _ in range(options.repeats):
        ours.append(run(*audiform("--help")).seconds)
        theirs.append(run(*demucs("--help")).seconds)
    mine, peer = statistics.median(ours), statistics.median(theirs)
    rows: dict[str, str | float] = {
        "audiform --help: seconds": mine,
        "demucs --help: seconds": peer,
        "audiform / demucs": mine / peer,
    }
    report("start-up", rows, options.json)


if __name__ == "__main__":
    main()
