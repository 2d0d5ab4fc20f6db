"""Reading: every decoder gives the whole signal, in bounded blocks, from its first sample."""

from __future__ import annotations

import struct
import tracemalloc

import av
import numpy as np
import pytest
import soundfile
import torch

import audiform.io
from audiform.errors import AudioError
from audiform.io import AudioReader, OutputFormat, probe
from tests.io.audio_files import LOSSY, PCM, encode, label, noisy, picture, read, sine, write

#: What only FFmpeg reads (or only it writes): container, codec, sample format, ending, bits.
FOREIGN = {
    "alac_16": ("ipod", "alac", "s16p", ".m4a", 16),
    "alac_24": ("ipod", "alac", "s32p", ".m4a", 24),
    "aiff": ("aiff", "pcm_s16be", "s16", ".aiff", 16),
    "caf": ("caf", "pcm_s16le", "s16", ".caf", 16),
    "ogg_flac": ("ogg", "flac", "s16", ".oga", 16),
    "matroska_flac": ("matroska", "flac", "s16", ".mka", 16),
    "wavpack": ("wv", "wavpack", "s16p", ".wv", 16),
    "wma": ("asf", "wmav2", "fltp", ".wma", None),
    "webm_opus": ("webm", "libopus", "flt", ".webm", None),
    "mp4_mp3": ("mp4", "libmp3lame", "fltp", ".mp4", None),
    "mp4_aac": ("mp4", "aac", "fltp", ".mp4", None),
    "adts_aac": ("adts", "aac", "fltp", ".aac", None),
    "mov_pcm": ("mov", "pcm_s16le", "s16", ".mov", 16),
}
#: These say neither delay nor end, so a codec's frames stay whole.
UNTRIMMED = {"wma", "adts_aac", "mp4_mp3"}


@pytest.mark.parametrize("name", FOREIGN)
def test_what_ffmpeg_reads(tmp_path, name):
    container, codec, sample_format, ending, bit_depth = FOREIGN[name]
    samples = sine(20_011, 2, 48000)
    path = tmp_path / f"song{ending}"
    encode(
        path, samples, container=container, codec=codec, sample_format=sample_format,
        sample_rate=48000,
    )  # fmt: skip
    info, again = probe(path), read(path)
    assert (info.sample_rate, info.num_channels, info.channel_layout) == (48000, 2, "stereo")
    assert info.bit_depth == bit_depth
    assert info.num_samples in (None, again.shape[1])
    assert not info.is_float
    if name in UNTRIMMED:
        assert abs(again.shape[1] - 20_011) <= 4096
        return
    assert again.shape == samples.shape
    error = (again - samples)[:, 2000:-2000]
    if bit_depth is None:  # FFmpeg's AAC at 128 kbit/s is rough; one sample late is worse still
        late = np.roll(again, 1, axis=1)[:, 2000:-2000] - samples[:, 2000:-2000]
        assert np.sqrt(np.mean(error**2)) < min(0.05, np.sqrt(np.mean(late**2)))
    else:
        assert np.abs(error).max() < 1 / 2 ** (bit_depth - 1)


def test_info_of_what_soundfile_reads(tmp_path):
    for format in PCM:
        info = probe(write(tmp_path / "a", noisy(1234), format, 96000).path)
        assert (info.container, info.sample_rate, info.num_samples) == (format.name, 96000, 1234)
        assert (info.bit_depth, info.is_float) == (format.bits, format.is_float)
        assert info.duration_seconds == 1234 / 96000
    assert info.codec == "flac"


def test_samples_that_numpy_has_no_type_for(tmp_path):
    path = write(tmp_path / "a", sine(100), OutputFormat("wav"), expected_samples=100).path
    data = bytearray(path.read_bytes()[:-8])
    data[32:36] = struct.pack("<HH", 16, 64)  # 64-bit integers
    data[40:44] = struct.pack("<I", len(data) - 44)
    path.write_bytes(data)
    with pytest.raises(AudioError, match=r"'s64'.*convert it"):
        read(path)


