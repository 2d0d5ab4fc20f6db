"""A model and a folder of songs in, scores out."""

from audiform.evaluation.separation import Evaluation, SongScores, StemScores, evaluate

__all__ = ["Evaluation", "SongScores", "StemScores", "evaluate"]
