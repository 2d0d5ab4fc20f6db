"""Packed weights in our own format: read back as they were written, and strictly checked."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from tests.models_for_tests import TINY_HTDEMUCS, tiny_htdemucs

from audiform.checkpoints import build_model, describe, read_checkpoint, write_checkpoint
from audiform.checkpoints.file import read_header
from audiform.checkpoints.header import METADATA_KEY
from audiform.checkpoints.packed_weights import (
    pack_numbers,
    packed_bytes,
    packed_weight_bytes,
    quantised,
    unpack_numbers,
)
from audiform.errors import CheckpointError

#: Two weights of the tiny network: one with bits of its own in each group, one without.
VARIED, EVEN = "spectrum_encoder.1.convolution.weight", "spectrum_widen.weight"


@settings(max_examples=80, deadline=None)
@given(st.integers(1, 16), st.lists(st.integers(0, 2**16 - 1), max_size=70))
def test_numbers_survive_in_any_width(bits, numbers):
    numbers = [number % 2**bits for number in numbers]
    packed = pack_numbers(np.array(numbers, np.uint16), bits)
    as_one_number = sum(number << (bits * index) for index, number in enumerate(numbers))
    assert packed.tobytes() == as_one_number.to_bytes(packed_bytes(len(numbers), bits), "little")
    assert unpack_numbers(packed, bits, len(numbers)).tolist() == numbers


def test_numbers_survive_beyond_a_chunk(monkeypatch):
    monkeypatch.setattr("audiform.checkpoints.packed_weights._CHUNK", 16)
    numbers = np.arange(53, dtype=np.uint16)
    assert unpack_numbers(pack_numbers(numbers, 7), 7, 53).tolist() == numbers.tolist()


@pytest.fixture(scope="module")
def network():
    return tiny_htdemucs()


def bits_of(network):
    state = network.state_dict()
    groups = -(-state[VARIED].numel() // 8)
    return {
        VARIED: torch.arange(groups) % 14 + 2,
        EVEN: torch.full((-(-state[EVEN].numel() // 8),), 5),
    }


def write(path, network, **changes):
    return write_checkpoint(
        path,
        **{
            "architecture": "htdemucs",
            "config": TINY_HTDEMUCS,
            "state": network.state_dict(),
            "sources": TINY_HTDEMUCS.sources,
            "sample_rate": TINY_HTDEMUCS.sample_rate,
            "bits": bits_of(network),
        }
        | changes,
    )


@pytest.fixture
def path(network, tmp_path):
    return write(tmp_path / "m.safetensors", network)


@pytest.mark.parametrize("group_size", [1, 8, 24, 1000])
def test_what_is_read_is_near_what_was_written(group_size, network, tmp_path):
    """Half a step at the group's own number of bits, no more; all else is exact."""
    state = network.state_dict()
    bits = {
        name: torch.arange(-(-state[name].numel() // group_size)) % 12 + 3
        for name in (VARIED, EVEN)
    }
    path = write(tmp_path / "m.safetensors", network, bits=bits, group_size=group_size)
    found = read_checkpoint(path).state
    assert found.keys() == state.keys()
    for name, weight in state.items():
        if name not in bits:
            assert torch.equal(found[name], weight)
            continue
        spread = weight.max() - weight.min()
        widths = bits[name].repeat_interleave(group_size)[: weight.numel()].reshape(weight.shape)
        half_step = spread / (2.0**widths - 1) / 2
        assert ((found[name] - weight).abs() <= half_step * 1.0001 + 1e-7).all()
        assert found[name].dtype == torch.float32
        assert torch.equal(found[name], quantised(weight, bits[name], group_size=group_size))
        assert (found[name] != weight).any()


def test_the_ends_of_the_range_are_exact(network, path):
    weight, found = network.state_dict()[VARIED], read_checkpoint(path).state[VARIED]
    assert (found.min(), found.max()) == (weight.min(), weight.max())


def test_a_network_is_built_of_it(path):
    model = build_model(read_checkpoint(path))
    assert torch.isfinite(model(torch.randn(1, 2, 5000))).all()


def test_the_same_content_gives_the_same_bytes(network, path, tmp_path):
    again = write(tmp_path / "again.safetensors", network)
    assert again.read_bytes() == path.read_bytes()


def test_the_rest_may_be_half(network, path, tmp_path):
    half = write(tmp_path / "half.safetensors", network, half=True)
    assert half.stat().st_size < path.stat().st_size
    assert torch.equal(read_checkpoint(half).state[VARIED], read_checkpoint(path).state[VARIED])


def test_the_size_is_known_beforehand(network, path):
    tensors = load_file(path)
    for name, bits in bits_of(network).items():
        stored = sum(tensors[key].numel() for key in tensors if key.startswith(f"{name}:"))
        assert stored == packed_weight_bytes(bits, group_size=8)


def test_only_packed_files_need_the_new_version(network, path, tmp_path):
    plain = write(tmp_path / "plain.safetensors", network, bits=None)
    assert read_header(plain).format_version == 1
    assert "quantisation" not in read_header(plain).model_dump_json()
    assert read_header(path).format_version == 2


def test_a_description_counts_instead_of_listing(path):
    (about,) = describe(path)["files"]
    assert about["quantisation"] == {"group_size": 8, "weights": 2}


def test_a_constant_tensor_is_kept(network, tmp_path):
    state = dict(network.state_dict()) | {EVEN: torch.full_like(network.state_dict()[EVEN], 0.3)}
    path = write(tmp_path / "m.safetensors", network, state=state)
    assert torch.equal(read_checkpoint(path).state[EVEN], state[EVEN])


@pytest.mark.parametrize(
    ("bits", "words"),
    [
        ({"nothing": torch.tensor([4])}, "nothing is to be quantised"),
        ({EVEN: torch.tensor([4])}, "give one number for each group"),
        ({EVEN: 0}, "0 to 0 bits"),
        ({EVEN: 17}, "17 to 17 bits"),
    ],
)
def test_bits_that_cannot_be_written(bits, words, network, tmp_path):
    groups = -(-network.state_dict()[EVEN].numel() // 8)
    bits = {
        name: torch.full((groups,), value) if isinstance(value, int) else value
        for name, value in bits.items()
    }
    with pytest.raises(CheckpointError, match=words):
        write(tmp_path / "m.safetensors", network, bits=bits)
    assert not list(tmp_path.iterdir())


def test_weights_that_are_not_finite_cannot_be_packed(network, tmp_path):
    state = dict(network.state_dict()) | {EVEN: network.state_dict()[EVEN] * math.inf}
    with pytest.raises(CheckpointError, match="finite"):
        write(tmp_path / "m.safetensors", network, state=state)


# Files that were made by someone else.


def tampered(path, *, header=None, tensors=None):
    stated = json.loads(read_header(path).model_dump_json())
    state = load_file(path)
    if header:
        header(stated)
    if tensors:
        tensors(state)
    save_file(state, path, metadata={METADATA_KEY: json.dumps(stated)})
    return path


def of(header, name=VARIED):
    return header["quantisation"]["weights"][name]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda h: h.update(format_version=1), "came with format version 2"),
        (lambda h: h["quantisation"].update(group_size=0), "group_size"),
        (lambda h: h["quantisation"].update(group_size=2**40), "group_size"),
        (lambda h: h["quantisation"].update(colour="red"), "colour"),
        (lambda h: h["quantisation"].update(group_size=4), "bytes"),
        (lambda h: of(h).update(shape=[2**40]), "bytes of levels"),
        (lambda h: of(h).update(shape=[2**50]), "no weight has this shape"),
        (lambda h: of(h).update(shape=[1] * 9), "no weight has this shape"),
        (lambda h: of(h).update(shape=[0, 4]), "shape"),
        (lambda h: of(h).update(shape=[-1]), "shape"),
        (lambda h: of(h).update(least_bits=0), "least_bits"),
        (lambda h: of(h).update(least_bits=20), "least_bits"),
        (lambda h: of(h).update(least_bits=9, most_bits=3), "greater"),
        (lambda h: of(h).update(most_bits=3), "bytes"),
        (lambda h: of(h).update(most_bits=14), "has 15 bits"),
        (lambda h: of(h).update(range=[1.0, 0.0]), "smaller first"),
        (lambda h: of(h).update(range=[0.0, math.nan]), "smaller first|finite"),
        (lambda h: of(h).update(range=[-math.inf, 1.0]), "smaller first|finite"),
        (lambda h: of(h).update(range=[1.0]), "range"),
        (lambda h: h["quantisation"]["weights"].pop(VARIED), f"unknown 2 .*{VARIED}:bits"),
        (lambda h: h["quantisation"]["weights"].update(x=of(h)), "x:levels is missing"),
    ],
)
def test_headers_that_do_not_fit(change, words, path):
    with pytest.raises(CheckpointError, match=words) as caught:
        build_model(read_checkpoint(tampered(path, header=change)))
    assert caught.value.path == path


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.pop(f"{VARIED}:levels"), "levels is missing"),
        (lambda t: t.pop(f"{VARIED}:bits"), "bits is missing"),
        (
            lambda t: t.update({f"{EVEN}:bits": t[f"{VARIED}:bits"].clone()}),
            f"unknown 1 .*{EVEN}:bits",
        ),
        (lambda t: t.update({VARIED: torch.zeros(1)}), "both packed and not"),
        (lambda t: t.update({f"{VARIED}:levels": torch.zeros(9)}), "row of bytes"),
        (lambda t: t.update({f"{VARIED}:levels": t[f"{VARIED}:levels"][:-1].clone()}), "bytes"),
        (lambda t: t.update({f"{VARIED}:bits": t[f"{VARIED}:bits"][:-1].clone()}), "bytes"),
        (lambda t: t[f"{VARIED}:bits"].zero_(), "bytes"),
        (lambda t: t[f"{VARIED}:bits"].fill_(255), "has 17 bits"),
    ],
)
def test_tensors_that_do_not_fit(change, words, path):
    with pytest.raises(CheckpointError, match=words) as caught:
        build_model(read_checkpoint(tampered(path, tensors=change)))
    assert caught.value.path == path
