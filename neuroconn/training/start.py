"""The weights a run starts from: random, a pre-trained encoder, or those of a model."""

from __future__ import annotations

import torch

from neuroconn.config.train import TrainSettings
from neuroconn.errors import ModelError
from neuroconn.network import Network, from_settings, load_model


def new_network(settings: TrainSettings) -> Network:
    """Build the network of the settings; its random weights follow from the seed.

    Raises
    ------
    ModelError
        If the model to start from is another network, or was trained with another clip; or the
        weights of the encoder do not fit.
    """
    torch.manual_seed(settings.seed)
    network = from_settings(settings.network, settings.clip)
    if settings.initial is not None:
        _start_from(settings.initial, network, settings.clip)
    return network


def _start_from(path: str, network: Network, clip: float) -> None:
    model = load_model(path)
    if model.card.clip != clip:
        raise ModelError(
            f"model {path} predicts distances up to {model.card.clip:g} voxels and the settings "
            f"ask for {clip:g}: set clip: {model.card.clip:g}, or start from another model"
        )
    theirs, ours = model.network.architecture(), network.architecture()
    free = {"dropout", "clip"}  # no weights of their own
    if {k: v for k, v in theirs.items() if k not in free} != {
        k: v for k, v in ours.items() if k not in free
    }:
        raise ModelError(
            f"model {path} is network {theirs} and the settings ask for {ours}: change network, or "
            "start from another model"
        )
    network.load_state_dict(model.network.state_dict())
