"""From names and paths to networks."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import huggingface_hub
import pytest
import torch
from tests.checkpoints import published

from audiform.checkpoints import (
    CATALOG,
    build_model,
    convert,
    describe,
    list_models,
    load_model,
    model_package,
    read_demucs,
    resolve,
    verify,
    write_checkpoint,
)
from audiform.checkpoints.catalog import SUPPORTED, find_entry
from audiform.errors import CheckpointError, ConfigError
from audiform.models import MODELS


@pytest.fixture(autouse=True)
def nothing_outside(tmp_path, monkeypatch):
    """No network, and caches of the test's own."""
    monkeypatch.setenv("AUDIFORM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))

    def nothing(*_, **__):
        raise FileNotFoundError("not in the hub's cache")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", nothing)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """One network in each format: (folder, checksum of the .th)."""
    folder = tmp_path_factory.mktemp("files")
    theirs = published.network(t_layers=1)
    th = published.save_th(folder / "aaaa.th", published.package(theirs))
    published.save_hub(folder / "hub.safetensors", theirs)
    reading = read_demucs(th)
    write_checkpoint(
        folder / "ours.safetensors",
        architecture="htdemucs",
        config=reading.config,
        state=reading.state,
        sources=reading.header.sources,
        sample_rate=reading.header.sample_rate,
        scores={"sdr_db": 1.5},
    )
    return folder, hashlib.sha256(th.read_bytes()).hexdigest()


@pytest.fixture
def repo(files, tmp_path):
    """A folder with a bag of two, one of them with its checksum in the name."""
    folder, checksum = files
    repo = tmp_path / "repo"
    repo.mkdir()
    shutil.copy(folder / "aaaa.th", repo / f"aaaa-{checksum[:8]}.th")
    shutil.copy(folder / "hub.safetensors", repo / "bbbb.safetensors")
    (repo / "duo.yaml").write_text(
        "models: ['aaaa', 'bbbb']\nweights: [[1, 1, 0, 0], [0, 1, 1, 1]]\nsegment: 0.4\n"
    )
    return repo


def test_each_format_by_its_path(files):
    folder, _ = files
    networks = [
        load_model(folder / name) for name in ("aaaa.th", "hub.safetensors", "ours.safetensors")
    ]
    for network in networks[1:]:
        for name, tensor in networks[0].state_dict().items():
            assert torch.equal(network.state_dict()[name], tensor)
    assert resolve(str(folder / "ours.safetensors")).name == "ours"


@pytest.mark.parametrize("way", ["yaml", "folder", "repo"])
def test_a_bag(way, repo):
    package = {
        "yaml": lambda: resolve(repo / "duo.yaml"),
        "folder": lambda: resolve(str(repo)),
        "repo": lambda: resolve("duo", repo=repo),
    }[way]()
    assert package.name == "duo"
    assert package.entry is None
    assert package.segment_seconds == 0.4
    assert package.weights == ((1.0, 1.0, 0.0, 0.0), (0.0, 1.0, 1.0, 1.0))
    assert [member.signature for member in package.members] == ["aaaa", "bbbb"]
    assert package.members[0].sha256_prefix
    assert package.members[1].load().spec.sources == tuple(published.FOUR)


def test_members_are_not_read_before_they_are_loaded(repo):
    (repo / "bbbb.safetensors").write_bytes(b"damaged")
    package = resolve("duo", repo=repo)
    package.members[0].load()
    with pytest.raises(CheckpointError):
        package.members[1].load()


def test_the_checksum_in_the_name_is_verified(repo):
    path = next(repo.glob("aaaa-*.th"))
    path.rename(repo / "aaaa-00000000.th")
    with pytest.raises(CheckpointError, match="begins with 00000000, but"):
        load_model("aaaa", repo=repo)
    with pytest.raises(CheckpointError, match="begins with 00000000, but"):
        load_model(repo / "aaaa-00000000.th")


def test_a_signature_in_a_folder(repo):
    assert load_model("bbbb", repo=repo).spec.sample_rate == 44100
    assert [entry.name for entry in list_models(repo)] == ["duo", "aaaa", "bbbb"]


def test_two_files_for_one_signature(repo):
    shutil.copy(repo / "bbbb.safetensors", repo / "aaaa.safetensors")
    with pytest.raises(CheckpointError, match=r"2 files.*aaaa-\w+\.th.*aaaa\.safetensors"):
        resolve("duo", repo=repo)


def test_a_bag_without_one_of_its_files(repo):
    (repo / "bbbb.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"'bbbb'.*bbbb-<sha256>\.th beside it"):
        resolve("duo", repo=repo)


def test_names_in_a_folder_cannot_leave_it(repo):
    shutil.copy(repo / "bbbb.safetensors", repo.parent / "outside.safetensors")
    with pytest.raises(CheckpointError, match="no model named"):
        resolve("../outside", repo=repo)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda folder: folder / "missing.safetensors", "does not exist"),
        (lambda folder: folder / "empty", "these bags: none"),
        (lambda folder: folder / "notes.txt", "suffix '.txt'"),
    ],
)
def test_paths_that_are_no_model(make, words, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").touch()
    with pytest.raises(CheckpointError, match=words):
        resolve(make(tmp_path))


def test_a_repo_that_is_no_folder(tmp_path):
    for call in (lambda: resolve("x", repo=tmp_path / "no"), lambda: list_models(tmp_path / "no")):
        with pytest.raises(CheckpointError, match="is no folder"):
            call()


def test_an_unknown_name_lists_near_ones():
    with pytest.raises(CheckpointError, match=r"did you mean htdemucs.*audiform models list"):
        resolve("htdemuks")
    with pytest.raises(CheckpointError, match="'zzz'; `audiform models list`"):
        resolve("zzz")


def test_a_name_in_a_folder_lists_what_is_there(repo):
    with pytest.raises(CheckpointError, match=r"did you mean duo.*it has duo, aaaa, bbbb"):
        resolve("duos", repo=repo)


def test_a_bag_is_not_one_network(repo):
    with pytest.raises(ConfigError, match=r"bag of 2 networks.*Separator\('duo'\)"):
        load_model("duo", repo=repo)


def test_a_catalogue_name_wins_over_a_folder_of_that_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "htdemucs").mkdir()
    assert resolve("htdemucs").entry is CATALOG["htdemucs"]
    with pytest.raises(CheckpointError, match="is a folder"):
        resolve("./htdemucs")


def test_what_this_version_lacks_is_said_before_anything_is_fetched(monkeypatch):
    assert not any(entry.missing for entry in CATALOG.values())
    monkeypatch.setattr("audiform.checkpoints.catalog.SUPPORTED", frozenset({"htdemucs"}))
    with pytest.raises(CheckpointError, match=r"'mdx_q' needs .*does not have yet"):
        resolve("mdx_q")


def test_the_catalogue_promises_only_architectures_that_are_there():
    architectures = {name for entry in CATALOG.values() for name in entry.requires} & SUPPORTED
    assert architectures <= set(MODELS)


def test_released_signatures_are_names_too():
    entry = find_entry("f7e0c4bc")
    assert entry is not None
    assert entry.members == ("f7e0c4bc",)
    assert entry.weights is None
    assert "MUSDB18-HQ" in entry.licence.data
    assert [str(place) for place in entry.sources_of("f7e0c4bc")] == [
        "https://dl.fbaipublicfiles.com/demucs/hybrid_transformer/f7e0c4bc-ba3fe64a.th",
        "hub adefossez/HTDemucs-ft/f7e0c4bc.safetensors (no pinned revision)",
    ]


def test_offline_without_the_file_says_where_to_put_it(tmp_path):
    with pytest.raises(CheckpointError) as caught:
        load_model("htdemucs", offline=True)
    message = str(caught.value)
    assert "955717e8-8726e21a.th or 955717e8.safetensors" in message
    assert str(tmp_path / "cache") in message
    assert "--repo DIR" in message


def test_a_released_file_in_the_cache_is_found(files, tmp_path, monkeypatch):
    folder, checksum = files
    from audiform.checkpoints import catalog

    file = catalog.UrlSource(f"https://127.0.0.1/955717e8-{checksum[:8]}.th", checksum[:8])
    monkeypatch.setattr(catalog, "RELEASED_FILES", {"955717e8": file})
    (tmp_path / "cache").mkdir()
    path = tmp_path / "cache" / file.file_name
    shutil.copy(folder / "aaaa.th", path)
    package = resolve("htdemucs", offline=True)
    assert package.members[0].path == path
    assert package.members[0].read().header.licence == catalog.DEMUCS_LICENCE
    (verified,) = verify("htdemucs")
    assert verified.path == path
    assert verified.sha256 == checksum
    assert verified.expected == checksum[:8]


def test_the_default_model(files, tmp_path, monkeypatch):
    folder, _ = files
    monkeypatch.setattr(
        model_package, "_package_file", lambda name: tmp_path / f"{name}.safetensors"
    )
    with pytest.raises(CheckpointError, match="come with audiform are not there"):
        resolve("default")
    shutil.copy(folder / "ours.safetensors", tmp_path / "default.safetensors")
    assert load_model("default").spec.sources == tuple(published.FOUR)
    assert describe("default")["files"][0]["scores"] == {"sdr_db": 1.5}


def test_describe_what_is_not_here():
    about = describe("htdemucs")
    assert about["licence"]["code"] == "MIT"
    assert "contradictory" in about["licence"]["weights"]
    assert about["missing"] == []
    assert about["hub_revision"] is None
    assert about["files"][0]["path"] is None
    assert "models fetch" in about["files"][0]["problem"]
    assert describe("mdx_q")["missing"] == []


def test_describe_what_is_here(repo, files):
    about = describe("duo", repo=repo)
    assert about["members"] == ["aaaa", "bbbb"]
    assert [file["architecture"] for file in about["files"]] == ["htdemucs", "htdemucs"]
    ours = describe(files[0] / "ours.safetensors")["files"][0]
    assert ours["config"]["hidden_channels"] == 8
    assert ours["licence"] == {"code": "unknown", "weights": "unknown", "data": "unknown"}


@pytest.mark.parametrize("name", ["aaaa.th", "hub.safetensors", "ours.safetensors"])
def test_converting_keeps_every_weight_in_half_the_size(name, files, tmp_path):
    folder, _ = files
    source = model_package.read_any(folder / name)
    target = convert(folder / name, tmp_path / "new.safetensors")
    again = model_package.read_any(target)
    assert again.config == source.config
    assert again.header == source.header
    assert all(torch.equal(again.state[key], value) for key, value in source.state.items())
    assert target.stat().st_size < 0.7 * (folder / "ours.safetensors").stat().st_size


def test_converting_loses_nothing(files, tmp_path):
    folder, _ = files
    source = model_package.read_any(folder / "ours.safetensors")
    state = {key: value + 1e-7 for key, value in source.state.items()}
    exact = write_checkpoint(
        tmp_path / "exact.safetensors",
        architecture="htdemucs",
        config=source.config,
        state=state,
        sources=source.header.sources,
        sample_rate=source.header.sample_rate,
    )
    again = model_package.read_any(convert(exact, tmp_path / "new.safetensors"))
    assert all(torch.equal(again.state[key], value) for key, value in state.items())


def test_verify_finds_damage(repo):
    assert [file.expected is None for file in verify("duo", repo=repo)] == [False, True]
    path = repo / "bbbb.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(CheckpointError, match="bbbb"):
        verify("duo", repo=repo)


def test_the_list_needs_no_torch():
    program = (
        "import sys; from audiform.checkpoints import list_models, describe, resolve\n"
        "assert list_models(); resolve('htdemucs')\n"
        "assert 'torch' not in sys.modules and 'huggingface_hub' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path.cwd())


def test_public_names_exist():
    import audiform.checkpoints as package

    for name in package.__all__:
        assert getattr(package, name) is not None
    assert package.build_model is build_model
