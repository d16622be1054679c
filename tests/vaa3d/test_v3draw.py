"""v3draw against the hand-made file and an independent reader."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuroconn.errors import UsageError, VolumeError
from neuroconn.geometry import Box
from neuroconn.vaa3d.v3draw import open_v3draw, write_boxes, write_v3draw

STACK = np.arange(24, dtype=np.uint16).reshape(1, 2, 3, 4)


@pytest.fixture
def written(tmp_path: Path) -> Path:
    path = tmp_path / "crop.v3draw"
    write_v3draw(path, [STACK], STACK.shape, np.uint16)
    return path


def test_the_hand_case_has_its_91_bytes(written: Path) -> None:
    data = written.read_bytes()

    assert len(data) == 91
    assert data[:24] == b"raw_image_stack_by_hpeng"
    assert data[24:43].hex() == "4c020004000000030000000200000001000000"
    assert data[43:] == STACK.tobytes()
    assert [p.name for p in written.parent.iterdir()] == ["crop.v3draw"]


@settings(max_examples=25, deadline=None)
@given(
    shape=st.tuples(st.sampled_from([1, 3]), *[st.integers(1, 6)] * 3),
    dtype=st.sampled_from([np.uint8, np.uint16, np.float32]),
    depth=st.integers(1, 6),
)
def test_slabs_of_any_depth_give_the_same_stack(
    shape: tuple[int, int, int, int],
    dtype: type,
    depth: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    path = tmp_path_factory.mktemp("stack") / "a.raw"
    stack = np.random.default_rng(0).integers(0, 255, shape).astype(dtype)

    write_v3draw(path, (stack[:, z : z + depth] for z in range(0, shape[1], depth)), shape, dtype)

    found = open_v3draw(path)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, stack)


@settings(max_examples=25, deadline=None)
@given(
    shape=st.tuples(st.sampled_from([1, 3]), *[st.integers(1, 6)] * 3),
    edges=st.tuples(*[st.integers(1, 6)] * 3),
    seed=st.integers(0, 99),
)
def test_boxes_in_any_order_give_the_same_stack(
    shape: tuple[int, int, int, int],
    edges: tuple[int, int, int],
    seed: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    path = tmp_path_factory.mktemp("stack") / "a.raw"
    rng = np.random.default_rng(seed)
    stack = rng.integers(0, 65535, shape, dtype=np.uint16)
    boxes = list(Box.of_shape(shape[1:]).split(edges))
    rng.shuffle(boxes)  # type: ignore[arg-type]

    write_boxes(path, ((box, stack[:, *box.slices]) for box in boxes), shape, np.uint16)

    np.testing.assert_array_equal(open_v3draw(path), stack)


def test_boxes_that_do_not_fill_the_stack_are_refused(tmp_path: Path) -> None:
    box = Box((0, 0, 0), (1, 3, 4))
    for values, words in ((STACK[:, :1], "12 voxels short"), (STACK, "do not fill")):
        with pytest.raises(ValueError, match=words):
            write_boxes(tmp_path / "a.raw", [(box, values)], STACK.shape, np.uint16)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_an_independent_reader_agrees(dtype: type, tmp_path: Path) -> None:
    loaders = pytest.importorskip("v3dpy.loaders")
    stack = np.random.default_rng(1).integers(0, 255, (1, 5, 6, 7)).astype(dtype)
    write_v3draw(tmp_path / "a.v3draw", [stack], stack.shape, dtype)

    found = loaders.Raw().load(str(tmp_path / "a.v3draw"))

    np.testing.assert_array_equal(found, stack)
    loaders.PBD().save(str(tmp_path / "a.v3dpbd"), found)
    np.testing.assert_array_equal(loaders.PBD().load(str(tmp_path / "a.v3dpbd")), stack)
    loaders.Raw().save(str(tmp_path / "b.v3draw"), stack)
    np.testing.assert_array_equal(open_v3draw(tmp_path / "b.v3draw"), stack)


def test_a_big_endian_stack_reads_equal(written: Path) -> None:
    head = b"raw_image_stack_by_hpengB" + bytes.fromhex("000200000004000000030000000200000001")
    written.write_bytes(head + STACK.astype(">u2").tobytes())

    np.testing.assert_array_equal(open_v3draw(written), STACK)


@pytest.mark.parametrize("damage", [lambda d: d[:-1], lambda d: d + b"\0", lambda d: d[:20]])
def test_a_file_of_another_size_is_refused(written: Path, damage: object) -> None:
    written.write_bytes(damage(written.read_bytes()))  # type: ignore[operator]

    with pytest.raises(VolumeError, match=r"crop\.v3draw"):
        open_v3draw(written)


def test_another_format_is_refused(written: Path) -> None:
    written.write_bytes(b"x" * 91)

    with pytest.raises(VolumeError, match="does not begin"):
        open_v3draw(written)


@pytest.mark.parametrize("dtype", [np.int16, np.float64, np.uint32])
def test_a_dtype_vaa3d_does_not_know_is_refused(dtype: type, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="v3draw holds"):
        write_v3draw(tmp_path / "a.v3draw", [STACK], STACK.shape, dtype)

    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("slabs", [[], [STACK[:, :1]], [STACK, STACK], [STACK[:, :, 1:]]])
def test_slabs_that_do_not_fill_the_stack_leave_no_file(slabs: list, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="slab"):
        write_v3draw(tmp_path / "a.v3draw", slabs, STACK.shape, np.uint16)

    assert not list(tmp_path.iterdir())


def test_the_old_kind_with_16_bit_sizes_is_refused_by_name(tmp_path: Path) -> None:
    old = b"raw_image_stack_by_hpengL" + np.array([2, 4, 3, 2, 1], "<i2").tobytes()
    (tmp_path / "a.v3draw").write_bytes(old + STACK.tobytes())

    with pytest.raises(VolumeError, match="16-bit sizes"):
        open_v3draw(tmp_path / "a.v3draw")
