"""Files as the published description of Imaris 5.5 lays them out, written with h5py."""

import gc
import hashlib
import pickle
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
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

SHAPE = (9, 20, 27)
CHUNK = (4, 8, 16)
EXTENT = {
    "ExtMin0": "100", "ExtMin1": "-20.5", "ExtMin2": "4", "Unit": "um",
    "ExtMax0": "113.5", "ExtMax1": "-10.5", "ExtMax2": "22",
}  # fmt: skip


def _characters(text: str) -> NDArray[np.bytes_]:
    """Imaris keeps an attribute as an array of single characters."""
    return np.array([c.encode() for c in text], "S1")


def _write_channel(group: h5py.Group, data: NDArray[Any], chunk: tuple[int, ...]) -> None:
    """Data are filled up to whole chunks; the attributes say where they end."""
    padded = np.pad(data, [(0, -n % c) for n, c in zip(data.shape, chunk, strict=True)])
    padded[data.shape[0] :] = 199
    group.create_dataset("Data", data=padded, chunks=chunk, compression="gzip", compression_opts=2)
    for axis, size in zip("ZYX", data.shape, strict=True):
        group.attrs[f"ImageSize{axis}"] = _characters(str(size))
    group.attrs["HistogramMin"] = _characters("0.000")
    group.create_dataset("Histogram", data=np.zeros(256, "u8"))


@pytest.fixture(scope="module")
def voxels() -> NDArray[np.uint16]:
    return np.random.default_rng(8).integers(0, 3000, SHAPE).astype(np.uint16)


@pytest.fixture
def save(tmp_path: Path, voxels: NDArray[np.uint16]) -> Callable[..., Path]:
    def write(
        channels: int = 1,
        times: int = 1,
        image: dict[str, str] | None = None,
        data: NDArray[Any] | None = None,
    ) -> Path:
        first = voxels if data is None else data
        path = tmp_path / "brain.ims"
        with h5py.File(path, "w") as file:
            file.attrs["ImarisVersion"] = _characters("5.5.0")
            file.attrs["DataSetDirectoryName"] = _characters("DataSet")
            for level, time, channel in np.ndindex(2, times, channels):
                name = f"DataSet/ResolutionLevel {level}/TimePoint {time}/Channel {channel}"
                step = 1 + level
                part = (first // (1 + channel) + time)[:, ::step, ::step]
                _write_channel(file.create_group(name), part, CHUNK)
            info = file.create_group("DataSetInfo/Image")
            for key, value in (EXTENT if image is None else image).items():
                info.attrs[key] = _characters(value)
            for channel in range(channels):
                file.create_group(f"DataSetInfo/Channel {channel}")
            file.create_dataset("Thumbnail/Data", data=np.zeros((8, 32), "u1"))
        return path

    return write


def whole(path: Path, **choice: Any) -> NDArray[Any]:
    source = open_source(path, **choice)
    return source.read(Box.of_shape(source.shape))


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "f4"])
def test_voxels_come_back_without_the_padding(
    save: Callable[..., Path], voxels: NDArray[np.uint16], dtype: str
) -> None:
    path = save(data=voxels.astype(dtype))
    source = open_source(path)

    assert (source.format, source.shape, source.unit) == ("Imaris", SHAPE, CHUNK)
    assert source.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(whole(path), voxels.astype(dtype))
    with pytest.raises(ValueError, match="leaves the volume"):
        source.read(Box((0, 0, 0), (10, 1, 1)))  # stored, but only to fill up a chunk


def test_any_window_is_a_crop_of_the_whole(
    save: Callable[..., Path], voxels: NDArray[np.uint16]
) -> None:
    source = open_source(save())

    @settings(max_examples=30)
    @given(st.tuples(*(st.tuples(st.integers(0, n), st.integers(0, n)) for n in SHAPE)))
    def law(ends: tuple[tuple[int, int], ...]) -> None:
        start, stop = (tuple(f(a) for a in ends) for f in (min, max))
        box = Box(start, stop)  # type: ignore[arg-type]
        np.testing.assert_array_equal(source.read(box), voxels[box.slices])

    law()


def test_extents_are_edges_and_the_origin_is_the_centre_of_a_voxel(
    save: Callable[..., Path],
) -> None:
    source = open_source(save())

    assert source.spacing_um == pytest.approx((18 / 9, 10 / 20, 13.5 / 27))
    assert source.origin_um == pytest.approx((4 + 1, -20.5 + 0.25, 100 + 0.25))
    assert source.notes == ()


