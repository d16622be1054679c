"""What the network is shown: a crop made ready, and several of them together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuroconn.annotation import Graph
from neuroconn.training.bounds import Bounds

Volume = NDArray[np.float32]


class Prepare(Protocol):
    """What a loss makes of the annotation of one crop, ahead of the step that needs it."""

    def __call__(
        self, distance: Volume, graph: Graph | None, *, iteration: int, whole: bool
    ) -> Any:
        """Compute what depends on the annotation alone, for the iteration that will need it."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A crop, normalised and varied."""

    image: Volume
    """Input of the network, shape (z, y, x)."""
    distance: Volume
    """Clipped distance to the nearest centreline, shape (z, y, x), voxels."""
    graph: Graph | None = None
    """The annotation in voxels of this sample; None where no loss asks for it."""
    where: str = ""
    """Where it comes from, one phrase."""
    prepared: Any = None
    """What the loss made of the annotation."""
    bounds: Bounds | None = None
    """What is known of the distance, where that is less than all."""


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Samples that pass the network together."""

    images: Tensor
    """float32, shape (batch, 1, z, y, x)."""
    distances: Tensor
    """float32, shape (batch, 1, z, y, x), voxels."""
    prepared: tuple[Any, ...] = ()
    """What the loss made of each annotation; empty if it was not asked."""
    where: tuple[str, ...] = ()
    """Where each sample comes from."""
    bounds: Tensor | None = None
    """float32, shape (batch, 2, z, y, x): an upper bound of each distance, of which ``distances``
    are lower bounds, and the weight of each voxel; None where the distances are known."""

    @classmethod
    def of(cls, samples: Sequence[Sample], *, pinned: bool = False) -> Batch:
        """Stack samples of one shape.

        Parameters
        ----------
        samples : sequence of Sample
            At least one.
        pinned : bool, optional
            Whether to put them where a GPU can fetch them by itself.
        """
        return cls(
            _stack([s.image for s in samples], pinned),
            _stack([s.distance for s in samples], pinned),
            tuple(s.prepared for s in samples if s.prepared is not None),
            tuple(s.where for s in samples),
            _bounds(samples),
        )

    def __len__(self) -> int:
        return len(self.images)

    def to(self, device: torch.device) -> Batch:
        """Return the batch on a device, channels last; pinned memory is copied meanwhile."""
        images = self.images.to(device, non_blocking=True)
        return Batch(
            images.contiguous(memory_format=torch.channels_last_3d),
            self.distances.to(device, non_blocking=True),
            self.prepared,
            self.where,
            None if self.bounds is None else self.bounds.to(device, non_blocking=True),
        )


def _bounds(samples: Sequence[Sample]) -> Tensor | None:
    if all(sample.bounds is None for sample in samples):
        return None
    known = [s.bounds or Bounds.exact(s.distance) for s in samples]
    return torch.from_numpy(np.stack([np.stack((b.high, b.weight)) for b in known]))


def _stack(volumes: Sequence[Volume], pinned: bool) -> Tensor:
    z, y, x = volumes[0].shape
    together = torch.empty((len(volumes), 1, z, y, x), dtype=torch.float32, pin_memory=pinned)
    np.stack(volumes, out=together.numpy()[:, 0])
    return together
