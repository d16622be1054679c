"""Hundreds of damaged sources: refused in one line, or converted to the right voxels.

What a format cannot show is left out: a bit that flips inside voxels stored without a checksum.
"""

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import nibabel
import nrrd
import numpy as np
import pytest
import SimpleITK
import tensorstore
import tifffile
import zarr

from neuroconn.errors import NeuroconnError
from neuroconn.geometry import Box
from neuroconn.vaa3d import TeraflyOptions, TeraflyPlan, write_terafly
from neuroconn.vaa3d.v3draw import write_v3draw
from neuroconn.volume import convert, open_image, read_region

MUTATIONS = 14
SHAPE = (6, 40, 36)
VOXELS = np.random.default_rng(5).integers(0, 900, SHAPE).astype(np.uint16)
SMALL: dict[str, Any] = {"chunk": 8, "shard": 16, "smallest": 16, "threads": 1}


def tiff(**options: Any) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = folder / "a.tif"
        tifffile.imwrite(path, VOXELS, **{"photometric": "minisblack", **options})
        return path

    return make


def slices(folder: Path) -> Path:
    for z, plane in enumerate(VOXELS):
        tifffile.imwrite(folder / f"s_{z:03}.tif", plane, compression="zlib", rowsperstrip=8)
    return folder


def terafly(folder: Path) -> Path:
    plan = TeraflyPlan(SHAPE, "uint16", options=TeraflyOptions(tile=16, compression="zlib"))
    write_terafly(lambda box: VOXELS[box.slices], folder / "tree", plan)
    return folder / "tree"


def v3draw(folder: Path) -> Path:
    write_v3draw(folder / "a.v3draw", [VOXELS[None]], (1, *SHAPE), np.uint16)
    return folder / "a.v3draw"


def hdf5(folder: Path) -> Path:
    with h5py.File(folder / "a.h5", "w") as file:
        file.create_dataset("volume", data=VOXELS, chunks=(4, 16, 16), compression="gzip",
                            fletcher32=True)  # fmt: skip
    return folder / "a.h5"


def imaris(folder: Path) -> Path:
    path = folder / "a.ims"

    def text(value: Any) -> Any:
        return np.array([c.encode() for c in str(value)], "S1")

    with h5py.File(path, "w") as file:
        image = file.create_group("DataSetInfo/Image")
        for axis, n in zip("ZYX", SHAPE, strict=True):
            image.attrs[axis] = text(n)
        image.attrs["Unit"] = text("um")
        for k, n in enumerate(reversed(SHAPE)):
            image.attrs[f"ExtMin{k}"], image.attrs[f"ExtMax{k}"] = text("0"), text(float(n))
        channel = file.create_group("DataSet/ResolutionLevel 0/TimePoint 0/Channel 0")
        for axis, n in zip("ZYX", SHAPE, strict=True):
            channel.attrs[f"ImageSize{axis}"] = text(n)
        channel.create_dataset("Data", data=VOXELS, chunks=(4, 16, 16), compression="gzip",
                               fletcher32=True)  # fmt: skip
    return path


def n5(folder: Path) -> Path:
    spec = {
        "driver": "n5",
        "kvstore": {"driver": "file", "path": f"{folder}/a.n5/"},
        "metadata": {
            "dimensions": list(reversed(SHAPE)),
            "blockSize": [16, 16, 4],
            "dataType": "uint16",
            "compression": {"type": "gzip"},
        },
    }
    tensorstore.open(spec, create=True).result().write(VOXELS.transpose(2, 1, 0)).result()
    return folder / "a.n5"


