"""Scores of a prediction against an annotation. Counts add up, so brains are scored by blocks."""

from neuroconn.metrics.along import subdivide
from neuroconn.metrics.apls import APLS, apls
from neuroconn.metrics.average_precision import Ranking, average_precision, rank, rank_codes
from neuroconn.metrics.betti import Betti, betti, betti_numbers
from neuroconn.metrics.breaks import Breaks, breaks_at_faces
from neuroconn.metrics.ccq import CCQ, ccq
from neuroconn.metrics.centreline import centreline_ccq
from neuroconn.metrics.cldice import ClDice, cldice
from neuroconn.metrics.erl import ERL, erl
from neuroconn.metrics.segments import Segments, segments_at
from neuroconn.metrics.skeleton import skeleton
from neuroconn.metrics.skeleton_graph import skeleton_graph
from neuroconn.metrics.tlts import TLTS, tlts

__all__ = [
    "APLS",
    "CCQ",
    "ERL",
    "TLTS",
    "Betti",
    "Breaks",
    "ClDice",
    "Ranking",
    "Segments",
    "apls",
    "average_precision",
    "betti",
    "betti_numbers",
    "breaks_at_faces",
    "ccq",
    "centreline_ccq",
    "cldice",
    "erl",
    "rank",
    "rank_codes",
    "segments_at",
    "skeleton",
    "skeleton_graph",
    "subdivide",
    "tlts",
]
