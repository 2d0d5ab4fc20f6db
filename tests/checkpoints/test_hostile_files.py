"""Files that want to run something, or to fill the memory: refused, and nothing ran."""

from __future__ import annotations

import io
import os
import pickle
import shutil
import struct
import zipfile
from pathlib import Path

import pytest
import torch
from tests.checkpoints import published

from audiform.checkpoints import read_any, restricted_pickle, torch_file
from audiform.checkpoints.restricted_pickle import read_pickle
from audiform.checkpoints.torch_file import open_torch_file
from audiform.errors import CheckpointError

CANARY = b"touch canary"


def text(value: bytes) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value


def short(value: bytes) -> bytes:
    return b"\x8c" + bytes([len(value)]) + value


def call(module: bytes, name: bytes, argument: bytes = CANARY) -> bytes:
    return b"\x80\x02c" + module + b"\n" + name + b"\n" + text(argument) + b"\x85R."


def stack_call(module: bytes, name: bytes, argument: bytes = CANARY) -> bytes:
    return b"\x80\x04" + short(module) + short(name) + b"\x93" + text(argument) + b"\x85R."


class _Reduces:
    def __reduce__(self):
        return os.system, (CANARY.decode(),)


#: Values that the table permits, to be attacked with what pickle could do to them.
FRACTION = b"cfractions\nFraction\n"
HTDEMUCS = b"cdemucs.htdemucs\nHTDemucs\n"
INERT = b"cpathlib\nPosixPath\n" + text(b"/") + b"\x85R"
SET_STATE = b"}" + text(b"__setstate__") + b"cos\nsystem\ns"

