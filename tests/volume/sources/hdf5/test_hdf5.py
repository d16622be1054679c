import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from neuroconn.errors import UsageError, VolumeError
from neuroconn.geometry import Box
from neuroconn.volume.sources import open_source

SHAPE = (11, 18, 21)
STORED: dict[str, dict[str, Any]] = {
    "contiguous": {},
    "plain chunks": {"chunks": (4, 8, 8)},
    "gzip": {"chunks": (4, 8, 8), "compression": "gzip"},
    "shuffled": {"chunks": (4, 8, 8), "shuffle": True},
    "shuffled gzip": {"chunks": (4, 8, 8), "compression": "gzip", "shuffle": True},
    "checked gzip": {"chunks": (4, 8, 8), "compression": "gzip", "fletcher32": True},
    "lzf": {"chunks": (4, 8, 8), "compression": "lzf"},
}


@pytest.fixture(scope="module")
def voxels() -> NDArray[np.uint16]:
    return np.random.default_rng(5).integers(0, 4000, SHAPE).astype(np.uint16)


@pytest.fixture
def save(tmp_path: Path, voxels: NDArray[np.uint16]) -> Callable[..., Path]:
    """Write one dataset ``volume/raw`` with attributes."""

    def write(data: Any = None, attrs: dict[str, Any] | None = None, **how: Any) -> Path:
        path = tmp_path / "brain.h5"
        with h5py.File(path, "w") as file:
            dataset = file.create_dataset(
                "volume/raw", data=voxels if data is None else data, **how
            )
            dataset.attrs.update(attrs or {})
        return path

    return write


def whole(path: Path, **choice: Any) -> NDArray[Any]:
    source = open_source(path, **choice)
    return source.read(Box.of_shape(source.shape))


@pytest.mark.parametrize("how", STORED.values(), ids=STORED)
@pytest.mark.parametrize("dtype", ["u1", "<u2", ">u2", ">i2", "<u4", ">f4", "f8"])
def test_voxels_come_back_in_native_byte_order(
    save: Callable[..., Path], voxels: NDArray[np.uint16], how: dict[str, Any], dtype: str
) -> None:
    data = voxels.astype(dtype)

    read = whole(save(data, **how))

    assert read.dtype == data.dtype.newbyteorder("=")
    assert read.dtype.isnative
    np.testing.assert_array_equal(read, data)


@pytest.mark.parametrize("how", STORED.values(), ids=STORED)
def test_any_window_is_a_crop_of_the_whole(
    tmp_path: Path, voxels: NDArray[np.uint16], how: dict[str, Any]
) -> None:
    with h5py.File(tmp_path / "brain.h5", "w") as file:
        file.create_dataset("raw", data=voxels, **how)
    source = open_source(tmp_path / "brain.h5")

    @settings(max_examples=20)
    @given(st.tuples(*(st.tuples(st.integers(0, n), st.integers(0, n)) for n in SHAPE)))
    def law(ends: tuple[tuple[int, int], ...]) -> None:
        start, stop = (tuple(f(a) for a in ends) for f in (min, max))
        box = Box(start, stop)  # type: ignore[arg-type]
        np.testing.assert_array_equal(source.read(box), voxels[box.slices])

    law()


def test_the_unit_is_a_chunk_or_a_row(save: Callable[..., Path]) -> None:
    assert open_source(save(chunks=(4, 8, 8))).unit == (4, 8, 8)
    assert open_source(save()).unit == (1, 1, 21)


def test_a_box_outside_is_refused(save: Callable[..., Path]) -> None:
    with pytest.raises(ValueError, match="leaves the volume"):
        open_source(save()).read(Box((0, 0, 0), (1, 1, 22)))


