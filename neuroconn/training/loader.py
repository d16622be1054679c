"""Batches in order, made ahead of time in threads.

The kernels that draw phantoms release the interpreter lock, so threads are enough and nothing has
to be pickled or forked.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from neuroconn.config.train import TrainSettings
from neuroconn.network.normalisation import Normalisation
from neuroconn.training.augment import augment, plain
from neuroconn.training.crops import Mixture

Batch = tuple[NDArray[np.float32], NDArray[np.float32]]


def batches(
    mixture: Mixture, settings: TrainSettings, *, first: int, last: int, threads: int = 1
) -> Iterator[Batch]:
    """Yield the batches of iterations ``first`` to ``last - 1``, in order.

    Yields
    ------
    images, distances : ndarrays of float32, shape (batch, 1, z, y, x)
    """
    normalisation = Normalisation.model_validate(settings.normalisation.model_dump())
    size = settings.batch

    def sample(number: int) -> Batch:
        crop, rng = mixture.crop(number)
        return augment(crop, settings.augment, normalisation, rng)

    ahead = (threads + 1) * size
    with ThreadPoolExecutor(threads, thread_name_prefix="crops") as pool:
        waiting: deque[Future[Batch]] = deque()
        numbers = iter(range(first * size, last * size))
        try:
            for _ in range(first, last):
                while len(waiting) < ahead and (n := next(numbers, None)) is not None:
                    waiting.append(pool.submit(sample, n))
                yield _stack([waiting.popleft().result() for _ in range(size)])
        finally:
            for future in waiting:
                future.cancel()


def held_out(settings: TrainSettings) -> list[Batch]:
    """Crops for validation: another stream of random numbers, no augmentation, one per batch."""
    mixture = Mixture(settings, stream=1)
    normalisation = Normalisation.model_validate(settings.normalisation.model_dump())
    crops = (mixture.crop(n)[0] for n in range(settings.validation_crops))
    return [_stack([plain(crop, normalisation)]) for crop in crops]


def _stack(samples: list[Batch]) -> Batch:
    images, distances = zip(*samples, strict=True)
    return np.stack(images)[:, None], np.stack(distances)[:, None]
