"""One update of the weights after the other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from inspect import signature
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from neuroconn.config.train import TrainSettings
from neuroconn.errors import ModelError
from neuroconn.loss.bounds import emphasis
from neuroconn.loss.objective import Objective, build_objective
from neuroconn.loss.term import Term
from neuroconn.network import Network, from_architecture
from neuroconn.training.arithmetic import half_precision
from neuroconn.training.average import Average
from neuroconn.training.ledger import Ledger, Step, measured
from neuroconn.training.ranks import Ranks
from neuroconn.training.sample import Batch
from neuroconn.training.schedule import learning_rate
from neuroconn.training.shallow import guard_shallow
from neuroconn.training.shared_norm import share_norms
from neuroconn.training.start import new_network
from neuroconn.training.targets import targets

FORMAT = 2
"""Of checkpoints."""
_KEEP_BUFFERS: dict[str, Any] = {
    # Shared normalisations keep their buffers equal by themselves. Renamed in torch 2.13.
    name: False
    for name in ("forward_sync_buffers", "broadcast_buffers")
    if name in signature(DistributedDataParallel).parameters
}
if len(_KEEP_BUFFERS) > 1:
    del _KEEP_BUFFERS["broadcast_buffers"]


class Forward(nn.Module):
    """A network's pass in mixed precision: half-precision body, full-precision head.

    Rounding the output to half precision would cost 0.03 voxels.
    """

    def __init__(self, network: Network, precision: torch.dtype | None) -> None:
        super().__init__()
        self.network, self.precision = network, precision

    def forward(self, images: Tensor) -> Tensor:
        """Distances in voxels, float32."""
        half = self.precision is not None
        with torch.autocast(images.device.type, dtype=self.precision, enabled=half):
            features = self.network.features(images)
        with torch.autocast(images.device.type, enabled=False):
            return self.network.head(features.float())


class Trainer:
    """Network, loss, optimiser and running mean of the weights, one iteration at a time.

    Everything random follows from (seed, iteration, process), so nothing random is saved.

    Parameters
    ----------
    settings : TrainSettings
        Everything that decides the result.
    ranks : Ranks
        Processes that share each batch, and the device of this one.
    """

    def __init__(self, settings: TrainSettings, ranks: Ranks) -> None:
        self.settings, self.ranks, self.device = settings, ranks, ranks.device
        self.network = new_network(settings).to(device=self.device)
        self.network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        self.objective = _objective(settings, ranks)
        decay = settings.optimiser.average
        self.average = Average(self.network, decay) if decay else None
        self.precision = half_precision(settings.precision, self.device)
        self.scaler = torch.amp.GradScaler(
            self.device.type, enabled=self.precision is torch.float16
        )
        self.optimiser = _optimiser(settings, self.network)
        if self.precision is not None and self.device.type == "cpu":
            guard_shallow(self.network)
        self.forward = self._wrapped(Forward(self.network, self.precision))
        self.ledger = Ledger(ranks, scaled=self.scaler.is_enabled())
        self.iteration = 0

    def step(self, batches: Iterable[Batch]) -> None:
        """Update the weights once.

        Parameters
        ----------
        batches : iterable of Batch
            As many as the settings accumulate; this process's share of each.

        Raises
        ------
        ModelError
            If the loss or the gradient of the step before was not finite.
        """
        self._set_rate()
        self.network.train()
        self.optimiser.zero_grad(set_to_none=True)
        names: tuple[str, ...] = ()
        values, where = [], []
        for number, batch in enumerate(batches):
            self._seed(number)
            names, value = self._backward(batch.to(self.device), number)
            values.append(value)
            where.append(batch.where)
        together = torch.stack(values)
        gradient = self._update(torch.isfinite(together).all())
        self.iteration += 1
        if self.average is not None:
            self.average.follow(self.iteration)
        self.ledger.note(Step(self.iteration, names, together, gradient, tuple(where)))

    def close(self) -> None:
        """Let go of the other processes; nothing can be learnt from here on."""
        self.forward = Forward(self.network, self.precision)

    def saved_network(self) -> Network:
        """Return the network that would be saved: the running mean, or the weights themselves."""
        if self.average is not None:
            return self.average.network
        if self.ranks.alone:
            return self.network
        # Normalisations that see all processes are of no use to one of them.
        plain = from_architecture(self.network.architecture())
        plain.load_state_dict(self.network.state_dict())
        return plain.to(device=self.device)

    def state(self) -> dict[str, object]:
        """Everything a later process needs to go on; tensors and plain values only."""
        self.ledger.settle()
        return {
            "format": FORMAT,
            "iteration": self.iteration,
            "architecture": self.network.architecture(),
            "ledger": self.ledger.state(),
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "average": None if self.average is None else self.average.network.state_dict(),
            "scaler": self.scaler.state_dict(),
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from a state.

        Raises
        ------
        ModelError
            If it is the state of another network, or of another version of this package.
        """
        if state.get("format") != FORMAT:
            raise ModelError(
                "the checkpoint was written by another version of neuroconn: train into another "
                "folder, or start from its model (initial: PATH)"
            )
        theirs, ours = dict(state["architecture"]), self.network.architecture()
        if theirs != ours:
            raise ModelError(
                f"the checkpoint is of network {theirs} and the settings ask for {ours}: train "
                "into another folder"
            )
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        if self.average is not None:
            self.average.network.load_state_dict(state["average"])
        self.scaler.load_state_dict(state["scaler"])
        self.ledger.load(state["ledger"])
        self.iteration = int(state["iteration"])

    def _backward(self, batch: Batch, number: int) -> tuple[tuple[str, ...], Tensor]:
        parts = self.settings.accumulate
        with self._exchange(last=number == parts - 1):
            prediction = self.forward(batch.images)
            target, extra = targets(prediction, batch, near=self.settings.near)
            total, terms = self.objective(
                prediction, target, batch.prepared, iteration=self.iteration
            )
            if extra is not None:
                total = total + emphasis(prediction, target, extra)
            self.scaler.scale(total / parts).backward()
        return measured(total, terms)

    def _update(self, finite: Tensor) -> Tensor:
        """Take the optimiser's step; return the gradient's length, NaN if a loss was."""
        self.scaler.unscale_(self.optimiser)
        gradients = [p.grad for p in self.network.parameters() if p.grad is not None]
        gradient = nn.utils.get_total_norm(gradients)
        if self.settings.clip_gradient is not None:
            nn.utils.clip_grads_with_norm_(
                self.network.parameters(), self.settings.clip_gradient, gradient
            )
        self.scaler.step(self.optimiser)
        self.scaler.update()
        bad = (~finite).float()
        if not self.ranks.alone:
            dist.all_reduce(bad)
        return torch.where(bad > 0, torch.nan, gradient.detach())

    def _exchange(self, *, last: bool) -> AbstractContextManager[None]:
        """Let processes exchange gradients once an update, after its last batch."""
        if isinstance(self.forward, DistributedDataParallel) and not last:
            return self.forward.no_sync()
        return nullcontext()

    def _set_rate(self) -> None:
        rate = learning_rate(self.settings.optimiser, self.iteration, self.settings.iterations)
        for group in self.optimiser.param_groups:
            group["lr"] = rate

    def _seed(self, number: int) -> None:
        """Let dropout follow from the seed, the iteration and the process."""
        words = [self.settings.seed, self.iteration, number, self.ranks.rank]
        torch.manual_seed(int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0] >> 1))

    def _wrapped(self, forward: nn.Module) -> nn.Module:
        if not self.ranks.alone:
            share_norms(self.network, self.device)
        if self.settings.compile:
            forward = torch.compile(forward)  # type: ignore[assignment]
        if self.ranks.alone:
            return forward
        places = [self.device.index] if self.device.type == "cuda" else None
        return DistributedDataParallel(
            forward, device_ids=places, gradient_as_bucket_view=True, **_KEEP_BUFFERS
        )


def _objective(settings: TrainSettings, ranks: Ranks) -> Objective:
    objective = build_objective(settings.loss, clip=settings.clip, crop=(settings.crop,) * 3)
    for term in objective.modules():
        if isinstance(term, Term):
            term.parts = ranks.world * settings.accumulate
    return objective.to(ranks.device)


def _optimiser(settings: TrainSettings, network: Network) -> torch.optim.Optimizer:
    kinds: dict[str, type[torch.optim.Adam]] = {
        "adam": torch.optim.Adam,
        "adamw": torch.optim.AdamW,
    }
    kind = kinds[settings.optimiser.name]
    return kind(
        network.parameters(),
        lr=settings.optimiser.rate,
        weight_decay=settings.optimiser.weight_decay,
        fused=True,  # one kernel for all weights
    )
