"""Batches in order, whatever the number of threads."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from neuroconn.annotation import Graph
from neuroconn.config.train import TrainSettings
from neuroconn.errors import UsageError
from neuroconn.network import Normalisation
from neuroconn.training import Crop, Mixture
from neuroconn.training.augment import augment, plain
from neuroconn.training.loader import batches, default_workers, held_out
from neuroconn.training.ranks import Ranks
from neuroconn.training.sample import Batch, Volume

Settings = Callable[..., TrainSettings]


def same(one: Batch, other: Batch) -> bool:
    return torch.equal(one.images, other.images) and torch.equal(one.distances, other.distances)


def joined(parts: list[Batch]) -> Batch:
    return Batch(torch.cat([p.images for p in parts]), torch.cat([p.distances for p in parts]))


def norm(settings: TrainSettings) -> Normalisation:
    return Normalisation.model_validate(settings.normalisation.model_dump())


@pytest.mark.parametrize("threads", [1, 3])
def test_batches_hold_the_numbered_crops_in_order(tiny: Settings, threads: int) -> None:
    settings = tiny()
    mixture = Mixture(settings)

    found = list(batches(mixture, settings, first=1, last=4, workers=threads))

    assert len(found) == 3
    for k, batch in enumerate(found, start=1):
        assert batch.images.shape == batch.distances.shape == (2, 1, 16, 16, 16)
        for i in range(2):
            crop, rng = mixture.crop(2 * k + i)
            sample = augment(crop, settings.augment, norm(settings), rng)
            np.testing.assert_array_equal(batch.images[i, 0], sample.image)
            np.testing.assert_array_equal(batch.distances[i, 0], sample.distance)
            assert batch.where[i] == crop.where != ""


def test_starting_later_gives_the_rest(tiny: Settings) -> None:
    settings = tiny()

    whole = list(batches(Mixture(settings), settings, first=0, last=4))
    rest = list(batches(Mixture(settings), settings, first=2, last=4))

    for one, other in zip(whole[2:], rest, strict=True):
        assert same(one, other)


def test_nothing_is_left_to_do_at_the_end(tiny: Settings) -> None:
    assert list(batches(Mixture(tiny()), tiny(), first=7, last=7)) == []


class Failing(Mixture):
    """Crop 3 cannot be read."""

    def crop(self, number: int) -> tuple[Crop, np.random.Generator]:
        if number == 3:
            raise OSError("the disk is gone")
        return super().crop(number)


def test_a_crop_that_fails_fails_its_batch_and_not_those_before(tiny: Settings) -> None:
    settings = tiny()
    found = batches(Failing(settings), settings, first=0, last=3)

    next(found)

    with pytest.raises(OSError, match="the disk is gone"):
        next(found)


def test_a_reader_that_stops_early_leaves_no_thread(tiny: Settings) -> None:
    import threading

    settings = tiny()
    found = batches(Mixture(settings), settings, first=0, last=100)

    next(found)
    found.close()

    assert not [t for t in threading.enumerate() if t.name.startswith("crops")]


def test_held_out_crops_are_plain_and_never_trained_on(tiny: Settings) -> None:
    settings = tiny(validation_crops=2)
    trained = [Mixture(settings).crop(n)[0] for n in range(6)]

    found = held_out(settings)

    assert len(found) == 2
    for n, batch in enumerate(found):
        crop, _ = Mixture(settings, stream=1).crop(n)
        expected = plain(crop, norm(settings))
        np.testing.assert_array_equal(batch.images[0, 0], expected.image)
        np.testing.assert_array_equal(batch.distances[0, 0], expected.distance)
        assert not any(np.array_equal(crop.image, other.image) for other in trained)


def test_processes_share_the_crops_of_one(tiny: Settings) -> None:
    settings = tiny(batch=4)
    alone = list(batches(Mixture(settings), settings, first=1, last=3))

    shares = [
        list(batches(Mixture(settings), settings, first=1, last=3, ranks=Ranks(rank, 2)))
        for rank in range(2)
    ]

    for whole, parts in zip(alone, zip(*shares, strict=True), strict=True):
        assert same(joined(list(parts)), whole)


def test_accumulated_batches_hold_the_crops_of_a_large_one(tiny: Settings) -> None:
    whole, cut = tiny(batch=4), tiny(batch=2, accumulate=2)

    (large,) = batches(Mixture(whole), whole, first=1, last=2)
    parts = list(batches(Mixture(cut), cut, first=1, last=2))

    assert len(parts) == 2
    assert same(joined(parts), large)


def test_a_batch_that_cannot_be_shared_evenly_is_refused() -> None:
    with pytest.raises(UsageError, match="a batch of 4 crops cannot be shared by 3 processes"):
        Ranks(0, 3).share(4)


def test_losses_prepare_the_augmented_crop_with_its_graph(tiny: Settings) -> None:
    settings = tiny()
    seen: list[tuple[Volume, Graph | None]] = []

    def prepare(distance: Volume, graph: Graph | None, *, iteration: int, whole: bool) -> int:
        assert (iteration, whole) == (0, True)
        seen.append((distance, graph))
        return len(seen)

    made = batches(Mixture(settings, graphs=True), settings, first=0, last=1, prepare=prepare)
    (batch,) = made

    assert batch.prepared == (1, 2)
    for n, (distance, graph) in enumerate(seen):
        np.testing.assert_array_equal(batch.distances[n, 0], distance)
        assert graph is not None
        ends = graph.positions[graph.edges]
        near = np.round(ends.mean(axis=1)).astype(int)
        inside = ((near >= 0) & (near < 16)).all(axis=1)
        assert (distance[tuple(near[inside].T)] < 2).all()


def test_a_gpu_gets_more_threads_than_a_cpu_that_needs_its_cores() -> None:
    assert default_workers(torch.device("cpu")) == 1
    assert 1 <= default_workers(torch.device("cuda")) <= 8
