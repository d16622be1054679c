"""Batches in order, whatever the number of threads."""

from collections.abc import Callable

import numpy as np
import pytest

from neuroconn.config.train import TrainSettings
from neuroconn.network import Normalisation
from neuroconn.training import Crop, Mixture
from neuroconn.training.augment import augment, plain
from neuroconn.training.loader import batches, held_out

Settings = Callable[..., TrainSettings]


def norm(settings: TrainSettings) -> Normalisation:
    return Normalisation.model_validate(settings.normalisation.model_dump())


@pytest.mark.parametrize("threads", [1, 3])
def test_batches_hold_the_numbered_crops_in_order(tiny: Settings, threads: int) -> None:
    settings = tiny()
    mixture = Mixture(settings)

    found = list(batches(mixture, settings, first=1, last=4, threads=threads))

    assert len(found) == 3
    for k, (images, distances) in enumerate(found, start=1):
        assert images.shape == distances.shape == (2, 1, 16, 16, 16)
        for i in range(2):
            crop, rng = mixture.crop(2 * k + i)
            image, distance = augment(crop, settings.augment, norm(settings), rng)
            np.testing.assert_array_equal(images[i, 0], image)
            np.testing.assert_array_equal(distances[i, 0], distance)


def test_starting_later_gives_the_rest(tiny: Settings) -> None:
    settings = tiny()

    whole = list(batches(Mixture(settings), settings, first=0, last=4))
    rest = list(batches(Mixture(settings), settings, first=2, last=4))

    for one, other in zip(whole[2:], rest, strict=True):
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_array_equal(one[1], other[1])


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
    for n, (image, distance) in enumerate(found):
        crop, _ = Mixture(settings, stream=1).crop(n)
        expected = plain(crop, norm(settings))
        np.testing.assert_array_equal(image[0, 0], expected[0])
        np.testing.assert_array_equal(distance[0, 0], expected[1])
        assert not any(np.array_equal(crop.image, other.image) for other in trained)
