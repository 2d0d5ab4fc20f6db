"""Audio that can be read from any position, at the rate of the model.

PCM, FLAC and Ogg Vorbis at that rate are read where they are. What cannot be cut into without
decoding from the start (MP3, M4A, Opus, the streams of a .stem.mp4), and what has another rate,
is decoded once into a float WAV in a cache folder. Its name is made from the file's path, size
and time of change: a changed file is decoded anew.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import platformdirs
import soundfile

from audiform.data.track import AudioRef
from audiform.errors import DataError
from audiform.io.probe import is_for_soundfile
from audiform.io.read import AudioReader
from audiform.io.resample import StreamResampler, resampled_length
from audiform.io.write import OutputFormat, open_writer

#: Environment variable that names another cache folder.
CACHE_VARIABLE = "AUDIFORM_DECODED_CACHE"

#: Raised when what is written changes; older entries are then not found any more.
CACHE_VERSION = 1

#: Files that are kept open per process.
MAX_OPEN_FILES = 64


def default_cache_folder() -> Path:
    """Return the folder where decoded audio is kept."""
    if folder := os.environ.get(CACHE_VARIABLE):
        return Path(folder).expanduser()
    return Path(platformdirs.user_cache_dir("audiform")) / "decoded"


@dataclass(frozen=True)
class DecodedAudio:
    """A file to read crops from: ``num_samples`` at the model's rate from ``start_samples`` on."""

    path: Path
    num_channels: int
    start_samples: int
    num_samples: int


class DecodedCache:
    """Decodes what has to be decoded into ``folder``, at ``sample_rate`` (Hz), once."""

    def __init__(self, *, sample_rate: int, folder: Path | None = None) -> None:
        self.sample_rate = sample_rate
        self.folder = folder or default_cache_folder()

    def prepare(
        self,
        refs: Iterable[AudioRef],
        *,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> dict[AudioRef, DecodedAudio]:
        """Make all readable, several at a time; ``on_progress`` is told files done and in all.

        Raises :class:`AudioError` for a file that cannot be decoded.
        """
        wanted = list(dict.fromkeys(refs))
        # Two pieces of one file share what is decoded.
        whole = {(ref.path, ref.stream): ref for ref in wanted}
        paths: dict[tuple[Path, int], Path] = {}
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for key, path in zip(whole, pool.map(self.locate, whole.values()), strict=True):
                paths[key] = path
                if on_progress is not None:
                    on_progress(len(paths), len(whole))
        return {ref: self._piece(ref, paths[ref.path, ref.stream]) for ref in wanted}

    def locate(self, ref: AudioRef) -> Path:
        """Return the file to read crops from: the original, or its decoded copy, made if absent."""
        path = self._direct_or_entry(ref)
        if path != ref.path and not path.is_file():
            self._decode(ref, path)
        return path

    def size_bytes(self) -> int:
        """Return how much the cache folder holds."""
        return sum(path.stat().st_size for path in self.folder.glob("*.wav"))

    def _direct_or_entry(self, ref: AudioRef) -> Path:
        with AudioReader(ref.path, stream=ref.stream) as reader:
            same_rate = reader.info.sample_rate == self.sample_rate
        if same_rate and ref.stream == 0 and is_for_soundfile(ref.path):
            return ref.path
        path = ref.path.resolve()
        stat = path.stat()
        identity = (
            f"{path}|{stat.st_size}|{stat.st_mtime_ns}|{ref.stream}"
            f"|{self.sample_rate}|{CACHE_VERSION}"
        )
        return self.folder / f"{hashlib.sha256(identity.encode()).hexdigest()[:32]}.wav"

    def _decode(self, ref: AudioRef, entry: Path) -> None:
        # A name of its own: two processes may decode one file at the same time.
        aside = entry.with_name(f"{entry.stem}.{os.getpid()}-{threading.get_ident()}.wav")
        with AudioReader(ref.path, stream=ref.stream) as reader:
            rate, promised = reader.info.sample_rate, reader.info.num_samples
            resampler = StreamResampler(
                from_rate_hz=rate,
                to_rate_hz=self.sample_rate,
                num_channels=reader.info.num_channels,
            )
            with open_writer(
                aside,
                format=OutputFormat("wav", is_float=True),
                sample_rate=self.sample_rate,
                num_channels=reader.info.num_channels,
                expected_samples=promised
                and resampled_length(promised, from_rate_hz=rate, to_rate_hz=self.sample_rate),
            ) as writer:
                for block in reader:
                    writer.write(resampler.push(block))
                writer.write(resampler.finish())
                writer.commit()
        aside.replace(entry)

    def _piece(self, ref: AudioRef, path: Path) -> DecodedAudio:
        info = soundfile.info(path)
        ratio = 1.0
        if path != ref.path and (ref.start_samples or ref.stop_samples is not None):
            with AudioReader(ref.path, stream=ref.stream) as reader:
                ratio = self.sample_rate / reader.info.sample_rate
        start = _from_start(round(ref.start_samples * ratio), info.frames)
        stop = info.frames
        if ref.stop_samples is not None:
            stop = _from_start(round(ref.stop_samples * ratio), info.frames)
        if stop <= start:
            raise DataError(
                f"the piece from sample {ref.start_samples} to {ref.stop_samples} is empty; "
                f"the file has {info.frames}",
                path=ref.path,
            )
        return DecodedAudio(path, info.channels, start, stop - start)


def _from_start(position: int, num_samples: int) -> int:
    """Return a position that may count from the end as one that does not."""
    return min(num_samples, position if position >= 0 else max(0, num_samples + position))


class OpenFiles:
    """Reads crops, keeping the files open: per process and thread, so that workers may fork."""

    def __init__(self) -> None:
        self._files: OrderedDict[tuple[int, int, Path], soundfile.SoundFile] = OrderedDict()
        self._process = os.getpid()

    def __getstate__(self) -> dict[str, object]:
        """Leave the open files behind: a spawned worker opens its own."""
        return {}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__init__()  # type: ignore[misc]

    def read(self, audio: DecodedAudio, *, start_samples: int, num_samples: int) -> np.ndarray:
        """Return float32 (channels, num_samples); what lies beyond the end is silence.

        Raises :class:`DataError` where the file is damaged or holds NaN or infinity.
        """
        crop = np.zeros((audio.num_channels, num_samples), np.float32)
        count = max(0, min(num_samples, audio.num_samples - start_samples))
        if not count:
            return crop
        position = audio.start_samples + start_samples
        try:
            file = self._open(audio.path)
            file.seek(position)
            samples = file.read(count, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise _damaged(audio.path, position, error.error_string) from error
        if len(samples) < count:
            raise _damaged(audio.path, position, f"only {len(samples)} of {count} samples decoded")
        if not np.isfinite(samples).all():
            raise _damaged(audio.path, position, "NaN or infinity among the samples")
        crop[:, :count] = samples.T
        return crop

    def _open(self, path: Path) -> soundfile.SoundFile:
        if self._process != os.getpid():  # forked: positions would be shared with the parent
            self._files, self._process = OrderedDict(), os.getpid()
        key = (self._process, threading.get_ident(), path)
        file = self._files.pop(key, None) or soundfile.SoundFile(path)
        self._files[key] = file
        if len(self._files) > MAX_OPEN_FILES:
            self._files.popitem(last=False)
        return file


def _damaged(path: Path, position: int, what: str) -> DataError:
    return DataError(
        f"is damaged at sample {position} ({what.strip()}); "
        "audiform data check says what is wrong with a dataset",
        path=path,
    )
