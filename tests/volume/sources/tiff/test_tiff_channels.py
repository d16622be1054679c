"""Several channels in TIFF pages, samples, ImageJ hyperstacks and OME-TIFF of one or many files."""

from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import numpy as np
import pytest
import tifffile

from neuroconn.errors import UsageError, VolumeError
from neuroconn.geometry import Box
from neuroconn.volume import open_source

Z, C, Y, X = 4, 3, 20, 18
VOXELS = np.random.default_rng(0).integers(0, 60000, (Z, C, Y, X)).astype(np.uint16)
HEAD = '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"'


def read(path: Path, **choice: Any) -> Any:
    source = open_source(path, **choice)
    return source.read(Box.of_shape(source.shape))


def refuse(path: Path, reason: str, **choice: Any) -> None:
    with pytest.raises(VolumeError, match=reason) as caught:
        open_source(path, **choice)
    assert "\n" not in str(caught.value)


def every_channel_is_right(path: Path) -> None:
    for channel in range(C):
        source = open_source(path, channel=channel)
        np.testing.assert_array_equal(
            source.read(Box.of_shape(source.shape)), VOXELS[:, channel], str(channel)
        )
        box = Box((1, 3, 5), (4, 17, 16))
        np.testing.assert_array_equal(source.read(box), VOXELS[:, channel][box.slices])
        assert source.channels == C
    refuse(path, "has 3 channels and a brain has one; .*--channel 0 to 2")
    with pytest.raises(UsageError, match="channel 3 does not exist"):
        open_source(path, channel=3)


def ome(path: Path, order: str = "ZCT", blocks: str = "", **more: Any) -> str:
    """OME-XML of the volume, as a microscope might write it."""
    facts = {
        "DimensionOrder": f"XY{order}", "Type": "uint16", "SizeX": X, "SizeY": Y, "SizeZ": Z,
        "SizeC": C, "SizeT": 1, **more,
    }  # fmt: skip
    text = " ".join(f"{key}={quoteattr(str(value))}" for key, value in facts.items())
    return f'{HEAD} UUID="urn:uuid:{path.name}"><Image ID="Image:0" Name="brain"><Pixels {text}>{blocks}</Pixels></Image></OME>'  # noqa: E501


def written(path: Path, pages: Any, description: str, **layout: Any) -> Path:
    tifffile.imwrite(
        path, pages, photometric="minisblack", metadata=None,
        description=description.encode(), **layout,
    )  # fmt: skip
    return path


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("kind", ["imagej", "ome"])
def test_a_channel_of_a_stack_by_tifffile_is_chosen(
    tmp_path: Path, kind: str, compression: str | None
) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path, VOXELS, photometric="minisblack", metadata={"axes": "ZCYX"},
        **{kind: True}, compression=compression if kind == "ome" else None,
    )  # fmt: skip
    every_channel_is_right(path)


def test_axes_that_tifffile_names_are_believed(tmp_path: Path) -> None:
    for axes, voxels in (("ZCYX", VOXELS), ("CZYX", VOXELS.transpose(1, 0, 2, 3))):
        tifffile.imwrite(
            tmp_path / "a.tif", voxels, photometric="minisblack", metadata={"axes": axes}
        )
        every_channel_is_right(tmp_path / "a.tif")


@pytest.mark.parametrize(
    "layout",
    [
        {},
        {"compression": "zlib", "rowsperstrip": 6, "predictor": True},
        {"tile": (16, 16)},
        {"byteorder": ">", "rowsperstrip": 7},
        {"compression": "lzw", "tile": (16, 16), "byteorder": ">"},
    ],
    ids=str,
)
@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_samples_of_a_pixel_are_channels(
    tmp_path: Path, planar: Any, layout: dict[str, Any]
) -> None:
    voxels = VOXELS if planar == "separate" else np.moveaxis(VOXELS, 1, -1)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, voxels, photometric="minisblack", planarconfig=planar, **layout)

    every_channel_is_right(path)


@pytest.mark.parametrize("order", ["ZCT", "CZT", "TZC", "ZTC", "CTZ", "TCZ"])
@pytest.mark.parametrize("blocks", ["", '<TiffData IFD="0" PlaneCount="12"/>', "<TiffData/>"])
def test_any_order_of_dimensions_is_followed(tmp_path: Path, order: str, blocks: str) -> None:
    pages = VOXELS if order.index("C") < order.index("Z") else VOXELS.swapaxes(0, 1)
    path = written(
        tmp_path / "a.tif", pages.reshape(-1, Y, X), ome(tmp_path / "a.tif", order, blocks)
    )

    every_channel_is_right(path)


