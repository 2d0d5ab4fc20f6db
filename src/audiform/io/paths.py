"""File names: which inputs are meant, and what outputs may be called."""

from __future__ import annotations

import glob
import itertools
import os
import shutil
import sys
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from audiform.errors import AudioError

#: Endings by which audio files in a folder are known.
AUDIO_EXTENSIONS = frozenset(
    {
        ".wav", ".wave", ".flac", ".mp3", ".m4a", ".aac", ".ogg", ".oga", ".opus", ".wma", ".aif",
        ".aiff", ".aifc", ".alac", ".ape", ".wv", ".tta", ".mp2", ".caf", ".w64", ".rf64", ".au",
        ".mka", ".mp4", ".m4v", ".mkv", ".webm", ".mov", ".avi",
    }
)  # fmt: skip

#: What file systems allow for one name, and room for ".part" and an extension of it.
MAX_NAME_BYTES = 255
RESERVED_BYTES = len(".stem.mp4") + len(".part")

_WINDOWS_FORBIDDEN = '<>:"|?*\\'
_WINDOWS_DEVICES = frozenset(
    {"con", "prn", "aux", "nul", *(f"{d}{n}" for d in ("com", "lpt") for n in range(1, 10))}
)


@dataclass(frozen=True)
class InputFile:
    """A file to work on; ``relative_to`` is the folder whose tree the outputs should keep."""

    path: Path
    relative_to: Path | None = None

    @property
    def relative_folder(self) -> Path:
        """The file's folder as seen from ``relative_to``; "." if there is no tree to keep."""
        return self.path.parent.relative_to(self.relative_to) if self.relative_to else Path()


class Inputs(NamedTuple):
    """What was found, and for each input that yielded nothing why."""

    files: list[InputFile]
    failures: list[AudioError]


def expand_inputs(paths: Iterable[str | Path], *, recursive: bool = False) -> Inputs:
    """Return the files that ``paths`` mean: files, folders and patterns, sorted, each once.

    A file is taken as it is. Of a folder the audio files in it are taken (told by extension,
    hidden ones left out), and with ``recursive`` those below, whose tree is kept. A name
    with ``*``, ``?`` or ``[`` that is no file is a pattern (``**`` goes down folders).
    Nothing is raised: an input that yields no file gives a failure.
    """
    files: dict[Path, InputFile] = {}
    failures: list[AudioError] = []
    for path in paths:
        found = _expand(path, recursive=recursive)
        if isinstance(found, AudioError):
            failures.append(found)
            continue
        for file in found:
            files.setdefault(_identity(file.path), file)
    return Inputs(sorted(files.values(), key=lambda file: str(file.path)), failures)


def safe_name(text: str, *, windows: bool = sys.platform == "win32") -> str:
    """Return ``text`` as one file name, changed only where the file system forbids it.

    Every script, accent and emoji stays. Forbidden characters become ``_``; a name that is
    too long is cut so that an extension and ``.part`` still fit.

    >>> safe_name("AC/DC: Live", windows=False)
    'AC_DC: Live'
    """
    forbidden = "/\x00" + (_WINDOWS_FORBIDDEN + "".join(map(chr, range(32))) if windows else "")
    name = "".join("_" if char in forbidden else char for char in text)
    name = _shortened(name, MAX_NAME_BYTES - RESERVED_BYTES)
    if windows:
        name = name.rstrip(". ")
        if name.split(".")[0].strip().casefold() in _WINDOWS_DEVICES:
            name = f"_{name}"
    return "_" * max(1, len(name)) if name in ("", ".", "..") else name


