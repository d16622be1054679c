"""Voxelwise regression."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.nn import functional

from neuroconn.loss.term import Term


def mse(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean squared error of two clipped distance maps.

    Parameters
    ----------
    prediction, target : Tensor, shape (batch, 1, z, y, x)
        Distances in voxels. The mean runs over batch and voxels.

    Returns
    -------
    Tensor, scalar
        In squared voxels.

    Raises
    ------
    ValueError
        If the shapes differ: broadcasting would compare voxels that do not belong together.

    Examples
    --------
    >>> import torch
    >>> mse(torch.zeros(1, 1, 1, 1, 2), torch.tensor([[[[[3.0, 1.0]]]]]))
    tensor(5.)
    """
    _check(prediction, target)
    return (prediction - target).square().mean()


def huber(prediction: Tensor, target: Tensor, *, delta: float = 1.0) -> Tensor:
    """Squared error up to ``delta`` voxels, absolute error beyond [1]_.

    Where a neurite may or may not run, the squared error is least at the mean of near and far, a
    distance that no neurite has; the absolute error is least at the likelier of the two.

    Parameters
    ----------
    prediction, target : Tensor, shape (batch, 1, z, y, x)
        Distances in voxels. The mean runs over batch and voxels.
    delta : float, optional
        Where squared turns into absolute, in voxels.

    Returns
    -------
    Tensor, scalar
        The mean of ``r**2 / 2`` below ``delta`` and ``delta * (r - delta / 2)`` above; r is the
        residual.

    Raises
    ------
    ValueError
        If the shapes differ.

    References
    ----------
    .. [1] Huber, "Robust estimation of a location parameter", Ann. Math. Statist. 35, 1964, eq. 1.

    Examples
    --------
    >>> import torch
    >>> huber(torch.zeros(1, 1, 1, 1, 2), torch.tensor([[[[[3.0, 1.0]]]]]))
    tensor(1.5000)
    """
    _check(prediction, target)
    return functional.huber_loss(prediction, target, delta=delta)


class MSE(Term):
    """Module twin of `mse`."""

    pointwise = True

    def forward(
        self, prediction: Tensor, target: Tensor, prepared: Sequence[Any] | None = None
    ) -> Tensor:
        """Mean over batch and voxels."""
        return mse(prediction, target)


class Huber(Term):
    """Module twin of `huber`; takes the same option."""

    pointwise = True

    def __init__(self, *, delta: float = 1.0) -> None:
        super().__init__()
        if not delta > 0:
            raise ValueError(f"delta must be above 0, got {delta}")
        self.delta = delta

    def forward(
        self, prediction: Tensor, target: Tensor, prepared: Sequence[Any] | None = None
    ) -> Tensor:
        """Mean over batch and voxels."""
        return huber(prediction, target, delta=self.delta)


def _check(prediction: Tensor, target: Tensor) -> None:
    if prediction.shape != target.shape:
        raise ValueError(
            f"prediction of shape {tuple(prediction.shape)} and target of shape "
            f"{tuple(target.shape)} must be equal"
        )
