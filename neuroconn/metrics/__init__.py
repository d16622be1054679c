"""Scores of a prediction against an annotation. Counts add up, so brains are scored by blocks."""

from neuroconn.metrics.ccq import CCQ, ccq
from neuroconn.metrics.centreline import centreline_ccq
from neuroconn.metrics.skeleton import skeleton

__all__ = ["CCQ", "ccq", "centreline_ccq", "skeleton"]
