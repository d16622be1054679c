"""Plain Zarr arrays as sources: axes, types, what is absent, what is damaged."""

import json
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import pytest
import tensorstore
import xarray as xr
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from neuroconn.errors import UsageError, VolumeError
from neuroconn.geometry import Box
from neuroconn.volume import open_source

SHAPE = (9, 11, 13)
VOXELS = np.random.default_rng(0).integers(1, 60000, SHAPE).astype(np.uint16)
WHOLE = Box.of_shape(SHAPE)
SLASHES = {"name": "v2", "separator": "/"}
DOTS = {"name": "default", "separator": "."}
FIRST = {"shape": (8, 8, 8), "index_location": "start"}
LAYOUTS: list[dict[str, Any]] = [
    {"zarr_format": 2, "chunks": (4, 4, 4)},
    {"zarr_format": 2, "chunks": (4, 4, 4), "order": "F"},
    {"zarr_format": 2, "chunks": (4, 16, 4), "chunk_key_encoding": SLASHES},
    {"zarr_format": 2, "chunks": (9, 11, 13), "compressors": None},
    {"zarr_format": 2, "chunks": (4, 4, 4), "filters": [numcodecs.Delta(dtype="<u2")]},
    {"zarr_format": 3, "chunks": (4, 4, 4)},
    {"zarr_format": 3, "chunks": (4, 4, 4), "compressors": None},
    {"zarr_format": 3, "chunks": (4, 5, 6), "chunk_key_encoding": DOTS},
    {"zarr_format": 3, "chunks": (4, 5, 6), "chunk_key_encoding": {"name": "v2", "separator": "."}},
    {"zarr_format": 3, "chunks": (2, 4, 4), "shards": (4, 8, 16)},
    {"zarr_format": 3, "chunks": (2, 4, 4), "shards": FIRST},
]


def stored(path: Path, voxels: Any = VOXELS, **layout: Any) -> Path:
    zarr.create_array(path, data=voxels, **{"chunks": (4,) * voxels.ndim, **layout})
    return path


def boxes(data: st.DataObject) -> Box:
    a = [data.draw(st.integers(0, n - 1)) for n in SHAPE]
    b = [data.draw(st.integers(k + 1, n)) for k, n in zip(a, SHAPE, strict=True)]
    return Box((a[0], a[1], a[2]), (b[0], b[1], b[2]))


def refuse(path: Path, reason: str, error: type[Exception] = VolumeError, **choice: Any) -> None:
    with pytest.raises(error, match=reason) as caught:
        open_source(path, **choice).read(WHOLE)
    assert "\n" not in str(caught.value)


def edit(path: Path, **changes: Any) -> Path:
    name = next(n for n in ("zarr.json", ".zarray") if (path / n).is_file())
    document = json.loads((path / name).read_text())
    (path / name).write_text(json.dumps({**document, **changes}))
    return path


