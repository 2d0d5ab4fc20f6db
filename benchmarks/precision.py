"""What our choice of backend and precision changes: signal to error, and SDR, on real songs."""

from __future__ import annotations

import time
from pathlib import Path

import torch
from measure import parser, report

from audiform.audio import Audio
from audiform.inference.backends.choice import signal_to_error_db
from audiform.inference.separator import Separator
from audiform.io import read
from audiform.metrics.separation import sdr

#: Name, quality, backend: the first is what the others are held against.
SETTINGS = (
    ("reference", None, "torch"),
    ("fast", "fast", "auto"),
    ("balanced", "balanced", "auto"),
    ("best", "best", "auto"),
)


def main() -> None:
    """Separate excerpts of songs (folders of stems) in every setting."""
    arguments = parser(__doc__ or "")
    arguments.add_argument("--data", type=Path, required=True, help="a folder of songs of stems")
    arguments.add_argument("--model", default="default")
    arguments.add_argument("--songs", type=int, default=2)
    arguments.add_argument("--start", type=float, default=30.0, help="seconds")
    arguments.add_argument("--seconds", type=float, default=24.0)
    options = arguments.parse_args()
    separators = {
        name: Separator(options.model, backend=backend, quality=quality)
        for name, quality, backend in SETTINGS
    }
    rows: dict[str, str | float] = {
        f"{name}: runs": ", ".join(map(str, separator.backends))
        for name, separator in separators.items()
    }
    folders = sorted(path for path in options.data.iterdir() if path.is_dir())[: options.songs]
    for folder in folders:
        stems = _stems(folder, separators["reference"].sources, options)
        mixture = Audio(stems.sum(dim=0), separators["reference"].sample_rate)
        found = {}
        for name, separator in separators.items():
            started = time.process_time()
            separated = separator.separate(mixture)
            found[name] = torch.stack([separated[source].samples for source in separated])
            rows[f"{folder.name}, {name}: processor seconds"] = time.process_time() - started
            scores = sdr(estimate=found[name], reference=stems)[_sounding(stems)]
            rows[f"{folder.name}, {name}: mean SDR, dB"] = float(scores.mean())
            if name != "reference":
                rows[f"{folder.name}, {name}: signal to error, dB"] = signal_to_error_db(
                    reference=found["reference"], estimate=found[name]
                )
    report(f"precision, {options.model}", rows, options.json)


def _sounding(stems: torch.Tensor) -> torch.Tensor:
    """Tell which stems are within 40 dB of the loudest: the score of silence says nothing."""
    power = stems.square().mean(dim=(1, 2))
    return power > 1e-4 * power.max()


def _stems(folder: Path, sources: tuple[str, ...], options) -> torch.Tensor:
    """Return an excerpt of each source; what a folder lacks is silent."""
    files = {path.stem: path for path in folder.iterdir() if path.stem in sources}
    parts = {}
    for source, path in files.items():
        audio = read(path)
        start = int(options.start * audio.sample_rate)
        stop = start + int(options.seconds * audio.sample_rate)
        parts[source] = audio.samples[:, start:stop].expand(2, -1)
    length = min(part.shape[1] for part in parts.values())
    silence = torch.zeros(2, length)
    return torch.stack([parts.get(source, silence)[:, :length] for source in sources])


if __name__ == "__main__":
    main()
