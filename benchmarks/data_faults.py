"""How many faults of recordings `audiform data check` names, and how often it cries wolf.

python benchmarks/data_faults.py [--seed 1] [--only NAME] [--recordings DIR...] [--json FILE]

Sounds, devices and faults share nothing with those of the tests, on which thresholds were set.
What is drawn (device, sound, rate, level, size of the fault) depends on the seed and the name of
the case: another seed is another set. A fault counts as named where a warning or an error has its
cause (of polarity a note); a good recording must raise neither. What else a broken recording is
accused of is shown and counted, too; some of it follows from the fault. ``--recordings`` adds
folders of good recordings.
"""

from __future__ import annotations

import json
import sys
import tempfile
import zlib
from pathlib import Path

import measure
import numpy as np
from fault_free import GOOD
from faults import FAULTS, NOTES

from audiform.data.check import Report, check_dataset
from audiform.data.findings import Finding, Level


def alarms(report: Report) -> list[Finding]:
    return [item for item in report.findings if item.level is not Level.note]


def is_named(report: Report, causes: tuple[str, ...]) -> bool:
    return any(
        item.cause in causes and (item.level is not Level.note or item.cause in NOTES)
        for item in report.findings
    )


def check_case(kind: str, name: str, seed: int) -> dict[str, object]:
    rng = np.random.default_rng((seed, zlib.crc32(f"{kind}/{name}".encode())))
    with tempfile.TemporaryDirectory(prefix="audiform-") as place:
        folder = Path(place) / "set"
        make, causes = FAULTS[name] if kind == "broken" else (GOOD[name], ())
        what = make(rng, folder)
        report = check_dataset(folder)
    right = is_named(report, causes) if kind == "broken" else not alarms(report)
    said = sorted({f"{item.cause} ({item.level})" for item in report.findings})
    also = sorted({item.cause for item in alarms(report)} - set(causes)) if causes else []
    row = {"kind": kind, "case": name, "what": what, "right": right, "said": said, "also": also}
    if not right or also:
        row["messages"] = [str(item).replace(place, "") for item in report.findings]
    return row


def check_recordings(folder: Path) -> dict[str, object]:
    report = check_dataset(folder)
    said = sorted({f"{item.cause} ({item.level})" for item in report.findings})
    return {"kind": "good", "case": folder.name, "what": "recordings", "right": not alarms(report),
            "said": said, "messages": [str(item) for item in report.findings]}  # fmt: skip


def main() -> None:
    parser = measure.parser(__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", help="cases whose names hold this")
    parser.add_argument("--recordings", type=Path, nargs="*", default=[])
    options = parser.parse_args()
    rows = []
    for kind, table in (("broken", FAULTS), ("good", GOOD)):
        for name in table:
            if options.only is None or options.only in name:
                rows.append(check_case(kind, name, options.seed))
                show(rows[-1])
    for folder in options.recordings:
        rows.append(check_recordings(folder))
        show(rows[-1])
    for kind, words in (("broken", "causes named"), ("good", "without alarm")):
        of = [row["right"] for row in rows if row["kind"] == kind]
        print(f"{kind}: {sum(map(bool, of))} of {len(of)} {words}")
    print(f"broken: {sum(bool(row.get('also')) for row in rows)} accused of something else besides")
    if options.json:
        record = {"seed": options.seed, "commit": measure.commit(), "rows": rows}
        options.json.write_text(json.dumps(record, indent=2) + "\n")


def show(row: dict[str, object]) -> None:
    said = ", ".join(row["said"]) or "nothing"  # type: ignore[call-overload]
    print(f"{'ok ' if row['right'] else 'NOT'} {row['kind']:6} {row['case']:27} "
          f"{row['what']:45} {said}")  # fmt: skip
    for message in row.get("messages", []):  # type: ignore[attr-defined]
        print(f"        {message}")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
