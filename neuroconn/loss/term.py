"""What every loss offers to training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

if TYPE_CHECKING:
    from neuroconn.annotation import Graph


class Term(nn.Module):
    """One summand of what training minimises.

    What depends on the annotation alone (dilations, labels, graphs cut at the crop) is made by
    :meth:`prepare` in the data loader, a crop at a time, and handed back to :meth:`forward`, so
    that the training step never waits for it.
    """

    wants_graph = False
    """Whether :meth:`prepare` needs the annotation's graph, not only its distance map."""
    pointwise = False
    """Whether every voxel counts alone, so that it also learns from crops whose annotation leaves
    voxels open."""
    takes_projections = False
    """Whether the target may also be a 2D map for each projection."""
    parts = 1
    """Parts that training cuts a batch into, over processes and over time, and averages. A loss
    that is a sum over the batch multiplies itself by it, so that cutting changes nothing."""

    def check(self, shape: Sequence[int]) -> None:
        """Refuse, by a ValueError, crops of a shape (z, y, x) that the term cannot be taken of."""

    def prepare(self, distance: NDArray[np.float32], graph: Graph | None) -> Any:
        """Compute what depends on the annotation alone; plain numpy, called from threads.

        Parameters
        ----------
        distance : ndarray of float32, shape (z, y, x)
            Clipped distance map of one crop, augmented as the image is.
        graph : Graph or None
            The annotation in voxels of the crop; None where :attr:`wants_graph` is false.

        Returns
        -------
        object
            Whatever :meth:`forward` wants back for this crop; None if nothing.
        """
        return None

    def forward(
        self, prediction: Tensor, target: Tensor, prepared: Sequence[Any] | None = None
    ) -> Tensor:
        """Loss of a batch.

        Parameters
        ----------
        prediction, target : Tensor, shape (batch, 1, z, y, x)
            Distances in voxels, float32 or float64.
        prepared : sequence, optional
            What :meth:`prepare` returned for each crop of the batch; computed here if missing.

        Returns
        -------
        Tensor, scalar
        """
        raise NotImplementedError
