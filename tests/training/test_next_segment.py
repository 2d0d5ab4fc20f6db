from __future__ import annotations

import pytest
import torch

from audiform.errors import ConfigError
from audiform.training.loudness import loudness_measures, threshold_accuracy
from audiform.training.masking import frame_energy, normalise_items
from audiform.training.next_segment import (
    NextSegmentConfig,
    SpliceDraw,
    draw_splice,
    hidden_frames,
    match_level,
    put_separator,
    splice,
)

FRAMES = 128


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def songs(count: int = 12, frames: int = 4000) -> list[torch.Tensor]:
    """Noise with a level, a spectrum, and a way to rise and fall of its own."""
    made = []
    for seed in range(count):
        draw = generator(seed)
        tilt = torch.rand(1, 8, 1, generator=draw).pow(2)
        level, depth, beat = 3 * torch.rand(3, generator=draw)
        time = torch.arange(frames)
        swell = depth * torch.sin(time * (0.02 + 0.3 * beat)) + level
        made.append(torch.rand(2, 8, frames, generator=draw) * tilt * swell.exp())
    return made


def pieces(count: int, *, draw: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Pieces of songs, and for each a piece of another one."""
    library = songs()
    own = torch.randint(len(library), (count,), generator=draw)
    other = (own + torch.randint(1, len(library), (count,), generator=draw)) % len(library)

    def cut(index: torch.Tensor) -> torch.Tensor:
        starts = torch.randint(4000 - FRAMES, (count,), generator=draw).tolist()
        return torch.stack(
            [library[i][..., at : at + FRAMES] for i, at in zip(index, starts, strict=True)]
        )

    return cut(own), cut(other)


@pytest.fixture(scope="module")
def thousands() -> tuple[torch.Tensor, torch.Tensor, SpliceDraw]:
    draw = generator(5)
    own, other = pieces(4000, draw=draw)
    drawn = draw_splice(
        NextSegmentConfig(), batch_size=4000, half_frames=64, other_frames=FRAMES, generator=draw
    )
    return own, other, drawn


def best_of_loudness(spectra: torch.Tensor, drawn: SpliceDraw) -> float:
    hidden = hidden_frames(FRAMES, NextSegmentConfig())
    measures = loudness_measures(spectra, hidden=hidden)
    return max(threshold_accuracy(measure, drawn.replaced) for measure in measures.values())


def test_loudness_alone_does_not_tell(thousands) -> None:
    own, other, drawn = thousands
    assert best_of_loudness(splice(own, other, drawn), drawn) <= 0.55


def test_it_would_if_each_song_only_had_its_own_peak(thousands) -> None:
    own, other, drawn = thousands
    own, other = normalise_items(own), normalise_items(other)
    own[drawn.replaced, ..., 64:] = other[drawn.replaced, ..., :64]
    assert best_of_loudness(own, drawn) > 0.65


def test_half_of_the_items_are_replaced_from_anywhere() -> None:
    drawn = draw_splice(
        NextSegmentConfig(),
        batch_size=10_000,
        half_frames=8,
        other_frames=12,
        generator=generator(),
    )
    assert drawn.replaced.float().mean().item() == pytest.approx(0.5, abs=0.02)
    assert drawn.starts.unique().tolist() == [0, 1, 2, 3, 4]


def test_what_is_not_replaced_stays() -> None:
    own, other = torch.rand(2, 6, 2, 8, FRAMES, generator=generator())
    other = 5 * other.pow(2)
    drawn = SpliceDraw(torch.tensor([True, False] * 3), torch.zeros(6, dtype=torch.long))
    before = own.clone()
    spliced = splice(own, other, drawn)
    torch.testing.assert_close(spliced[1::2], normalise_items(own)[1::2])
    torch.testing.assert_close(frame_energy(spliced), frame_energy(normalise_items(own)))
    assert (spliced[::2] - normalise_items(own)[::2])[..., 64:].abs().max() > 0.01
    assert torch.equal(own, before)
    assert spliced.max() <= 1


def test_a_matched_frame_keeps_its_spectrum() -> None:
    spectrum, like = torch.rand(2, 8, 5), torch.rand(2, 8, 5)
    matched = match_level(spectrum, like=like)
    torch.testing.assert_close(frame_energy(matched), frame_energy(like))
    ratio = matched / spectrum
    torch.testing.assert_close(ratio, ratio[:1, :1].expand_as(ratio))


def test_silence_is_not_blown_up() -> None:
    silence = torch.zeros(2, 8, 5)
    assert not match_level(silence, like=torch.ones(2, 8, 5)).any()
    assert match_level(silence + 1e-6, like=torch.ones(2, 8, 5)).max() <= 1e-4 + 1e-9


@pytest.mark.parametrize("blank", [0, 3])
def test_the_separator_alternates_over_the_bins(blank) -> None:
    config = NextSegmentConfig(separator_frames=6, blank_frames=blank)
    marked = put_separator(torch.full((1, 2, 8, 40), 0.5), config)
    assert torch.equal(marked[0, 1, :, 17:23], torch.tensor([1.0, 0.0] * 4)[:, None].expand(8, 6))
    assert (marked[..., 17 - blank : 17] == 0).all()
    assert (marked[..., 23 : 23 + blank] == 0).all()
    assert (marked[..., : 17 - blank] == 0.5).all()
    assert (marked[..., 23 + blank :] == 0.5).all()
    assert hidden_frames(40, config) == slice(17 - blank, 23 + blank)


def test_what_cannot_be_spliced_is_refused() -> None:
    with pytest.raises(ConfigError, match="even"):
        splice(torch.rand(1, 1, 4, 9), torch.rand(1, 1, 4, 9), SpliceDraw(*torch.zeros(2, 1)))
    with pytest.raises(ConfigError, match="longer"):
        draw_splice(
            NextSegmentConfig(), batch_size=1, half_frames=8, other_frames=7, generator=generator()
        )


def test_a_threshold_is_found_on_either_side() -> None:
    measure = torch.rand(400, generator=generator())
    for answer in (measure > 0.3, measure < 0.3):
        assert threshold_accuracy(measure, answer) > 0.98
    guess = torch.rand(400, generator=generator(1)) > 0.5
    assert threshold_accuracy(measure, guess) < 0.6
