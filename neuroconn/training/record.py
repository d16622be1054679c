"""What a run leaves on disk as it goes: rows, pictures, checkpoints, models. First process only.

The other processes take part where numbers are exchanged, and wait.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from math import isfinite
from typing import Any

from neuroconn.config.train import TrainSettings
from neuroconn.network import Network, from_architecture, save_model
from neuroconn.training import pictures
from neuroconn.training.card import make_card, provenance
from neuroconn.training.folder import TrainingFolder
from neuroconn.training.logs import Board
from neuroconn.training.ranks import Ranks
from neuroconn.training.schedule import learning_rate
from neuroconn.training.stopping import Best
from neuroconn.training.trainer import Trainer
from neuroconn.training.validation import Validation
from neuroconn.vaa3d.files import storage_errors


class Record:
    """Files of a run, and the best of its validations.

    Parameters
    ----------
    folder : TrainingFolder
        Where they lie.
    settings : TrainSettings
        How often each is written.
    ranks : Ranks
        Processes of the run.
    """

    def __init__(self, folder: TrainingFolder, settings: TrainSettings, ranks: Ranks) -> None:
        self.folder, self.settings, self.ranks = folder, settings, ranks
        self.best = Best(settings.stopping)
        self.scores: dict[str, float] = {}
        """Of the last validation."""
        self._losses: dict[str, float] = {}
        self._board: Board | None = None
        self._row_at = 0

    @cached_property
    def validation(self) -> Validation:
        """Crops and volumes to be judged on; made when first needed."""
        return Validation(self.settings)

    @cached_property
    def provenance(self) -> dict[str, Any]:
        """With what, on what and from what the run is made."""
        return provenance(self.settings, self.ranks)

    def open(self, iteration: int) -> None:
        """Cut the logs back to where the run goes on, and open what is not there yet."""
        self._row_at = iteration
        if not self.ranks.first:
            return
        self.folder.logs.cut(iteration)
        self._board = Board(self.folder.path, self.settings.tensorboard, iteration)
        if iteration < self.settings.iterations:
            _ = self.validation  # what is wrong with it is said before hours of training

    def close(self) -> None:
        """Write what is left."""
        if self._board is not None:
            self._board.close()

    def validate(self, trainer: Trainer, *, seconds: float) -> dict[str, float]:
        """Score the weights, log a row, keep the best; return the row."""
        trainer.ledger.settle()
        losses = trainer.ledger.means()
        self._losses = losses
        with self.ranks.together("validate"):
            if self.ranks.first:
                self.scores = self.validation.scores(trainer)
        row = self._row(trainer, losses, seconds)
        with self.ranks.together("write its log"):
            if self.ranks.first:
                self.folder.log(row)
            if self._board is not None:
                self._board.add(row)
        if self._judge(trainer):
            with self.ranks.together("save the best model"):
                if self.ranks.first:
                    self._keep(trainer)
        return row

    def draw(self, trainer: Trainer) -> None:
        """Save a picture of held-out crops."""
        if not self.ranks.first:
            return
        crops = self.validation.crops[: pictures.MOST]
        network = trainer.saved_network().eval()
        found = self.validation.predict_crops(trainer, network, pictures.MOST)
        trainer.network.train()
        picture = pictures.draw(crops, found, clip=self.settings.clip)
        pictures.save(picture, self.folder.pictures, trainer.iteration)
        if self._board is not None:
            self._board.show(picture, trainer.iteration)

    def save(self, trainer: Trainer) -> None:
        """Replace the checkpoint."""
        state = trainer.state()  # every process takes part
        with self.ranks.together("write a checkpoint"):
            if self.ranks.first:
                extra = {"best": self.best.state(), "scores": self.scores, "losses": self._losses}
                self.folder.save({**state, **extra})

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.best.load(state["best"])
        self.scores, self._losses = dict(state["scores"]), dict(state["losses"])

    def finish(self, trainer: Trainer) -> dict[str, float]:
        """Save the model; return its scores."""
        keep_best = self.settings.stopping.patience is not None and bool(self.best.weights)
        scores = self.best.scores if keep_best else self.scores
        if self.ranks.first:
            network = self._best_network(trainer) if keep_best else trainer.saved_network()
            self._save_model("model", network, scores, trainer)
        return scores

    def _row(
        self, trainer: Trainer, losses: Mapping[str, float], seconds: float
    ) -> dict[str, float]:
        settings, done = self.settings, trainer.iteration
        crops, self._row_at = settings.crops_per_iteration * (done - self._row_at), done
        row = {
            "iteration": float(done),
            **losses,
            "rate": learning_rate(settings.optimiser, done, settings.iterations),
            "skipped": float(trainer.ledger.skipped),
            "seconds": seconds,
            "crops_per_second": crops / max(seconds, 1e-9),
            **{f"validation_{name}": value for name, value in self.scores.items()},
        }
        return {name: value for name, value in row.items() if isfinite(value)}

    def _judge(self, trainer: Trainer) -> bool:
        """Whether the weights are the best so far; all processes come to the same verdict."""
        metric = self.settings.stopping.metric
        told = [float(metric in self.scores), self.scores.get(metric, 0.0)]
        known, score = self.ranks.told(told)
        return bool(known) and self.best.judge(score, trainer.iteration)

    def _keep(self, trainer: Trainer) -> None:
        network = trainer.saved_network()
        self.best.weights = {k: v.detach().cpu().clone() for k, v in network.state_dict().items()}
        self.best.scores = dict(self.scores)
        self._save_model("best", network, self.scores, trainer)

    def _best_network(self, trainer: Trainer) -> Network:
        network = from_architecture(trainer.network.architecture())
        network.load_state_dict(self.best.weights)
        return network.eval()

    def _save_model(
        self, name: str, network: Network, scores: Mapping[str, float], trainer: Trainer
    ) -> None:
        made = {
            **self.provenance,
            "iterations": trainer.iteration,
            "best_iteration": self.best.iteration,
            "skipped_updates": trainer.ledger.skipped,
            "losses": self._losses,
        }
        with storage_errors(self.folder.path / name):
            save_model(self.folder.path / name, network, make_card(self.settings, scores, made))
