"""A learned effect over audio: any rate, any blocks, knobs that move."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

import audiform
from audiform.audio import Audio
from audiform.checkpoints.file import write_checkpoint
from audiform.errors import AudioError, CheckpointError, ConfigError
from audiform.inference.effect_automation import Automation
from audiform.knob import Knob
from audiform.models import MODELS
from tests.models_for_tests import TINY_GAIN_TCN, TINY_SIGNALTRAIN

RATE = 44100


def save(path, architecture: str, config) -> None:
    torch.manual_seed(0)
    network = MODELS[architecture].network(config)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
    write_checkpoint(
        path,
        architecture=architecture,
        config=config,
        state=network.state_dict(),
        knobs=config.knobs,
        sample_rate=config.sample_rate,
    )


@pytest.fixture(params=["gain-tcn", "signaltrain"])
def effect(request, tmp_path):
    config = {"gain-tcn": TINY_GAIN_TCN, "signaltrain": TINY_SIGNALTRAIN}[request.param]
    save(tmp_path / "effect.safetensors", request.param, config)
    return audiform.Effect(tmp_path / "effect.safetensors")


def sound(channels: int = 2, samples: int = 3001, rate: int = RATE) -> Audio:
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(channels, samples, generator=generator)
    return Audio(0.3 * torch.nn.functional.avg_pool1d(noise, 9, 1, 4), rate)


def test_each_channel_is_what_the_network_gives(effect) -> None:
    dry, knob = sound(), effect.knobs[0]
    wet = effect.apply(dry, **{knob.name: knob.maximum})
    positions = torch.tensor([[k.to_network(k.default) for k in effect.knobs]])
    positions[0, 0] = 0.5
    with torch.inference_mode():
        expected = effect.network(dry.samples[:, None], positions.expand(2, -1))[:, 0]
    assert wet.sample_rate == RATE
    torch.testing.assert_close(wet.samples, expected, atol=1e-5, rtol=0)


def test_steps_joined_are_apply(effect) -> None:
    spec, name = effect.spec, effect.knobs[0].name
    value = effect.knobs[0].from_network(0.2)
    size = 100 // spec.block_samples * spec.block_samples or spec.block_samples
    dry = sound(samples=20 * size)
    state, parts = effect.initial_state(2), []
    for block in dry.samples.split(size, dim=-1):
        wet, state = effect.step(block, state, **{name: value})
        parts.append(wet)
    late = torch.cat(parts, dim=-1)[:, spec.latency_samples :]
    whole = effect.apply(dry, **{name: value}).samples
    torch.testing.assert_close(late, whole[:, : late.shape[1]], atol=1e-5, rtol=0)


@pytest.mark.parametrize("rate", [22050, 48000, 44101])
@pytest.mark.parametrize("samples", [1, 999, 5000])
def test_any_rate_and_length_is_kept(effect, rate, samples) -> None:
    wet = effect.apply(sound(1, samples, rate))
    assert (wet.sample_rate, wet.num_samples) == (rate, samples)
    assert torch.isfinite(wet.samples).all()


def test_at_another_rate_it_sounds_the_same(effect) -> None:
    time = torch.arange(96000) / 96000
    tone = 0.3 * torch.sin(2 * torch.pi * 300 * time)[None]
    there = effect.apply(Audio(tone, 96000)).samples[:, ::2]
    here = effect.apply(Audio(tone[:, ::2], 48000)).samples
    assert (there - here)[:, 8000:-8000].abs().max() < 1e-3 * here.abs().max()


def test_a_stream_does_not_depend_on_its_blocks(effect) -> None:
    dry, knob = sound(2, 5000, 48000), effect.knobs[0]
    ride = Automation({knob.name: ((0.0, knob.minimum), (0.05, knob.maximum))})
    whole = effect.apply(dry, automation=ride).samples.numpy()
    for size in (1, 17, 700):
        stream = effect.stream(48000, 2, automation=ride)
        blocks = np.split(dry.samples.numpy(), range(size, 5000, size), axis=1)
        parts = [stream.push(block) for block in blocks]
        found = np.concatenate([*parts, stream.finish()], axis=1)
        assert found.shape == whole.shape
        assert np.abs(found - whole).max() < 1e-5
        if size == 1:
            break  # slow; once will do


def test_automation_sets_knobs_where_it_says(effect) -> None:
    dry, knob = sound(1, 4096), effect.knobs[0]
    low, high = ({knob.name: value} for value in (knob.minimum, knob.maximum))
    held = effect.apply(dry, automation=Automation({knob.name: ((0.0, knob.maximum),)}))
    torch.testing.assert_close(held.samples, effect.apply(dry, **high).samples, atol=1e-6, rtol=0)
    jump = Automation({knob.name: ((0.04, knob.minimum), (0.0401, knob.maximum))})
    jumped = effect.apply(dry, automation=jump).samples
    early = slice(0, 1500)
    expected = effect.apply(dry, **low).samples
    torch.testing.assert_close(jumped[:, early], expected[:, early], atol=1e-6, rtol=0)
    assert (jumped - expected)[:, 3000:].abs().max() > 1e-4


def test_between_points_a_knob_moves_in_its_own_scale() -> None:
    linear = Knob(name="a", minimum=0.0, maximum=10.0, default=0.0)
    log = Knob(name="b", minimum=1.0, maximum=100.0, default=1.0, scale="log")
    ride = Automation({"a": ((0.0, 0.0), (1.0, 10.0)), "b": ((0.0, 1.0), (1.0, 100.0))})
    seconds = np.array([-1.0, 0.5, 2.0])
    assert [linear.from_network(p) for p in ride.positions(linear, seconds)] == [0.0, 5.0, 10.0]
    assert [log.from_network(p) for p in ride.positions(log, seconds)] == pytest.approx(
        [1, 10, 100]
    )


def test_automation_is_read_from_csv_and_json(tmp_path) -> None:
    table = tmp_path / "ride.csv"
    table.write_text("seconds, gain, tone\n0, 1, 5\n\n0.5, , 6\n1, 3,\n")
    expected = {"gain": ((0.0, 1.0), (1.0, 3.0)), "tone": ((0.0, 5.0), (0.5, 6.0))}
    assert Automation.read(table).points == expected
    table.with_suffix(".json").write_text(json.dumps(expected))
    assert Automation.read(table.with_suffix(".json")).points == expected


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", ""),
        ("a.csv", "time,gain\n0,1\n"),
        ("a.csv", "seconds,gain\n0,x\n"),
        ("a.csv", "seconds,gain\n0,1,2\n"),
        ("a.csv", "seconds,gain\n1,1\n0,2\n"),
        ("a.csv", "seconds,gain\n0,nan\n"),
        ("a.csv", "seconds,gain\n"),
        ("a.json", "[1]"),
        ("a.json", '{"gain": [[0]]}'),
        ("a.json", '{"gain": 5}'),
        ("a.json", "{"),
    ],
)
def test_what_is_no_automation_is_told_with_its_file(tmp_path, name, text) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError, match=name):
        Automation.read(tmp_path / name)


def test_wrong_knobs_blocks_and_files_are_told(effect, tmp_path) -> None:
    knob = effect.knobs[0]
    with pytest.raises(ConfigError, match=knob.name):
        effect.apply(sound(), no_such=1.0)
    with pytest.raises(ConfigError, match=knob.name):
        effect.apply(sound(), **{knob.name: knob.maximum + 1})
    with pytest.raises(ConfigError, match=knob.name):
        ride = Automation({knob.name: ((0.0, knob.maximum + 1),)})
        effect.apply(sound(), automation=ride)
    with pytest.raises(AudioError, match="channels"):
        effect.step(torch.zeros(2, effect.spec.block_samples), effect.initial_state())
    with pytest.raises(AudioError, match="multiple"):
        effect.step(torch.zeros(1, 0), effect.initial_state())
    with pytest.raises(CheckpointError, match="no effect"):
        audiform.Effect("default")
    info = effect.info
    assert info["weights"] > 100
    assert [k["name"] for k in info["knobs"]] == [k.name for k in effect.knobs]
