"""Scores of learned effects, their curves and the page, with an effect that is known exactly."""

from __future__ import annotations

import json
import math
import re

import numpy as np
import pytest
import soundfile
import torch
from torch import nn

from audiform.checkpoints.file import write_checkpoint
from audiform.checkpoints.header import Licence
from audiform.errors import DataError
from audiform.evaluation.attention_maps import attention_maps
from audiform.evaluation.effect_behaviour import behaviour
from audiform.evaluation.effect_curves import LEVELS_DB, burst_gains, static_curves
from audiform.evaluation.effect_evaluation import evaluate_effect, recordings_for
from audiform.evaluation.effect_report import write_report
from audiform.inference.effect import Effect
from audiform.knob import Knob
from audiform.models import MODELS
from audiform.nn.newest_attention import NewestAttention
from audiform.protocols import EffectSpec
from tests.evaluation.test_report import Strict
from tests.models_for_tests import TINY_SIGNALTRAIN_ATTENTION

RATE = 8000
DRIVE = Knob(name="drive", minimum=1.0, maximum=9.0, default=5.0)


class Clipper(nn.Module):
    """Clips at 1 / drive, with a hiss that is not the sound's where asked for."""

    def __init__(self, hiss: float = 0.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))
        self.hiss = hiss

    @property
    def spec(self) -> EffectSpec:
        return EffectSpec(
            sample_rate=RATE, audio_channels=1, knobs=(DRIVE,), context_samples=4, block_samples=1
        )

    def forward(self, dry, knobs):
        ceiling = 1.0 / DRIVE.from_network(knobs[:, :1, None])
        noise = torch.randn(dry.shape, generator=torch.Generator().manual_seed(1))
        return dry.clamp(-ceiling, ceiling) + self.hiss * noise

    def predict(self, dry, knobs):
        return self(dry, knobs)[..., 4:]

    def initial_state(self, batch_size=1):
        return (torch.zeros(batch_size, 1),)

    def step(self, block, knobs, state):
        return self(block, knobs), state


def test_static_curves_are_those_of_the_clipper():
    (family,) = static_curves(Clipper())
    assert family.knob == DRIVE
    assert family.values == (1.0, 3.0, 5.0, 7.0, 9.0)
    soft = family.curves[:, LEVELS_DB.index(-30.0)]
    assert torch.allclose(soft, torch.full_like(soft, -30.0), atol=0.01)
    loud = family.curves[:, -1].tolist()
    assert loud[0] == pytest.approx(0.0, abs=0.01)
    # of eight samples of a period two are 0, the others are at the ceiling
    assert loud[4] == pytest.approx(10 * math.log10(2 * 6 / 8 / 81), abs=0.01)
    assert loud == sorted(loud, reverse=True)


def test_bursts_show_what_is_turned_down_and_when():
    (family,) = burst_gains(Clipper())
    seconds, hardest = family.across, family.curves[-1]
    inside = (seconds > 0.12) & (seconds < 0.38)
    assert torch.allclose(
        hardest[~inside & (seconds < 0.09)], torch.tensor(0.0).double(), atol=0.01
    )
    assert (hardest[inside] < -8.0).all()
    assert torch.allclose(family.curves[0], torch.zeros_like(hardest), atol=0.01)


def test_behaviour_of_a_clipper_with_hiss():
    found = behaviour(Clipper(hiss=1e-3))
    assert found.noise_in_silence.level_db == pytest.approx(-60.0, abs=0.2)
    assert found.noise_under_tone.level_db == pytest.approx(-60.0, abs=0.4)
    assert behaviour(Clipper()).noise_in_silence.level_db == -200.0
    assert found.weights == 3
    assert set(found.aliasing_db) == {1000.0, 1779.0, 3163.0}
    assert found.realtime_blocks > 0
    assert found.realtime_whole > 0


def test_multiplications_are_counted():
    config = MODELS["effect-rnn"].config(hidden_channels=8, sample_rate=RATE)
    found = behaviour(MODELS["effect-rnn"].network(config))
    # an LSTM of 8: 4 gates of (1 + 8) inputs each, and 8 for the answer
    assert found.macs_per_sample == pytest.approx(4 * 8 * 9 + 8)


def test_weights_of_attention_are_those_that_it_uses():
    torch.manual_seed(0)
    attention = NewestAttention(8, num_heads=2, num_settings=1, fading=True)
    queries, memory, knobs = torch.randn(2, 3, 8), torch.randn(2, 5, 8), torch.randn(2, 1)
    distances = torch.arange(15.0).reshape(3, 5)
    weights = attention.weights(queries, memory, knobs, distances)
    assert torch.allclose(weights.sum(-1), torch.ones(2, 2, 3))
    value = attention.key_value(attention.key_norm(memory)).chunk(2, dim=-1)[1]
    found = (weights @ value.unflatten(-1, (2, 4)).transpose(1, 2)).transpose(1, 2).flatten(-2)
    expected = attention(queries, memory, knobs, distances)
    assert torch.allclose(queries + attention.output(found), expected, atol=1e-6)


