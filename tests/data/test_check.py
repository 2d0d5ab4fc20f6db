"""Datasets broken in one way each, whose cause must be named; good ones that raise no alarm."""

from __future__ import annotations

import json
import os
import shutil

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from audiform.cli.main import app
from audiform.data.check import check_dataset
from audiform.data.findings import Level
from tests.data.datasets import (
    RATE,
    STEMS,
    song_stems,
    sound,
    write,
    write_musdb,
    write_pair,
    write_song,
    write_stream_file,
)

SECONDS = 4.0


def song(root, name="one", *, change=None, mixture=None, seconds=SECONDS, **kwargs):
    """A song whose stems are changed after the mixture was made of them."""
    stems = song_stems(name, seconds=seconds)
    place = write_song(root / name, stems, **kwargs)
    for stem, audio in (change(dict(stems)) if change else {}).items():
        write(place / f"{stem}.wav", audio)
    if mixture is not None:
        write(place / "mixture.wav", mixture(sum(stems.values())))
    return place


def late(audio, samples):
    return np.concatenate([np.zeros_like(audio[:samples]), audio[:-samples]])


def effect(root, change=lambda wet: wet, *, seconds=SECONDS, name="target.wav"):
    dry = sound(f"dry {root.name}", seconds, channels=1)
    write(root / "input.wav", dry)
    write(root / name, change(np.tanh(6 * dry) / 6))


# --- broken: maker -> the cause that must be named, and its level -------------------------------


def missing_stem(root):
    write_musdb(root)
    (root / "train" / "Ann - One" / "bass.wav").unlink()


def missing_mixture(root):
    write_musdb(root)
    (root / "test" / "Cy - Four" / "mixture.wav").unlink()


def empty_file(root):
    (song(root) / "drums.wav").write_bytes(b"")


def zero_length(root):
    soundfile.write(song(root) / "drums.wav", np.zeros((0, 2)), RATE)


def truncated(root):
    path = song(root, suffix=".flac") / "vocals.flac"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def truncated_wav(root):
    path = song(root) / "vocals.wav"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def undecodable(root):
    (song(root) / "other.wav").write_bytes(os.urandom(40000))


def length_mismatch(root):
    song(root, change=lambda s: {"bass": s["bass"][: RATE * 2]}, mixture=lambda m: m)
    (root / "one" / "mixture.wav").unlink()


def rate_mismatch(root):
    path = song(root) / "bass.wav"
    soundfile.write(path, soundfile.read(path)[0], 44100)


def channel_mismatch(root):
    song(root, change=lambda s: {"bass": s["bass"].mean(axis=1)})


def silent_stem(root):
    song(root, change=lambda s: {"bass": 0 * s["bass"]})


def clipped(root):
    song(root, change=lambda s: {"drums": np.clip(30 * s["drums"], -0.5, 0.5)})


def dc_offset(root):
    song(root, change=lambda s: {"other": s["other"] + 0.02})


def not_a_number(root):
    stems = song_stems("one", seconds=SECONDS)
    stems["vocals"][5000] = np.nan
    write_song(root / "one", stems, subtype="FLOAT", mixture=False)


def gain(root):
    song(root, mixture=lambda m: 0.5 * m)


def stem_gain(root):
    song(root, change=lambda s: {"vocals": 0.5 * s["vocals"]})


def polarity(root):
    song(root, change=lambda s: {"vocals": -s["vocals"]})


def stem_late(root):
    song(root, change=lambda s: {"vocals": late(s["vocals"], 441)})


def mixture_late(root):
    song(root, mixture=lambda m: late(m, 1000))


def foreign_stem(root):
    song(root, change=lambda s: {"drums": sound("another song", SECONDS)})


def missing_part(root):
    song(root, change=lambda s: {})
    (root / "one" / "vocals.wav").unlink()


def hole_in_mixture(root):
    def cut(mixture):
        mixture[3 * 22050 : 3 * 22050 + 6000] = 0
        return mixture

    song(root, mixture=cut, seconds=24.0)


def same_audio(root):
    song(root, change=lambda s: {"vocals": s["drums"]})


def duplicate_song(root):
    song(root, "one")
    song(root, "two")
    shutil.copytree(root / "one", root / "three")


def leakage(root):
    write_musdb(root)
    shutil.copytree(root / "train" / "Ann - Two", root / "test" / "Zed - Other Name")


def leakage_in_another_format(root):
    stems = song_stems("one", seconds=16.0)
    write_song(root / "train" / "Ann - One", stems)
    quiet = {name: 0.7 * audio for name, audio in stems.items()}
    write_song(root / "test" / "Cy - Four", quiet, suffix=".ogg")
    write_song(root / "train" / "Bob - Two", song_stems("two", seconds=16.0))


