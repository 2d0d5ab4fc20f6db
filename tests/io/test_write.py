"""Every writer: what is written and read again has its length, its samples, its tags."""

from __future__ import annotations

import struct

import numpy as np
import pytest
import soundfile

from audiform.errors import AudioError, ConfigError
from audiform.io import (
    WRITERS,
    OutputFormat,
    encoded_size_estimate,
    mpeg_frames,
    open_writer,
    probe,
    resampled_length,
    wav_file,
)
from audiform.io.write import FormatTraits
from tests.io.audio_files import LOSSY, PCM, label, noisy, read, sine, write

#: Largest error of the lossy codecs on a soft sine at their default rates.
LOSSY_TOLERANCE = {"ogg": 0.03, "mp3": 0.02, "m4a": 0.05, "opus": 0.03}


@pytest.mark.parametrize("num_channels", [1, 2])
@pytest.mark.parametrize("sample_rate", [8000, 44100, 96000])
@pytest.mark.parametrize("num_samples", [1, 7, 1152, 10007])
@pytest.mark.parametrize("format", PCM, ids=label)
def test_pcm_keeps_length_and_samples(tmp_path, format, num_samples, sample_rate, num_channels):
    path = tmp_path / f"song{format.extension}"
    samples = sine(num_samples, num_channels)
    writer = write(path, samples, format, sample_rate)
    again = read(path)
    assert again.shape == samples.shape
    assert again.dtype == np.float32
    tolerance = 0.0 if format.is_float else 0.5 / 2 ** (format.bits - 1)  # rounded to nearest
    assert np.abs(again - samples).max() <= tolerance
    assert writer.note is None
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize("num_channels", [1, 2])
@pytest.mark.parametrize("sample_rate", [8000, 44100, 48000, 192000])
@pytest.mark.parametrize("num_samples", [1, 46, 1024, 10007])
@pytest.mark.parametrize("format", LOSSY, ids=label)
def test_lossy_keeps_length(tmp_path, format, num_samples, sample_rate, num_channels):
    path = tmp_path / f"song{format.extension}"
    writer = write(path, sine(num_samples, num_channels), format, sample_rate)
    expected = resampled_length(
        num_samples, from_rate_hz=sample_rate, to_rate_hz=writer.sample_rate
    )
    assert read(path).shape == (num_channels, expected)
    assert probe(path).num_samples == expected
    assert (writer.note is None) == (writer.sample_rate == sample_rate)


@pytest.mark.parametrize("format", LOSSY, ids=label)
def test_lossy_is_aligned_and_close(tmp_path, format):
    path = tmp_path / f"song{format.extension}"
    samples = sine(30011, 2, sample_rate=48000)
    write(path, samples, format, 48000)
    inner = slice(2000, -2000)
    error = np.abs(read(path) - samples)[:, inner].max()
    assert error < LOSSY_TOLERANCE[format.name]


@pytest.mark.parametrize("name", WRITERS)
def test_size_estimate_is_an_upper_bound(tmp_path, name):
    rng = np.random.default_rng(0)
    samples = rng.uniform(-1, 1, (2, 100_000)).astype(np.float32)
    format = OutputFormat(name)
    path = write(tmp_path / "song", samples, format).path
    size = path.stat().st_size
    estimate = encoded_size_estimate(format, 44100, 2, samples.shape[1])
    assert size <= estimate < 8 * size + 100_000


@pytest.mark.parametrize("num_channels", [1, 2])
@pytest.mark.parametrize("sample_rate", [8000, 44100])
@pytest.mark.parametrize("num_samples", [3, 5000])
def test_the_header_of_an_mp3_has_a_right_checksum(
    tmp_path, num_samples, sample_rate, num_channels
):
    """That of the long one is FFmpeg's, that of the short one was corrected by us."""
    samples = sine(num_samples, num_channels)
    data = write(tmp_path / "a", samples, OutputFormat("mp3"), sample_rate).path.read_bytes()
    crc_at = data.index(b"Info") + 154
    assert mpeg_frames.lame_crc(data, crc_at) == int.from_bytes(data[crc_at : crc_at + 2], "big")


def test_sixteen_bits_survive_reading_and_writing(tmp_path):
    values = np.arange(-32768, 32768, dtype=np.int16).reshape(-1, 2)
    soundfile.write(tmp_path / "a.wav", values, 44100, subtype="PCM_16")
    for name in ("wav", "flac"):
        path = write(tmp_path / f"b.{name}", read(tmp_path / "a.wav"), OutputFormat(name)).path
        again, _ = soundfile.read(path, dtype="int16")
        assert np.array_equal(again, values)


