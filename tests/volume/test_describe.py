import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from neuroconn.errors import VolumeError
from neuroconn.geometry import Frame, plan_levels
from neuroconn.volume import convert, create_image, info


def test_a_source_is_told_with_what_a_conversion_will_need(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path, np.zeros((3, 40, 50), np.int16), compression="zlib", rowsperstrip=8,
        photometric="minisblack",
    )  # fmt: skip

    found = info(path)

    assert (found.what, found.shape, found.dtype) == ("source", (3, 40, 50), "int16")
    assert found.unit == (1, 8, 50)
    assert found.spacing_um is None
    assert any("--offset" in note for note in found.notes)
    assert any("--spacing" in note for note in found.notes)
    assert not found.problems
    json.dumps(found.as_dict())


def test_several_channels_are_told_and_not_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(
        path, np.zeros((2, 3, 40, 50), np.uint16), ome=True, metadata={"axes": "CZYX"},
        photometric="minisblack",
    )  # fmt: skip

    found = info(path)

    assert found.channels == 2
    assert found.shape == (3, 40, 50)
    assert "--channel 0 to 1" in found.notes[0]
    assert info(path, channel=1).notes != found.notes


def test_check_decodes_everything_and_names_every_bad_place(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    voxels = np.random.default_rng(0).integers(0, 900, (6, 64, 50)).astype(np.uint16)
    tifffile.imwrite(path, voxels, compression="zlib", rowsperstrip=16, photometric="minisblack")
    with tifffile.TiffFile(path) as tif:
        hits = [tif.pages[z].dataoffsets[k] for z, k in ((1, 0), (4, 3))]  # type: ignore[union-attr]
    data = bytearray(path.read_bytes())
    for at in hits:
        data[at + 6 : at + 60] = bytes(54)
    path.write_bytes(data)

    assert not info(path).problems
    problems = info(path, check=True).problems

    assert len(problems) == 2
    assert problems[0].startswith("z 1:2, y 0:16, x 0:50: ")
    assert problems[1].startswith("z 4:5, y 48:64, x 0:50: ")


def test_a_brain_tells_its_levels_statistics_and_seams(
    tmp_path: Path, stack: Path, small: dict[str, Any]
) -> None:
    convert(stack, tmp_path / "b", **small)

    found = info(tmp_path / "b")

    assert (found.what, found.unit, found.spacing_um) == ("brain", (4, 4, 4), (1.0, 0.5, 0.5))
    assert found.facts["levels"][0] == (18, 27, 21)
    assert found.facts["downsample"] == "max"
    assert found.facts["intensity"]["max"] == 65535
    assert set(found.facts["unevenness"]) == {"z", "y", "x"}
    assert not found.problems
    json.dumps(found.as_dict())


def test_an_unfinished_brain_is_a_problem(
    tmp_path: Path, stack: Path, small: dict[str, Any], narrow: None
) -> None:
    def stop(state: Any) -> None:
        if state.bands_done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(stack, tmp_path / "b", **small, progress=stop)

    assert "not finished (3 bands are done)" in info(tmp_path / "b").problems[0]


def test_a_distance_map_is_told_as_such(tmp_path: Path) -> None:
    create_image(
        tmp_path / "d", levels=plan_levels((16, 16, 16), smallest=8), dtype="uint8",
        frame=Frame((1.0, 1.0, 1.0)), chunk=4, shard=8, fill_value=255, kind="distance",
        attributes={"scale_factor": 0.04},
    )  # fmt: skip

    found = info(tmp_path / "d")

    assert found.what == "distance"
    assert found.facts["scale_factor"] == 0.04


def test_what_is_nothing_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"nothing that anybody knows")

    with pytest.raises(VolumeError, match="no known format"):
        info(tmp_path / "a.bin")
    with pytest.raises(VolumeError, match="no source at"):
        info(tmp_path / "none")


def test_surveys_of_huge_sources_take_small_pieces() -> None:
    from neuroconn.testing import MemorySource
    from neuroconn.volume.convert_run import _piece

    source = MemorySource(np.zeros((1, 1, 1), np.uint16))
    for unit in [(1, 1, 1024), (256, 256, 256), (1, 40_000, 40_000), (1, 128, 40_000)]:
        source.shape, source.unit = (6000, 40_000, 40_000), unit
        piece = _piece(source)
        assert all(p % u == 0 for p, u in zip(piece, unit, strict=True))
        assert np.prod(piece) * 2 <= max(16 << 20, 2 * np.prod(unit))
