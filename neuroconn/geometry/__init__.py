"""Boxes, chunk grids, physical frames and pyramid levels. Numpy only; always (z, y, x)."""

from neuroconn.geometry.box import ZYX, Box
from neuroconn.geometry.frame import Frame
from neuroconn.geometry.grid import DIRECTIONS, ChunkGrid, directions
from neuroconn.geometry.levels import Level, plan_levels

__all__ = ["DIRECTIONS", "ZYX", "Box", "ChunkGrid", "Frame", "Level", "directions", "plan_levels"]
