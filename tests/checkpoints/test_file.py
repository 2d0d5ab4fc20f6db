"""Our own format: what is written is read, and nothing else is."""

from __future__ import annotations

import json
import math
import os

import pytest
import torch
from safetensors.torch import load_file, save_file

from audiform.checkpoints import Licence, build_model, read_checkpoint, write_checkpoint
from audiform.checkpoints.file import read_header
from audiform.checkpoints.header import FORMAT_VERSION, METADATA_KEY, PLAIN_VERSION
from audiform.errors import CheckpointError
from audiform.models import MODELS
from audiform.models.htdemucs import HTDemucs, HTDemucsConfig

CONFIG = HTDemucsConfig(
    sources=("high", "low"),
    hidden_channels=4,
    branch_compression=2,
    bottom_channels=8,
    transformer_layers=2,
    transformer_heads=2,
    segment_seconds="1/3",
    sample_rate=24000,
)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(1)
    return HTDemucs(CONFIG).eval()


@pytest.fixture
def path(network, tmp_path):
    return write(tmp_path / "m.safetensors", network)


def write(path, network, **changes):
    return write_checkpoint(
        path,
        **{
            "architecture": "htdemucs",
            "config": CONFIG,
            "state": network.state_dict(),
            "sources": CONFIG.sources,
            "sample_rate": CONFIG.sample_rate,
            "licence": Licence(code="MIT", weights="CC0-1.0", data="rendered"),
            "scores": {"sdr_db": {"high": 3.5}},
            "training": {"steps": 7},
        }
        | changes,
    )


def with_header(path, change):
    """Write the file anew with a changed header."""
    header = json.loads(read_header(path).model_dump_json())
    change(header)
    save_file(load_file(path), path, metadata={METADATA_KEY: json.dumps(header)})
    return path


def test_round_trip(path, network):
    checkpoint = read_checkpoint(path)
    assert checkpoint.path == path
    assert checkpoint.architecture == "htdemucs"
    assert checkpoint.config == CONFIG
    assert checkpoint.header.format_version == PLAIN_VERSION
    assert checkpoint.header.sources == ("high", "low")
    assert checkpoint.header.licence == Licence(code="MIT", weights="CC0-1.0", data="rendered")
    assert checkpoint.header.scores == {"sdr_db": {"high": 3.5}}
    assert checkpoint.header.training == {"steps": 7}
    model = build_model(checkpoint)
    assert not model.training
    for name, tensor in network.state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor), name
    mixture = torch.randn(1, 2, 8000)
    with torch.no_grad():
        assert torch.equal(model(mixture), network(mixture))


def test_the_same_content_gives_the_same_bytes(path, network, tmp_path):
    assert write(tmp_path / "again.safetensors", network).read_bytes() == path.read_bytes()


def test_half_precision_is_half_the_size_and_read_as_float32(path, network, tmp_path):
    half = write(tmp_path / "half.safetensors", network, half=True)
    assert half.stat().st_size < 0.7 * path.stat().st_size
    state = read_checkpoint(half).state
    for name, tensor in network.state_dict().items():
        assert state[name].dtype == torch.float32
        assert torch.equal(state[name], tensor.half().float()), name


def test_half_precision_refuses_what_it_cannot_hold(network, tmp_path):
    state = network.state_dict() | {"spectrum_widen.bias": torch.full((8,), 1e6)}
    with pytest.raises(CheckpointError, match=r"spectrum_widen\.bias holds 1e\+06"):
        write(tmp_path / "m.safetensors", network, state=state, half=True)
    assert not list(tmp_path.iterdir())


def test_whole_number_tensors_are_kept_as_they_are(network, tmp_path):
    state = {"steps": torch.tensor([3, 4]), "shared": torch.ones(4).expand(2, 4)}
    path = write(tmp_path / "m.safetensors", network, state=state)
    read = read_checkpoint(path).state
    assert read["steps"].dtype == torch.int64
    assert torch.equal(read["shared"], torch.ones(2, 4))


