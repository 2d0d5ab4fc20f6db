"""What all pages share: one HTML file without scripts that needs no other file and no network."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from html import escape
from pathlib import Path

from audiform.io.write import PART_SUFFIX

#: c0 .. c5 tell lines apart, r0 .. r4 are steps of one quantity.
STYLE = """
:root { color-scheme: light dark; --ink: #1c1c22; --soft: #66666f; --paper: #fcfcfa;
  --line: #dddde2; --panel: #f2f2ef;
  --c0: #0072b2; --c1: #d55e00; --c2: #00875f; --c3: #b0478c; --c4: #8a6d00; --c5: #555;
  --r0: #e0a100; --r1: #dd6b20; --r2: #c0386b; --r3: #7b3fa0; --r4: #28418c; }
@media (prefers-color-scheme: dark) { :root { --ink: #e9e9ee; --soft: #a0a0ab;
  --paper: #16161a; --line: #35353d; --panel: #1f1f25;
  --c0: #56b4e9; --c1: #f08c4a; --c2: #2fc79a; --c3: #e08fc3; --c4: #e2c04d; --c5: #bbb;
  --r0: #f4e07a; --r1: #f0a35c; --r2: #ef7d9b; --r3: #b98be0; --r4: #7d9cf0; } }
body { font: 15px/1.45 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin: 0 0 .3rem; } h2 { font-size: 1.15rem; margin: 2.2rem 0 .5rem; }
h3 { font-size: 1rem; margin: 1.4rem 0 .3rem; }
p, dl { margin: .4rem 0; } .soft, small, dt { color: var(--soft); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; font-size: .9rem; }
dd { margin: 0; overflow-wrap: anywhere; } code { font-size: .9em; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: .6rem 0; }
th, td { padding: .3rem .6rem; text-align: right; border-bottom: 1px solid var(--line);
  white-space: nowrap; }
th { font-weight: 600; font-size: .85rem; } th:first-child, td:first-child { text-align: left; }
td small { display: block; font-size: .72rem; }
section { border-top: 2px solid var(--line); margin-top: 2rem; }
svg { width: 100%; height: auto; background: var(--panel); border-radius: 6px; }
svg text { fill: var(--soft); font-size: 11px; } svg .grid { stroke: var(--line); }
.key { display: inline-block; width: .8rem; height: .2rem; vertical-align: middle;
  margin: 0 .3rem 0 .9rem; }
.stems { display: grid; grid-template-columns: 4.5rem 1fr 1fr; gap: .5rem .8rem;
  align-items: center; margin-top: .8rem; }
.stems img { width: 100%; height: 72px; image-rendering: auto; border-radius: 4px; display: block; }
audio { width: 100%; height: 30px; margin-top: .25rem; }
.note { border-left: 3px solid var(--c1); padding-left: .7rem; font-size: .9rem; }
"""

_HEAD = (
    '<!doctype html><html lang="en"><head><meta charset="utf-8">\n'
    '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
    '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
    "style-src 'unsafe-inline'; img-src data:; media-src data:\">"
)


def document(title: str, *parts: str, style: str = "") -> str:
    """Return a page of ``parts``, which are HTML; ``title`` is plain text, its headline too."""
    name = escape(title)
    return "\n".join(
        (
            _HEAD,
            f"<title>{name}</title><style>{STYLE}{style}</style></head><body>",
            f"<h1>{name}</h1>",
            *parts,
            "</body></html>",
        )
    )


def facts(rows: Mapping[str, str]) -> str:
    """Return names and what they stand for, which is HTML; what is empty is left out."""
    return "<dl>" + "".join(f"<dt>{k}</dt><dd>{v}</dd>" for k, v in rows.items() if v) + "</dl>"


def data_uri(kind: str, data: bytes) -> str:
    """Return what a browser takes for the address of ``data``."""
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"


def picture(png: bytes, *, of: str) -> str:
    """Return a picture with a text for those who do not see it."""
    return f'<img alt="{escape(of)}" src="{data_uri("image/png", png)}">'


def player(mp3: bytes) -> str:
    """Return a player of a sound that is within the page."""
    return f'<audio controls preload="none" src="{data_uri("audio/mpeg", mp3)}"></audio>'


def write_page(path: Path, page: str) -> None:
    """Write a page, aside first; makes its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(path.name + PART_SUFFIX)
    aside.write_text(page, encoding="utf-8")
    aside.replace(path)
