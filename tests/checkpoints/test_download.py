"""Fetching, against a server on this machine that can misbehave."""

from __future__ import annotations

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from audiform.checkpoints import download
from audiform.checkpoints.download import HubSource, UrlSource, fetch
from audiform.errors import CheckpointError

CONTENT = bytes(range(256)) * 4000  # 1 MB
PREFIX = hashlib.sha256(CONTENT).hexdigest()[:8]


class Server:
    """Serves CONTENT under any name; the attributes say how."""

    def __init__(self):
        self.requests: list[str | None] = []  # Range of each request
        self.ranges = True
        self.status: int | None = None
        self.content = CONTENT
        self.stop_after: list[int] = []  # bytes after which each connection breaks off
        self.announce = True
        self.redirect: str | None = None
        self.range_offset = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.answer(self)

            def log_message(self, *_):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()

    def url(self, name="file.th"):
        return f"http://127.0.0.1:{self.http.server_port}/{name}"

    def source(self, prefix=PREFIX):
        return UrlSource(self.url(), sha256_prefix=prefix)

    def answer(self, request):
        asked = request.headers.get("Range")
        self.requests.append(asked)
        if self.redirect:
            request.send_response(302)
            request.send_header("Location", self.redirect)
            request.end_headers()
            return
        if self.status:
            request.send_error(self.status)
            return
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and self.ranges else 0
        if start >= len(self.content):
            request.send_response(416)
            request.send_header("Content-Range", f"bytes */{len(self.content)}")
            request.end_headers()
            return
        body = self.content[start:]
        request.send_response(206 if start else 200)
        if start:
            first = start + self.range_offset
            request.send_header(
                "Content-Range", f"bytes {first}-{len(self.content) - 1}/{len(self.content)}"
            )
        if self.announce:
            request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        if self.stop_after:
            body = body[: self.stop_after.pop(0)]
        request.wfile.write(body)
        request.close_connection = True


@pytest.fixture
def server():
    server = Server()
    yield server
    server.http.shutdown()
    server.http.server_close()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv(download.CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


def names(cache):
    return sorted(path.name for path in cache.iterdir() if path.suffix != ".lock")


def test_a_file_is_fetched_once_with_progress(server, cache):
    seen = []
    path = fetch([server.source()], on_progress=lambda *step: seen.append(step))
    assert path == cache / "file.th"
    assert path.read_bytes() == CONTENT
    assert seen[0] == (0, len(CONTENT))
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert seen == sorted(seen)
    assert fetch([server.source()]) == path
    assert server.requests == [None]
    assert names(cache) == ["file.th"]


def test_a_connection_that_breaks_off_is_taken_up(server, cache):
    server.stop_after = [300_000, 300_000]
    assert fetch([server.source()]).read_bytes() == CONTENT
    assert server.requests == [None, "bytes=300000-", "bytes=600000-"]
    assert names(cache) == ["file.th"]


def test_it_is_resumed_after_the_program_was_stopped(server, cache):
    class Stop(Exception):
        pass

    def stop_half_way(done, _total):
        if done > len(CONTENT) // 2:
            raise Stop

    with pytest.raises(Stop):
        fetch([server.source()], on_progress=stop_half_way)
    assert names(cache) == ["file.th.part"]
    kept = (cache / "file.th.part").stat().st_size
    assert kept > len(CONTENT) // 2
    seen = []
    assert (
        fetch([server.source()], on_progress=lambda *step: seen.append(step)).read_bytes()
        == CONTENT
    )
    assert server.requests[-1] == f"bytes={kept}-"
    assert seen[0] == (kept, len(CONTENT))


def test_a_server_without_ranges_sends_all_of_it_again(server, cache):
    cache.mkdir()
    (cache / "file.th.part").write_bytes(CONTENT[:1000])
    server.ranges = False
    assert fetch([server.source()]).read_bytes() == CONTENT


def test_a_part_that_is_already_whole(server, cache):
    cache.mkdir()
    (cache / "file.th.part").write_bytes(CONTENT)
    assert fetch([server.source()]).read_bytes() == CONTENT
    assert server.requests == [f"bytes={len(CONTENT)}-"]


@pytest.mark.parametrize("part", [b"x" * 1000, b"x" * 2_000_000], ids=["shorter", "longer"])
def test_a_part_of_another_file_is_fetched_anew(part, server, cache):
    cache.mkdir()
    (cache / "file.th.part").write_bytes(part)
    assert fetch([server.source()]).read_bytes() == CONTENT
    assert names(cache) == ["file.th"]


def test_a_server_that_does_not_tell_the_length(server):
    server.announce = False
    seen = []
    path = fetch([server.source()], on_progress=lambda *step: seen.append(step))
    assert path.read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), None)


