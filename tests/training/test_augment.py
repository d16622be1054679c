"""Flips, turns, and wrong normalisation constants."""

import itertools
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from neuroconn.annotation import Forest, Graph
from neuroconn.config.train import AugmentSettings
from neuroconn.network import Normalisation
from neuroconn.phantom import Phantom, PhantomSettings
from neuroconn.training.augment import augment, plain
from neuroconn.training.crops import Crop, summary
from neuroconn.training.moves import Move as Moved
from neuroconn.training.sample import Sample

N = 16
NORMALISATION = Normalisation(softening=3.0, scale=1.0)
STILL = AugmentSettings(flips=False, rotations=False, offset=0, gain=1, noise=0)
MOVES = STILL.model_copy(update={"flips": True, "rotations": True})
Move = tuple[tuple[int, ...], int]


def draw(forest: Forest) -> Phantom:
    return Phantom((N, N, N), [forest], PhantomSettings(tortuosity=0.0), seed=1)


@pytest.fixture
def crop(forest: Forest) -> Crop:
    phantom = draw(forest)
    image = phantom.image()
    return Crop(
        image, phantom.distance(), summary(image), Graph.from_forest(forest), "phantom seed 1"
    )


def volumes(sample: Sample) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    return sample.image, sample.distance


def moves() -> Iterator[Move]:
    """Every flip and turn in the plane."""
    for n in range(4):
        for axes in itertools.combinations(range(3), n):
            for turns in range(4):
                yield axes, turns


def moved(volume: NDArray[np.float32], move: Move) -> NDArray[np.float32]:
    return np.rot90(np.flip(volume, move[0]), move[1], axes=(1, 2))


def moved_points(points: NDArray[np.float64], move: Move) -> NDArray[np.float64]:
    """The same for positions, one step at a time."""
    p = points.copy()
    for axis in move[0]:
        p[:, axis] = N - 1 - p[:, axis]
    for _ in range(move[1]):
        p = np.stack([p[:, 0], N - 1 - p[:, 2], p[:, 1]], axis=1)
    return p


def test_flips_and_turns_keep_the_map_that_of_the_moved_neurites(
    crop: Crop, forest: Forest
) -> None:
    still = plain(crop, NORMALISATION).image
    seen = set()
    for seed in range(40):
        sample = augment(crop, MOVES, NORMALISATION, np.random.default_rng(seed))
        image, distance = volumes(sample)

        same = [m for m in moves() if np.array_equal(moved(still, m), image)]
        assert same, "the image was neither flipped nor turned"
        positions = moved_points(forest.positions, same[0])
        expected = draw(forest.at(positions)).distance()
        np.testing.assert_allclose(distance, expected, atol=1e-4)
        assert sample.graph is not None
        np.testing.assert_allclose(sample.graph.positions, positions, atol=1e-12)
        assert sample.where == "phantom seed 1"
        seen.add(same[0])
    assert len(seen) >= 10


def test_image_and_map_move_together(crop: Crop) -> None:
    labelled = Crop(crop.distance, crop.distance, summary(crop.distance))

    for seed in range(10):
        image, distance = volumes(
            augment(labelled, MOVES, NORMALISATION, np.random.default_rng(seed))
        )

        constants = NORMALISATION.constants(labelled.statistics)
        np.testing.assert_allclose(image, constants.apply(distance), rtol=1e-6)


def test_nothing_varies_if_nothing_may(crop: Crop) -> None:
    sample = augment(crop, STILL, NORMALISATION, np.random.default_rng(0))

    expected = plain(crop, NORMALISATION)
    np.testing.assert_array_equal(sample.image, expected.image)
    np.testing.assert_array_equal(sample.distance, expected.distance)
    assert sample.where == crop.where
    assert sample.graph is not None
    assert crop.graph is not None
    np.testing.assert_array_equal(sample.graph.positions, crop.graph.positions)


def test_results_are_contiguous_float32_and_the_crop_is_untouched(crop: Crop) -> None:
    before = crop.image.copy(), crop.distance.copy()

    for seed in range(5):
        sample = augment(crop, AugmentSettings(), NORMALISATION, np.random.default_rng(seed))
        for volume in volumes(sample):
            assert volume.dtype == np.float32
            assert volume.flags.c_contiguous

    np.testing.assert_array_equal(crop.image, before[0])
    np.testing.assert_array_equal(crop.distance, before[1])


def test_a_flat_crop_is_not_turned(crop: Crop) -> None:
    flat = Crop(crop.image[:, :8], crop.distance[:, :8], crop.statistics)

    for seed in range(8):
        image = augment(flat, MOVES, NORMALISATION, np.random.default_rng(seed)).image

        assert image.shape == (N, 8, N)


@pytest.mark.parametrize("kind", ["asinh", "percentile"])
def test_wrong_constants_shift_and_stretch_within_their_range(crop: Crop, kind: str) -> None:
    normalisation = Normalisation(kind=kind, low=1, high=99, softening=3.0, scale=1.0)
    true = normalisation.constants(crop.statistics)
    settings = STILL.model_copy(update={"offset": 1.0, "gain": 2.0})
    seen = []
    for seed in range(30):
        image = augment(crop, settings, normalisation, np.random.default_rng(seed)).image
        assert np.isfinite(image).all()
        seen.append(float(image.mean()))

    assert np.std(seen) > 0.01
    corners = [
        type(true)(
            true.curve,
            offset=true.offset + sign * true.divisor / 3,
            divisor=true.divisor * factor,
            scale=true.scale,
        )
        for sign, factor in itertools.product((-1, 1), (0.5, 2.0))
    ]
    means = [float(corner.apply(crop.image).mean()) for corner in corners]
    assert min(means) - 1e-3 <= min(seen)
    assert max(seen) <= max(means) + 1e-3


def test_noise_is_added_up_to_its_strength(crop: Crop) -> None:
    settings = STILL.model_copy(update={"noise": 0.5})
    still = plain(crop, NORMALISATION).image

    spreads = []
    for seed in range(30):
        image, distance = volumes(
            augment(crop, settings, NORMALISATION, np.random.default_rng(seed))
        )
        spreads.append(float((image - still).std()))
        np.testing.assert_array_equal(distance, crop.distance)

    assert max(spreads) <= 0.52
    assert max(spreads) > 0.3
    assert min(spreads) < 0.05


@given(
    st.sampled_from(list(moves())),
    st.tuples(*[st.integers(2, 6)] * 3),
    st.integers(0, 2**32 - 1),
)
def test_a_voxel_and_its_centre_move_to_the_same_place(
    move: Move, shape: tuple[int, int, int], seed: int
) -> None:
    voxel = np.random.default_rng(seed).integers(0, shape)
    marked = np.zeros(shape)
    marked[tuple(voxel)] = 1
    moved_to = Moved(*move)

    place = moved_to.points(voxel[None].astype(float), shape)

    np.testing.assert_array_equal(np.argwhere(moved_to.volume(marked)), place)


@given(st.sampled_from(list(moves())), st.integers(0, 2**32 - 1))
def test_a_move_keeps_every_edge_and_its_length(move: Move, seed: int) -> None:
    rng = np.random.default_rng(seed)
    graph = Graph(rng.uniform(-5, N + 5, (6, 3)), rng.integers(0, 6, (7, 2)))

    there = Moved(*move).graph(graph, (N, N, N))

    assert there is not None
    np.testing.assert_array_equal(there.edges, graph.edges)
    np.testing.assert_allclose(there.lengths, graph.lengths)
    np.testing.assert_allclose(there.positions, moved_points(graph.positions, move), atol=1e-12)
