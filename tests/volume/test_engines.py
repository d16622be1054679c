import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorstore
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from neuroconn.errors import StorageError, UsageError
from neuroconn.geometry import ZYX, Box, Frame, plan_levels
from neuroconn.volume import convert, create_image, engines, open_image, read_region, write_region
from neuroconn.volume.engines import chosen_engine, open_array

ENGINES = ("tensorstore", "zarr")
side = st.integers(1, 21)


@settings(max_examples=25, deadline=None)
@given(
    shape=st.tuples(side, side, side),
    writer=st.sampled_from(ENGINES),
    zarr_format=st.sampled_from([2, 3]),
    dtype=st.sampled_from(["uint8", "uint16"]),
    seed=st.integers(0, 99),
)
def test_what_any_engine_writes_every_engine_reads(
    tmp_path_factory: pytest.TempPathFactory,
    shape: ZYX,
    writer: Any,
    zarr_format: Any,
    dtype: str,
    seed: int,
) -> None:
    path = tmp_path_factory.mktemp("engines") / "a"
    image = create_image(
        path, levels=plan_levels(shape), dtype=dtype, frame=Frame((1.0, 1.0, 1.0)), chunk=4,
        shard=8, kind="brain", zarr_format=zarr_format,
    )  # fmt: skip
    voxels = np.random.default_rng(seed).integers(0, 200, shape).astype(dtype)
    voxels[: shape[0] // 2, : shape[1] // 2] = 0
    array = open_array(image, 0, writer)
    for box in Box.of_shape(shape).split((8, 8, 8)):
        write_region(array, box, np.ascontiguousarray(voxels[box.slices]))

    whole = Box.of_shape(shape)
    for reader in ENGINES:
        np.testing.assert_array_equal(read_region(open_array(image, 0, reader), whole), voxels)  # type: ignore[arg-type]
    np.testing.assert_array_equal(zarr.open_array(str(path), path="0")[...], voxels)
    store = {"driver": "file", "path": f"{path}/0/"}
    driver = "zarr3" if zarr_format == 3 else "zarr"
    opened = tensorstore.open({"driver": driver, "kvstore": store}).result()
    np.testing.assert_array_equal(opened.read().result(), voxels)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_engines_store_the_same_objects_and_no_empty_ones(
    tmp_path: Path, stack: Path, small: dict[str, Any], zarr_format: Any
) -> None:
    stored = {}
    for engine in ENGINES:
        convert(stack, tmp_path / engine, **small, engine=engine, zarr_format=zarr_format)  # type: ignore[arg-type]
        files = (p for p in (tmp_path / engine).rglob("*") if p.is_file())
        names = {str(p.relative_to(tmp_path / engine)) for p in files}
        stored[engine] = {name for name in names if ".neuroconn" not in name}

    assert stored["tensorstore"] == stored["zarr"]
    one, other = (open_image(tmp_path / engine) for engine in ENGINES)
    for level in range(len(one.levels)):
        box = Box.of_shape(one.levels[level].shape)
        np.testing.assert_array_equal(
            read_region(one.array(level), box), read_region(other.array(level), box)
        )


def test_without_tensorstore_zarr_does_everything(
    tmp_path: Path, stack: Path, small: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "tensorstore" else find(name)
    )

    report = convert(stack, tmp_path / "b", **small)

    assert report.engine == chosen_engine("auto") == "zarr"
    with pytest.raises(UsageError, match="pip install tensorstore"):
        chosen_engine("tensorstore")


def test_an_unknown_engine_is_refused() -> None:
    with pytest.raises(UsageError, match="auto, tensorstore and zarr"):
        chosen_engine("zarrs")


def test_a_full_disk_is_a_storage_error_with_either_engine(
    tmp_path: Path, stack: Path, small: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    image = create_image(
        tmp_path / "a", levels=plan_levels((8, 8, 8)), dtype="uint8",
        frame=Frame((1.0, 1.0, 1.0)), chunk=4, shard=8, kind="brain",
    )  # fmt: skip
    array = open_array(image, 0, "tensorstore")

    class Full:
        def __getitem__(self, key: Any) -> Any:
            return self

        def write(self, data: Any) -> Any:
            raise ValueError("RESOURCE_EXHAUSTED: Error writing: No space left on device")

    monkeypatch.setattr(array, "_store", Full())
    with pytest.raises(StorageError, match="the disk is full"):
        write_region(array, Box.of_shape((8, 8, 8)), np.ones((8, 8, 8), np.uint8))
    assert engines.SYNC is False  # as the tests set it
