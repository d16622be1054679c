"""Whatever is asked of an export, ``check-vaa3d`` finds its tree sound."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neuroconn.config import find_preset
from neuroconn.config.base import read_settings
from neuroconn.config.overlay import OverlaySettings
from neuroconn.exporter import export
from neuroconn.geometry import Box, Frame, Level
from neuroconn.vaa3d.conformance import check_vaa3d
from neuroconn.volume import convert, create_image, open_image, write_region

SHAPE = (24, 40, 270)
SPACING = (2.5, 0.35, 0.7)
OPTIONS: list[dict[str, Any]] = [
    {"preset": "clip-6-power-2"},
    {"preset": "clip-10", "dtype": "uint8"},
    {"preset": "clip-6", "compression": "zlib", "partition": "balanced"},
    {"preset": "plain", "compression": "lzw", "only_explored": True},
    {"preset": "replace", "unexplored": "null", "threads": 3},
    {"preset": "plain", "isotropic": True, "unexplored": "null", "dtype": "uint8"},
    {"preset": "clip-6-power-2", "box": Box((1, 3, 5), (23, 40, 270))},
]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A noisy brain, and a map of one half of it with a neurite."""
    folder = tmp_path_factory.mktemp("pair")
    np.save(folder / "a.npy", np.random.default_rng(4).gamma(2, 200, SHAPE).astype(np.uint16))
    convert(folder / "a.npy", folder / "brain", spacing=SPACING, chunk=16, shard=16)
    codes = np.full(SHAPE, 250, np.uint8)
    codes[10:14, 18:23] = np.arange(5, dtype=np.uint8)[:, None] * 20
    codes[:, :, 144:] = 255
    image = create_image(
        folder / "map", levels=[Level(SHAPE, (1, 1, 1), (1, 1, 1))], dtype=codes.dtype,
        frame=Frame(SPACING), chunk=16, shard=16, kind="distance", fill_value=255,
        array_attributes={"scale_factor": 0.04},
    )  # fmt: skip
    grid = image.grid()
    for index in grid:
        core = grid.core(index)
        write_region(image.array(0), core, np.ascontiguousarray(codes[core.slices]))
    return folder / "brain", folder / "map"


def settings(preset: str, isotropic: bool) -> OverlaySettings:
    told = ["isotropic=true"] if isotropic else []
    return read_settings(OverlaySettings, find_preset("overlay", preset), *told)


@pytest.mark.parametrize("options", OPTIONS, ids=lambda o: "-".join(map(str, o.values())))
def test_every_way_to_export_gives_a_sound_tree(
    pair: tuple[Path, Path], tmp_path: Path, options: dict[str, Any]
) -> None:
    options = dict(options)
    look = settings(options.pop("preset"), options.pop("isotropic", False))

    export(*pair, tmp_path / "out", settings=look, tile=16, **options)

    report = check_vaa3d(tmp_path / "out", pixels=True)
    assert report.rules <= {"level.zlib"}, report.findings
    how = {"max": {"max"}, "mean": {"mean", "mean, powers of two avoided"}}[look.downsample]
    # Where powers of two are avoided, the two means may well be the same.
    assert {level.made_by for level in report.levels[1:]} <= how | {"max"}
    if options.get("unexplored") == "null" or options.get("only_explored"):
        assert report.levels[0].empty


def test_an_updated_tree_is_sound_and_so_is_the_old_one(
    pair: tuple[Path, Path], tmp_path: Path
) -> None:
    export(*pair, tmp_path / "old", tile=16)

    export(*pair, tmp_path / "new", tile=16, update=tmp_path / "old")

    assert check_vaa3d(tmp_path / "new", pixels=True).findings == ()
    assert check_vaa3d(tmp_path / "old", pixels=True).findings == ()
    assert open_image(pair[0]).shape == SHAPE