def test_mu_law_in_a_wav(tmp_path):
    soundfile.write(tmp_path / "a.wav", sine(5000).T, 8000, subtype="ULAW")
    assert probe(tmp_path / "a.wav").codec == "pcm_mulaw"
    assert np.abs(read(tmp_path / "a.wav") - sine(5000)).max() < 0.01


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_32", "DOUBLE"])
def test_other_pcm(tmp_path, subtype):
    samples = sine(5000)
    soundfile.write(tmp_path / "a.wav", samples.T, 44100, subtype=subtype)
    tolerance = {"PCM_U8": 1 / 2**7, "PCM_32": 1e-7, "DOUBLE": 0}[subtype]
    assert np.abs(read(tmp_path / "a.wav") - samples).max() <= tolerance


def test_a_milliseconds_edit_list_does_not_shorten(tmp_path):
    """FFmpeg's default edit list is rounded to a millisecond; the packets know better."""
    path = tmp_path / "a.m4a"
    encode(path, sine(100_001), container="ipod", codec="aac", sample_format="fltp")
    assert read(path).shape == (2, 100_001)
    assert probe(path).num_samples is None


def test_a_video_with_sound(tmp_path):
    path = tmp_path / "film.mkv"
    samples = sine(9600, 1, 48000)
    with av.open(str(path), "w") as output:
        video = output.add_stream("mpeg4", rate=25)
        video.width = video.height = 32
        audio = output.add_stream("flac", rate=48000, layout="mono")
        audio.codec_context.format = "s16"
        for _ in range(5):
            frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
            output.mux(video.encode(frame))
        integers = np.rint(samples * 32767).astype(np.int16)
        for start in range(0, 9600, 4608):
            piece = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(integers[:, start : start + 4608]), format="s16", layout="mono"
            )
            piece.sample_rate = 48000
            piece.pts = start
            output.mux(audio.encode(piece))
        output.mux(video.encode(None))
        output.mux(audio.encode(None))
    assert np.abs(read(path) - samples).max() < 1e-4
    assert probe(path).tags.cover is None


@pytest.mark.parametrize("block_samples", [1, 999, 4096, 1 << 16])
@pytest.mark.parametrize("format", [*PCM[:1], *PCM[3:4], *LOSSY], ids=label)
def test_blocks_are_bounded_and_join_to_the_same(tmp_path, format, block_samples):
    num_samples = 3000 if block_samples == 1 else 70_001
    path = write(tmp_path / "a", noisy(num_samples), format, 48000).path
    with AudioReader(path, block_samples=block_samples) as reader:
        blocks = list(reader)
    assert all(block.shape == (2, block_samples) for block in blocks[:-1])
    assert 1 <= blocks[-1].shape[1] <= block_samples
    assert all(block.dtype == np.float32 for block in blocks)
    assert np.array_equal(np.concatenate(blocks, axis=1), read(path))


@pytest.mark.parametrize("format", [PCM[0], PCM[3], *LOSSY[1:]], ids=label)
def test_memory_does_not_grow_with_the_length(tmp_path, format):
    def peak(seconds):
        path = write(tmp_path / f"{seconds}", sine(seconds * 48000), format, 48000).path
        tracemalloc.start()
        with AudioReader(path, block_samples=8192) as reader:
            for _ in reader:
                pass
        _, peak_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return peak_bytes

    peak(1)  # first use: imports and caches
    whole = 20 * 48000 * 2 * 4
    assert peak(20) < peak(4) + 0.1 * whole


def test_a_reader_can_be_gone_through_twice_and_left_half_way(tmp_path):
    path = write(tmp_path / "a", noisy(9000), OutputFormat("flac")).path
    with AudioReader(path, block_samples=1000) as reader:
        first = next(iter(reader))
        again = np.concatenate(list(reader), axis=1)
    assert np.array_equal(first, again[:, :1000])
    assert again.shape == (2, 9000)


def test_blocks_must_not_be_empty(tmp_path):
    path = write(tmp_path / "a", noisy(9000), OutputFormat("wav")).path
    with pytest.raises(AudioError, match="at least 1"):
        AudioReader(path, block_samples=0)


