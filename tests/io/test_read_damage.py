"""Bad input: either the reader says what is wrong, or the audio is whole and right."""

from __future__ import annotations

import os
import random
import struct

import av
import numpy as np
import pytest
import soundfile

from audiform.errors import AudioError
from audiform.io import AudioReader, OutputFormat, Tags, probe
from tests.io.audio_files import encode, noisy, picture, read, sine, write


def says(path, pattern):
    with pytest.raises(AudioError, match=pattern) as caught:
        read(path)
    assert caught.value.path == path
    assert str(path) in str(caught.value)


def test_no_such_file(tmp_path):
    says(tmp_path / "none.wav", "no such file; check the name")


def test_a_folder(tmp_path):
    says(tmp_path, "is a folder")


def test_a_file_as_a_folder(tmp_path):
    (tmp_path / "a").write_bytes(b"x")
    says(tmp_path / "a" / "b.wav", "cannot be opened")


def test_no_permission(tmp_path):
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    path = write(tmp_path / "a.wav", sine(10), OutputFormat("wav")).path
    path.chmod(0)
    says(path, "permission denied")


def test_an_empty_file(tmp_path):
    (tmp_path / "a.mp3").write_bytes(b"")
    says(tmp_path / "a.mp3", "is empty .0 bytes.")


