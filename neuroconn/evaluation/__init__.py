"""Scoring distance maps and tracings against annotations, out of core."""

from neuroconn.evaluation.choice import METRICS
from neuroconn.evaluation.evaluate import evaluate
from neuroconn.evaluation.scores import Scores

__all__ = ["METRICS", "Scores", "evaluate"]
