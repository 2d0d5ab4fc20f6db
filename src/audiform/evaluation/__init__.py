"""A model and songs in, or estimates and references in; scores out."""

from audiform.evaluation.measures import MEASURES
from audiform.evaluation.scores import Evaluation, Provenance, SongScores
from audiform.evaluation.separation import evaluate, evaluate_estimates

__all__ = [
    "MEASURES",
    "Evaluation",
    "Provenance",
    "SongScores",
    "evaluate",
    "evaluate_estimates",
]