def unique_names(files: Sequence[InputFile]) -> list[Path]:
    """Return for each file a relative path of its own, for its outputs: tree and name.

    It is the file's name without extension where only one file has that; files that share
    it (``a.wav`` and ``a.mp3``) keep their extensions, and those that still collide
    (``x/a.wav`` and ``y/a.wav``) get numbers, in the order given. Names that differ only in
    case or Unicode form collide, for file systems to which they are the same.
    """
    short = [_folder(file) / safe_name(file.path.stem) for file in files]
    shared = Counter(_folded(name) for name in short)
    names: list[Path | None] = [name if shared[_folded(name)] == 1 else None for name in short]
    taken = {_folded(name) for name in names if name is not None}
    for index, file in enumerate(files):
        if names[index] is None:
            long = _folder(file) / safe_name(file.path.name)
            names[index] = name = next(n for n in _numbered(long) if _folded(n) not in taken)
            taken.add(_folded(name))
    return [name for name in names if name is not None]


def free_bytes(path: str | Path) -> int:
    """Return the free bytes on the disk where ``path`` is, or will be made."""
    path = Path(path).absolute()
    while not path.exists() and path != path.parent:
        path = path.parent
    return shutil.disk_usage(path).free


def _expand(path: str | Path, *, recursive: bool) -> list[InputFile] | AudioError:
    text, path = str(path), Path(path)
    try:
        if path.is_dir():
            files = _in_folder(path, recursive=recursive)
            where = "in it or below" if recursive else "directly in it (subfolders need recursive)"
            return files or AudioError(f"a folder without audio files {where}", path=path)
        if path.exists():
            return [InputFile(path)]
    except OSError as error:
        return AudioError(f"cannot be looked at ({error.strerror})", path=path)
    if not glob.has_magic(text):
        return AudioError("no such file; check the name and the folder", path=path)
    return _matching(text, recursive=recursive) or AudioError(
        "no file matches this pattern; check it, and the folder it starts from", path=path
    )


def _matching(pattern: str, *, recursive: bool) -> list[InputFile]:
    # has_magic has said that it is a pattern; Path.glob takes no absolute ones
    matches = [Path(match) for match in glob.glob(pattern, recursive=True)]  # noqa: PTH207
    files = [InputFile(match) for match in matches if match.is_file()]
    audio = [file for file in files if _is_audio_name(file.path)]
    for folder in matches:
        if folder.is_dir():
            audio += _in_folder(folder, recursive=recursive)
    return audio or files


def _in_folder(folder: Path, *, recursive: bool) -> list[InputFile]:
    candidates = folder.rglob("*") if recursive else folder.iterdir()
    return [
        InputFile(path, relative_to=folder)
        for path in candidates
        if _is_audio_name(path)
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and path.is_file()
    ]


def _is_audio_name(path: Path) -> bool:
    return path.suffix.lower() in AUDIO_EXTENSIONS


def _identity(path: Path) -> Path:
    """The file itself, so that ``a.wav`` and ``./a.wav`` are one; links stay two names."""
    return path.parent.resolve() / path.name


def _folder(file: InputFile) -> Path:
    return Path(*(safe_name(part) for part in file.relative_folder.parts))


def _folded(path: Path) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", str(path)).casefold())


def _numbered(path: Path) -> Iterator[Path]:
    """Yield ``path``, then "path (2)", "path (3)" ..."""
    yield path
    for number in itertools.count(2):
        suffix = f" ({number})"
        limit = MAX_NAME_BYTES - RESERVED_BYTES - len(suffix)
        yield path.with_name(_shortened(path.name, limit) + suffix)


def _shortened(name: str, max_bytes: int) -> str:
    """Cut ``name`` to ``max_bytes`` without breaking a character, an accent or an emoji apart."""
    if len(os.fsencode(name)) <= max_bytes:
        return name
    cut = name
    while len(os.fsencode(cut)) > max_bytes:
        excess = len(os.fsencode(cut)) - max_bytes
        cut = cut[: -max(1, excess // 4)]
    while cut and _continues(name[len(cut)]):
        cut = cut[:-1]
    return cut.rstrip("\u200d")


def _continues(char: str) -> bool:
    """Whether ``char`` belongs to the character before it."""
    return bool(unicodedata.combining(char)) or char in "\u200d\ufe0f\ufe0e"
