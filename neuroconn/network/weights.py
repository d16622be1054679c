"""Weights on disk: safetensors with a JSON card, checked before a single voxel is predicted.

A pickled checkpoint can run code when opened, so none is ever read. A flipped bit in a safetensors
file goes unnoticed by its reader, so the card holds the file's SHA-256. A NaN weight turns a whole
map into NaN, which stops the walk with success, so weights must be finite.
"""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from neuroconn._version import __version__
from neuroconn.errors import ModelError
from neuroconn.network.base import Network
from neuroconn.network.blackbox import OnnxNetwork, TorchScriptNetwork
from neuroconn.network.card import CARD, WEIGHTS, ModelCard, find_model, read_card
from neuroconn.network.foreign import is_foreign
from neuroconn.network.foreign_card import find_foreign
from neuroconn.network.probing import check_map
from neuroconn.network.registry import from_architecture


@dataclass(frozen=True, slots=True)
class Model:
    """A network in eval mode with its trained weights, and the card that came with them."""

    network: Network
    card: ModelCard

    @property
    def sha256(self) -> str:
        """Digest of the weights file; empty for a network that was never saved."""
        return self.card.sha256 or ""


def save_model(folder: str | Path, network: Network, card: ModelCard) -> ModelCard:
    """Write weights and card into ``folder``, each file whole or not at all.

    Parameters
    ----------
    folder : path
        Made if missing; a model that is there is replaced.
    network : Network
        Its parameters and buffers are written as they are.
    card : ModelCard
        Architecture, digest and versions are filled in here.

    Returns
    -------
    ModelCard
        The card as written.

    Raises
    ------
    ModelError
        If a weight is not finite: such a model could never be loaded.
    """
    state = {k: v.detach().cpu().contiguous() for k, v in network.state_dict().items()}
    _check_finite(state, "the network")
    data = safetensors.torch.save(state)
    card = card.model_copy(
        update={
            "architecture": network.architecture(),
            "sha256": hashlib.sha256(data).hexdigest(),
            "versions": _versions(),
        }
    )
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / WEIGHTS, data)
    _write(folder / CARD, (card.model_dump_json(indent=2) + "\n").encode())
    return card


def load_model(path: str | Path = "default") -> Model:
    """Read a model and check that it is whole, unchanged and finite.

    Parameters
    ----------
    path : str or Path, optional
        A folder, either of its two files, or the bare name of a shipped model. Or a model made
        elsewhere: TorchScript (``NAME.pt``) or ONNX (``NAME.onnx``) with its card ``NAME.json``
        beside it, or a bioimage.io package, a folder or a zip.

    Returns
    -------
    Model
        The network in eval mode, on the CPU.

    Raises
    ------
    ModelError
        If a file is missing, truncated or changed since it was saved, if the weights do not fit the
        architecture, if one of them is not finite, or if the path is a pickled checkpoint; and if a
        model made elsewhere does not answer a test image with a map of distances.
    UsageError
        If it needs a package that is not installed.
    """
    given = Path(path).expanduser()
    if is_foreign(given):
        return _load_foreign(given)
    card_path, weights_path = find_model(path)
    card = read_card(card_path)
    state = _read_weights(weights_path, card.sha256 or "")
    with torch.device("meta"):  # no memory yet: the card may ask for any amount
        network = from_architecture(card.architecture)
    wanted = network.state_dict()
    _check_fit(state, wanted, weights_path)
    _check_finite(state, str(weights_path))
    network.load_state_dict({k: v.to(wanted[k].dtype) for k, v in state.items()}, assign=True)
    return Model(network.eval().requires_grad_(False), card)


def _load_foreign(path: Path) -> Model:
    found = find_foreign(path)
    weights = found.weights()
    kind = OnnxNetwork if found.about.name == "onnx" else TorchScriptNetwork
    network = kind(weights, found.about, found.card.clip)
    try:
        check_map(network, found.card)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from None
    return Model(network.eval().requires_grad_(False), found.card)


def _read_weights(path: Path, sha256: str) -> dict[str, Tensor]:
    try:
        data = path.read_bytes()
        state = safetensors.torch.load(data)
    except (SafetensorError, OSError) as error:
        raise ModelError(
            f"weights {path} are truncated or not safetensors ({error}): copy them again"
        ) from None
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise ModelError(
            f"weights {path} have SHA-256 {found[:12]}… but their card says {sha256[:12]}…: the "
            "file was damaged or replaced. Copy weights and card again, together."
        )
    return state


def _check_fit(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor], path: Path) -> None:
    """Name what keeps ``state`` from filling a network with the parameters ``wanted``."""
    problems = {
        "missing": sorted(wanted.keys() - state.keys()),
        "unexpected": sorted(state.keys() - wanted.keys()),
        "of another shape": [
            f"{k} {tuple(state[k].shape)} for {tuple(wanted[k].shape)}"
            for k in sorted(wanted.keys() & state.keys())
            if state[k].shape != wanted[k].shape
        ],
    }
    said = [f"{kind}: {_some(names)}" for kind, names in problems.items() if names]
    if said:
        raise ModelError(
            f"weights {path} do not fit the architecture in their card ({'; '.join(said)}): "
            "restore the card saved with them"
        )


def _check_finite(state: Mapping[str, Tensor], where: str) -> None:
    bad = [k for k, v in state.items() if v.is_floating_point() and not torch.isfinite(v).all()]
    if bad:
        raise ModelError(
            f"{where} has weights that are NaN or infinite ({_some(bad)}): every prediction would "
            "be NaN. Go back to an earlier checkpoint."
        )


def _some(names: list[str], most: int = 4) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _write(path: Path, data: bytes) -> None:
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(data)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)  # on a full disk a part of it would stay


def _versions() -> dict[str, str]:
    return {
        "neuroconn": __version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
