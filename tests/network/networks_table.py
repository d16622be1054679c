"""The table of docs/networks.md, made from the code: ``python tests/network/networks_table.py``."""

from typing import Any

import torch

from neuroconn.config.network import NetworkSettings
from neuroconn.errors import HaloError
from neuroconn.inference.engine.memory import predict_memory
from neuroconn.network import Network, ReceptiveField, build, check_exact, receptive_field

ROWS: dict[str, dict[str, Any]] = {
    "U-Net, 3 poolings": {"name": "unet", "levels": 3},
    "**U-Net, 4 poolings**": {"name": "unet"},
    "U-Net, 5 poolings": {"name": "unet", "levels": 5},
    "the shipped U-Net": {"name": "unet", "levels": 3, "width": 16},
    "ResUNet, ResNet-10": {"name": "resunet", "depth": 10},
    "ResUNet, ResNet-18": {"name": "resunet", "depth": 18},
    "**ResUNet, ResNet-34**": {"name": "resunet"},
    "ResUNet, ResNet-50": {"name": "resunet", "depth": 50},
    "**ResUNet++**": {"name": "resunetpp"},
    "CE-Net, ResNet-18": {"name": "cenet", "depth": 18},
    "**CE-Net, ResNet-34**": {"name": "cenet"},
    "CE-Net, ResNet-34, pools 2 and 4": {"name": "cenet", "pools": (2, 4)},
}
"""What a row is called, and the settings it stands for; defaults are in bold."""

HEAD = (
    "| network | parameters | pooling grid | smallest crop | sees | exact halo | exact grid | "
    "memory, float32 | half |\n|---|---|---|---|---|---|---|---|---|"
)


def table() -> str:
    """The whole table as Markdown."""
    return "\n".join([HEAD, *(row(label, options) for label, options in ROWS.items())])


def row(label: str, options: dict[str, Any]) -> str:
    settings = NetworkSettings.model_validate(options)
    with torch.device("meta"):
        network = build(**settings.arguments()).eval()
    parameters = sum(p.numel() for p in network.parameters())
    field = seen(network)
    cells = [
        label,
        f"{parameters:,}",
        f"{network.stride}",
        f"{settings.smallest}",
        "everything" if field is None else f"{field.halo_needed}",
        "none" if field is None else f"{field.halo}",
        "none" if field is None else f"{network.exact_grid}",
        *(gibibytes(network, precision) for precision in ("float32", "bfloat16")),
    ]
    return f"| {' | '.join(cells)} |"


def seen(network: Network) -> ReceptiveField | None:
    """What it sees; None without a bound."""
    try:
        check_exact(network)
        return receptive_field(network)
    except HaloError:
        return None


def gibibytes(network: Network, precision: str) -> str:
    """Memory of a tile of 128 voxels a side, all of it wanted."""
    return f"{predict_memory(network, (128, 128, 128), precision) / 2**30:.1f} GiB"


if __name__ == "__main__":
    print(table())
