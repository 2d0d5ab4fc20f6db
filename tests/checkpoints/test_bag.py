"""Bag files: the published ones are read, what makes no sense is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from audiform.checkpoints.bag import Bag, read_bag
from audiform.checkpoints.catalog import CATALOG, EMBEDDED, RELEASED_FILES
from audiform.errors import CheckpointError


def published_folder() -> Path:
    import demucs

    return Path(demucs.__file__).parent / "remote"


def test_the_catalogue_lists_the_published_bags_and_no_others():
    published = {path.stem: read_bag(path) for path in published_folder().glob("*.yaml")}
    assert set(published) == set(CATALOG) - set(EMBEDDED)
    for name, bag in published.items():
        entry = CATALOG[name]
        assert (
            Bag(models=entry.members, weights=entry.weights, segment=entry.segment_seconds) == bag
        )


def test_the_catalogue_lists_the_published_files():
    from demucs.hf import hf_repo_name
    from demucs.pretrained import _parse_remote_files

    published = _parse_remote_files(published_folder() / "files.txt")
    assert {signature: file.url for signature, file in RELEASED_FILES.items()} == published
    for signature, file in RELEASED_FILES.items():
        assert file.file_name == f"{signature}-{file.sha256_prefix}.th"
        assert len(file.sha256_prefix) == 8
    for entry in CATALOG.values():
        if entry.name not in EMBEDDED:
            assert entry.hub_repository == f"adefossez/{hf_repo_name(entry.name)}"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no table"),
        ("[]", "no table"),
        ("models: []", "list of signatures"),
        ("models: abc", "list of signatures"),
        ("models: [12345678]", "put quotes around it"),
        ("models: ['../../etc/passwd']", "no signature"),
        ("models: ['a/b']", "no signature"),
        ("models: ['.hidden']", "no signature"),
        ("models: [a]\nweights: [[1], [1]]", "2 rows of weights for 1 models"),
        ("models: [a, b]\nweights: [[1], [1, 2]]", "different lengths"),
        ("models: [a, b]\nweights: [[1, 0], [1, 0]]", "no weight in any"),
        ("models: [a]\nweights: [[.nan]]", "finite"),
        ("models: [a]\nsegment: 0", "positive"),
        ("models: [a]\nsegment: .inf", "positive"),
        ("models: [a]\ncolour: red", "colour"),
        ("models: !!python/object/apply:os.system ['touch canary']", "could not determine"),
        ("models: [a", "expected"),
        ("\xff", "no table"),
        ("models: [a] #" + "x" * 70_000, "more than"),
    ],
)
def test_bags_that_are_refused(text, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "bag.yaml"
    path.write_text(text)
    with pytest.raises(CheckpointError, match=words) as caught:
        read_bag(path)
    assert caught.value.path == path
    assert not (tmp_path / "canary").exists()
