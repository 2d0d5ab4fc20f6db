"""Broken recordings of effects: (rng, folder) writes one, returns what it was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import scipy.ndimage
import scipy.signal
import soundfile
from fault_devices import DEVICES, low_passed
from fault_pairs import Pair, draw_pair, draw_sound, loud_place, moved, write
from fault_sounds import Rng


def late(rng: Rng, folder: Path) -> str:
    pair, samples = draw_pair(rng), int(rng.integers(60, 6000))
    pair.wet = moved(pair.wet, samples)
    write(folder, pair)
    return f"{pair.device}, {pair.sound}, {samples} late"


def late_room(rng: Rng, folder: Path) -> str:
    pair, samples = draw_pair(rng, ("plate", "spring", "chorus")), int(rng.integers(300, 3000))
    pair.wet = moved(pair.wet, samples)
    write(folder, pair)
    return f"{pair.device}, {pair.sound}, {samples} late"


def early(rng: Rng, folder: Path) -> str:
    pair, samples = draw_pair(rng), int(rng.integers(40, 900))
    pair.wet = moved(pair.wet, -samples)
    write(folder, pair)
    return f"{pair.device}, {pair.sound}, {samples} early"


def turned(rng: Rng, folder: Path) -> str:
    pair = draw_pair(rng, ("overdrive", "optical compressor", "crossover", "dark tone"))
    pair.wet = -pair.wet
    write(folder, pair)
    return f"{pair.device}, {pair.sound}"


def lost_buffer(rng: Rng, folder: Path) -> str:
    pair = draw_pair(rng)
    size, at = int(rng.choice([64, 128, 256, 441, 1024])), loud_place(pair.dry, rng, pair.rate)
    pair.wet = np.concatenate([pair.wet[:at], pair.wet[at + size :], np.zeros(size)])
    write(folder, pair)
    return f"{pair.device}, {pair.sound}, {size} at {at / pair.rate:.1f} s"


def buffer_put_in(rng: Rng, folder: Path) -> str:
    pair = draw_pair(rng)
    size, at = int(rng.choice([128, 512, 2048])), loud_place(pair.dry, rng, pair.rate)
    repeated = [pair.wet[:at], pair.wet[at - size : at], pair.wet[at:]]
    pair.wet = np.concatenate(repeated)[: len(pair.dry)]
    write(folder, pair)
    return f"{pair.device}, {pair.sound}, {size} at {at / pair.rate:.1f} s"


def other_clock(rng: Rng, folder: Path) -> str:
    pair, ppm = draw_pair(rng), float(rng.choice([-1, 1]) * rng.uniform(50, 400))
    place = np.arange(len(pair.wet)) * (1 + 1e-6 * ppm)
    spline = scipy.ndimage.map_coordinates(pair.wet, [place], order=5, mode="nearest")
    pair.wet = spline
    write(folder, pair)
    return f"{pair.device}, {pair.sound}, {ppm:.0f} ppm"


def wandering_tape(rng: Rng, folder: Path) -> str:
    """A machine whose delay is long and moves as the tape runs unevenly."""
    pair = draw_pair(rng, ("biased amplifier", "dark tone", "hissing amplifier", "crossover"))
    time = np.arange(len(pair.wet)) / pair.rate
    swing, hz = rng.uniform(8, 25), rng.uniform(0.3, 1.1)
    waves = swing * np.sin(2 * np.pi * hz * time) + 0.3 * swing * np.sin(
        2 * np.pi * 3.1 * hz * time
    )
    waves += 0.5 * swing * np.sin(2 * np.pi * 0.13 * time + 1)
    lag = rng.uniform(2000, 7000)
    place = np.arange(len(pair.wet)) - lag - waves
    pair.wet = scipy.ndimage.map_coordinates(pair.wet, [place], order=5, mode="constant")
    pair.wet = pair.wet + 1e-4 * rng.normal(size=len(pair.wet))
    write(folder, pair)
    return f"{pair.device}, {pair.sound}, by {np.ptp(waves):.0f} samples"


def wrong_header(rng: Rng, folder: Path) -> str:
    pair = draw_pair(rng)
    up, down = ((160, 147), (147, 160))[int(rng.integers(2))]
    pair.wet = scipy.signal.resample_poly(pair.wet, up, down)
    pair.wet *= min(1.0, 0.97 / np.abs(pair.wet).max())
    write(folder, pair)
    return f"{pair.device}, {pair.sound}, {up}/{down}"


def two_rates(rng: Rng, folder: Path) -> str:
    pair = draw_pair(rng)
    pair.wet_rate = 96000
    pair.wet = scipy.signal.resample(pair.wet, round(len(pair.wet) * 96000 / pair.rate))
    pair.wet *= min(1.0, 0.97 / np.abs(pair.wet).max())
    write(folder, pair)
    return f"{pair.device}, {pair.sound}"


def cut_short(rng: Rng, folder: Path) -> str:
    pair = draw_pair(rng)
    pair.wet = pair.wet[: -round(rng.uniform(0.5, 2) * pair.rate)]
    write(folder, pair)
    return f"{pair.device}, {pair.sound}"


def target_drops_out(rng: Rng, folder: Path) -> str:
    pair = draw_pair(rng, sounds=("strum", "drum machine", "pad", "bass line"))
    at, length = loud_place(pair.dry, rng, pair.rate), int(rng.choice([256, 1024, 4000]))
    pair.wet[at : at + length] = 0
    write(folder, pair)
    return f"{pair.device}, {pair.sound}, {length} at {at / pair.rate:.1f} s"


def input_drops_out(rng: Rng, folder: Path) -> str:
    pair = draw_pair(rng, sounds=("strum", "pad", "bass line"))
    at, length = loud_place(pair.dry, rng, pair.rate), int(rng.choice([256, 1024, 4000]))
    pair.dry = pair.dry.copy()
    pair.dry[at : at + length] = 0
    write(folder, pair)
    return f"{pair.device}, {pair.sound}, {length} at {at / pair.rate:.1f} s"


def hum(rng: Rng, folder: Path) -> str:
    pair = draw_pair(rng, ("overdrive", "optical compressor", "crossover"))
    time, mains = np.arange(len(pair.wet)) / pair.rate, int(rng.choice([50, 60]))
    level = rng.uniform(0.006, 0.02)
    for harmonic, gain in ((1, 1.0), (2, 0.5), (3, 0.8), (4, 0.2), (5, 0.5), (7, 0.3)):
        pair.wet = pair.wet + level * gain * np.sin(2 * np.pi * mains * harmonic * time + harmonic)
    pair.wet *= min(1.0, 0.97 / np.abs(pair.wet).max())
    write(folder, pair)
    return f"{pair.device}, {pair.sound}, {mains} Hz at {level:.3f}"


def hiss(rng: Rng, folder: Path) -> str:
    rate = 44100
    name, dry = draw_sound(rng, rate, ("strum", "voice", "bass line"))
    dry[3 * rate : 4 * rate] = 0
    wet = 0.8 * DEVICES["overdrive"](dry, rate, rng)
    wet = wet + rng.uniform(0.008, 0.02) * rng.normal(size=len(wet))
    write(folder, Pair(dry, np.clip(wet, -0.99, 0.99), rate))
    return f"overdrive, {name}"


def constant_offset(rng: Rng, folder: Path) -> str:
    pair = draw_pair(rng)
    offset = float(rng.choice([-1, 1]) * rng.uniform(0.015, 0.06))
    pair.wet = 0.9 * pair.wet + offset
    write(folder, pair)
    return f"{pair.device}, {pair.sound}, {offset:+.3f}"


def clipped_input(rng: Rng, folder: Path) -> str:
    pair = draw_pair(rng)
    clean = pair.dry
    pair.dry = np.clip(rng.uniform(2, 5) * clean, -1, 1)
    write(folder, pair)
    return f"{pair.device}, {pair.sound}"


def clipped_target(rng: Rng, folder: Path) -> str:
    pair = draw_pair(rng, ("optical compressor", "dark tone", "tape echo", "crossover"))
    pair.wet = np.clip(rng.uniform(2, 5) * pair.wet / np.abs(pair.wet).max(), -1, 1)
    write(folder, pair)
    return f"{pair.device}, {pair.sound}"


def sides_exchanged(rng: Rng, folder: Path) -> str:
    rate = 44100
    name, dry = draw_sound(rng, rate)
    wet = 0.5 * np.tanh(rng.uniform(25, 100) * dry)
    write(folder, Pair(wet, dry, rate))
    return f"fuzz, {name}"


def takes_exchanged(rng: Rng, folder: Path) -> str:
    """Three takes, the targets of two exchanged."""
    pairs = [draw_pair(rng, rate=44100) for _ in range(3)]
    pairs[0].wet, pairs[2].wet = pairs[2].wet, pairs[0].wet
    for index, pair in enumerate(pairs):
        write(folder, pair, prefix=f"take{index}_")
    return ", ".join(f"{pair.device} on {pair.sound}" for pair in pairs)


def other_song(rng: Rng, folder: Path) -> str:
    pair = draw_pair(rng)
    name, other = draw_sound(rng, pair.rate)
    wet = DEVICES["overdrive"](other, pair.rate, rng)
    pair.wet = 0.8 * wet / np.abs(wet).max()
    write(folder, pair)
    return f"{pair.sound} against {name}"


def same_setting_twice(rng: Rng, folder: Path) -> str:
    """One input, one setting, two results: something else was turned between them."""
    pair = draw_pair(rng, ("overdrive", "hissing amplifier", "crossover"))
    write(folder, pair, prefix="one_", setting="gain=5")
    pair.wet = 0.7 * np.tanh(12 * pair.wet / np.abs(pair.wet).max())
    write(folder, pair, prefix="two_", setting="gain=5")
    return f"{pair.device}, {pair.sound}"


def settings_without_difference(rng: Rng, folder: Path) -> str:
    """Two settings, one result: one of them was not recorded."""
    pair = draw_pair(rng)
    gain = (2, 5, 8)
    for number in gain:
        wet = 0.5 * np.tanh((5 if number == 8 else number) * pair.dry)
        write(folder, Pair(pair.dry, wet, pair.rate), setting=f"gain={number}")
    return pair.sound


def not_repeatable(rng: Rng, folder: Path) -> str:
    """The same setting recorded twice, the knob a little elsewhere."""
    rate = 44100
    name, dry = draw_sound(rng, rate)
    for take, drive in (("one", 6.0), ("two", 6.0 * rng.uniform(1.6, 2.5))):
        wet = 0.4 * low_passed(np.tanh(drive * dry), 4000, rate)
        write(folder, Pair(dry, wet, rate), prefix=f"{take}_", setting="drive=3")
    return name


def silent_target(rng: Rng, folder: Path) -> str:
    pair = draw_pair(rng)
    pair.wet = 0 * pair.wet
    write(folder, pair)
    return pair.sound


def effect_off(rng: Rng, folder: Path) -> str:
    pair = draw_pair(rng)
    pair.wet = pair.dry
    write(folder, pair)
    return pair.sound


def dead_channel(rng: Rng, folder: Path) -> str:
    pair = draw_pair(rng)
    pair.dry = np.stack([pair.dry, np.roll(pair.dry, 97)])
    pair.wet = np.stack([pair.wet, 0 * pair.wet])
    write(folder, pair)
    return f"{pair.device}, {pair.sound}"


def torn_file(rng: Rng, folder: Path) -> str:
    pair = draw_pair(rng)
    write(folder, pair)
    path = folder / "target.wav"
    data = path.read_bytes()
    path.write_bytes(data[: round(rng.uniform(0.4, 0.9) * len(data))])
    return f"{pair.device}, {pair.sound}"


def no_numbers(rng: Rng, folder: Path) -> str:
    pair = draw_pair(rng)
    write(folder, pair)
    wet = pair.wet.astype(np.float32)
    wet[loud_place(pair.dry, rng, pair.rate)] = np.nan
    soundfile.write(folder / "target.wav", wet, pair.rate, subtype="FLOAT")
    return f"{pair.device}, {pair.sound}"


#: Faults and the causes by which they may be called.
FAULTS: dict[str, tuple[Callable[[Rng, Path], str], tuple[str, ...]]] = {
    "late": (late, ("delay",)),
    "late room": (late_room, ("delay",)),
    "early": (early, ("delay",)),
    "turned round": (turned, ("polarity",)),
    "lost buffer": (lost_buffer, ("delay jumps",)),
    "buffer put in": (buffer_put_in, ("delay jumps",)),
    "other clock": (other_clock, ("clock drift",)),
    "wandering tape": (wandering_tape, ("drifting delay",)),
    "wrong header": (wrong_header, ("wrong sample rate",)),
    "two rates": (two_rates, ("rate mismatch",)),
    "cut short": (cut_short, ("length mismatch",)),
    "target drops out": (target_drops_out, ("drop-out",)),
    "input drops out": (input_drops_out, ("drop-out",)),
    "hum": (hum, ("hum",)),
    "hiss": (hiss, ("noise",)),
    "constant offset": (constant_offset, ("DC offset",)),
    "clipped input": (clipped_input, ("clipped",)),
    "clipped target": (clipped_target, ("clipped",)),
    "sides exchanged": (sides_exchanged, ("swapped pair",)),
    "takes exchanged": (takes_exchanged, ("exchanged takes",)),
    "other song": (other_song, ("unrelated pair",)),
    "same setting, other result": (same_setting_twice, ("contradictory knobs", "repeatability")),
    "other setting, same result": (settings_without_difference, ("contradictory knobs",)),
    "not repeatable": (not_repeatable, ("repeatability", "contradictory knobs")),
    "silent target": (silent_target, ("silent target",)),
    "effect off": (effect_off, ("target is input",)),
    "dead channel": (dead_channel, ("dead channel",)),
    "torn file": (torn_file, ("damaged",)),
    "no numbers": (no_numbers, ("NaN or infinity",)),
}

#: Causes that a note is enough for.
NOTES = {"polarity"}
