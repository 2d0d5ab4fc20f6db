"""Backends: the same stems by other means, and what happens where one cannot be had."""

import json
import logging
import sys
from types import SimpleNamespace

import pytest
import torch
from jaxtyping import config

from audiform.checkpoints import write_checkpoint
from audiform.errors import ConfigError
from audiform.inference.backends import choice, cuda_graphs, openvino
from audiform.inference.backends.choice import BackendChooser, signal_to_error_db
from audiform.inference.backends.compiled_cache import DIGEST_BYTES, CompiledCache
from audiform.inference.backends.excerpt import music
from audiform.inference.backends.torch_eager import TorchBackend
from audiform.inference.separator import Separator
from tests.models_for_tests import TINY_HTDEMUCS, ShareModel, tiny_htdemucs

CPU = torch.device("cpu")

needs_openvino = pytest.mark.skipif(
    not openvino.has_openvino(), reason="OpenVINO is not installed (an extra)"
)


@pytest.fixture(autouse=True)
def no_checks_of_shapes():
    """Tracing turns shapes into tensors, which the checks of the tests' import hook refuse."""
    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", False)


@pytest.fixture(scope="module")
def network():
    return tiny_htdemucs()


@pytest.fixture
def cache(tmp_path) -> CompiledCache:
    return CompiledCache(tmp_path / "compiled")


def stems_of(network, backend, *, batch: int = 1) -> torch.Tensor:
    mixture = torch.cat([excerpt(network)] * batch)
    analysis = network.analyse(mixture)
    with torch.no_grad():
        return network.synthesise(backend(*analysis.inputs), analysis)


def excerpt(network) -> torch.Tensor:
    spec = network.spec
    return music(
        audio_channels=spec.audio_channels,
        num_samples=spec.segment_samples,
        sample_rate=spec.sample_rate,
    )


def chooser(network, cache, **options) -> BackendChooser:
    options = {"identity": "weights", **options}
    samples = network.spec.segment_samples
    return BackendChooser(network, device=CPU, segment_samples=samples, cache=cache, **options)


@needs_openvino
def test_openvino_gives_what_torch_gives(network, cache) -> None:
    inputs = network.analyse(excerpt(network)).inputs
    backend = openvino.OpenVinoBackend(network, inputs, precision="fp32", cache=cache)
    expected = stems_of(network, TorchBackend(network, device=CPU), batch=3)
    found = stems_of(network, backend, batch=3)
    # sums in another order
    torch.testing.assert_close(found, expected, atol=2e-5 * expected.abs().max().item(), rtol=0)


@needs_openvino
def test_openvino_reports_to_nobody() -> None:
    assert openvino.openvino_precisions()
    assert "openvino_telemetry" not in sys.modules


@needs_openvino
def test_other_lengths_go_through_torch(cache) -> None:
    model = ShareModel(segment_samples=100)
    backend = openvino.OpenVinoBackend(model, (torch.zeros(1, 2, 100),), precision="fp32")
    model.calls.clear()
    (stems,) = backend(torch.ones(1, 2, 60))
    assert stems.shape[-1] == 60 and model.calls == [1]


@needs_openvino
def test_a_network_is_converted_once(cache, monkeypatch) -> None:
    network = ShareModel(segment_samples=1000)
    inputs = network.analyse(excerpt(network)).inputs
    make = lambda **more: openvino.OpenVinoBackend(  # noqa: E731
        network, inputs, precision="fp32", cache=cache, **more
    )
    first = stems_of(network, make(identity="weights"))
    monkeypatch.setattr(openvino, "convert", lambda *_: pytest.fail("converted again"))
    torch.testing.assert_close(stems_of(network, make(identity="weights")), first)


