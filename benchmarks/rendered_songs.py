"""What rendered songs are worth: the same recipe with and without them, equal steps.

python benchmarks/rendered_songs.py DATA RUNS --held-out SONG... [--recipe default]
    [--others SONGS] [--steps 2000] [--seeds 3] [--only with-0 ...] [--rendered-share 0.5]
    [--trial] [--json FILE]

DATA has ``songs/`` and ``rendered/`` (audiform data render). Scores are SDR in dB over the
held-out songs, whole, and over songs of ``--others``; the difference is that of the means over
seeds, beside the range of each.
RUNS keeps each run: the command can be stopped and goes on when it is given again; --only names
what is trained now, and the table is made from all runs that have ended.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path
from typing import Any

from measure import report
from recipe_runs import (
    SCORES_FILE,
    TRIAL_STEPS,
    Scores,
    end_settings,
    held_out_settings,
    row,
    scored,
)

ARMS = ("without", "with")


def settings_of(arguments: argparse.Namespace, arm: str, seed: int) -> dict[str, Any]:
    """Return what an arm trains with."""
    steps = TRIAL_STEPS if arguments.trial else arguments.steps
    share = arguments.rendered_share if arm == "with" else 0.0
    return {
        "training.seed": seed,
        **end_settings(steps=steps),
        **held_out_settings(arguments.recipe, arguments.held_out),
        **({} if arguments.recipe == "default" else {"data.rendered_share": share}),
    }


def data_of(arguments: argparse.Namespace, arm: str) -> Path:
    """Return an arm's folder: the default takes rendered songs where they are there."""
    alone = arguments.recipe == "default" and arm == "without"
    folder: Path = arguments.data / "songs" if alone else arguments.data
    return folder


def compared(by_arm: dict[str, list[Scores]]) -> dict[str, str | float]:
    """Return the rows of the table."""
    rows: dict[str, str | float] = {}
    for arm, runs in by_arm.items():
        for seed, scores in enumerate(runs):
            rows[f"{arm}, seed {seed}"] = row(scores)
    without, with_them = (by_arm[arm] for arm in ARMS)
    for stem in without[0]:
        before = [scores[stem] for scores in without]
        after = [scores[stem] for scores in with_them]
        several = len(before) > 1 and len(after) > 1
        apart = several and (min(after) > max(before) or max(after) < min(before))
        gain = statistics.fmean(after) - statistics.fmean(before)
        rows[f"gain of {stem}, dB"] = f"{gain:+.2f}" + (" (ranges apart)" if apart else "")
    return rows


def main() -> None:
    """Train what has not ended, print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--held-out", nargs="+", required=True)
    parser.add_argument("--recipe", default="default", help="that, or one with data.rendered_share")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--others", type=Path, help="songs of other people")
    parser.add_argument("--only", nargs="+", default=[], metavar="ARM-SEED")
    parser.add_argument(
        "--rendered-share", type=float, default=0.5, help="of draws; default has its own shares"
    )
    parser.add_argument("--trial", action="store_true", help="whether the command works")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    by_arm: dict[str, list[Scores]] = {arm: [] for arm in ARMS}
    for seed in range(arguments.seeds):
        for arm in ARMS:
            folder = arguments.runs / f"{arguments.recipe}-{arm}-{seed}"
            has_ended = (folder / SCORES_FILE).is_file()
            if arguments.only and f"{arm}-{seed}" not in arguments.only and not has_ended:
                continue
            by_arm[arm].append(
                scored(
                    arguments.recipe + ("-tiny" if arguments.trial else ""),
                    data_of(arguments, arm),
                    folder,
                    held_out=arguments.held_out,
                    settings=settings_of(arguments, arm, seed),
                    excerpt_seconds=3.0 if arguments.trial else None,
                    others=arguments.others,
                )
            )
    if not all(by_arm.values()):
        return
    title = f"SDR on {', '.join(arguments.held_out)}, {arguments.recipe}"
    report(title, compared(by_arm), arguments.json)


if __name__ == "__main__":
    main()