def test_nothing_half_written_has_the_name(path, network, monkeypatch):
    before = path.read_bytes()
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left")))
    with pytest.raises(CheckpointError, match="No space left"):
        write(path, network, training={"steps": 8})
    assert path.read_bytes() == before
    assert [item.name for item in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("value", [math.nan, math.inf, object()])
def test_headers_hold_plain_finite_values(value, network, tmp_path):
    with pytest.raises(CheckpointError, match="header does not fit"):
        write(tmp_path / "m.safetensors", network, scores={"sdr": value})


def test_building_leaves_the_global_generator_alone(path):
    checkpoint = read_checkpoint(path)
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    build_model(checkpoint)
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda h: h.update(format_version=FORMAT_VERSION + 1),
            f"format version {FORMAT_VERSION + 1}.*install a newer",
        ),
        (lambda h: h.update(format_version=0), "format version 0"),
        (lambda h: h.update(format_version="1"), "format version '1'"),
        (lambda h: h.update(format_version=True), "format version True"),
        (lambda h: h.pop("format_version"), "format version None"),
        (lambda h: h.update(architecture="warpnet"), "'warpnet'.*htdemucs.*newer audiform"),
        (lambda h: h.update(colour="red"), "colour: Extra inputs"),
        (lambda h: h["licence"].update(colour="red"), "licence.colour: Extra"),
        (lambda h: h["config"].update(colour="red"), "colour: Extra"),
        (lambda h: h["config"].update(depth=0), "depth: Input should be greater"),
        (lambda h: h.pop("sources"), "neither sources, of a separator, nor knobs"),
        (lambda h: h.update(sample_rate=-1), "sample_rate"),
    ],
)
def test_headers_that_are_refused(change, words, path):
    with pytest.raises(CheckpointError, match=words) as caught:
        read_checkpoint(with_header(path, change))
    assert caught.value.path == path


@pytest.mark.parametrize("text", ["{", "[]", '"text"', "[" * 100_000, "{}"])
def test_headers_that_are_no_table(text, path):
    save_file(load_file(path), path, metadata={METADATA_KEY: text})
    with pytest.raises(CheckpointError):
        read_checkpoint(path)


@pytest.mark.parametrize("field", ["sources", "sample_rate"])
def test_header_and_network_must_agree(field, path):
    other = {"sources": ["low", "high"], "sample_rate": 8000}[field]
    checkpoint = read_checkpoint(with_header(path, lambda header: header.update({field: other})))
    with pytest.raises(CheckpointError, match="says it has the sources"):
        build_model(checkpoint)


def test_tensors_that_do_not_fit_are_listed_and_counted(path):
    state = load_file(path)
    first = next(iter(state))
    state[first] = torch.zeros(3, 3)
    del state["spectrum_widen.bias"]
    state |= {f"extra{index:02}": torch.zeros(1) for index in range(12)}
    header = read_header(path).model_dump_json()
    save_file(state, path, metadata={METADATA_KEY: header})
    with pytest.raises(CheckpointError) as caught:
        build_model(read_checkpoint(path))
    message = str(caught.value)
    assert "missing 1 (spectrum_widen.bias)" in message
    assert "unknown 12 (extra00, " in message
    assert "extra09 and 2 more" in message
    assert "extra10" not in message
    assert f"mis-shaped 1 ({first} is (3, 3) where " in message


@pytest.mark.parametrize("hidden_channels", [2**11, 2**24])
def test_a_file_cannot_ask_for_more_memory_than_it_has(hidden_channels, path):
    """The second is more than there is: refused by the system, the first by us."""

    def enlarge(header):
        header["config"]["hidden_channels"] = hidden_channels

    checkpoint = read_checkpoint(with_header(path, enlarge))
    with pytest.raises(CheckpointError, match="no 'htdemucs' can be built"):
        build_model(checkpoint)


@pytest.mark.parametrize("architecture", MODELS)
def test_every_architecture_goes_through_a_file(architecture, tmp_path):
    config = MODELS[architecture].config()
    torch.manual_seed(0)
    network = MODELS[architecture].network(config).eval()
    path = write_checkpoint(
        tmp_path / "m.safetensors",
        architecture=architecture,
        config=config,
        state=network.state_dict(),
        sources=getattr(network.spec, "sources", ()),
        knobs=getattr(network.spec, "knobs", None),
        sample_rate=network.spec.sample_rate,
    )
    again = build_model(read_checkpoint(path))
    assert again.config == config
    assert again.spec == network.spec
    for name, tensor in network.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name


def test_a_file_without_our_header_says_how_to_convert_it(path):
    save_file(load_file(path), path)
    with pytest.raises(CheckpointError, match="audiform models import"):
        read_checkpoint(path)


def test_every_truncation_is_an_error_of_ours(path, tmp_path):
    whole = path.read_bytes()
    cut = tmp_path / "cut.safetensors"
    for length in [0, 1, 7, 8, 9, 500, len(whole) // 2, len(whole) - 1]:
        cut.write_bytes(whole[:length])
        with pytest.raises(CheckpointError):
            read_checkpoint(cut)


def test_an_announced_header_of_any_length_is_not_believed(tmp_path):
    path = tmp_path / "m.safetensors"
    path.write_bytes((2**62).to_bytes(8, "little") + b"{}")
    with pytest.raises(CheckpointError, match="announces a header"):
        read_header(path)
