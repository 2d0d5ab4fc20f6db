"""The Python interface: rates, channels, lengths, files, streams."""

import numpy as np
import pytest
import soundfile
import torch

from audiform.audio import Audio
from audiform.errors import AudioError, ConfigError, DeviceError
from audiform.inference.separator import Separator
from audiform.protocols import CentreCrop, OverlapAdd
from tests.models_for_tests import SHARES, SOURCES, ShareModel


def noise(num_channels: int, num_samples: int, *, peak: float = 0.5, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return (peak * generator.uniform(-1, 1, (num_samples, num_channels))).astype(np.float32)


@pytest.fixture
def separator() -> Separator:
    return Separator(ShareModel(segment_samples=5000))


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000, 96000, 192000])
@pytest.mark.parametrize("num_channels", [1, 2])
@pytest.mark.parametrize("length", [1, 2, 4999, 30001])
def test_length_rate_and_channels_are_kept(separator, rate, num_channels, length) -> None:
    audio = Audio(torch.from_numpy(noise(num_channels, length).T.copy()), rate)
    stems = separator.separate(audio)
    assert list(stems) == list(SOURCES)
    for stem in stems.values():
        assert stem.sample_rate == rate
        assert stem.samples.shape == audio.samples.shape


def test_stems_are_the_shares(separator) -> None:
    audio = Audio(torch.from_numpy(noise(2, 30_000).T.copy()), 44100)
    stems = separator.separate(audio)
    for share, stem in zip(SHARES, stems.values(), strict=True):
        torch.testing.assert_close(stem.samples, share * audio.samples, atol=1e-6, rtol=0)


def test_a_low_sound_survives_the_way_through_another_rate(separator) -> None:
    time = torch.arange(48000) / 48000
    audio = Audio(torch.sin(2 * torch.pi * 440 * time).expand(2, -1), 48000)
    stem = separator.separate(audio)["vocals"].samples
    inner = slice(2000, 46000)
    torch.testing.assert_close(stem[:, inner], 0.4 * audio.samples[:, inner], atol=1e-4, rtol=0)


def test_more_than_two_channels_are_refused_with_a_way_out(separator) -> None:
    with pytest.raises(AudioError, match="in pairs, or mix them down"):
        separator.separate(Audio(torch.zeros(6, 100), 44100))


def test_empty_and_broken_audio_is_refused(separator) -> None:
    with pytest.raises(AudioError, match="no samples"):
        separator.separate(Audio(torch.zeros(2, 0), 44100))
    with pytest.raises(AudioError, match="NaN"):
        separator.separate(Audio(torch.full((2, 10), torch.nan), 44100))


def test_the_callers_audio_is_not_changed(separator) -> None:
    samples = torch.randn(2, 9000)
    before = samples.clone()
    separator.separate(Audio(samples, 44100))
    assert torch.equal(samples, before)


def test_the_mean_of_the_mixture_is_in_no_stem_unless_asked_for() -> None:
    audio = Audio(torch.from_numpy(noise(2, 30_000).T.copy()) + 0.25, 44100)
    model = ShareModel(segment_samples=5000, normalise=True)
    plain = Separator(model).separate(audio)
    assert abs(plain["vocals"].samples.mean().item()) < 1e-3
    restored = Separator(model, restore_offset=True).separate(audio)
    assert restored["vocals"].samples.mean().item() == pytest.approx(0.25, abs=1e-2)


@pytest.mark.parametrize("rate", [44100, 32000])
@pytest.mark.parametrize("num_channels", [1, 2])
def test_a_stream_is_as_long_as_what_went_in_and_never_rescaled(
    separator, rate, num_channels
) -> None:
    audio = torch.from_numpy(noise(num_channels, 50_001, peak=3.0).T.copy())
    parts = list(separator.stream(audio.split(777, dim=-1), sample_rate=rate))
    stem = torch.cat([part["other"] for part in parts], dim=-1)
    assert stem.shape == audio.shape
    assert len(parts) > 3
    if rate == 44100:
        torch.testing.assert_close(stem, 0.3 * audio, atol=1e-5, rtol=1e-5)


def test_a_stream_of_nothing_gives_nothing(separator) -> None:
    assert list(separator.stream([], sample_rate=44100)) == []


