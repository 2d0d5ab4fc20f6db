"""From a name or a path to networks: the front door of :mod:`audiform.checkpoints`."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audiform.checkpoints.bag import Bag, is_signature, read_bag
from audiform.checkpoints.catalog import (
    CATALOG,
    EMBEDDED,
    RELEASED_FILES,
    CatalogEntry,
    find_entry,
)
from audiform.checkpoints.checksum import check_sha256, sha256_of
from audiform.checkpoints.download import OnProgress, fetch
from audiform.checkpoints.header import Licence
from audiform.checkpoints.safetensors_metadata import read_safetensors_metadata
from audiform.errors import CheckpointError, ConfigError

if TYPE_CHECKING:
    from torch import nn

    from audiform.checkpoints.file import Checkpoint
    from audiform.checkpoints.header import CheckpointHeader

#: Suffixes of files that hold one network.
NETWORK_SUFFIXES = (".safetensors", ".th", ".tar")
SIGNALTRAIN_SUFFIX = ".tar"
#: Suffixes of networks that are files of other programs; no folder is searched for them.
NAM_SUFFIX, GUITARML_SUFFIX = ".nam", ".json"
FOREIGN_SUFFIXES = (NAM_SUFFIX, GUITARML_SUFFIX)
BAG_SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True)
class Member:
    """One network of a package, not fetched and not loaded before it is asked for.

    ``sha256_prefix`` is what the file's checksum must begin with, where it is known.
    """

    signature: str
    sha256_prefix: str | None = None
    locate: Callable[[], Path] = field(kw_only=True, repr=False, compare=False)

    @cached_property
    def path(self) -> Path:
        """Where the file is; fetches it if need be."""
        return self.locate()

    def header(self) -> CheckpointHeader:
        """Return what the file says of itself; neither its checksum nor its weights are read."""
        return read_any_header(self.path)

    def read(self) -> Checkpoint:
        """Return the checkpoint, its checksum verified."""
        if self.sha256_prefix:
            check_sha256(self.path, self.sha256_prefix)
        return read_any(self.path)

    def load(self) -> nn.Module:
        """Return the network with its weights, in eval mode."""
        from audiform.checkpoints.file import build_model

        return build_model(self.read())


@dataclass(frozen=True)
class ModelPackage:
    """What a name or a path stands for: one network, or a bag of them.

    ``weights`` has a row for each member and a column for each source; None where all count
    the same. ``segment_seconds`` replaces the members' own; None keeps it. ``entry`` is the
    catalogue's, None for files of the user.
    """

    name: str
    members: tuple[Member, ...]
    weights: tuple[tuple[float, ...], ...] | None = None
    segment_seconds: float | None = None
    entry: CatalogEntry | None = None


@dataclass(frozen=True)
class VerifiedFile:
    """A file that was found whole and loadable; ``expected`` None: no checksum is known."""

    path: Path
    sha256: str
    expected: str | None


def resolve(
    name_or_path: str | Path,
    *,
    repo: str | Path | None = None,
    offline: bool = False,
    on_progress: OnProgress | None = None,
) -> ModelPackage:
    """Find a model: a name of the catalogue, a released signature, or a path.

    A path is a ``.safetensors`` (ours or the hub's), a ``.th``, SignalTrain's ``.tar``, a
    ``.nam``, GuitarML's ``.json``, a bag's ``.yaml``, or a folder with one bag. With ``repo``,
    names and signatures are looked up in that folder and nowhere else. A text that is both a
    name and a path is the name; ``./`` in front makes it a path. Nothing is fetched or loaded
    before a member is asked for.
    """
    package = _find(name_or_path, repo=repo, offline=offline, on_progress=on_progress)
    if package.entry is not None:
        _check_possible(package.entry)
    return package


def load_model(
    name_or_path: str | Path,
    *,
    repo: str | Path | None = None,
    offline: bool = False,
    on_progress: OnProgress | None = None,
) -> nn.Module:
    """Return the network of a package that has one; see :func:`resolve` for the arguments."""
    package = resolve(name_or_path, repo=repo, offline=offline, on_progress=on_progress)
    if len(package.members) != 1:
        raise ConfigError(
            f"{package.name!r} is a bag of {len(package.members)} networks and load_model returns "
            f"one; use audiform.Separator({package.name!r}), or load one of "
            f"{', '.join(member.signature for member in package.members)}"
        )
    return package.members[0].load()


def list_models(repo: str | Path | None = None) -> list[CatalogEntry]:
    """Return the catalogue, or what a folder has."""
    if repo is None:
        return list(CATALOG.values())
    folder = _folder(Path(repo))
    bags = sorted(path for path in folder.iterdir() if path.suffix in BAG_SUFFIXES)
    signatures = sorted(
        {_signature(path)[0] for path in folder.iterdir() if path.suffix in NETWORK_SUFFIXES}
    )
    return [_local_entry(path.stem, read_bag(path).models) for path in bags] + [
        _local_entry(signature, (signature,)) for signature in signatures
    ]


def verify(name_or_path: str | Path, *, repo: str | Path | None = None) -> list[VerifiedFile]:
    """Check the files of a model on this machine: checksum, format, every tensor.

    Nothing is fetched. Raises :class:`CheckpointError` for the first file that fails.
    """
    verified = []
    for member in resolve(name_or_path, repo=repo, offline=True).members:
        member.load()
        expected = member.sha256_prefix or _signature(member.path)[1]
        verified.append(VerifiedFile(member.path, sha256_of(member.path), expected))
    return verified


def describe(name_or_path: str | Path, *, repo: str | Path | None = None) -> dict[str, Any]:
    """Return what is known of a model as plain data, without fetching anything.

    The files that are on this machine are opened, and what their headers say is in
    ``files``; the others are listed with what is missing.
    """
    package = _find(name_or_path, repo=repo, offline=True)
    entry = package.entry
    about: dict[str, Any] = {
        "name": package.name,
        "members": [member.signature for member in package.members],
        "weights": package.weights,
        "segment_seconds": package.segment_seconds,
        "files": [_describe_member(member) for member in package.members],
    }
    if entry is not None:
        about |= {
            "summary": entry.summary,
            "sources": list(entry.sources),
            "requires": list(entry.requires),
            "missing": list(entry.missing),
            "licence": entry.licence.model_dump(),
            "hub_repository": entry.hub_repository,
            "hub_revision": entry.hub_revision,
            "places": {
                sig: [str(place) for place in entry.sources_of(sig)] for sig in entry.members
            },
        }
    return about


def read_any(path: str | Path) -> Checkpoint:
    """Read a file of any supported format as one of our checkpoints."""
    from audiform.checkpoints.file import read_checkpoint
    from audiform.checkpoints.import_demucs import read_demucs
    from audiform.checkpoints.import_signaltrain import read_signaltrain
    from audiform.checkpoints.nam_file import read_nam
    from audiform.checkpoints.recurrent_json import read_guitarml

    path = Path(path)
    if path.suffix == SIGNALTRAIN_SUFFIX:
        return read_signaltrain(path)
    if path.suffix == NAM_SUFFIX:
        return read_nam(path)
    if path.suffix == GUITARML_SUFFIX:
        return read_guitarml(path)
    return read_demucs(path) if _is_published(path) else read_checkpoint(path)


def read_any_header(path: str | Path) -> CheckpointHeader:
    """Return what a file of any supported format says about itself, without its weights."""
    from audiform.checkpoints.file import read_header
    from audiform.checkpoints.import_demucs import read_demucs_header
    from audiform.checkpoints.import_signaltrain import read_signaltrain_header
    from audiform.checkpoints.nam_file import read_nam_header
    from audiform.checkpoints.recurrent_json import read_guitarml_header

    path = Path(path)
    if path.suffix == SIGNALTRAIN_SUFFIX:
        return read_signaltrain_header(path)
    if path.suffix == NAM_SUFFIX:
        return read_nam_header(path)
    if path.suffix == GUITARML_SUFFIX:
        return read_guitarml_header(path)
    return read_demucs_header(path) if _is_published(path) else read_header(path)


def _is_published(path: Path) -> bool:
    """Tell a file in a layout of Demucs from one of ours."""
    if path.suffix == ".safetensors":
        return "klass" in read_safetensors_metadata(path)
    if path.suffix == ".th":
        return True
    raise CheckpointError(
        f"has the suffix {path.suffix!r}, and checkpoints are "
        f"{' or '.join(NETWORK_SUFFIXES + FOREIGN_SUFFIXES)}; "
        "rename the file if it is one",
        path=path,
    )


def convert(source: str | Path, target: str | Path, *, half: bool | None = None) -> Path:
    """Write a file of any supported format as one of ours, after building its network.

    ``half`` None stores float16 where that loses nothing, as with the published weights.
    """
    from audiform.checkpoints.file import build_model, is_half_precise, write_checkpoint

    checkpoint = read_any(source)
    network: Any = build_model(checkpoint)
    header = checkpoint.header
    return write_checkpoint(
        target,
        architecture=checkpoint.architecture,
        config=checkpoint.config,
        state=checkpoint.state,
        sources=header.sources,
        knobs=None if header.knobs is None else network.spec.knobs,
        sample_rate=header.sample_rate,
        licence=header.licence,
        scores=header.scores,
        training=header.training,
        half=is_half_precise(checkpoint.state) if half is None else half,
    )


def embedded_path(name: str) -> Path:
    """Return where weights that come with the package are."""
    path = _package_file(name)
    if not path.is_file():
        raise CheckpointError(
            "the weights that come with audiform are not there; install the released package, or "
            "name another model (`audiform models list`)",
            path=path,
        )
    return path


def _find(
    name_or_path: str | Path,
    *,
    repo: str | Path | None,
    offline: bool,
    on_progress: OnProgress | None = None,
) -> ModelPackage:
    if isinstance(name_or_path, Path):
        return _from_path(name_or_path)
    name = name_or_path
    if repo is not None:
        return _from_repo(name, Path(repo))
    entry = find_entry(name)
    if entry is not None:
        return _from_catalog(entry, offline=offline, on_progress=on_progress)
    suffixes = NETWORK_SUFFIXES + FOREIGN_SUFFIXES + BAG_SUFFIXES
    if Path(name).suffix in suffixes or "/" in name or "\\" in name:
        return _from_path(Path(name))
    if Path(name).exists():
        return _from_path(Path(name))
    raise CheckpointError(
        f"there is no model named {name!r}{_near(name, [*CATALOG, *RELEASED_FILES])}; "
        "`audiform models list` shows all names, and a path to a file or a folder works too"
    )


def _check_possible(entry: CatalogEntry) -> None:
    if entry.missing:
        raise CheckpointError(
            f"the model {entry.name!r} needs {' and '.join(entry.missing)}, which this version of "
            "audiform does not have yet; use htdemucs, htdemucs_ft or htdemucs_6s, or a newer "
            "audiform"
        )
    if entry.name in EMBEDDED:
        embedded_path(entry.name)


def _package_file(name: str) -> Path:
    return Path(str(resources.files("audiform").joinpath(EMBEDDED[name])))


def _from_catalog(
    entry: CatalogEntry, *, offline: bool, on_progress: OnProgress | None
) -> ModelPackage:
    def member(signature: str) -> Member:
        if signature in EMBEDDED:
            return Member(signature, locate=lambda: embedded_path(signature))

        def locate() -> Path:
            return fetch(entry.sources_of(signature), offline=offline, on_progress=on_progress)

        return Member(signature, locate=locate)  # fetch verifies what can be verified

    return ModelPackage(
        name=entry.name,
        members=tuple(member(signature) for signature in entry.members),
        weights=entry.weights,
        segment_seconds=entry.segment_seconds,
        entry=entry,
    )


def _from_path(path: Path) -> ModelPackage:
    if path.is_dir():
        bags = sorted(item for item in path.iterdir() if item.suffix in BAG_SUFFIXES)
        if len(bags) != 1:
            found = ", ".join(item.name for item in bags) or "none"
            raise CheckpointError(
                f"is a folder with these bags: {found}; a folder that is a model has one (.yaml): "
                "give the path of the file",
                path=path,
            )
        return _from_bag(bags[0])
    if not path.exists():
        raise CheckpointError("does not exist; check the path", path=path)
    if path.suffix in BAG_SUFFIXES:
        return _from_bag(path)
    if path.suffix in NETWORK_SUFFIXES + FOREIGN_SUFFIXES:
        return ModelPackage(path.stem, (_file_member(path),))
    raise CheckpointError(
        f"is no checkpoint by its suffix {path.suffix!r}; give a "
        f"{', '.join(NETWORK_SUFFIXES + FOREIGN_SUFFIXES + BAG_SUFFIXES)} or a folder with a bag",
        path=path,
    )


def _from_bag(path: Path) -> ModelPackage:
    bag: Bag = read_bag(path)
    return ModelPackage(
        name=path.stem,
        members=tuple(
            _member_in(signature, path.parent, wanted_by=path) for signature in bag.models
        ),
        weights=bag.weights,
        segment_seconds=bag.segment,
    )


def _from_repo(name: str, repo: Path) -> ModelPackage:
    folder = _folder(repo)
    if is_signature(name):
        if files := _files_of(name, folder):
            return ModelPackage(name, (_only(files, name, folder),))
        for suffix in BAG_SUFFIXES:
            if (folder / f"{name}{suffix}").is_file():
                return _from_bag(folder / f"{name}{suffix}")
    names = [entry.name for entry in list_models(folder)]
    raise CheckpointError(
        f"the folder has no model named {name!r}{_near(name, names)}; it has "
        f"{', '.join(names) or 'none'}. Put <signature>.safetensors, <signature>-<sha256>.th or "
        "<name>.yaml there",
        path=repo,
    )


def _folder(repo: Path) -> Path:
    if not repo.is_dir():
        raise CheckpointError("is no folder; give the folder of the checkpoints", path=repo)
    return repo


def _member_in(signature: str, folder: Path, *, wanted_by: Path) -> Member:
    files = _files_of(signature, folder)
    if not files:
        raise CheckpointError(
            f"lists the model {signature!r}, and there is no {signature}.safetensors, "
            f"{signature}.th or {signature}-<sha256>.th beside it; put it there",
            path=wanted_by,
        )
    return _only(files, signature, folder)


def _files_of(signature: str, folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix in NETWORK_SUFFIXES and signature in (path.stem, _signature(path)[0])
    )


def _only(files: list[Path], signature: str, folder: Path) -> Member:
    if len(files) > 1:
        raise CheckpointError(
            f"{len(files)} files are the model {signature!r}: "
            f"{', '.join(path.name for path in files)}; delete all but one",
            path=folder,
        )
    return _file_member(files[0])


def _file_member(path: Path) -> Member:
    signature, prefix = _signature(path)
    return Member(signature, prefix, locate=lambda: path)


def _signature(path: Path) -> tuple[str, str | None]:
    """Return the signature in a file's name and the checksum after its dash, if it has one."""
    parts = re.fullmatch(r"(.+)-([0-9a-f]{8,64})", path.stem)
    if path.suffix == ".th" and parts is not None:
        return parts[1], parts[2]
    return path.stem, None


def _local_entry(name: str, members: tuple[str, ...]) -> CatalogEntry:
    return CatalogEntry(
        name=name, summary="", members=members, requires=(), sources=(), licence=Licence()
    )


def _describe_member(member: Member) -> dict[str, Any]:
    try:
        path = member.path
    except CheckpointError:
        missing = "not on this machine; `audiform models fetch` gets it"
        return {"signature": member.signature, "path": None, "problem": missing}
    about: dict[str, Any] = {"signature": member.signature, "path": str(path), "problem": None}
    try:
        header = member.header()
    except CheckpointError as error:
        return about | {"problem": str(error)}
    stated = header.model_dump(mode="json")
    if header.quantisation is not None:  # a number instead of a long table
        stated["quantisation"]["weights"] = len(header.quantisation.weights)
    return about | {"size_bytes": path.stat().st_size} | stated


def _near(name: str, names: list[str]) -> str:
    matches = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    return f" (did you mean {' or '.join(matches)}?)" if matches else ""
