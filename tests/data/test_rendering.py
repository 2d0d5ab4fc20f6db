from __future__ import annotations

import json
import math

import numpy as np
import pytest
import soundfile
import torch
from typer.testing import CliRunner

from audiform.cli.main import app
from audiform.data.layouts import read_tracks
from audiform.data.rendering.bass import LINES, BassPlan, play_bass
from audiform.data.rendering.chain import (
    Band,
    Chain,
    Compression,
    apply_chain,
    compression_gain,
    convolved,
)
from audiform.data.rendering.drums import GROOVES, draw_drums, play_drums
from audiform.data.rendering.folder import RenderConfig, render_folder
from audiform.data.rendering.form import Section, draw_form
from audiform.data.rendering.harmony import MODES, Key
from audiform.data.rendering.instrument import SYNTHESISER, Instrument
from audiform.data.rendering.melody import (
    Note,
    Phrase,
    draw_melody_plan,
    harmonised,
    section_melody,
)
from audiform.data.rendering.mix import CEILING, STEMS, draw_mix, limiter_gain, mix_down
from audiform.data.rendering.parts import draw_part, play_part
from audiform.data.rendering.plan import draw_song
from audiform.data.rendering.rhythm import METRES, Grid
from audiform.data.rendering.samples import COLUMNS, SAMPLE_RATE, SampleLibrary
from audiform.data.rendering.singing import Manner, sing
from audiform.data.rendering.sound import change_speed, midi_to_hz, pan, silence
from audiform.data.rendering.styles import STYLES
from audiform.data.rendering.synthesiser import WAVES, Patch, synthesise
from audiform.data.rendering.voice import Voices, put_together
from audiform.errors import ConfigError, DataError
from tests.data.sounds import write_library

GRID = Grid(METRES["4/4"], bpm=120.0, swing=0.0)
STEADY = Manner(glide_ms=10.0, vibrato_cents=0.0, vibrato_hz=5.0, waver_cents=0.0, tract=1.0)
PLAIN = Chain(None, None, 0.0, 20.0, (), None, None, None, 0.0, None, 0.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_library(tmp_path_factory.mktemp("library"))


@pytest.fixture(scope="module")
def library(folder):
    return SampleLibrary(folder)


@pytest.fixture(scope="module")
def voices(library, tmp_path_factory):
    return Voices(library, tmp_path_factory.mktemp("voices"))


@pytest.fixture(scope="module")
def cache(voices):
    return voices._folder


@pytest.fixture(scope="module")
def rendered(folder, cache, tmp_path_factory):
    out = tmp_path_factory.mktemp("rendered")
    config = RenderConfig(songs=3, seconds=6.0, seed=4)
    return render_folder(folder, out, config, voice_cache=cache)


def section(*, plays: bool, first_bar: int = 0, bars: int = 1, name: str = "verse") -> Section:
    return Section(name, first_bar, (0,) * bars, 1.0, plays, plays, plays, (0,) if plays else ())


# The index ----------------------------------------------------------------------------------


def test_share_alike_sounds_are_left_out(folder, library):
    assert all("BY-SA" not in sample.licence for sample in library.samples)
    assert len(library.of_class("voices")) == 2
    assert len(SampleLibrary(folder, share_alike=True).of_class("voices")) == 3


def test_an_index_is_needed(tmp_path):
    with pytest.raises(DataError, match=r"index\.csv"):
        SampleLibrary(tmp_path)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("path,class\na.wav,drums", "no column 'kind'"),
        (",".join(COLUMNS) + "\na.wav,trumpets,note,0,1,CC0", "line 2: there is no class 'trump"),
        (",".join(COLUMNS) + "\nb.wav,drums,kick,0,1,CC0", r"line 2 names b\.wav"),
        (",".join(COLUMNS) + "\na.wav,drums,kick,low,1,CC0", "line 2 cannot be read"),
    ],
)
def test_what_is_wrong_with_an_index_is_said(tmp_path, lines, words):
    soundfile.write(tmp_path / "a.wav", np.zeros(100), SAMPLE_RATE)
    (tmp_path / "index.csv").write_text(lines + "\n")
    with pytest.raises(DataError, match=words):
        SampleLibrary(tmp_path)


