from __future__ import annotations

import base64
import re
import struct
import zlib
from html.parser import HTMLParser

import numpy as np
import pytest
import soundfile

from audiform.evaluation import evaluate_estimates
from audiform.evaluation.png import encode_png, palette
from audiform.evaluation.report import Report, render
from audiform.io import read
from tests.evaluation.songs import RATE, write_estimates, write_song

NAME = 'a <b>song & "more"'


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    song = write_song(folder / "r" / "song", seconds=6, stems=("drums", "vocals"))
    write_estimates(song, folder / "e" / "song")
    for kind in ("r", "e"):
        (folder / kind / "song").rename(folder / kind / NAME)
    report = Report(excerpt_seconds=2)
    found = evaluate_estimates(
        folder / "e", folder / "r", metrics=("mdx", "silence"), on_song=report.add
    )
    report.write(folder / "page.html", found, command="audiform evaluate ...", date="today")
    return found, (folder / "page.html").read_text(encoding="utf-8"), folder


class Strict(HTMLParser):
    """Collects tags, and fails on one that is closed without having been opened."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag, attrs) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_and_stands_alone(made):
    _, page, folder = made
    parser = Strict()
    parser.feed(page)
    assert parser.open == []
    assert not {tag for tag, _ in parser.seen} & {"script", "link", "iframe"}
    for _, attributes in parser.seen:
        for name in ("src", "href"):
            assert attributes.get(name, "data:").startswith("data:")
    assert "http://" not in page
    assert "https://" not in page
    assert sorted(path.name for path in folder.iterdir()) == ["e", "page.html", "r"]


def test_names_are_escaped_and_the_run_is_told(made):
    found, page, _ = made
    assert "<b>song" not in page
    assert "a &lt;b&gt;song &amp; " in page
    for told in ("audiform evaluate ...", "today", "MDX SDR", "second by second"):
        assert told in page
    assert f"{found.medians()['drums']['mdx_sdr_db']['estimate']:.2f}" in page


def test_pictures_and_sounds_are_what_they_say(made, tmp_path):
    _, page, folder = made
    pictures = re.findall(r'data:image/png;base64,([^"]+)', page)
    sounds = re.findall(r'data:audio/mpeg;base64,([^"]+)', page)
    assert len(pictures) == len(sounds) == 5  # two stems, true and estimated, and the mixture
    (tmp_path / "mixture.mp3").write_bytes(base64.b64decode(sounds[-1]))
    excerpt = read(tmp_path / "mixture.mp3")
    assert excerpt.sample_rate == RATE
    assert excerpt.num_samples == 2 * RATE
    # vocals rest in the second second: the loudest two seconds come after it
    stems = [soundfile.read(path)[0] for path in sorted((folder / "r" / NAME).glob("*.wav"))]
    mixture = sum(stems)
    energy = [np.square(mixture[s * RATE : (s + 2) * RATE]).sum() for s in range(5)]
    start = int(np.argmax(energy)) * RATE
    likeness = np.corrcoef(excerpt.samples[0], mixture[start : start + 2 * RATE, 0])[0, 1]
    assert likeness > 0.9


def test_a_song_of_an_earlier_run_has_figures_only(made):
    found, _, _ = made
    page = render(found, {}, command="", date="")
    assert "earlier run" in page
    assert "data:image" not in page


def test_png_holds_the_picture():
    picture = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
    data = encode_png(picture)
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    position, chunks = 8, {}
    while position < len(data):
        (length,) = struct.unpack(">I", data[position : position + 4])
        name = data[position + 4 : position + 8]
        chunks[name] = data[position + 8 : position + 8 + length]
        checksum = data[position + 8 + length : position + 12 + length]
        assert struct.unpack(">I", checksum)[0] == zlib.crc32(name + chunks[name])
        position += 12 + length
    assert struct.unpack(">II", chunks[b"IHDR"][:8]) == (4, 3)
    assert chunks[b"PLTE"] == palette()
    assert len(palette()) == 768
    rows = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(3, 5)
    assert (rows[:, 0] == 0).all()
    assert (rows[:, 1:] == picture).all()
    brightness = np.frombuffer(palette(), np.uint8).reshape(256, 3).astype(int).sum(1)
    assert (np.diff(brightness) >= 0).all()
