"""Networks by name, so that a model card can say which one its weights belong to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from neuroconn.errors import ModelError
from neuroconn.network.base import Network
from neuroconn.network.unet import UNet

NETWORKS: dict[str, Callable[..., Network]] = {"unet": UNet}
"""Every network that can be trained, saved and loaded."""


def build(name: str, **arguments: Any) -> Network:
    """Make a network with fresh weights.

    Parameters
    ----------
    name : str
        A key of :data:`NETWORKS`.
    **arguments
        What its class takes; the rest keeps its defaults.

    Raises
    ------
    ModelError
        If there is no such network, or it does not take these arguments.

    Examples
    --------
    >>> build("unet", levels=2, width=4).architecture()["levels"]
    2
    """
    if name not in NETWORKS:
        known = ", ".join(sorted(NETWORKS))
        raise ModelError(f"no network is called {name!r}; known: {known}")
    try:
        return NETWORKS[name](**arguments)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ModelError(
            f"network {name!r} cannot be built: {str(error).splitlines()[0]}"
        ) from None


def architecture(network: Network) -> dict[str, Any]:
    """Name and arguments of a network; :func:`from_architecture` is the inverse."""
    return network.architecture()


def from_architecture(description: Mapping[str, Any]) -> Network:
    """Make the network a model card describes, with fresh weights.

    Raises
    ------
    ModelError
        If the description names no network, or one that does not exist.
    """
    arguments = dict(description)
    name = arguments.pop("name", None)
    if not isinstance(name, str):
        raise ModelError(f"the architecture {dict(description)} does not name its network")
    return build(name, **arguments)
