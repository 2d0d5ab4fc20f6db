"""Recordings of effects, each broken in one way whose cause must be named; good ones that are not.

The dry sounds are struck noise, plucked strings and pink noise; the devices are the reference
effects and others that they lack.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import scipy.ndimage
import scipy.signal
import soundfile
import torch

from audiform.data.check import check_dataset
from audiform.data.findings import Level
from audiform.effects import EFFECTS
from tests.data.test_effect_alignment import RATE, dry_sound

Samples = np.ndarray
START = 2 * RATE


def reference(name: str, **settings: float) -> Callable[[Samples], Samples]:
    def device(dry: Samples) -> Samples:
        return EFFECTS[name].apply(torch.from_numpy(dry)[None], RATE, **settings)[0].numpy()

    return device


def amplifier(dry: Samples) -> Samples:
    driven = np.tanh(15 * scipy.signal.lfilter(*scipy.signal.butter(1, 100, "high", fs=RATE), dry))
    return np.float32(0.5 * scipy.signal.lfilter(*scipy.signal.butter(2, 5000, fs=RATE), driven))


def fuzz(dry: Samples) -> Samples:
    return np.float32(0.4 * np.tanh(100 * dry))


def octave(dry: Samples) -> Samples:
    return 0.8 * np.abs(dry)


def gate(dry: Samples) -> Samples:
    level = scipy.signal.lfilter([0.01], [1, -0.99], np.abs(dry))
    return np.float32(dry * (level > 0.03))


def noise_gate(dry: Samples) -> Samples:
    """Follows the level slowly down; opens and shuts within milliseconds."""
    level, out = 0.0, np.empty(len(dry))
    for n, value in enumerate(np.abs(dry).tolist()):
        level += (0.05 if value > level else 0.0008) * (value - level)
        out[n] = level > 0.04
    return np.float32(dry * scipy.signal.lfilter(*scipy.signal.butter(1, 80, fs=RATE), out))


def chopper(dry: Samples) -> Samples:
    return dry * (np.arange(len(dry)) // (RATE // 9) % 2).astype(np.float32)


def crusher(dry: Samples) -> Samples:
    return np.round(dry * 24) / np.float32(24)


def held(dry: Samples) -> Samples:
    """Every fifth sample for five."""
    return np.repeat(dry[::5], 5)[: len(dry)]


def phaser(dry: Samples) -> Samples:
    """Blocks of an all-pass whose corner moves."""
    wet, state = np.zeros_like(dry), np.zeros(4)
    for start in range(0, len(dry), 64):
        a = -0.6 + 0.3 * np.sin(2 * np.pi * 0.6 * start / RATE)
        section = np.array([[a, 1.0, 0.0, 1.0, a, 0.0]])
        block, new = scipy.signal.sosfilt(
            np.repeat(section, 2, axis=0), dry[start : start + 64], zi=state.reshape(2, 2)
        )
        wet[start : start + 64], state = block, new.ravel()
    return 0.5 * (dry + wet)


def late(audio: Samples, samples: int) -> Samples:
    moved = np.zeros_like(audio)
    if samples >= 0:
        moved[samples:] = audio[: len(audio) - samples]
    else:
        moved[:samples] = audio[-samples:]
    return moved


def without(audio: Samples, start: int, count: int) -> Samples:
    """Zeros instead of sound."""
    cut = audio.copy()
    cut[start : start + count] = 0
    return cut


def crossing(audio: Samples) -> int:
    """How far after START, from 2000 samples on, it goes through zero."""
    sign = np.sign(audio[START + 2000 :])
    return 2001 + int(np.flatnonzero(sign[1:] != sign[:-1])[0])


def quiet_place(audio: Samples) -> int:
    """Where 128 samples begin on both sides of which it is soft, and not in a zero crossing."""
    top = np.quantile(np.abs(audio), 0.999)
    for start in range(2 * RATE + 2000, 3 * RATE - 2000):
        sides = np.abs(audio[start - 8 : start]), np.abs(audio[start + 128 : start + 136])
        if all(0.06 * top < side.max() < 0.09 * top for side in sides):
            return start
    raise AssertionError("no such place")


def loudest(audio: Samples) -> int:
    """Where it is loudest, away from the ends."""
    inside = slice(RATE // 2, len(audio) - RATE)
    return RATE // 2 + int(np.abs(audio[inside]).argmax())


def tones_of_mains(count: int) -> Samples:
    time = np.arange(count) / RATE
    harmonics = ((1, 1.0), (2, 0.3), (3, 0.7), (5, 0.4), (7, 0.2))
    return np.float32(sum(g * np.sin(2 * np.pi * 50 * k * time + k) for k, g in harmonics))


def pauses(dry: Samples) -> Samples:
    """Digital silence for a second."""
    return without(dry, 3 * RATE, RATE)


def write(folder, dry: Samples, wet: Samples, rates=(RATE, RATE), name="target.wav") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for file, audio, rate in (("input.wav", dry, rates[0]), (name, wet, rates[1])):
        soundfile.write(folder / file, audio, rate, subtype="PCM_24")


# Name -> (dry sound, device, what breaks it (dry, wet) -> both, cause) -------------------------

compressor = reference("compressor", threshold_db=-25.0, ratio=4.0)
echo = reference("echo", delay_ms=180.0)
reverb = reference("reverb")


def noisy(wet: Samples) -> Samples:
    return np.float32(wet + 0.005 * np.random.default_rng(3).normal(size=len(wet)))


def stretched(wet: Samples, ppm: float) -> Samples:
    """Played by another clock: splines, which are good at low frequencies."""
    place = np.arange(len(wet)) * (1 + 1e-6 * ppm)
    return np.float32(
        scipy.ndimage.map_coordinates(wet.astype(np.float64), [place], order=5, mode="nearest")
    )


def uneven(wet: Samples) -> Samples:
    """As from a tape: 4000 samples late, now 3 more, now 3 less."""
    time = np.arange(len(wet)) / RATE
    place = np.arange(len(wet)) - 4000 - 3 * np.sin(2 * np.pi * 0.4 * time)
    return np.float32(
        scipy.ndimage.map_coordinates(wet.astype(np.float64), [place], order=5, mode="constant")
    )


def very_uneven(wet: Samples) -> Samples:
    """As from a bad tape: 2500 samples late, and 23 more or less within a second."""
    time = np.arange(len(wet)) / RATE
    moved = 15 * np.sin(2 * np.pi * 0.7 * time) + 8 * np.sin(2 * np.pi * 0.13 * time + 1)
    place = np.arange(len(wet)) - 2500 - moved
    return np.float32(
        scipy.ndimage.map_coordinates(wet.astype(np.float64), [place], order=5, mode="constant")
    )


def starting_anew(wet: Samples) -> Samples:
    """At full scale for 100 ms of every half second, as simulations in pieces begin."""
    stuck = wet.copy()
    stuck[np.arange(len(wet)) % (RATE // 2) < RATE // 10] = -1.0
    return stuck


def dark_tone(dry: Samples) -> Samples:
    return np.float32(scipy.signal.lfilter(*scipy.signal.butter(2, 200, fs=RATE), dry))


def overdriven(dry: Samples) -> Samples:
    return np.float32(0.5 * np.tanh(25 * dry))


def resonances(dry: Samples) -> Samples:
    peaks = (scipy.signal.iirpeak(hz, 8, fs=RATE) for hz in (400, 1300))
    return np.float32(0.1 * dry + 0.3 * sum(scipy.signal.lfilter(*peak, dry) for peak in peaks))


def repeats(dry: Samples) -> Samples:
    """An echo of its own echo."""
    loop = np.zeros(RATE // 6 + 1)
    loop[0], loop[-1] = 1.0, -0.8
    return np.float32(0.5 * scipy.signal.lfilter([1.0], loop, dry))


def saturation(dry: Samples) -> Samples:
    return np.float32(0.5 * np.tanh(4 * dry))


def rumble() -> Samples:
    """Noise below 250 Hz, and a little above."""
    low, high = np.random.default_rng(5).normal(size=(2, 5 * RATE))
    low = scipy.signal.lfilter(*scipy.signal.butter(4, 250, fs=RATE), low)
    return np.float32(0.7 * low / np.abs(low).max() + 1e-4 * high)


def lopsided_voice() -> Samples:
    """Syllables of pulses that all go up."""
    time = np.arange(5 * RATE) / RATE
    pulses = np.diff(np.floor(140 * time + np.sin(9 * time)), prepend=0.0)
    pulses = scipy.signal.lfilter(*scipy.signal.butter(1, 900, fs=RATE), pulses)
    syllables = np.clip(np.sin(2 * np.pi * 1.65 * time), 0, None) * (time < 4.6)
    return np.float32(0.7 * syllables * pulses / np.abs(pulses).max())


def sweep() -> Samples:
    """Through which another rate looks like a delay; noise after it."""
    time = np.arange(4 * RATE) / RATE
    tone = 0.7 * np.sin(2 * np.pi * 60 * (np.exp(1.2 * time) - 1) / 1.2)
    return np.float32(np.concatenate([tone, 0.05 * np.random.default_rng(2).normal(size=RATE)]))


def notes() -> Samples:
    """Eight that decay, the third of which has high and narrow peaks."""
    time = np.arange(5 * RATE) / RATE
    sound = 1e-5 * np.random.default_rng(4).normal(size=len(time))
    for number in range(8):
        since = time - 0.1 - 0.6 * number
        partials = np.arange(1, 25)
        weights = np.ones(24) / 24 if number == 2 else partials**-2.0 / 1.6
        hz = 110 * 2 ** ((5 * number % 12) / 12)
        waves = weights @ np.cos(2 * np.pi * hz * partials[:, None] * since)
        sound += 0.6 * waves * np.exp(-4 * since) * (since >= 0) * (since < 0.6)
    return np.float32(sound)


def quieter_in_the_middle() -> Samples:
    """Noise that is 20 dB quieter for a second."""
    sound = dry_sound("noise").numpy().copy()
    sound[2 * RATE : 3 * RATE] *= 0.1
    return sound


def hats() -> Samples:
    """Bursts of bright noise, whose peaks are single samples."""
    time = np.arange(5 * RATE) / RATE
    noise = np.diff(np.random.default_rng(6).normal(size=len(time) + 1))
    sound = noise * np.exp(-40 * (time % 0.25))
    return np.float32(0.7 * sound / np.abs(sound).max())


def chord() -> Samples:
    """Detuned saws, all the time."""
    time = np.arange(5 * RATE) / RATE
    saws = sum(scipy.signal.sawtooth(2 * np.pi * hz * time) for hz in (139.0, 174.6, 221.0, 330.2))
    return np.float32(0.15 * scipy.signal.lfilter(*scipy.signal.butter(2, 3500, fs=RATE), saws))


def notes_and_rests() -> Samples:
    """Low notes, the same rest after each."""
    time = np.arange(5 * RATE) / RATE
    hz = 45 + 30 * np.random.default_rng(7).random(20)[np.int64(time / 0.25)]
    return np.float32(0.6 * np.cos(2 * np.pi * np.cumsum(hz) / RATE) * (time % 0.25 < 0.22))


def full_scale_sweep() -> Samples:
    """Smooth peaks that all reach the end of the scale."""
    time = np.arange(4 * RATE) / RATE
    return np.float32(np.sin(2 * np.pi * 60 * (np.exp(1.2 * time) - 1) / 1.2))


def full_scale_loop() -> Samples:
    """One hit again and again, whose peak is the end of the scale."""
    hit = hats()[: RATE // 20]
    return np.tile(hit / np.abs(hit).max(), 100)


def clicks_and_sweep() -> Samples:
    """Clicks at equal distances, then a tone that rises."""
    time = np.arange(4 * RATE) / RATE
    tone = 0.7 * np.sin(2 * np.pi * 30 * (np.exp(1.5 * time) - 1) / 1.5)
    clicks = np.zeros(RATE)
    clicks[RATE // 8 :: RATE // 4] = 0.7
    return np.float32(np.concatenate([clicks, tone]))


OTHER_SOUNDS = {
    "clicks and sweep": clicks_and_sweep,
    "hats": hats,
    "chord": chord,
    "notes and rests": notes_and_rests,
    "full-scale sweep": full_scale_sweep,
    "full-scale loop": full_scale_loop,
    "rumble": rumble,
    "lopsided voice": lopsided_voice,
    "sweep": sweep,
    "notes": notes,
    "quieter": quieter_in_the_middle,
}


def sound_of(kind: str) -> Samples:
    """A sound of the alignment's tests, a bass of squares without pauses, or sound and clicks."""
    if kind in OTHER_SOUNDS:
        return OTHER_SOUNDS[kind]()
    if kind not in {"bass", "clicks"}:
        return dry_sound(kind).numpy()
    if kind == "clicks":
        sound = pauses(dry_sound("noise").numpy())
        sound[3 * RATE + RATE // 8 : 4 * RATE : RATE // 4] = 0.7
        return sound
    time = np.arange(5 * RATE) / RATE
    hz = 41.2 * 2 ** (np.random.default_rng(1).integers(0, 14, 20)[np.int64(time / 0.25)] / 12)
    squares = np.sign(np.sin(2 * np.pi * np.cumsum(hz) / RATE))
    return np.float32(0.6 * scipy.signal.lfilter(*scipy.signal.butter(2, 1400, fs=RATE), squares))


BROKEN = {
    "tape": ("noise", compressor, lambda x, y: (x, uneven(y)), "drifting delay"),
    "very uneven tape under drums": (
        "hats",
        crusher,
        lambda x, y: (x, very_uneven(y)),
        "drifting delay",
    ),
    "very uneven tape behind a low-pass": (
        "noise",
        lambda x: np.float32(scipy.signal.lfilter(*scipy.signal.butter(2, 600, fs=RATE), x)),
        lambda x, y: (x, very_uneven(y)),
        "drifting delay",
    ),
    "very uneven tape under a chord": (
        "chord",
        saturation,
        lambda x, y: (x, very_uneven(y)),
        "drifting delay",
    ),
    "stuck": ("noise", compressor, lambda x, y: (x, starting_anew(y)), "stuck"),
    "hum in a pause": (
        "hits",
        lambda x: x,
        lambda x, y: (pauses(x), amplifier(pauses(x)) + 0.006 * tones_of_mains(len(x))),
        "hum",
    ),
    "late": ("plucks", amplifier, lambda x, y: (x, late(y, 1500)), "delay"),
    "late reverb": ("hits", reverb, lambda x, y: (x, late(y, 333)), "delay"),
    "early": ("noise", compressor, lambda x, y: (x, late(y, -90)), "delay"),
    "turned": ("hits", echo, lambda x, y: (x, -y), "polarity"),
    "shorter": ("plucks", compressor, lambda x, y: (x, y[:-RATE]), "length mismatch"),
    "clipped input": ("noise", amplifier, lambda x, y: (np.clip(3 * x, -1, 1), y), "clipped"),
    "clipped input of single peaks": (
        "hats",
        amplifier,
        lambda x, y: (np.clip(2 * x, -1, 1), y),
        "clipped",
    ),
    "clipped target": ("hits", reverb, lambda x, y: (x, np.clip(4 * y, -1, 1)), "clipped"),
    "hole": ("noise", amplifier, lambda x, y: (x, without(y, START, 3000)), "drop-out"),
    "short hole": ("plucks", amplifier, lambda x, y: (x, without(y, loudest(x), 128)), "drop-out"),
    "hole in reverb": ("noise", reverb, lambda x, y: (x, without(y, START, 2000)), "drop-out"),
    "input hole": ("noise", compressor, lambda x, y: (without(x, START, 256), y), "drop-out"),
    "input hole among rests": (
        "notes and rests",
        saturation,
        lambda x, y: (without(x, START + RATE // 10, 512), y),
        "drop-out",
    ),
    "input hole to a zero crossing": (
        "rumble",
        compressor,
        lambda x, y: (without(x, START, crossing(x)), y),
        "drop-out",
    ),
    "short hole where it is quiet": (
        "quieter",
        compressor,
        lambda x, y: (x, without(y, quiet_place(y), 128)),
        "drop-out",
    ),
    "lost buffer": (
        "plucks",
        amplifier,
        lambda x, y: (x, np.concatenate([y[:START], y[START + 256 :], np.zeros(256, np.float32)])),
        "delay jumps",
    ),
    "doubled buffer in a sweep": (
        "clicks and sweep",
        resonances,
        lambda x, y: (x, np.concatenate([y[: 19 * RATE // 10], y[19 * RATE // 10 - 1024 :]])),
        "delay jumps",
    ),
    "doubled buffer": (
        "noise",
        echo,
        lambda x, y: (x, np.concatenate([y[:START], y[START - 512 :]])[: len(y)]),
        "delay jumps",
    ),
    "48 kHz as 44.1": (
        "hits",
        compressor,
        lambda x, y: (x, scipy.signal.resample_poly(y, 160, 147)),
        "wrong sample rate",
    ),
    "44.1 kHz as 48": (
        "plucks",
        amplifier,
        lambda x, y: (x, scipy.signal.resample_poly(y, 147, 160)),
        "wrong sample rate",
    ),
    "44.1 kHz as 48 of a sweep": (
        "sweep",
        echo,
        lambda x, y: (x, scipy.signal.resample_poly(y, 147, 160)),
        "wrong sample rate",
    ),
    "two clocks behind a low-pass": (
        "plucks",
        dark_tone,
        lambda x, y: (x, stretched(y, 800)),
        "clock drift",
    ),
    "two clocks": ("noise", compressor, lambda x, y: (x, stretched(y, 150)), "clock drift"),
    "exchanged": ("plucks", fuzz, lambda x, y: (y, x), "swapped pair"),
    "exchanged, hardly bent": ("hits", overdriven, lambda x, y: (y, x), "swapped pair"),
    "another take": (
        "plucks",
        amplifier,
        lambda x, y: (x, amplifier(dry_sound("noise").numpy())),
        "unrelated pair",
    ),
    "silent": ("hits", echo, lambda x, y: (x, 0 * y), "silent target"),
    "offset": ("hits", amplifier, lambda x, y: (x, y + np.float32(0.03)), "DC offset"),
    "hum": (
        "plucks",
        compressor,
        lambda x, y: (x, y + 0.004 * tones_of_mains(len(y))),
        "hum",
    ),
    "hum under drums": (
        "hits",
        lambda x: reverb(compressor(x)),
        lambda x, y: (x, y + 0.004 * tones_of_mains(len(y))),
        "hum",
    ),
    "offset without pauses": (
        "bass",
        saturation,
        lambda x, y: (x, y + np.float32(0.03)),
        "DC offset",
    ),
    "hiss": ("hits", lambda x: x, lambda x, y: (pauses(x), noisy(amplifier(pauses(x)))), "noise"),
    "effect off": ("noise", lambda x: x, lambda x, y: (x, y), "target is input"),
}

#: Notes that say a cause count only where that is all there is to say.
NOTES = {"polarity"}


@pytest.mark.parametrize("name", BROKEN)
def test_the_cause_is_named(tmp_path, name):
    kind, device, breaks, cause = BROKEN[name]
    dry = sound_of(kind)
    write(tmp_path, *breaks(dry, device(dry)))
    findings = check_dataset(tmp_path).findings
    wanted = [item for item in findings if item.cause == cause]
    assert wanted, [str(item) for item in findings]
    assert wanted[0].level is not Level.note or cause in NOTES, str(wanted[0])


def band_of_mains(dry: Samples) -> Samples:
    """Rings at 100, 150 and 250 Hz."""
    wet = sum(
        scipy.signal.lfilter(*scipy.signal.iirpeak(hz, 30, fs=RATE), dry) for hz in (100, 150, 250)
    )
    return np.float32(0.3 * dry + wet)


GOOD = {
    "rings": ("hits", band_of_mains),
    "compressor": ("plucks", compressor),
    "slow compressor": (
        "hits",
        reference(
            "compressor-large", threshold_db=-50.0, ratio=10.0, attack_ms=1000.0, release_ms=1000.0
        ),
    ),
    "distortion": ("plucks", reference("distortion", drive_db=40.0)),
    "rectifying distortion": ("hits", reference("distortion", drive_db=20.0, asymmetry=1.0)),
    "echo": ("hits", reference("echo", delay_ms=300.0, ratio=0.9)),
    "equaliser": ("noise", reference("equaliser", low_gain_db=6.0, mid_gain_db=-15.0)),
    "low-pass": ("plucks", reference("low-pass", cutoff_hz=400.0)),
    "deep low-pass": ("noise", reference("low-pass", cutoff_hz=10.0)),
    "long reverb": ("hits", reference("reverb", decay_seconds=5.0, mix=0.6)),
    "nearly all reverb": ("hits", reference("reverb", mix=0.9)),
    "reverb under clicks": ("clicks", reference("reverb", decay_seconds=3.0, mix=0.6)),
    "slow tremolo": ("noise", reference("tremolo", rate_hz=0.5, depth=1.0)),
    "fast tremolo": ("plucks", reference("tremolo", rate_hz=12.0, depth=1.0)),
    "amplifier": ("noise", amplifier),
    "turning amplifier": ("plucks", lambda dry: -amplifier(dry)),
    "fuzz": ("hits", fuzz),
    "octave": ("plucks", octave),
    "gate": ("plucks", gate),
    "noise gate": ("notes", noise_gate),
    "echo of a lopsided voice": ("lopsided voice", repeats),
    "chopper": ("noise", chopper),
    "crusher": ("noise", crusher),
    "phaser": ("hits", phaser),
    "held samples between clicks": ("clicks", held),
    "smooth peaks at full scale": ("full-scale sweep", amplifier),
    "lopsided notes between rests": ("notes and rests", saturation),
    "a loop at full scale": ("full-scale loop", lambda dry: dry / 2),
    "a few samples of latency": ("plucks", lambda dry: late(amplifier(dry), 3)),
    "pauses": ("hits", lambda dry: amplifier(dry)),
    "reverb and pauses": ("hits", reverb),
}


@pytest.mark.parametrize("name", GOOD)
def test_good_recordings_raise_no_alarm(tmp_path, name):
    kind, device = GOOD[name]
    dry = sound_of(kind)
    if "pauses" in name:
        dry = pauses(dry)
    wet = device(dry)
    write(tmp_path, dry, wet * min(1.0, 0.9 / float(np.abs(wet).max())))
    alarms = [item for item in check_dataset(tmp_path).findings if item.level is not Level.note]
    assert not alarms, [str(item) for item in alarms]


def test_a_dead_channel_is_no_drop_out(tmp_path):
    dry = notes_and_rests()
    both = np.stack([dry, late(dry, 900)], axis=1)
    write(tmp_path, both, np.stack([saturation(dry), 0 * dry], axis=1))
    alarms = {
        item.cause for item in check_dataset(tmp_path).findings if item.level is not Level.note
    }
    assert alarms == {"dead channel"}


def test_the_delay_of_a_tape_is_said_once(tmp_path):
    dry = dry_sound("noise").numpy()
    write(tmp_path, dry, uneven(compressor(dry)))
    assert [item.cause for item in check_dataset(tmp_path).findings] == ["drifting delay"]


def test_a_buffer_put_in_makes_no_drop_outs(tmp_path):
    dry = notes_and_rests() + np.float32(0.02) * hats()
    dry -= dry.mean()
    wet = np.float32(dry - np.clip(dry, -0.01, 0.01))
    late = np.concatenate([wet[: START + 700], wet[START - 300 :]])[: len(wet)]
    write(tmp_path, dry, late)
    alarms = {
        item.cause for item in check_dataset(tmp_path).findings if item.level is not Level.note
    }
    assert alarms == {"delay jumps"}


def test_the_clipping_of_what_is_stuck_is_not_reported(tmp_path):
    dry = dry_sound("noise").numpy()
    write(tmp_path, dry, starting_anew(compressor(dry)))
    findings = check_dataset(tmp_path).findings
    assert {item.cause for item in findings if item.level is not Level.note} == {"stuck"}
    (stuck,) = (item for item in findings if item.cause == "stuck")
    assert f"every {RATE // 2} samples" in stuck.message
    assert f"--score-only {RATE // 2}:" in stuck.cure


def write_take(folder, take: str, dry: Samples, wet: Samples, setting: str = "") -> None:
    soundfile.write(folder / f"{take}_input.wav", dry, RATE, subtype="PCM_24")
    target = f"{take}_target{f'__{setting}' if setting else ''}.wav"
    soundfile.write(folder / target, wet, RATE, subtype="PCM_24")


def test_exchanged_takes_are_named_with_each_other(tmp_path):
    sounds = {kind: dry_sound(kind).numpy() for kind in ("hits", "plucks", "noise")}
    wets = {kind: compressor(dry) for kind, dry in sounds.items()}
    wets["hits"], wets["noise"] = wets["noise"], wets["hits"]
    for kind, dry in sounds.items():
        write_take(tmp_path, kind, dry, wets[kind])
    found = {
        item.track: item.message
        for item in check_dataset(tmp_path).findings
        if item.level is Level.error
    }
    assert set(found) == {"hits", "noise"}
    assert "that of 'noise'" in found["hits"]
    assert "that of 'hits'" in found["noise"]


@pytest.mark.parametrize(
    ("second", "cause", "level"),
    [
        (lambda wet: 0.4 * np.tanh(20 * wet), "contradictory knobs", Level.error),
        (lambda wet: wet + 0.06 * scipy.signal.lfilter([1, -1], 1, wet), None, None),
        (lambda wet: 0.8 * wet, "repeatability", Level.warning),
    ],
    ids=["another setting", "nearly the same", "turned down"],
)
def test_two_takes_of_one_setting(tmp_path, second, cause, level):
    dry = dry_sound("plucks").numpy()
    wet = reference("distortion", drive_db=12.0)(dry)
    write_take(tmp_path, "one", dry, wet, "gain=5")
    write_take(tmp_path, "two", dry, second(wet), "gain=5")
    findings = [item for item in check_dataset(tmp_path).findings if item.level is not Level.note]
    assert [(item.cause, item.level) for item in findings] == ([(cause, level)] if cause else [])


def test_two_settings_with_one_result(tmp_path):
    dry = dry_sound("hits").numpy()
    soundfile.write(tmp_path / "input.wav", dry, RATE)
    for gain in (2, 5, 8):
        wet = reference("distortion", drive_db=float(min(gain, 5)))(dry)
        soundfile.write(tmp_path / f"target__gain={gain}.wav", wet, RATE)
    findings = [item for item in check_dataset(tmp_path).findings if item.level is not Level.note]
    assert [item.cause for item in findings] == ["contradictory knobs"]
    assert "gain 8 against gain 5" in findings[0].message


def test_targets_that_name_other_knobs(tmp_path):
    dry = dry_sound("hits").numpy()
    soundfile.write(tmp_path / "input.wav", dry, RATE)
    for setting, drive in (("gain=1", 3.0), ("gain=2", 6.0), ("tone=2", 9.0)):
        wet = reference("distortion", drive_db=drive)(dry)
        soundfile.write(tmp_path / f"target__{setting}.wav", wet, RATE)
    (found,) = (item for item in check_dataset(tmp_path).findings if item.level is Level.error)
    assert found.cause == "contradictory knobs"
    assert found.path is not None
    assert found.path.name == "target__tone=2.wav"


def test_pulses_beside_a_tape_make_its_delay_no_fault(tmp_path):
    dry = dry_sound("noise").numpy()
    clicks = np.zeros(len(dry), np.float32)
    clicks[RATE // 100 :: RATE // 100] = 0.8
    for name, sound in (("audio", dry), ("pulses", clicks)):
        soundfile.write(tmp_path / f"take_input_{name}.wav", sound, RATE)
        soundfile.write(tmp_path / f"take_target_{name}.wav", uneven(sound), RATE)
    findings = check_dataset(tmp_path).findings
    assert {item.cause for item in findings} <= {"delay", "clipped"}
    assert all(item.level is Level.note for item in findings), [str(item) for item in findings]


def test_one_channel_in_and_two_out_is_a_note(tmp_path):
    dry = dry_sound("hits").numpy()
    wet = np.stack([echo(dry), reference("echo", delay_ms=250.0)(dry)], axis=1)
    write(tmp_path, dry, 0.5 * wet)
    assert [item for item in check_dataset(tmp_path).findings if item.level is not Level.note] == []


def test_the_numbers_are_right(tmp_path):
    dry = dry_sound("noise").numpy()
    wet = compressor(dry)
    for name, broken, words in (
        ("late", late(wet, 1500), "1500 samples (68.0 ms) late"),
        ("jump", np.concatenate([wet[:START], wet[START + 256 :]]), "256 samples earlier from"),
        ("rate", scipy.signal.resample_poly(wet, 160, 147), "recorded at 24000 Hz"),
        ("hole", without(wet, START, 3000), "at 2.00 s"),
    ):
        write(tmp_path / name, dry, broken)
        texts = [str(item) for item in check_dataset(tmp_path / name).findings]
        assert any(words in text for text in texts), texts