@pytest.mark.parametrize(
    ("left_out", "words"), [("drums/", "kick and a snare"), ("voices", "class voices")]
)
def test_sounds_that_make_no_song_are_refused(folder, tmp_path, left_out, words):
    rows = (folder / "index.csv").read_text().splitlines()
    for row in rows[1:]:
        path = tmp_path / row.split(",")[0]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((folder / row.split(",")[0]).read_bytes())
    kept = [row for row in rows if not row.startswith(left_out)]
    (tmp_path / "index.csv").write_text("\n".join(kept) + "\n")
    with pytest.raises(DataError, match=words):
        render_folder(tmp_path, tmp_path / "out", RenderConfig(songs=1))
    assert not (tmp_path / "out").exists()


def test_a_file_that_is_no_audio_is_named(folder, tmp_path):
    (tmp_path / "a.wav").write_bytes(b"nothing")
    header = ",".join(COLUMNS)
    (tmp_path / "index.csv").write_text(f"{header}\na.wav,drums,kick,0,1,CC0\n")
    library = SampleLibrary(tmp_path)
    with pytest.raises(DataError, match=r"a\.wav: cannot be decoded"):
        library.decode(library.samples[0])


# Songs --------------------------------------------------------------------------------------


def test_songs_do_not_depend_on_the_workers_and_what_is_there_is_kept(
    folder, cache, rendered, tmp_path
):
    config = RenderConfig(songs=2, seconds=6.0, seed=4)
    others = render_folder(folder, tmp_path, config, num_workers=2, voice_cache=cache)
    for ours, theirs in zip(rendered, others, strict=False):
        for path in sorted(ours.iterdir()):
            assert path.read_bytes() == (theirs / path.name).read_bytes(), path.name
    before = (others[0] / "mixture.flac").stat().st_mtime_ns
    done = []
    config = RenderConfig(songs=3, seconds=6.0, seed=4)
    more = render_folder(
        folder, tmp_path, config, voice_cache=cache, on_progress=lambda *now: done.append(now)
    )
    assert (others[0] / "mixture.flac").stat().st_mtime_ns == before
    assert done == [(3, 3)]
    assert (more[2] / "vocals.flac").read_bytes() == (rendered[2] / "vocals.flac").read_bytes()
    assert not list(tmp_path.glob(".*"))


def test_another_seed_is_another_song(folder, cache, rendered, tmp_path):
    config = RenderConfig(songs=1, seconds=6.0, seed=5)
    (other,) = render_folder(folder, tmp_path, config, voice_cache=cache)
    assert (other / "mixture.flac").read_bytes() != (rendered[0] / "mixture.flac").read_bytes()


def test_a_folder_of_other_songs_is_refused(folder, cache, tmp_path):
    (tmp_path / "rendering.json").write_text(json.dumps({"seconds": 99.0, "renderer": 1}))
    with pytest.raises(ConfigError, match="another setting of"):
        render_folder(folder, tmp_path, RenderConfig(songs=1), voice_cache=cache)


def test_stems_add_up_without_clipping_or_offset(rendered):
    for song in rendered:
        stems = [soundfile.read(song / f"{name}.flac", dtype="int16")[0] for name in STEMS]
        mixture, rate = soundfile.read(song / "mixture.flac", dtype="int16")
        assert rate == SAMPLE_RATE
        assert np.array_equal(np.sum(stems, axis=0, dtype=np.int64), mixture)
        for audio in (*stems, mixture):
            assert np.abs(audio.astype(int)).max() <= math.ceil(CEILING * 32767) + 4
            assert np.abs(audio.mean(axis=0)).max() < 0.02 * max(audio.std(), 10.0)
        assert np.abs(mixture.astype(int)).max() > 300


def test_the_trainer_reads_the_folder(rendered):
    tracks = read_tracks(rendered[0].parent)
    assert [track.name for track in tracks] == [song.name for song in rendered]
    assert all(set(track.stems) == set(STEMS) and track.mixture for track in tracks)


def test_what_was_drawn_is_written_down(rendered):
    drawn = json.loads((rendered[0] / "song.json").read_text())
    assert drawn["style"] in {style.name for style in STYLES}
    assert drawn["grid"]["metre"]["name"] in METRES
    assert drawn["key"]["mode"] in MODES
    assert set(drawn["relative_db"]) == set(STEMS)
    length = soundfile.info(rendered[0] / "mixture.flac").duration
    bars = sum(len(part["chords"]) for part in drawn["sections"])
    metre = drawn["grid"]["metre"]
    expected = bars * metre["beats"] * 60.0 / drawn["grid"]["bpm"] + 2.5
    assert length == pytest.approx(expected, abs=0.01)


