"""Small networks of every kind, with the statistics of a batch, whose features vary."""

from typing import Any

import torch
from torch import Tensor, nn

from neuroconn.network import Network, build

SMALL: dict[str, dict[str, Any]] = {
    "unet": {"levels": 2, "width": 4, "dropout": 0.0},
    "resunet": {"depth": 10, "width": 4, "dropout": 0.0},
    "resunet-A": {"depth": 18, "width": 2, "dropout": 0.0, "convolutions": 1},
    "resunet-50": {"depth": 50, "width": 2, "dropout": 0.0},
    "resunetpp": {"levels": 2, "width": 4},
    "cenet": {"depth": 10, "width": 4},
    "cenet-50": {"depth": 50, "width": 2, "shortcut": "A", "pools": (2,)},
}
"""Arguments by what comes before the hyphen, the network's name, and a word to tell them apart."""


def settled(kind: str, seed: int = 0, **changes: Any) -> Network:
    """One of :data:`SMALL` in eval mode, after a batch of noise."""
    torch.manual_seed(seed)
    network = build(kind.split("-")[0], **{**SMALL[kind], **changes})
    nn.init.normal_(network.output_layer.weight, std=0.3)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            module.momentum = 1.0
            nn.init.normal_(module.bias, std=0.2)
    side = 64 if network.stride == 32 else 32  # more than one cell at the bottom
    with torch.no_grad():
        network.train()(torch.randn(2, 1, side, side, side))
    return network.eval().requires_grad_(False)


def image(*shape: int, seed: int = 3) -> Tensor:
    """Noise, (1, 1, z, y, x)."""
    return torch.randn(1, 1, *shape, generator=torch.Generator().manual_seed(seed))
