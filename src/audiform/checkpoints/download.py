"""Fetching a checkpoint: resumed, verified, and under its name only when it is whole.

The order is explicit: what is in our cache, what Demucs left in torch's cache, then the
sources one by one. Each place that failed is in the final message, with its reason.
"""

from __future__ import annotations

import contextlib
import logging
import os
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import platformdirs

from audiform.checkpoints.checksum import check_sha256, sha256_of
from audiform.errors import CheckpointError

#: ``on_progress(done_bytes, total_bytes)``; the total is None where the server does not tell it.
OnProgress = Callable[[int, int | None], None]

#: The folder for fetched checkpoints, instead of the user's cache.
CACHE_VARIABLE = "AUDIFORM_CACHE"

TIMEOUT_SECONDS = 30.0
BLOCK_BYTES = 1 << 18

#: How often a connection that broke off is taken up again before the source is given up.
ATTEMPTS = 4

#: No released checkpoint has a tenth of it; a server that sends more is not asked further.
MAX_BYTES = 8 * 2**30


@dataclass(frozen=True)
class UrlSource:
    """A file on a web server, whose sha256 is known to begin with ``sha256_prefix``."""

    url: str
    sha256_prefix: str

    @property
    def file_name(self) -> str:
        """The last part of the address."""
        return self.url.rpartition("/")[2]

    def __str__(self) -> str:
        return self.url


@dataclass(frozen=True)
class HubSource:
    """A file in a repository of the Hugging Face hub; ``revision`` None is its newest."""

    repository: str
    file_name: str
    revision: str | None = None

    def __str__(self) -> str:
        return f"hub {self.repository}/{self.file_name} ({self.revision or 'no pinned revision'})"


Source = UrlSource | HubSource


class _Failed(Exception):
    """A source could not be used, for the reason in the text."""


def cache_folder() -> Path:
    """Return the folder where fetched checkpoints are kept."""
    if folder := os.environ.get(CACHE_VARIABLE):
        return Path(folder).expanduser()
    return Path(platformdirs.user_cache_dir("audiform")) / "checkpoints"


def torch_cache_folder() -> Path:
    """Return the folder where Demucs, by way of torch, keeps the same files."""
    home = os.environ.get("TORCH_HOME") or os.path.join(  # noqa: PTH118
        os.environ.get("XDG_CACHE_HOME") or "~/.cache", "torch"
    )
    return Path(home).expanduser() / "hub" / "checkpoints"


def fetch(
    sources: Sequence[Source], *, offline: bool = False, on_progress: OnProgress | None = None
) -> Path:
    """Return the path of a verified copy, fetched from the first source that has it.

    With ``offline`` only copies on this machine are looked at. Raises
    :class:`CheckpointError` that names each place and why it failed. An exception of
    ``on_progress`` stops the download; the next call takes it up where it stopped.
    """
    failures: list[str] = []
    for source in sources:
        if isinstance(source, UrlSource) and (found := _local_copy(source, failures)):
            return found
    for source in sources:
        try:
            if isinstance(source, HubSource):
                return _fetch_hub(source, on_progress or _silent, offline=offline)
            if offline:
                raise _Failed("not tried, because offline was asked for")
            return _fetch_url(source, on_progress or _silent)
        except _Failed as failure:
            failures.append(f"{source}: {failure}")
    names = " or ".join(source.file_name for source in sources) or "the file"
    reasons = "".join(f"\n  {failure}" for failure in failures)
    raise CheckpointError(
        f"no place has a usable {names}:{reasons}\nFetch it by hand and put it into "
        f"{cache_folder()}, or into a folder that is given with --repo DIR"
    )


def _silent(done_bytes: int, total_bytes: int | None) -> None:
    """Report nothing."""


def _local_copy(source: UrlSource, failures: list[str]) -> Path | None:
    for folder in (cache_folder(), torch_cache_folder()):
        path = folder / source.file_name
        if not path.is_file():
            failures.append(f"{path}: not there")
            continue
        try:
            check_sha256(path, source.sha256_prefix)
            return path
        except CheckpointError as error:
            failures.append(str(error))
    return None


