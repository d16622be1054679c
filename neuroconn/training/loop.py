"""The training loop: random crops, checkpoints that resume bit for bit, the best weights kept.

Everything random follows from (seed, iteration), so a checkpoint holds weights and sums alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeAlias

import torch

from neuroconn.config.train import TrainSettings
from neuroconn.errors import OutputError
from neuroconn.network import keep_pages
from neuroconn.training.arithmetic import choose_device
from neuroconn.training.crops import Mixture
from neuroconn.training.folder import TrainingFolder
from neuroconn.training.loader import batches, default_workers
from neuroconn.training.logs import Row
from neuroconn.training.ranks import Ranks, joined, local_rank
from neuroconn.training.record import Record
from neuroconn.training.trainer import Trainer

Progress: TypeAlias = Callable[[int, int, Row], None]
Ticker: TypeAlias = Callable[[int, Mapping[str, float]], None]


@dataclass(frozen=True)
class TrainReport:
    """What a training run left behind."""

    model: Path
    """Folder with weights and card."""
    iterations: int
    """Updates made in all."""
    resumed_at: int
    """Iteration this call started from."""
    scores: dict[str, float]
    """Validation scores of the saved weights."""
    best: int = 0
    """Iteration the best weights are from; 0 where none were judged by the stopping metric."""
    stopped: bool = False
    """Whether the run ended early, for want of better scores."""
    skipped: int = 0
    """Updates left out because half precision overflowed."""


def train(
    settings: TrainSettings,
    output: str | Path,
    *,
    resume: bool = True,
    device: str = "auto",
    threads: int | None = None,
    progress: Progress | None = None,
    ticker: Ticker | None = None,
) -> TrainReport:
    """Train a network and save it as a model.

    Started by ``torchrun``, its processes share each batch, one GPU or CPU each; the crops, and
    but for rounding and dropout the weights, are those of one process.

    Parameters
    ----------
    settings : TrainSettings
        Everything that decides the result.
    output : path
        Folder for ``model/``, ``best/``, ``checkpoint.pt``, ``log.csv``, ``log.jsonl``,
        ``config.json``, ``pictures/`` and ``tensorboard/``.
    resume : bool, optional
        Continue from the last checkpoint. On the CPU with the same number of threads the result
        equals that of a run that was never stopped, bit for bit.
    device : str, optional
        ``auto`` takes a GPU where there is one.
    threads : int, optional
        CPU threads of torch; all cores by default.
    progress : callable, optional
        Called as ``progress(iteration, iterations, row)`` after every logged row.
    ticker : callable, optional
        Called as ``ticker(iteration, losses)`` after every iteration, with the losses of the one
        before.

    Returns
    -------
    TrainReport

    Raises
    ------
    UsageError
        If the device is not there, the processes cannot share a batch, or a setting of the phantoms
        is wrong.
    OutputError
        If the folder is not a training folder, or holds a run with other settings.
    ModelError
        If the loss stops being finite, the checkpoint is damaged or of another network, or the
        model to start from does not fit.
    StorageError
        If the disk is full; the last checkpoint is still whole.
    """
    place = choose_device(device, local_rank())
    if threads:
        torch.set_num_threads(threads)
    if place.type == "cpu":
        keep_pages()
    with joined(place) as ranks:
        ranks.share(settings.batch)
        run = _Run(settings, Path(output), ranks, resume=resume)
        try:
            run.go(progress if ranks.first else None, ticker if ranks.first else None)
            return run.finish()
        finally:
            run.record.close()
            run.trainer.close()


class _Run:
    """A run and everything it needs, made ready or taken up."""

    def __init__(
        self, settings: TrainSettings, output: Path, ranks: Ranks, *, resume: bool
    ) -> None:
        self.settings, self.ranks = settings, ranks
        self.trainer = Trainer(settings, ranks)
        with ranks.together("start"):
            self.mixture = Mixture(settings, graphs=self.trainer.objective.wants_graph)
            folder = TrainingFolder(output)
            if ranks.first:
                folder = TrainingFolder.open(output, settings, resume=resume)
        with ranks.together("read the checkpoint"):
            self.record = Record(folder, settings, ranks)
            state = folder.checkpoint()
            if state is not None:
                self.trainer.load(state)
                self.record.load(state)
            self.first = self.trainer.iteration
            if self.first > settings.iterations:
                raise OutputError(
                    f"{output} holds a run that has made {self.first} iterations already: set "
                    f"iterations to {self.first} or more"
                )
            self.record.open(self.first)

    def go(self, progress: Progress | None, ticker: Ticker | None) -> None:
        """Train to the end, or until scores stop rising."""
        settings, trainer, record = self.settings, self.trainer, self.record
        made_ahead = batches(
            self.mixture,
            settings,
            first=trainer.iteration,
            last=settings.iterations,
            prepare=trainer.objective.prepare,
            ranks=self.ranks,
            workers=settings.workers or default_workers(self.ranks.device, self.ranks.world),
        )
        began = time.monotonic()
        try:
            while trainer.iteration < settings.iterations and not record.best.over:
                trainer.step(islice(made_ahead, settings.accumulate))
                done = trainer.iteration
                last = done == settings.iterations
                if ticker is not None:
                    ticker(done, trainer.ledger.latest)
                if done % settings.validate_every == 0 or last:
                    row = record.validate(trainer, seconds=time.monotonic() - began)
                    if progress is not None:
                        progress(done, settings.iterations, row)
                    began = time.monotonic()
                if settings.pictures_every and done % settings.pictures_every == 0:
                    record.draw(trainer)
                if done % settings.checkpoint_every == 0 or last or record.best.over:
                    record.save(trainer)
        finally:
            made_ahead.close()

    def finish(self) -> TrainReport:
        """Save the model: the best weights if the run was judged to stop, or else the last."""
        trainer, best = self.trainer, self.record.best
        scores = self.record.finish(trainer)
        return TrainReport(
            self.record.folder.model,
            trainer.iteration,
            self.first,
            scores,
            best=best.iteration,
            stopped=best.over and trainer.iteration < self.settings.iterations,
            skipped=trainer.ledger.skipped,
        )
