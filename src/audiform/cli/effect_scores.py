"""Scores of a learned effect as tables on a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def print_scores(scores: Mapping[str, Any]) -> None:
    """Print the means over recordings, and each one's ESR where there are several."""
    from rich.console import Console
    from rich.table import Table

    headings = {"esr": "ESR", "esr_pre": "ESR-pre", "mae": "MAE", "mr_stft": "MR-STFT",
                "lufs_error": "LUFS error", "gain_error_db": "gain error dB"}  # fmt: skip
    table = Table(box=None, pad_edge=False)
    on = "recordings for the test" if scores["on"] == "test" else "what was held out"
    table.add_column(f"on {on}")
    for heading in headings.values():
        table.add_column(heading, justify="right")
    for name, row in scores["mean"].items():
        table.add_row(name, *(number(row.get(metric)) for metric in headings))
    console = Console(highlight=False)
    console.print(table)
    if len(scores["takes"]) < 2:
        return
    each = Table(box=None, pad_edge=False)
    each.add_column("ESR of each")
    for name in scores["mean"]:
        each.add_column(name, justify="right")
    for take in scores["takes"]:
        each.add_row(
            take["name"],
            *(number(take["rows"].get(name, {}).get("esr")) for name in scores["mean"]),
        )
    console.print(each)


def number(value: float | None) -> str:
    """Return a score as text, of one that is missing a dash."""
    return "-" if value is None else f"{value:.4g}"