@pytest.mark.parametrize(
    ("change", "spacing", "note"),
    [
        ({"Unit": "nm"}, (2e-3, 0.5e-3, 0.5e-3), None),
        ({"Unit": "mm"}, (2e3, 0.5e3, 0.5e3), None),
        ({"Unit": ""}, (2.0, 0.5, 0.5), "no unit is stated"),
        ({"Unit": "cubit"}, None, "cubit"),
        ({"ExtMax0": "100"}, None, "no size"),
        ({"ExtMax1": "-30"}, None, "no size"),
        ({"ExtMin2": "nan"}, None, "no size"),
        ({"ExtMax2": "inf"}, None, "no size"),
        ({"ExtMin0": "a lot"}, None, "no numbers"),
    ],
)
def test_extents_that_are_no_lengths_leave_the_spacing_unknown(
    save: Callable[..., Path],
    change: dict[str, str],
    spacing: tuple[float, float, float] | None,
    note: str | None,
) -> None:
    source = open_source(save(image={**EXTENT, **change}))

    assert source.spacing_um == (None if spacing is None else pytest.approx(spacing))
    assert len(source.notes) == (note is not None)
    assert note is None or note in source.notes[0]
    assert spacing is not None or source.origin_um == (0.0, 0.0, 0.0)


def test_the_recording_gives_the_spacing_where_there_are_no_extents(
    save: Callable[..., Path],
) -> None:
    recording = {
        "RecordingEntrySampleSpacing": "0.25", "RecordingEntryLineSpacing": "0.5",
        "RecordingEntryPlaneSpacing": "2", "Unit": "um",
    }  # fmt: skip
    assert open_source(save(image=recording)).spacing_um == pytest.approx((2, 0.5, 0.25))
    assert open_source(save(image={})).spacing_um is None


