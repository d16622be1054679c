"""Trees of what was explored so far, and their update when the walk has gone on."""

import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pairs import brain_image, map_image

from neuroconn.config.overlay import OverlaySettings
from neuroconn.errors import OutputError, UsageError, VolumeError
from neuroconn.exporter import export
from neuroconn.exporter.pair import Look, Pair
from neuroconn.geometry import Box
from neuroconn.vaa3d.halving import halve
from neuroconn.vaa3d.overlay import avoid_powers_of_two
from neuroconn.vaa3d.partition import Tiling
from neuroconn.vaa3d.reader import TeraflyVolume

SHAPE = (70, 90, 100)
RNG = np.random.default_rng(0)
RAW = RNG.gamma(2, 200, SHAPE).astype(np.uint16)
NEAR = RNG.integers(0, 251, SHAPE) / 25


def walked(*chunks: tuple[int, int, int]) -> NDArray[np.float64]:
    """Distances in some chunks of 16 voxels; NaN where nobody looked."""
    distance = np.full(SHAPE, np.nan)
    for z, y, x in chunks:
        place = tuple(slice(16 * i, 16 * i + 16) for i in (z, y, x))
        distance[place] = NEAR[place]
    return distance


FIRST = walked((0, 0, 0), (2, 3, 4), (2, 3, 5))
LONGER = walked((0, 0, 0), (2, 3, 4), (2, 3, 5), (2, 4, 5), (4, 5, 6))


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("images")
    brain_image(root / "brain", RAW)
    map_image(root / "first", FIRST)
    map_image(root / "longer", LONGER)
    map_image(root / "coarse", LONGER, "uint16")
    return {name: root / name for name in ("brain", "first", "longer", "coarse")}


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize(("tile", "cut"), [(32, "fixed"), (37, "fixed"), (33, "balanced")])
def test_only_tiles_that_touch_what_was_explored_are_written(
    tile: int, cut: Any, images: dict[str, Path], tmp_path: Path
) -> None:
    brain, first = images["brain"], images["first"]
    export(brain, first, tmp_path / "all", tile=tile, partition=cut)

    export(brain, first, tmp_path / "out", tile=tile, partition=cut, only_explored=True)

    expected = TeraflyVolume(tmp_path / "all").read(Box.of_shape(SHAPE))
    for index in Tiling.of(SHAPE, tile, cut):
        box = Tiling.of(SHAPE, tile, cut).box(index)
        if np.isnan(FIRST[box.slices]).all():
            expected[box.slices] = 0
    for level in TeraflyVolume(tmp_path / "out").levels:
        np.testing.assert_array_equal(level.read(Box.of_shape(level.shape)), expected)
        expected = avoid_powers_of_two(halve(expected, how="max"))
    written, empty = (
        sum((path is None) == absent for level in TeraflyVolume(tmp_path / "out").levels
            for _, path in level.tiles())
        for absent in (False, True)
    )  # fmt: skip
    assert 0 < written < empty


@pytest.mark.parametrize("only_explored", [False, True])
@pytest.mark.parametrize("tile", [32, 37])
def test_an_update_makes_the_tree_of_a_new_export(
    tile: int, only_explored: bool, images: dict[str, Path], tmp_path: Path
) -> None:
    options: dict[str, Any] = {"tile": tile, "only_explored": only_explored}
    export(images["brain"], images["first"], tmp_path / "old", **options)

    report = export(
        images["brain"], images["longer"], tmp_path / "new", update=tmp_path / "old", **options
    )

    export(images["brain"], images["longer"], tmp_path / "fresh", **options)
    assert tree(tmp_path / "new") == tree(tmp_path / "fresh")
    changed = [
        box
        for box in map(Tiling.of(SHAPE, tile).box, Tiling.of(SHAPE, tile))
        if not np.array_equal(FIRST[box.slices], LONGER[box.slices], equal_nan=True)
    ]
    coarse = len(TeraflyVolume(tmp_path / "new").levels[1].tiles())
    assert len(changed) <= report.written < len(changed) + coarse + (16 if tile == 37 else 1)
    assert report.reused > 0
    assert "as before" in str(report)


def test_what_cannot_be_updated_is_refused_before_anything_is_written(
    images: dict[str, Path], tmp_path: Path
) -> None:
    brain, first = images["brain"], images["first"]
    export(brain, first, tmp_path / "old", tile=48)

    def update(distance: str = "longer", **options: Any) -> None:
        export(
            brain, images[distance], tmp_path / "new", update=tmp_path / "old",
            **({"tile": 48} | options),
        )  # fmt: skip

    with pytest.raises(OutputError, match="other compression"):
        update(compression="zlib")
    with pytest.raises(OutputError, match="other settings"):
        update(settings=OverlaySettings(factor=1))
    with pytest.raises(OutputError, match="other tile"):
        update(tile=32)
    with pytest.raises(OutputError, match="other codes"):
        update("coarse")
    with pytest.raises(UsageError, match="written whole"):
        update(format="tiff")
    assert not (tmp_path / "new").exists()


def test_single_files_have_no_tiles_to_leave_out(images: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no tiles"):
        export(
            images["brain"], images["first"], tmp_path / "a.tif", format="tiff", only_explored=True
        )


def test_a_pair_travels_and_is_opened_once_where_it_arrives(images: dict[str, Path]) -> None:
    look = Look(OverlaySettings(), "uint16", 65535, "raw")
    pair, box = Pair(images["brain"], images["first"], look), Box((3, 5, 7), (40, 50, 60))

    there, again = (pickle.loads(pickle.dumps(pair)) for _ in range(2))

    np.testing.assert_array_equal(there.tile(box), pair.tile(box))
    assert there._pair() is again._pair() is not pair
    assert there.stamp(box) == pair.stamp(box) != 0
    assert there.is_explored(box)


def test_a_worker_that_sees_another_map_is_told(images: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(images["first"], tmp_path / "map")
    look = Look(OverlaySettings(), "uint16", 65535, "raw")
    sent = pickle.dumps(Pair(images["brain"], tmp_path / "map", look))
    (tmp_path / "map" / "run").mkdir()
    (tmp_path / "map" / "run" / "journal.jsonl").write_text("one more chunk\n")

    arrived = pickle.loads(sent)
    with pytest.raises(VolumeError, match="not the same on this worker"):
        arrived.tile(Box((0, 0, 0), (1, 1, 1)))