@pytest.fixture(scope="module", params=LAYOUTS, ids=str)
def array(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stored(tmp_path_factory.mktemp("zarr") / "a", **request.param)


def test_any_window_of_any_layout_is_a_crop_of_the_whole(array: Path) -> None:
    source = open_source(array)

    @settings(max_examples=12, deadline=None)
    @given(data=st.data())
    def holds(data: st.DataObject) -> None:
        box = boxes(data)
        np.testing.assert_array_equal(source.read(box), VOXELS[box.slices])

    holds()
    assert source.shape == SHAPE
    assert source.dtype == np.uint16
    assert source.spacing_um is None
    assert not [note for note in source.notes if "absent" in note]


def test_threads_read_the_same_and_files_stay_as_they_are(array: Path, digests: Any) -> None:
    before, source = digests(array), open_source(array)
    parts = list(WHOLE.split((2, 4, 4)))

    with ThreadPoolExecutor(4) as pool:
        read = list(pool.map(source.read, parts))

    for box, voxels in zip(parts, read, strict=True):
        np.testing.assert_array_equal(voxels, VOXELS[box.slices])
    assert digests(array) == before


def test_a_source_survives_pickling(array: Path) -> None:
    source = open_source(array)
    source.read(WHOLE)

    copy = pickle.loads(pickle.dumps(source))

    np.testing.assert_array_equal(copy.read(WHOLE), VOXELS)
    assert copy.identity == source.identity
    assert len(pickle.dumps(source)) < 2000


@pytest.mark.parametrize("driver", ["zarr", "zarr3"])
def test_what_tensorstore_wrote_is_read(tmp_path: Path, driver: str) -> None:
    chunks = (
        {"chunks": [4, 4, 4], "dtype": "<u2"}
        if driver == "zarr"
        else {
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [8, 8, 8]}},
            "codecs": [
                {
                    "name": "sharding_indexed",
                    "configuration": {
                        "chunk_shape": [4, 4, 4],
                        "codecs": [{"name": "bytes"}, {"name": "zstd"}],
                    },
                }
            ],
        }
    )
    array = tensorstore.open(
        {"driver": driver, "kvstore": f"file://{tmp_path}/a/", "metadata": chunks},
        create=True, dtype=tensorstore.uint16, shape=SHAPE,
    ).result()  # fmt: skip
    array.write(VOXELS).result()

    source = open_source(tmp_path / "a")

    assert source.unit == (4, 4, 4)
    np.testing.assert_array_equal(source.read(WHOLE), VOXELS)


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize(
    "dtype", ["uint8", ">u2", "int16", "<i4", ">u4", "int64", "float16", ">f4", "float64"]
)
def test_numbers_of_every_type_and_byte_order_are_read(
    tmp_path: Path, dtype: str, zarr_format: int
) -> None:
    voxels = (VOXELS // 3 if dtype != "uint8" else VOXELS // 300).astype(dtype)

    source = open_source(stored(tmp_path / "a", voxels, zarr_format=zarr_format))

    assert source.dtype == np.dtype(dtype).newbyteorder("=")
    read = source.read(WHOLE)
    assert read.dtype.isnative
    np.testing.assert_array_equal(read, voxels)


@pytest.mark.parametrize("dtype", ["complex64", "bool", "datetime64[s]"])
def test_what_is_no_number_is_refused(tmp_path: Path, dtype: str) -> None:
    refuse(stored(tmp_path / "a", np.zeros(SHAPE, dtype)), "integers or real numbers")


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("names", [("x", "y", "z"), ("Y", "z", "X"), ("z", "y", "x")])
def test_names_tell_which_axis_is_which(
    tmp_path: Path, names: tuple[str, ...], zarr_format: int
) -> None:
    order = [("z", "y", "x").index(name.lower()) for name in names]
    path = stored(tmp_path / "a", VOXELS.transpose(order), zarr_format=zarr_format)
    if zarr_format == 3:
        edit(path, dimension_names=list(names))
    else:
        zarr.open_array(path, mode="r+").update_attributes({"_ARRAY_DIMENSIONS": list(names)})

    source = open_source(path)

    np.testing.assert_array_equal(source.read(WHOLE), VOXELS)
    assert source.notes == ()


@pytest.mark.parametrize(
    ("names", "note"),
    [
        (None, "carry no names"),
        (["p", "q", "r"], "are named p, q, r"),
        (["plane", "y", "x"], "are named plane, y, x"),
        ([None, None, None], "carry no names"),
    ],
)
def test_unknown_names_are_taken_in_order_and_noted(
    tmp_path: Path, names: list[str] | None, note: str
) -> None:
    source = open_source(edit(stored(tmp_path / "a"), dimension_names=names))

    assert any(note in line and "taken as z, y, x" in line for line in source.notes)
    np.testing.assert_array_equal(source.read(WHOLE), VOXELS)


@pytest.mark.parametrize(
    "names", [["x", "y", "plane"], ["y", "x", "z2"], ["c", "y", "x"], ["z", "z", "x"]]
)
def test_names_that_leave_it_open_are_refused(tmp_path: Path, names: list[str]) -> None:
    refuse(edit(stored(tmp_path / "a"), dimension_names=names), "axes")


@pytest.mark.parametrize("names", [("channel", "z", "y", "x"), ("time", "c", "z", "y", "x")])
def test_channels_of_a_plain_array_are_chosen(tmp_path: Path, names: tuple[str, ...]) -> None:
    voxels = np.stack([VOXELS, VOXELS[::-1]])
    voxels = voxels[np.newaxis] if len(names) == 5 else voxels
    path = stored(tmp_path / "a", voxels, chunks=(1,) * (len(names) - 4) + (2, 4, 4, 4))
    edit(path, dimension_names=list(names))

    np.testing.assert_array_equal(open_source(path, channel=1).read(WHOLE), VOXELS[::-1])
    assert open_source(path, channel=0).notes == ()
    refuse(path, "2 channels")


def test_axes_of_length_one_are_left_out(tmp_path: Path) -> None:
    source = open_source(stored(tmp_path / "a", VOXELS[np.newaxis, np.newaxis]))

    np.testing.assert_array_equal(source.read(WHOLE), VOXELS)


@pytest.mark.parametrize(
    ("shape", "names", "reason"),
    [
        ((5,), None, "axes without names of 5; a brain has three"),
        ((5, 6), None, "a brain has three"),
        ((3, 5, 6, 7), None, "no names that tell"),
        ((3, 5, 6, 7), ["t", "z", "y", "x"], "time series of 3"),
        ((5, 6, 7, 3), ["z", "y", "x", "rgb"], "axis 'rgb' of 3"),
    ],
)
def test_what_is_not_one_grey_volume_is_refused(
    tmp_path: Path, shape: tuple[int, ...], names: list[str] | None, reason: str
) -> None:
    path = stored(tmp_path / "a", np.ones(shape, np.uint8))

    refuse(edit(path, dimension_names=names), reason)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_one_array_in_a_group_is_taken_and_several_are_listed(
    tmp_path: Path, zarr_format: int
) -> None:
    group = zarr.create_group(tmp_path / "a", zarr_format=zarr_format)
    refuse(tmp_path / "a", "neither an image nor a volume")
    stored(tmp_path / "a" / "raw", zarr_format=zarr_format)
    group.create_array("z", shape=(9,), dtype="float64", chunks=(9,))
    np.testing.assert_array_equal(open_source(tmp_path / "a").read(WHOLE), VOXELS)

    stored(tmp_path / "a" / "mask", zarr_format=zarr_format)
    refuse(tmp_path / "a", "holds 2 arrays; choose one with --dataset: there is mask, raw")
    np.testing.assert_array_equal(open_source(tmp_path / "a", dataset="raw").read(WHOLE), VOXELS)
    refuse(tmp_path / "a", "no dataset 'row'", UsageError, dataset="row")
    refuse(tmp_path / "a" / "raw", "array itself", UsageError, dataset="row")


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_coordinates_of_xarray_give_the_voxel_size(tmp_path: Path, zarr_format: int) -> None:
    z, y, x = SHAPE
    coordinates = {
        "z": ("z", 5000.0 + 2000.0 * np.arange(z), {"units": "nm"}),
        "y": ("y", 500.0 * np.arange(y), {"units": "nm"}),
        "x": ("x", 0.001 * np.arange(x), {"units": "millimeter"}),
    }
    dataset = xr.Dataset({"image": (("z", "y", "x"), VOXELS)}, coordinates)
    dataset.to_zarr(tmp_path / "a", zarr_format=zarr_format, consolidated=False)

    source = open_source(tmp_path / "a")

    np.testing.assert_array_equal(source.read(WHOLE), VOXELS)
    assert source.spacing_um == pytest.approx((2.0, 0.5, 1.0))
    assert source.origin_um == pytest.approx((5.0, 0.0, 0.0))


@pytest.mark.parametrize(
    ("values", "units", "note"),
    [
        (np.arange(9.0), "parsec", "'parsec' is not a known length"),
        (np.arange(9.0) ** 2, "um", "not evenly spaced"),
        (-np.arange(9.0), "um", "not evenly spaced and rising"),
        (np.full(9, np.nan), "um", "not evenly spaced"),
    ],
)
def test_coordinates_that_give_no_voxel_size_are_noted(
    tmp_path: Path, values: NDArray[np.float64], units: str, note: str
) -> None:
    um = {"units": "um"}
    coordinates = {
        "z": ("z", values, {"units": units}),
        "y": ("y", np.arange(11.0), um),
        "x": ("x", np.arange(13.0), um),
    }
    dataset = xr.Dataset({"image": (("z", "y", "x"), VOXELS)}, coordinates)
    dataset.to_zarr(tmp_path / "a", zarr_format=3, consolidated=False)

    source = open_source(tmp_path / "a")

    assert source.spacing_um is None
    assert any(note in line for line in source.notes)


def chunk_files(path: Path) -> list[Path]:
    return sorted(
        p for p in path.rglob("*") if p.is_file() and p.name[0] != "." and p.name != "zarr.json"
    )


class Counted:
    """Counts what is fetched from a store, in place of the store's own way to fetch."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.fetched: list[tuple[str, int]] = []
        get = zarr.storage.LocalStore.get

        async def counted(store: Any, key: str, *rest: Any, **options: Any) -> Any:
            data = await get(store, key, *rest, **options)
            self.fetched.append((key, 0 if data is None else len(data)))
            return data

        monkeypatch.setattr(zarr.storage.LocalStore, "get", counted)

    def bytes_of(self, key: str) -> int:
        return sum(size for name, size in self.fetched if name == key)


@pytest.mark.parametrize("index", ["start", "end"])
def test_a_band_along_shards_fetches_each_of_them_once_and_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, index: str
) -> None:
    path = stored(tmp_path / "a", chunks=(2, 4, 4), shards={**FIRST, "index_location": index})
    source, counted = open_source(path), Counted(monkeypatch)

    for z in range(0, 9, 8):
        for y in range(0, 11, 8):
            band = Box((z, y, 0), (min(z + 8, 9), min(y + 8, 11), 13))
            np.testing.assert_array_equal(source.read(band), VOXELS[band.slices])

    sizes = {str(f.relative_to(path)): f.stat().st_size for f in chunk_files(path)}
    assert sorted(counted.fetched) == sorted(sizes.items())


def test_a_small_part_of_a_shard_costs_its_index_and_its_inner_chunks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = stored(tmp_path / "a", chunks=(2, 4, 4), shards=(8, 8, 8), compressors=None)
    source, counted = open_source(path), Counted(monkeypatch)

    box = Box((0, 0, 0), (2, 4, 8))
    np.testing.assert_array_equal(source.read(box), VOXELS[box.slices])

    chunk, index = 2 * 4 * 4 * 2, 16 * 16 + 4
    assert sorted(size for _, size in counted.fetched) == [chunk, chunk, index]


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_no_byte_of_a_shard_is_fetched_twice_for_one_box(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / "counted"
    if not path.exists():
        stored(path, chunks=(2, 4, 4), shards=(8, 8, 8))
    with pytest.MonkeyPatch.context() as patch:
        source, counted = open_source(path), Counted(patch)
        box = boxes(data)
        np.testing.assert_array_equal(source.read(box), VOXELS[box.slices])

    for key in {name for name, _ in counted.fetched}:
        assert counted.bytes_of(key) <= (path / key).stat().st_size