PAYLOADS = {
    "REDUCE of os.system": call(b"os", b"system"),
    "REDUCE of posix.system": call(b"posix", b"system"),
    "REDUCE by a real class": pickle.dumps(_Reduces(), protocol=2),
    "REDUCE by a real class, protocol 5": pickle.dumps(_Reduces(), protocol=5),
    "REDUCE by a real class, protocol 0": pickle.dumps(_Reduces(), protocol=0),
    "builtins.eval": call(b"builtins", b"eval", b"__import__('os').system('touch canary')"),
    "builtins.exec": call(b"builtins", b"exec", b"open('canary', 'w')"),
    "__builtin__.eval, Python 2": call(b"__builtin__", b"eval", b"open('canary', 'w')"),
    "builtins.getattr": call(b"builtins", b"getattr"),
    "builtins.__import__": call(b"builtins", b"__import__", b"os"),
    "builtins.open": call(b"builtins", b"open", b"canary"),
    "subprocess.Popen": call(b"subprocess", b"Popen"),
    "importlib.import_module": call(b"importlib", b"import_module", b"this"),
    "pickle.loads, nested": call(b"pickle", b"loads", call(b"os", b"system")),
    "torch.load, nested": call(b"torch", b"load"),
    "torch hub.load as one name": stack_call(b"torch", b"hub.load"),
    "torch.hub load": stack_call(b"torch.hub", b"load"),
    "dots into an allowed class": stack_call(b"fractions", b"Fraction.__class__"),
    "dots out of an allowed module": stack_call(b"fractions", b"sys.modules"),
    "an allowed name, one dot further": stack_call(b"collections", b"OrderedDict.fromkeys"),
    "methods of torch storages": stack_call(b"torch", b"FloatStorage.from_file"),
    "demucs functions": call(b"demucs.states", b"load_model"),
    "demucs class, called": b"\x80\x02" + HTDEMUCS + text(b"x") + b"\x85R.",
    "demucs class, by NEWOBJ": b"\x80\x02" + HTDEMUCS + b")\x81.",
    "numpy reconstruct": call(b"numpy.core.multiarray", b"_reconstruct"),
    "numpy load": call(b"numpy", b"load"),
    "INST": b"(S'touch canary'\nios\nsystem\n.",
    "INST of an allowed class": b"(S'1'\nifractions\nFraction\n.",
    "OBJ": b"\x80\x02(cos\nsystem\n" + text(CANARY) + b"o.",
    "OBJ of an allowed class": b"\x80\x02(" + FRACTION + text(b"1") + b"o.",
    "NEWOBJ": b"\x80\x02cos\nsystem\n" + text(CANARY) + b"\x85\x81.",
    "NEWOBJ_EX": b"\x80\x04cos\nsystem\n" + text(CANARY) + b"\x85}\x92.",
    "NEWOBJ_EX of an allowed class": b"\x80\x04" + FRACTION + b")}\x92.",
    "BUILD with __setstate__": b"\x80\x02" + INERT + SET_STATE + b"b.",
    "BUILD on a class": b"\x80\x02" + FRACTION + b"}" + text(b"__new__") + b"K\x01sb.",
    "BUILD with slots on a class": b"\x80\x02" + FRACTION + b"N}" + text(b"a") + b"K\x01s\x86b.",
    "BUILD on a fraction": b"\x80\x02" + FRACTION + text(b"1/2") + b"\x85R}b.",
    "EXT1": b"\x80\x02\x82\x01)R.",
    "EXT2": b"\x80\x02\x83\x01\x00)R.",
    "EXT4": b"\x80\x02\x84\x01\x00\x00\x00)R.",
    "copyreg.add_extension": call(b"copyreg", b"add_extension"),
    "copyreg._reconstructor": call(b"copyreg", b"_reconstructor"),
    "copyreg.__newobj__": call(b"copyreg", b"__newobj__"),
    "copy_reg, Python 2": call(b"copy_reg", b"_reconstructor"),
    "operator.attrgetter": call(b"operator", b"attrgetter", b"__globals__"),
    "functools.partial": call(b"functools", b"partial"),
    "a call of a value": b"\x80\x02" + text(CANARY) + b")R.",
    "a call of what a call gave": b"\x80\x02" + INERT + b")R.",
    "a class kept for later": b"\x80\x02cos\nsystem\nq\x000h\x00" + text(CANARY) + b"\x85R.",
    "a global name that is no text": b"\x80\x04K\x01K\x02\x93.",
    "PERSID": b"Pos.system\n.",
    "BINPERSID of a text": b"\x80\x02" + text(b"storage") + b"Q.",
    "BINPERSID of a global": b"\x80\x02cos\nsystem\nQ.",
    "BINPERSID of odd values": b"\x80\x02(" + text(b"storage") + b"K\x01K\x02K\x03K\x04tQ.",
    "BINPERSID of a storage that is a class": (
        b"\x80\x02(" + text(b"storage") + FRACTION + text(b"0") + text(b"cpu") + b"K\x04tQ."
    ),
    "BINPERSID of a negative size": (
        b"\x80\x02(" + text(b"storage") + b"ctorch\nFloatStorage\n" + text(b"0") + text(b"cpu")
        + b"J\xff\xff\xff\xfftQ."
    ),
    "a module beside its source text": (
        b"\x80\x02(" + text(b"module") + b"cos\nsystem\n" + text(b"f") + text(b"s") + b"tQ."
    ),
    "a buffer from outside": b"\x80\x05\x97.",
    "a fraction with a huge exponent": b"\x80\x02" + FRACTION + text(b"1e999999999") + b"\x85R.",
    "a fraction over 0": b"\x80\x02" + FRACTION + text(b"1/0") + b"\x85R.",
    "a nested key": b"\x80\x02}((K\x01tq\x00h\x00\x86K\x02u.",
    "an addition to a text": b"\x80\x02" + text(b"a") + b"K\x01a.",
    "no end": b"\x80\x02}",
    "an empty stack": b"\x80\x02R.",
    "a memo that is not there": b"\x80\x02h\x07.",
    "no opcode": b"\x80\x02\xff.",
    "a text longer than the file": b"\x80\x02X\xff\xff\xff\x7fabc",
    "a huge text length": b"\x80\x04\x8d" + b"\xff" * 7 + b"\x7f" + b"abc",
}  # fmt: skip


@pytest.fixture(autouse=True)
def canary(tmp_path, monkeypatch):
    """Whatever is run would leave a file here."""
    monkeypatch.chdir(tmp_path)
    yield tmp_path / "canary"
    assert not (tmp_path / "canary").exists()


