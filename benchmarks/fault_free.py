"""Good recordings of effects: (rng, folder) writes one, returns what it was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from fault_devices import DEVICES, PLAIN, low_passed
from fault_pairs import Pair, draw_pair, draw_sound, write
from fault_sounds import Rng


def good_device(name: str) -> Callable[[Rng, Path], str]:
    def make(rng: Rng, folder: Path) -> str:
        pair = draw_pair(rng, (name,))
        pair.dry = np.clip(pair.dry, -0.98, 0.98)
        write(folder, pair)
        return f"{pair.sound}, {pair.rate} Hz"

    return make


def stereo(rng: Rng, folder: Path) -> str:
    one, two = draw_pair(rng), draw_pair(rng)
    device, rate = one.device, one.rate
    dry = np.stack([one.dry, 0.6 * one.dry + 0.4 * draw_sound(rng, rate)[1][: len(one.dry)]])
    dry *= 0.7 / np.abs(dry).max()
    wet = np.stack([DEVICES[device](channel, rate, np.random.default_rng(1)) for channel in dry])
    write(folder, Pair(dry, 0.8 * wet / np.abs(wet).max(), rate))
    return f"{device}, {one.sound} and {two.sound}"


def from_mono_to_stereo(rng: Rng, folder: Path) -> str:
    pair = draw_pair(rng, ("tape echo",))
    other = DEVICES["tape echo"](pair.dry, pair.rate, rng)
    pair.wet = np.stack([pair.wet, 0.8 * other / np.abs(other).max()])
    write(folder, pair)
    return pair.sound


def quiet(rng: Rng, folder: Path) -> str:
    pair = draw_pair(rng)
    pair.dry, pair.wet = 0.02 * pair.dry, 0.02 * pair.wet
    write(folder, pair)
    return f"{pair.device}, {pair.sound}"


def several_settings(rng: Rng, folder: Path) -> str:
    rate = 48000
    name, dry = draw_sound(rng, rate)
    for setting in (1, 4, 7, 10):
        wet = 0.5 * low_passed(np.tanh((1 + setting) * dry), 300 * setting, rate)
        write(folder, Pair(dry, wet, rate), setting=f"tone={setting}")
    return name


def several_takes(rng: Rng, folder: Path) -> str:
    device = str(rng.choice(PLAIN))
    for index in range(3):
        pair = draw_pair(rng, (device,))
        write(folder, pair, prefix=f"take{index}_", setting="gain=3")
    return device


def repeated_take(rng: Rng, folder: Path) -> str:
    """The same setting twice, as well as a device repeats itself."""
    pair = draw_pair(rng, ("overdrive", "biased amplifier", "optical compressor"))
    for take in ("one", "two"):
        noisy = pair.wet + 2e-4 * rng.normal(size=len(pair.wet))
        write(folder, Pair(pair.dry, noisy, pair.rate), prefix=f"{take}_", setting="gain=5")
    return f"{pair.device}, {pair.sound}"


GOOD: dict[str, Callable[[Rng, Path], str]] = {
    **{name: good_device(name) for name in DEVICES},
    "stereo": stereo,
    "mono to stereo": from_mono_to_stereo,
    "quiet": quiet,
    "several settings": several_settings,
    "several takes": several_takes,
    "repeated take": repeated_take,
}
