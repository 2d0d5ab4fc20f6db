"""The log and TensorBoard's events, read back."""

from __future__ import annotations

import io
import json
import time
import wave

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from audiform.audio import Audio
from audiform.training.journal import Journal, spectrogram_image
from audiform.training.loop import Task, train
from audiform.training.separation import SeparationObjective
from audiform.training.validation import SegmentValidator
from tests.models_for_tests import SOURCES, TINY_HTDEMUCS, tiny_htdemucs
from tests.training.tasks import NoiseExamples
from tests.training.test_loop import CONFIG


def events(folder):
    found = EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0})
    return found.Reload()


def test_lines_after_the_state_are_dropped(tmp_path):
    (tmp_path / "log.jsonl").write_text('{"step": 1}\n{"step": 2}\n{"step": 3}\n{"st')
    journal = Journal(tmp_path, lines=2, step=2, tensorboard=False)
    journal.write({"step": 3, "loss": 1 / 3})
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert lines == [{"step": 1}, {"step": 2}, {"step": 3, "loss": 0.3333333}]
    assert journal.lines == 3


def test_curves_sound_and_pictures_of_a_run(tmp_path):
    held_out = NoiseExamples(length=4096, draws_per_epoch=1, seed=1)
    validator = SegmentValidator(
        SeparationObjective(), held_out, SOURCES, TINY_HTDEMUCS.sample_rate
    )
    task = Task(tiny_htdemucs(), SeparationObjective(), NoiseExamples(length=4096), validator)
    config = CONFIG.model_copy(update={"tensorboard": True, "max_steps": 4, "batch_size": 2})
    train(task, config, folder=tmp_path)
    found = events(tmp_path)
    tags = found.Tags()
    assert {"train/loss", "train/l1", "train/learning_rate", "valid/network/sdr"} <= set(
        tags["scalars"]
    )
    assert [point.step for point in found.Scalars("train/loss")] == [2, 4]
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert found.Scalars("train/loss")[0].value == pytest.approx(lines[0]["loss"], rel=1e-5)
    assert set(tags["audio"]) == {"mixture", *SOURCES}
    assert set(tags["images"]) == {f"{name}/spectrogram" for name in ("mixture", *SOURCES)}
    with wave.open(io.BytesIO(found.Audio("mixture")[0].encoded_audio_string)) as heard:
        assert (heard.getframerate(), heard.getnframes()) == (44100, 4096)


def test_points_after_the_state_are_not_shown_twice(tmp_path):
    journal = Journal(tmp_path, lines=0, step=0, tensorboard=True)
    for step in range(1, 6):
        journal.show_numbers(step, {"loss": 1.0})
    journal.close()
    time.sleep(1.0)  # TensorBoard orders its files by the second in their names
    journal = Journal(tmp_path, lines=0, step=3, tensorboard=True)
    for step in range(4, 7):
        journal.show_numbers(step, {"loss": 2.0})
    journal.close()
    points = [(point.step, point.value) for point in events(tmp_path).Scalars("loss")]
    assert points == [(1, 1.0), (2, 1.0), (3, 1.0), (4, 2.0), (5, 2.0), (6, 2.0)]


def test_a_tone_is_a_line_at_its_height():
    seconds = torch.arange(22050) / 44100
    image = spectrogram_image(0.5 * torch.sin(2 * torch.pi * 11025 * seconds))
    bins = image.shape[1]
    assert image[0, :, 20].argmax() == pytest.approx(bins / 2, abs=1)
    assert image.max() == 1.0
    assert image[0, : bins // 4].max() < 0.5
    assert image.min() >= 0.0


def test_loud_audio_is_scaled_and_not_cut(tmp_path):
    journal = Journal(tmp_path, lines=0, step=0, tensorboard=True)
    journal.show_audio(1, "loud", Audio(torch.tensor([[0.0, 4.0, 2.0, -4.0] * 400]), 8000))
    journal.close()
    encoded = events(tmp_path).Audio("loud")[0].encoded_audio_string
    with wave.open(io.BytesIO(encoded)) as heard:
        frames = torch.frombuffer(bytearray(heard.readframes(4)), dtype=torch.int16)
    assert (frames / 32767).tolist() == pytest.approx([0.0, 1.0, 0.5, -1.0], abs=1e-3)
