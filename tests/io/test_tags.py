"""Tags and covers survive every writer; technical ones are left behind."""

from __future__ import annotations

from dataclasses import replace

import pytest

from audiform.io import Cover, OutputFormat, Tags, probe
from audiform.io.tags import normalised
from tests.io.audio_files import LOSSY, PCM, label, picture, read, sine, write

TEXT = {
    "title": "Überfluß 日本語 🎵",
    "artist": "Ärzte; שלום",
    "album": "O último",
    "album_artist": "Various",
    "date": "2021-03-04",
    "genre": "Bossa nova",
    "bpm": "128",
    "comment": "two\nlines = ok",
    "isrc": "DEUM71500000",
    "track": "3/12",
    "initialkey": "Am",
    "mood": "calm",
}


@pytest.mark.parametrize("codec", ["png", "mjpeg"])
@pytest.mark.parametrize("format", PCM + LOSSY, ids=label)
def test_tags_and_cover_survive(tmp_path, format, codec):
    mime_type = {"png": "image/png", "mjpeg": "image/jpeg"}[codec]
    tags = Tags(text=TEXT, cover=Cover(picture(codec), mime_type))
    path = write(tmp_path / "a", sine(3001), format, tags=tags).path
    assert probe(path).tags.text == TEXT
    assert probe(path).tags.cover == tags.cover
    bare = write(tmp_path / "b", sine(3001), format).path
    assert (read(path) == read(bare)).all()
    assert probe(bare).tags == Tags()


@pytest.mark.parametrize("format", [OutputFormat("flac"), *LOSSY], ids=label)
def test_a_large_cover_survives(tmp_path, format):
    data = picture("png") + bytes(range(256)) * 2000  # half a megabyte: eight Ogg pages
    tags = Tags(text={"title": "x"}, cover=Cover(data, "image/png"))
    path = write(tmp_path / "a", sine(3001), format, tags=tags).path
    assert probe(path).tags.cover == tags.cover
    assert read(path).shape[1] == probe(path).num_samples


@pytest.mark.parametrize("num_bytes", [0, 1, 200, 254, 255, 256, 509, 510, 65_000, 65_025, 130_050])
@pytest.mark.parametrize("name", ["ogg", "opus"])
def test_comments_of_any_length_make_whole_pages(tmp_path, name, num_bytes):
    tags = Tags(text={"comment": "x" * num_bytes, "title": "t"})
    path = write(tmp_path / "a", sine(2000), OutputFormat(name), tags=tags).path
    assert probe(path).tags.text.get("comment", "") == "x" * num_bytes
    assert read(path).shape[1] > 0  # checks each page's sum and number


def test_tags_pass_from_any_container_to_any_other(tmp_path):
    tags = Tags(text=TEXT, cover=Cover(picture(), "image/png"))
    path = write(tmp_path / "0", sine(3001), OutputFormat("flac"), tags=tags).path
    for index, name in enumerate(["mp3", "m4a", "ogg", "wav", "opus", "m4a", "flac"]):
        path = write(
            tmp_path / str(index + 1), sine(3001), OutputFormat(name), tags=probe(path).tags
        ).path
        assert probe(path).tags == tags


@pytest.mark.parametrize("format", [OutputFormat("m4a"), OutputFormat("mp3")], ids=label)
def test_odd_values_are_kept_as_text(tmp_path, format):
    tags = Tags(text={"bpm": "127.5", "track": "A1", "key=with equals": "v"})
    path = write(tmp_path / "a", sine(3001), format, tags=tags).path
    assert probe(path).tags.text == tags.text


def test_names_are_unified_and_technical_entries_dropped():
    metadata = {
        "TBPM": "120", "TSRC": "US1", "TSS": "GarageBand", "TCM": "C",
        "Title": " x ", "encoder": "Lavf", "major_brand": "M4A ",
        "handler_name": "SoundHandler", "DESCRIPTION": "text", "artist": "", "date": "2020",
        "year": "1999",
    }  # fmt: skip
    assert normalised(metadata) == {
        "bpm": "120", "isrc": "US1", "composer": "C", "title": "x", "comment": "text",
        "date": "2020",
    }  # fmt: skip


def test_tags_are_false_when_there_are_none():
    assert not Tags()
    assert Tags(text={"a": "b"})
    assert replace(Tags(), cover=Cover(b"x", "image/png"))
