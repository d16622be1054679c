"""Scoring distance maps and tracings against annotations, out of core."""

from neuroconn.evaluation.choice import METRICS
from neuroconn.evaluation.evaluate import evaluate
from neuroconn.evaluation.marker_scores import MarkerScores
from neuroconn.evaluation.markers import Clicks, evaluate_markers
from neuroconn.evaluation.scores import Scores

__all__ = ["METRICS", "Clicks", "MarkerScores", "Scores", "evaluate", "evaluate_markers"]