def test_read_gives_audio(tmp_path):
    path = write(tmp_path / "a", sine(5001), OutputFormat("wav", is_float=True), 22050).path
    audio = audiform.io.read(path)
    assert audio.sample_rate == 22050
    assert audio.samples.dtype == torch.float32
    assert torch.equal(audio.samples, torch.from_numpy(sine(5001)))


def test_names_with_colons_and_patterns_are_files(tmp_path):
    for name in ("live: 1.m4a", "%d.m4a", "a?b.m4a", "日本 🎵.m4a"):
        path = write(tmp_path / name, sine(2000), OutputFormat("m4a")).path
        assert read(path).shape == (2, 2000)


def test_a_relative_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write("a.mp3", sine(2000), OutputFormat("mp3"))
    assert read("a.mp3").shape == (2, 2000)


ID3V1 = b"TAG" + b"x" * 125
ID3V2 = b"ID3\x03\0\0\0\0\0\x64" + bytes(100)
APE = b"APETAGEX" + struct.pack("<IIII", 2000, 332, 1, 0) + bytes(8)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (ID3V2 * 2, b""),
        (b"", ID3V1),
        (b"", b"A" * 300 + APE + ID3V1),
        (b"", b"LYRICSBEGIN" + b"IND00002 0" + b"000021LYRICS200" + ID3V1),
        (b"", bytes(5000)),
        (b"junk!" * 40, b""),
    ],
    ids=["id3v2_twice", "id3v1", "ape", "lyrics3", "zeros", "junk_before"],
)
def test_mp3_with_tags_of_all_kinds_around(tmp_path, before, after):
    path = write(tmp_path / "a.mp3", noisy(5000), OutputFormat("mp3")).path
    expected = read(path)
    path.write_bytes(before + path.read_bytes() + after)
    assert np.array_equal(read(path), expected)


def test_mp3_without_a_header_frame(tmp_path):
    path = tmp_path / "a.mp3"
    encode(
        path, noisy(50_000), container="mp3", codec="libmp3lame", sample_format="fltp",
        write_xing="0",
    )  # fmt: skip
    assert probe(path).num_samples is None
    assert 50_000 <= read(path).shape[1] <= 50_000 + 2 * 1152


@pytest.mark.parametrize("tail", [ID3V1, b"rubbish"])
def test_flac_and_ogg_with_tags_around(tmp_path, tail):
    for name in ("flac", "ogg"):
        path = write(tmp_path / f"a.{name}", noisy(5000), OutputFormat(name)).path
        expected = read(path)
        head = ID3V2 if name == "flac" else b""
        path.write_bytes(head + path.read_bytes() + tail)
        assert np.array_equal(read(path), expected)
        assert probe(path).num_samples == 5000


@pytest.mark.parametrize("data_bytes", [0, 0xFFFFFFFF, 0x7FFFFFFF, 0x7FFFF000])
def test_a_piped_wav_goes_to_its_end(tmp_path, data_bytes):
    path = write(tmp_path / "a", noisy(5000), OutputFormat("wav"), expected_samples=5000).path
    data = bytearray(path.read_bytes())
    expected = read(path)
    data[4:8] = b"\xff\xff\xff\xff"
    data[40:44] = struct.pack("<I", data_bytes)
    path.write_bytes(data)
    assert np.array_equal(read(path), expected)


def test_a_cover_is_no_video(tmp_path):
    cover = audiform.io.Cover(picture(), "image/png")
    tags = audiform.io.Tags(cover=cover)
    for format in LOSSY:
        path = write(tmp_path / "a", sine(5000), format, 48000, tags=tags).path
        assert read(path).shape == (2, 5000)


def test_two_mp3_files_joined_into_one(tmp_path):
    """The header speaks of the first only; what follows is more than padding and is kept."""
    path = write(tmp_path / "a.mp3", noisy(30_000), OutputFormat("mp3")).path
    path.write_bytes(path.read_bytes() * 2)
    assert 60_000 <= read(path).shape[1] <= 60_000 + 4 * 1152
