"""``demucs.api.Separator`` over our engine: the same signature, the same results.

A program that says ``from demucs.api import Separator`` can say
``from audiform.compat.demucs import Separator`` instead. Differences: shifts are drawn from a
seed, so that two runs agree; errors are ours (:mod:`audiform.errors`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from audiform.audio import Audio
from audiform.checkpoints import list_models as _list_models
from audiform.errors import ConfigError
from audiform.inference.engine import ProgressCallback
from audiform.inference.separator import Separator as _Separator
from audiform.inference.track import to_model_channels
from audiform.io import StreamResampler, read

#: Called with a dict of Demucs' keys: model_idx_in_bag, shift_idx, segment_offset, state,
#: audio_length, models.
Callback = Callable[[dict[str, Any]], None]


class Separator:
    """Separates whole tracks in memory, as Demucs' class of that name does.

    ``callback`` is told of progress through dicts with Demucs' keys; raise KeyboardInterrupt
    from it to stop. As the networks of a bag and the shifts run side by side here,
    ``model_idx_in_bag`` and ``shift_idx`` are always 0. ``progress`` draws a bar.
    """

    def __init__(
        self,
        model: str = "htdemucs",
        repo: Path | None = None,
        device: str | None = None,
        shifts: int = 1,
        overlap: float = 0.25,
        split: bool = True,
        segment: int | None = None,
        jobs: int = 0,
        progress: bool = False,
        callback: Callback | None = None,
        callback_arg: dict[str, Any] | None = None,
    ) -> None:
        self._options: dict[str, Any] = {
            "model": model,
            "repo": repo,
            "device": device,
            "shifts": shifts,
            "overlap": overlap,
            "split": split,
            "segment": segment,
            "jobs": jobs,
        }
        self._progress = progress
        self._callback = callback
        self._callback_arg = callback_arg or {}
        self._separator = self._build()

    def _build(self) -> _Separator:
        options = self._options
        return _Separator(
            options["model"],
            repo=options["repo"],
            device=str(options["device"] or "auto"),
            shifts=options["shifts"],
            overlap=options["overlap"],
            split=options["split"],
            segment_seconds=options["segment"],
            num_workers=max(1, options["jobs"]),
            restore_offset=True,
        )

    def update_parameter(self, **changes: Any) -> None:
        """Change arguments of the constructor, ``model`` and ``repo`` excepted."""
        for name, value in changes.items():
            if name == "callback":
                self._callback = value
            elif name == "callback_arg":
                self._callback_arg = value or {}
            elif name == "progress":
                self._progress = value
            elif name in self._options and name not in ("model", "repo"):
                self._options[name] = value
            else:
                raise ConfigError(f"Separator has no parameter {name!r} that can be changed")
        self._separator = self._build()

    def separate_tensor(
        self, wav: Tensor, sr: int | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Separate (channels, time) at ``sr`` Hz (the model's rate if None).

        Returns the mixture and the stems by name, (channels, time) at the model's rate and with
        its channels.
        """
        rate = self.samplerate
        block = to_model_channels(
            wav.detach().cpu().float().numpy(), audio_channels=self.audio_channels
        )
        resampler = StreamResampler(
            from_rate_hz=sr or rate, to_rate_hz=rate, num_channels=self.audio_channels
        )
        pushed = torch.from_numpy(resampler.push(block).copy())
        mixture = torch.cat([pushed, torch.from_numpy(resampler.finish().copy())], dim=-1)

        with _bar(visible=self._progress) as draw:

            def on_progress(done: int, total: int | None) -> None:
                draw(done, total)
                if self._callback is not None:
                    known = {"model_idx_in_bag": 0, "shift_idx": 0, "segment_offset": done}
                    known |= {"audio_length": total or 0, "models": self._separator.num_members}
                    for state in ("start", "end"):
                        self._callback({**self._callback_arg, **known, "state": state})

            stems = self._separator.separate(Audio(mixture, rate), on_progress=on_progress)
        return mixture, {name: stems[name].samples for name in stems}

    def separate_audio_file(self, file: str | Path) -> tuple[Tensor, dict[str, Tensor]]:
        """Separate a file; see :meth:`separate_tensor`."""
        audio = read(file)
        return self.separate_tensor(audio.samples, audio.sample_rate)

    @property
    def samplerate(self) -> int:
        """Rate of mixture and stems, in Hz."""
        return self._separator.sample_rate

    @property
    def audio_channels(self) -> int:
        """Channels of mixture and stems."""
        return self._separator.spec.audio_channels

    @property
    def model(self) -> _Separator:
        """What separates; not a network of Demucs."""
        return self._separator


def list_models(repo: Path | None = None) -> dict[str, dict[str, str]]:
    """Return bags and single models, each name -> what it is, as ``demucs.api.list_models``."""
    entries = _list_models(repo)
    members = sorted({member for entry in entries for member in entry.members})
    return {
        "single": {member: member for member in members},
        "bag": {entry.name: entry.summary for entry in entries if entry.members != (entry.name,)},
    }


@contextmanager
def _bar(*, visible: bool) -> Iterator[ProgressCallback]:
    from rich.progress import Progress

    with Progress(disable=not visible) as progress:
        task = progress.add_task("separating")

        def draw(done: int, total: int | None) -> None:
            progress.update(task, completed=done, total=total)

        yield draw
