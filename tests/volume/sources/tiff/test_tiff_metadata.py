"""What OME-XML, ImageJ and resolution tags say about the length of a voxel."""

import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from neuroconn.volume import open_source
from neuroconn.volume.sources.tiff.metadata import spacing_claim

SHAPE = (5, 33, 29)
VOXELS = np.random.default_rng(0).integers(0, 60000, SHAPE).astype(np.uint16)


def stack(path: Path, **layout: Any) -> Path:
    tifffile.imwrite(path, VOXELS, **{"photometric": "minisblack", **layout})
    return path


OME = {"axes": "ZYX", "PhysicalSizeX": 0.5, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": 400,
       "PhysicalSizeYUnit": "nm", "PhysicalSizeZ": 0.002, "PhysicalSizeZUnit": "mm"}  # fmt: skip
UM: dict[str, Any] = {"axes": "ZYX", "unit": "um"}


@pytest.mark.parametrize(
    ("layout", "spacing", "note"),
    [
        ({"ome": True, "metadata": OME}, (2.0, 0.4, 0.5), None),
        ({"ome": True, "metadata": {"axes": "ZYX", "PhysicalSizeX": 0.5}}, None, r"\? x \? x 0.5"),
        ({"ome": True, "metadata": OME | {"PhysicalSizeXUnit": "pixel"}}, None, "0.5 pixel"),
        ({"ome": True, "metadata": OME | {"PhysicalSizeZ": 0.0}}, None, "0 mm x 400 nm"),
        ({"imagej": True, "resolution": (2, 4), "metadata": UM | {"spacing": 3.0}},
         (3.0, 0.25, 0.5), None),
        ({"imagej": True, "resolution": (2, 4),
          "metadata": {"axes": "ZYX", "spacing": 3.0, "unit": "\\u00B5m"}}, (3.0, 0.25, 0.5), None),
        ({"imagej": True, "resolution": (2, 4),
          "metadata": {"axes": "ZYX", "spacing": 3.0, "unit": "pixel"}}, None, None),
        ({"imagej": True, "resolution": (2, 4), "metadata": UM | {"spacing": -3.0}}, None, "-3 um"),
        ({"imagej": True, "resolution": (2, 4), "metadata": UM | {"spacing": 0}}, None, "0 um x"),
        ({"imagej": True, "resolution": (2, 4), "metadata": UM | {"unit": "furlong", "spacing": 1}},
         None, "1 furlong"),
        ({"imagej": True, "metadata": {"axes": "ZYX"}}, None, None),
        ({"resolution": (25400, 12700), "resolutionunit": "inch"}, None, "2 x 1 µm a pixel"),
        ({"resolution": (1000, 500), "resolutionunit": "centimeter"}, None, "20 x 10 µm a pixel"),
        ({"resolution": (3, 3), "resolutionunit": "none"}, None, None),
    ],
)  # fmt: skip
def test_spacing_is_taken_from_ome_and_imagej_in_micrometres_or_noted(
    tmp_path: Path, layout: dict[str, Any], spacing: tuple[float, ...] | None, note: str | None
) -> None:
    source = open_source(stack(tmp_path / "a.tif", **layout))
    about = " ".join(n for n in source.notes if "spacing" in n)

    assert source.spacing_um == (None if spacing is None else pytest.approx(spacing))
    assert re.search(note, about) if note else not about


@pytest.mark.parametrize(("imagej_z", "spacing"), [(2.0, (2.0, 0.5, 0.5)), (3.0, None)])
def test_ome_and_imagej_that_contradict_each_other_are_not_believed(
    tmp_path: Path, imagej_z: float, spacing: tuple[float, ...] | None
) -> None:
    xml = tifffile.OmeXml()
    xml.addimage("uint16", SHAPE, (5, 1, 1, 33, 29, 1), axes="ZYX", PhysicalSizeZ=2.0,
                 PhysicalSizeY=0.5, PhysicalSizeX=0.5)  # fmt: skip
    second = f"ImageJ=1.54\nimages=5\nslices=5\nunit=um\nspacing={imagej_z}\n"
    path = stack(
        tmp_path / "a.tif", metadata=None, resolution=(2, 2), description=xml.tostring(),
        extratags=[(65000, 2, 0, second, True)],
    )  # fmt: skip
    data, entry = path.read_bytes(), struct.pack("<HHI", 65000, 2, len(second) + 1)
    assert data.count(entry) == 1
    path.write_bytes(data.replace(entry, struct.pack("<H", 270) + entry[2:]))
    source = open_source(path)

    assert source.spacing_um == spacing
    assert any("OME-XML says 2 x" in n and "ImageJ says 3" in n for n in source.notes) == (
        spacing is None
    )


@pytest.mark.parametrize(
    ("unit", "factor"), [("µm", 1), ("Å", 1e-4), ("mm", 1e3), ("Micrometers", 1), ("microns", 1)]
)
def test_units_are_told_apart_by_case_where_they_must(unit: str, factor: float) -> None:
    assert spacing_claim("x", (1, 1, 1), (unit,) * 3)[0] == (factor,) * 3
    assert spacing_claim("x", (1, 1, 1), ("Mm",) * 3)[0] is None
