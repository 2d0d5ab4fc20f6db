"""Neural Amp Modeler's data: ``input.wav`` and ``output.wav``, or a JSON configuration of them.

The configuration has ``common``, ``train`` and ``validation``; the latter two are an object, or a
list of them, with ``x_path``, ``y_path``, a piece (``start``/``stop`` in samples or
``start_seconds``/``stop_seconds``; negative numbers count from the end) and ``delay``: by how many
samples the output comes late.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from audiform.data.findings import Finding, Level
from audiform.data.layouts.in_out import effect_track
from audiform.data.layouts.reading import Reading, audio_files
from audiform.data.track import INPUT, TARGET, AudioRef, Track
from audiform.errors import AudioError
from audiform.io.probe import probe

_SPLITS = {"train": "train", "validation": "valid"}


def is_nam(root: Path) -> bool:
    """Whether it is such a pair, such a configuration, or a folder with exactly one of them."""
    if root.is_file():
        return root.suffix.lower() == ".json" and bool(_configuration(root))
    return bool(_pair(root)) or _configuration_in(root) is not None


def _pair(root: Path) -> dict[str, Path]:
    found = {path.stem.lower(): path for path in audio_files(root)}
    return found if found.keys() == {"input", "output"} else {}


def _configuration_in(root: Path) -> Path | None:
    found = [path for path in sorted(root.glob("*.json")) if _configuration(path)]
    return found[0] if len(found) == 1 else None


def _configuration(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    is_ours = isinstance(content, dict) and bool(_SPLITS.keys() & content.keys())
    return content if is_ours and "_path" in json.dumps(content) else {}


def read_nam(root: Path) -> Reading:
    """Read the pair, or the pieces that the configuration names."""
    if root.is_dir() and (pair := _pair(root)):
        track = effect_track(
            root.name, input_path=pair["input"], target_path=pair["output"], knobs={}, split=None
        )
        return Reading([track])
    path = root if root.is_file() else _configuration_in(root)
    assert path is not None
    content = _configuration(path)
    reading = Reading()
    for section, split in _SPLITS.items():
        entries = content.get(section, [])
        for index, entry in enumerate(entries if isinstance(entries, list) else [entries]):
            settings = {**content.get("common", {}), **entry}
            try:
                reading.tracks.append(_track(f"{split}{index + 1}", settings, path.parent, split))
            except (KeyError, TypeError, ValueError, AudioError) as error:
                reading.findings.append(
                    Finding(
                        Level.error,
                        "unreadable configuration",
                        f"entry {index + 1} of {section!r} cannot be used ({error!r})",
                        "it needs x_path and y_path of existing files, and numbers for its piece",
                        path=path,
                    )
                )
    return reading


def _track(name: str, settings: dict[str, Any], folder: Path, split: str) -> Track:
    x_path, y_path = folder / settings["x_path"], folder / settings["y_path"]
    rate, length = probe(x_path).sample_rate, probe(x_path).num_samples
    start = _samples(settings, "start", rate) or 0
    stop = _samples(settings, "stop", rate)
    if length is not None:
        start = start if start >= 0 else max(0, length + start)
        stop = length if stop is None else stop if stop >= 0 else length + stop
    delay = int(settings.get("delay") or 0)
    early, late = max(0, -delay), max(0, delay)
    x = AudioRef(x_path, start_samples=start + early, stop_samples=_earlier(stop, late))
    y = AudioRef(y_path, start_samples=start + late, stop_samples=_earlier(stop, early))
    return Track(name, {INPUT: (x,), TARGET: (y,)}, split=split, is_sum=False)


def _samples(settings: dict[str, Any], name: str, rate: int) -> int | None:
    if settings.get(name) is not None:
        return int(settings[name])
    seconds = settings.get(f"{name}_seconds")
    return None if seconds is None else round(float(seconds) * rate)


def _earlier(stop: int | None, samples: int) -> int | None:
    return stop if stop is None else stop - samples
