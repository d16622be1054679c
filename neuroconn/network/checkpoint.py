"""Weights of the 2022 report's own U-Net, brought into ours.

Its names and ours, with ``j`` counting every layer of a block and ours only what holds weights:

=================================  ==============================================
report                             neuroconn
=================================  ==============================================
``down_path.i.layers.j``           ``encoders.i``: convolution, norm, in this order
``bottom.0.layers.j``              ``bottom``
``up_path.i.upsampling``           ``ups.(levels - 1 - i)``
``up_path.i.layers.j``             ``decoders.(levels - 1 - i)``
``last_layer``                     ``last``
=================================  ==============================================

The report goes up from the bottom, so its first up block is our deepest. Within a block the layers
are matched by order, so pooling or dropout layers may or may not be counted by ``j``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor, nn

from neuroconn.errors import ModelError
from neuroconn.network.layers import Head
from neuroconn.network.unet import UNet

_LAYER = re.compile(r"(?:module\.)?(down_path|bottom|up_path)\.(\d+)\.layers\.(\d+)\.(\w+)")
_OTHER = re.compile(r"(?:module\.)?(?:up_path\.(\d+)\.upsampling|last_layer)\.(\w+)")

_Block = dict[int, dict[str, Tensor]]


def from_report(
    state: Mapping[str, Tensor], *, head: Head = "relu", clip: float = 10.0, dropout: float = 0.1
) -> UNet:
    """Make the network a report checkpoint holds, with its weights.

    Parameters
    ----------
    state : mapping of str to Tensor
        The checkpoint's state dict, as :func:`~neuroconn.network.read_state` reads it. Levels,
        width and convolutions follow from it.
    head, clip, dropout : optional
        What the state dict does not tell; see :class:`UNet`.

    Returns
    -------
    UNet
        In eval mode.

    Raises
    ------
    ModelError
        If names or shapes are not those of the report's network; nothing is loaded in part.
    """
    blocks, rest = _sort(state)
    levels = sum(kind == "down_path" for kind, _ in blocks)
    first = blocks.get(("down_path", 0))
    if not first or ("bottom", 0) not in blocks or "last.weight" not in rest:
        raise ModelError(
            "the state dict lacks down_path.0, bottom.0 or last_layer: it is no checkpoint of the "
            "report's network, and nothing was loaded"
        )
    weights = [
        w for j in sorted(first) if (w := first[j].get("weight")) is not None and w.ndim == 5
    ]
    if not weights:
        raise ModelError("down_path.0 holds no 3D convolution: it is no network of the report")
    width, channels = weights[0].shape[:2]
    try:
        network = UNet(levels, width, len(weights), dropout, channels, head=head, clip=clip)
    except ValueError as error:
        raise ModelError(f"the checkpoint is of no network of the report: {error}") from None
    renamed = _renamed(blocks, rest, levels, network)
    try:
        network.load_state_dict(renamed)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise ModelError(f"the checkpoint does not fit the report's network: {reason}") from None
    return network.eval()


def _sort(
    state: Mapping[str, Tensor],
) -> tuple[dict[tuple[str, int], _Block], dict[str, Tensor]]:
    """Group the layers of each block; name the other weights as ours, up blocks still reversed."""
    blocks: dict[tuple[str, int], _Block] = {}
    rest: dict[str, Tensor] = {}
    for key, value in state.items():
        if found := _LAYER.fullmatch(key):
            kind, i, j, name = found.groups()
            blocks.setdefault((kind, int(i)), {}).setdefault(int(j), {})[name] = value
        elif found := _OTHER.fullmatch(key):
            up, name = found.groups()
            rest[f"last.{name}" if up is None else f"ups.{up}.{name}"] = value
        else:
            raise ModelError(
                f"{key!r} is no name of the report's network{_guess(state)}; nothing was loaded"
            )
    return blocks, rest


def _renamed(
    blocks: Mapping[tuple[str, int], _Block],
    rest: Mapping[str, Tensor],
    levels: int,
    network: UNet,
) -> dict[str, Tensor]:
    out: dict[str, Tensor] = {}
    for key, value in rest.items():
        part, _, tail = key.partition(".")
        if part == "ups":
            position, _, name = tail.partition(".")
            key = f"ups.{levels - 1 - int(position)}.{name}"
        out[key] = value
    for (kind, i), block in blocks.items():
        prefix = {
            "down_path": f"encoders.{i}",
            "bottom": "bottom",
            "up_path": f"decoders.{levels - 1 - i}",
        }[kind]
        slots = _slots(network)
        for slot, j in zip(slots, sorted(block), strict=False):
            out.update({f"{prefix}.{slot}.{name}": v for name, v in block[j].items()})
        if len(block) != len(slots):
            raise ModelError(
                f"{kind}.{i} holds {len(block)} layers with weights where {len(slots)} are due: "
                "blocks of different depth are not supported, and nothing was loaded"
            )
    return out


def _slots(network: UNet) -> list[int]:
    """Positions, in a block of ours, of the layers that hold weights."""
    return [i for i, m in enumerate(network.bottom) if isinstance(m, nn.Conv3d | nn.BatchNorm3d)]


def _guess(state: Mapping[str, Tensor]) -> str:
    """Say what a checkpoint of something else may be."""
    names = [key.removeprefix("module.") for key in state]
    if any(name.startswith("layer1.0.conv1.") for name in names):
        return ": it may be MedicalNet's, which belongs in network.encoder_weights"
    if any(name.startswith(("encoders.", "encoder.", "decoders.")) for name in names):
        return ": it may be a network of this package, whose model is its folder"
    return ""
