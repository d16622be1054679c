"""MedicalNet's weights in the encoder of a ResUNet or CE-Net.

The checkpoints are not part of this package: Tencent/MedicalNet publishes them (``resnet_34.pth``
and others), for networks of width 64, trained on intensities of zero mean and unit variance.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from neuroconn.errors import ModelError
from neuroconn.network.pickled import read_state
from neuroconn.network.residual import ResidualEncoder

_OURS = re.compile(r"(conv1|bn1|layer[1-4])\.")


@dataclass(frozen=True, slots=True)
class Matched:
    """What became of the names in a checkpoint and in an encoder."""

    matched: tuple[str, ...]
    """Tensors that were copied."""
    missing: tuple[str, ...]
    """Tensors of the encoder's normalisation that the checkpoint lacks, left as they were."""
    unexpected: tuple[str, ...]
    """Names in the checkpoint that are no part of an encoder, such as its segmentation head."""


class _Fit(NamedTuple):
    lacking: list[str]
    shapes: list[str]
    foreign: list[str]


def load_medicalnet(network: nn.Module, path: str | Path) -> Matched:
    """Start the encoder of a network from a MedicalNet checkpoint.

    Parameters
    ----------
    network : Network
        A ResUNet or CE-Net; changed in place, and only if everything fits.
    path : path
        The checkpoint; read with ``weights_only=True``.

    Returns
    -------
    Matched

    Raises
    ------
    ModelError
        If the network has no such encoder, the file cannot be read, a convolution of the encoder is
        missing from it or has another shape, the checkpoint has layers that the encoder lacks (it
        is deeper, or has the other shortcut), or a weight is not finite.
    """
    encoder = getattr(network, "encoder", None)
    if not isinstance(encoder, ResidualEncoder):
        raise ModelError(
            f"a {type(network).__name__} has no residual encoder for MedicalNet's weights: choose "
            "network.name: resunet or cenet, or leave encoder_weights out"
        )
    state, wanted = read_state(path), encoder.state_dict()
    _check(state, encoder, str(path))
    matched = sorted(wanted.keys() & state.keys())
    encoder.load_state_dict({key: state[key] for key in matched}, strict=False)
    return Matched(
        tuple(matched),
        tuple(sorted(wanted.keys() - state.keys())),
        tuple(sorted(state.keys() - wanted.keys())),
    )


def _check(state: Mapping[str, Tensor], encoder: ResidualEncoder, path: str) -> None:
    fit = _compare(state, encoder)
    problems = {
        "no weights for": fit.lacking,
        "another shape in": fit.shapes,
        "layers that the network lacks:": fit.foreign,
    }
    said = [f"{words} {_some(names)}" for words, names in problems.items() if names]
    if said:
        total = sum(isinstance(m, nn.Conv3d) for m in encoder.modules())
        raise ModelError(
            f"{path} does not fit the encoder ({total} convolutions, depth {encoder.depth}, width "
            f"{encoder.width}, shortcut {encoder.shortcut}): {'; '.join(said)}{_hint(fit)}. "
            "Nothing was loaded."
        )
    bad = [k for k, v in state.items() if v.is_floating_point() and not torch.isfinite(v).all()]
    if bad:
        raise ModelError(f"{path} has weights that are NaN or infinite: {_some(bad)}")


def _compare(state: Mapping[str, Tensor], encoder: ResidualEncoder) -> _Fit:
    wanted = encoder.state_dict()
    convolutions = {
        f"{name}.weight" for name, m in encoder.named_modules() if isinstance(m, nn.Conv3d)
    }
    return _Fit(
        lacking=sorted(convolutions - state.keys()),
        shapes=[
            f"{key} {tuple(state[key].shape)} for {tuple(wanted[key].shape)}"
            for key in wanted
            if key in state and state[key].shape != wanted[key].shape
        ],
        foreign=sorted(key for key in state if _OURS.match(key) and key not in wanted),
    )


def _hint(fit: _Fit) -> str:
    """Say which setting would fit, where that can be told."""
    if any("downsample" in key for key in fit.lacking):
        return " (set network.shortcut: A, or network.depth)"
    if fit.foreign and all("downsample" in key for key in fit.foreign):
        return " (set network.shortcut: B)"
    if fit.lacking or fit.foreign:
        return " (set network.depth to the checkpoint's)"
    return " (set network.width and network.depth to the checkpoint's)"


def _some(names: list[str], most: int = 3) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
