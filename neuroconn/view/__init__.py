"""Pictures of brains and distance maps."""

from neuroconn.view.pictures import (
    chunk_map,
    nearness,
    projection,
    save_png,
    side_by_side,
    stretch,
)

__all__ = ["chunk_map", "nearness", "projection", "save_png", "side_by_side", "stretch"]
