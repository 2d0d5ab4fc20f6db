"""The released models by name: where their files are, and what is known of their rights.

Files and bags as the package ``demucs`` 4.1.0 lists them. The eight digits after the dash of
a file's name begin its sha256, so every file can be verified. The hub's copies cannot: no
revision and no checksum of them is known to us, so they come second.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from audiform.checkpoints.download import HubSource, Source, UrlSource
from audiform.checkpoints.header import Licence

#: What a model can require that this version has: architectures.
SUPPORTED = frozenset({"band-split", "demucs", "frame-primer", "gain-tcn", "hdemucs", "htdemucs"})

#: The name of the model that separates where none is named.
DEFAULT = "default"

#: The name of weights to train on.
PRETRAINED = "frame-primer-pretrained"

#: Learned effects that come with the package, and what each is.
SHIPPED_EFFECTS = {
    "learned-compressor": "a compressor with four knobs, learned from the reference `compressor`",
    "diode-clipper": "a pair of diodes (1N4148) that clips, learned from a measured circuit",
    "klon-gain-stage": "gain stage of an overdrive (Klon circuit, simulated), one knob",
}

#: Models that come with the package, and their files in it.
EMBEDDED = {name: f"weights/{name}.safetensors" for name in (DEFAULT, PRETRAINED, *SHIPPED_EFFECTS)}

_ROOT = "https://dl.fbaipublicfiles.com/demucs"

_MDX_FILES = """
    0d19c1c6-0f06f20e 5d2d6c55-db83574e 7d865c68-3d5dd56b 7ecf8ec1-70f50cc9 a1d90b5c-ae9d2452
    c511e2ab-fe698775 cfa93e08-61801ae1 e51eebcc-c1b80bdd 6b9c2ca1-3fd82607 b72baf4e-8778635e
    42e558d4-196e0e1b 305bc58f-18378783 14fc6a69-a89dd0ee 464b36d7-e5a9386e 7fd6ef75-a905dd85
    83fc094f-4a16d450 1ef250f1-592467ce 902315c2-b39ce9c9 9a6b4851-03af0aa6 fa0cb7f9-100d8bf4
"""

_TRANSFORMER_FILES = """
    955717e8-8726e21a f7e0c4bc-ba3fe64a d12395a8-e57c48e6 92cfc3b6-ef3bcb9c 04573f0d-f3cf25b2
    75fc33f5-1941ce65 5c90dfd2-34c22ccb
