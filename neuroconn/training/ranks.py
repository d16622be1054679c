"""The processes of one training run, as ``torchrun`` starts them; one alone needs nothing.

What is shared is numbers and tensors: nothing is pickled between processes.
"""

from __future__ import annotations

import gc
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta

import torch
import torch.distributed as dist

from neuroconn.errors import InterruptedRunError, UsageError

_PATIENCE = timedelta(hours=2)
"""For the others while the first process validates, or the run starts on a slow disk."""


@dataclass(frozen=True, slots=True)
class Ranks:
    """Which of how many processes this is.

    Examples
    --------
    >>> Ranks().first, Ranks(1, 2).share(4)
    (True, range(2, 4))
    """

    rank: int = 0
    """Number of this process."""
    world: int = 1
    """Number of processes."""
    local: int = 0
    """Number of this process on its machine: its GPU."""
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    """Where tensors that are exchanged must lie."""

    @property
    def first(self) -> bool:
        """Whether this process writes files and talks to the user."""
        return self.rank == 0

    @property
    def alone(self) -> bool:
        """Whether there is no other."""
        return self.world == 1

    def share(self, batch: int) -> range:
        """Positions in a batch that fall to this process.

        Raises
        ------
        UsageError
            If the batch cannot be shared evenly: a mean over unequal shares would favour some
            crops.
        """
        if batch % self.world:
            raise UsageError(
                f"a batch of {batch} crops cannot be shared by {self.world} processes: set batch "
                f"to a multiple of {self.world}, or start fewer"
            )
        own = batch // self.world
        return range(self.rank * own, (self.rank + 1) * own)

    def mean(self, values: Sequence[float]) -> list[float]:
        """Return the mean of each number over all processes."""
        return [v / self.world for v in self.sum(values)]

    def sum(self, values: Sequence[float]) -> list[float]:
        """Return the sum of each number over all processes."""
        if self.alone:
            return list(values)
        together = torch.tensor(list(values), dtype=torch.float64, device=self.device)
        dist.all_reduce(together)
        return [float(v) for v in together.tolist()]

    def told(self, values: Sequence[float]) -> list[float]:
        """Return the numbers that the first process gave."""
        if self.alone:
            return list(values)
        together = torch.tensor(list(values), dtype=torch.float64, device=self.device)
        dist.broadcast(together, src=0)
        return [float(v) for v in together.tolist()]

    @contextmanager
    def together(self, what: str) -> Iterator[None]:
        """Let no process go on if one of them failed, instead of waiting for it for hours.

        Raises
        ------
        InterruptedRunError
            In the others; the one that failed raises what it met.
        """
        try:
            yield
        except InterruptedRunError:
            raise  # a signal: the launcher sends it to all
        except Exception:
            self.sum([1.0])
            raise
        if self.sum([0.0])[0]:
            raise InterruptedRunError(
                f"another process could not {what}; its message says why"
            ) from None


@contextmanager
def joined(device: torch.device) -> Iterator[Ranks]:
    """Join the processes that ``torchrun`` started with this one; leave them at the end.

    Parameters
    ----------
    device : torch.device
        Where this process computes: ``nccl`` between GPUs, ``gloo`` between CPUs.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        yield Ranks(device=device)
        return
    # The layouts it speaks of hold the same numbers: an axis of length 1 has any stride.
    warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
    backend = "nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, timeout=_PATIENCE)
    try:
        yield Ranks(dist.get_rank(), world, local_rank(), device)
        dist.barrier()  # who leaves while another is still at it takes that one down, too
    finally:
        # What still holds on to the group would be torn down after its threads, by aborting.
        gc.collect()
        dist.destroy_process_group()


def local_rank() -> int:
    """Return the number of this process on its machine."""
    return int(os.environ.get("LOCAL_RANK", "0"))
