"""Trained networks in crops with context around them and without, on unheard pieces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from experiments.runs import Runs
from experiments.scores import named_scores
from experiments.table import PaddingExperiment

#: Frames next to a border of what is kept of a run over which errors are averaged together.
BORDER_STEP = 4


def run_in_ways(
    experiment: PaddingExperiment, runs: Runs, seeds: Sequence[int]
) -> tuple[dict[str, list[dict[str, float]]], dict[str, list[list[float]]]]:
    """Return the scores of each way, by seed, and its loss by distance from the border."""
    scores: dict[str, list[dict[str, float]]] = {way: [] for way in experiment.ways}
    by_distance: dict[str, list[list[float]]] = {way: [] for way in experiment.ways}
    for seed in seeds:
        network = runs.network(experiment.arm, seed)
        for way, (kept, context) in experiment.ways.items():
            known, foreign = runs.unheard.masked(network, kept, context)
            scores[way].append(named_scores(known, foreign))
            by_distance[way].append(
                loss_by_distance(
                    [piece.errors for piece in known],
                    kept_frames=kept,
                    up_to=nearest(experiment.ways),
                )
            )
    return scores, by_distance


def nearest(ways: Mapping[str, tuple[int, int]]) -> int:
    """Return how far from a border all ways have frames."""
    return min(kept for kept, _ in ways.values()) // 2 // BORDER_STEP * BORDER_STEP


def loss_by_distance(
    errors: Sequence[tuple[Float[Tensor, " frame"], Float[Tensor, " frame"]]],
    *,
    kept_frames: int,
    up_to: int,
) -> list[float]:
    """Return the loss of frames 0 to 3 from a border of what is kept, 4 to 7, and so on.

    ``errors`` are those of each song with masks and without; they are summed over songs, crops
    and both borders.
    """
    sums = torch.zeros(2, up_to // BORDER_STEP)
    for pair in errors:
        for row, of_frames in enumerate(pair):
            position = torch.arange(len(of_frames)) % kept_frames
            distance = torch.minimum(position, kept_frames - 1 - position)
            near = distance < up_to
            sums[row].index_add_(0, distance[near] // BORDER_STEP, of_frames[near])
    return (sums[0] / sums[1]).tolist()
