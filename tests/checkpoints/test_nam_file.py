"""``.nam`` files: what is written is computed anew from the file alone, by plain NumPy."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from tests.checkpoints.effect_files import make_effect, sound

from audiform.checkpoints import build_model, convert, read_any, read_checkpoint, read_nam
from audiform.checkpoints.effect_export import export_effect
from audiform.checkpoints.model_package import read_any_header, resolve
from audiform.errors import CheckpointError, ConfigError
from audiform.knob import Knob
from audiform.models.effect_rnn import EffectRNNConfig
from audiform.models.nam_wavenet import NamWaveNetConfig, StackConfig

#: Float32 against double precision; signals reach about 1.
SAME = 1e-5

GATED = NamWaveNetConfig(
    stacks=(
        StackConfig(channels=4, head_channels=3, kernel_sizes=(3, 3), dilations=(1, 4), gated=True),
        StackConfig(
            channels=3,
            head_channels=1,
            kernel_sizes=(2,),
            dilations=(3,),
            activation="relu",
            head_bias=True,
        ),
    ),
    head_scale=0.5,
)
SECOND = NamWaveNetConfig(
    stacks=(
        StackConfig(
            channels=3,
            head_channels=1,
            kernel_sizes=(6, 15, 2),
            dilations=(1, 3, 7),
            activation="leaky-relu",
            gated=True,
            head_kernel_size=4,
            head_bias=True,
        ),
    ),
    sample_rate=44100,
)
WAVENETS = {
    "nano": NamWaveNetConfig.published("nano"),
    "gated": GATED,
    "a2-lite": NamWaveNetConfig.published("a2-lite"),
    "second": SECOND,
}

ACTIVATIONS = {
    "Tanh": np.tanh,
    "ReLU": lambda x: np.maximum(x, 0),
    "LeakyReLU": lambda x: np.where(x > 0, x, 0.01 * x),
}


class Weights:
    """The list, taken from its beginning."""

    def __init__(self, values) -> None:
        self.values = np.array(values)

    def take(self, *shape: int) -> np.ndarray:
        count = int(np.prod(shape))
        taken, self.values = self.values[:count], self.values[count:]
        return taken.reshape(shape)


def convolve(x: np.ndarray, weight: np.ndarray, *, dilation: int = 1) -> np.ndarray:
    """Convolve (channels, time) causally; one sum for each tap."""
    out, _, kernel = weight.shape
    y = np.zeros((out, x.shape[1]))
    for tap in range(kernel):
        late = min((kernel - 1 - tap) * dilation, x.shape[1])
        y[:, late:] += weight[:, :, tap] @ x[:, : x.shape[1] - late]
    return y


def run_wavenet(table: dict, dry: np.ndarray) -> np.ndarray:
    weights = Weights(table["weights"])
    hidden, head_in = dry[None], 0.0
    for stack in table["config"]["layers"]:
        channels, count = stack["channels"], len(stack["dilations"])
        first = "kernel_size" in stack
        kernels = [stack["kernel_size"]] * count if first else stack["kernel_sizes"]
        gated = stack["gated"] if first else stack["gating_mode"][0] == "gated"
        name = stack["activation"] if first else stack["activation"][0]["type"]
        mixed = channels * (1 + gated)
        hidden = weights.take(channels, len(hidden)) @ hidden
        for kernel, dilation in zip(kernels, stack["dilations"], strict=True):
            z = convolve(hidden, weights.take(mixed, channels, kernel), dilation=dilation)
            z = z + weights.take(mixed, 1) + weights.take(mixed, 1) @ dry[None]
            passed = ACTIVATIONS[name](z[:channels])
            if gated:
                passed = passed / (1 + np.exp(-z[channels:]))
            head_in = head_in + passed
            hidden = hidden + weights.take(channels, channels) @ passed + weights.take(channels, 1)
        head = (
            {"out_channels": stack.get("head_size"), "kernel_size": 1} if first else stack["head"]
        )
        bias = stack["head_bias"] if first else head["bias"]
        out = convolve(head_in, weights.take(head["out_channels"], channels, head["kernel_size"]))
        head_in = out + (weights.take(head["out_channels"], 1) if bias else 0.0)
    scale = weights.take(1)[0]
    assert len(weights.values) == 0
    return (scale * head_in)[0]


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def run_lstm(table: dict, dry: np.ndarray) -> np.ndarray:
    weights, shape = Weights(table["weights"]), table["config"]
    width, inputs = shape["hidden_size"], dry[:, None]
    for _ in range(shape["num_layers"]):
        matrix = weights.take(4 * width, inputs.shape[1] + width)
        bias, hidden, cell = (weights.take(size) for size in (4 * width, width, width))
        outputs = []
        for x in inputs:
            gates = (matrix @ np.concatenate([x, hidden]) + bias).reshape(4, width)
            cell = sigmoid(gates[1]) * cell + sigmoid(gates[0]) * np.tanh(gates[2])
            hidden = sigmoid(gates[3]) * np.tanh(cell)
            outputs.append(hidden)
        inputs = np.array(outputs)
    wet = inputs @ weights.take(width) + weights.take(1)
    assert len(weights.values) == 0
    return wet


@torch.inference_mode()
def played(network, dry: torch.Tensor, knobs=()) -> np.ndarray:
    return network(dry, torch.tensor([knobs], dtype=torch.float32).reshape(1, -1))[0, 0].numpy()


@pytest.mark.parametrize("shape", WAVENETS)
def test_a_wavenet_is_in_its_file(shape, tmp_path) -> None:
    network, checkpoint = make_effect("nam-wavenet", WAVENETS[shape], tmp_path)
    path = export_effect(checkpoint, tmp_path / "amp.nam", to="nam", input_level_dbu=12.5)
    table = json.loads(path.read_text())
    assert table["version"] == ("0.5.4" if shape in ("nano", "gated") else "0.7.0")
    assert table["metadata"] == {"name": "amp", "input_level_dbu": 12.5}
    assert table["sample_rate"] == WAVENETS[shape].sample_rate
    dry = sound(600)
    expected = played(network, dry)
    assert np.abs(expected).max() > 1e-3
    found = run_wavenet(table, dry[0, 0].double().numpy())
    assert np.abs(found - expected).max() < SAME


@pytest.mark.parametrize(
    ("shape", "expected"),
    [("standard", 13_802), ("lite", 6_554), ("feather", 3_026), ("nano", 842), ("a2-full", 12_146)],
)
def test_files_have_as_many_weights_as_those_of_the_tool(shape, expected, tmp_path) -> None:
    _, checkpoint = make_effect("nam-wavenet", NamWaveNetConfig.published(shape), tmp_path)
    path = export_effect(checkpoint, tmp_path / "amp.nam", to="nam")
    assert len(json.loads(path.read_text())["weights"]) == expected


@pytest.mark.parametrize("shape", WAVENETS)
def test_a_wavenet_comes_back(shape, tmp_path) -> None:
    network, checkpoint = make_effect("nam-wavenet", WAVENETS[shape], tmp_path)
    path = export_effect(checkpoint, tmp_path / "amp.nam", to="nam", output_level_dbu=-3.0)
    ours = convert(path, tmp_path / "amp.safetensors")
    again = read_checkpoint(ours)
    assert again.config == WAVENETS[shape]
    assert again.header.training["metadata"]["output_level_dbu"] == -3.0
    dry = sound(600)
    assert np.array_equal(played(build_model(again), dry), played(network, dry))


def lstm(**options) -> EffectRNNConfig:
    shape = {"sample_rate": 48000, "hidden_channels": 3, "num_layers": 2, "skip": False}
    return EffectRNNConfig(**(shape | options))


def test_an_lstm_is_in_its_file_and_comes_back_with_its_rest_state(tmp_path) -> None:
    network, checkpoint = make_effect("effect-rnn", lstm(), tmp_path)
    path = export_effect(checkpoint, tmp_path / "amp.nam", to="nam")
    table = json.loads(path.read_text())
    # The tool's files begin with the state after a second of silence: here, the first layer's.
    table["weights"][12 * 4 + 12] = 0.25
    path.write_text(json.dumps(table))
    dry = sound(300)
    found = build_model(read_nam(path))
    expected = run_lstm(table, dry[0, 0].double().numpy())
    assert np.abs(played(found, dry) - expected).max() < SAME
    assert np.abs(played(network, dry) - expected)[:5].max() > 1e-4
    once_more = export_effect(read_nam(path), tmp_path / "again.nam", to="nam")
    assert json.loads(once_more.read_text())["weights"] == pytest.approx(table["weights"], abs=1e-7)


@pytest.mark.parametrize("architecture", ["effect-rnn", "nam-wavenet"])
def test_fixed_knobs_sound_as_they_stood(architecture, tmp_path) -> None:
    knobs = (
        Knob(name="gain", minimum=0.0, maximum=10.0, default=5.0),
        Knob(name="tone_hz", minimum=100.0, maximum=1000.0, default=400.0, scale="log"),
    )
    config = lstm(knobs=knobs) if architecture == "effect-rnn" else GATED
    config = config.model_copy(update={"knobs": knobs})
    network, checkpoint = make_effect(architecture, config, tmp_path)
    path = export_effect(checkpoint, tmp_path / "a.nam", to="nam", settings={"gain": 9.0})
    table, dry = json.loads(path.read_text()), sound(300)
    run = run_lstm if architecture == "effect-rnn" else run_wavenet
    positions = [0.4, knobs[1].to_network(400.0)]
    expected = played(network, dry, positions)
    assert np.abs(run(table, dry[0, 0].double().numpy()) - expected).max() < SAME
    assert np.abs(played(network, dry, [-0.5, 0.5]) - expected).max() > 1e-3
    with pytest.raises(ConfigError, match="no knob bass"):
        export_effect(checkpoint, tmp_path / "b.nam", to="nam", settings={"bass": 1.0})


def test_of_a_container_the_largest_is_taken(tmp_path) -> None:
    _, checkpoint = make_effect("nam-wavenet", WAVENETS["a2-lite"], tmp_path)
    small = json.loads(export_effect(checkpoint, tmp_path / "s.nam", to="nam").read_text())
    _, checkpoint = make_effect("nam-wavenet", SECOND, tmp_path)
    large = json.loads(export_effect(checkpoint, tmp_path / "l.nam", to="nam").read_text())
    models = [{"max_value": 0.5, "model": small}, {"max_value": 1.0, "model": large}]
    container = {"architecture": "SlimmableContainer", "config": {"submodels": models}}
    path = tmp_path / "both.nam"
    path.write_text(json.dumps(container | {"version": "0.7.0", "weights": []}))
    assert read_any(path).config == SECOND
    assert read_any_header(path).config == SECOND.model_dump(mode="json")
    assert resolve(path).name == "both"


def changed(table: dict, where: str, value) -> dict:
    *path, last = where.split(".")
    inner = table
    for name in path:
        inner = inner[int(name)] if isinstance(inner, list) else inner[name]
    inner[last] = value
    return table


@pytest.mark.parametrize(
    ("where", "value", "says"),
    [
        ("weights", [0.0] * 7, "7 weights where its configuration needs"),
        ("weights", ["x"], "no list of numbers"),
        ("weights", [float("nan")] * 842, "infinite or missing"),
        ("architecture", "ConvNet", "WaveNet and LSTM"),
        ("config.head", {"channels": 8}, "'head' is not known"),
        ("config.layers.0.condition_size", 2, "condition_size 2"),
        ("config.layers.0.conv_pre_film", {"active": True}, "'conv_pre_film' is not known"),
        ("config.layers.0.activation", "Softsign", "Softsign"),
        ("config.layers.0.activation", ["Tanh", "ReLU"], "differ in kind"),
        ("config.layers.0.channels", 10**9, "weights where its configuration needs"),
        ("config.layers", [], "stacks"),
        ("sample_rate", 44100.5, "no whole number"),
    ],
)
def test_what_cannot_be_read_is_named(where, value, says, tmp_path) -> None:
    _, checkpoint = make_effect("nam-wavenet", WAVENETS["nano"], tmp_path)
    path = export_effect(checkpoint, tmp_path / "amp.nam", to="nam")
    path.write_text(json.dumps(changed(json.loads(path.read_text()), where, value)))
    with pytest.raises(CheckpointError, match=says):
        read_nam(path)


@pytest.mark.parametrize("content", ["{", "[1]", "null", '{"architecture": "SlimmableContainer"}'])
def test_what_is_no_model_is_refused(content, tmp_path) -> None:
    path = tmp_path / "amp.nam"
    path.write_text(content)
    with pytest.raises(CheckpointError, match=r"amp\.nam"):
        read_any(path)


@pytest.mark.parametrize(
    ("options", "says"), [({"unit": "gru"}, "no 'gru'"), ({"skip": True}, "adds the dry sound")]
)
def test_what_the_format_does_not_have_is_refused(options, says, tmp_path) -> None:
    _, checkpoint = make_effect("effect-rnn", lstm(**options), tmp_path)
    with pytest.raises(ConfigError, match=says):
        export_effect(checkpoint, tmp_path / "amp.nam", to="nam")
    assert not (tmp_path / "amp.nam").exists()
