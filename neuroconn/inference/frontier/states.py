"""What the frontier knows of one chunk, as numbers."""

from __future__ import annotations

from neuroconn.geometry import DIRECTIONS

UNEXPLORED, QUEUED, IN_FLIGHT, NEURITE, EMPTY, FAILED, MASKED = range(7)
NAMES = ("unexplored", "queued", "in_flight", "neurite", "empty", "failed", "masked")
"""Name of each state."""

ALL = (1 << len(DIRECTIONS)) - 1
"""A mask with every neighbour in it."""
KNOWN, HOLDS, GAVE_UP = 1 << 26, 1 << 27, 1 << 28
"""Flags above the 26 bits of a strong mask: there is a verdict, it says neurite, there is none."""