def test_several_channels_want_one_chosen(
    save: Callable[..., Path], voxels: NDArray[np.uint16]
) -> None:
    path = save(channels=12)
    with pytest.raises(VolumeError, match="12 channels"):
        open_source(path)
    with pytest.raises(UsageError, match="channel 12 does not exist"):
        open_source(path, channel=12)
    assert open_source(path, channel=0).channels == 12
    for channel in (0, 2, 10):  # 10 comes after 9, not after 1
        np.testing.assert_array_equal(whole(path, channel=channel), voxels // (1 + channel))


def test_several_time_points_are_refused_unless_an_array_is_named(
    save: Callable[..., Path], voxels: NDArray[np.uint16]
) -> None:
    path = save(times=3)
    with pytest.raises(VolumeError, match="3 time points"):
        open_source(path)

    name = "DataSet/ResolutionLevel 0/TimePoint 2/Channel 0/Data"
    np.testing.assert_array_equal(whole(path, dataset=name), voxels + 2)
    with pytest.raises(UsageError, match="no dataset"):
        open_source(path, dataset=name.replace("2", "7"))


def test_a_lower_resolution_has_larger_voxels_in_the_same_place(
    save: Callable[..., Path], voxels: NDArray[np.uint16]
) -> None:
    path = save()
    name = "/DataSet/ResolutionLevel 1/TimePoint 0/Channel 0/Data"
    source = open_source(path, dataset=name)

    np.testing.assert_array_equal(whole(path, dataset=name), voxels[:, ::2, ::2])
    assert source.spacing_um == pytest.approx((2, 1, 13.5 / 14))
    assert source.origin_um == pytest.approx((5, -20, 100 + 13.5 / 28))


def test_an_array_that_is_not_imaris_s_own_is_read_plainly(save: Callable[..., Path]) -> None:
    path = save()
    with h5py.File(path, "a") as file:
        file["extra"] = np.ones((2, 3, 4), "u1")
    assert open_source(path, dataset="extra").format == "HDF5"


def _edit(path: Path, **sizes: str | None) -> None:
    with h5py.File(path, "a") as file:
        attrs = file["DataSet/ResolutionLevel 0/TimePoint 0/Channel 0"].attrs
        for key, value in sizes.items():
            del attrs[key]
            if value is not None:
                attrs[key] = _characters(value)


@pytest.mark.parametrize(
    "size", ["0", "28000", "33", "16", "1", "-27", "27.5", "many", "９", "9" * 40]
)
def test_a_size_that_contradicts_what_is_stored_is_refused(
    save: Callable[..., Path], size: str
) -> None:
    path = save()
    _edit(path, ImageSizeX=size)
    with pytest.raises(VolumeError, match=r"\(12, 24, 32\).*says it is 9 x 20 x"):
        open_source(path)


def test_a_missing_size_is_taken_from_the_image_if_it_fits(
    save: Callable[..., Path], voxels: NDArray[np.uint16]
) -> None:
    known = {**EXTENT, "X": "27", "Y": "20", "Z": "9"}
    for image, shape in ((known, SHAPE), ({**known, "X": "1"}, (12, 24, 32)), ({}, (12, 24, 32))):
        path = save(image=image)
        _edit(path, ImageSizeX=None)
        source = open_source(path)
        assert source.shape == shape
        assert any("states no size" in note for note in source.notes) == (shape != SHAPE)
        np.testing.assert_array_equal(whole(path)[:9, :20, :27], voxels)


def test_an_incomplete_file_is_refused(save: Callable[..., Path]) -> None:
    for lost, reason in (
        ("DataSet/ResolutionLevel 0", "TimePoint 0"),
        ("DataSet/ResolutionLevel 0/TimePoint 0/Channel 0", "no channel"),
        ("DataSet/ResolutionLevel 0/TimePoint 0/Channel 0/Data", "no dataset"),
    ):
        path = save()
        with h5py.File(path, "a") as file:
            del file[lost]
        with pytest.raises((VolumeError, UsageError), match=reason):
            open_source(path)


def test_a_file_of_links_to_other_files_is_refused(save: Callable[..., Path]) -> None:
    path = save()
    path.rename(path.with_name("tile.ims"))
    with h5py.File(path, "w") as file:
        file["DataSet"] = h5py.ExternalLink("tile.ims", "/DataSet")
        file["DataSetInfo"] = h5py.ExternalLink("tile.ims", "/DataSetInfo")
    with pytest.raises(VolumeError, match=r"another file \(b'tile.ims'\)"):
        open_source(path)


def test_only_the_first_of_several_images_is_read(save: Callable[..., Path]) -> None:
    path = save()
    with h5py.File(path, "a") as file:
        file.create_group("DataSet1")
    assert open_source(path).notes == ("only the first of 2 images is read",)


def test_threads_and_processes_read_what_one_does(
    save: Callable[..., Path], voxels: NDArray[np.uint16]
) -> None:
    source = pickle.loads(pickle.dumps(open_source(save())))
    boxes = list(Box.of_shape(SHAPE).split((2, 9, 11))) * 4
    with ThreadPoolExecutor(4) as pool:
        for box, part in zip(boxes, pool.map(source.read, boxes), strict=True):
            np.testing.assert_array_equal(part, voxels[box.slices])


def _rescue(path: Path) -> NDArray[Any] | None:
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    gc.collect()  # what an error still holds keeps the file of before open
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            source = open_source(path)
            stop = tuple(min(n, 64) for n in source.shape)
            return source.read(Box((0, 0, 0), stop))  # type: ignore[arg-type]
    except (VolumeError, UsageError) as error:
        message = str(error)
    finally:
        assert hashlib.sha256(path.read_bytes()).hexdigest() == before
    assert "\n" not in message
    return None


def test_a_file_cut_anywhere_is_refused(save: Callable[..., Path]) -> None:
    path = save(channels=1)
    content = path.read_bytes()
    for keep in np.linspace(1, len(content) - 1, 30).astype(int):
        path.write_bytes(content[:keep])
        assert _rescue(path) is None, keep


def test_a_damaged_file_is_refused_or_read_and_never_crashes(
    save: Callable[..., Path], voxels: NDArray[np.uint16]
) -> None:
    path = save(channels=1)
    content = path.read_bytes()
    with h5py.File(path) as file:
        data = file["DataSet/ResolutionLevel 0/TimePoint 0/Channel 0/Data"].id
        places = [data.get_chunk_info(k) for k in range(data.get_num_chunks())]
    in_chunks = np.concatenate([p.byte_offset + np.arange(p.size) for p in places])
    headers = np.setdiff1d(np.arange(len(content)), in_chunks)
    refused = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        damaged = bytearray(content)
        if seed % 3:
            for at in rng.choice(headers, 20 + seed):
                damaged[at] ^= 1 << int(rng.integers(8))
        else:
            damaged[rng.choice(in_chunks)] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        read = _rescue(path)
        refused += read is None
        if not seed % 3:
            assert read is None or np.array_equal(read, voxels)
    assert refused > 20
