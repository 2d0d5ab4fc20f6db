"""Packed quantised states of the published packages: unpacked exactly, and nothing believed."""

from __future__ import annotations

import logging
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from tests.checkpoints import packing

from audiform.checkpoints import load_model
from audiform.checkpoints.hub_structure import nested_state
from audiform.checkpoints.published_order import in_published_order
from audiform.checkpoints.quantised import (
    DIFFQ,
    UNIFORM,
    unpack_int16,
    unpack_int64,
    unpack_quantised,
)
from audiform.checkpoints.restricted_pickle import GlobalName, StoredTensor
from audiform.checkpoints.torch_file import open_torch_file
from audiform.errors import CheckpointError

PATH = Path("m.th")


def unpack(state, shapes):
    def tensor(value):
        return value if isinstance(value, torch.Tensor) else None

    sizes = {name: torch.Size(shape) for name, shape in shapes.items()}
    return unpack_quantised(state, sizes, tensor=tensor, path=PATH)


@pytest.mark.parametrize("kind", ["uniform", "diffq"])
def test_golden_files_are_restored_to_rounding(kind, tmp_path):
    from demucs.demucs import Demucs

    path = packing.golden_th(kind, tmp_path)
    with open_torch_file(path) as file:

        def tensor(value):
            return file.tensor(value) if isinstance(value, StoredTensor) else None

        network = Demucs(**file.content["kwargs"])
        shapes = {name: weight.shape for name, weight in network.named_parameters()}
        found = unpack_quantised(file.content["state"], shapes, tensor=tensor, path=path)
    expected = load_file(packing.GOLDEN / f"demucs_{kind}_dequantised.safetensors")
    assert list(found) == list(shapes)
    assert found.keys() == expected.keys()
    for name, weight in expected.items():
        assert found[name].dtype == torch.float32
        assert (found[name] - weight).abs().max() <= 1e-6, name


@pytest.mark.parametrize("layout", ["th", "hub"])
@pytest.mark.parametrize("kind", ["uniform", "diffq"])
def test_golden_files_sound_like_the_published_network(kind, layout, tmp_path):
    from demucs.demucs import Demucs

    path = packing.golden_th(kind, tmp_path)
    if layout == "hub":
        path = packing.hub_file(path, tmp_path / "m.safetensors")
    ours = load_model(path)
    theirs = Demucs(list(ours.config.sources), channels=8, depth=3, segment=10).eval()
    theirs.load_state_dict(load_file(packing.GOLDEN / f"demucs_{kind}_dequantised.safetensors"))
    mixture = torch.randn(1, 2, 3000, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected, found = theirs(mixture), ours(mixture)
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"channels": 4096}, "no 'demucs' can be built"),
        ({"channels": 16}, "quantised parameters where the network has"),
        ({"depth": 2}, "quantised parameters where the network has"),
        ({"sources": ["a", "b", "c", "d", "e"]}, "decoder.2.3"),
    ],
)
def test_options_that_do_not_fit_the_packed_state(options, words, tmp_path):
    source = packing.golden_th("uniform", tmp_path)
    path = packing.hub_file(source, tmp_path / "m.safetensors", **options)
    with pytest.raises(CheckpointError, match=words):
        load_model(path)


def test_reading_imports_no_quantiser(tmp_path):
    path = packing.golden_th("diffq", tmp_path)
    program = (
        "import sys; from audiform.checkpoints import load_model; load_model(sys.argv[1])\n"
        "assert not {'diffq', 'demucs', 'audiform.training'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", program, str(path)], check=True)


@pytest.mark.parametrize(
    ("network", "options"),
    [
        ("demucs", {"depth": 4, "norm_starts": 1, "dconv_lstm": 1, "dconv_attn": 1}),
        ("demucs", {"depth": 2, "norm_starts": 0, "dconv_mode": 3, "lstm_layers": 2}),
        ("hdemucs", {"norm_starts": 1, "dconv_mode": 3}),
        ("hdemucs", {"norm_starts": 1, "hybrid": False, "nfft": 2048, "depth": 5}),
        ("htdemucs", {"depth": 2, "norm_starts": 1, "bottom_channels": 16, "t_heads": 2,
                      "t_layers": 2, "dconv_mode": 3}),
    ],
)  # fmt: skip
def test_the_order_is_that_of_the_published_classes(network, options):
    import importlib

    classes = {"demucs": "Demucs", "hdemucs": "HDemucs", "htdemucs": "HTDemucs"}
    made = getattr(importlib.import_module(f"demucs.{network}"), classes[network])
    names = [name for name, _ in made(["a", "b"], channels=8, **options).named_parameters()]
    shuffled = random.Random(0).sample(names, len(names))
    assert in_published_order(shuffled) == names


@settings(max_examples=60, deadline=None)
@given(
    bits=st.integers(1, 16),
    numbers=st.lists(st.integers(0, 2**16 - 1), min_size=1, max_size=2200),
    torch_pack=st.booleans(),
)
def test_unpacking_undoes_packing(bits, numbers, torch_pack):
    numbers = [number % 2**bits for number in numbers]
    packed = packing.PACK[torch_pack](numbers, bits)
    found = (unpack_int16 if torch_pack else unpack_int64)(packed)
    assert found[: len(numbers)].tolist() == numbers
    assert not found[len(numbers) :].any()


