"""What cannot be a TeraFly volume is known before the first tile."""

import logging
from pathlib import Path

import pytest

from neuroconn.errors import OutputError, UsageError
from neuroconn.geometry import ZYX, Box
from neuroconn.vaa3d.partition import Tiling
from neuroconn.vaa3d.plan import TeraflyOptions, TeraflyPlan


@pytest.mark.parametrize("shape", [(4, 4 * 65536, 4), (4, 4, 4 * 65536)])
def test_more_rows_or_columns_than_the_table_counts_are_refused(shape: ZYX) -> None:
    with pytest.raises(UsageError, match=r"65536 .* use larger tiles"):
        TeraflyPlan(shape, "uint8", options=TeraflyOptions(tile=4))

    fewer = tuple(n - 4 if n > 4 else n for n in shape)
    plan = TeraflyPlan(fewer, "uint8", options=TeraflyOptions(tile=4))  # type: ignore[arg-type]
    assert max(plan.tilings[0].counts) == 65535


def test_more_voxels_than_the_table_counts_are_refused() -> None:
    with pytest.raises(UsageError, match="export a crop"):
        TeraflyPlan((4, 2**31, 4), "uint8", options=TeraflyOptions(tile=2**20))


@pytest.mark.parametrize("shape", [(1, 1, 1), (0, 5, 5)])
def test_a_volume_without_two_levels_is_refused(shape: ZYX) -> None:
    with pytest.raises(UsageError, match="needs two"):
        TeraflyPlan(shape, "uint8")


def test_a_path_that_windows_would_not_open_is_a_warning_with_the_limits(
    caplog: pytest.LogCaptureFixture,
) -> None:
    plan = TeraflyPlan((20, 20, 20), "uint8")
    tile = len("/RES(20x20x20)/000000/000000_000000/000000_000000_000000.tif")

    plan.check_path(Path("/" + "a" * (258 - tile)))
    assert not caplog.records
    plan.check_path(Path("/" + "a" * (259 - tile)))

    assert caplog.records[0].levelno == logging.WARNING
    assert "up to 260 bytes" in caplog.text
    assert "fewer than 1024, but on Windows fewer than 260" in caplog.text
    with pytest.raises(OutputError, match="shorter"):
        plan.check_path(Path("/" + "/".join(["a" * 200] * 5)))


def test_the_tiles_that_share_voxels_with_a_box_are_found() -> None:
    tiling = Tiling((5, 5, 3), (4, 4), (7,))
    for box in (Box((4, 3, 2), (6, 4, 3)), Box((0, 0, 0), (13, 8, 7)), Box((5, 4, 0), (10, 8, 1))):
        expected = [tiling.box(i) for i in tiling if tiling.box(i).clip(box).size]
        assert sorted(tiling.overlapping(box)) == sorted(expected)