@pytest.mark.parametrize(
    ("attrs", "spacing", "note"),
    [
        ({}, None, None),
        ({"element_size_um": [2.0, 0.5, 0.4]}, (2.0, 0.5, 0.4), None),
        ({"element_size_um": np.float32([2.0, 0.5, 0.5])}, (2.0, 0.5, 0.5), None),
        ({"resolution": [40.0, 4.0, 4.0], "units": "nm"}, (0.04, 0.004, 0.004), None),
        ({"resolution": [1, 2, 3], "unit": ["um", "um", "um"]}, (1.0, 2.0, 3.0), None),
        ({"resolution": [40.0, 4.0, 4.0]}, None, "without a unit"),
        ({"resolution": [4.0, 4.0], "units": "nm"}, None, "ignored"),
        ({"element_size_um": [0.0, 1.0, 1.0]}, None, "ignored"),
        ({"element_size_um": [np.nan, 1.0, 1.0]}, None, "ignored"),
        ({"element_size_um": [-1.0, 1.0, 1.0]}, None, "ignored"),
        ({"element_size_um": "large"}, None, "no numbers"),
        ({"resolution": [1.0, 1.0, 1.0], "units": "furlong"}, None, "furlong"),
    ],
)
def test_spacing_is_what_the_file_says_or_unknown(
    save: Callable[..., Path],
    attrs: dict[str, Any],
    spacing: tuple[float, float, float] | None,
    note: str | None,
) -> None:
    source = open_source(save(attrs=attrs))

    assert source.spacing_um == (None if spacing is None else pytest.approx(spacing))
    assert len(source.notes) == (note is not None)
    assert note is None or note in source.notes[0]


def test_a_cremi_volume_is_in_nanometres(tmp_path: Path, voxels: NDArray[np.uint16]) -> None:
    with h5py.File(tmp_path / "sample_A.hdf", "w") as file:
        file.create_dataset("volumes/raw", data=voxels).attrs["resolution"] = [40.0, 4.0, 4.0]

    assert open_source(tmp_path / "sample_A.hdf").spacing_um == pytest.approx((0.04, 0.004, 0.004))


def _axistags(axes: str) -> dict[str, str]:
    return {"axistags": json.dumps({"axes": [{"key": a, "typeFlags": 2} for a in axes]})}


