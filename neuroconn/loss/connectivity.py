"""L_conn, L_3D and L_2D: connectivity of lines in space, seen in their projections.

A curve does not part space as it parts a plane, so L_TOPO is taken of the shadows of the map: a
gap shows in at least two of three, unless another neurite hides it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from neuroconn.loss.plan import Plan, plan
from neuroconn.loss.projection import check_axes, project
from neuroconn.loss.regression import mse
from neuroconn.loss.rules import Rules, TopologyOptions
from neuroconn.loss.term import Term
from neuroconn.loss.topology import plans, topology

if TYPE_CHECKING:
    from neuroconn.annotation import Graph


def l_conn(
    prediction: Tensor,
    target: Tensor,
    *,
    axes: tuple[int, ...] = (0, 1, 2),
    **options: Unpack[TopologyOptions],
) -> Tensor:
    """Sum of `l_topo` over the minimum projections of two 3D maps [1]_ [2]_.

    Parameters
    ----------
    prediction, target : Tensor, shape (batch, 1, z, y, x)
        Distances in voxels, 0 on the centreline, cut off at ``clip``. Windows must divide every
        side that is seen.
    axes : tuple of int, optional
        Along which of z, y, x to project, as 0, 1, 2.
    **options
        As for `l_topo`.

    Returns
    -------
    Tensor, scalar
        A sum over batch, projections and windows. Its gradient reaches one voxel a ray at most.

    Raises
    ------
    ValueError
        If the shapes differ, windows do not divide a projection, or an option is out of range.

    References
    ----------
    .. [1] Oner et al., "Enforcing connectivity of 3D linear structures using their 2D
       projections", MICCAI 2022, arXiv:2207.06832.
    .. [2] The report's eq. 1.

    Examples
    --------
    A gap of two voxels in a line along x shows from above and from the side:

    >>> import torch
    >>> away = torch.arange(48.0).sub(24).abs().clamp(max=10)
    >>> target = torch.maximum(away[:, None, None], away[:, None]).repeat(1, 1, 1, 1, 48)
    >>> gap = target.clone()
    >>> gap[..., 20:22] = 10
    >>> options = {"disconnection": 1, "false_connection": 0, "edge_cost": "min"}
    >>> [float(l_conn(gap, target, axes=(i,), **options)) for i in range(3)]
    [100.0, 100.0, 0.0]
    """
    loss: Tensor = LConn(axes=axes, **options)(prediction, target)
    return loss


def l_3d(
    prediction: Tensor,
    target: Tensor,
    *,
    alpha: float = 1.0,
    axes: tuple[int, ...] = (0, 1, 2),
    **options: Unpack[TopologyOptions],
) -> Tensor:
    """Mean squared error in space, and ``alpha`` times `l_conn` (the report's eq. 2).

    Parameters
    ----------
    prediction, target : Tensor, shape (batch, 1, z, y, x)
        Distances in voxels.
    alpha : float, optional
        Weight of `l_conn`, on top of ``disconnection`` and ``false_connection``. The error is a
        mean over the batch and `l_conn` a sum.
    axes, **options
        As for `l_conn`.

    Returns
    -------
    Tensor, scalar

    Examples
    --------
    >>> import torch
    >>> target = torch.full((1, 1, 48, 48, 48), 10.0)
    >>> l_3d(target - 2, target, false_connection=0)  # nothing to part: the error alone
    tensor(4.)
    """
    loss: Tensor = L3D(alpha=alpha, axes=axes, **options)(prediction, target)
    return loss


def l_2d(
    prediction: Tensor,
    target: Tensor | Sequence[Tensor],
    *,
    alpha: float = 1.0,
    axes: tuple[int, ...] = (0, 1, 2),
    **options: Unpack[TopologyOptions],
) -> Tensor:
    """Squared error and connectivity of projections: learning from 2D annotations (eq. 3).

    Only the prediction is projected, so that neurites need to be traced in two or three
    projections of the image, not in space.

    Parameters
    ----------
    prediction : Tensor, shape (batch, 1, z, y, x)
        Distances in voxels.
    target : Tensor or sequence of Tensor
        For every axis, the map of the neurites that were traced in that projection: (batch, 1, y,
        x), (batch, 1, z, x), (batch, 1, z, y). Or one map of shape (batch, 1, z, y, x), which is
        projected.
    alpha : float, optional
        Weight of the sum of `l_topo`.
    axes : tuple of int, optional
        Along which of z, y, x to project, as 0, 1, 2: (0, 1) for two projections.
    **options
        As for `l_topo`.

    Returns
    -------
    Tensor, scalar
        Over all axes, the mean squared error of the projections, and ``alpha`` times `l_topo`.

    Examples
    --------
    >>> import torch
    >>> prediction, target = torch.full((2, 1, 1, 48, 48, 48), 10.0)
    >>> views = [target[0].amin(i)[None] + 1 for i in (1, 2)]
    >>> l_2d(prediction, target), l_2d(prediction, views, axes=(0, 1))
    (tensor(0.), tensor(2.))
    """
    loss: Tensor = L2D(alpha=alpha, axes=axes, **options)(prediction, target)
    return loss


class LConn(Term):
    """Module twin of `l_conn`; takes the same options."""

    def __init__(
        self, *, axes: tuple[int, ...] = (0, 1, 2), **options: Unpack[TopologyOptions]
    ) -> None:
        super().__init__()
        check_axes(axes)
        self.axes = tuple(axes)
        self.rules = Rules(**options)

    def check(self, shape: Sequence[int]) -> None:
        """Refuse crops (z, y, x) whose projections windows do not cover."""
        for axis in self.axes:
            self.rules.check(*(size for i, size in enumerate(shape) if i != axis))

    def prepare(self, distance: NDArray[np.floating], graph: Graph | None = None) -> Plan:
        """Project a map (z, y, x), and prepare what `l_topo` needs of each projection."""
        return plan([distance.min(axis=axis) for axis in self.axes], self.rules)

    def forward(
        self, prediction: Tensor, target: Tensor, prepared: Sequence[Any] | None = None
    ) -> Tensor:
        """Sum over batch, projections and windows."""
        _check(prediction, target)
        views = project(prediction, self.axes)
        if not prepared:
            prepared = plans([target.amin(dim=axis + 2) for axis in self.axes], self.rules)
        return self.parts * topology(views, self.rules, prepared)


class L3D(LConn):
    """Module twin of `l_3d`; takes the same options."""

    def __init__(
        self,
        *,
        alpha: float = 1.0,
        axes: tuple[int, ...] = (0, 1, 2),
        **options: Unpack[TopologyOptions],
    ) -> None:
        super().__init__(axes=axes, **options)
        self.alpha = alpha

    def forward(
        self, prediction: Tensor, target: Tensor, prepared: Sequence[Any] | None = None
    ) -> Tensor:
        """Squared error, a mean; connectivity, a sum."""
        return mse(prediction, target) + self.alpha * super().forward(prediction, target, prepared)


class L2D(L3D):
    """Module twin of `l_2d`; takes the same options."""

    takes_projections = True

    def prepare(
        self, distance: NDArray[np.floating] | Sequence[NDArray[np.floating]], graph: Any = None
    ) -> Plan:
        """Prepare one map (z, y, x), or the maps traced in each projection."""
        if isinstance(distance, np.ndarray):
            return super().prepare(distance)
        return plan(distance, self.rules)

    def forward(
        self,
        prediction: Tensor,
        target: Tensor | Sequence[Tensor],
        prepared: Sequence[Any] | None = None,
    ) -> Tensor:
        """Squared error and connectivity of the projections."""
        views = project(prediction, self.axes)
        if isinstance(target, Tensor):
            _check(prediction, target)
            target = [target.amin(dim=axis + 2) for axis in self.axes]
        if len(target) != len(views):
            raise ValueError(f"{len(views)} projections need as many targets, got {len(target)}")
        error = sum(mse(view, truth) for view, truth in zip(views, target, strict=True))
        return error + self.alpha * self.parts * topology(
            views, self.rules, prepared or plans(target, self.rules)
        )


def _check(prediction: Tensor, target: Tensor) -> None:
    if prediction.shape != target.shape:
        raise ValueError(
            f"prediction of shape {tuple(prediction.shape)} and target of shape "
            f"{tuple(target.shape)} must be equal"
        )
