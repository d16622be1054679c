"""State dicts in torch's own files, read as plain tensors: nothing in them is ever run."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from neuroconn.errors import ModelError

_WRAPPERS = ("state_dict", "model_state_dict", "network", "model")
"""Keys under which training scripts put the weights, beside an optimiser and a count of epochs."""


def read_state(path: str | Path) -> dict[str, Tensor]:
    """Read the weights of a ``.pth`` checkpoint.

    Parameters
    ----------
    path : path
        A file of ``torch.save``: a state dict, or a dict that holds one under ``state_dict``,
        ``model_state_dict``, ``network`` or ``model``.

    Returns
    -------
    dict of str to Tensor
        On the CPU, without the prefix ``module.`` that data-parallel training leaves.

    Raises
    ------
    ModelError
        If the file is missing or damaged, holds anything but tensors and plain values, or has no
        weights in it.
    """
    try:
        found = torch.load(Path(path).expanduser(), map_location="cpu", weights_only=True)
    except OSError as error:
        raise ModelError(f"checkpoint {path} cannot be read: {error.strerror or error}") from None
    except pickle.UnpicklingError:
        raise ModelError(
            f"checkpoint {path} holds more than tensors and plain values, which could run code "
            "when opened: save its state dict alone, in a place where you trust it"
        ) from None
    except (RuntimeError, EOFError, ValueError, KeyError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ModelError(f"checkpoint {path} is damaged or not torch's: {reason}") from None
    for key in _WRAPPERS:
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
            break
    if not isinstance(found, Mapping):
        raise ModelError(f"checkpoint {path} holds a {type(found).__name__}, not a state dict")
    state = {
        str(key).removeprefix("module."): value
        for key, value in found.items()
        if isinstance(value, Tensor)
    }
    if not state:
        raise ModelError(f"checkpoint {path} holds no weights under the names {_WRAPPERS}")
    return state