def test_stems_of_a_file_are_read_when_asked_for(separator, tmp_path) -> None:
    path = tmp_path / "song.wav"
    soundfile.write(path, noise(2, 20_000), 44100, subtype="FLOAT")
    stems = separator.separate_file(path)
    assert stems.num_samples == 20_000
    assert stems["drums"].samples.shape == (2, 20_000)
    with pytest.raises(KeyError):
        stems["piano"]
    stems.close()


def test_files_get_the_format_of_the_song(separator, tmp_path) -> None:
    path = tmp_path / "song.flac"
    soundfile.write(path, noise(1, 20_001), 48000, subtype="PCM_24")
    paths = separator.separate_to_files(path, tmp_path / "out", residual=True)
    assert set(paths) == {*SOURCES, "residual"}
    for written in paths.values():
        info = soundfile.info(written)
        assert (info.frames, info.samplerate, info.channels) == (20_001, 48000, 1)
        assert info.subtype == "PCM_24"


def test_float_files_and_their_residual_sum_to_the_song(tmp_path) -> None:
    class Lossy(ShareModel):
        def core(self, *inputs):
            return (0.7 * super().core(*inputs)[0],)

    song = noise(2, 30_001, peak=0.9)
    soundfile.write(tmp_path / "song.wav", song, 96000, subtype="FLOAT")
    paths = Separator(Lossy(segment_samples=5000)).separate_to_files(
        tmp_path / "song.wav", tmp_path / "out", residual=True
    )
    total = sum(soundfile.read(path, dtype="float64")[0] for path in paths.values())
    error = 20 * np.log10(np.abs(total - song).max())
    assert error < -90


def loud_song(tmp_path):
    """A song of which 'vocals' would exceed full scale: its share is more than the whole."""
    path = tmp_path / "loud.wav"
    soundfile.write(path, noise(2, 20_000, peak=0.99), 44100, subtype="PCM_16")
    return Separator(ShareModel(segment_samples=5000, shares=(0.1, 0.2, -1.0, 1.7))), path


def test_one_common_gain_keeps_the_sum(tmp_path) -> None:
    separator, path = loud_song(tmp_path)
    paths = separator.separate_to_files(path, tmp_path / "out")
    stems = {name: soundfile.read(written)[0] for name, written in paths.items()}
    song = soundfile.read(path)[0]
    gain = 1 / (1.01 * 1.7 * np.abs(song).max())
    assert np.abs(stems["vocals"]).max() == pytest.approx(1 / 1.01, abs=1e-3)
    np.testing.assert_allclose(sum(stems.values()), gain * song, atol=2e-4)


def test_rescale_and_clamp_do_as_demucs(tmp_path) -> None:
    separator, path = loud_song(tmp_path)
    song = soundfile.read(path)[0]
    paths = separator.separate_to_files(path, tmp_path / "rescale", clip_mode="rescale")
    np.testing.assert_allclose(soundfile.read(paths["drums"])[0], 0.1 * song, atol=1e-4)
    assert np.abs(soundfile.read(paths["vocals"])[0]).max() == pytest.approx(1 / 1.01, abs=1e-3)
    paths = separator.separate_to_files(path, tmp_path / "clamp", clip_mode="clamp")
    np.testing.assert_allclose(
        soundfile.read(paths["vocals"])[0], np.clip(1.7 * song, -0.99, 0.99), atol=1e-4
    )


def test_float_is_never_touched_unless_asked(tmp_path) -> None:
    separator, path = loud_song(tmp_path)
    paths = separator.separate_to_files(path, tmp_path / "out", bit_depth=32)
    assert np.abs(soundfile.read(paths["vocals"])[0]).max() > 1.5


def test_the_rate_of_the_model_or_another_can_be_had(separator, tmp_path) -> None:
    path = tmp_path / "song.wav"
    soundfile.write(path, noise(2, 48_000), 48000)
    for rate, expected in (("model", 44100), (22050, 22050), ("input", 48000)):
        paths = separator.separate_to_files(path, tmp_path / str(rate), rate=rate)
        info = soundfile.info(paths["bass"])
        assert (info.samplerate, info.frames) == (expected, expected)


def test_a_full_disk_is_noticed_before_the_network_runs(tmp_path, monkeypatch) -> None:
    model = ShareModel(segment_samples=5000)
    soundfile.write(tmp_path / "song.wav", noise(2, 20_000), 44100)
    monkeypatch.setattr("audiform.inference.outputs.free_bytes", lambda _: 1000)
    with pytest.raises(AudioError, match="GB left"):
        Separator(model).separate_to_files(tmp_path / "song.wav", tmp_path / "out")
    assert model.calls == []
    assert list((tmp_path / "out").iterdir()) == []


