"""Annotations: SWC files and point lists in, centrelines and distance maps out."""

from neuroconn.annotation.alignment import Alignment, check_alignment
from neuroconn.annotation.ano import AnnotationSet, read_ano, write_ano
from neuroconn.annotation.chains import Chains, chains
from neuroconn.annotation.distance import distance_block, distance_map
from neuroconn.annotation.eswc import EswcColumns, read_eswc, write_eswc
from neuroconn.annotation.forest import Forest, concatenate
from neuroconn.annotation.graph import Graph
from neuroconn.annotation.landmarks import ApoBase, Landmark, read_landmarks, write_landmarks
from neuroconn.annotation.nearby import graph_near, graph_of_segments
from neuroconn.annotation.placement import Units, read_forest, swc_files
from neuroconn.annotation.points import read_points, write_apo, write_marker
from neuroconn.annotation.render import neurite_voxels, render
from neuroconn.annotation.swc import read_swc, write_swc

__all__ = [
    "Alignment",
    "AnnotationSet",
    "ApoBase",
    "Chains",
    "EswcColumns",
    "Forest",
    "Graph",
    "Landmark",
    "Units",
    "chains",
    "check_alignment",
    "concatenate",
    "distance_block",
    "distance_map",
    "graph_near",
    "graph_of_segments",
    "neurite_voxels",
    "read_ano",
    "read_eswc",
    "read_forest",
    "read_landmarks",
    "read_points",
    "read_swc",
    "render",
    "swc_files",
    "write_ano",
    "write_apo",
    "write_eswc",
    "write_landmarks",
    "write_marker",
    "write_swc",
]