def uniform(**changes):
    """Twelve weights of 4 bits, and a bias that is too small to be quantised."""
    parts = {
        "levels": packing.pack_int64(list(range(12)), 4),
        "range": (-1.0, 2.0),
        "others": [torch.tensor([5.0, 6.0])],
        "float16": [],
        "meta": packing.meta(UNIFORM, bits=4, min_size=10 * 4 / 2**20),
    } | changes
    return packing.state(
        parts["meta"], [(parts["levels"], parts["range"])],
        others=parts["others"], float16=parts["float16"],
    )  # fmt: skip


SHAPES = {"a.bias": (2,), "a.weight": (3, 4)}


def test_uniform_levels_lie_evenly_between_the_ends():
    found = unpack(uniform(), SHAPES)
    expected = torch.arange(12).reshape(3, 4) / 15 * 3.0 - 1.0
    assert torch.allclose(found["a.weight"], expected, atol=1e-7, rtol=0)
    assert found["a.bias"].tolist() == [5.0, 6.0]
    assert list(found) == list(SHAPES)


def test_small_parameters_may_be_half_and_the_range_in_tensors():
    found = unpack(
        uniform(
            others=[],
            float16=[torch.tensor([5.0, 6.0]).half()],
            range=(torch.tensor(-1.0), torch.tensor([2.0])),
        ),
        SHAPES,
    )
    assert found["a.bias"].dtype == torch.float32
    assert found["a.weight"].min() == -1.0


def diffq(bits, *, torch_pack=False, group_size=8, entries=14, writes=range(1, 15), **init):
    """A state of groups with these bits, at levels 0, 1, 2, ... of each; range -1 to 1."""
    pack = packing.PACK[torch_pack]
    init = {"group_size": group_size, "min_size": 0} | init
    lists = [None] * entries
    expected = torch.zeros(len(bits), group_size)
    for width in sorted(set(bits)):
        groups = [index for index, value in enumerate(bits) if value == width]
        numbers = [number % 2**width for number in range(len(groups) * group_size)]
        if width in writes:
            lists[width - 1] = pack(numbers, width)
            values = torch.tensor(numbers).double() / (2**width - 1) * 2 - 1
            expected[groups] = values.reshape(-1, group_size).float()
    least = init.get("min_bits", 2)
    planes = (init.get("max_bits", 15) - least).bit_length()
    packed_bits = pack([value - least for value in bits], planes)
    meta = packing.meta(DIFFQ, torch_pack=torch_pack, **init)
    return packing.state(meta, [(lists, (-1.0, 1.0), packed_bits)]), expected


@settings(max_examples=30, deadline=None)
@given(
    bits=st.lists(st.integers(2, 14), min_size=1, max_size=40),
    torch_pack=st.booleans(),
    group_size=st.sampled_from([1, 4, 8]),
)
def test_groups_find_their_places(bits, torch_pack, group_size):
    state, expected = diffq(bits, torch_pack=torch_pack, group_size=group_size)
    found = unpack(state, {"w": (len(bits), group_size)})["w"]
    assert (found - expected).abs().max() <= 1e-6


def test_groups_that_the_writer_lost_are_zero_and_counted(caplog):
    state, expected = diffq([15, 3, 15, 4])
    with caplog.at_level(logging.WARNING):
        found = unpack(state, {"w": (4, 8)})["w"]
    assert not found[[0, 2]].any()
    assert torch.allclose(found[[1, 3]], expected[[1, 3]], atol=1e-6, rtol=0)
    assert "16 weights of 15 bits" in caplog.text


