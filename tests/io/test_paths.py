"""File names: inputs found, names made safe and distinct."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiform.io import InputFile, expand_inputs, free_bytes, safe_name, unique_names


@pytest.fixture
def music(tmp_path):
    for name in ("b.wav", "a.MP3", "notes.txt", ".hidden.wav", "x/c.flac", "x/y/d.m4a", "e/f.jpg"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return tmp_path


def names(inputs, root):
    return [str(file.path.relative_to(root)) for file in inputs.files]


def test_a_folder_means_the_audio_directly_in_it(music):
    inputs = expand_inputs([music])
    assert names(inputs, music) == ["a.MP3", "b.wav"]
    assert inputs.failures == []


def test_recursive_keeps_the_tree(music):
    inputs = expand_inputs([music], recursive=True)
    assert names(inputs, music) == ["a.MP3", "b.wav", "x/c.flac", "x/y/d.m4a"]
    assert [file.relative_folder for file in inputs.files] == [
        Path(), Path(), Path("x"), Path("x/y"),
    ]  # fmt: skip


def test_a_file_is_taken_whatever_its_ending(music):
    assert names(expand_inputs([music / "notes.txt"]), music) == ["notes.txt"]


def test_patterns(music):
    assert names(expand_inputs([music / "*.wav"]), music) == ["b.wav"]
    assert names(expand_inputs([music / "**" / "*.[fm]*"]), music) == [
        "x/c.flac", "x/y/d.m4a",
    ]  # fmt: skip
    assert names(expand_inputs([f"{music}/*.txt"]), music) == ["notes.txt"]
    assert names(expand_inputs([f"{music}/x*"]), music) == ["x/c.flac"]


def test_a_file_whose_name_looks_like_a_pattern(tmp_path):
    path = tmp_path / "song [live].wav"
    path.write_bytes(b"x")
    assert [file.path for file in expand_inputs([path]).files] == [path]


def test_each_file_once_and_sorted(music, monkeypatch):
    monkeypatch.chdir(music)
    inputs = expand_inputs(["x/c.flac", "b.wav", "./b.wav", music / "b.wav", music])
    assert [file.path.name for file in inputs.files].count("b.wav") == 1
    assert len(inputs.files) == 3
    assert [str(f.path) for f in inputs.files] == sorted(str(f.path) for f in inputs.files)


def test_failures_do_not_stop_the_others(music):
    inputs = expand_inputs([music / "none.wav", music / "e", music / "*.xyz", music / "b.wav"])
    assert names(inputs, music) == ["b.wav"]
    texts = [str(failure) for failure in inputs.failures]
    assert "no such file" in texts[0]
    assert "folder without audio files" in texts[1]
    assert "no file matches" in texts[2]
    assert inputs.failures[0].path == music / "none.wav"


FAMILY = "👨\u200d👩\u200d👧"


@pytest.mark.parametrize(
    "text",
    [
        "日本語 ソング",
        "Ünïcödé",
        "שיר טוב",
        "🎵🎶 " + FAMILY,
        "AC:DC? *live*",
        "..x",
        "a.b.c",
        " x ",
    ],
)
def test_safe_names_stay_as_they_are(text):
    assert safe_name(text, windows=False) == text


def test_what_is_forbidden_is_replaced():
    assert safe_name("AC/DC\x00", windows=False) == "AC_DC_"
    assert [safe_name(text, windows=False) for text in ("", ".", "..")] == ["_", "_", "__"]
    assert safe_name('a<b>:"c|d?*e\\f/g\n', windows=True) == "a_b___c_d__e_f_g_"
    assert safe_name("trailing. . ", windows=True) == "trailing"
    assert safe_name("COM1.live", windows=True) == "_COM1.live"
    assert safe_name("nul", windows=True) == "_nul"


@given(st.text(max_size=400), st.booleans())
def test_safe_names_fit_and_are_stable(text, windows):
    text = text.encode("utf-8", "ignore").decode()
    name = safe_name(text, windows=windows)
    assert 0 < len((name + ".stem.mp4.part").encode()) <= 255
    assert "/" not in name
    assert "\x00" not in name
    assert name not in (".", "..")
    assert safe_name(name, windows=windows) == name


def test_long_names_are_cut_between_characters():
    assert safe_name("é" * 300) == "é" * ((255 - 14) // 2)
    assert len(safe_name("日" * 300).encode()) <= 241
    accents = "e\u0301" * 200  # a letter and its accent stay together
    assert safe_name(accents).endswith("e\u0301")
    assert not safe_name(FAMILY * 50).endswith("\u200d")


def test_a_long_name_can_be_made(tmp_path):
    name = safe_name("長" * 200)
    (tmp_path / f"{name}.stem.mp4.part").write_bytes(b"")


def files(*paths, root=None):
    return [InputFile(Path(path), None if root is None else Path(root)) for path in paths]


def test_names_that_do_not_collide_are_short():
    assert unique_names(files("x/a.wav", "y/b.wav")) == [Path("a"), Path("b")]


def test_names_that_collide_keep_their_extension_then_get_numbers():
    assert unique_names(files("a.wav", "a.mp3", "b.wav")) == [
        Path("a.wav"), Path("a.mp3"), Path("b"),
    ]  # fmt: skip
    assert unique_names(files("x/a.wav", "y/a.wav", "z/a.wav")) == [
        Path("a.wav"), Path("a.wav (2)"), Path("a.wav (3)"),
    ]  # fmt: skip


def test_a_tree_keeps_names_apart():
    tree = files("m/x/a.wav", "m/y/a.wav", "m/a.wav", root="m")
    assert unique_names(tree) == [Path("x/a"), Path("y/a"), Path("a")]


def test_case_and_unicode_form_collide():
    assert unique_names(files("x/Song.wav", "y/song.wav")) == [
        Path("Song.wav"), Path("song.wav (2)"),
    ]  # fmt: skip
    assert len({str(n) for n in unique_names(files("x/é.wav", "y/e\u0301.wav"))}) == 2


def test_a_long_form_does_not_take_another_files_name():
    assert unique_names(files("a.wav", "a.mp3", "a.mp3.flac")) == [
        Path("a.wav"), Path("a.mp3 (2)"), Path("a.mp3"),
    ]  # fmt: skip


@given(
    st.lists(
        st.tuples(st.sampled_from("xyX"), st.sampled_from(["a", "A", "b", "a.wav", "é" * 200]),
                  st.sampled_from([".wav", ".mp3", ".WAV"])),
        unique=True, max_size=12,
    )
)  # fmt: skip
def test_names_are_always_distinct(parts):
    inputs = files(*(f"{folder}/{stem}{ending}" for folder, stem, ending in parts))
    found = unique_names(inputs)
    assert found == unique_names(inputs)
    assert len({str(name).casefold() for name in found}) == len(inputs)
    assert all(len(name.name.encode()) <= 241 for name in found)


def test_free_bytes_of_a_folder_that_is_still_to_be_made(tmp_path):
    assert free_bytes(tmp_path / "not" / "yet") > 0


@pytest.mark.skipif(sys.platform == "win32", reason="names there are Unicode always")
def test_names_that_are_no_unicode(tmp_path):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.wav"))
    try:
        path.write_bytes(b"x")
    except OSError:
        pytest.skip("this file system takes Unicode names only")
    inputs = expand_inputs([tmp_path])
    assert [file.path for file in inputs.files] == [path]
    assert unique_names(inputs.files)[0].name == path.stem
