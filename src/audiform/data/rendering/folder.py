"""Many songs, side by side, into a folder that the trainer reads.

``OUT/song-SEED-NUMBER/{mixture,drums,bass,other,vocals}.flac`` and ``song.json`` with all that
was drawn. A song is written aside and renamed, so that what is there is whole; songs that are
there are kept. ``OUT/rendering.json`` says from what all were made.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from pydantic import BaseModel, ConfigDict, NonNegativeInt, PositiveFloat, PositiveInt

from audiform.data.rendering.drums import kits
from audiform.data.rendering.samples import SAMPLE_RATE, SampleLibrary
from audiform.data.rendering.song import Song, render_song
from audiform.data.rendering.vocals import SHORTEST_SECONDS
from audiform.data.rendering.voice import Voices, vocoder
from audiform.data.track import MIXTURE
from audiform.errors import ConfigError, DataError

#: What a folder of songs was made from; and a song.
SETTINGS_FILE = "rendering.json"
SONG_FILE = "song.json"

#: Raised when equal settings give other songs.
RENDERER_VERSION = 2


class RenderConfig(BaseModel):
    """How many songs of about which length, from which seed.

    ``share_alike`` lets in sounds whose licence asks that what is made from them has it, too.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    songs: PositiveInt = 100
    seconds: PositiveFloat = 75.0
    seed: NonNegativeInt = 0
    share_alike: bool = False


def render_folder(
    samples: Path,
    out: Path,
    config: RenderConfig,
    *,
    num_workers: int = 1,
    voice_cache: Path | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Render songs from the sounds in ``samples``; return their folders.

    The bytes do not depend on ``num_workers``. ``voice_cache`` is where voices are kept that
    were taken apart (:class:`audiform.data.rendering.voice.Voices`). Raises :class:`DataError`
    for sounds that make no song, :class:`ConfigError` where ``out`` holds other songs.
    """
    vocoder()
    library = SampleLibrary(samples, share_alike=config.share_alike)
    require_sounds(library)
    _keep_settings(out, _settings(library, config))
    folders = [out / f"song-{config.seed}-{number:05d}" for number in range(config.songs)]
    missing = [number for number, folder in enumerate(folders) if not folder.is_dir()]
    done = config.songs - len(missing)
    job = _Job(samples, out, config, voice_cache)
    for _ in _rendered(job, missing, num_workers):
        done += 1
        if on_progress is not None:
            on_progress(done, config.songs)
    return folders


def require_sounds(library: SampleLibrary) -> None:
    """Raise :class:`DataError` where a library lacks what a song needs."""
    if not kits(library):
        raise DataError(
            "no kit of drums has both a kick and a snare; put some into one folder, with these "
            "kinds in the index",
            path=library.folder,
        )
    voices = [s for s in library.of_class("voices", "voices_16k") if s.seconds >= SHORTEST_SECONDS]
    if not voices:
        raise DataError(
            f"no sound of class voices or voices_16k is {SHORTEST_SECONDS:g} s long or more; add "
            "some, spoken or sung",
            path=library.folder,
        )


def _settings(library: SampleLibrary, config: RenderConfig) -> dict[str, Any]:
    """Return all that songs depend on but for how many there are."""
    sounds = hashlib.sha256()
    for sample in library.samples:
        name = sample.path.relative_to(library.folder).as_posix()
        about = (name, sample.sample_class, sample.kind, sample.f0_hz, sample.path.stat().st_size)
        sounds.update(f"{about}\n".encode())
    return {
        "renderer": RENDERER_VERSION,
        "seconds": config.seconds,
        "share_alike": config.share_alike,
        "sounds": sounds.hexdigest(),
    }


def _keep_settings(out: Path, settings: dict[str, Any]) -> None:
    path = out / SETTINGS_FILE
    if path.is_file():
        kept = json.loads(path.read_text(encoding="utf-8"))
        if other := sorted(name for name in settings if kept.get(name) != settings[name]):
            raise ConfigError(
                f"{out} holds songs made with another setting of {other[0]} "
                f"({kept.get(other[0])}, now {settings[other[0]]}); take another folder"
            )
        return
    out.mkdir(parents=True, exist_ok=True)
    _write_aside(path, json.dumps(settings, indent=1) + "\n")


class _Job:
    """Renders songs by number; in a process of its own it reads the library anew."""

    def __init__(
        self, samples: Path, out: Path, config: RenderConfig, voice_cache: Path | None
    ) -> None:
        self.samples, self.out, self.config, self.voice_cache = samples, out, config, voice_cache
        self._library: SampleLibrary | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_library": None}

    def __call__(self, number: int) -> None:
        if self._library is None:
            self._library = SampleLibrary(self.samples, share_alike=self.config.share_alike)
        before = torch.get_num_threads()
        torch.set_num_threads(1)  # sums in one order, whoever renders
        try:
            song = render_song(
                self._library,
                Voices(self._library, self.voice_cache),
                seed=self.config.seed,
                number=number,
                seconds=self.config.seconds,
            )
        finally:
            torch.set_num_threads(before)
        write_song(song, self.out / f"song-{self.config.seed}-{number:05d}")


_job: _Job | None = None


def _begin(job: _Job) -> None:
    global _job
    _job = job


def _run(number: int) -> None:
    assert _job is not None
    _job(number)


def _rendered(job: _Job, numbers: list[int], num_workers: int) -> Iterator[None]:
    """Render and yield once for each song."""
    if num_workers == 1 or len(numbers) < 2:
        for number in numbers:
            job(number)
            yield
        return
    with ProcessPoolExecutor(
        min(num_workers, len(numbers)),
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_begin,
        initargs=(job,),
    ) as pool:
        waiting = {pool.submit(_run, number) for number in numbers}
        try:
            while waiting:
                finished, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                for future in finished:
                    future.result()
                    yield
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def write_song(song: Song, folder: Path) -> None:
    """Write a song's stems, its mixture and what was drawn, aside and renamed."""
    part = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    for name, audio in {MIXTURE: song.mixture, **song.stems}.items():
        soundfile.write(part / f"{name}.flac", np.ascontiguousarray(audio.T), SAMPLE_RATE, "PCM_16")
    text = json.dumps(song.description(), indent=1)
    (part / SONG_FILE).write_text(text + "\n", encoding="utf-8")
    part.replace(folder)


def _write_aside(path: Path, text: str) -> None:
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)