def test_songs_vary(library, voices):
    songs = [
        draw_song(library, voices, np.random.default_rng([7, n]), seconds=60.0) for n in range(80)
    ]
    assert len({song.style for song in songs}) > 10
    assert len({song.key.tonic for song in songs}) >= 10
    assert len({song.grid.metre.name for song in songs}) >= 3
    bpm = [song.grid.bpm for song in songs]
    assert min(bpm) < 75 and max(bpm) > 160
    sources = {song.vocals.source for song in songs if song.vocals is not None}
    assert sources == {"recorded", "sung", "spoken"}
    assert 0 < sum(song.vocals is None for song in songs) < 20
    for group in ("drums", "bass", "vocals"):
        plays = [getattr(part, group) for song in songs for part in song.sections]
        assert 0.4 < np.mean(plays) < 0.97, group


def test_the_command_line(folder, cache, tmp_path, monkeypatch):
    monkeypatch.setenv("AUDIFORM_VOICE_CACHE", str(cache))
    command = ["data", "render", str(folder), "-o", str(tmp_path), "--songs", "1", "--seed", "4"]
    result = CliRunner().invoke(app, [*command, "--seconds", "4", "--workers", "1", "--json"])
    assert result.exit_code == 0, result.output
    (song,) = json.loads(result.stdout)["songs"]
    assert song == str(tmp_path / "song-4-00000")
    assert (tmp_path / "song-4-00000" / "vocals.flac").is_file()
    missing = CliRunner().invoke(app, ["data", "render", str(tmp_path), "-o", str(tmp_path / "b")])
    assert missing.exit_code == 2 or missing.exit_code == 1
    assert "index.csv" in missing.output


# Who plays when -----------------------------------------------------------------------------


@pytest.mark.parametrize("who", ["drums", "bass", "part"])
def test_who_rests_is_silent(library, who):
    rng = np.random.default_rng(0)
    sections = (section(plays=True), section(plays=False, first_bar=1, bars=3))
    track = silence(8.0)
    if who == "drums":
        plan = draw_drums(library, rng, groove="backbeat", metre=GRID.metre, loose_ms=(0.0, 2.0))
        kicks = play_drums(track, library, plan, GRID, sections, rng)
        assert kicks and max(kicks) < 2.1 * SAMPLE_RATE
    elif who == "bass":
        plan = BassPlan(SYNTHESISER, "eighths", 0.9, 1.0)
        play_bass(track, library, plan, GRID, Key(0, "minor"), sections, rng)
    else:
        plan = draw_part(
            library, rng, GRID, role="comp", instrument_class="keys", distorted_share=0.0,
            synthetic=1.0, loose_ms=(0.0, 1.0),
        )  # fmt: skip
        (track,) = play_part(library, plan, 0, GRID, Key(0, "minor"), sections, rng, seconds=8.0)
    assert np.abs(track[:, : 2 * SAMPLE_RATE]).max() > 0.05
    assert not track[:, round(7.5 * SAMPLE_RATE) :].any()


def test_a_form_has_all_bars_and_never_silence():
    for seed in range(40):
        form = draw_form(np.random.default_rng(seed), num_bars=37, num_parts=2)
        assert [bar for part in form for bar in part.bars] == list(range(37))
        assert all(part.drums or part.bass or part.vocals or part.parts for part in form)


@pytest.mark.parametrize("metre", METRES.values(), ids=list(METRES))
def test_patterns_fit_every_metre(library, metre):
    rng = np.random.default_rng(1)
    for name, groove in GROOVES.items():
        plan = draw_drums(library, rng, groove=name, metre=metre, loose_ms=(0.0, 5.0))
        for velocities in groove(metre, rng, plan).values():
            assert len(velocities) == metre.steps
            assert velocities.min() >= 0 and velocities.max() <= 1
    for name, line in LINES.items():
        steps = [step for step, _ in line(metre, rng)]
        assert steps == sorted(set(steps)), name
        assert all(0 <= step < metre.steps for step in steps)


def test_styles_name_what_there_is():
    for style in STYLES:
        assert set(style.metres) <= set(METRES)
        assert set(style.modes) <= set(MODES)
        assert set(style.grooves) <= set(GROOVES)
        assert set(style.basses) <= set(LINES)


def test_a_swung_step_is_late():
    grid = Grid(METRES["4/4"], bpm=60.0, swing=0.3)
    assert grid.seconds(1, 0) == 4.0
    assert grid.seconds(0, 2) == 0.5
    assert grid.seconds(0, 1) == pytest.approx(0.25 * 1.3)


