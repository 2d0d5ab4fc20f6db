"""What a report shows of a take: its loudest moment as waves, spectrograms, gains and sound."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from audiform.data.effect_recordings import Take, TakeReader
from audiform.dsp.resample import resample
from audiform.evaluation.attention_maps import attention_maps
from audiform.evaluation.effect_scores import run_over
from audiform.evaluation.exhibits import encode_sound
from audiform.evaluation.png import DIVERGING, STOPS, Stops, encode_png
from audiform.knob import Knob, settings_to_network
from audiform.metrics.bleed import MelBands
from audiform.protocols import EffectModel

#: Sound of a take in the page, and the part of it that is drawn as a wave, in seconds.
EXCERPT_SECONDS, WAVE_SECONDS = 5.0, 0.02

#: Points of a drawn wave, at most, and seconds between points of a gain.
WAVE_POINTS, GAIN_SECONDS = 700, 0.01

#: Spectrograms: transform, bands, columns; what is black below the top; differences up to.
PICTURE_N_FFT, PICTURE_BANDS, PICTURE_COLUMNS = 2048, 96, 360
PICTURE_RANGE_DB, DIFFERENCE_DB = 70.0, 20.0

#: Gains are shown where the input is above this (RMS).
GAIN_FLOOR_DB = -60.0

#: Attention: weights below the strongest of a head by this are black.
ATTENTION_RANGE_DB = 40.0

#: Highest rate that the players' format knows.
MAX_PLAYED_HZ = 48000

Curve = list[tuple[float, float]]


@dataclass(frozen=True)
class TakeExhibit:
    """Curves, pictures (PNG) and sounds (MP3) by what they are of: dry, target, model.

    ``waves`` are over ms from ``wave_start_seconds`` of the recording, ``gains`` over seconds
    from ``start_seconds``. ``attention`` are pictures, a list of heads for each attention.
    """

    start_seconds: float
    wave_start_seconds: float
    waves: dict[str, Curve]
    gains: dict[str, Curve]
    pictures: dict[str, bytes]
    sounds: dict[str, bytes]
    attention: dict[str, list[bytes]]


def exhibit_take(network: EffectModel, take: Take, knobs: tuple[Knob, ...]) -> TakeExhibit:
    """Show the loudest seconds of ``take``, as they are and as ``network`` has them."""
    rate, reader = network.spec.sample_rate, TakeReader()
    start, stop = _loudest_span(reader, take, round(EXCERPT_SECONDS * rate))
    signals = {
        "dry": reader.dry(take, start, stop),
        "target": reader.wet(take, start, stop),
        "model": run_over(network, reader, take, (start, stop), knobs),
    }
    wave = _loudest(signals["target"][0], round(WAVE_SECONDS * rate))
    return TakeExhibit(
        start_seconds=start / rate,
        wave_start_seconds=(start + wave) / rate,
        waves={name: _wave(audio[0], wave, rate) for name, audio in signals.items()},
        gains={
            name: _gain(signals["dry"][0], signals[name][0], rate) for name in ("target", "model")
        },
        pictures=_pictures(signals["target"], signals["model"], rate),
        sounds={name: _sound(audio, rate) for name, audio in signals.items()},
        attention=_attention(network, reader, take, start + wave, knobs),
    )


def _loudest_span(reader: TakeReader, take: Take, length: int) -> tuple[int, int]:
    """Return the loudest stretch of so many samples, or the loudest shorter span."""
    best, most = take.spans[0], -1.0
    for start, stop in take.spans:
        wet = reader.wet(take, start, stop)[0]
        begin = start + _loudest(wet, length)
        end = min(stop, begin + length)
        energy = float(wet[begin - start : end - start].double().square().sum())
        if energy > most:
            best, most = (begin, end), energy
    return best


def _loudest(audio: Float[Tensor, " time"], length: int) -> int:
    """Return where the stretch of ``length`` samples with the most energy begins."""
    if len(audio) <= length:
        return 0
    total = torch.nn.functional.pad(audio.double().square().cumsum(0), (1, 0))
    starts = torch.arange(0, len(audio) - length + 1, max(1, length // 8))
    return int(starts[(total[starts + length] - total[starts]).argmax()])


def _wave(audio: Float[Tensor, " time"], start: int, rate: int) -> Curve:
    piece = audio[start : start + round(WAVE_SECONDS * rate)]
    step = max(1, len(piece) // WAVE_POINTS)
    return [(1000.0 * n / rate, float(piece[n])) for n in range(0, len(piece), step)]


def _gain(dry: Float[Tensor, " time"], wet: Float[Tensor, " time"], rate: int) -> Curve:
    """Return the gain in dB over seconds, where the input sounds."""
    size = max(1, round(GAIN_SECONDS * rate))
    count = len(dry) // size * size
    powers = [audio[:count].double().reshape(-1, size).square().mean(dim=1) for audio in (dry, wet)]
    heard = 10.0 * torch.log10(powers[0].clamp(min=1e-20)) > GAIN_FLOOR_DB
    gain = 10.0 * torch.log10(powers[1].clamp(min=1e-12) / powers[0].clamp(min=1e-20))
    return [
        ((n + 0.5) * size / rate, float(value))
        for n, (value, is_heard) in enumerate(zip(gain, heard, strict=True))
        if is_heard
    ]


def _pictures(target: Tensor, model: Tensor, rate: int) -> dict[str, bytes]:
    """Return spectrograms on one scale, and where the model is louder and softer."""
    levels = torch.stack([_mel_levels(audio[0], rate) for audio in (target, model)])
    top = levels[0].max()
    shades = ((levels - top) / PICTURE_RANGE_DB + 1.0).clamp(0.0, 1.0)
    floor = top - PICTURE_RANGE_DB
    difference = levels[1].clamp(min=floor) - levels[0].clamp(min=floor)
    turned = (difference / DIFFERENCE_DB / 2 + 0.5).clamp(0.0, 1.0)
    return {
        "target": _png(shades[0]),
        "model": _png(shades[1]),
        "difference": _png(turned, DIVERGING),
    }


def _mel_levels(audio: Float[Tensor, " time"], rate: int) -> Float[Tensor, "band column"]:
    padded = torch.nn.functional.pad(audio, (0, max(0, PICTURE_N_FFT - len(audio))))
    hop = max(1, (len(padded) - PICTURE_N_FFT) // PICTURE_COLUMNS)
    frames = padded.unfold(-1, PICTURE_N_FFT, hop) * torch.hann_window(PICTURE_N_FFT)
    bands = MelBands.spread(sample_rate=rate, n_fft=PICTURE_N_FFT, num_bands=PICTURE_BANDS)
    power = bands(torch.fft.rfft(frames).abs().square().T)
    return 10.0 * power.clamp(min=1e-12).log10()


def _png(shades: Float[Tensor, "row column"], stops: Stops = STOPS) -> bytes:
    """Return shades from 0 to 1 as a picture, the first row at the bottom."""
    return encode_png((shades * 255).round().to(torch.uint8).flip(0).numpy(), stops=stops)


def _sound(audio: Float[Tensor, "1 time"], rate: int) -> bytes:
    if rate > MAX_PLAYED_HZ:
        audio = resample(audio, from_rate_hz=rate, to_rate_hz=MAX_PLAYED_HZ)
        rate = MAX_PLAYED_HZ
    return encode_sound(audio.clamp(-1.0, 1.0).numpy(), rate)


def _attention(
    network: EffectModel, reader: TakeReader, take: Take, at: int, knobs: tuple[Knob, ...]
) -> dict[str, list[bytes]]:
    """Return pictures of where the network looks when it answers what sounds at ``at``."""
    spec = network.spec
    dry = reader.dry(
        take, at - spec.context_samples, at + spec.block_samples + spec.latency_samples
    )
    positions = settings_to_network(knobs, take.settings)[None]
    return {
        found.name: [_map_picture(head) for head in found.weights]
        for found in attention_maps(network, dry, positions)
    }


def _map_picture(weights: Float[Tensor, "query key"]) -> bytes:
    """Return a picture of one head: the oldest key left, the newest query at the top."""
    level = 10.0 * (weights / weights.max()).clamp(min=1e-9).log10()
    shades = (level / ATTENTION_RANGE_DB + 1.0).clamp(0.0, 1.0)
    return _png(shades.flip(-1).flip(0))
