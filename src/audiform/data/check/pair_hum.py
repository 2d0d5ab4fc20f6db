"""Hum: tones of mains in an effect's output that its input does not account for.

Hum goes on at one amplitude and one phase whatever is played. So each harmonic of mains is looked
at over time, as a complex amplitude in short frames: what the input's own amplitudes there, now
and some frames ago, explain is taken away (a filter, a room), and of the rest a constant is hum.
Frames count by how quiet it is beside the harmonic, so that moments between notes say most.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: Frequencies of mains in Hz, how far they may be off, harmonics looked at.
MAINS_HZ, MAINS_OFF_HZ, MAINS_HARMONICS = (50.0, 60.0), 0.2, 8

#: So many harmonics have to stand out: by this factor from what a constant explains by chance,
#: and (power) by that from what the input's own constant would give.
MAINS_COUNT, CLEAR_TONE, OVER_INPUT = 3, 40.0, 4.0

#: Length of a frame and distance of two, in seconds: a harmonic apart from its neighbours.
HUM_FRAME_SECONDS, HUM_HOP_SECONDS = 0.2, 0.1

#: So many frames back the input is heard in the output, and at least so many for each unknown.
HEARD_FRAMES, FRAMES_PER_UNKNOWN = 8, 4

#: How loud it is beside a harmonic is told so many Hz away; silence counts as this share of what
#: is usual there.
BESIDE_HZ, BESIDE_FLOOR = 17.0, 1e-3

#: No more of a recording is looked at, in seconds.
HUM_SECONDS = 60.0


@dataclass(frozen=True)
class _Tone:
    """A constant at one harmonic: power, how clear it is, and what the input's would give."""

    power: float
    clear: float
    of_input: float

    @property
    def is_own(self) -> bool:
        """Whether it is there and does not come from the input."""
        return self.clear > CLEAR_TONE and self.power > OVER_INPUT * self.of_input


def find_hum(dry: np.ndarray, wet: np.ndarray, rate: int) -> tuple[float, float] | None:
    """Return the frequency of mains and the power of its tones in ``wet`` (time), aligned.

    None where there are none that go on by themselves.
    """
    count = min(len(dry), len(wet), round(HUM_SECONDS * rate))
    found = []
    for mains in MAINS_HZ:
        harmonics = mains * np.arange(1, MAINS_HARMONICS + 1)
        x, y, beside = _amplitudes(dry[:count], wet[:count], rate, harmonics)
        if len(y) < FRAMES_PER_UNKNOWN * (HEARD_FRAMES + 2):
            return None
        tones = _tones(x, y, beside)
        own = [tone.power for tone in tones if tone.is_own]
        # What distorts makes harmonics of a tone that is played all the time.
        if len(own) >= MAINS_COUNT and max(tone.of_input for tone in tones) < sum(own):
            found.append((sum(own), mains))
    power, mains = max(found, default=(0.0, 0.0))
    return (mains, power) if found else None


def _amplitudes(
    dry: np.ndarray, wet: np.ndarray, rate: int, harmonics: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return complex amplitudes (frame, harmonic) of both, and the output's power beside them."""
    size, hop = round(HUM_FRAME_SECONDS * rate), round(HUM_HOP_SECONDS * rate)
    window = np.hanning(size) * 2.0 / size
    wanted = np.concatenate([harmonics, harmonics - BESIDE_HZ, harmonics + BESIDE_HZ])
    time = np.arange(size) / rate
    waves = window[:, None] * np.exp(-2j * np.pi * time[:, None] * wanted)
    starts = np.arange(0, max(0, min(len(dry), len(wet)) - size + 1), hop)
    turned = np.exp(-2j * np.pi * (starts / rate)[:, None] * harmonics)
    found = [
        np.array([signal[start : start + size] @ waves for start in starts]).reshape(
            len(starts), len(wanted)
        )
        for signal in (dry.astype(np.float64), wet.astype(np.float64))
    ]
    count = len(harmonics)
    beside = np.square(np.abs(found[1][:, count:])).reshape(len(starts), 2, count).mean(axis=1)
    return found[0][:, :count] * turned, found[1][:, :count] * turned, beside


def _tones(x: np.ndarray, y: np.ndarray, beside: np.ndarray) -> list[_Tone]:
    """Return the constants in ``y`` (frame, harmonic) that the frames of ``x`` do not explain.

    At the frequency near mains at which they are clearest in all.
    """
    frames, count = y.shape
    steps = np.linspace(-MAINS_OFF_HZ, MAINS_OFF_HZ, 1 + 4 * max(4, frames // 20))
    seconds = HUM_HOP_SECONDS * np.arange(frames)
    found = []
    for place in range(count):
        waves = np.exp(2j * np.pi * np.outer(seconds, (place + 1) * steps))
        weight = 1.0 / np.sqrt(beside[:, place] + BESIDE_FLOOR * beside[:, place].mean() + 1e-30)
        found.append(_constants(weight, x[:, place], y[:, place], waves))
    clear = np.sum([np.log1p(constants[1]) for constants in found], axis=0)
    best = int(clear.argmax())
    return [_Tone(*(float(values[best]) for values in constants)) for constants in found]


def _constants(
    weight: np.ndarray, x: np.ndarray, y: np.ndarray, waves: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the fields of :class:`_Tone` for each of the ``waves`` (frame, frequency)."""
    past = np.stack([weight * _earlier(x, ago) for ago in range(HEARD_FRAMES)], axis=1)
    heard = np.linalg.svd(past, full_matrices=False)
    rank = int((heard.S / max(float(heard.S[0]), 1e-300) > 1e-9).sum())
    basis = heard.U[:, :rank]
    waves = weight[:, None] * waves
    amplitude, clear = _fitted(_without(weight * y, basis), _without(waves, basis), rank)
    of_input, is_clear = _fitted(weight * x, waves, 0)
    gain = np.square(weight * np.abs(y)).sum() / max(np.square(weight * np.abs(x)).sum(), 1e-300)
    power = np.square(np.abs(amplitude)) / 2
    return (
        power,
        clear,
        np.where(is_clear > CLEAR_TONE, gain * np.square(np.abs(of_input)) / 2, 0.0),
    )


def _fitted(values: np.ndarray, waves: np.ndarray, num_known: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the amplitude of each wave in ``values``, and what it explains against chance.

    ``num_known`` other waves have been fitted to the values already.
    """
    length = np.maximum(np.square(np.abs(waves)).sum(axis=0), 1e-30)
    amplitude = np.conj(waves.T) @ values / length
    explained = np.square(np.abs(amplitude)) * length
    left = float(np.square(np.abs(values)).sum()) - explained
    return amplitude, explained * (len(values) - num_known - 1) / np.maximum(left, 1e-300)


def _earlier(values: np.ndarray, ago: int) -> np.ndarray:
    return np.concatenate([np.zeros(ago, values.dtype), values[: len(values) - ago]])


def _without(values: np.ndarray, basis: np.ndarray) -> np.ndarray:
    rest: np.ndarray = values - basis @ (np.conj(basis.T) @ values)
    return rest