def zipped(path: Path, pickled: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/version", "3\n")
    return path


def legacy(path: Path, pickled: bytes, *, place: int) -> Path:
    pickles = [
        pickle.dumps(torch_file._LEGACY_MAGIC, protocol=2),
        pickle.dumps(torch_file._LEGACY_PROTOCOL, protocol=2),
        pickle.dumps({"little_endian": True}, protocol=2),
        pickle.dumps({}, protocol=2),
        pickle.dumps([], protocol=2),
    ]
    pickles[place] = pickled
    path.write_bytes(b"".join(pickles))
    return path


@pytest.mark.parametrize("name", PAYLOADS)
def test_zip_layout(name, tmp_path):
    path = zipped(tmp_path / "m.th", PAYLOADS[name])
    with pytest.raises(CheckpointError) as caught:
        read_any(path)
    assert caught.value.path == path


@pytest.mark.parametrize("name", PAYLOADS)
@pytest.mark.parametrize("place", range(5), ids=["magic", "protocol", "system", "content", "keys"])
def test_older_layout(name, place, tmp_path):
    path = legacy(tmp_path / "m.th", PAYLOADS[name], place=place)
    with pytest.raises(CheckpointError) as caught:
        read_any(path)
    assert caught.value.path == path


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("REDUCE of os.system", "'os.system'"),
        ("torch hub.load as one name", "'torch.hub.load'"),
        ("copyreg.add_extension", "'copyreg.add_extension'"),
        ("INST", "INST"),
        ("EXT1", "EXT1"),
        ("demucs class, called", "a call of 'demucs.htdemucs.HTDemucs'"),
    ],
)
def test_the_message_names_what_was_refused(name, words, tmp_path):
    with pytest.raises(CheckpointError, match=words):
        read_any(zipped(tmp_path / "m.th", PAYLOADS[name]))


def test_the_payloads_are_real(canary):
    """Against pickle itself some of them do run: the tests above test something."""
    assert not canary.exists()
    pickle.loads(PAYLOADS["REDUCE of os.system"])
    assert canary.exists()
    canary.unlink()
    pickle.loads(PAYLOADS["torch hub.load as one name"].replace(b"torch", b"posix").replace(
        short(b"hub.load"), short(b"system")))  # fmt: skip
    assert canary.exists()
    canary.unlink()


def test_nothing_in_the_table_can_be_reached_by_attribute():
    class_marker = read_pickle(io.BytesIO(b"\x80\x02" + HTDEMUCS + b"."), path=Path("x"))
    assert class_marker == restricted_pickle.GlobalName("demucs.htdemucs.HTDemucs")
    assert not callable(class_marker)
    built = read_pickle(io.BytesIO(b"\x80\x02" + INERT + b"}b."), path=Path("x"))
    assert type(built) is restricted_pickle.Inert
    assert not callable(built)


def test_every_opcode_is_a_value_a_step_or_refused():
    import pickletools

    known = set(restricted_pickle._VALUE_OPCODES) | {"STOP"}
    steps = {
        opcode.name
        for opcode in pickletools.opcodes
        if hasattr(restricted_pickle._Machine, f"_{opcode.name.lower()}")
    }
    refused = {opcode.name for opcode in pickletools.opcodes} - known - steps
    assert refused == {
        "BYTEARRAY8", "DUP", "EXT1", "EXT2", "EXT4", "INST", "NEWOBJ_EX", "NEXT_BUFFER", "OBJ",
        "PERSID", "READONLY_BUFFER",
    }  # fmt: skip


def test_instructions_are_counted(monkeypatch, tmp_path):
    monkeypatch.setattr(restricted_pickle, "MAX_OPCODES", 100)
    with pytest.raises(CheckpointError, match="more than 100 instructions"):
        read_any(zipped(tmp_path / "m.th", b"\x80\x02" + b"]" * 200 + b"."))


