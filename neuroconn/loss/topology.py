"""L_TOPO: a loss on the pixels that decide whether a line parts what it should part."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuroconn.loss.pairs import node_weights
from neuroconn.loss.plan import Plan, concatenate, plan
from neuroconn.loss.rules import EdgeCost, Mode, Rules
from neuroconn.loss.term import Term

if TYPE_CHECKING:
    from neuroconn.annotation import Graph


def l_topo(
    prediction: Tensor,
    target: Tensor,
    *,
    window: int = 48,
    clip: float = 10.0,
    low: float | None = None,
    high: float | None = None,
    dilation: int = 5,
    mode: Mode = "robust",
    edge_cost: EdgeCost = "sum",
    disconnection: float = 1e-4,
    false_connection: float = 1e-5,
    centreline: float = 0.0,
) -> Tensor:
    """Loss on the connectivity of lines in 2D distance maps, window by window [1]_.

    A line parts a window into regions. Where the predicted line has a gap, pixels of two regions
    are joined through it, and the weakest edge of their path, the gap, is drawn to 0. Where a
    predicted line has no counterpart, pixels of one region are parted, and it is pushed to the
    clip.

    Parameters
    ----------
    prediction, target : Tensor, shape (batch, 1, rows, columns)
        Distances in pixels, 0 on the line, cut off at ``clip``.
    window : int, optional
        Side of the windows, which must divide both sides of the map.
    clip : float, optional
        Where distances are cut off.
    low, high : float, optional
        An edge joins two neighbours, and costs the sum of their distances. It lies on the line if
        the target's cost is below ``low``, and off it from ``high``. By default ``clip / 2`` and
        ``clip``.
    dilation : int, optional
        Pixels the line is grown by, in city blocks, before regions are told apart: a predicted
        line may lie that far aside.
    mode : {"robust", "reference"}, optional
        What edges off the line count in the search for gaps: more than any predicted edge, or
        ``high`` as published, which takes the gradient from wide gaps.
    edge_cost : {"sum", "min"}, optional
        What a predicted edge costs: the sum of its pixels' distances, with both of them drawn, as
        in the published code; or the lesser of them, with that pixel drawn, as in the paper.
    disconnection, false_connection : float, optional
        Weights of gaps and of false lines.
    centreline : float, optional
        Greatest distance of a pixel on the line. Any number below 1 is the same on maps made from
        drawn voxels; distances to a curve need 0.87 (half the diagonal of a voxel).

    Returns
    -------
    Tensor, scalar
        A **sum** over batch and windows, of at most ``2 * clip**2`` times the weights from each;
        beside the mean of an error it weighs more in a larger batch. Of a perfect map with two
        regions in a window it is small, not 0, unless ``edge_cost="min"``.

    Raises
    ------
    ValueError
        If the shapes differ, windows do not divide the map, or an option is out of range.

    References
    ----------
    .. [1] Oner et al., "Promoting connectivity of network-like structures by enforcing region
       separation", IEEE TPAMI 2021, arXiv:2009.07011.

    Examples
    --------
    >>> target = torch.arange(-2, 3).abs().repeat(5, 1)[None, None].float()
    >>> prediction = torch.where(target > 0, 10.0, 0.0)
    >>> prediction[0, 0, 2, 2] = 4  # a gap
    >>> l_topo(prediction, target, window=5, dilation=0, disconnection=1)
    tensor(116.)
    """
    term = LTopo(
        window=window,
        clip=clip,
        low=low,
        high=high,
        dilation=dilation,
        mode=mode,
        edge_cost=edge_cost,
        disconnection=disconnection,
        false_connection=false_connection,
        centreline=centreline,
    )
    loss: Tensor = term(prediction, target)
    return loss


class LTopo(Term):
    """Module twin of `l_topo`; takes the same options.

    Examples
    --------
    >>> target = torch.arange(48.0).sub(24).abs().clamp(max=10).repeat(48, 1)[None, None]
    >>> term = LTopo(disconnection=1e-3)
    >>> prepared = [term.prepare(target[0, 0].numpy(), None)]
    >>> bool(term(target + 1, target, prepared) == l_topo(target + 1, target, disconnection=1e-3))
    True
    """

    def __init__(
        self,
        *,
        window: int = 48,
        clip: float = 10.0,
        low: float | None = None,
        high: float | None = None,
        dilation: int = 5,
        mode: Mode = "robust",
        edge_cost: EdgeCost = "sum",
        disconnection: float = 1e-4,
        false_connection: float = 1e-5,
        centreline: float = 0.0,
    ) -> None:
        super().__init__()
        edges: tuple[Mode, EdgeCost] = (mode, edge_cost)
        weights = disconnection, false_connection
        self.rules = Rules(window, clip, low, high, dilation, *edges, *weights, centreline)

    def prepare(self, distance: NDArray[np.floating], graph: Graph | None = None) -> Plan:
        """Dilate and label a map (rows, columns), and sort its edges."""
        return plan([distance], self.rules)

    def forward(
        self, prediction: Tensor, target: Tensor, prepared: Sequence[Any] | None = None
    ) -> Tensor:
        """Sum over the windows of a batch (batch, 1, rows, columns)."""
        if prediction.shape != target.shape or prediction.ndim != 4 or prediction.shape[1] != 1:
            raise ValueError(
                f"prediction of shape {tuple(prediction.shape)} and target of shape "
                f"{tuple(target.shape)} must both be (batch, 1, rows, columns)"
            )
        prepared = prepared or plans([target], self.rules)
        return self.parts * topology([prediction], self.rules, prepared)


def plans(targets: Sequence[Tensor], rules: Rules) -> list[Plan]:
    """Prepare every crop of a batch, from its maps (batch, 1, rows, columns) of each kind."""
    arrays = [_single(target.detach()).cpu().numpy()[:, 0] for target in targets]
    return [plan(maps, rules) for maps in zip(*arrays, strict=True)]


def topology(predictions: Sequence[Tensor], rules: Rules, prepared: Sequence[Plan]) -> Tensor:
    """L_TOPO summed over one or more 2D maps of each crop of a batch.

    Parameters
    ----------
    predictions : sequence of Tensor, shape (batch, 1, rows, columns)
        Maps of each kind, such as the projections along each axis.
    rules : Rules
        Options.
    prepared : sequence of Plan
        One for each crop: the windows of its target maps, one kind after the other.

    Raises
    ------
    ValueError
        If windows do not divide a map, or those of the target are others.
    """
    values = _single(torch.cat([_windows(maps, rules) for maps in predictions], dim=1))
    batch, count = values.shape[:2]
    if len(prepared) != batch or any(len(p) != count or p.window != rules.window for p in prepared):
        raise ValueError(f"{batch} crops of {count} windows were not prepared with these options")
    if not values.numel():
        return values.sum()
    found = values.detach().flatten(0, 1).cpu().numpy()
    # Weights are constants: the tree changes only where two edges cost the same.
    weights = node_weights(found, concatenate(prepared), rules)
    weights *= np.array([rules.disconnection, rules.false_connection])[:, None, None]
    factors = torch.from_numpy(weights).to(values.dtype).to(values.device)
    gap, false = factors.reshape(2, *values.shape)
    loss: Tensor = (gap * values.square() + false * (rules.clip - values).square()).sum()
    return loss


def _single(values: Tensor) -> Tensor:
    """Turn half precision, in which costs would tie, into single."""
    return values if values.dtype in (torch.float32, torch.float64) else values.float()


def _windows(maps: Tensor, rules: Rules) -> Tensor:
    """Cut (batch, 1, rows, columns) into (batch, windows, w * w)."""
    rows, columns = maps.shape[2:]
    rules.check(rows, columns)
    side = rules.window
    parts = maps.reshape(len(maps), rows // side, side, columns // side, side)
    return parts.transpose(2, 3).flatten(3).flatten(1, 2)
