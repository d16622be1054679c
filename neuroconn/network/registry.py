"""Networks by name, so that a model card can say which one its weights belong to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from neuroconn.config.network import NetworkSettings
from neuroconn.errors import ModelError
from neuroconn.network.base import Network
from neuroconn.network.cenet import CENet
from neuroconn.network.medicalnet import load_medicalnet
from neuroconn.network.resunet import ResUNet
from neuroconn.network.resunetpp import ResUNetPP
from neuroconn.network.unet import UNet

NETWORKS: dict[str, Callable[..., Network]] = {
    "cenet": CENet,
    "resunet": ResUNet,
    "resunetpp": ResUNetPP,
    "unet": UNet,
}
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


def from_settings(settings: NetworkSettings, clip: float) -> Network:
    """Make the network that training settings describe, its encoder pre-trained if they say so.

    Parameters
    ----------
    settings : NetworkSettings
        What ``network`` holds in the settings of ``neuroconn train``.
    clip : float
        Where distances are cut off, in voxels.

    Raises
    ------
    ModelError
        If it cannot be built, or the weights of its encoder do not fit.

    Examples
    --------
    >>> from_settings(NetworkSettings(levels=2, width=4), clip=15.0).stride
    4
    """
    network = build(**settings.arguments(), clip=clip)
    if settings.encoder_weights is not None:
        load_medicalnet(network, settings.encoder_weights)
    return network


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
