"""What the weights that would be saved are worth: on held-out crops, and on whole sub-volumes."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from math import nan

import numpy as np
import torch
from numpy.typing import NDArray

from neuroconn.config.train import TrainSettings
from neuroconn.inference.engine.device import choose
from neuroconn.inference.engine.errors import NonFiniteOutputError
from neuroconn.loss import mse
from neuroconn.network import Model, ModelCard, Network
from neuroconn.training.crop import Crop
from neuroconn.training.loader import held_out, normalisation_of
from neuroconn.training.sample import Batch
from neuroconn.training.tiles import predict_volume, tile_engine
from neuroconn.training.trainer import Forward, Trainer
from neuroconn.training.volume_scores import score_volumes
from neuroconn.training.volumes import held_out_volumes

logger = logging.getLogger(__name__)


class Validation:
    """Crops and volumes that nothing is learnt from, fixed by the seed.

    Parameters
    ----------
    settings : TrainSettings
        How many, and from where.

    Raises
    ------
    NeuroconnError
        If a source cannot be opened.
    """

    def __init__(self, settings: TrainSettings) -> None:
        self.settings = settings
        self.crops: list[Batch] = held_out(settings)
        self.volumes: list[Crop] = held_out_volumes(settings)

    def scores(self, trainer: Trainer) -> dict[str, float]:
        """Score the weights that would be saved.

        Returns
        -------
        dict
            ``mse``, ``recall`` and ``precision`` of the crops, see :func:`crop_scores`; and the
            scores of :func:`neuroconn.training.volume_scores.score_volumes`, NaN if the network
            answers NaN.
        """
        network = trainer.saved_network().eval()
        found = crop_scores(self.predict_crops(trainer, network), self.crops)
        if self.volumes:
            found |= self._volume_scores(network, trainer.device)
        trainer.network.train()
        return found

    @torch.inference_mode()
    def predict_crops(
        self, trainer: Trainer, network: Network, most: int | None = None
    ) -> list[NDArray[np.float32]]:
        """Return the predicted distances of the first crops, (z, y, x) each."""
        forward = Forward(network, trainer.precision)
        there = (batch.to(trainer.device) for batch in self.crops[:most])
        return [forward(batch.images)[0, 0].cpu().numpy() for batch in there]

    def _volume_scores(self, network: Network, device: torch.device) -> dict[str, float]:
        wanted, model = self.settings.volumes, Model(network, self._card())
        precision = "float32" if self.settings.precision == "fp32" else "auto"
        kind, precision = choose(device.type, precision, castable=network.castable)
        engine = tile_engine(model, wanted, device=kind, precision=precision)
        normalisation = normalisation_of(self.settings)
        constants = [normalisation.constants(v.statistics) for v in self.volumes]
        truths = [v.distance for v in self.volumes]
        try:
            predictions = [
                predict_volume(engine, volume.image, pair)
                for volume, pair in zip(self.volumes, constants, strict=True)
            ]
        except NonFiniteOutputError as error:
            logger.warning("validation on volumes: %s", error)
            return dict.fromkeys(score_volumes(truths, truths, wanted), nan)
        return score_volumes(predictions, truths, wanted)

    def _card(self) -> ModelCard:
        settings = self.settings
        return ModelCard(
            name=settings.name,
            clip=settings.clip,
            normalisation=normalisation_of(settings),
            spacing_um=settings.spacing_um,
        )


def crop_scores(
    predictions: Sequence[NDArray[np.float32]], crops: Sequence[Batch]
) -> dict[str, float]:
    """Score predicted distances of crops.

    Returns
    -------
    dict
        ``mse`` in squared voxels; ``recall``, the share of centreline voxels predicted nearer than
        3; ``precision``, the share of voxels predicted nearer than 2 that are nearer than 4.
    """
    error, found, lines, right, said = 0.0, 0, 0, 0, 0
    for prediction, batch in zip(predictions, crops, strict=True):
        truth, answer = batch.distances, torch.from_numpy(prediction)[None, None]
        error += float(mse(answer, truth))
        line, near = truth <= 0.87, answer < 2
        found += int((line & (answer < 3)).sum())
        lines += int(line.sum())
        right += int((near & (truth < 4)).sum())
        said += int(near.sum())
    return {
        "mse": error / len(crops),
        "recall": found / lines if lines else 1.0,
        "precision": right / said if said else 1.0,
    }
