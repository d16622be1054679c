"""The running mean of the weights: smoother than any of them, and what is saved."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from neuroconn.network import Network


class Average:
    """Follows a network, step by step.

    Parameters
    ----------
    network : Network
        Whose weights and buffers are averaged.
    decay : float
        Share of the mean that a step keeps, once the run is old enough.
    """

    def __init__(self, network: Network, decay: float) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self._decay = decay
        mean, now = _tensors(self.network), _tensors(network)
        self._pairs = [(mean[k], now[k]) for k in mean if mean[k].is_floating_point()]
        self._counts = [(mean[k], now[k]) for k in mean if not mean[k].is_floating_point()]

    @torch.no_grad()
    def follow(self, iteration: int) -> None:
        """Take in the weights after update number ``iteration``."""
        # Early on the mean must forget the random start: its memory grows with the run.
        keep = min(self._decay, (1 + iteration) / (10 + iteration))
        means, values = zip(*self._pairs, strict=True)
        # One call for all: a call a tensor costs more than the step of a small network.
        torch._foreach_lerp_(means, values, 1 - keep)
        for count, value in self._counts:
            count.copy_(value)


def _tensors(network: Network) -> dict[str, Tensor]:
    """Weights and buffers themselves; they keep their place when a state is loaded."""
    return {**dict(network.named_parameters()), **dict(network.named_buffers())}
