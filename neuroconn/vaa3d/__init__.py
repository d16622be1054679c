"""Volumes that Vaa3D and TeraFly open: the overlay, tile trees, v3draw; readers for the same.

Knows arrays and files, no store. Arrays are (z, y, x); names and headers on disk are Vaa3D's.
"""

from __future__ import annotations

from neuroconn.vaa3d.making import TileSource
from neuroconn.vaa3d.overlay import Window
from neuroconn.vaa3d.plan import TeraflyOptions, TeraflyPlan
from neuroconn.vaa3d.reader import TeraflyVolume
from neuroconn.vaa3d.single import write_single
from neuroconn.vaa3d.terafly import TeraflyReport, write_terafly
from neuroconn.vaa3d.v3draw import open_v3draw, write_v3draw

__all__ = [
    "TeraflyOptions",
    "TeraflyPlan",
    "TeraflyReport",
    "TeraflyVolume",
    "TileSource",
    "Window",
    "open_v3draw",
    "write_single",
    "write_terafly",
    "write_v3draw",
]