@pytest.fixture(scope="module")
def attentive(tmp_path_factory):
    """An untrained network with attention, as a file."""
    entry = MODELS["signaltrain-attention"]
    config = TINY_SIGNALTRAIN_ATTENTION.model_copy(
        update={"knobs": (DRIVE,), "sample_rate": RATE, "num_blocks": 1}
    )
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("attentive") / "clipper <b>.safetensors"
    return write_checkpoint(
        path,
        state=entry.network(config).state_dict(),
        training={"data": {"trained_settings": [{"drive": 1.0}]}},
        architecture="signaltrain-attention",
        config=config,
        knobs=(DRIVE,),
        sample_rate=RATE,
        licence=Licence(code="MIT"),
        scores={},
    )


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("takes")
    rng = np.random.default_rng(0)
    dry = 0.3 * rng.standard_normal(2 * RATE) * (np.arange(2 * RATE) % RATE < RATE // 2)
    soundfile.write(folder / "input.wav", dry, RATE)
    for drive in (1, 9):
        soundfile.write(
            folder / f"target__drive={drive}.wav", np.clip(dry, -1 / drive, 1 / drive), RATE
        )
    return folder


def test_attention_maps_have_all_heads(attentive):
    network = Effect(attentive).network
    spec = network.spec
    count = spec.context_samples + spec.block_samples + spec.latency_samples
    maps = attention_maps(network, torch.randn(1, count), torch.zeros(1, 1))
    assert len(maps) == 2
    for found in maps:
        assert found.weights.shape[0] == 2
        assert torch.allclose(found.weights.sum(-1), torch.ones(found.weights.shape[:2]))
    assert not attention_maps(Clipper(), torch.randn(1, 5), torch.zeros(1, 1))


def test_the_page_stands_alone_and_holds_everything(attentive, recordings, tmp_path):
    effect = Effect(attentive)
    read = recordings_for(effect, recordings, cache_folder=tmp_path / "cache")
    found = evaluate_effect(effect, read)
    log = tmp_path / "log.jsonl"
    log.write_text('{"step": 1, "loss": 2.0}\n{"step": 2, "loss": 1.0}\n')
    out = tmp_path / "page" / "report.html"
    write_report(out, effect.network, found, command="audiform <x>", training_log=log)
    page = out.read_text(encoding="utf-8")
    parser = Strict()
    parser.feed(page)
    assert parser.open == []
    assert not {tag for tag, _ in parser.seen} & {"script", "link", "iframe", "b"}
    for _, attributes in parser.seen:
        for name in ("src", "href"):
            assert attributes.get(name, "data:").startswith("data:")
    for told in ("Transfer curves", "drive", "Training", "bypass", "FIR-256", "nearest setting",
                 "Where it looks", "audiform &lt;x&gt;", "log-cosh",
                 "noise in silence"):  # fmt: skip
        assert told in page, told
    takes = 2
    assert len(re.findall("data:audio/mpeg", page)) == 3 * takes
    # three spectrograms, and two heads of two attentions
    assert len(re.findall("data:image/png", page)) == (3 + 4) * takes
    assert len(page) < 2_000_000

    whole, *each = (json.loads(line) for line in found.to_lines().splitlines())
    assert set(whole["mean"]) == {"model", "bypass", "best gain", "FIR-256", "nearest setting"}
    assert {take["settings"]["drive"] for take in each} == {1.0, 9.0}
    esr = {take["settings"]["drive"]: take["rows"]["model"]["esr"] for take in each}
    assert whole["esr_at_seen_settings"] == pytest.approx(esr[1.0])
    assert whole["esr_at_unseen_settings"] == pytest.approx(esr[9.0])
    assert not whole["data"]["is_trained_on"]


def test_recordings_that_do_not_say_where_a_knob_stood(attentive, tmp_path):
    for name in ("input.wav", "target.wav"):
        soundfile.write(tmp_path / name, 0.1 * np.ones(RATE), RATE)
    with pytest.raises(DataError, match="knob drive"):
        recordings_for(Effect(attentive), tmp_path, cache_folder=tmp_path / "cache")


def test_recordings_that_move_another_knob(attentive, tmp_path):
    soundfile.write(tmp_path / "input.wav", 0.1 * np.ones(RATE), RATE)
    for tone in (1, 2):
        path = tmp_path / f"target__drive=2__tone={tone}.wav"
        soundfile.write(path, 0.1 * np.ones(RATE), RATE)
    with pytest.raises(DataError, match="move a knob tone"):
        recordings_for(Effect(attentive), tmp_path, cache_folder=tmp_path / "cache")
