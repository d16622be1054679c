from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scenes import Store, crowded_map, phantom_map

from neuroconn.annotation import Forest, chains
from neuroconn.errors import UsageError, VolumeError
from neuroconn.geometry import Box, Frame, Level
from neuroconn.tracing.blocks import block_piece, map_lines
from neuroconn.tracing.distance_map import DistanceMap
from neuroconn.tracing.lines import Lines
from neuroconn.volume import create_image, open_image

SHAPE = (48, 64, 80)


def same(a: Lines, b: Lines) -> bool:
    return (
        np.array_equal(a.graph.positions, b.graph.positions)
        and np.array_equal(a.graph.edges, b.graph.edges)
        and np.array_equal(a.distance, b.distance)
    )


@pytest.mark.parametrize("seed", range(3))
def test_lines_do_not_depend_on_the_blocks(store: Store, seed: int) -> None:
    source = DistanceMap.of(open_image(store(crowded_map(SHAPE, seed))), 3.0)

    whole = map_lines(source, [source.bounds])

    assert len(whole.graph) > 100
    for side, workers in ((16, 1), (32, 2), (48, 1)):
        blocks = source.blocks(side, source.bounds)
        assert len(blocks) > 1
        assert same(map_lines(source, blocks, workers=workers), whole)


def test_blocks_of_any_shape_in_any_order_do(store: Store) -> None:
    source = DistanceMap.of(open_image(store(crowded_map(SHAPE, 4), shard=32)), 2.5)
    rng = np.random.default_rng(0)
    blocks = list(source.bounds.split((17, 23, 9)))
    rng.shuffle(blocks)

    assert same(map_lines(source, blocks), map_lines(source, [source.bounds]))


@pytest.mark.parametrize("halo", [0, 1, 3])
def test_a_halo_that_is_too_small_grows(store: Store, halo: int) -> None:
    source = DistanceMap.of(open_image(store(crowded_map(SHAPE, 5))), 3.0)
    core = Box((16, 16, 16), (32, 48, 48))

    for small, usual in zip(
        block_piece(source, core, halo=halo), block_piece(source, core), strict=True
    ):
        np.testing.assert_array_equal(small, usual)


def test_the_lines_of_a_crop_are_those_of_the_whole_in_it(store: Store) -> None:
    source = DistanceMap.of(open_image(store(crowded_map(SHAPE, 6))), 3.0)
    crop = Box((5, 11, 20), (40, 60, 61))

    voxels, distance, _ = block_piece(source, crop)
    everything, all_distances, _ = block_piece(source, source.bounds)

    inside = (everything >= crop.start).all(axis=1) & (everything < crop.stop).all(axis=1)
    np.testing.assert_array_equal(voxels, everything[inside])
    np.testing.assert_array_equal(distance, all_distances[inside])


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_every_encoding_is_traced(store: Store, dtype: str) -> None:
    forest = Forest([[24, 20, 10], [24, 40, 70]], [-1, 0])
    source = DistanceMap.of(open_image(store(phantom_map([forest], SHAPE, 0), dtype=dtype)), 3.0)

    lines = map_lines(source, source.blocks(32, source.bounds))

    assert len(chains(lines.graph)) == 1
    assert lines.distance.max() < 1
    assert lines.graph.length == pytest.approx(forest.length, rel=0.06)


def test_only_what_is_stored_is_read(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    distance = np.full(SHAPE, np.nan, dtype=np.float32)
    distance[16:32, 16:32, 32:64] = 1.0
    source = DistanceMap.of(open_image(store(distance)), 3.0)
    read: list[Box] = []
    real = DistanceMap.read
    monkeypatch.setattr(DistanceMap, "read", lambda self, box: read.append(box) or real(self, box))

    blocks = source.blocks(16, source.bounds)
    map_lines(source, blocks)

    assert blocks == [Box((16, 16, 32), (32, 32, 48)), Box((16, 16, 48), (32, 32, 64))]
    assert len(read) == 2


def test_the_edge_of_the_explored_part_ends_the_mask(store: Store) -> None:
    distance = phantom_map([Forest([[24, 32, 0], [24, 32, 79]], [-1, 0])], SHAPE, 0)
    distance[:, :, 48:] = np.nan
    source = DistanceMap.of(open_image(store(distance)), 3.0)

    lines = map_lines(source, source.blocks(16, source.bounds))

    assert 46 <= lines.graph.positions[:, 2].max() < 48
    assert same(lines, map_lines(source, [source.bounds]))


@pytest.mark.parametrize("threshold", [0.0, 10.5, float("nan")])
def test_a_threshold_that_no_distance_has(store: Store, threshold: float) -> None:
    image = open_image(store(crowded_map((16, 16, 16), 0)))
    with pytest.raises(UsageError, match="threshold"):
        DistanceMap.of(image, threshold)


@pytest.mark.parametrize("attributes", [{}, {"scale_factor": 0}, {"scale_factor": "x"}])
def test_numbers_without_a_unit_are_no_map(tmp_path: Any, attributes: dict[str, Any]) -> None:
    image = create_image(
        tmp_path / "odd.zarr", levels=[Level((8, 8, 8), (1, 1, 1), (1, 1, 1))], dtype="uint8",
        frame=Frame((1.0, 1.0, 1.0)), kind="distance", fill_value=255,
        array_attributes=attributes,
    )  # fmt: skip
    with pytest.raises(VolumeError, match="not a distance map"):
        DistanceMap.of(image, 3.0)


def test_errors_of_a_block_come_through(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    source = DistanceMap.of(open_image(store(crowded_map(SHAPE, 0))), 3.0)

    def broken(self: DistanceMap, box: Box) -> NDArray[Any]:
        raise VolumeError("damaged")

    monkeypatch.setattr(DistanceMap, "read", broken)
    with pytest.raises(VolumeError, match="damaged"):
        map_lines(source, source.blocks(16, source.bounds), workers=2)


def test_of_no_blocks_there_are_no_lines(store: Store) -> None:
    source = DistanceMap.of(open_image(store(np.full((16, 16, 16), np.nan))), 3.0)

    assert source.blocks(16, source.bounds) == []
    assert len(map_lines(source, []).graph) == 0
