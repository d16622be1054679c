"""What can go wrong while a tile is predicted. Free of torch, for those who only catch it."""

from __future__ import annotations

from neuroconn.errors import NeuroconnError


class NonFiniteOutputError(NeuroconnError, ArithmeticError):
    """The network answered NaN or infinity for a tile; in float32 it may not."""
