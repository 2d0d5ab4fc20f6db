"""BSSEval v4 against museval: largest difference, time, peak memory; each in its own process.

Without ``--data`` the material is the song in the repository, made long, with silent seconds.
museval (pip install museval) reads whole files; ours reads them twice, block by block. Both
times are those of reading and scoring, without the start of Python; memory is the process'.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
from measure import Run, parser, report, run

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # for the tests' way to load museval without ffmpeg

EXAMPLE = ROOT / "examples" / "everything_is_free"
RATIOS = ("SDR", "ISR", "SIR", "SAR")
BLOCK_SECONDS = 3
PROGRAMS = ("audiform", "museval", "reversed")
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def main() -> None:
    """Score each song with both programs and compare every figure of every window."""
    arguments = parser(__doc__ or "")
    arguments.add_argument("--data", type=Path, help="folder of SONG/STEM files")
    arguments.add_argument(
        "--only", nargs="*", default=[], metavar="SONG[:SECOND]", help="and where to start"
    )
    arguments.add_argument("--seconds", type=int, default=60)
    arguments.add_argument("--float", action="store_true", help="references as they were decoded")
    arguments.add_argument("--self-check", action="store_true", help="museval, sources reversed")
    arguments.add_argument("--threads", type=int, help="of both programs; default: their own")
    arguments.add_argument("--score", choices=("material", *PROGRAMS), help="(inner)")
    arguments.add_argument("--folder", type=Path, help="(inner)")
    options = arguments.parse_args()
    if options.score == "material":
        _write(options.folder, options)
    elif options.score:
        _score(options.score, options.folder)
    if options.score:
        return
    if options.threads:
        os.environ |= dict.fromkeys(THREADS, str(options.threads))
    rows: dict[str, str | float] = {}
    for name in options.only or (_songs(options.data) if options.data else ["example"]):
        options.only = [name]
        rows |= {f"{name.partition(':')[0]}: {key}": value for key, value in _compare(options)}
    report(f"BSSEval, {options.seconds} s", rows, options.json)


def _compare(options):
    """Let each program score one song; this process stays small, as peaks are inherited."""
    inner = [sys.executable, __file__, "--only", *options.only, "--seconds", str(options.seconds)]
    inner += ["--data", str(options.data)] if options.data else []
    inner += ["--float"] if options.float else []
    runs: dict[str, Run] = {}
    found: dict[str, np.ndarray] = {}
    times: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run(*inner, "--score", "material", "--folder", name)
        for program in PROGRAMS if options.self_check else PROGRAMS[:2]:
            runs[program] = run(*inner, "--score", program, "--folder", name)
            found[program] = np.load(folder / f"{program}.npy")
            times[program] = np.load(folder / f"{program}.times.npy").tolist()
    ours, theirs = found["audiform"], found["museval"]
    yield "sources x windows", f"{ours.shape[1]} x {ours.shape[2]}"
    yield "windows without figures", float(np.isnan(theirs[0]).all(0).sum())
    yield "NaN in the same places", str(bool((np.isnan(ours) == np.isnan(theirs)).all()))
    for index, ratio in enumerate(RATIOS):
        yield f"largest difference of {ratio}, dB", float(np.nanmax(abs(ours - theirs)[index]))
    if options.self_check:
        again = found["reversed"][:, ::-1]
        for index, ratio in enumerate(RATIOS):
            apart = float(np.nanmax(abs(again - theirs)[index]))
            yield f"museval against itself, sources reversed: {ratio}, dB", apart
    for program in ("museval", "audiform"):
        yield f"{program}: seconds", times[program][0]
        yield f"{program}: processor seconds", times[program][1]
        yield f"{program}: peak memory, MB", runs[program].peak_mb
    for index, kind in enumerate(("time", "processor time")):
        yield f"{kind}, museval / audiform", times["museval"][index] / times["audiform"][index]
    yield "memory, audiform / museval", runs["audiform"].peak_mb / runs["museval"].peak_mb


def _songs(data: Path) -> list[str]:
    return sorted(path.name for path in data.iterdir() if path.is_dir())


def _references(options) -> np.ndarray:
    """Return a song's stems, (sources, time, channels)."""
    if options.data is None:
        stems = sorted(path for path in EXAMPLE.glob("*.flac") if path.stem != "mixture")
        audio = np.stack([soundfile.read(path)[0] for path in stems])
        repeats = -(-options.seconds * 44100 // audio.shape[1])
        gains = np.random.RandomState(0).uniform(0.5, 1.0, (len(audio), repeats, 1, 1))
        long = np.concatenate([audio * gains[:, r] for r in range(repeats)], axis=1)
        long = long[:, : options.seconds * 44100]
        for source in range(len(long)):  # each rests for two seconds
            long[source, (5 + 9 * source) * 44100 : (7 + 9 * source) * 44100] = 0
        return long
    name, _, start = options.only[0].partition(":")
    piece = {"start": int(start or 0) * 44100, "frames": options.seconds * 44100}
    paths = sorted(path for path in (options.data / name).iterdir() if path.stem != "mixture")
    return np.stack([soundfile.read(path, **piece)[0] for path in paths])


def _write(folder: Path, options) -> None:
    """Write references as 16-bit files (those of MUSDB18-HQ are) and what the model makes."""
    import torch

    from audiform import Audio, Separator

    references = _references(options)
    if not options.float:
        references = np.round(references * 2**15).clip(-(2**15), 2**15 - 1) / 2**15
    separator = Separator("default")
    mixture = torch.from_numpy(references.sum(0).T).float()
    stems = separator.separate(Audio(mixture, 44100))
    for index, name in enumerate(separator.sources[: len(references)]):
        # half the model's stem and half the true one: neither all good nor all bad
        estimate = 0.5 * stems[name].samples.numpy().T + 0.5 * references[index]
        subtype = "DOUBLE" if options.float else "PCM_16"
        soundfile.write(folder / f"reference_{index}.wav", references[index], 44100, subtype)
        soundfile.write(folder / f"estimate_{index}.wav", estimate, 44100, "FLOAT")


def _score(program: str, folder: Path) -> None:
    """Score the files in ``folder``; runs in a process of its own."""
    paths = [
        [folder / f"{kind}_{index}.wav" for index in range(len(list(folder.glob("reference_*"))))]
        for kind in ("reference", "estimate")
    ]
    if program == "audiform":
        from audiform.metrics import bss_eval as _  # noqa: F401  the import is not timed

        started = time.perf_counter(), time.process_time()
        figures = _ours(*paths)
    else:
        from tests.metrics.bss_material import museval_metrics

        score = museval_metrics().bss_eval
        order = slice(None, None, -1 if program == "reversed" else 1)
        started = time.perf_counter(), time.process_time()
        audio = [np.stack([soundfile.read(path)[0] for path in kind[order]]) for kind in paths]
        figures = np.stack(score(*audio, window=44100, hop=44100)[:4])
    spent = time.perf_counter() - started[0], time.process_time() - started[1]
    np.save(folder / f"{program}.times.npy", spent)
    np.save(folder / f"{program}.npy", figures)


def _ours(references: list[Path], estimates: list[Path]) -> np.ndarray:
    import torch

    from audiform.metrics.bss_eval import BssEval, BssScores

    def blocks():
        files = [[soundfile.blocks(path, BLOCK_SECONDS * 44100, dtype="float32") for path in kind]
                 for kind in (references, estimates)]  # fmt: skip
        for parts in zip(*files[0], *files[1], strict=True):
            both = torch.from_numpy(np.stack(parts)).transpose(1, 2)
            yield both[: len(references)], both[len(references) :]

    scorer = BssEval(
        num_sources=len(references),
        audio_channels=soundfile.info(references[0]).channels,
        estimate_sources=[len(references)],
        window_samples=44100,
    )
    for reference, estimate in blocks():
        scorer.correlate(reference, [estimate])
    scorer.solve()
    windows = []
    for pair in blocks():
        count = pair[0].shape[-1] // 44100
        reference, estimate = (p[..., : count * 44100].unflatten(-1, (count, -1)) for p in pair)
        windows += scorer.score(reference, [estimate])
    found = BssScores.joined(windows)
    return torch.stack([found.sdr, found.isr, found.sir, found.sar]).numpy()


if __name__ == "__main__":
    main()