@pytest.mark.parametrize(
    ("axes", "how"),
    [
        *((axes, "axes") for axes in ("xyz", "yxz", "czyx", "zyxc", "tzyxc", "cxzyt")),
        *(("yxz", how) for how in ("axistags", "list", "labels")),
    ],
)
def test_named_axes_are_put_in_order(
    tmp_path: Path, voxels: NDArray[np.uint16], axes: str, how: str
) -> None:
    both = np.stack([voxels[None], voxels[None] // 2])  # c, t, z, y, x
    kept = both[tuple(slice(None) if a in axes else 0 for a in "ctzyx")]
    names = [a for a in "ctzyx" if a in axes]
    data = kept.transpose([names.index(a) for a in axes])
    path = tmp_path / "brain.h5"
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset("raw", data=data, chunks=tuple(min(4, n) for n in data.shape))
        if how == "axistags":
            dataset.attrs.update(_axistags(axes))
        elif how == "axes":
            dataset.attrs["axes"] = np.bytes_(axes.upper())
        elif how == "list":
            dataset.attrs["axes"] = list(axes)
        else:
            for dimension, name in zip(dataset.dims, axes, strict=True):
                dimension.label = name

    if "c" not in axes:
        np.testing.assert_array_equal(whole(path), voxels)
        return
    assert open_source(path, channel=1).channels == 2
    np.testing.assert_array_equal(whole(path, channel=0), voxels)
    np.testing.assert_array_equal(whole(path, channel=1), voxels // 2)
    with pytest.raises(VolumeError, match="2 channels"):
        open_source(path)
    with pytest.raises(UsageError, match="channel 2"):
        open_source(path, channel=2)


@pytest.mark.parametrize(
    ("shape", "attrs", "reason"),
    [
        ((2, 3, 4, 5), {}, "no axis is guessed"),
        ((2, 3, 4, 5), {"axes": "qzyx"}, "no axis is guessed"),
        ((2, 3, 4, 5), {"axistags": "{broken"}, "no axis is guessed"),
        ((2, 3, 4, 5), {"axes": "tzyx"}, "time series of 2"),
        ((3, 4, 5), {"axes": "yxc"}, "axes y, x, c"),
        ((4, 5), {}, "2 dimensions"),
        ((0, 4, 5), {}, "no voxel"),
        ((), {}, "no voxel"),
        ((4, 5, 3), {"IMAGE_SUBCLASS": np.bytes_("IMAGE_TRUECOLOR")}, "colour"),
    ],
)
def test_what_is_no_volume_is_refused_by_name(
    save: Callable[..., Path], shape: tuple[int, ...], attrs: dict[str, Any], reason: str
) -> None:
    with pytest.raises(VolumeError, match=reason):
        open_source(save(np.zeros(shape, "u2"), attrs=attrs))


@pytest.mark.parametrize("dtype", ["c8", "S4", "?", [("a", "u1"), ("b", "u2")]])
def test_voxels_that_are_no_numbers_are_refused(save: Callable[..., Path], dtype: Any) -> None:
    with pytest.raises(VolumeError, match="integers or real numbers"):
        open_source(save(np.zeros((3, 4, 5), dtype)))


def test_the_only_volume_is_taken_and_several_are_listed(
    tmp_path: Path, voxels: NDArray[np.uint16]
) -> None:
    path = tmp_path / "brain.h5"
    with h5py.File(path, "w") as file:
        file["points"], file["a/raw"] = np.zeros((7, 3)), voxels
    np.testing.assert_array_equal(whole(path), voxels)

    with h5py.File(path, "a") as file:
        file["a/labels"] = voxels // 2
    with pytest.raises(VolumeError, match=r"2 volumes.*a/labels.*a/raw"):
        open_source(path)
    np.testing.assert_array_equal(whole(path, dataset="a/labels"), voxels // 2)
    np.testing.assert_array_equal(whole(path, dataset="/a/raw"), voxels)
    for missing in ("nothing", "a/raw/deeper", "a"):
        with pytest.raises(UsageError, match=f"no dataset {missing}; it has a/labels, a/raw"):
            open_source(path, dataset=missing)


def test_a_file_without_a_volume_says_what_it_has(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "none.h5", "w") as file:
        file["a"], file["b"] = np.zeros((7, 3)), np.zeros((2, 3, 4, 5))
    with pytest.raises(VolumeError, match=r"only a \(7, 3\), b \(2, 3, 4, 5\)"):
        open_source(tmp_path / "none.h5")
    with h5py.File(tmp_path / "empty.h5", "w"):
        pass
    with pytest.raises(VolumeError, match="no three-dimensional array"):
        open_source(tmp_path / "empty.h5")


def test_soft_links_inside_the_file_are_followed(tmp_path: Path, voxels: NDArray[Any]) -> None:
    path = tmp_path / "brain.h5"
    with h5py.File(path, "w") as file:
        file["deep/group/raw"] = voxels
        file["absolute"] = h5py.SoftLink("/deep/group")
        file["deep/relative"] = h5py.SoftLink("group/raw")
        file["circle"] = h5py.SoftLink("/circle")
        file["dangling"] = h5py.SoftLink("/nowhere")
        file["deep/group/up"] = file["/"]  # a hard link: the walk must not go round for ever

    np.testing.assert_array_equal(whole(path), voxels)
    np.testing.assert_array_equal(whole(path, dataset="absolute/raw"), voxels)
    np.testing.assert_array_equal(whole(path, dataset="deep/relative"), voxels)
    with pytest.raises(VolumeError, match="circle"):
        open_source(path, dataset="circle")
    with pytest.raises(UsageError, match="no dataset dangling"):
        open_source(path, dataset="dangling")


def test_nothing_leads_into_another_file(tmp_path: Path, voxels: NDArray[np.uint16]) -> None:
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["raw"] = voxels
    voxels.tofile(tmp_path / "raw.bin")
    layout = h5py.VirtualLayout(SHAPE, np.uint16)
    layout[:] = h5py.VirtualSource(tmp_path / "other.h5", "raw", SHAPE)
    path = tmp_path / "brain.h5"
    with h5py.File(path, "w") as file:
        file["linked"] = h5py.ExternalLink("other.h5", "/raw")
        file["through"] = h5py.SoftLink("/folder/raw")
        file["folder"] = h5py.ExternalLink("other.h5", "/")
        file["lost"] = h5py.ExternalLink("no such file", "/raw")
        file.create_dataset("raw", SHAPE, "u2", external=[(tmp_path / "raw.bin", 0, voxels.nbytes)])
        file.create_virtual_dataset("virtual", layout)

    for name, reason in (
        ("linked", "other.h5"),
        ("folder/raw", "other.h5"),
        ("through", "other.h5"),
        ("lost", "no such file"),
        ("raw", "stored outside the file"),
        ("virtual", "a virtual dataset"),
    ):
        with pytest.raises(VolumeError, match=reason):
            open_source(path, dataset=name)


def test_external_links_are_no_candidates(tmp_path: Path, voxels: NDArray[np.uint16]) -> None:
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["raw"] = voxels
    with h5py.File(tmp_path / "brain.h5", "w") as file:
        file["raw"] = h5py.ExternalLink("other.h5", "/raw")
    with pytest.raises(VolumeError, match="links to other files are not followed"):
        open_source(tmp_path / "brain.h5")


def test_a_missing_filter_is_named_with_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "hdf5plugin", None)
    path = tmp_path / "brain.h5"
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_chunk((4, 4, 4))
    plist.set_filter(32099, h5py.h5z.FLAG_OPTIONAL)
    with h5py.File(path, "w") as file:
        space = h5py.h5s.create_simple((4, 4, 4))
        dataset = h5py.h5d.create(file.id, b"raw", h5py.h5t.NATIVE_UINT16, space, plist)
        dataset.write_direct_chunk((0, 0, 0), b"compressed", 0)

    with pytest.raises(VolumeError, match=r"filter 32099.*pip install hdf5plugin"):
        open_source(path)


def test_h5py_is_asked_for_by_name(
    save: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save()
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(VolumeError, match=r"pip install 'neuroconn\[formats\]'"):
        open_source(path)


def test_absent_chunks_are_noted_and_an_empty_array_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "brain.h5"
    with h5py.File(path, "w") as file:
        part = file.create_dataset("part", (8, 8, 8), "u2", chunks=(4, 4, 4), fillvalue=7)
        part[:4, :4, :4] = 1
        file.create_dataset("none", (8, 8, 8), "u2", chunks=(4, 4, 4))
        file.create_dataset("unwritten", (8, 8, 8), "u2")
        vast = file.create_dataset("vast", (10**5,) * 3, "u2", chunks=(4, 4, 4))
        vast[:4, :4, :4] = 1
        file.create_dataset("beyond", (2**40,) * 2 + (1,), "u2", chunks=(4, 4, 1))

    source = open_source(path, dataset="part")
    assert "7 chunks of part were never written" in source.notes[0]
    expected = np.full((8, 8, 8), 7)
    expected[:4, :4, :4] = 1
    np.testing.assert_array_equal(source.read(Box.of_shape(source.shape)), expected)
    for name, reason in (
        ("none", "0 of 8 chunks"),
        ("unwritten", "0 are stored"),
        ("vast", "1 of 15625000000000 chunks"),
        ("beyond", "more than any disk holds"),
    ):
        with pytest.raises(VolumeError, match=reason):
            open_source(path, dataset=name)