def test_melodies_stay_in_their_key():
    rng = np.random.default_rng(2)
    key = Key(2, "dorian")
    for _ in range(20):
        plan = draw_melody_plan(rng, centre=62.0, bar_seconds=GRID.bar_seconds)
        for phrase in section_melody(plan, GRID, key, section(plays=True, bars=8), rng):
            assert all(note.midi % 12 in key.pitch_classes for note in phrase.notes)
            ends = [note.onset_seconds + note.seconds for note in phrase.notes]
            begins = [note.onset_seconds for note in phrase.notes[1:]]
            assert all(end <= begin + 1e-9 for end, begin in zip(ends, begins, strict=False))
            third = harmonised(phrase, key, thirds=1)
            rises = [h.midi - n.midi for h, n in zip(third.notes, phrase.notes, strict=True)]
            assert set(rises) <= {3, 4}


# Sounds -------------------------------------------------------------------------------------


@pytest.mark.parametrize("wave", WAVES)
def test_synthesised_notes_have_their_pitch_and_do_not_fold(wave):
    patch = Patch(wave, 1.0, 1.0, 1, 0.0, 2.0, 4.0)
    audio = synthesise(patch, f0_hz=441.0, seconds=1.0)[0, 4410:]
    spectrum = np.abs(np.fft.rfft(audio * np.hanning(len(audio))))
    hz = np.fft.rfftfreq(len(audio), 1 / SAMPLE_RATE)
    assert hz[spectrum.argmax()] == pytest.approx(441.0, abs=2.0)
    between = np.abs(hz / 441.0 - np.round(hz / 441.0)) > 0.1
    assert spectrum[between].max() < 3e-3 * spectrum.max()


def test_recorded_notes_are_moved_to_their_pitch_and_end_in_silence(library):
    instrument = Instrument(library, "guitar/one", np.random.default_rng(0))
    note = instrument.note(60.0, 0.5, np.random.default_rng(0))
    spectrum = np.abs(np.fft.rfft(note[0] * np.hanning(note.shape[-1])))
    peak_hz = spectrum.argmax() * SAMPLE_RATE / note.shape[-1]
    assert peak_hz == pytest.approx(midi_to_hz(60.0), abs=3.0)
    assert note.shape[-1] == SAMPLE_RATE // 2
    assert np.abs(note[:, -1]).max() < 1e-4
    assert np.abs(np.diff(note[0, -400:])).max() < np.abs(np.diff(note[0])).max()


def test_speed_moves_length_and_places_have_equal_power():
    audio = np.ones((1, 4410), dtype=np.float32)
    assert change_speed(audio, 2.0).shape[-1] == pytest.approx(2205, abs=2)
    for position in (-1.0, -0.3, 0.0, 0.8):
        assert np.square(pan(audio, position)).sum(axis=0) == pytest.approx(2.0)


def test_blocks_of_a_convolution_equal_the_direct_sum():
    rng = np.random.default_rng(0)
    response = rng.normal(size=(2, 300)).astype(np.float32)
    for length in (200, 250_000):
        audio = rng.normal(size=(2, length)).astype(np.float32)
        audio[:, 70_000:180_000] = 0.0
        direct = torch.nn.functional.conv1d(
            torch.from_numpy(np.pad(audio, ((0, 0), (299, 0)))).double(),
            torch.from_numpy(response[:, None, ::-1].copy()).double(),
            groups=2,
        ).numpy()
        # sums of 300 products of about 1, in float32
        assert np.abs(convolved(audio, response) - direct).max() < 1e-3


