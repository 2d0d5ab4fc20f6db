"""What a run writes down for people: a line of JSON per entry, and TensorBoard."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from audiform.audio import Audio
from audiform.dsp.stft import StftSpec, stft
from audiform.errors import ConfigError
from audiform.training.folder import LOG_FILE

TENSORBOARD_FOLDER = "tensorboard"

#: Numbers are written with this many digits.
DIGITS = 7

#: Spectrograms are shown from this far below their loudest bin up, in dB.
SPECTROGRAM_RANGE_DB = 80.0
SPECTROGRAM_STFT = StftSpec(n_fft=1024, hop_length=512)


class Journal:
    """Writes ``log.jsonl`` and events for TensorBoard into the folder of a run.

    ``lines`` are those of the log that count; whatever follows them (a run that was killed
    after its last state) is cut off.
    """

    def __init__(self, folder: Path, *, lines: int, step: int, tensorboard: bool) -> None:
        self.path = folder / LOG_FILE
        self.lines = lines
        _keep_lines(self.path, lines)
        self._events = _writer(folder / TENSORBOARD_FOLDER, step) if tensorboard else None

    def write(self, line: dict[str, Any]) -> None:
        """Append a line; floats are rounded."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(_rounded(line)) + "\n")
        self.lines += 1

    def show_numbers(self, step: int, numbers: dict[str, float]) -> None:
        """Add a point to curves; names may have folders."""
        if self._events is not None:
            for name, value in numbers.items():
                self._events.add_scalar(name, value, step)

    def show_audio(self, step: int, name: str, audio: Audio) -> None:
        """Add something to listen to, and its spectrogram."""
        if self._events is not None:
            mono = audio.samples.detach().float().cpu().mean(dim=0, keepdim=True)
            peak = mono.abs().max().clamp(min=1.0)
            self._events.add_audio(name, mono / peak, step, sample_rate=audio.sample_rate)
            self._events.add_image(f"{name}/spectrogram", spectrogram_image(mono[0]), step)

    def close(self) -> None:
        """Write out what is waiting."""
        if self._events is not None:
            self._events.close()


def spectrogram_image(mono: Float[Tensor, " time"]) -> Float[Tensor, "1 bin frame"]:
    """Return a grey picture: time to the right, 0 Hz at the bottom, white is loudest."""
    spectrum = stft(mono, SPECTROGRAM_STFT).abs()
    level_db = 20.0 * torch.log10(spectrum / spectrum.max().clamp(min=1e-6) + 1e-9)
    return (1.0 + level_db / SPECTROGRAM_RANGE_DB).clamp(0.0, 1.0).flip(0)[None]


def _writer(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ConfigError(
            f"TensorBoard is asked for and cannot be used ({error}); pip install "
            "'audiform[train]', or --set training.tensorboard=false"
        ) from error
    return SummaryWriter(str(folder), purge_step=step + 1 if step else None)


def _keep_lines(path: Path, count: int) -> None:
    if not path.exists():
        return
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    part = path.with_name(path.name + ".part")
    part.write_text("".join(lines[:count]), encoding="utf-8")
    part.replace(path)


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, dict):
        return {key: _rounded(entry) for key, entry in value.items()}
    return value
