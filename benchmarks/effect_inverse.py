"""Effects that undo something, on sounds, noises and rooms that they were not trained on.

    python benchmarks/effect_inverse.py SOUNDS --denoise denoise.safetensors
    python benchmarks/effect_inverse.py SOUNDS --dereverb dereverb.safetensors
    python benchmarks/effect_inverse.py HITS --align align.safetensors

SOUNDS is any folder of clean recordings, HITS one of short ones. Noise is at 0 dB. Beside the
denoiser stand spectral subtraction (S. F. Boll, 1979, with the over-subtraction of M. Berouti,
1979) and a Wiener filter with decision-directed estimates (Y. Ephraim and D. Malah, 1984), both
told the noise's true mean spectrum; beside the remover of rooms weighted linear prediction (T.
Nakatani et al., 2010); beside filled gaps silence.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import measure
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from audiform.audio import Audio
from audiform.data.effect_inputs import pink_noise
from audiform.data.folder_sounds import FolderSounds
from audiform.data.hits import FolderNotes
from audiform.data.inverse_tasks import FADE_SECONDS, Dereverberate, TimeAlign, perform
from audiform.data.music import read_music
from audiform.data.noises import coloured_noise, white_noise
from audiform.dsp.linear_prediction import LinearPrediction, late_reverberation
from audiform.dsp.stft import StftSpec, istft, stft
from audiform.inference.effect import Effect
from audiform.metrics.effects_inverse import damage_left, onset_errors_ms
from audiform.metrics.separation import si_sdr
from audiform.recipes.inverse import recordings

RATE = 44100
SECONDS = 6.0
STRENGTHS = (0.25, 0.5, 0.75, 1.0)
SPEC = StftSpec(n_fft=2048, hop_length=512)

#: Linear prediction as the only means against a room: the best of several delays and lengths.
ALONE = LinearPrediction(SPEC, delay=2, taps=16, num_bins=None)

#: Notes of an alignment: so many in so many seconds.
NUM_NOTES, ALIGNED_SECONDS = 8, 4.0

#: An onset counts as put right where it is so near.
RIGHT_MS = 5.0

Noise = Callable[[np.random.Generator, int], np.ndarray]


def telephone(rng: np.random.Generator, samples: int) -> np.ndarray:
    """Return noise from 300 to 3400 Hz and nothing else."""
    spectrum = np.fft.rfft(rng.standard_normal(samples))
    hz = np.fft.rfftfreq(samples, 1 / RATE)
    return np.fft.irfft(spectrum * ((hz > 300) & (hz < 3400)), samples)


def pulsing(rng: np.random.Generator, samples: int) -> np.ndarray:
    """Return white noise that goes up and down by 20 dB four times a second."""
    level_db = 10.0 * np.sign(np.sin(2 * np.pi * 4.0 * np.arange(samples) / RATE))
    return rng.standard_normal(samples) * 10.0 ** (level_db / 20.0)


def crackle(rng: np.random.Generator, samples: int) -> np.ndarray:
    """Return thirty clicks a second of a millisecond, as of a record."""
    clicks = rng.standard_normal(samples) * (rng.random(samples) < 30.0 / RATE)
    shape = np.exp(-np.arange(200) / 15.0) * np.cos(np.arange(200) / 3.0)
    return np.convolve(clicks, shape)[:samples]


#: The first three are of the kinds that are trained on, the others are not.
NOISES: dict[str, Noise] = {
    "white": white_noise,
    "pink": pink_noise,
    "coloured": lambda rng, samples: coloured_noise(rng, samples, RATE),
    "telephone": telephone,
    "pulsing": pulsing,
    "crackle": crackle,
}


def spectral_subtraction(noisy: Tensor, noise: Tensor) -> Tensor:
    """Return ``noisy`` less twice the mean power of ``noise``, at least 1 % of it."""
    spectrum, floor = stft(noisy, SPEC), stft(noise, SPEC).abs().square().mean(-1, keepdim=True)
    share = 1.0 - 2.0 * floor / spectrum.abs().square().clamp(min=1e-12)
    return istft(share.clamp(min=0.01).sqrt() * spectrum, SPEC, num_samples=noisy.shape[-1])


def wiener(noisy: Tensor, noise: Tensor) -> Tensor:
    """Return ``noisy`` through a Wiener filter, told the mean power of ``noise``."""
    spectrum, floor = stft(noisy, SPEC), stft(noise, SPEC).abs().square().mean(-1)
    above = spectrum.abs().square() / floor[..., None].clamp(min=1e-12)
    gains, before = [], torch.zeros_like(floor)
    for now in above.unbind(-1):
        prior = 0.98 * before + 0.02 * (now - 1.0).clamp(min=0.0)
        gains.append(prior / (1.0 + prior))
        before = gains[-1].square() * now
    return istft(torch.stack(gains, dim=-1) * spectrum, SPEC, num_samples=noisy.shape[-1])


def gain_db(estimate: Tensor, given: Tensor, clean: Tensor) -> float:
    """Return by how much the SI-SDR rose."""
    after, before = (si_sdr(estimate=sound, reference=clean) for sound in (estimate, given))
    return (after - before).item()


def denoise(effect: Effect, sounds: FolderSounds, *, pieces: int) -> dict[str, str | float]:
    """Return the mean gain in SI-SDR for each noise, method and strength."""
    rows: dict[str, str | float] = {}
    rng = np.random.default_rng(1)
    samples = round(SECONDS * RATE)
    clips = [sounds(rng, samples=samples, sample_rate=RATE) for _ in range(pieces)]
    silent = effect.apply(Audio(clips[0], RATE), strength=0.0).samples
    rows["strength 0 changes"] = float((silent - clips[0]).abs().max())
    for name, make in NOISES.items():
        gains: dict[str, list[list[float]]] = {}
        for clean in clips:
            noise = torch.from_numpy(make(rng, samples).astype(np.float32))[None]
            noise = noise * (clean.norm() / noise.norm())
            noisy = clean + noise
            audio = Audio(noisy, RATE)
            results = {
                "ours": [effect.apply(audio, strength=s).samples for s in STRENGTHS],
                **{
                    method: [noisy - s * (noisy - full) for s in STRENGTHS]
                    for method, full in (
                        ("subtraction", spectral_subtraction(noisy, noise)),
                        ("Wiener", wiener(noisy, noise)),
                    )
                },
            }
            for method, estimates in results.items():
                found = [gain_db(estimate, noisy, clean) for estimate in estimates]
                gains.setdefault(method, []).append(found)
        for method, found in gains.items():
            means = np.mean(found, axis=0)
            worst = np.min(np.array(found)[:, -1])
            rows[f"{name}, {method}"] = (
                " ".join(f"{mean:.2f}" for mean in means) + f" dB (worst piece {worst:.2f})"
            )
    return rows


def dereverberate(effect: Effect, sounds: FolderSounds, *, pieces: int) -> dict[str, str | float]:
    """Return the mean gains in SI-SDR and in direct to reverberant energy, by strength."""
    task = Dereverberate(sounds, strength=1.0)
    rng = np.random.default_rng(2)
    ours, rival, direct, given = [], [], [], []
    for _ in range(pieces):
        wet, dry, _ = task(rng, samples=round(SECONDS * RATE), sample_rate=RATE)
        estimates = [effect.apply(Audio(wet, RATE), strength=s).samples for s in STRENGTHS]
        given.append(si_sdr(estimate=wet, reference=dry).item())
        ours.append([gain_db(estimate, wet, dry) for estimate in estimates])
        left = [damage_left(estimate=e, clean=dry, damage=wet - dry) for e in estimates]
        direct.append([-20.0 * np.log10(max(abs(share), 1e-3)) for share in left])
        rival.append(gain_db(wet - late_reverberation(wet, ALONE), wet, dry))

    def means(found: list[list[float]]) -> str:
        return " ".join(f"{mean:.2f}" for mean in np.mean(found, axis=0))

    return {
        "SI-SDR given": float(np.mean(given)),
        "SI-SDR gain": f"{means(ours)} dB (worst piece {np.min(np.array(ours)[:, -1]):.2f})",
        "direct to reverberant": f"{means(direct)} dB",
        "SI-SDR gain, linear prediction": f"{np.mean(rival):.2f} dB",
    }


def align(effect: Effect, notes: FolderNotes, *, pieces: int) -> dict[str, str | float]:
    """Return how far from their lines hits are, and how near gaps are to the true sound."""
    samples = round(ALIGNED_SECONDS * RATE)
    task = TimeAlign(num_notes=NUM_NOTES, max_shift_seconds=0.17, note=notes)
    rng = np.random.default_rng(3)
    part = ALIGNED_SECONDS / NUM_NOTES
    knobs = {"tempo_bpm": 60.0 / part, "offset_ms": 500.0 * part, "lines_per_beat": 1.0}
    fade = max(1, round(FADE_SECONDS * RATE))
    errors: dict[str, list[float]] = {"as played": [], "strength 1": [], "strength 0.5": []}
    gaps: list[float] = []
    for _ in range(pieces):
        drawn = task.draw(rng, samples=samples, sample_rate=RATE)
        played, on_grid, half = (
            perform(drawn.notes, onsets, samples=samples, fade_samples=fade)
            for onsets in (drawn.played, drawn.grid, drawn.onsets(0.5))
        )
        full = effect.apply(Audio(played, RATE), **knobs).samples
        halved = effect.apply(Audio(played, RATE), strength=0.5, **knobs).samples
        for name, estimate, reference, onsets in (
            ("as played", played, on_grid, drawn.grid),
            ("strength 1", full, on_grid, drawn.grid),
            ("strength 0.5", halved, half, drawn.onsets(0.5)),
        ):
            errors[name] += onset_errors_ms(
                estimate=estimate, reference=reference, onsets=onsets[1:], sample_rate=RATE
            )
        gaps += _gaps(full, on_grid, drawn.played[1:], drawn.grid[1:])
    rows: dict[str, str | float] = {
        name: f"{_within(found):.1f} % within {RIGHT_MS:g} ms, "
        f"median {np.median(np.abs(found)):.2f}, mean {np.mean(np.abs(found)):.1f} ms "
        f"of {len(found)}"
        for name, found in errors.items()
    }
    ours = np.array(gaps)
    rows["spectral distance in gaps, silence 1"] = (
        f"median {np.median(ours):.3f}, mean {np.mean(ours):.3f}, "
        f"below silence in {100 * np.mean(ours < 1):.0f} % of {len(gaps)}"
    )
    return {**rows, **_whole_track(effect, notes)}


def _within(errors: list[float]) -> float:
    return 100.0 * float(np.mean(np.abs(errors) <= RIGHT_MS))


def _gaps(
    estimate: Float[Tensor, "1 time"],
    reference: Float[Tensor, "1 time"],
    played: tuple[int, ...],
    grid: tuple[int, ...],
) -> list[float]:
    """Return how far the spectra of what fills gaps are from the true sound.

    The norm of the difference of magnitudes over that of the true ones, 1 for silence; gaps are
    where hits were early by 40 ms or more and something sounds on.
    """
    found = []
    for at, line in zip(played, grid, strict=True):
        # the first and last 5 ms belong to the notes before and after
        gap = slice(at + 220, line - 220)
        true = reference[:, gap]
        if line - at < 0.04 * RATE or true.square().mean() < 1e-6:
            continue
        spec = StftSpec(n_fft=512, hop_length=128)
        filled, wanted = (stft(sound, spec).abs() for sound in (estimate[:, gap], true))
        found.append(float((filled - wanted).norm() / wanted.norm()))
    return found


def _whole_track(effect: Effect, notes: FolderNotes) -> dict[str, str | float]:
    """Put 40 seconds in stereo on a grid given by tempo, and by a click track that drifts."""
    seconds, count = 40.0, 80
    rng = np.random.default_rng(4)
    length = round(seconds * RATE)
    steady = 0.25 + 0.5 * np.arange(count)
    drifting = 0.25 + 0.5 * np.arange(count) * (1.0 - 0.0005 * np.arange(count))
    knobs = {"tempo_bpm": 120.0, "offset_ms": 250.0, "lines_per_beat": 1.0}
    rows: dict[str, str | float] = {}
    for name, lines in (("tempo and offset", steady), ("click track", drifting)):
        grid = tuple(np.round(lines * RATE).astype(int).tolist())
        shifts = np.round(rng.uniform(-0.1, 0.1, count) * RATE).astype(int)
        played = tuple(line + int(shift) for line, shift in zip(grid, shifts, strict=True))
        drawn = tuple(notes(rng, 2 * RATE, RATE) for _ in range(count))
        left, right = rng.uniform(0.3, 1.0, size=(2, count))
        off, on = (
            torch.cat(
                [
                    perform(
                        tuple(g * note for g, note in zip(pan, drawn, strict=True)),
                        onsets,
                        samples=length,
                        fade_samples=88,
                    )
                    for pan in (left, right)
                ]
            )
            for onsets in (played, grid)
        )
        given = {"beats": lines.tolist()} if name == "click track" else {}
        moved = effect.apply(Audio(off, RATE), **knobs, **given).samples
        errors = onset_errors_ms(
            estimate=moved, reference=on, onsets=grid, sample_rate=RATE, reach_seconds=0.12
        )
        rows[f"whole track, {name}"] = (
            f"{_within(errors):.1f} % within {RIGHT_MS:g} ms, median "
            f"{np.median(np.abs(errors)):.2f} ms"
        )
    return rows


def main() -> None:
    """Score what was given, and print."""
    parser = measure.parser(__doc__)
    parser.add_argument("sounds", type=Path)
    parser.add_argument("--pieces", type=int, default=12)
    for name in ("denoise", "dereverb", "align"):
        parser.add_argument(f"--{name}", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with TemporaryDirectory() as cache:
        found = recordings(read_music(arguments.sounds), sample_rate=RATE, cache_folder=Path(cache))
        sounds = FolderSounds(found)
        short = tuple(audio for audio in found if audio.num_samples <= 4.0 * RATE)
        for name, score in (("denoise", denoise), ("dereverb", dereverberate)):
            if path := getattr(arguments, name):
                rows = score(Effect(path), sounds, pieces=arguments.pieces)
                measure.report(f"{name}: at strengths {STRENGTHS}", rows, arguments.json)
        if arguments.align:
            rows = align(Effect(arguments.align), FolderNotes(short), pieces=arguments.pieces)
            measure.report("align", rows, arguments.json)


if __name__ == "__main__":
    main()
