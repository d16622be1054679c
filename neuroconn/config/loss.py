"""What a training run minimises: a base loss on the map, and terms that join it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from neuroconn.config.base import Settings

Name = Literal[
    "mse", "huber", "l_topo", "l_conn", "l_3d", "l_2d", "snake", "soft_cldice", "skeleton_recall"
]


class TermSettings(Settings):
    """One term; only the options its loss takes may be given."""

    name: Name
    """Which loss."""
    weight: float = Field(1.0, ge=0)
    """Factor of the term in the sum."""
    start: int = Field(0, ge=0)
    """First iteration the term takes part in: connectivity is learnt after the map."""
    stop: int | None = Field(None, ge=1)
    """Iteration the term leaves at; None for never."""
    options: dict[str, object] = Field(default_factory=dict)
    """Arguments of the loss, such as ``window: 48`` or ``disconnection: 1.0e-4``."""


class LossSettings(Settings):
    """The sum of its terms."""

    terms: tuple[TermSettings, ...] = (TermSettings(name="mse"),)
    """Summands."""