def test_nothing_is_left_when_the_network_fails(tmp_path) -> None:
    class Failing(ShareModel):
        def core(self, *inputs):
            raise RuntimeError("broken")

    soundfile.write(tmp_path / "song.wav", noise(2, 20_000), 44100)
    with pytest.raises(RuntimeError, match="broken"):
        Separator(Failing()).separate_to_files(tmp_path / "song.wav", tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_no_split_gives_the_model_the_whole_track() -> None:
    lengths = []

    class Watching(ShareModel):
        def analyse(self, mixture):
            lengths.append(mixture.shape[-1])
            return super().analyse(mixture)

    audio = Audio(torch.randn(2, 12_345), 44100)
    stems = Separator(Watching(segment_samples=100), split=False).separate(audio)
    assert lengths == [12_345]
    torch.testing.assert_close(stems["bass"].samples, 0.2 * audio.samples, atol=1e-6, rtol=0)
    fixed = Separator(ShareModel(segment_samples=100, fixed_segment=True), split=False)
    with pytest.raises(ConfigError, match="cannot take more"):
        fixed.separate(audio)


def test_half_a_shift_is_the_mean_of_two_passes() -> None:
    """The second one has borders at 2000, 6000 ...: those of the track without its beginning."""
    model = ShareModel(segment_samples=4000, join=CentreCrop(0, 0), context=50)
    samples = torch.from_numpy(noise(2, 22_050).T.copy())

    def bass(samples: torch.Tensor, shifts=None) -> torch.Tensor:
        return Separator(model, shifts=shifts).separate(Audio(samples, 44100))["bass"].samples

    plain, found = bass(samples), bass(samples, "half")
    moved = torch.cat([plain[:, :2000], bass(samples[:, 2000:])], dim=1)
    torch.testing.assert_close(found, (plain + moved) / 2, atol=1e-6, rtol=0)
    assert (found - plain).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("join", "shifts"),
    [(CentreCrop(100, 10), "half"), (OverlapAdd(0.25), "half"), (CentreCrop(100, 10), 3)],
)
@pytest.mark.parametrize("length", [2000, 3330])
def test_no_pass_hears_silence_that_is_not_in_the_track(join, shifts, length) -> None:
    """A network that hears half a segment of zeros before a song answers worse to the rest."""
    heard = []

    class Listening(ShareModel):
        def analyse(self, mixture):
            heard.append(mixture)
            return super().analyse(mixture)

    model = Listening(segment_samples=1000, join=join)
    separator = Separator(model, shifts=shifts)
    separator.separate(Audio(torch.ones(2, length), 44100))
    assert len(heard) > 2 * length / 1000
    assert all((mixture == 1).all() for mixture in heard)


def test_one_segment_is_run_once() -> None:
    model = ShareModel(segment_samples=1000)
    separator = Separator(model, shifts="half", split=False)
    separator.separate(Audio(torch.randn(2, 3000), 44100))
    assert len(model.calls) == 1


def test_shifts_change_little_and_repeat_exactly() -> None:
    audio = Audio(torch.randn(2, 60_000), 44100)
    model = ShareModel(segment_samples=5000, context=20)
    plain = Separator(model).separate(audio)["bass"].samples
    once = Separator(model, shifts=2, seed=1).separate(audio)["bass"].samples
    again = Separator(model, shifts=2, seed=1).separate(audio)["bass"].samples
    other = Separator(model, shifts=2, seed=2).separate(audio)["bass"].samples
    assert torch.equal(once, again)
    assert not torch.equal(once, other)
    assert not torch.equal(once, plain)
    torch.testing.assert_close(once, plain, atol=0.2, rtol=0)


def test_an_absent_device_is_an_error_not_a_silent_fallback() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device here")
    with pytest.raises(DeviceError, match="use --device cpu"):
        Separator(ShareModel(), device="cuda")
    with pytest.raises(DeviceError, match="no device name"):
        Separator(ShareModel(), device="toaster")


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match="1 or more"):
        Separator(ShareModel(), batch_size=0)
    with pytest.raises(ConfigError, match="longer than 0 s"):
        Separator(ShareModel(), segment_seconds=-1.0)
    with pytest.raises(ConfigError, match="wav, flac"):
        Separator(ShareModel()).separate_to_files("x.wav", "out", format="wma")