def wrong_extension(root):
    place = song(root, suffix=".flac")
    (place / "drums.flac").rename(place / "drums.wav")


def quiet(root):
    song(root, change=lambda s: {"vocals": 0.002 * s["vocals"]}, subtype="PCM_24")


def mono_as_stereo(root):
    stems = song_stems("one", seconds=SECONDS, channels=1)
    write_song(root / "one", {name: np.repeat(audio, 2, axis=1) for name, audio in stems.items()})


def dead(root):
    song(root, change=lambda s: {"drums": s["drums"] * [1, 0]})
    (root / "one" / "mixture.wav").unlink()


def swapped(root):
    time = np.arange(round(SECONDS * RATE)) / RATE
    low = 0.2 * np.sin(2 * np.pi * 55 * time) * (1 + np.sin(2 * np.pi * time)) / 2
    stems = {"bass": sound("hats", SECONDS), "drums": np.stack([low, low * 0.9], axis=1)}
    write_song(root / "one", stems, mixture=False)


def dropout(root):
    audio = sound("one/drums", SECONDS)
    audio[20000:20300] = 0
    write_song(root / "one", {"drums": audio, "bass": sound("b", SECONDS)})


def knobs(root):
    effect(root)
    (root / "target.wav").rename(root / "target__loud.wav")


def lonely_input(root):
    write_pair(root, dry_name="a_input.wav", wet_name="a_output.wav")
    write(root / "b_input.wav", sound("b", channels=1))


def effect_late(root):
    effect(root, lambda wet: late(wet, 300))


def effect_early(root):
    effect(root, lambda wet: np.roll(wet, -300, axis=0))


def effect_turned(root):
    effect(root, lambda wet: -wet)


def effect_dropout(root):
    def cut(wet):
        wet[30000:32000] = 0
        return wet

    effect(root, cut)


def effect_of_another(root):
    effect(root, lambda wet: sound("another", SECONDS, channels=1))


def effect_off(root):
    effect(root)
    shutil.copy(root / "input.wav", root / "target.wav")


def effect_length(root):
    effect(root, lambda wet: wet[: RATE * 3])


def broken_list(root):
    (root / "tracks.csv").write_text("track,drums\none,gone.wav\n")


BROKEN = {
    missing_stem: ("missing stem", Level.error),
    missing_mixture: ("missing mixture", Level.error),
    empty_file: ("empty file", Level.error),
    zero_length: ("zero length", Level.error),
    truncated: ("damaged", Level.error),
    truncated_wav: ("damaged", Level.error),
    undecodable: ("undecodable", Level.error),
    length_mismatch: ("length mismatch", Level.error),
    rate_mismatch: ("rate mismatch", Level.error),
    channel_mismatch: ("channel mismatch", Level.warning),
    silent_stem: ("silent stem", Level.warning),
    clipped: ("clipped", Level.error),
    dc_offset: ("DC offset", Level.warning),
    not_a_number: ("NaN or infinity", Level.error),
    gain: ("gain mismatch", Level.error),
    stem_gain: ("gain mismatch", Level.warning),
    polarity: ("polarity", Level.error),
    stem_late: ("delay", Level.error),
    mixture_late: ("delay", Level.error),
    foreign_stem: ("foreign stem", Level.error),
    missing_part: ("does not add up", Level.error),
    hole_in_mixture: ("differs in places", Level.warning),
    same_audio: ("same audio twice", Level.error),
    duplicate_song: ("duplicate track", Level.warning),
    leakage: ("leakage", Level.error),
    leakage_in_another_format: ("leakage", Level.error),
    wrong_extension: ("wrong extension", Level.warning),
    quiet: ("extremely quiet", Level.warning),
    mono_as_stereo: ("mono as stereo", Level.warning),
    dead: ("dead channel", Level.warning),
    swapped: ("swapped stems", Level.warning),
    dropout: ("drop-out", Level.warning),
    knobs: ("unreadable knobs", Level.error),
    lonely_input: ("missing target", Level.error),
    effect_late: ("delay", Level.warning),
    effect_early: ("delay", Level.error),
    effect_turned: ("polarity", Level.note),
    effect_dropout: ("drop-out", Level.error),
    effect_of_another: ("unrelated pair", Level.error),
    effect_off: ("target is input", Level.warning),
    effect_length: ("length mismatch", Level.error),
    broken_list: ("missing file", Level.error),
}


@pytest.mark.parametrize("maker", BROKEN, ids=lambda maker: maker.__name__)
def test_the_cause_is_named(tmp_path, maker):
    cause, level = BROKEN[maker]
    maker(tmp_path)
    report = check_dataset(tmp_path)
    found = [(finding.cause, finding.level) for finding in report.findings]
    assert (cause, level) in found, [str(finding) for finding in report.findings]
    assert all(finding.message and finding.cure for finding in report.findings)