def test_lists_that_hold_themselves_end(tmp_path):
    loop: list = []
    loop.append(loop)
    content = {"klass": published.HTDemucs, "state": {}, "args": loop, "kwargs": {"sources": loop}}
    for place, old in enumerate([False, True]):
        path = published.save_th(tmp_path / f"{place}.th", content, legacy=old)
        with pytest.raises(CheckpointError):
            read_any(path)


def test_what_training_arguments_may_hold_is_read_as_inert_data(tmp_path):
    import collections
    import datetime
    import pathlib

    import numpy

    extras = {
        "path": pathlib.PurePosixPath("/x"),
        "when": datetime.datetime(2022, 1, 1),
        "score": numpy.float64(9.5),
        "count": numpy.int64(3),
        "names": {"a", "b"},
        "counter": collections.Counter("aab"),
        "table": collections.defaultdict(list, {"a": [1]}),
        "kind": dict,
        "bytes": b"\x00\xff",
        "complex": 1 + 2j,
        "size": torch.Size([2, 3]),
    }
    for old in (False, True):
        path = published.save_th(tmp_path / "m.th", extras, legacy=old)
        with open_torch_file(path) as file:
            content = file.content
        assert content["score"] == 9.5
        assert content["count"] == 3
        assert content["names"] == {"a", "b"}
        assert content["bytes"] == b"\x00\xff"
        assert content["complex"] == 1 + 2j
        assert content["size"] == (2, 3)
        assert repr(content["path"]).startswith("<pathlib.")
        assert type(content["when"]) is restricted_pickle.Inert
        assert type(content["counter"]) is restricted_pickle.Inert


def test_containers_of_omegaconf_and_diffq_classes_are_markers(tmp_path, monkeypatch):
    """As older packages hold them; stand-ins with the same way of being pickled."""
    import sys
    from types import ModuleType

    def klass(module, name):
        made = type(name, (), {"__module__": module, "__qualname__": name})
        for part in (module.partition(".")[0], module):
            if part not in sys.modules:
                monkeypatch.setitem(sys.modules, part, ModuleType(part))
        setattr(sys.modules[module], name, made)
        return made

    node = klass("omegaconf.nodes", "AnyNode")()
    node.__dict__ = {"_metadata": klass("omegaconf.base", "Metadata")(), "_val": 3}
    container = klass("omegaconf.dictconfig", "DictConfig")()
    container.__dict__ = {"_content": {"lr": node}, "_parent": container, "kind": dict}
    quantiser = klass("diffq.diffq", "DiffQuantizer")
    content = {"training_args": container, "state": {"__quantized": True, "klass": quantiser}}
    for old in (False, True):
        path = published.save_th(tmp_path / "m.th", content, legacy=old)
        with open_torch_file(path) as file:
            read = file.content
        assert read["state"]["klass"] == restricted_pickle.GlobalName("diffq.diffq.DiffQuantizer")
        outer = read["training_args"]
        assert (outer.name, outer.state["_parent"]) == ("omegaconf.dictconfig.DictConfig", outer)
        assert outer.state["_content"]["lr"].state["_val"] == 3


@pytest.mark.parametrize("name", ["sources", "channels", "segment", "cac", "unheard_of", "growth"])
def test_options_nested_without_end(name, tmp_path):
    """Pickled by hand: pickle itself cannot write them."""
    deep = b"]" * 100_000 + b"a" * 99_999
    pickled = (
        b"\x80\x02}(" + text(b"klass") + HTDEMUCS + text(b"state") + b"}" + text(b"kwargs")
        + b"}(" + text(b"sources") + b"(" + text(b"a") + b"l" + text(name.encode()) + deep + b"uu."
    )  # fmt: skip
    with pytest.raises(CheckpointError):
        read_any(zipped(tmp_path / "m.th", pickled))


@pytest.mark.parametrize("klass", [[], {}, 5, None, "demucs.htdemucs.HTDemucs", 1j])
def test_odd_classes(klass, tmp_path):
    content = {"klass": klass, "state": {}, "kwargs": {"sources": ["a"], "t_layers": "x"}}
    with pytest.raises(CheckpointError):
        read_any(published.save_th(tmp_path / "m.th", content))


# Archives.