def _fetch_hub(source: HubSource, on_progress: OnProgress, *, offline: bool) -> Path:
    """Fetch by way of the hub's own library, into its own cache; it resumes and verifies."""
    try:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.utils import (
            are_progress_bars_disabled,
            disable_progress_bars,
            enable_progress_bars,
        )
    except ImportError as error:
        raise _Failed(f"huggingface_hub cannot be imported ({error})") from error
    drew = not are_progress_bars_disabled()
    disable_progress_bars()
    its_log = logging.getLogger("huggingface_hub")  # it warns of each try; we report the last
    level = its_log.level
    its_log.setLevel(logging.ERROR)
    try:
        path = Path(
            hf_hub_download(
                source.repository,
                source.file_name,
                revision=source.revision,
                local_files_only=offline,
            )
        )
    except Exception as error:  # its own, those of its HTTP library, and the system's
        reason = str(error).strip().split("\n")[0][:300]
        raise _Failed(f"{type(error).__name__}: {reason}") from error
    finally:
        its_log.setLevel(level)
        if drew:
            enable_progress_bars()
    on_progress(path.stat().st_size, path.stat().st_size)
    return path


def _fetch_url(source: UrlSource, on_progress: OnProgress) -> Path:
    final = cache_folder() / source.file_name
    part = final.with_name(final.name + ".part")
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        with _locked(final.with_name(final.name + ".lock")):
            if final.is_file() and sha256_of(final).startswith(source.sha256_prefix):
                return final  # another process fetched it while this one waited
            resumed = part.is_file() and part.stat().st_size > 0
            _download(source, part, on_progress)
            if resumed and not sha256_of(part).startswith(source.sha256_prefix):
                part.unlink()  # the beginning was of another file: once more, all of it
                _download(source, part, on_progress)
            found = sha256_of(part)
            if not found.startswith(source.sha256_prefix):
                kept = final.with_name(final.name + ".mismatch")
                part.replace(kept)
                raise _Failed(
                    f"what came has the sha256 {found[:16]}..., and it must begin with "
                    f"{source.sha256_prefix}; it is kept for inspection as {kept}"
                )
            part.replace(final)
            return final
    except OSError as error:
        raise _Failed(f"{type(error).__name__}: {error}") from error


def _download(source: UrlSource, part: Path, on_progress: OnProgress) -> None:
    """Fill ``part`` up to its end, taking up a broken connection as long as it gets further."""
    for attempt in range(1, ATTEMPTS + 1):
        before = part.stat().st_size if part.exists() else 0
        try:
            total = _transfer(source, part, on_progress)
            if part.stat().st_size >= total:
                return
            reason = "the server ended the answer early"
        except (OSError, HTTPException, ValueError) as error:
            if isinstance(error, urllib.error.HTTPError):
                error.close()
                raise _Failed(f"HTTP {error.code} {error.reason}") from error
            reason, total = f"{type(error).__name__}: {error}", 0
        after = part.stat().st_size if part.exists() else 0
        if attempt == ATTEMPTS or after <= before:
            kept = f"; {after} bytes are kept, the next call goes on from there" if after else ""
            of_total = f" of {total}" if total else ""
            raise _Failed(f"{reason} (after {after}{of_total} bytes){kept}")


def _transfer(source: UrlSource, part: Path, on_progress: OnProgress) -> int:
    """Ask for what ``part`` lacks and append it; return the size of the whole file."""
    have = part.stat().st_size if part.exists() else 0
    try:
        answer = _open(source.url, have)
    except urllib.error.HTTPError as error:
        if error.code != 416 or not have:  # 416: nothing lies beyond what is here
            raise
        error.close()
        whole = (error.headers.get("Content-Range") or "").rpartition("/")[2]
        if whole == str(have):
            return have
        part.unlink()
        have, answer = 0, _open(source.url, 0)
    with answer:
        continues = answer.status == 206 and (
            answer.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        )
        if answer.status == 206 and not continues:
            raise _Failed("the server sent another part of the file than was asked for")
        done = have if continues else 0
        announced = int(answer.headers.get("Content-Length") or 0)
        total = done + announced if announced else 0
        with part.open("ab" if continues else "wb") as file:
            on_progress(done, total or None)
            while block := answer.read(BLOCK_BYTES):
                done += len(block)
                if done > MAX_BYTES:
                    raise _Failed(f"the server sent more than {MAX_BYTES} bytes")
                file.write(block)
                on_progress(done, total or None)
            file.flush()
            os.fsync(file.fileno())
    return total or done


class _SameSecurity(urllib.request.HTTPRedirectHandler):
    """Follows no redirection from https to anything weaker."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any,
        newurl: str,
    ) -> urllib.request.Request | None:  # fmt: skip
        """Refuse a weaker scheme, else do as usual."""
        if urlsplit(newurl).scheme not in ("https", req.type):
            raise _Failed(f"the server redirects to {newurl[:200]}, which is not {req.type}")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _open(url: str, start: int) -> Any:
    headers = {"User-Agent": "audiform", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    opener = urllib.request.build_opener(_SameSecurity)
    return opener.open(urllib.request.Request(url, headers=headers), timeout=TIMEOUT_SECONDS)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock among processes where the system has one, so that two do not write a part."""
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