@pytest.mark.parametrize(
    ("maker", "words"),
    [
        (stem_gain, ["'vocals'", "+6.0 dB"]),
        (gain, ["-6.0 dB"]),
        (polarity, ["'vocals'"]),
        (stem_late, ["'vocals' is 441 samples (20.0 ms) late"]),
        (mixture_late, ["sum of the stems is 1000 samples", "early"]),
        (foreign_stem, ["'drums'"]),
        (hole_in_mixture, ["between 3.0 s", "3.0 s"]),
        (effect_late, ["300 samples (13.6 ms) late"]),
        (effect_early, ["300 samples (13.6 ms) early"]),
        (effect_dropout, ["at 1.3"]),
        (not_a_number, ["at 0.227 s"]),
        (rate_mismatch, ["bass 44100 Hz"]),
        (truncated_wav, ["cut short"]),
        (leakage, ["'Zed - Other Name', which is in test while this is in train"]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_the_numbers_are_right(tmp_path, maker, words):
    cause, _ = BROKEN[maker]
    maker(tmp_path)
    texts = [str(f) for f in check_dataset(tmp_path).findings if f.cause == cause]
    for word in words:
        if maker is not hole_in_mixture:
            assert any(word in text for text in texts), texts
    if maker is hole_in_mixture:
        begin = float(texts[0].split("between ")[1].split(" s")[0])
        end = float(texts[0].split(" s and ")[1].split(" s")[0])
        assert begin <= 3.0 < 3.0 + 6000 / RATE <= end <= begin + 4.0


# --- good: no alarm -----------------------------------------------------------------------------


def good_musdb(root):
    write_musdb(root)


def good_flac(root):
    song(root, suffix=".flac")


def good_24_bits(root):
    song(root, suffix=".flac", subtype="PCM_24")


def good_ogg(root):
    song(root, suffix=".ogg", seconds=8.0)


def good_float(root):
    stems = {name: 4 * audio for name, audio in song_stems("one").items()}
    write_song(root / "one", stems, subtype="FLOAT")


def good_mono(root):
    write_song(root / "one", song_stems("one", channels=1))


def good_quiet(root):
    write_song(root / "one", {n: 0.05 * a for n, a in song_stems("one").items()}, subtype="PCM_24")


def good_loud_bass(root):
    time = np.arange(RATE * 4) / RATE
    bass = 0.9 * np.sin(2 * np.pi * 41.2 * time)
    write_song(
        root / "one", {"bass": np.stack([bass, 0.8 * bass], 1), "drums": 0.1 * sound("d", 4)}
    )


def good_with_silence(root):
    stems = song_stems("one", seconds=12.0)
    stems["vocals"][: 8 * RATE] = 0
    stems["drums"][4 * RATE : 6 * RATE] = 0
    write_song(root / "one", stems)


def good_gated(root):
    stems = song_stems("one", seconds=6.0)
    fade = np.ones(len(stems["drums"]))
    for start in range(0, len(fade), 11025):
        fade[start : start + 5000] = 0
        fade[start + 5000 : start + 5400] = np.linspace(0, 1, 400)
    stems["drums"] *= fade[:, None].astype(np.float32)
    write_song(root / "one", stems)


def good_odd_rate(root):
    for name, rate in (("one", 11025), ("two", 32000), ("three", 48000)):
        write_song(root / name, song_stems(name, rate=rate), rate=rate)


def good_other_stems(root):
    for name in ("one", "two", "three"):
        write_song(root / name, song_stems(name, ("kit", "sub", "lead vox", "keys")), mixture=False)


def good_stream_file(root):
    sounds = [sound(f"s{number}", 6.0, rate=44100) for number in range(4)]
    write_stream_file(root / "Ann - One.stem.mp4", [sum(sounds), *sounds])


def good_stem_folders(root):
    for number in range(4):
        for stem in ("drums", "vocals"):
            write(root / stem / f"{number}.wav", sound(f"{stem}{number}", 0.5 + number))


def good_hard_panned(root):
    stems = song_stems("one")
    stems["drums"] *= np.array([1, 0], np.float32)
    stems["other"] *= np.array([0, 1], np.float32)
    write_song(root / "one", stems)


def good_instrumental(root):
    write_song(root / "one", song_stems("one", ("drums", "bass", "other")))


def good_solo(root):
    write_song(root / "one", song_stems("one", ("vocals",)))


def good_limited(root):
    stems = song_stems("one", seconds=8.0)
    place = write_song(root / "one", stems)
    total = sum(stems.values())
    peak = np.abs(total).max()
    write(place / "mixture.wav", peak * np.tanh(total / peak * 0.1) / 0.1)


def good_mp3(root):
    for stem, audio in song_stems("one", seconds=8.0, rate=44100).items():
        (root / "one").mkdir(exist_ok=True)
        soundfile.write(root / "one" / f"{stem}.mp3", audio, 44100)


def good_same_artist(root):
    for number in range(3):
        write_song(root / "train" / f"Ann - {number}", song_stems(f"a{number}", seconds=12.0))
    write_song(root / "test" / "Ann - 9", song_stems("a9", seconds=12.0))


def good_effect(root):
    effect(root)


def good_compressor(root):
    dry = sound("dry", 8.0, channels=1)
    level = np.sqrt(np.convolve(dry[:, 0] ** 2, np.ones(500) / 500)[: len(dry)] + 1e-9)
    write(root / "input.wav", dry)
    write(root / "target__-20__4.wav", 0.3 * dry / level[:, None] ** 0.75)


def good_signaltrain(root):
    for split in ("Train", "Val"):
        for number in range(2):
            dry = sound(f"{split}{number}", 3.0, channels=1)
            write(root / split / f"input_{number}_.wav", dry)
            write(root / split / f"target_{number}_amp__{number}.wav", np.tanh(9 * dry) / 9)
    (root / "effect_info.ini").write_text(
        "[effect]\nname = amp\nknob_names = ['drive']\nknob_ranges = [[0, 10]]\n"
    )


def good_filter(root):
    def smooth(wet):
        kernel = np.exp(-np.arange(200) / 20.0)
        return np.convolve(wet[:, 0], kernel / kernel.sum())[: len(wet), None]

    effect(root, smooth)


def good_quiet_input_settings(root):
    dry = sound("dry", 3.0, channels=1)
    write(root / "input.wav", dry)
    for setting in (0, 50, 100):
        write(root / f"target__gain{setting:03}.wav", np.tanh((1 + setting) * dry) / 4)


GOOD = [value for name, value in list(globals().items()) if name.startswith("good_")]


@pytest.mark.parametrize("maker", GOOD, ids=lambda maker: maker.__name__)
def test_good_data_raises_no_alarm(tmp_path, maker):
    maker(tmp_path)
    report = check_dataset(tmp_path)
    alarms = [finding for finding in report.findings if finding.level is not Level.note]
    assert not alarms, [str(finding) for finding in alarms]
    assert report.num_tracks > 0


def test_there_are_enough_of_both():
    assert len(GOOD) >= 20
    assert len(BROKEN) >= 20


# --- the command --------------------------------------------------------------------------------


def test_the_command_prints_a_report_and_leaves_with_one_on_errors(tmp_path):
    write_musdb(tmp_path)
    (tmp_path / "train" / "Ann - One" / "bass.wav").write_bytes(b"")
    result = CliRunner().invoke(app, ["data", "check", str(tmp_path), "-j", "1"])
    assert result.exit_code == 1
    assert "layout musdb, 4 tracks (test 1, train 3)" in " ".join(result.output.split())
    assert "error empty file" in result.output
    assert "bass.wav" in result.output
    result = CliRunner().invoke(app, ["data", "check", str(tmp_path), "-j", "1", "--json"])
    record = json.loads(result.stdout)
    assert record["counts"] == {"error": 1, "warning": 0, "note": 0}
    assert record["findings"][0]["path"] == "train/Ann - One/bass.wav"
    (tmp_path / "exclude.txt").write_text("Ann - One\n")
    result = CliRunner().invoke(app, ["data", "check", str(tmp_path), "-j", "1"])
    assert result.exit_code == 0
    assert "nothing wrong" in result.output


def test_processes_find_the_same(tmp_path):
    write_musdb(tmp_path)
    (tmp_path / "train" / "Ann - One" / "bass.wav").write_bytes(b"")
    seen = []
    several = check_dataset(tmp_path, num_processes=2, on_progress=lambda *at: seen.append(at))
    assert several == check_dataset(tmp_path)
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_names_are_mapped_before_checking(tmp_path):
    write_song(tmp_path / "one", song_stems("one", ("bass_gtr", "click")))
    mapping = ["--map", "bass_gtr=bass", "--map", "click="]
    result = CliRunner().invoke(app, ["data", "check", str(tmp_path), "-j", "1", *mapping])
    assert "stems: bass (1)" in result.output
    assert result.exit_code == 1  # without the click the sum is not the mixture
    result = CliRunner().invoke(app, ["data", "check", str(tmp_path), "--map", "bass"])
    assert result.exit_code == 2
    result = CliRunner().invoke(app, ["data", "check", str(tmp_path / "absent")])
    assert result.exit_code == 1
    assert STEMS