def test_groups_of_15_bits_that_are_there_are_read():
    state, expected = diffq([15, 3], entries=15, writes=range(1, 16))
    assert torch.allclose(unpack(state, {"w": (2, 8)})["w"], expected, atol=1e-6)


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (uniform(meta=None), "'meta' is no table"),
        (uniform(meta={"klass": "os.system"}), "'os.system' is not known"),
        (uniform(meta={"klass": GlobalName("demucs.demucs.Demucs")}), "not known"),
        (uniform(meta={"klass": UNIFORM, "init_kwargs": 5}), "'meta' is no table"),
        (uniform(meta={"klass": UNIFORM}), "not packed"),
        (uniform(meta=packing.meta(UNIFORM, bits=40)), "40 bits"),
        (uniform(meta=packing.meta(UNIFORM, bits=-1)), "bits = -1"),
        (uniform(meta=packing.meta(UNIFORM, bits=10**30)), "out of range"),
        (uniform(meta=packing.meta(UNIFORM, bits="4")), "bits = '4'"),
        (uniform(meta=packing.meta(UNIFORM, min_size=float("nan"))), "min_size = nan"),
        (uniform(meta=packing.meta(UNIFORM, exclude=["a"])), "exclude"),
        (uniform(meta=packing.meta(UNIFORM, group_size=0)), "groups of 0"),
        (uniform(meta=packing.meta(UNIFORM, min_bits=9, max_bits=3)), "9 to 3 bits"),
        (uniform(meta=packing.meta(UNIFORM, bits=4, min_size=0)), "1 quantised.* 2"),
        (uniform(others=[]), "0 other parameters where the network has 1"),
        (uniform(others=[torch.zeros(3)]), r"a.bias is \(3,\)"),
        (uniform(others=[torch.zeros(2, dtype=torch.int64)]), "a.bias is .* of torch.int64"),
        (uniform(others=["text"]), "a.bias is no tensor"),
        (uniform(float16=[torch.zeros(2)]), "both float16 and other"),
        (uniform(levels=torch.zeros(1, 5, 32, dtype=torch.int64)), r"\(1, 5, 32\)"),
        (uniform(levels=torch.zeros(2, 4, 32, dtype=torch.int64)), r"\(2, 4, 32\)"),
        (uniform(levels=torch.zeros(1, 4, 32)), "torch.float32"),
        (uniform(levels=None), "a part of a.weight is no tensor"),
        (uniform(range=(2.0, -1.0)), "range of a.weight"),
        (uniform(range=(float("nan"), 1.0)), "range of a.weight"),
        (uniform(range=(0.0, float("inf"))), "range of a.weight"),
        (uniform(range=5), "range of a.weight"),
        (uniform(range=("a", "b")), "range of a.weight"),
        (uniform() | {"quantized": {}}, "no list"),
        (uniform() | {"quantized": [5]}, "not made of 2 parts"),
    ],
)  # fmt: skip
def test_uniform_states_that_do_not_fit(state, words):
    with pytest.raises(CheckpointError, match=words) as caught:
        unpack(state, SHAPES)
    assert caught.value.path == PATH
    assert "as it was released" in str(caught.value)


def changed(place, value, bits=(3, 4)):
    state, _ = diffq(list(bits))
    entry = list(state["quantized"][0])
    entry[place] = value
    return state | {"quantized": [tuple(entry)]}


LEVELS = torch.zeros(1, 3, 32, dtype=torch.int64)


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (changed(0, None), "levels of w are no list"),
        (changed(0, []), "a part of w is no tensor"),
        (changed(0, [None, None, LEVELS, None]), "a part of w is no tensor"),
        (changed(0, [LEVELS] * 20), "levels of 1 bits and no such groups"),
        (changed(2, torch.zeros(1, 3, 32, dtype=torch.int64)), r"\(1, 3, 32\)"),
        (changed(2, None), "a part of w is no tensor"),
        (changed(2, packing.pack_int64([14, 2], 4)), "a group of w has 16 bits"),
        (diffq([3, 4], group_size=8)[0] | {"quantized": [(1, 2)]}, "not made of 3 parts"),
        (diffq([3], group_size=32)[0], "16 weights in groups of 32"),
    ],
)
def test_grouped_states_that_do_not_fit(state, words):
    with pytest.raises(CheckpointError, match=words):
        unpack(state, {"w": (2, 8)})


# The hub's layout.


def test_a_nested_structure_is_built_of_tensors():
    tensor = torch.zeros(1)
    text = (
        '{"_dict": [["a", {"_tuple": [{"_tensor": "t0"}, {"_list": [1.5, null]}]}],'
        ' ["klass", {"_class": "diffq.uniform.UniformQuantizer"}], ["__quantized", true]]}'
    )
    built = nested_state(text, {"t0": tensor}, path=PATH)
    assert built == {"a": (tensor, [1.5, None]), "klass": GlobalName(UNIFORM), "__quantized": True}


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "5",
        "{}",
        '{"_list": []}',
        '{"_dict": [["a"]]}',
        '{"_dict": [[1, 2]]}',
        '{"_dict": {"a": 1}}',
        '{"_dict": [["a", [1]]]}',
        '{"_dict": [["a", {"_tensor": "t9"}]]}',
        '{"_dict": [["a", {"_tensor": ["t0"]}]]}',
        '{"_dict": [["a", {"_class": "os.system"}]]}',
        '{"_dict": [["a", {"_class": "demucs.demucs.Demucs"}]]}',
        '{"_dict": [["a", {"_call": "x"}]]}',
        '{"_dict": [], "_list": []}',
        '{"_dict": [["a", ' + '{"_list": [' * 5000 + "]}" * 5000 + "]]}",
    ],
)
def test_structures_that_are_refused(text):
    with pytest.raises(CheckpointError) as caught:
        nested_state(text, {"t0": torch.zeros(1)}, path=PATH)
    assert caught.value.path == PATH


def test_large_tensors_are_unpacked_too():
    numbers = np.random.default_rng(0).integers(0, 32, 5000).tolist()
    state = packing.state(
        packing.meta(UNIFORM, bits=5, min_size=0), [(packing.pack_int64(numbers, 5), (0.0, 31.0))]
    )
    assert unpack(state, {"w": (5000,)})["w"].tolist() == pytest.approx(numbers)