def test_planes_in_any_order_are_found_by_their_blocks(tmp_path: Path) -> None:
    places = [(z, c) for z in range(Z) for c in range(C)]
    shuffled = [places[k] for k in np.random.default_rng(1).permutation(len(places))]
    blocks = "".join(
        f'<TiffData IFD="{k}" FirstZ="{z}" FirstC="{c}"/>' for k, (z, c) in enumerate(shuffled)
    )
    pages = np.stack([VOXELS[place] for place in shuffled])
    path = written(tmp_path / "a.tif", pages, ome(tmp_path / "a.tif", "ZCT", blocks))

    every_channel_is_right(path)


def test_samples_and_pages_make_up_ome_channels(tmp_path: Path) -> None:
    pixels = np.stack([VOXELS[:, 0], VOXELS[:, 1]], -1)
    path = written(
        tmp_path / "a.tif", pixels, ome(tmp_path / "a.tif", "CZT", "<TiffData/>", SizeC=2),
        planarconfig="contig",
    )  # fmt: skip

    np.testing.assert_array_equal(read(path, channel=1), VOXELS[:, 1])
    refuse(path, "2 channels")


def files_of(folder: Path, names: dict[str, tuple[int, int]], missing: str = "") -> list[Path]:
    """One file a plane, each with the whole OME-XML."""
    blocks = "".join(
        f'<TiffData FirstZ="{z}" FirstC="{c}" IFD="0" PlaneCount="1">'
        f'<UUID FileName="{name}">urn:uuid:{name}</UUID></TiffData>'
        for name, (z, c) in names.items()
    )
    return [
        written(folder / name, VOXELS[place], ome(folder / name, "ZCT", blocks))
        for name, place in names.items()
        if name != missing
    ]


NAMES = {f"b_C{c}_z{z}.ome.tif": (z, c) for z in range(Z) for c in range(C)}


def test_an_ome_tiff_of_many_files_is_read_from_any_of_them_and_from_its_folder(
    tmp_path: Path,
) -> None:
    files = files_of(tmp_path, NAMES)

    for path in (files[0], files[7], tmp_path):
        every_channel_is_right(path)
    assert any("12 files" in note for note in open_source(tmp_path, channel=0).notes)
    assert open_source(tmp_path, channel=2).identity.files == Z
    tifffile.imwrite(tmp_path / "z.tif", VOXELS[0, 0])
    refuse(tmp_path, "holds 1 files that the OME-XML of .* does not name: z.tif", channel=0)


def test_names_without_any_order_are_no_hindrance_to_ome(tmp_path: Path) -> None:
    names = {
        f"{name}.tif": place for name, place in zip("qwertyuiopas", NAMES.values(), strict=True)
    }
    files_of(tmp_path, names)

    every_channel_is_right(tmp_path)


def test_missing_files_of_an_ome_tiff_are_all_named(tmp_path: Path) -> None:
    files = files_of(tmp_path, NAMES)
    for file in files[5:10]:
        file.unlink()

    refuse(files[0], "12 files, of which 5 are missing: b_C.*; and 2 more", channel=0)


def test_a_renamed_file_is_still_itself(tmp_path: Path) -> None:
    block = '<TiffData><UUID FileName="was.tif">urn:uuid:x</UUID></TiffData>'
    pages = VOXELS.swapaxes(0, 1).reshape(-1, Y, X)
    every_channel_is_right(written(tmp_path / "now.tif", pages, ome(tmp_path, "ZCT", block)))


@pytest.mark.parametrize(
    "name", ["../b.tif", "/etc/passwd", "sub/b.tif", "..", "c:\\b.tif", "l.tif"]
)
def test_files_outside_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "f"
    folder.mkdir()
    written(tmp_path / "b.tif", VOXELS[1, 0], "x")
    (folder / "l.tif").symlink_to(tmp_path / "b.tif")
    blocks = "".join(
        f'<TiffData FirstZ="{k}"><UUID FileName="{file}">urn:uuid:{file}</UUID></TiffData>'
        for k, file in enumerate(("a.tif", name))
    )
    path = written(
        folder / "a.tif", VOXELS[0, 0], ome(folder / "a.tif", "ZCT", blocks, SizeZ=2, SizeC=1)
    )

    refuse(path, "not in the same folder")


