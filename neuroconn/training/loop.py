"""The training loop: Adam on random crops, checkpoints that resume bit for bit.

Everything random follows from (seed, iteration), except dropout, whose generator state is saved.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from neuroconn.config.train import OptimiserSettings, TrainSettings
from neuroconn.errors import ModelError, UsageError
from neuroconn.loss import huber, mse
from neuroconn.network import ModelCard, Network, Normalisation, build, keep_pages, save_model
from neuroconn.training.crops import Mixture
from neuroconn.training.folder import TrainingFolder
from neuroconn.training.loader import Batch, batches, held_out

LOSSES = {"mse": mse, "huber": huber}
Progress = Callable[[int, int, dict[str, float]], None]


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


def train(
    settings: TrainSettings,
    output: str | Path,
    *,
    resume: bool = True,
    device: str = "auto",
    threads: int | None = None,
    progress: Progress | None = None,
) -> TrainReport:
    """Train a network and save it as a model.

    Parameters
    ----------
    settings : TrainSettings
        Everything that decides the result.
    output : path
        Folder for ``model/``, ``checkpoint.pt``, ``log.csv``, ``log.jsonl`` and ``config.json``.
    resume : bool, optional
        Continue from the last checkpoint. On the CPU with the same number of threads the result
        equals that of a run that was never stopped, bit for bit.
    device : str, optional
        ``auto`` takes a GPU where there is one.
    threads : int, optional
        CPU threads of torch; all cores by default.
    progress : callable, optional
        Called as ``progress(iteration, iterations, row)`` after every logged row.

    Returns
    -------
    TrainReport

    Raises
    ------
    UsageError
        If the device is not there, or a setting of the phantoms is wrong.
    OutputError
        If the folder is not a training folder, or holds a run with other settings.
    ModelError
        If the loss stops being finite.
    """
    place = _device(device)
    mixture = Mixture(settings)
    folder = TrainingFolder.open(Path(output), settings, resume=resume)
    if threads:
        torch.set_num_threads(threads)
    if place.type == "cpu":
        keep_pages()
    torch.manual_seed(settings.seed)
    trainer = Trainer(settings, place)
    state = folder.checkpoint()
    if state is not None:
        trainer.load(state)
    first = trainer.iteration
    validation = held_out(settings)
    scores = _run(trainer, mixture, folder, validation, progress)
    normalisation = Normalisation.model_validate(settings.normalisation.model_dump())
    card = ModelCard(
        name=settings.name,
        clip=settings.clip,
        normalisation=normalisation,
        spacing_um=settings.spacing_um,
        training=settings.model_dump(mode="json"),
        scores=scores,
    )
    save_model(folder.model, trainer.saved_network(), card)
    return TrainReport(folder.model, trainer.iteration, first, scores)


class Trainer:
    """Network, optimiser and running mean of the weights, one iteration at a time."""

    def __init__(self, settings: TrainSettings, device: torch.device) -> None:
        self.settings, self.device = settings, device
        options = settings.network.model_dump()
        self.network: Network = build(options.pop("name"), clip=settings.clip, **options)
        self.network.to(device=device)
        self.network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        self.optimiser = torch.optim.Adam(
            self.network.parameters(),
            lr=settings.optimiser.rate,
            weight_decay=settings.optimiser.weight_decay,
        )
        self.average = copy.deepcopy(self.network) if settings.optimiser.average else None
        self.precision = half_precision(settings.precision, device)
        self.scaler = torch.amp.GradScaler(
            device.type, enabled=self.precision is torch.float16 and device.type == "cuda"
        )
        self.iteration = 0
        self.losses: tuple[float, int] = (0.0, 0)
        """Sum and number of the losses since the last logged row."""

    def step(self, batch: Batch) -> float:
        """Update the weights once; return the loss in squared voxels."""
        images, distances = (torch.from_numpy(a).to(self.device) for a in batch)
        images = images.contiguous(memory_format=torch.channels_last_3d)
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(
                self.settings.optimiser, self.iteration, self.settings.iterations
            )
        self.network.train()
        prediction = self._forward(self.network, images)
        loss = LOSSES[self.settings.loss](prediction, distances)
        self.optimiser.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        self.scaler.step(self.optimiser)
        self.scaler.update()
        self.iteration += 1
        self._follow()
        value = float(loss.detach())
        if not torch.isfinite(loss):
            raise ModelError(
                f"the loss is {value} at iteration {self.iteration}: the weights are lost. Lower "
                "optimiser.rate or set precision: fp32, and train into another folder"
            )
        total, count = self.losses
        self.losses = total + value, count + 1
        return value

    @torch.no_grad()
    def validate(self, crops: list[Batch]) -> dict[str, float]:
        """Score the weights that would be saved.

        Returns
        -------
        dict
            ``mse`` in squared voxels; ``recall``, the share of centreline voxels predicted nearer
            than 3; ``precision``, the share of voxels predicted nearer than 2 that are nearer
            than 4.
        """
        network = self.saved_network().eval()
        error, found, lines, right, said = 0.0, 0, 0, 0, 0
        for batch in crops:
            images, truth = (torch.from_numpy(a).to(self.device) for a in batch)
            prediction = self._forward(
                network, images.contiguous(memory_format=torch.channels_last_3d)
            )
            error += float(mse(prediction, truth))
            line, near = truth <= 0.87, prediction < 2
            found += int((line & (prediction < 3)).sum())
            lines += int(line.sum())
            right += int((near & (truth < 4)).sum())
            said += int(near.sum())
        return {
            "mse": error / len(crops),
            "recall": found / lines if lines else 1.0,
            "precision": right / said if said else 1.0,
        }

    def saved_network(self) -> Network:
        """Return the running mean of the weights, or the weights where none is kept."""
        return self.average if self.average is not None else self.network

    def state(self) -> dict[str, object]:
        """Everything a later process needs to go on; tensors and plain values only."""
        return {
            "iteration": self.iteration,
            "losses": self.losses,
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "scaler": self.scaler.state_dict(),
            "random": torch.get_rng_state(),
        }

    def load(self, state: dict[str, object]) -> None:
        """Go on from a state."""
        self.network.load_state_dict(state["network"])  # type: ignore[arg-type]
        self.optimiser.load_state_dict(state["optimiser"])  # type: ignore[arg-type]
        if self.average is not None:
            self.average.load_state_dict(state["average"])  # type: ignore[arg-type]
        self.scaler.load_state_dict(state["scaler"])  # type: ignore[arg-type]
        torch.set_rng_state(state["random"])  # type: ignore[arg-type]
        self.iteration = int(state["iteration"])  # type: ignore[call-overload]
        self.losses = state.get("losses", (0.0, 0))  # type: ignore[assignment]

    def _forward(self, network: nn.Module, images: torch.Tensor) -> torch.Tensor:
        """Half-precision body, full-precision head: rounding the output would cost 0.03 voxels."""
        assert isinstance(network, Network)
        half = self.precision is not None
        with torch.autocast(self.device.type, dtype=self.precision, enabled=half):
            features = network.features(images)
        return network.head(features.float())

    @torch.no_grad()
    def _follow(self) -> None:
        if self.average is None:
            return
        # Early on the mean must forget the random start: its memory grows with the run.
        keep = min(self.settings.optimiser.average, (1 + self.iteration) / (10 + self.iteration))
        mean, now = self.average.state_dict(), self.network.state_dict()
        for name, value in mean.items():
            if value.is_floating_point():
                value.lerp_(now[name], 1 - keep)
            else:
                value.copy_(now[name])


def learning_rate(settings: OptimiserSettings, iteration: int, iterations: int) -> float:
    """Rate at an iteration: the report's ``rate / (1 + decay * iteration)``, warm-up, cool-down.

    Examples
    --------
    >>> learning_rate(OptimiserSettings(rate=1e-3, decay=1e-3), 1000, 50_000)
    0.0005
    """
    rate = settings.rate / (1 + settings.decay * iteration)
    if iteration < settings.warmup:
        rate *= (iteration + 1) / settings.warmup
    left = (iterations - iteration) / max(1.0, settings.cooldown * iterations)
    return rate * min(1.0, left) if settings.cooldown else rate


def half_precision(name: str, device: torch.device) -> torch.dtype | None:
    """Type of the network's body in mixed precision; None for full precision."""
    if name == "auto":
        flags = torch.backends.cpu.get_cpu_capability()
        supported = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)()
        good = device.type == "cuda" or ("AVX512" in flags and supported)
        return torch.bfloat16 if good else None
    return {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[name]


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(f"no device {name!r}: give auto, cpu or cuda") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UsageError(f"device {name}, but torch sees no GPU here: give cpu or auto")
    return device


def _run(
    trainer: Trainer,
    mixture: Mixture,
    folder: TrainingFolder,
    validation: list[Batch],
    progress: Progress | None,
) -> dict[str, float]:
    settings = trainer.settings
    scores = trainer.validate(validation) if trainer.iteration >= settings.iterations else {}
    began = time.monotonic()
    for batch in batches(mixture, settings, first=trainer.iteration, last=settings.iterations):
        trainer.step(batch)
        done = trainer.iteration
        last = done == settings.iterations
        if done % settings.validate_every == 0 or last:
            scores = trainer.validate(validation)
            total, since = trainer.losses
            row = {
                "iteration": float(done),
                "loss": total / since,
                "rate": learning_rate(settings.optimiser, done, settings.iterations),
                "seconds": time.monotonic() - began,
                **{f"validation_{k}": v for k, v in scores.items()},
            }
            folder.log(row)
            trainer.losses, began = (0.0, 0), time.monotonic()
            if progress is not None:
                progress(done, settings.iterations, row)
        if done % settings.checkpoint_every == 0 or last:
            folder.save(trainer.state())
    return scores
