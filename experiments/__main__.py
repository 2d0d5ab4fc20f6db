"""``python -m experiments NAME... --data SONGS --held-out SONG``: run, write, print tables.

What was run already is read from the work folder, so that a killed series goes on, and arms
that several experiments have are trained once.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from experiments.report import as_table, report
from experiments.runs import Runs
from experiments.settings import Settings
from experiments.songs import read_songs
from experiments.table import EXPERIMENTS, Experiment


def main(arguments: list[str] | None = None) -> None:
    """Run the experiments that are named."""
    options = _parser().parse_args(arguments)
    settings = Settings.model_validate(
        {
            "held_out": options.held_out,
            **({} if options.steps is None else {"steps": options.steps}),
            **({} if options.steps is None else {"pretraining_steps": options.steps}),
        }
    )
    songs = read_songs(options.data, settings, cache_folder=options.work / "decoded")
    runs = Runs(songs, settings, folder=options.work, on_run=_say)
    names = list(EXPERIMENTS) if options.names == ["all"] else options.names
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    for seed in seeds:  # outermost: whatever is cut short has all arms
        for name in names:
            experiment = EXPERIMENTS[name]
            one = [experiment.arm] if not isinstance(experiment, Experiment) else []
            for arm in one or experiment.arms.values():
                runs.result(arm, seed)
    for name in names:
        found = report(name, runs, seeds, options.results)
        print(f"\n## {found['question']}\n\n{as_table(found)}")


def _say(run: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {run}", flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m experiments", description=__doc__)
    parser.add_argument("names", nargs="+", choices=[*EXPERIMENTS, "all"], metavar="NAME",
                        help=f"{', '.join(EXPERIMENTS)}; or all")  # fmt: skip
    parser.add_argument("--data", type=Path, required=True, help="a folder of songs with stems")
    parser.add_argument("--held-out", required=True, help="the song that is scored")
    parser.add_argument("--seeds", type=int, default=3, help="how many")
    parser.add_argument("--first-seed", type=int, default=0, help="the others follow it")
    parser.add_argument("--steps", type=int, help="of training, and of pretraining")
    parser.add_argument("--work", type=Path, default=Path("runs/experiments"),
                        help="where runs are kept")  # fmt: skip
    parser.add_argument("--results", type=Path, default=Path("docs/results"),
                        help="where figures and pictures go")  # fmt: skip
    return parser


if __name__ == "__main__":
    main()