def nrrd_file(encoding: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        nrrd.write(str(folder / "a.nrrd"), VOXELS, {"encoding": encoding}, index_order="C")
        return folder / "a.nrrd"

    return make


def nifti(name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        image = nibabel.Nifti1Image(VOXELS.transpose(2, 1, 0), np.diag([1.0, 1.0, 1.0, 1.0]))
        image.header.set_xyzt_units("micron")
        nibabel.save(image, folder / name)
        return folder / name

    return make


def metaimage(name: str, compress: bool) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(VOXELS), str(folder / name), compress)
        return folder / name

    return make


def npy(folder: Path) -> Path:
    np.save(folder / "a.npy", VOXELS)
    return folder / "a.npy"


def npz(folder: Path) -> Path:
    np.savez_compressed(folder / "a.npz", volume=VOXELS)
    return folder / "a.npz"


def zarr_array(version: int) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        codecs: Any = (
            [zarr.codecs.BloscCodec(), zarr.codecs.Crc32cCodec()] if version == 3 else "auto"
        )
        array = zarr.create_array(
            folder / "a.zarr", shape=SHAPE, chunks=(4, 16, 16), dtype="u2", zarr_format=version,
            compressors=codecs,
        )  # fmt: skip
        array[...] = VOXELS
        return folder / "a.zarr"

    return make


def brain(folder: Path) -> Path:
    tifffile.imwrite(folder / "a.tif", VOXELS, photometric="minisblack")
    convert(folder / "a.tif", folder / "brain", spacing=(1, 1, 1), **SMALL)
    (folder / "a.tif").unlink()
    return folder / "brain"


SOURCES: dict[str, tuple[Callable[[Path], Path], bool]] = {
    # name: how it is made, and whether voxels carry a checksum
    "tiff raw": (tiff(), False),
    "tiff big": (tiff(bigtiff=True), False),
    "tiff big-endian": (tiff(byteorder=">", rowsperstrip=7), False),
    "tiff imagej": (tiff(imagej=True, metadata={"axes": "ZYX"}), False),
    "tiff ome": (tiff(ome=True, metadata={"axes": "ZYX"}, compression="zlib"), True),
    "tiff zlib": (tiff(compression="zlib", rowsperstrip=8), True),
    "tiff tiled": (tiff(compression="zlib", tile=(16, 16)), True),
    "slices": (slices, True),
    "terafly": (terafly, True),
    "v3draw": (v3draw, False),
    "hdf5": (hdf5, True),
    "imaris": (imaris, True),
    "n5": (n5, True),
    "nrrd raw": (nrrd_file("raw"), False),
    "nrrd gzip": (nrrd_file("gzip"), True),
    "nifti": (nifti("a.nii"), False),
    "nifti gz": (nifti("a.nii.gz"), True),
    "mhd": (metaimage("a.mhd", False), False),
    "mha zlib": (metaimage("a.mha", True), True),
    "npy": (npy, False),
    "npz": (npz, True),
    "zarr 3": (zarr_array(3), True),
    "zarr 2": (zarr_array(2), False),
    "brain": (brain, True),
}
TEXT = (".json", ".zarray", ".zattrs", ".zgroup", ".mhd", ".xml")


def free(data: bytes, file: Path, checked: bool) -> list[int]:
    """Bytes whose damage a format can show: all, or those that are not plain voxels."""
    if checked:
        return list(range(len(data)))
    if not file.name.strip("0123456789."):
        return []  # a chunk of Zarr v2, which has no checksum
    voxels = np.zeros(len(data), bool)
    for plane in VOXELS:
        for raw in (plane.tobytes(), plane.byteswap().tobytes()):
            for row in range(0, len(raw), 72):
                at = data.find(raw[row : row + 72])
                if at >= 0:
                    voxels[at : at + 72] = True
    return np.flatnonzero(~voxels).tolist()


def mutate(path: Path, rng: random.Random, checked: bool) -> str:
    """Damage one file of a source; return what was done."""
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    file = rng.choice([f for f in files if ".neuroconn" not in f.parts])
    data = bytearray(file.read_bytes())
    places = free(bytes(data), file, checked)
    kinds = ["cut", "cut"] + (["head", "flips", "zeros", "tail"] if places else [])
    kinds += ["digit", "letter"] if file.name.endswith(TEXT) else []
    kind = rng.choice(kinds)
    where = rng.randrange(len(data))
    if kind == "cut":
        data = data[:where]
    elif kind == "tail":
        data += rng.randbytes(rng.randint(1, 40))
    elif kind in ("digit", "letter"):
        good = [k for k in places if chr(data[k]).isdigit() == (kind == "digit")]
        where = rng.choice(good)
        data[where] = rng.choice(b"0123456789" if kind == "digit" else b'aZ"}{[],:/. ')
    else:
        hit = rng.choices(places[:200] if kind == "head" else places, k=rng.randint(1, 4))
        for at in hit:
            data[at] = 0 if kind == "zeros" else data[at] ^ 1 << rng.randrange(8)
        where = hit[0]
    file.write_bytes(data)
    return f"{kind} at {where} of {file.name} ({len(data)} bytes)"


def refused(path: Path, brain: Path) -> str | None:
    """Convert; return what is said if it is refused."""
    try:
        convert(path, brain, spacing=(1, 1, 1), **SMALL)
    except NeuroconnError as error:
        return str(error)
    return None


@pytest.mark.timeout(240)
@pytest.mark.parametrize("name", SOURCES)
def test_a_damaged_source_is_refused_or_converts_to_the_right_voxels(
    tmp_path: Path, name: str
) -> None:
    make, checked = SOURCES[name]
    (tmp_path / "sound").mkdir()
    sound = make(tmp_path / "sound")
    outcomes = {"refused": 0, "unharmed": 0}

    for number in range(MUTATIONS):
        rng = random.Random(f"{name} {number}")
        folder = tmp_path / str(number)
        shutil.copytree(tmp_path / "sound", folder)
        path = folder / sound.relative_to(tmp_path / "sound")
        what = mutate(path, rng, checked)
        refusal = refused(path, folder / "brain.ome.zarr")
        if refusal is not None:
            assert "\n" not in refusal, f"{what}: {refusal}"
            outcomes["refused"] += 1
            continue
        image = open_image(folder / "brain.ome.zarr")
        assert image.shape == SHAPE, f"{what}: converted to {image.shape}"
        stored = read_region(image.array(0), Box.of_shape(SHAPE))
        wrong = int(np.count_nonzero(stored != VOXELS))
        assert not wrong, f"{what}: {wrong} wrong voxels without a word"
        outcomes["unharmed"] += 1

    assert sum(outcomes.values()) == MUTATIONS
    assert outcomes["refused"], "nothing was ever noticed"
