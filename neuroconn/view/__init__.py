"""Pictures of brains and distance maps."""

from neuroconn.view.pictures import chunk_map, nearness, projection, save_png, stretch

__all__ = ["chunk_map", "nearness", "projection", "save_png", "stretch"]