def test_an_equaliser_raises_its_band_and_takes_offsets_away(library):
    time = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    tone = np.sin(2 * np.pi * 1000.0 * time).astype(np.float32) + np.float32(0.5)
    chain = Chain(**{**PLAIN.__dict__, "bands": (Band("bell", 1000.0, 6.0),)})
    wet = apply_chain(np.stack([tone, tone]), chain, library)[:, SAMPLE_RATE // 2 :]
    assert wet.std() * math.sqrt(2) == pytest.approx(10 ** (6 / 20), rel=0.01)
    assert abs(wet.mean()) < 1e-3


def test_a_room_rings_on_and_silence_stays_silence(library):
    chain = Chain(**{**PLAIN.__dict__, "room": "rir/hall.wav", "room_db": -6.0})
    click = np.zeros((2, SAMPLE_RATE), dtype=np.float32)
    assert not apply_chain(click, chain, library).any()
    click[:, 100] = 1.0
    wet = apply_chain(click, chain, library)
    assert np.square(wet[:, 3000:]).sum() > 0.02
    assert not np.abs(apply_chain(click, PLAIN, library)[:, 10_000:]).max() > 1e-4


def test_compression_turns_down_what_is_loud():
    audio = np.full((2, SAMPLE_RATE), 0.1, dtype=np.float32)
    audio[:, SAMPLE_RATE // 2 :] = 0.9
    gain = compression_gain(audio, Compression(0.0, 4.0, 2.0, 50.0))
    assert gain.max() <= 1.0
    assert gain[-1] < 0.7 < gain[SAMPLE_RATE // 4]


def test_the_limiter_keeps_every_sample_below_the_ceiling():
    rng = np.random.default_rng(3)
    track = (0.1 * rng.normal(size=(2, 50_000))).astype(np.float32)
    track[:, rng.integers(0, 50_000, 40)] *= 30.0
    gain = limiter_gain([track])
    assert np.abs(track * gain).max() <= CEILING * 1.0001
    assert np.abs(np.diff(gain)).max() < 0.05


def test_a_mix_has_the_drawn_levels_and_ducks(library):
    rng = np.random.default_rng(0)
    plan = draw_mix(rng, duck_share=1.0, loud_db=(-20.0, -20.0))
    plan = type(plan)(plan.levels_db, 12.0, 0.2, None, -20.0)
    stems = {name: rng.normal(size=(2, SAMPLE_RATE)).astype(np.float32) for name in STEMS}
    mixed = mix_down(stems, plan, kicks=[])
    level_db = {name: 20 * math.log10(stem.std()) for name, stem in mixed.items()}
    assert level_db == pytest.approx({n: v - 20.0 for n, v in plan.levels_db.items()}, abs=0.1)
    ducked = mix_down(stems, plan, kicks=[20_000])
    around = slice(20_000, 20_200)
    assert ducked["bass"][:, around].std() < 0.3 * mixed["bass"][:, around].std()
    assert np.array_equal(ducked["vocals"], mixed["vocals"])


# Voices -------------------------------------------------------------------------------------


def voice_of(library, voices, path):
    return voices.piece(next(s for s in library.samples if s.path.match(path)), 0)


def test_a_voice_sings_the_notes_of_a_phrase(library, voices):
    notes = (Note(0.0, 0.6, 57), Note(0.6, 0.6, 64))
    phrase = Phrase("verse 0", 0.0, notes)
    voice = voice_of(library, voices, "voices/b.wav")
    audio = sing(voice, phrase, STEADY, np.random.default_rng(0), first=0)[0]
    for note in notes:
        middle = round((note.onset_seconds + 0.3) * SAMPLE_RATE)
        piece = audio[middle - 4000 : middle + 4000]
        spectrum = np.abs(np.fft.rfft(piece * np.hanning(len(piece)), 2**16))
        bin_hz, wanted_hz = SAMPLE_RATE / 2**16, midi_to_hz(note.midi)
        low = int(0.7 * wanted_hz / bin_hz)
        peak = low + spectrum[low : int(1.4 * wanted_hz / bin_hz)].argmax()
        assert peak * bin_hz == pytest.approx(wanted_hz, rel=0.015)
        below = spectrum[: int(0.7 * wanted_hz / bin_hz)].max()
        assert below < 0.2 * spectrum[peak]
    assert audio.shape[-1] / SAMPLE_RATE == pytest.approx(1.26, abs=0.05)
    assert abs(audio[-1]) < 1e-4


def test_a_narrow_voice_gets_treble_and_another_keeps_its_own(library, voices):
    def treble(path):
        voice = voice_of(library, voices, path)
        frames = np.arange(100, 500)
        audio = put_together(voice, frames, voice.pitch_hz[frames])
        power = np.abs(np.fft.rfft(audio)) ** 2
        hz = np.fft.rfftfreq(len(audio), 1 / SAMPLE_RATE)
        return 10 * np.log10(power[(hz > 9000) & (hz < 12000)].sum() / power.sum())

    narrow = voice_of(library, voices, "voices_16k/d.wav")
    assert float(narrow.band_hz[0]) == 8000.0
    assert treble("voices_16k/d.wav") > treble("voices/b.wav") + 3.0


def test_a_voice_is_taken_apart_once(library, tmp_path, monkeypatch):
    voices = Voices(library, tmp_path)
    first = voice_of(library, voices, "voices/a.wav")
    monkeypatch.setattr("audiform.data.rendering.voice.take_apart", None)
    again = voice_of(library, Voices(library, tmp_path), "voices/a.wav")
    assert np.array_equal(first.envelope, again.envelope)
    assert np.median(first.pitch_hz[first.voiced]) == pytest.approx(330.0, rel=0.02)