def test_twenty_four_bits_survive_reading_and_writing(tmp_path):
    rng = np.random.default_rng(0)
    values = rng.integers(-(2**23), 2**23, (5000, 2), dtype=np.int32) << 8
    soundfile.write(tmp_path / "a.wav", values, 44100, subtype="PCM_24")
    for name in ("wav", "flac"):
        format = OutputFormat(name, bit_depth=24)
        path = write(tmp_path / f"b.{name}", read(tmp_path / "a.wav"), format).path
        again, _ = soundfile.read(path, dtype="int32")
        assert np.array_equal(again, values)


@pytest.mark.parametrize("format", PCM, ids=label)
def test_full_scale_is_clipped_and_counted_but_in_float(tmp_path, format):
    samples = np.array([[-2.0, -1.0, 0.0, 0.5, 1.0, 1.5]], np.float32)
    writer = write(tmp_path / "a", samples, format)
    assert writer.clipped_samples == (0 if format.is_float else 2)
    again = read(writer.path)
    if format.is_float:
        assert np.array_equal(again, samples)
    else:
        step = 1 / 2 ** (format.bits - 1)
        assert again[0].tolist() == [-1.0, -1.0, 0.0, 0.5, 1 - step, 1 - step]


@pytest.mark.parametrize("format", PCM + LOSSY, ids=label)
def test_same_audio_gives_the_same_bytes(tmp_path, format):
    one = write(tmp_path / "one", noisy(9000), format).path
    two = write(tmp_path / "two", noisy(9000), format, block=777).path
    assert one.read_bytes() == two.read_bytes()


@pytest.mark.parametrize("format", PCM + LOSSY, ids=label)
def test_nothing_is_left_without_commit(tmp_path, format):
    path = tmp_path / f"song{format.extension}"
    with open_writer(path, format=format, sample_rate=44100, num_channels=2) as writer:
        writer.write(sine(5000))
        assert (tmp_path / f"song{format.extension}.part").exists()
    assert not list(tmp_path.iterdir())
    with (
        pytest.raises(RuntimeError, match="model"),
        open_writer(path, format=format, sample_rate=44100, num_channels=2) as writer,
    ):
        raise RuntimeError("the model failed")
    assert not list(tmp_path.iterdir())


def test_the_old_file_stays_until_the_commit(tmp_path):
    path = write(tmp_path / "a.wav", sine(100), OutputFormat("wav")).path
    with open_writer(path, format=OutputFormat("wav"), sample_rate=8000, num_channels=1) as writer:
        writer.write(sine(50, 1))
        assert probe(path).num_samples == 100
        assert writer.commit() == path
    assert probe(path).num_samples == 50
    with pytest.raises(AudioError, match="committed"):
        writer.write(sine(50, 1))


def test_a_folder_is_made_and_a_name_says_nothing_about_the_format(tmp_path):
    path = tmp_path / "new" / "deep" / "really.flac"
    write(path, sine(20_000), OutputFormat("mp3"))
    assert probe(path).codec == "mp3"


def test_wrong_blocks_are_refused(tmp_path):
    with open_writer(
        tmp_path / "a.wav", format=OutputFormat("wav"), sample_rate=44100, num_channels=2
    ) as writer:
        with pytest.raises(AudioError, match=r"2 channels.*\(1, 10\)"):
            writer.write(sine(10, 1))
        with pytest.raises(AudioError, match="NaN"):
            writer.write(np.full((2, 10), np.nan, np.float32))


@pytest.mark.parametrize("name", ["mp3", "m4a", "opus"])
def test_too_many_channels_are_refused(tmp_path, name):
    with pytest.raises(AudioError, match=r"1 to 2 channels.*has 6.*wav"):
        open_writer(tmp_path / "a", format=OutputFormat(name), sample_rate=48000, num_channels=6)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["wav", "flac", "ogg"])
def test_six_channels(tmp_path, name):
    samples = sine(3000, 6)
    write(tmp_path / "a", samples, OutputFormat(name))
    assert read(tmp_path / "a").shape == (6, 3000)


def test_nothing_is_no_file(tmp_path):
    with pytest.raises(AudioError, match="no samples"):
        write(tmp_path / "a.wav", sine(0), OutputFormat("wav"))
    assert not list(tmp_path.iterdir())