@pytest.fixture
def good(tmp_path) -> Path:
    return published.save_th(tmp_path / "good.th", {"a": torch.arange(6.0).reshape(2, 3)})


def rewritten(good: Path, *, compression=zipfile.ZIP_STORED, rename=None, extra=()) -> Path:
    path = good.with_name("bad.th")
    with zipfile.ZipFile(good) as source, zipfile.ZipFile(path, "w", compression) as target:
        for info in source.infolist():
            name = (rename or {}).get(info.filename.partition("/")[2], info.filename)
            target.writestr(name, source.read(info))
        for name, content in extra:
            target.writestr(name, content)
    return path


def test_the_unchanged_archive_is_read(good):
    with open_torch_file(good) as file:
        assert torch.equal(file.tensor(file.content["a"]), torch.arange(6.0).reshape(2, 3))
    with open_torch_file(rewritten(good)) as file:
        assert torch.equal(file.tensor(file.content["a"]), torch.arange(6.0).reshape(2, 3))


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"compression": zipfile.ZIP_DEFLATED}, "compressed"),
        ({"extra": [("good/data/0", b"again")]}, "two records"),
        ({"extra": [("../escape", b"x")]}, "record named"),
        ({"extra": [("good/../../escape", b"x")]}, "record named"),
        ({"extra": [("/etc/passwd", b"x")]}, "record named"),
        ({"extra": [("good/data\\..\\x", b"x")]}, "record named"),
        ({"rename": {"data.pkl": "good/other.pkl"}}, "no data.pkl"),
        ({"rename": {"data.pkl": "elsewhere/data.pkl"}}, "record named"),
        ({"rename": {"byteorder": "good/x"}, "extra": [("good/byteorder", b"big")]}, "big-endian"),
    ],
)
def test_archives_that_torch_did_not_write(changes, words, good):
    with pytest.raises(CheckpointError, match=words), open_torch_file(rewritten(good, **changes)):
        pass


def test_a_missing_storage_is_named(good):
    with (
        pytest.raises(CheckpointError, match="storage '0' is missing"),
        open_torch_file(rewritten(good, rename={"data/0": "good/data/7"})) as file,
    ):
        file.tensor(file.content["a"])


def test_records_that_overlap_are_refused(good):
    """Two entries of the directory that point at one place: how zip bombs are made."""
    raw = bytearray(good.read_bytes())
    first = raw.index(b"PK\x01\x02")
    second = raw.index(b"PK\x01\x02", first + 4)
    raw[second + 42 : second + 46] = raw[first + 42 : first + 46]
    path = good.with_name("bad.th")
    path.write_bytes(raw)
    with pytest.raises(CheckpointError), open_torch_file(path):
        pass


def test_a_flipped_bit_is_seen(good):
    raw = bytearray(good.read_bytes())
    raw[raw.index(struct.pack("<f", 3.0)) + 1] ^= 1
    path = good.with_name("bad.th")
    path.write_bytes(raw)
    with pytest.raises(CheckpointError, match="CRC"), open_torch_file(path) as file:
        file.tensor(file.content["a"])


