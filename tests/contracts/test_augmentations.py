"""What every augmentation promises. A new entry of ``AUGMENTATIONS`` needs a line here."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from pydantic import TypeAdapter, ValidationError

import audiform.augment
from audiform.augment import AUGMENTATIONS, AugmentStep
from audiform.augment.layout import StemLayout

SOURCES = ("drums", "bass", "other", "vocals")
RATE = 8000

#: Always on, so that something happens; and settings with which nothing does.
ACTIVE = {
    "absent": {"share": 0.5},
    "band-limit": {"share": 1.0, "cutoff_hz": (1000.0, 2000.0)},
    "channel-swap": {"share": 1.0},
    "equalise": {"share": 1.0},
    "gain": {},
    "gain-db": {},
    "limit": {"share": 1.0},
    "peak-level": {"n_fft": 256, "hop_length": 128},
    "polarity": {"share": 1.0},
    "remix": {"group_size": 4},
    "repitch": {"share": 1.0},
    "reverb": {"share": 1.0},
    "saturate": {"share": 1.0},
    "shift": {"seconds": 0.25},
}
NEUTRAL = {
    "absent": {"share": 0.0},
    "band-limit": {"share": 0.0},
    "channel-swap": {"share": 0.0},
    "equalise": {"max_gain_db": 0.0},
    "gain": {"low": 1.0, "high": 1.0},
    "gain-db": {"deviation_db": 0.0},
    "limit": {"share": 0.0},
    "peak-level": {"share": 0.0},
    "polarity": {"share": 0.0},
    "remix": {"group_size": 1},
    "repitch": {"share": 0.0},
    "reverb": {"share": 0.0},
    "saturate": {"share": 0.0},
    "shift": {"seconds": 0.0},
}
#: Files of the package that are no entry: what entries are made of, and what has another shape.
OTHER_FILES = {
    "__init__",
    "automix",
    "beats",
    "chain",
    "layout",
    "random_vocals",
    "spectral",
    "track_analysis",
}

every_augmentation = pytest.mark.parametrize("kind", AUGMENTATIONS)


def stems(samples: int = 6000) -> torch.Tensor:
    return 0.1 * torch.randn(4, 4, 2, samples, generator=torch.Generator().manual_seed(1))


def layout(audio: torch.Tensor) -> StemLayout:
    return StemLayout(
        batch_size=len(audio),
        sources=SOURCES,
        audio_channels=audio.shape[2],
        samples=audio.shape[3],
        sample_rate=RATE,
        responses=torch.randn(3, 1, 400, generator=torch.Generator().manual_seed(2)),
    )


def draw(kind: str, audio: torch.Tensor, seed: int = 0, settings: dict | None = None):
    entry = AUGMENTATIONS[kind]
    config = entry.config(**(ACTIVE[kind] if settings is None else settings))
    return entry.draw(config, layout(audio), torch.Generator().manual_seed(seed))


def test_every_augmentation_has_its_line_here() -> None:
    assert set(ACTIVE) == set(NEUTRAL) == set(AUGMENTATIONS)


def test_every_file_is_in_the_table() -> None:
    folder = Path(audiform.augment.__file__).parent
    files = {path.stem.replace("_", "-") for path in folder.glob("*.py")}
    assert files - {name.replace("_", "-") for name in OTHER_FILES} == set(AUGMENTATIONS)


@every_augmentation
def test_its_configuration_survives_json_and_refuses_what_it_does_not_know(kind) -> None:
    adapter = TypeAdapter(AugmentStep)
    config = AUGMENTATIONS[kind].config(**ACTIVE[kind])
    assert config.kind == kind
    assert adapter.validate_json(adapter.dump_json(config)) == config
    with pytest.raises(ValidationError):
        adapter.validate_python({"kind": kind, "no_such_setting": 1})


@every_augmentation
def test_equal_generators_give_equal_bytes(kind) -> None:
    audio = stems()
    apply = AUGMENTATIONS[kind].apply
    first, again = (apply(audio, draw(kind, audio)) for _ in range(2))
    assert torch.equal(first, again)


@every_augmentation
def test_other_generators_draw_something_else(kind) -> None:
    audio = stems()
    draws = [dataclasses.asdict(draw(kind, audio, seed)) for seed in range(8)]
    fixed = {"channel-swap", "polarity"}  # their share is one here
    assert any(str(one) != str(draws[0]) for one in draws[1:]) == (kind not in fixed)


@every_augmentation
def test_global_randomness_is_left_alone(kind) -> None:
    audio = stems()
    torch.manual_seed(0)
    before = torch.get_rng_state()
    AUGMENTATIONS[kind].apply(audio, draw(kind, audio))
    assert torch.equal(before, torch.get_rng_state())


@every_augmentation
def test_it_changes_the_stems_and_not_the_caller_s(kind) -> None:
    audio = stems()
    before = audio.clone()
    changed = AUGMENTATIONS[kind].apply(audio, draw(kind, audio))
    assert torch.equal(audio, before)
    assert changed.dtype == torch.float32
    assert torch.isfinite(changed).all()
    shared = changed.shape[-1]
    assert not torch.equal(changed, audio[..., :shared])


@every_augmentation
def test_neutral_settings_change_nothing(kind) -> None:
    audio = stems()
    drawn = draw(kind, audio, settings=NEUTRAL[kind])
    assert torch.equal(AUGMENTATIONS[kind].apply(audio, drawn), audio)


@every_augmentation
def test_the_length_that_it_asks_for_gives_the_length_that_is_wanted(kind) -> None:
    entry = AUGMENTATIONS[kind]
    config = entry.config(**ACTIVE[kind])
    for wanted in (4001, 5000):
        audio = stems(entry.input_samples(config, wanted, RATE))
        for seed in range(3):
            changed = entry.apply(audio, draw(kind, audio, seed))
            assert changed.shape == (4, 4, 2, wanted)


@every_augmentation
def test_silence_stays_silent(kind) -> None:
    audio = torch.zeros(4, 4, 2, 6000)
    assert not AUGMENTATIONS[kind].apply(audio, draw(kind, audio)).any()


@every_augmentation
def test_mono_stems_are_taken(kind) -> None:
    audio = stems()[:, :, :1].contiguous()
    changed = AUGMENTATIONS[kind].apply(audio, draw(kind, audio))
    assert changed.shape[:3] == (4, 4, 1)