@needs_openvino
@pytest.mark.parametrize("damage", ["cut", "changed", "empty"])
def test_a_damaged_file_is_made_again(cache, damage) -> None:
    network = ShareModel(segment_samples=1000)
    inputs = network.analyse(excerpt(network)).inputs
    make = lambda: openvino.OpenVinoBackend(  # noqa: E731
        network, inputs, precision="fp32", cache=cache, identity="weights"
    )
    expected = stems_of(network, make())
    (kept,) = cache.folder.iterdir()
    whole = kept.read_bytes()
    changed = whole[:100] + bytes([whole[100] ^ 1]) + whole[101:]
    kept.write_bytes({"cut": whole[:-7], "changed": changed, "empty": b""}[damage])
    torch.testing.assert_close(stems_of(network, make()), expected)
    assert len(kept.read_bytes()) == len(whole)


def test_a_cache_that_cannot_be_written_is_no_failure(tmp_path) -> None:
    (tmp_path / "file").write_text("in the way")
    assert CompiledCache(tmp_path / "file" / "below").write("key", b"content") is False


@needs_openvino
def test_what_cannot_be_converted_runs_in_torch_and_says_so_once(cache, caplog) -> None:
    model = ShareModel(segment_samples=100)
    plain_core = model.core

    def core(*inputs):
        if torch.jit.is_tracing():
            raise RuntimeError("an operation that no tracer takes")
        return plain_core(*inputs)

    model.core = core
    with caplog.at_level(logging.WARNING):
        chosen = chooser(model, cache, backend="openvino", precision="fp32").choose()
    assert chosen.backend.name == "torch"
    assert "no tracer takes" in caplog.text and len(caplog.records) == 1


def test_auto_keeps_its_choice(network, cache, monkeypatch) -> None:
    first = chooser(network, cache).choose()
    monkeypatch.setattr(BackendChooser, "_compare", lambda _: pytest.fail("compared again"))
    again = chooser(network, cache).choose()
    assert (again.backend.name, again.backend.precision, again.reason) == (
        first.backend.name,
        first.backend.precision,
        first.reason,
    )


@pytest.mark.parametrize(("error", "taken"), [(0.01, "bf16"), (0.03, "fp32")])
def test_a_precision_must_keep_35_db(cache, monkeypatch, error, taken) -> None:
    model = ShareModel(segment_samples=30_000, context=200)  # slow enough to be worth a choice
    kept = TorchBackend(model, device=CPU)(excerpt(model))

    class Half(TorchBackend):
        def __call__(self, *inputs):
            return ((1 + error) * kept[0],) if self.precision == "bf16" else super().__call__(
                *inputs
            )  # fmt: skip

    monkeypatch.setattr(choice, "TorchBackend", Half)
    monkeypatch.setattr(choice, "torch_precisions", lambda _: ("bf16", "fp32"))
    assert chooser(model, cache, backend="torch").choose().backend.precision == taken


def test_a_network_in_memory_runs_as_it_is(network, cache) -> None:
    chosen = chooser(network, cache, identity=None).choose()
    assert (chosen.backend.name, chosen.backend.precision) == ("torch", "fp32")
    assert not cache.folder.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backend": "tensorrt"}, "use auto, torch or openvino"),
        ({"precision": "int8"}, "use auto, fp32, bf16 or fp16"),
    ],
)
def test_names_that_do_not_exist(network, options, message) -> None:
    with pytest.raises(ConfigError, match=message):
        Separator(network, **options)


def test_openvino_that_is_missing(network, cache, monkeypatch) -> None:
    monkeypatch.setattr(choice, "has_openvino", lambda: False)
    with pytest.raises(ConfigError, match=r'pip install "audiform\[openvino\]"'):
        chooser(network, cache, backend="openvino")
    assert chooser(network, cache, backend="auto").choose().backend.name == "torch"


def test_a_precision_that_the_machine_lacks(network, cache, monkeypatch) -> None:
    monkeypatch.setattr(choice, "torch_precisions", lambda _: ("fp32",))
    with pytest.raises(ConfigError, match="use --precision auto or fp32"):
        chooser(network, cache, backend="torch", precision="bf16")


