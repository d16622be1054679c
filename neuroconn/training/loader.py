"""Batches in order, made ahead of time in threads.

The kernels that draw phantoms release the interpreter lock, so threads are enough and nothing has
to be pickled or forked.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

import torch

from neuroconn.config.train import TrainSettings
from neuroconn.network.normalisation import Normalisation
from neuroconn.training.augment import augment, plain
from neuroconn.training.crops import Mixture
from neuroconn.training.ranks import Ranks
from neuroconn.training.sample import Batch, Prepare, Sample

_READY = 2
"""Batches that wait, stacked, for the network."""


def normalisation_of(settings: TrainSettings) -> Normalisation:
    """Return how grey values become input."""
    return Normalisation.model_validate(settings.normalisation.model_dump())


def default_workers(device: torch.device, ranks: int = 1) -> int:
    """Threads that keep a device busy: one beside a CPU that needs its cores, more beside a GPU."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return 1 if device.type == "cpu" else max(1, min(8, (cores or 1) // ranks - 1))


def batches(
    mixture: Mixture,
    settings: TrainSettings,
    *,
    first: int,
    last: int,
    prepare: Prepare | None = None,
    ranks: Ranks | None = None,
    workers: int = 1,
) -> Generator[Batch, None, None]:
    """Yield the batches of iterations ``first`` to ``last - 1``, in order.

    Crop numbers run on over iterations, batches and processes, so that a batch shared by two
    processes, or cut in two and accumulated, is made of the same crops.

    Parameters
    ----------
    mixture : Mixture
        Where crops come from.
    settings : TrainSettings
        Size of a batch and of its crops, augmentation.
    first, last : int
        Iterations.
    prepare : callable, optional
        What the loss makes of an annotation ahead of time.
    ranks : Ranks, optional
        Processes that share each batch; the share of this one is made.
    workers : int, optional
        Threads that make crops.

    Yields
    ------
    Batch
        ``settings.accumulate`` of them an iteration.
    """
    normalisation = normalisation_of(settings)
    ranks = ranks or Ranks()
    share, pinned = ranks.share(settings.batch), ranks.device.type == "cuda"

    def sample(number: int) -> Sample:
        crop, rng = mixture.crop(number)
        made = augment(crop, settings.augment, normalisation, rng)
        return _prepared(made, prepare, number // settings.crops_per_iteration)

    def stack(parts: list[Future[Sample]]) -> Batch:
        return Batch.of([part.result() for part in parts], pinned=pinned)

    span = range(first * settings.accumulate, last * settings.accumulate)
    numbers = ([n * settings.batch + k for k in share] for n in span)
    ahead = max(_READY, -(-2 * workers // len(share)))
    yield from _made_ahead(numbers, sample, stack, workers, ahead)


def held_out(settings: TrainSettings) -> list[Batch]:
    """Crops for validation: another stream of random numbers, no augmentation, one per batch."""
    mixture = Mixture(settings, stream=1)
    normalisation = normalisation_of(settings)
    crops = (mixture.crop(n)[0] for n in range(settings.validation_crops))
    return [Batch.of([plain(crop, normalisation)]) for crop in crops]


def _made_ahead(
    numbers: Iterator[list[int]],
    sample: Callable[[int], Sample],
    stack: Callable[[list[Future[Sample]]], Batch],
    workers: int,
    ahead: int,
) -> Generator[Batch, None, None]:
    """Make samples in some threads and stack them in another, ``ahead`` batches at a time."""
    with (
        ThreadPoolExecutor(workers, thread_name_prefix="crops") as makers,
        ThreadPoolExecutor(1, thread_name_prefix="crops-stack") as stacker,
    ):
        waiting: deque[tuple[list[Future[Sample]], Future[Batch]]] = deque()
        try:
            while True:
                while len(waiting) < ahead and (wanted := next(numbers, None)) is not None:
                    parts = [makers.submit(sample, n) for n in wanted]
                    waiting.append((parts, stacker.submit(stack, parts)))
                if not waiting:
                    return
                yield waiting.popleft()[1].result()
        finally:
            for parts, batch in waiting:
                batch.cancel()
                for part in parts:
                    part.cancel()


def _prepared(sample: Sample, prepare: Prepare | None, iteration: int) -> Sample:
    if prepare is None:
        return sample
    whole = sample.bounds is None or sample.bounds.closed
    made = prepare(sample.distance, sample.graph, iteration=iteration, whole=whole)
    # The graph has served its purpose; what is kept of it is in what was prepared.
    return replace(sample, prepared=made, graph=None)
