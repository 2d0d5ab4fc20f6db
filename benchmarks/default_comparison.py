"""Which network is worth embedding: small forms of all, the same songs, the same training time.

python benchmarks/default_comparison.py DATA RUNS --held-out SONG... [--seconds 3300]
    [--only htdemucs ...] [--seeds 1] [--rendered-share 0.5] [--trial] [--json FILE]

DATA has ``songs/`` and, if wished, ``rendered/`` (audiform data render). Each network is given
``--seconds`` of training, with pretraining counted where there is some; scores are SDR in dB
over the held-out songs, whole. RUNS keeps each run: the command can be stopped and goes on when
it is given again; --only names what is trained now, and the table is made from all runs that
have ended. --trial takes the tiny forms for a few steps: whether the command works.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from measure import report
from recipe_runs import (
    SCORES_FILE,
    TRIAL_STEPS,
    end_settings,
    held_out_settings,
    row,
    scored,
    trained,
)

#: Name -> recipe of its small form.
NETWORKS = {
    "frame-transformer": "frame-transformer-small",
    "frame-primer": "frame-primer-small",
    "frame-primer-pretrained": "frame-primer-small",
    "htdemucs": "htdemucs-small",
    "hdemucs": "hdemucs-small",
    "band-split": "default",
}
PRETRAINING = "frame-primer-pretrain-small"

#: Share of the training time that pretraining takes.
PRETRAINING_SHARE = 0.35


def run(arguments: argparse.Namespace, name: str, seed: int) -> None:
    """Train and score a network, unless that has been done."""
    recipe, suffix = NETWORKS[name], "-tiny" if arguments.trial else ""
    folder = arguments.runs / f"{name}-{seed}"
    seconds, start = arguments.seconds, None

    def ending(of: float) -> dict[str, Any]:
        return end_settings(steps=TRIAL_STEPS) if arguments.trial else end_settings(seconds=of)

    if name.endswith("-pretrained"):
        start = trained(
            PRETRAINING + suffix,
            arguments.data / "songs",
            arguments.runs / f"{name}-{seed}-pretraining",
            settings={
                "training.seed": seed,
                **ending(PRETRAINING_SHARE * seconds),
                **held_out_settings(PRETRAINING, arguments.held_out),
            },
        )
        seconds *= 1.0 - PRETRAINING_SHARE
    settings = {
        "training.seed": seed,
        **ending(seconds),
        **held_out_settings(recipe, arguments.held_out),
    }
    if recipe != "default" and (arguments.data / "rendered").is_dir():
        settings["data.rendered_share"] = arguments.rendered_share
    scored(
        recipe + suffix,
        arguments.data,
        folder,
        held_out=arguments.held_out,
        settings=settings,
        start=start,
        excerpt_seconds=3.0 if arguments.trial else None,
    )


def main() -> None:
    """Train what has not ended, print what has."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--held-out", nargs="+", required=True)
    parser.add_argument("--seconds", type=float, default=3300.0, help="of training, each")
    parser.add_argument("--only", nargs="+", choices=list(NETWORKS), default=list(NETWORKS))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--rendered-share", type=float, default=0.5)
    parser.add_argument("--trial", action="store_true")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    for seed in range(arguments.seeds):
        for name in arguments.only:
            run(arguments, name, seed)
    rows = {}
    for name in NETWORKS:
        for path in sorted(arguments.runs.glob(f"{name}-[0-9]*/{SCORES_FILE}")):
            rows[path.parent.name] = row(json.loads(path.read_text()))
    report(f"SDR on {', '.join(arguments.held_out)}", rows, arguments.json)


if __name__ == "__main__":
    main()
