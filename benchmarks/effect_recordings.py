"""What `audiform effect train` learns of a compressor with four knobs from a minute of recordings.

python benchmarks/effect_recordings.py AUDIO... [--minutes 10] [--settings 12] [--seconds 5]
    [--json FILE]

The compressor is one that no network here can be: a feedback loop whose release has two stages,
the slower the longer it was at work, before a random linear colour and a mild saturation. Each
setting gets a stretch of the next file; the end of each stretch is held out.
"""

from __future__ import annotations

import math
import tempfile
from pathlib import Path

import measure
import numpy as np
import soundfile
import torch

from audiform.checkpoints.file import read_header
from audiform.dsp.convolve import convolve
from audiform.dsp.resample import resample
from audiform.io.read import read
from audiform.recipes.effect import effect_run, run
from audiform.recipes.settings import with_settings

RATE = 44100

#: Positions that the knobs are drawn from: dB, :1, ms, ms.
POSITIONS = ((-40, -30, -20, -10), (2, 4, 6, 10), (0.5, 5, 50, 300), (50, 300, 1000, 4000))

#: Times of the level detector and of the slow stage, in seconds; the fast release's share.
LEVEL_SECONDS, SLOW_SECONDS, FAST_SHARE = 0.002, 0.3, 0.15


def opto(
    dry: np.ndarray, *, threshold_db: float, ratio: float, attack_ms: float, release_ms: float
) -> np.ndarray:
    """Return ``dry`` (time) turned down by what came out before."""
    attack, release = attack_ms / 1000, release_ms / 1000
    times = (attack, FAST_SHARE * release, release, SLOW_SECONDS, LEVEL_SECONDS)
    up, fast_down, slow_down, slow_up, detect = (1 - math.exp(-1 / (t * RATE)) for t in times)
    wet, level, fast, slow, gain = np.zeros_like(dry), 0.0, 0.0, 0.0, 1.0
    for n, sample in enumerate(dry.tolist()):
        wet[n] = sample * gain
        level += detect * (abs(sample * gain) - level)
        over = 20 * math.log10(level * math.pi / 2 + 1e-6) - threshold_db
        wanted = 0.125 * (over + math.sqrt(over * over + 16)) * (ratio - 1)
        fast += (up if wanted > fast else fast_down) * (wanted - fast)
        slow += (slow_up if fast > slow else slow_down) * (fast - slow)
        gain = 10 ** (-(0.6 * fast + 0.4 * slow) / 20)
    return wet


def colour(seed: int) -> torch.Tensor:
    """Return a minimum-phase response with five bells of up to 2.5 dB and a high-pass at 8 Hz."""
    rng, size = np.random.default_rng(seed), 8192
    hz = np.fft.rfftfreq(size, 1 / RATE)
    level_db = -10 * np.log10(1 + (8 / (hz + 0.1)) ** 4)
    for _ in range(5):
        octaves = np.log2((hz + 1) / math.exp(rng.uniform(math.log(40), math.log(16000))))
        level_db += rng.uniform(-2.5, 2.5) * np.exp(-0.5 * (octaves / rng.uniform(0.5, 2)) ** 2)
    cepstrum = np.fft.irfft(np.maximum(level_db, -120) * math.log(10) / 20)
    cepstrum[1 : size // 2] *= 2
    cepstrum[size // 2 + 1 :] = 0
    return torch.from_numpy(np.fft.irfft(np.exp(np.fft.rfft(cepstrum))))


def stretch(path: Path, seconds: float) -> np.ndarray:
    """Return the first channel of the middle of a file, its peak at 0.7."""
    audio = read(path)
    samples = resample(audio.samples[:1], from_rate_hz=audio.sample_rate, to_rate_hz=RATE)[0]
    count = round(seconds * RATE)
    start = max(0, (len(samples) - count) // 2)
    cut = samples[start : start + count].double().numpy()
    return cut * (0.7 / max(1e-9, float(np.abs(cut).max())))


def render(folder: Path, files: list[Path], *, settings: int, seconds: float, seed: int) -> None:
    """Write the recordings in SignalTrain's layout."""
    rng, response = np.random.default_rng(seed), colour(seed)
    (folder / "Train").mkdir()
    for number in range(settings):
        threshold, ratio, attack, release = (float(rng.choice(of)) for of in POSITIONS)
        dry = stretch(files[number % len(files)], seconds)
        wet = opto(
            dry, threshold_db=threshold, ratio=ratio, attack_ms=attack, release_ms=release
        ) * 10 ** (min(12.0, -0.3 * threshold) / 20)
        wet = np.tanh(0.3 * convolve(torch.from_numpy(wet), response).numpy()) / 0.3
        name = f"{number}_Opto__{threshold:g}__{ratio:g}__{attack:g}__{release:g}.wav"
        for side, samples in ((f"input_{number}_.wav", dry), (f"target_{name}", wet)):
            soundfile.write(folder / "Train" / side, samples, RATE, "FLOAT")
    (folder / "effect_info.ini").write_text(
        "[effect]\nname = 'Opto'\n"
        "knob_names = ['threshold_db', 'ratio', 'attack_ms', 'release_ms']\n"
        f"knob_ranges = {[[min(of), max(of)] for of in POSITIONS]}\n"
    )


def main() -> None:
    """Render, train, print the scores."""
    parser = measure.parser(__doc__)
    parser.add_argument("audio", type=Path, nargs="+")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--settings", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "data").mkdir()
        render(
            folder / "data",
            arguments.audio,
            settings=arguments.settings,
            seconds=arguments.seconds,
            seed=arguments.seed,
        )
        recipe = with_settings(effect_run(), {"training.max_seconds": 60.0 * arguments.minutes})
        header = read_header(run(recipe, folder / "data", folder / "run", name="opto"))
    takes = header.scores["takes"]
    rows: dict[str, str | float] = {"steps": header.training["steps"]}
    for row, scores in header.scores["mean"].items():
        rows[f"{row}: ESR, mean of {len(takes)}"] = scores["esr"]
    below = sum(take["rows"]["model"]["esr"] < take["rows"]["FIR-256"]["esr"] for take in takes)
    rows["settings below their own FIR-256"] = below
    measure.report(f"Opto compressor, {arguments.minutes:g} min", rows, arguments.json)


if __name__ == "__main__":
    main()