def test_unwritable_places_raise_audio_errors(tmp_path):
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "folder.wav").mkdir()
    for path in (tmp_path / "file" / "a.wav", tmp_path / "folder.wav"):
        with pytest.raises(AudioError, match="folder"):
            open_writer(path, format=OutputFormat("wav"), sample_rate=44100, num_channels=2)


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_raises_an_audio_error(tmp_path, name):
    full = tmp_path / "a.part"
    try:
        full.symlink_to("/dev/full")
    except OSError:
        pytest.skip("no /dev/full here")
    format = OutputFormat(name)
    with pytest.raises(AudioError, match="free space"):
        write(tmp_path / "a", noisy(400_000), format)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"name": "mp4a"}, "no format 'mp4a'; choose one of wav"),
        ({"name": "wav", "bit_depth": 12}, "12 bits; it has 16 or 24"),
        ({"name": "flac", "bit_depth": 32}, "32 bits; it has 16 or 24"),
        ({"name": "flac", "is_float": True}, "flac holds no float samples; choose wav"),
        ({"name": "mp3", "bit_depth": 16}, "no bit depth at all"),
        ({"name": "mp3", "bitrate_kbps": 999}, "8 to 320 kbit/s"),
        ({"name": "wav", "bitrate_kbps": 320}, "no bit rate to choose"),
        ({"name": "mp3", "mp3_preset": 9}, "2 .best. to 7"),
        ({"name": "wav", "mp3_preset": 2}, "only for mp3"),
    ],
)
def test_options_that_a_format_does_not_have(options, text):
    with pytest.raises(ConfigError, match=text):
        OutputFormat(**options)


def test_options_change_the_result(tmp_path):
    def size(name, **options):
        path = write(tmp_path / "a", noisy(40_000), OutputFormat(name, **options)).path
        return path.stat().st_size

    for name in ("mp3", "m4a", "opus"):
        assert size(name, bitrate_kbps=64) < 0.6 * size(name)
    best = write(tmp_path / "a", noisy(9000), OutputFormat("mp3")).path.read_bytes()
    fast = write(tmp_path / "a", noisy(9000), OutputFormat("mp3", mp3_preset=7)).path.read_bytes()
    assert best != fast


def test_notes_on_the_rate(tmp_path):
    writer = write(tmp_path / "a", sine(9000), OutputFormat("mp3"), 192_000)
    assert writer.sample_rate == 48000
    assert writer.note == "mp3 carries at most 48000 Hz: written at 48000 Hz"
    writer = write(tmp_path / "a", sine(9000), OutputFormat("mp3"), 37800)
    assert writer.sample_rate == 44100
    assert writer.note == "mp3 does not carry 37800 Hz: written at 44100 Hz"


def test_a_short_wav_is_plain_riff(tmp_path):
    path = write(tmp_path / "a.wav", sine(100), OutputFormat("wav"), expected_samples=100).path
    data = path.read_bytes()
    assert data[:4] == b"RIFF"
    assert struct.unpack("<I", data[4:8])[0] == len(data) - 8
    assert data[36:40] == b"data"
    assert struct.unpack("<I", data[40:44])[0] == 400 == len(data) - 44


@pytest.mark.parametrize("expected", [None, 2**31])
def test_a_wav_that_might_be_long_keeps_room_for_its_size(tmp_path, expected):
    path = write(tmp_path / "a.wav", sine(99), OutputFormat("wav"), expected_samples=expected).path
    assert path.read_bytes()[:4] == b"RIFF"
    assert path.read_bytes()[12:16] == b"JUNK"
    assert read(path).shape == (2, 99)


@pytest.mark.parametrize("format", PCM[:3], ids=label)
def test_a_long_wav_is_rf64(tmp_path, monkeypatch, format):
    monkeypatch.setattr(wav_file, "RIFF_MAX_BYTES", 1000)  # in place of 4 GiB
    samples = sine(1001)
    path = write(tmp_path / "a.wav", samples, format).path
    data = path.read_bytes()
    assert data[:8] == b"RF64\xff\xff\xff\xff"
    assert data[12:16] == b"ds64"
    riff_bytes, data_bytes, num_samples = struct.unpack("<QQQ", data[20:44])
    assert (riff_bytes, num_samples) == (len(data) - 8, 1001)
    assert data_bytes == 1001 * 2 * format.bits // 8
    assert np.abs(read(path) - samples).max() <= 1 / 2**15
    path.write_bytes(data[:-10])
    with pytest.raises(AudioError, match="cut short"):
        read(path)


def test_a_wav_longer_than_announced(tmp_path, monkeypatch):
    monkeypatch.setattr(wav_file, "RIFF_MAX_BYTES", 1000)
    with pytest.raises(AudioError, match="expected_samples"):
        write(tmp_path / "a.wav", sine(1001), OutputFormat("wav"), expected_samples=10)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", WRITERS)
def test_every_table_row_is_complete(name):
    traits = WRITERS[name]
    assert isinstance(traits, FormatTraits)
    assert traits.extension == f".{name}" == OutputFormat(name).extension
    assert (traits.default_kbps is None) == (traits.bitrates_kbps is None)