def test_a_companion_file_describes_files_beside_it(tmp_path: Path) -> None:
    blocks = "".join(
        f'<TiffData FirstC="{c}" PlaneCount="{Z}"><UUID FileName="c{c}.tif">urn:uuid:{c}</UUID>'
        "</TiffData>"
        for c in range(C)
    )
    (tmp_path / "b.companion.ome").write_text(ome(tmp_path / "b.companion.ome", "ZCT", blocks))
    for c in range(C):
        written(
            tmp_path / f"c{c}.tif", VOXELS[:, c],
            f'{HEAD}><BinaryOnly MetadataFile="b.companion.ome" UUID="urn:uuid:1"/></OME>',
        )  # fmt: skip

    every_channel_is_right(tmp_path / "c1.tif")
    (tmp_path / "b.companion.ome").unlink()
    refuse(tmp_path / "c1.tif", "described in b.companion.ome, which cannot be read")


def test_several_ome_images_are_listed_and_one_can_be_chosen(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif", ome=True) as writer:
        for name, part in (
            ("one", VOXELS[:2, 0]),
            ("two", VOXELS[:, 1]),
            ("label image", VOXELS[0]),
        ):
            writer.write(part, photometric="minisblack", metadata={"axes": "ZYX", "Name": name})

    refuse(tmp_path / "a.tif", r"2 OME images .* --dataset: 0 \(one\), 1 \(two\)")
    for dataset in ("1", "two"):
        np.testing.assert_array_equal(read(tmp_path / "a.tif", dataset=dataset), VOXELS[:, 1])
    with pytest.raises(UsageError, match="no image 'three'"):
        open_source(tmp_path / "a.tif", dataset="three")


@pytest.mark.parametrize(
    ("facts", "blocks", "reason"),
    [
        ({"SizeZ": 5}, "", "declares 15 planes and holds 12 .lacks z"),
        ({"SizeZ": 10**9}, "", "declares 3000000000 planes and holds 12"),
        ({"SizeZ": "many"}, "", "SizeZ as 'many'"),
        ({"SizeZ": -4}, "", "SizeZ as '-4'"),
        ({"SizeY": 21}, "", r"\(20, 18\) voxels .* its OME-XML says \(21, 18\)"),
        ({"DimensionOrder": "ZCTXY"}, "", "unknown order of dimensions"),
        ({"SizeT": 2, "SizeC": 1}, "", "time series of 2"),
        ({}, '<TiffData IFD="0" FirstZ="7"/>', "places a plane at z 7"),
        ({}, '<TiffData IFD="0"/><TiffData IFD="1"/>', "plane z 0 channel 0 twice"),
        ({}, '<TiffData IFD="-1"/>', "IFD as '-1'"),
        ({}, '<TiffData IFD="99999999"/>', "holds 0"),
    ],
)  # fmt: skip
def test_ome_xml_that_contradicts_the_pages_is_refused(
    tmp_path: Path, facts: dict[str, Any], blocks: str, reason: str
) -> None:
    text = ome(tmp_path / "a.tif", "ZCT", blocks, **facts)
    path = written(tmp_path / "a.tif", VOXELS.reshape(-1, Y, X), text)

    refuse(path, reason, channel=0)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (HEAD + "><Image>", "OME-XML is damaged"),
        ('<!DOCTYPE x [<!ENTITY a "b">]>' + HEAD + "/>", "defines entities"),
        (HEAD + "/>", "holds no OME image"),
        (HEAD + "><Image/></OME>", "describes no pixels"),
        ("ImageJ=1.5\nimages=12\nslices=5\nchannels=2\n", "contradicts itself"),
        ("ImageJ=1.5\nimages=many\n", "images='many'"),
        ("ImageJ=1.5\nimages=13\nslices=13\n", "declares 13 planes and holds 12"),
    ],
)
def test_damaged_descriptions_are_refused(tmp_path: Path, text: str, reason: str) -> None:
    refuse(written(tmp_path / "a.tif", VOXELS.reshape(-1, Y, X), text), reason)


def test_values_that_imagej_shows_otherwise_are_noted(tmp_path: Path) -> None:
    text = "ImageJ=1.5\nimages=12\ncf=0\nc0=-32768\nc1=1\n"
    source = open_source(written(tmp_path / "a.tif", VOXELS.reshape(-1, Y, X), text))

    assert source.shape == (12, Y, X)
    assert any("1 x value + -32768" in note for note in source.notes)
