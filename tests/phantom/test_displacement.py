"""Annotations that stray from the neurites they are of."""

import numpy as np
import pytest

from neuroconn.geometry import Box
from neuroconn.phantom import Growth, Phantom, grow

SHAPE = (80, 80, 80)


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    rng = np.random.default_rng(1)
    growth = Growth(length=400.0, persistence=30.0)
    # Spread far beyond the volume: the mean is over many independent places of the field.
    roots = [(30.0, 30.0, 30.0), *rng.uniform(0, 400, (39, 3))]
    return Phantom(SHAPE, [grow(growth, rng, root=tuple(root)) for root in roots], seed=7)


@pytest.mark.parametrize("rms", [1.0, 3.0])
def test_places_stray_by_the_root_mean_square_asked_for(phantom: Phantom, rms: float) -> None:
    moved = phantom.displaced(rms).scene.centrelines.start - phantom.scene.centrelines.start

    assert np.sqrt((moved**2).sum(axis=1).mean()) == pytest.approx(rms, rel=0.15)
    assert abs(moved.mean(axis=0)).max() < 0.3 * rms


def test_neighbours_stray_alike_and_the_pitch_says_how_far(phantom: Phantom) -> None:
    def roughness(pitch: float) -> float:
        lines = phantom.displaced(2.0, pitch=pitch).scene.centrelines
        old = phantom.scene.centrelines
        steps = (lines.stop - lines.start) - (old.stop - old.start)
        return float(np.sqrt((steps**2).sum(axis=1).mean()))

    assert roughness(60) < roughness(30) < roughness(10) < 2.5


def test_the_image_stays_and_the_truth_moves_with_its_graph(phantom: Phantom) -> None:
    box = Box((10, 10, 10), (50, 60, 40))
    strayed = phantom.displaced(3.0)

    np.testing.assert_array_equal(strayed.image(box), phantom.image(box))
    assert (strayed.distance(box) != phantom.distance(box)).any()
    assert len(strayed.graph(box).edges) > 0
    assert not np.array_equal(strayed.distance(box), phantom.distance(box))
    np.testing.assert_array_equal(strayed.distance(box), phantom.displaced(3.0).distance(box))


@pytest.mark.parametrize("rms", [0.0, 2.0])
def test_the_graph_near_a_box_gives_its_distance_map(rms: float) -> None:
    growth = Growth(length=200.0, persistence=20.0, branching=0.02)
    forest = grow(growth, np.random.default_rng(2), root=(20.0, 20.0, 20.0))
    phantom = Phantom((40, 40, 40), [forest], seed=4).displaced(rms)
    box = Box((12, 13, 14), (26, 28, 26))

    graph = phantom.graph(box, reach=6.0)

    voxels = np.stack(np.meshgrid(*map(np.arange, box.shape), indexing="ij"), axis=-1)
    expected = np.full(box.shape, 6.0)
    for u, v in graph.edges:
        a, b = graph.positions[u], graph.positions[v]
        along = np.clip((voxels - a) @ (b - a) / ((b - a) ** 2).sum(), 0, 1)
        away = voxels - (a + along[..., None] * (b - a))
        expected = np.minimum(expected, np.sqrt((away**2).sum(axis=-1)))
    assert expected.min() < 1
    np.testing.assert_allclose(phantom.distance(box, clip=6.0), expected, atol=1e-4)
    assert (graph.degrees == 2).mean() > 0.5  # chains, not loose pieces
