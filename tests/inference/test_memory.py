"""Memory must not grow with the length of a track."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

MEASURE = """
import resource, sys
import torch
torch.set_num_threads(1)
from audiform.inference.separator import Separator
from tests.models_for_tests import ShareModel
separator = Separator(ShareModel(segment_samples=343980))
separator.separate_to_files(sys.argv[1], sys.argv[2], format=sys.argv[3])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""
#: What the allocator's luck and the page tables of the scratch file may take.
ALLOWED_GROWTH_MB = 40


def peak_mb(folder: Path, *, minutes: float, rate: int, format: str) -> int:
    path = folder / f"{minutes:g}.wav"
    with soundfile.SoundFile(path, "w", rate, 2, "PCM_16") as file:
        second = np.random.default_rng(0).uniform(-0.5, 0.5, (rate, 2))
        for _ in range(int(60 * minutes)):
            file.write(second)
    command = [sys.executable, "-c", MEASURE, str(path), str(folder / "out"), format]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss has other units elsewhere")
@pytest.mark.parametrize(("rate", "format"), [(44100, "wav"), (48000, "flac")])
def test_six_minutes_take_what_one_takes(tmp_path, rate, format) -> None:
    short = peak_mb(tmp_path, minutes=1, rate=rate, format=format)
    long = peak_mb(tmp_path, minutes=6, rate=rate, format=format)
    assert long - short < ALLOWED_GROWTH_MB  # six minutes of stems alone are 500 MB
