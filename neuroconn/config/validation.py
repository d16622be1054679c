"""How a training run is judged while it learns, and when it ends early."""

from __future__ import annotations

from typing import Literal, TypeAlias

from pydantic import Field

from neuroconn.config.base import Settings

Metric: TypeAlias = Literal[
    "quality", "cldice", "tlts", "betti", "breaks", "average_precision", "volume_mse", "mse"
]
"""What can decide which weights are the best."""

LOWER_IS_BETTER = frozenset({"betti", "breaks", "mse", "volume_mse"})
"""Metrics that fall as a network learns; the others rise."""


class VolumeSettings(Settings):
    """Sub-volumes larger than a crop, predicted tile by tile as ``neuroconn infer`` does it.

    A line that breaks at the face of a tile, or in the dark between two crops, is seen here only.
    """

    phantoms: int = Field(2, ge=0)
    """Phantoms among them, if the network learns from phantoms; never the same ones."""
    brains: bool = True
    """Whether a part of what is held out of each brain is among them."""
    stored: int = Field(2, ge=0)
    """Validation crops of each dataset among them, as large as it stores them."""
    edge: int = Field(128, ge=8)
    """Side of a volume, in voxels, at most."""
    core: int = Field(64, ge=1)
    """Side of what one tile predicts; rounded up to the network's pooling grid."""
    halo: int = Field(16, ge=0)
    """Context around it; rounded up to the network's pooling grid."""
    threshold: float = Field(3.0, gt=0)
    """A distance below it is a neurite, in voxels."""
    slack: float = Field(3.0, ge=0)
    """Farthest two lines may lie from each other and still match, in voxels."""


class StoppingSettings(Settings):
    """Which weights are saved, and when a run that no longer improves ends."""

    metric: Metric = "quality"
    """Score that decides: ``quality`` of skeletons, ``cldice``, ``tlts`` (share of paths with the
    right length), ``betti`` (error of the number of pieces), ``breaks`` (none either where nothing
    is found), ``average_precision`` or ``volume_mse``, all on the volumes; ``mse`` on the held-out
    crops."""
    patience: int | None = Field(None, ge=1)
    """Validations without a better score after which the run ends, and the best weights are saved;
    null runs to the end and saves the last."""
    least: float = Field(0.0, ge=0)
    """How much better a score must be to count."""

    @property
    def rises(self) -> bool:
        """Whether a greater score is the better one."""
        return self.metric not in LOWER_IS_BETTER

    def check_judged(self, judged: bool) -> None:
        """Refuse to end a run by a score that nothing gives.

        Raises
        ------
        ValueError
            If the metric is one of whole volumes, and none are ``judged``.
        """
        if self.patience and not judged and self.metric != "mse":
            raise ValueError(
                f"stopping.metric {self.metric} is a score of whole volumes, and there are none: "
                "see volumes, or take stopping.metric: mse"
            )