def test_a_server_that_sends_another_range(server, cache):
    cache.mkdir()
    (cache / "file.th.part").write_bytes(CONTENT[:1000])
    server.range_offset = 5
    with pytest.raises(CheckpointError, match="another part of the file"):
        fetch([server.source()])


def test_a_wrong_content_never_gets_the_name_and_is_kept(server, cache):
    server.content = b"something else"
    with pytest.raises(CheckpointError) as caught:
        fetch([server.source()])
    assert f"must begin with {PREFIX}" in str(caught.value)
    assert "file.th.mismatch" in str(caught.value)
    assert names(cache) == ["file.th.mismatch"]


def test_a_damaged_file_in_the_cache_is_named_and_replaced(server, cache):
    cache.mkdir()
    (cache / "file.th").write_bytes(CONTENT[:-1])
    with pytest.raises(CheckpointError, match="damaged or another one"):
        fetch([server.source()], offline=True)
    assert fetch([server.source()]).read_bytes() == CONTENT


def test_all_places_that_failed_are_named_in_order(server, cache, tmp_path):
    gone = Server()
    gone.http.shutdown()
    gone.http.server_close()
    server.status = 404
    with pytest.raises(CheckpointError) as caught:
        fetch([server.source(), gone.source()])
    message = str(caught.value)
    places = [str(cache / "file.th"), str(tmp_path / "torch"), "HTTP 404", gone.url(), "refused"]
    positions = [message.index(place) for place in places]
    assert positions[0] < positions[1] < positions[2]
    assert "--repo DIR" in message
    assert names(cache) == []


def test_the_next_source_is_tried(server):
    gone = Server()
    gone.status = 503
    try:
        assert fetch([gone.source(), server.source()]).read_bytes() == CONTENT
    finally:
        gone.http.shutdown()
        gone.http.server_close()


def test_a_server_that_always_breaks_off_keeps_what_came(server, cache):
    server.stop_after = [1000] * 50
    with pytest.raises(CheckpointError, match=r"4000 bytes are kept, the next call goes on"):
        fetch([server.source()])
    assert (cache / "file.th.part").read_bytes() == CONTENT[:4000]


def test_offline_asks_nobody(server):
    with pytest.raises(CheckpointError, match="offline was asked for"):
        fetch([server.source()], offline=True)
    assert server.requests == []


def test_what_demucs_left_in_the_cache_of_torch_is_used(server, tmp_path):
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / "file.th").write_bytes(b"half of it")
    assert fetch([server.source()]).parent != folder
    (folder / "file.th").write_bytes(CONTENT)
    (tmp_path / "cache" / "file.th").unlink()
    assert fetch([server.source()], offline=True) == folder / "file.th"
    assert len(server.requests) == 1


def test_no_redirection_to_another_scheme(server):
    server.redirect = "ftp://127.0.0.1/file.th"
    with pytest.raises(CheckpointError, match="redirects to ftp"):
        fetch([server.source()])


def test_an_endless_answer_is_cut(server, monkeypatch):
    monkeypatch.setattr(download, "MAX_BYTES", 300_000)
    with pytest.raises(CheckpointError, match="more than 300000 bytes"):
        fetch([server.source()])


def test_the_hub_is_asked_for_the_pinned_revision(monkeypatch, tmp_path):
    import huggingface_hub

    asked = []

    def answer(repository, name, *, revision, local_files_only):
        asked.append((repository, name, revision, local_files_only))
        if local_files_only:
            raise FileNotFoundError("not in the cache\nmore lines")
        (tmp_path / name).write_bytes(CONTENT)
        return str(tmp_path / name)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", answer)
    source = HubSource("us/them", "a.safetensors", "abc123")
    with pytest.raises(CheckpointError, match="FileNotFoundError: not in the cache\n"):
        fetch([source], offline=True)
    assert fetch([source]) == tmp_path / "a.safetensors"
    assert asked == [
        ("us/them", "a.safetensors", "abc123", True),
        ("us/them", "a.safetensors", "abc123", False),
    ]


def test_two_at_once_fetch_it_once(server):
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(fetch([server.source()]))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1
    assert found[0].read_bytes() == CONTENT
    assert server.requests == [None]