def test_auto_from_a_file_is_reproducible(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("AUDIFORM_CACHE", str(tmp_path / "cache"))
    path = write_checkpoint(
        tmp_path / "tiny.safetensors",
        architecture="htdemucs",
        config=TINY_HTDEMUCS,
        state=tiny_htdemucs().state_dict(),
        sources=TINY_HTDEMUCS.sources,
        sample_rate=44100,
    )
    from audiform.audio import Audio

    audio = Audio(0.3 * excerpt(tiny_htdemucs())[0], 44100)
    runs = [
        Separator(path, backend="auto", precision="auto").separate(audio)["vocals"].samples
        for _ in range(2)
    ]
    assert torch.equal(*runs)
    reference = Separator(path).separate(audio)["vocals"].samples
    assert signal_to_error_db(reference=reference, estimate=runs[0]) >= 30


def test_the_excerpt_is_always_the_same_and_level() -> None:
    one, two = (music(audio_channels=2, num_samples=44100, sample_rate=44100) for _ in range(2))
    assert torch.equal(one, two)
    assert one.mean().abs() < 1e-4 and abs(one.std().item() - 1) < 1e-3


def test_signal_to_error() -> None:
    reference = torch.tensor([3.0, 4.0])
    assert signal_to_error_db(reference=reference, estimate=1.1 * reference) == pytest.approx(20)
    assert signal_to_error_db(reference=reference, estimate=reference * torch.nan) == -torch.inf


class FakeCuda:
    """What a capture calls, on the CPU: a graph that computes into the same tensors again."""

    def __init__(self, monkeypatch, *, fails: bool = False) -> None:
        self.replays = 0
        fake = self

        class Graph:
            def replay(self) -> None:
                fake.replays += 1

        class Scope:
            def __init__(self, *_) -> None: ...
            def __enter__(self):
                return self

            def __exit__(self, *_) -> None: ...

        class Capture(Scope):
            def __enter__(self):
                if fails:
                    raise RuntimeError("a copy to the host is not permitted")

        stream = SimpleNamespace(wait_stream=lambda _: None)
        for name, value in {
            "Stream": lambda: stream, "current_stream": lambda: stream, "stream": Scope,
            "CUDAGraph": Graph, "graph": Capture,
        }.items():  # fmt: skip
            monkeypatch.setattr(cuda_graphs.torch.cuda, name, value)


def test_graphs_are_captured_once_for_a_shape(monkeypatch) -> None:
    fake = FakeCuda(monkeypatch)
    model = ShareModel(segment_samples=8)
    backend = cuda_graphs.CudaGraphBackend(model, device=CPU)
    first = torch.ones(1, 2, 8)
    for _ in range(3):
        backend(first)
    runs = cuda_graphs.WARM_UP_RUNS + 1
    assert (len(model.calls), fake.replays) == (runs, 3)
    backend(torch.ones(2, 2, 8))
    assert len(model.calls) == 2 * runs


def test_a_network_that_cannot_be_captured_runs_without(monkeypatch, caplog) -> None:
    FakeCuda(monkeypatch, fails=True)
    model = ShareModel(segment_samples=8)
    backend = cuda_graphs.CudaGraphBackend(model, device=CPU)
    mixture = torch.ones(1, 2, 8)
    for _ in range(2):
        torch.testing.assert_close(backend(mixture), model.core(mixture))
    assert len(caplog.records) == 1 and "not permitted" in caplog.text


def test_a_choice_is_plain_json(network, cache) -> None:
    chooser(network, cache).choose()
    kept = [path.read_bytes()[DIGEST_BYTES:] for path in cache.folder.iterdir()]
    verdicts = [json.loads(content) for content in kept if content.startswith(b"{")]
    assert len(verdicts) == 1 and set(verdicts[0]) == {"backend", "precision", "reason"}
