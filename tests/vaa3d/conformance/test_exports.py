"""Whatever we write is sound, and an independent reader sees the voxels that were written."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from neuroconn.geometry import Box
from neuroconn.vaa3d import TeraflyOptions, TeraflyPlan, write_terafly
from neuroconn.vaa3d.conformance import check_vaa3d
from neuroconn.vaa3d.conformance.findings import ConformanceReport
from neuroconn.vaa3d.halving import halve

HINTS = {"pixels.power-of-two", "tile.thin", "level.zlib"}
"""What sound trees may be told about all the same."""


def noise(shape: tuple[int, int, int], dtype: Any) -> NDArray[Any]:
    limit = np.iinfo(dtype).max
    return np.random.default_rng(7).integers(1, limit, shape).astype(dtype)


def sparse(volume: NDArray[Any]) -> NDArray[Any]:
    """Black but for two places; the first tile is black."""
    kept = np.zeros_like(volume)
    z, y, x = volume.shape
    kept[z // 2, y // 2, x // 2 :] = volume[z // 2, y // 2, x // 2 :]
    kept[-1, -1, -9:] = volume[-1, -1, -9:]
    return kept


def write(output: Path, volume: NDArray[Any], *, frame: Any = (), threads: int = 1,
          **options: Any) -> ConformanceReport:  # fmt: skip
    plan = TeraflyPlan(
        volume.shape,  # type: ignore[arg-type]
        volume.dtype.name,  # type: ignore[arg-type]
        *frame,
        options=TeraflyOptions(**options),
    )
    write_terafly(lambda box: volume[box.slices], output, plan, threads=threads)
    return check_vaa3d(output, pixels=True)


@settings(max_examples=25)
@given(
    shape=st.tuples(st.integers(2, 19), st.integers(2, 30), st.integers(257, 300)),
    tile=st.integers(9, 40),
    partition=st.sampled_from(["fixed", "balanced"]),
    compression=st.sampled_from(["none", "zlib", "lzw"]),
    downsample=st.sampled_from(["max", "mean"]),
    isotropic=st.booleans(),
    avoid=st.booleans(),
    dtype=st.sampled_from([np.uint8, np.uint16]),
    spacing=st.tuples(*[st.sampled_from([0.35, 0.5, 1.0, 2.5])] * 3),
    origin=st.sampled_from([(0.0, 0.0, 0.0), (30000.5, 12.25, 7.125), (0.0, 99990.0, 1e6)]),
    black=st.booleans(),
)
def test_every_option_of_an_export_gives_a_sound_tree(
    tmp_path_factory: pytest.TempPathFactory, shape: Any, dtype: Any, spacing: Any, origin: Any,
    black: bool, avoid: bool, **options: Any,
) -> None:  # fmt: skip
    volume = noise(shape, dtype)
    output = tmp_path_factory.mktemp("export") / "out"

    report = write(
        output, sparse(volume) if black else volume, frame=(spacing, origin),
        avoid_powers_of_two=avoid, threads=2, **options,
    )  # fmt: skip

    assert report.rules <= HINTS, report.findings
    made = {level.made_by for level in report.levels[1:]}
    assert made == {"max"} or options["downsample"] == "mean", made
    if avoid:
        assert "pixels.power-of-two" not in report.rules


def test_a_finished_tree_may_lie_anywhere_and_be_read_only(tmp_path: Path) -> None:
    write(tmp_path / "out", noise((9, 20, 300), np.uint16), tile=64)
    moved = tmp_path / "elsewhere" / "brain"
    moved.parent.mkdir()
    (tmp_path / "out").rename(moved)
    for path in (moved, *moved.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)

    report = check_vaa3d(moved, pixels=True)

    for path in (moved, *moved.rglob("*")):
        path.chmod(0o755)
    assert report.rules <= HINTS


def test_an_export_under_way_is_not_sound(tmp_path: Path) -> None:
    volume = noise((9, 20, 300), np.uint16)
    plan = TeraflyPlan((9, 20, 300), "uint16", options=TeraflyOptions(tile=64))

    def stop(box: Box) -> NDArray[Any]:
        if box.start[2]:
            raise KeyboardInterrupt
        return volume[box.slices]

    with pytest.raises(KeyboardInterrupt):
        write_terafly(stop, tmp_path / "out", plan)

    if list((tmp_path / "out").glob("RES*")):
        assert {"tree.unfinished", "level.table-missing"} <= check_vaa3d(tmp_path / "out").rules


CASES = [
    ((61, 143, 301), np.uint16, "fixed", "max", 64, False),
    ((61, 143, 301), np.uint8, "balanced", "mean", 50, False),
    ((37, 90, 260), np.uint16, "balanced", "mean", 31, True),
    ((29, 77, 515), np.uint8, "fixed", "max", 48, True),
]
BOXES = 140
"""Random sub-volumes of each level of each case: 1,260 in all."""


@pytest.fixture(scope="module", params=CASES, ids=lambda case: "-".join(map(str, case[2:])))
def written(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[NDArray[Any]]]:
    shape, dtype, partition, how, tile, black = request.param
    volume = sparse(noise(shape, dtype)) if black else noise(shape, dtype)
    output = tmp_path_factory.mktemp("acceptance") / "brain"
    # v3d-py-helper has no deflate and reads zlib tiles as zeros: plain and LZW, in turn.
    compression = "lzw" if black else "none"
    report = write(output, volume, tile=tile, partition=partition, downsample=how,
                   compression=compression)  # fmt: skip
    levels = [volume]
    while len(levels) < len(report.levels):
        levels.append(halve(levels[-1], how=how))
    assert report.sound
    return output, levels


def test_an_independent_reader_sees_every_level_whole_and_in_random_boxes(written: Any) -> None:
    interface = pytest.importorskip("v3dpy.terafly").TeraflyInterface
    output, levels = written
    rng = np.random.default_rng(11)
    for volume in levels:
        z, y, x = volume.shape
        tree = interface(output / f"RES({y}x{x}x{z})")
        assert tree.get_dim() == (x, y, z, 1)
        np.testing.assert_array_equal(tree.get_sub_volume(0, x, 0, y, 0, z)[0], volume)
        for _ in range(BOXES):
            low = [int(rng.integers(0, n)) for n in volume.shape]
            high = [int(rng.integers(a, n)) + 1 for a, n in zip(low, volume.shape, strict=True)]
            (z0, y0, x0), (z1, y1, x1) = low, high

            found = tree.get_sub_volume(x0, x1, y0, y1, z0, z1)

            assert found.dtype == volume.dtype
            assert np.array_equal(found[0], volume[z0:z1, y0:y1, x0:x1]), (low, high)


def test_the_random_boxes_are_more_than_a_thousand() -> None:
    levels = {(61, 143, 301): 2, (37, 90, 260): 2, (29, 77, 515): 3}

    assert BOXES * sum(levels[case[0]] for case in CASES) > 1000