@pytest.mark.parametrize("old", [False, True], ids=["zip", "older"])
def test_every_truncation_is_an_error_of_ours(old, tmp_path):
    content = {"klass": published.HTDemucs, "state": {"a": torch.zeros(9)}, "kwargs": {}}
    whole = published.save_th(tmp_path / "m.th", content, legacy=old).read_bytes()
    path = tmp_path / "part.th"
    for length in range(0, len(whole), len(whole) // 60):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError), open_torch_file(path):
            pass


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("old", [False, True], ids=["zip", "older"])
def test_random_damage_is_survived(seed, old, tmp_path):
    """Whatever the bytes are: a reading or an error of ours, never another exception."""
    import random

    generator = random.Random(seed)
    content = {"klass": published.HTDemucs, "state": {"a": torch.zeros(9)}, "kwargs": {"b": (1,)}}
    whole = published.save_th(tmp_path / "m.th", content, legacy=old).read_bytes()
    path = tmp_path / "bad.th"
    for _ in range(150):
        raw = bytearray(whole)
        for _ in range(generator.randint(1, 8)):
            raw[generator.randrange(len(raw))] = generator.randrange(256)
        path.write_bytes(raw)
        try:
            read_any(path)
        except CheckpointError as error:
            assert error.path == path


def tensor_pickle(size: int, offset: int, shape: tuple, strides: tuple) -> bytes:
    stream = io.BytesIO()

    class Pickler(pickle.Pickler):
        def persistent_id(self, value):
            if value == "THE STORAGE":
                return ("storage", torch.FloatStorage, "0", "cpu", size)
            return None

    class Tensor:
        def __reduce__(self):
            rebuild = torch._utils._rebuild_tensor_v2
            return rebuild, ("THE STORAGE", offset, shape, strides, False, None)

    Pickler(stream, protocol=2).dump({"a": Tensor()})
    return stream.getvalue()


@pytest.mark.parametrize(
    ("shape", "strides", "offset", "size", "words"),
    [
        ((4,), (1,), 1, 4, "beyond its storage"),
        ((4,), (2,), 0, 4, "beyond its storage"),
        ((4,), (1,), 0, 8, "another size"),
        ((100_000, 100_000), (0, 0), 0, 4, "beyond its storage"),
        ((-4,), (1,), 0, 4, "not whole numbers"),
        ((4,), (-1,), 3, 4, "not whole numbers"),
        ((4.0,), (1,), 0, 4, "not whole numbers"),
        ((2**60,), (1,), 0, 4, "not whole numbers"),
        ((1,) * 20, (1,) * 20, 0, 4, "20 dimensions"),
        ((4,), (1,), -1, 4, "no storage"),
    ],
)
def test_tensors_outside_their_storage(shape, strides, offset, size, words, tmp_path):
    path = tmp_path / "m.th"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("m/data.pkl", tensor_pickle(size, offset, shape, strides))
        archive.writestr("m/data/0", struct.pack("<4f", 1, 2, 3, 4))
    with pytest.raises(CheckpointError, match=words), open_torch_file(path) as file:
        file.tensor(file.content["a"])


def test_one_storage_cannot_be_multiplied_without_end(tmp_path):
    shared = torch.zeros(10_000)
    content = {str(index): shared[: 9_000 + index] for index in range(50)}
    path = published.save_th(tmp_path / "m.th", content)
    with pytest.raises(CheckpointError, match="far more"), open_torch_file(path) as file:
        for stored in file.content.values():
            file.tensor(stored)


def test_views_dtypes_and_order_of_the_older_layout(tmp_path):
    base = torch.arange(24.0).reshape(4, 6)
    content = {
        "whole": base, "turned": base.t(), "row": base[2], "half": base.half(),
        "long": torch.arange(5), "flags": torch.tensor([True, False]), "scalar": torch.tensor(2.5),
        "empty": torch.zeros(0, 3), "brain": base.bfloat16(), "double": base.double(),
    }  # fmt: skip
    for old in (False, True):
        path = published.save_th(tmp_path / "m.th", content, legacy=old)
        with open_torch_file(path) as file:
            for name, expected in content.items():
                found = file.tensor(file.content[name])
                assert found.dtype == expected.dtype
                assert torch.equal(found, expected), name
                assert found.is_contiguous()


@pytest.mark.parametrize(
    "content", [b"", b"<html>404</html>", b"PK\x03\x04", b"\x80", b"ustar" * 99]
)
def test_what_is_no_checkpoint_at_all(content, tmp_path):
    path = tmp_path / "m.th"
    path.write_bytes(content)
    with pytest.raises(CheckpointError):
        read_any(path)


def test_folders_and_missing_files(tmp_path):
    (tmp_path / "folder.th").mkdir()
    for name in ("folder.th", "missing.th", "missing.safetensors"):
        with pytest.raises(CheckpointError):
            read_any(tmp_path / name)


def test_a_disguised_safetensors_is_refused(good, tmp_path):
    shutil.copy(good, tmp_path / "m.safetensors")
    with pytest.raises(CheckpointError, match="not a safetensors"):
        read_any(tmp_path / "m.safetensors")
