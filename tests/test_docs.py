"""What the documentation shows works, and what it links to is there."""

from __future__ import annotations

import doctest
import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
PYTHON = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
MODULES = [
    ".".join(path.relative_to(ROOT / "src").with_suffix("").parts)
    for path in sorted((ROOT / "src").rglob("*.py"))
    if ">>>" in path.read_text(encoding="utf-8")
]
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def relative(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize(
    "page",
    [
        "README.md",
        "docs/effects/index.md",
        "docs/effects/metrics.md",
        "docs/effects/pairs.md",
        "docs/guide/augmentation.md",
        "docs/guide/evaluate.md",
        "docs/guide/data.md",
        "docs/guide/python.md",
        "docs/guide/training.md",
        "docs/models/effect-peers.md",
        "docs/models/frame-transformer.md",
        "docs/models/signaltrain.md",
        "docs/models/sparse-htdemucs.md",
    ],
)
def test_python_blocks_run(page, monkeypatch) -> None:
    monkeypatch.chdir(ROOT)
    blocks = PYTHON.findall((ROOT / page).read_text(encoding="utf-8"))
    assert blocks
    exec(compile("\n".join(blocks), page, "exec"), {})


@pytest.mark.parametrize("module", MODULES)
def test_examples_in_docstrings_hold(module) -> None:
    result = doctest.testmod(importlib.import_module(module))
    assert result.attempted > 0
    assert result.failed == 0


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_links_lead_somewhere(page) -> None:
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        if not link.startswith(("http://", "https://", "#", "mailto:")):
            assert (page.parent / link.partition("#")[0]).exists(), link


def test_every_command_and_flag_that_is_shown_exists() -> None:
    from typer.main import get_command

    from audiform.cli.main import app

    commands = get_command(app).commands
    for page in PAGES:
        for line in re.findall(r"^audiform .*$", page.read_text(encoding="utf-8"), re.MULTILINE):
            words = line.partition("#")[0].split()[1:]
            command = commands[words[0]]
            if words[0] in ("bench", "data", "effect", "models"):
                command = command.commands[words[1]]
            known = {name for parameter in command.params for name in parameter.opts}
            for word in words:
                if word.startswith("-"):
                    assert word.partition("=")[0] in known, f"{page}: {line}"


def test_the_page_of_effects_has_every_knob_as_it_is() -> None:
    from audiform.effects import EFFECTS

    page = (ROOT / "docs/effects/index.md").read_text(encoding="utf-8")
    rows = [
        f"`{knob.name}` | {knob.minimum:g} .. {knob.maximum:g} | {knob.default:g} | {knob.scale} |"
        for effect in EFFECTS.values()
        for knob in effect.knobs
    ]
    assert [
        line.partition("| ")[2].partition("| ")[2]
        for line in page.splitlines()
        if " .. " in line and line.count("|") == 6
    ] == rows
