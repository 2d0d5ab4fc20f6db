"""Crops, borders, losses and verdicts."""

from __future__ import annotations

import dataclasses
from xml.etree import ElementTree

import pytest
import torch
from experiments.padding import loss_by_distance
from experiments.picture import Axis, draw_curves, mean_curve
from experiments.scores import (
    Masked,
    Unheard,
    best_by_bin,
    loss_of,
    masks_in_crops,
    no_mask,
    sdr_of,
    unheard_magnitudes,
)
from experiments.settings import SAMPLE_RATE, SPECTRUM, Settings
from experiments.songs import Song, Songs
from experiments.verdict import judge
from torch import nn

from audiform.dsp.stft import stft
from audiform.errors import DataError
from audiform.models.frame_transformer import FrameTransformer, FrameTransformerConfig

#: Two seconds, of three.
FRAMES = round(2 * SAMPLE_RATE / SPECTRUM.hop_length)


class Identity(nn.Module):
    """Gives the magnitudes for masks, and remembers how many frames it was shown."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[torch.Tensor] = []

    def core(self, magnitudes: torch.Tensor) -> tuple[torch.Tensor, ...]:
        self.seen += list(magnitudes)
        return (magnitudes[:, None],)


class Half(FrameTransformer):
    """Gives a half for every mask."""

    def __init__(self) -> None:
        super().__init__(
            FrameTransformerConfig(hidden_channels=1, num_layers=1, feed_forward_width=8)
        )

    def core(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (torch.full_like(inputs[0], 0.5)[:, None],)


@pytest.mark.parametrize(("kept", "context"), [(16, 0), (16, 8), (7, 5), (200, 30)])
@pytest.mark.parametrize(("start", "stop"), [(0, 100), (13, 77), (3, 4)])
def test_crops_join_to_the_piece_whatever_their_context(kept, context, start, stop) -> None:
    magnitudes = torch.rand(2, 5, 100)
    network = Identity()
    masks = masks_in_crops(
        network, magnitudes, start=start, stop=stop, kept_frames=kept, context_frames=context
    )
    assert torch.equal(masks, magnitudes[..., start:stop])
    assert {crop.shape[-1] for crop in network.seen} == {kept + 2 * context}
    assert len(network.seen) == -(-(stop - start) // kept)


def test_context_is_that_of_the_song_and_silence_beyond_its_ends() -> None:
    magnitudes = torch.rand(1, 1, 20) + 1
    network = Identity()
    masks_in_crops(network, magnitudes, start=0, stop=20, kept_frames=10, context_frames=4)
    first, second = (crop[0, 0] for crop in network.seen)
    assert torch.equal(first, torch.cat([torch.zeros(4), magnitudes[0, 0, :14]]))
    assert torch.equal(second, torch.cat([magnitudes[0, 0, 6:], torch.zeros(4)]))


@pytest.fixture
def song() -> Song:
    audio = torch.randn(2, 2, 3 * SAMPLE_RATE, generator=torch.Generator().manual_seed(0))
    instrumental, vocals = stft(audio, SPECTRUM)
    peak = (instrumental + vocals).abs().max().item()
    return Song("noise", instrumental, vocals, peak, unheard=slice(20, 20 + FRAMES))


def test_the_right_mask_has_no_error_and_no_mask_has_one(song) -> None:
    mixture, instrumental = unheard_magnitudes(song)
    assert loss_of([Masked(song, torch.ones_like(mixture))]) == pytest.approx(1.0)
    right = Masked(song, instrumental / mixture)
    assert loss_of([right]) < 1e-5
    assert loss_of([right, Masked(song, torch.ones_like(mixture))]) == pytest.approx(0.5)


def test_vocals_are_what_the_mask_takes_away(song) -> None:
    solo = dataclasses.replace(song, instrumental=1e-6 * song.vocals)
    assert sdr_of([Masked(solo, torch.zeros(2, 128, FRAMES))]) > 60
    assert sdr_of([Masked(solo, torch.ones(2, 128, FRAMES))]) == pytest.approx(0.0, abs=1e-3)


def test_no_number_per_bin_does_better_than_the_best(song) -> None:
    best = loss_of([Masked(song, best_by_bin(song))])
    assert best < 1.0
    generator = torch.Generator().manual_seed(1)
    for _ in range(20):
        mask = torch.rand(2, 128, 1, generator=generator).expand(-1, -1, FRAMES)
        assert loss_of([Masked(song, mask)]) >= best - 1e-6


def test_scores_of_the_song_held_out_are_told_apart(song) -> None:
    other = dataclasses.replace(song, name="other", instrumental=2 * song.instrumental)
    songs = Songs([song, song], other)
    scores = Unheard(songs, Settings(held_out="other", crop_frames=32))(Half()).scores
    assert scores["loss"] == pytest.approx(loss_of([Masked(song, no_mask(song) / 2)]))
    assert scores["foreign_loss"] == pytest.approx(loss_of([Masked(other, no_mask(song) / 2)]))
    assert scores["foreign_loss"] != pytest.approx(scores["loss"])


def test_a_song_without_vocals_in_its_middle_is_refused(song) -> None:
    with pytest.raises(DataError, match="'noise' has no vocals"):
        dataclasses.replace(song, vocals=0 * song.vocals)


def test_losses_are_sorted_by_their_distance_from_the_border() -> None:
    plain = torch.ones(32)
    masked = torch.tensor([1.0, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1] * 2)
    found = loss_by_distance([(masked, plain)], kept_frames=16, up_to=8)
    assert found == pytest.approx([1.0, 2.0])


def test_a_claim_holds_where_no_seed_speaks_against_it() -> None:
    assert judge(better=[1, 2, 3], than=[4, 5, 6]).verdict == "holds"
    assert judge(better=[4, 5, 6], than=[1, 2, 3]).verdict == "does not hold"
    overlapping = judge(better=[1, 2, 4], than=[3, 5, 6])
    assert (overlapping.verdict, overlapping.seeds_for) == ("undecided", 3)
    assert judge(better=[3, 5, 6], than=[1, 2, 4], or_equal=True).verdict == "holds"
    assert judge(better=[4, 5, 6], than=[1, 2, 3], or_equal=True).verdict == "does not hold"


@pytest.mark.parametrize(
    "values", [(0.0, 300.0), (0.912, 0.934), (-3.0, 5.2), (7.0, 7.0), (1.0, 1.0)]
)
def test_an_axis_holds_its_values_between_round_ticks(values) -> None:
    axis = Axis.around("value", values)
    assert axis.low <= min(values) and max(values) <= axis.high and axis.low < axis.high
    ticks = axis.ticks()
    assert 2 <= len(ticks) <= 8
    assert ticks[0] == axis.low and ticks[-1] == pytest.approx(axis.high)


def test_a_picture_has_a_line_for_each_seed_and_one_for_their_mean() -> None:
    curves = {
        "a < b": [[(0, 1.0), (100, 0.5)], [(0, 0.9), (100, 0.6)]],
        "c": [[(50, 1.0), (70, 0.8)], [(50, 1.0), (70, 0.7)]],
    }
    assert mean_curve(curves["c"]) == [(50, 1.0), (70, 0.75)]
    picture = draw_curves("Which?", curves, x_name="steps", y_name="error")
    root = ElementTree.fromstring(picture)
    assert len(root.findall("{*}polyline")) == 6
    texts = [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"Which?", "a < b", "c", "steps", "error", "0", "100"} <= set(texts)