@pytest.mark.parametrize("name", ["a.wav", "a.mp3", "a.flac", "a.m4a", "a.ogg", "a"])
@pytest.mark.parametrize("text", ["hello\n" * 100, "<!DOCTYPE html>" * 50, "日本語" * 200])
def test_text_under_the_name_of_audio(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    says(tmp_path / name, r"is text, not audio \(it begins with")


@pytest.mark.parametrize(
    "text", ["#EXTM3U\n#EXTINF:10,\nb.wav\n", "ffconcat version 1.0\nfile b.wav"]
)
def test_playlists_open_no_other_file(tmp_path, text):
    write(tmp_path / "b.wav", sine(1000), OutputFormat("wav"))
    (tmp_path / "a.wav").write_text(text)
    says(tmp_path / "a.wav", "is text|is a playlist")


@pytest.mark.parametrize("name", ["a.wav", "a.mp3", "a.flac", "a.m4a", "a.ogg"])
def test_random_bytes(tmp_path, name):
    (tmp_path / name).write_bytes(random.Random(0).randbytes(20_000))
    with pytest.raises(AudioError):
        read(tmp_path / name)


def test_a_picture(tmp_path):
    (tmp_path / "a.png").write_bytes(picture())
    says(tmp_path / "a.png", r"holds no audio, found video \(png\)")


def test_a_video_without_sound(tmp_path):
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("mpeg4", rate=25)
        stream.width = stream.height = 32
        frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    says(path, r"holds no audio, found video \(mpeg4\)")


def test_no_samples(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros((0, 2)), 44100)
    says(tmp_path / "a.wav", "0 samples")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_not_a_number(tmp_path, value):
    path = write(tmp_path / "a", sine(100_000), OutputFormat("wav", is_float=True), 50_000).path
    data = bytearray(path.read_bytes())
    at = len(data) - 8 * 100_000 + 8 * 75_000 + 4  # second channel, 1.5 s
    data[at : at + 4] = struct.pack("<f", value)
    path.write_bytes(data)
    says(path, rf"contains {value} at 1\.500 s \(sample 75000, channel 2\)")
    with AudioReader(path, block_samples=1000) as reader:
        blocks = iter(reader)
        for _ in range(75):
            next(blocks)
        with pytest.raises(AudioError, match=r"1\.500 s"):
            next(blocks)


def test_streams_one_after_another_are_not_taken_for_one(tmp_path):
    path = write(tmp_path / "a", sine(5000), OutputFormat("ogg")).path
    path.write_bytes(path.read_bytes() * 2)
    says(path, "several Ogg streams")


CUT = "cut short|damaged|no complete MP4|no audio file|no MPEG|is text|0 samples|names no sample"


def make(tmp_path, name):
    """Return the path of a good file of this kind."""
    path = tmp_path / f"good.{name.split('_')[-1]}"
    samples = noisy(60_000)
    ours = {"wav", "flac", "ogg", "mp3", "m4a", "opus"}
    if name in ours:
        return write(path, samples, OutputFormat(name), 48000, tags=Tags({"title": "x"})).path
    container, codec, sample_format, options = {
        "cbr_mp3": ("mp3", "libmp3lame", "fltp", {"write_xing": "0"}),
        "alac_m4a": ("ipod", "alac", "s16p", {}),
        "faststart_m4a": ("ipod", "aac", "fltp", {"movflags": "faststart"}),
        "aiff": ("aiff", "pcm_s16be", "s16", {}),
        "flac_mka": ("matroska", "flac", "s16", {}),
        "opus_webm": ("webm", "libopus", "flt", {}),
        "wma": ("asf", "wmav2", "fltp", {}),
        "flac_oga": ("ogg", "flac", "s16", {}),
        "wv": ("wv", "wavpack", "s16p", {}),
    }[name]
    encode(
        path, samples, container=container, codec=codec, sample_format=sample_format,
        sample_rate=48000, **options,
    )  # fmt: skip
    return path


@pytest.mark.parametrize(
    "name",
    ["wav", "flac", "ogg", "mp3", "m4a", "opus", "cbr_mp3", "alac_m4a", "faststart_m4a", "aiff",
     "flac_mka", "opus_webm", "wma", "flac_oga", "wv"],
)  # fmt: skip
def test_a_cut_is_noticed_wherever_it_is(tmp_path, name):
    good = make(tmp_path, name)
    whole, data = read(good), good.read_bytes()
    cut = tmp_path / f"cut{good.suffix}"
    rng = random.Random(3)
    places = {4, 44, 100, 999, len(data) // 2, len(data) - 1, len(data) - 30, len(data) - 500}
    noticed = 0
    for place in places | {rng.randrange(1, len(data)) for _ in range(12)}:
        cut.write_bytes(data[:place])
        try:
            assert np.array_equal(read(cut), whole), f"cut at {place} of {len(data)}"
        except AudioError as error:
            noticed += 1
            assert len(str(error)) > 40
    assert noticed >= 10


def test_cuts_say_what_was_promised(tmp_path):
    for name, pattern in {
        "wav": "promises [0-9]+ bytes, found [0-9]+",
        "mp3": "the last frame|promises [0-9]+ frames, found",
        "m4a": "cut short",
        "ogg": "does not end",
        "opus": "does not end",
        "flac": "damaged",
        "aiff": "promises",
        "opus_webm": "promises",
        "wma": "promises",
    }.items():
        path = make(tmp_path, name)
        path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
        says(path, pattern)


def test_an_mp3_cut_between_two_frames(tmp_path):
    """Each frame is whole; only the number of them tells."""
    path = make(tmp_path, "mp3")
    data = path.read_bytes()
    last = data.rindex(b"\xff\xfb", 0, len(data) - 100)
    path.write_bytes(data[:last])
    says(path, "promises [0-9]+ frames, found")


#: Formats with checksums over the sound, so that every flipped bit can be found.
CHECKED = ["flac", "ogg", "opus", "flac_oga", "flac_mka", "wv"]


@pytest.mark.parametrize("name", CHECKED)
@pytest.mark.parametrize("kind", ["flip", "zero", "drop"])
def test_damage_is_noticed_where_there_are_checksums(tmp_path, name, kind):
    good = make(tmp_path, name)
    whole, data = read(good), good.read_bytes()
    bad = tmp_path / f"bad{good.suffix}"
    rng = random.Random(5)
    noticed = 0
    for _ in range(20):
        place = rng.randrange(len(data))
        changed = bytearray(data)
        if kind == "flip":
            changed[place] ^= 1 << rng.randrange(8)
        elif kind == "zero":
            changed[place : place + 60] = bytes(len(changed[place : place + 60]))
        else:
            del changed[place : place + 60]
        bad.write_bytes(changed)
        try:
            assert np.array_equal(read(bad), whole), f"{kind} at {place} of {len(data)}"
        except AudioError:
            noticed += 1
    assert noticed >= 12  # a flip may hit a tag or an unused byte


@pytest.mark.parametrize("name", ["wav", "mp3", "m4a", "alac_m4a", "wma", "opus_webm", "aiff"])
def test_damage_elsewhere_raises_audio_errors_only(tmp_path, name):
    """Where the format has no checksum nobody can find all; but nothing else is raised."""
    good = make(tmp_path, name)
    data = good.read_bytes()
    bad = tmp_path / f"bad{good.suffix}"
    rng = random.Random(6)
    for index in range(60):
        changed = bytearray(data)
        for _ in range(1 + index % 3):
            place = rng.randrange(200 if index % 2 else len(data))
            changed[place] = rng.randrange(256)
        bad.write_bytes(changed)
        try:
            read(bad)
        except AudioError as error:
            assert error.path == bad


def test_a_wrong_md5_alone_is_noticed(tmp_path):
    path = make(tmp_path, "flac")
    data = bytearray(path.read_bytes())
    data[30] ^= 1  # STREAMINFO ends with the sum, at 26 to 42
    path.write_bytes(data)
    says(path, "MD5")
    data[26:42] = bytes(16)  # "not computed"
    path.write_bytes(data)
    assert read(path).shape == (2, 60_000)


def test_probe_looks_at_the_head_only(tmp_path):
    path = make(tmp_path, "ogg")
    data = bytearray(path.read_bytes())
    data[-2000] ^= 1
    path.write_bytes(data)
    assert probe(path).sample_rate == 48000
    with pytest.raises(AudioError, match="checksum"):
        AudioReader(path)