"""


def _released(folder: str, names: str) -> dict[str, UrlSource]:
    return {
        name.partition("-")[0]: UrlSource(
            f"{_ROOT}/{folder}/{name}.th", sha256_prefix=name.partition("-")[2]
        )
        for name in names.split()
    }


#: Signature -> the released file.
RELEASED_FILES: Mapping[str, UrlSource] = {
    **_released("mdx_final", _MDX_FILES),
    **_released("hybrid_transformer", _TRANSFORMER_FILES),
}

#: The statements contradict each other; all of them are quoted.
DEMUCS_LICENCE = Licence(
    code="MIT",
    weights=(
        "contradictory: the authors wrote that the weights are not covered by the MIT licence "
        "and are for research only (https://github.com/facebookresearch/demucs/issues/327, "
        "2022, and /508, 2023); their later copies on the Hugging Face hub are marked MIT. "
        "Ask the authors before a commercial use"
    ),
    data="MUSDB18-HQ (for research, not commercial) and songs that were not published",
)

#: Of models trained without the unpublished songs.
DEMUCS_MUSDB_LICENCE = DEMUCS_LICENCE.model_copy(
    update={"data": "MUSDB18-HQ (for research, not commercial)"}
)

#: Of models that saw the test songs: their scores on MUSDB say nothing.
DEMUCS_TEST_SET_LICENCE = DEMUCS_LICENCE.model_copy(
    update={
        "data": "MUSDB18-HQ with its test songs (for research, not commercial) and songs that "
        "were not published"
    }
)

#: Of effects that come with the package; each one's checkpoint says whose recordings.
SHIPPED_EFFECT_LICENCE = Licence(
    code="MIT",
    weights="MIT: openly licensed recordings, see NOTICE",
    data="stated in the checkpoint: audiform effect info NAME",
)

FOUR_STEMS = ("drums", "bass", "other", "vocals")

_MDX_WEIGHTS = (
    (1.0, 1.0, 0.0, 0.0),
    (0.0, 1.0, 0.0, 0.0),
    (1.0, 0.0, 1.0, 1.0),
    (1.0, 0.0, 1.0, 1.0),
)


@dataclass(frozen=True)
class CatalogEntry:
    """A model that can be asked for by name.

    ``members`` are signatures; ``weights`` has a row for each member and a column for each
    source, None where all count the same; ``segment_seconds`` replaces the members' own.
    ``requires`` names what a version of audiform must have to run it. ``hub_revision`` is
    None where none is known.
    """

    name: str
    summary: str
    members: tuple[str, ...]
    requires: tuple[str, ...]
    sources: tuple[str, ...] = FOUR_STEMS
    weights: tuple[tuple[float, ...], ...] | None = None
    segment_seconds: float | None = None
    licence: Licence = DEMUCS_LICENCE
    hub_repository: str | None = None
    hub_revision: str | None = None

    @property
    def missing(self) -> tuple[str, ...]:
        """What the model requires and this version does not have."""
        return tuple(name for name in self.requires if name not in SUPPORTED)

    def sources_of(self, signature: str) -> tuple[Source, ...]:
        """Where the file of a member is, in the order in which the places are tried."""
        places: list[Source] = []
        if signature in RELEASED_FILES:
            places.append(RELEASED_FILES[signature])
        if self.hub_repository:
            places.append(
                HubSource(self.hub_repository, f"{signature}.safetensors", self.hub_revision)
            )
        return tuple(places)


_ENTRIES = (
    CatalogEntry(
        name=DEFAULT,
        summary="the model that comes with audiform; nothing to fetch",
        members=(DEFAULT,),
        requires=(),
        licence=Licence(
            code="MIT",
            weights="stated in the checkpoint: audiform models info default",
            data="stated in the checkpoint: audiform models info default",
        ),
    ),
    CatalogEntry(
        name=PRETRAINED,
        summary="pretrained, separates nothing: `audiform train frame-primer-small --from` it",
        members=(PRETRAINED,),
        requires=("frame-primer",),
        sources=(),
        licence=Licence(
            code="MIT",
            weights="MIT: openly licensed songs, see NOTICE",
            data="CC0 1.0: songs of Software-Entwicklungskit, the mdn multitrack",
        ),
    ),
    *(
        CatalogEntry(
            name=name,
            summary=f"effect: {summary}",
            members=(name,),
            requires=("gain-tcn",),
            sources=(),
            licence=SHIPPED_EFFECT_LICENCE,
        )
        for name, summary in SHIPPED_EFFECTS.items()
    ),
    CatalogEntry(
        name="htdemucs",
        summary="Hybrid Transformer Demucs, 800 songs besides MUSDB",
        members=("955717e8",),
        requires=("htdemucs",),
        hub_repository="adefossez/HTDemucs",
    ),
    CatalogEntry(
        name="htdemucs_ft",
        summary="htdemucs, fine-tuned for each source: four networks, four times the time",
        members=("f7e0c4bc", "d12395a8", "92cfc3b6", "04573f0d"),
        requires=("htdemucs",),
        weights=(
            (1.0, 0.0, 0.0, 0.0),
            (0.0, 1.0, 0.0, 0.0),
            (0.0, 0.0, 1.0, 0.0),
            (0.0, 0.0, 0.0, 1.0),
        ),
        hub_repository="adefossez/HTDemucs-ft",
    ),
    CatalogEntry(
        name="htdemucs_6s",
        summary="htdemucs with guitar and piano (the piano is poor)",
        members=("5c90dfd2",),
        requires=("htdemucs",),
        sources=(*FOUR_STEMS, "guitar", "piano"),
        hub_repository="adefossez/HTDemucs-6s",
    ),
    CatalogEntry(
        name="hdemucs_mmi",
        summary="Hybrid Demucs, trained again on 800 songs besides MUSDB",
        members=("75fc33f5",),
        requires=("hdemucs",),
        segment_seconds=44.0,
        hub_repository="adefossez/Demucs-hdemucs_mmi",
    ),
    CatalogEntry(
        name="mdx",
        summary="the MDX 2021 bag, MUSDB only",
        members=("0d19c1c6", "7ecf8ec1", "c511e2ab", "7d865c68"),
        requires=("demucs", "hdemucs"),
        weights=_MDX_WEIGHTS,
        segment_seconds=44.0,
        licence=DEMUCS_MUSDB_LICENCE,
        hub_repository="adefossez/Demucs-mdx",
    ),
    CatalogEntry(
        name="mdx_extra",
        summary="the MDX 2021 bag with extra songs",
        members=("e51eebcc", "a1d90b5c", "5d2d6c55", "cfa93e08"),
        requires=("demucs", "hdemucs"),
        segment_seconds=44.0,
        licence=DEMUCS_TEST_SET_LICENCE,
        hub_repository="adefossez/Demucs-mdx_extra",
    ),
    CatalogEntry(
        name="mdx_q",
        summary="mdx with quantised weights",
        members=("6b9c2ca1", "b72baf4e", "42e558d4", "305bc58f"),
        requires=("demucs", "hdemucs"),
        weights=_MDX_WEIGHTS,
        segment_seconds=44.0,
        licence=DEMUCS_MUSDB_LICENCE,
        hub_repository="adefossez/Demucs-mdx_q",
    ),
    CatalogEntry(
        name="mdx_extra_q",
        summary="mdx_extra with quantised weights",
        members=("83fc094f", "464b36d7", "14fc6a69", "7fd6ef75"),
        requires=("demucs", "hdemucs"),
        segment_seconds=44.0,
        licence=DEMUCS_TEST_SET_LICENCE,
        hub_repository="adefossez/Demucs-mdx_extra_q",
    ),
    CatalogEntry(
        name="repro_mdx_a",
        summary="the MDX 2021 track A models, trained again: two hybrid, two in time",
        members=("9a6b4851", "1ef250f1", "fa0cb7f9", "902315c2"),
        requires=("demucs", "hdemucs"),
        segment_seconds=44.0,
        licence=DEMUCS_MUSDB_LICENCE,
        hub_repository="adefossez/Demucs-repro_mdx_a",
    ),
    CatalogEntry(
        name="repro_mdx_a_hybrid_only",
        summary="the hybrid half of repro_mdx_a",
        members=("fa0cb7f9", "902315c2", "fa0cb7f9", "902315c2"),
        requires=("hdemucs",),
        segment_seconds=44.0,
        licence=DEMUCS_MUSDB_LICENCE,
        hub_repository="adefossez/Demucs-repro_mdx_a_hybrid_only",
    ),
    CatalogEntry(
        name="repro_mdx_a_time_only",
        summary="the half of repro_mdx_a that works in time",
        members=("9a6b4851", "9a6b4851", "1ef250f1", "1ef250f1"),
        requires=("demucs",),
        segment_seconds=44.0,
        licence=DEMUCS_MUSDB_LICENCE,
        hub_repository="adefossez/Demucs-repro_mdx_a_time_only",
    ),
)

#: Name -> entry, in the order in which they are shown.
CATALOG: Mapping[str, CatalogEntry] = {entry.name: entry for entry in _ENTRIES}


def find_entry(name: str) -> CatalogEntry | None:
    """Return the entry of a name, or one made for a released signature, or None."""
    if name in CATALOG:
        return CATALOG[name]
    owner = _owner(name)
    if owner is None:
        return None
    return CatalogEntry(
        name=name,
        summary=f"one network of {owner.name}",
        members=(name,),
        requires=owner.requires,
        sources=owner.sources,
        licence=owner.licence,
        hub_repository=owner.hub_repository,
        hub_revision=owner.hub_revision,
    )


def licence_of_signature(signature: str) -> Licence:
    """Return what is known of the rights in a released file; "unknown" for all others."""
    owner = _owner(signature)
    return Licence() if owner is None else owner.licence


def _owner(signature: str) -> CatalogEntry | None:
    if signature not in RELEASED_FILES:
        return None
    return next((entry for entry in _ENTRIES if signature in entry.members), None)
