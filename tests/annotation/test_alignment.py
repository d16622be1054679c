from typing import Any

import numpy as np
import pytest
import zarr
from numpy.typing import NDArray

from neuroconn.annotation import Forest, check_alignment, distance_map, render
from neuroconn.errors import AnnotationError
from neuroconn.geometry import Box

SHAPE = (40, 90, 80)


def tracing() -> Forest:
    """Draw a neurite that stays in the upper rows, so that its mirror image misses it."""
    steps = np.random.default_rng(3).normal(0, [1, 1, 2], size=(200, 3)).cumsum(axis=0)
    nodes = np.clip(np.add(steps, (20, 20, 40)), [1, 1, 1], [38, 42, 78])
    return Forest(nodes, np.arange(-1, 199))


def image_of(forest: Forest, empty: bool = False) -> NDArray[np.uint16]:
    rng = np.random.default_rng(0)
    near = distance_map(render(forest, Box.of_shape(SHAPE))) < 2
    noise = np.zeros(SHAPE) if empty else rng.normal(700, 50, SHAPE)
    return (noise + 2000 * near).clip(0, 65_535).astype(np.uint16)


def mirrored(forest: Forest) -> Forest:
    return forest.transform((1, -1, 1), (0, SHAPE[1] - 1, 0))


@pytest.mark.parametrize("empty", [False, True], ids=["noisy", "mostly 0"])
def test_the_right_tracing_draws_no_warning(empty: bool) -> None:
    alignment = check_alignment(tracing(), image_of(tracing(), empty))

    assert alignment.warnings == ()
    assert alignment.percentile > 90
    assert alignment.inside == 1.0
    assert 40 < alignment.random < 60


@pytest.mark.parametrize("empty", [False, True], ids=["noisy", "mostly 0"])
def test_a_flipped_tracing_is_told(empty: bool) -> None:
    alignment = check_alignment(mirrored(tracing()), image_of(tracing(), empty))

    assert len(alignment.warnings) == 1
    assert "flip" in alignment.warnings[0]
    assert alignment.flipped > 90


def test_a_tracing_of_another_brain_is_told() -> None:
    shifted = tracing().transform(1.0, (10, 30, 15))
    inside = Forest(np.clip(shifted.positions, 0, np.subtract(SHAPE, 1)), shifted.parents)

    alignment = check_alignment(inside, np.random.default_rng(1).random(SHAPE))

    assert "hardly brighter" in alignment.warnings[0]


def test_an_image_of_one_grey_value_tells_nothing() -> None:
    alignment = check_alignment(tracing(), np.full(SHAPE, 7))
    assert (alignment.percentile, alignment.flipped, alignment.random) == (50, 50, 50)


def test_a_tracing_outside_the_volume_is_an_error() -> None:
    with pytest.raises(AnnotationError, match="lie inside"):
        check_alignment(tracing().transform(2.0), image_of(tracing()))


def test_an_empty_tracing_cannot_be_judged() -> None:
    with pytest.raises(AnnotationError, match="no nodes"):
        check_alignment(Forest(np.empty((0, 3)), np.empty(0, dtype=int)), image_of(tracing()))


def test_a_zarr_array_gives_the_same_answer_as_its_chunks_in_memory() -> None:
    stored = zarr.create_array({}, shape=SHAPE, chunks=(64, 64, 64), dtype="uint16")
    image = image_of(tracing())
    stored[:] = image

    assert check_alignment(tracing(), stored) == check_alignment(tracing(), image)


class Counting:
    """A huge brain that counts what is read of it."""

    shape = (10_000, 10_000, 10_000)
    chunks = (64, 64, 64)

    def __init__(self) -> None:
        self.reads: list[int] = []

    def __getitem__(self, box: tuple[slice, slice, slice]) -> NDArray[Any]:
        sizes = [s.stop - s.start for s in box]
        self.reads.append(int(np.prod(sizes)))
        return np.zeros(sizes, dtype=np.uint16)


def test_few_chunks_of_a_huge_brain_are_read() -> None:
    nodes = np.random.default_rng(0).uniform(0, 9_999, size=(50_000, 3))
    brain = Counting()

    check_alignment(Forest(nodes, np.full(50_000, -1)), brain)

    assert len(brain.reads) <= 256
    assert max(brain.reads) <= 64**3


def test_the_line_names_every_number() -> None:
    text = str(check_alignment(tracing(), image_of(tracing())))
    assert text.startswith("100.0% of the nodes are inside; median intensity percentile")
