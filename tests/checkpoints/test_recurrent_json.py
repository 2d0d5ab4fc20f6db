"""GuitarML's and RTNeural's JSON, computed anew from the files alone by plain NumPy."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from tests.checkpoints.effect_files import make_effect, sound
from tests.models_for_tests import KNOBS, TINY_GAIN_TCN

from audiform.checkpoints import build_model, read_any, read_guitarml
from audiform.checkpoints.effect_export import export_effect
from audiform.checkpoints.model_package import read_any_header
from audiform.errors import CheckpointError, ConfigError
from audiform.models.effect_rnn import EffectRNNConfig

SAME = 1e-5

SHAPES = {
    "lstm": EffectRNNConfig(hidden_channels=3, num_layers=2),
    "gru": EffectRNNConfig(hidden_channels=3, unit="gru", skip=False),
    "lstm, knobs": EffectRNNConfig(hidden_channels=3, knobs=KNOBS, skip=False),
    "gru, knobs": EffectRNNConfig(hidden_channels=3, knobs=KNOBS, unit="gru", num_layers=2),
}


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def run_lstm(inputs, kernel, own, bias):
    """Run an LSTM of Keras: gates in the order input, forget, cell, output."""
    hidden = cell = np.zeros(len(own))
    outputs = []
    for x in inputs:
        i, f, g, o = np.split(x @ kernel + hidden @ own + bias, 4)
        cell = sigmoid(f) * cell + sigmoid(i) * np.tanh(g)
        hidden = sigmoid(o) * np.tanh(cell)
        outputs.append(hidden)
    return np.array(outputs)


def run_gru(inputs, kernel, own, biases):
    """Run a GRU of Keras, reset after the product: gates update, reset, new."""
    hidden, outputs = np.zeros(len(own)), []
    for x in inputs:
        z, r, n = np.split(x @ kernel + biases[0], 3)
        own_z, own_r, own_n = np.split(hidden @ own + biases[1], 3)
        z, r = sigmoid(z + own_z), sigmoid(r + own_r)
        hidden = z * hidden + (1 - z) * np.tanh(n + r * own_n)
        outputs.append(hidden)
    return np.array(outputs)


def run_rtneural(table: dict, inputs: np.ndarray) -> np.ndarray:
    hidden = inputs
    assert table["in_shape"] == [None, None, inputs.shape[1]]
    for layer in table["layers"]:
        weights = [np.array(part) for part in layer["weights"]]
        if layer["type"] == "dense":
            hidden = hidden @ weights[0] + weights[1]
        else:
            hidden = {"lstm": run_lstm, "gru": run_gru}[layer["type"]](hidden, *weights)
        assert layer["shape"][-1] == hidden.shape[1]
    return hidden[:, 0] + table["in_skip"] * inputs[:, 0]


def run_guitarml(table: dict, inputs: np.ndarray) -> np.ndarray:
    """Run torch's layers on the file's tensors, in double precision."""
    shape, state = table["model_data"], table["state_dict"]
    kind = getattr(torch.nn, shape["unit_type"])
    layers = kind(shape["input_size"], shape["hidden_size"], shape["num_layers"]).double()
    names = [name for name in state if name.startswith("rec.")]
    layers.load_state_dict({name[4:]: torch.tensor(state[name]).double() for name in names})
    hidden = layers(torch.from_numpy(inputs))[0].detach().numpy()
    wet = hidden @ np.array(state["lin.weight"]).T + np.array(state["lin.bias"])
    return wet[:, 0] + shape["skip"] * inputs[:, 0]


def inputs_of(dry: torch.Tensor, positions: torch.Tensor) -> np.ndarray:
    """Return (time, input): the sound, and each knob from 0 to 1."""
    columns = [dry[0, 0], *((position + 0.5).expand(dry.shape[-1]) for position in positions)]
    return torch.stack(columns, dim=1).double().numpy()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("to", "run"),
    [("guitarml", run_guitarml), ("rtneural", run_rtneural)],
    ids=["guitarml", "rtneural"],
)
def test_a_recurrent_effect_is_in_its_file(shape, to, run, tmp_path) -> None:
    network, checkpoint = make_effect("effect-rnn", SHAPES[shape], tmp_path)
    table = json.loads(export_effect(checkpoint, tmp_path / "a.json", to=to).read_text())
    dry = sound(200)
    positions = torch.tensor([0.3, -0.5])[: len(SHAPES[shape].knobs)]
    with torch.inference_mode():
        expected = network(dry, positions[None])[0, 0].numpy()
    assert np.abs(run(table, inputs_of(dry, positions)) - expected).max() < SAME


@pytest.mark.parametrize("shape", SHAPES)
def test_guitarml_files_come_back(shape, tmp_path) -> None:
    network, checkpoint = make_effect("effect-rnn", SHAPES[shape], tmp_path)
    path = export_effect(checkpoint, tmp_path / "a.json", to="guitarml")
    again = read_any(path)
    assert read_any_header(path) == again.header
    assert again.config.unit == SHAPES[shape].unit
    assert len(again.config.knobs) == len(SHAPES[shape].knobs)
    dry = sound(200)
    positions = torch.tensor([[0.3, -0.5]])[:, : len(SHAPES[shape].knobs)]
    with torch.inference_mode():
        found = build_model(again)(dry, positions)
        torch.testing.assert_close(found, network(dry, positions), atol=SAME, rtol=0)


def test_a_file_as_proteus_has_it_is_read(tmp_path) -> None:
    """No rate, no biases of its own; written here by hand."""
    width = 4
    reference = torch.nn.LSTM(1, width, bias=False)
    state = {f"rec.{name}": value.tolist() for name, value in reference.state_dict().items()}
    state |= {"lin.weight": [[0.1, 0.2, 0.3, 0.4]], "lin.bias": [0.05]}
    shape = {"model": "SimpleRNN", "input_size": 1, "skip": 1, "output_size": 1}
    shape |= {"unit_type": "LSTM", "num_layers": 1, "hidden_size": width, "bias_fl": False}
    path = tmp_path / "amp.json"
    path.write_text(json.dumps({"model_data": shape, "state_dict": state}))
    network = build_model(read_guitarml(path))
    assert network.spec.sample_rate == 44100
    dry = sound(100)
    with torch.inference_mode():
        hidden = reference(dry[0, 0][:, None])[0]
        expected = hidden @ torch.tensor([0.1, 0.2, 0.3, 0.4]) + 0.05 + dry[0, 0]
        torch.testing.assert_close(network(dry, torch.zeros(1, 0))[0, 0], expected)


@pytest.mark.parametrize(
    ("part", "change", "says"),
    [
        ("model_data", {"unit_type": "RNN"}, "LSTM and GRU"),
        ("model_data", {"model": "GatedConvNet"}, "no 'model_data' of a SimpleRNN"),
        ("model_data", {"output_size": 2}, "2 outputs"),
        ("model_data", {"skip": 2}, "skip 2"),
        ("model_data", {"input_size": 2}, "first layer of the shape"),
        ("state_dict", {"rec.extra": [1.0]}, "rec.extra"),
        ("state_dict", {"lin.bias": ["x"]}, "no list of numbers as lin.bias"),
        ("state_dict", {"lin.bias": [1e999]}, "infinite or missing"),
    ],
)
def test_what_cannot_be_read_is_named(part, change, says, tmp_path) -> None:
    _, checkpoint = make_effect("effect-rnn", SHAPES["lstm"], tmp_path)
    path = export_effect(checkpoint, tmp_path / "a.json", to="guitarml")
    table = json.loads(path.read_text())
    table[part] |= change
    path.write_text(json.dumps(table))
    with pytest.raises(CheckpointError, match=says):
        read_guitarml(path)


@pytest.mark.parametrize("to", ["guitarml", "rtneural", "nam"])
def test_other_networks_are_refused(to, tmp_path) -> None:
    _, checkpoint = make_effect("gain-tcn", TINY_GAIN_TCN, tmp_path)
    with pytest.raises(ConfigError, match="gain-tcn"):
        export_effect(checkpoint, tmp_path / "a.json", to=to)


def test_knobs_can_be_fixed(tmp_path) -> None:
    network, checkpoint = make_effect("effect-rnn", SHAPES["lstm, knobs"], tmp_path)
    settings = {"threshold_db": -30.0, "release_ms": 1000.0}
    path = export_effect(checkpoint, tmp_path / "a.json", to="guitarml", settings=settings)
    dry = sound(100)
    with torch.inference_mode():
        expected = network(dry, torch.tensor([[-0.5, 0.5]]))
        found = build_model(read_guitarml(path))(dry, torch.zeros(1, 0))
    torch.testing.assert_close(found, expected, atol=SAME, rtol=0)
