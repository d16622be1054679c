"""The guard in front of the v3dpbd decoder: runs are counted as the library decodes them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuroconn.errors import VolumeError
from neuroconn.vaa3d.v3dpbd import _walk, load_v3dpbd, v3dpbd_layout

loaders = pytest.importorskip("v3dpy.loaders")


def runs_8_bit(data: bytes) -> int:
    """Count slowly, by the table."""
    voxels = at = 0
    while at < len(data):
        n = data[at]
        if n <= 32:
            count, follow = n + 1, n + 1
        elif n <= 127:
            count, follow = n - 32, -(-(n - 32) * 2 // 8)
        else:
            count, follow = n - 127, 1
        if at + 1 + follow > len(data) or (33 <= n <= 127 and not voxels):
            return -1 - at
        at, voxels = at + 1 + follow, voxels + count
    return voxels


def runs_16_bit(data: bytes) -> int:
    voxels = at = 0
    while at < len(data):
        n = data[at]
        for last, before, bits in ((31, -1, 16), (79, 31, 3), (182, 79, 4), (222, 182, 5)):
            if n <= last:
                count = n - before
                follow = -(-count * bits // 8)
                break
        else:
            count, follow = n - 222, 2
        if at + 1 + follow > len(data) or (32 <= n <= 222 and not voxels):
            return -1 - at
        at, voxels = at + 1 + follow, voxels + count
    return voxels


@settings(max_examples=200, deadline=None)
@given(data=st.binary(min_size=1, max_size=600))
def test_the_walk_agrees_with_a_slow_twin(data: bytes) -> None:
    values = np.frombuffer(data, np.uint8)

    assert _walk(values, False) == runs_8_bit(data)
    assert _walk(values, True) == runs_16_bit(data)


@settings(max_examples=40, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 3), *[st.integers(1, 9)] * 3),
    reach=st.integers(0, 300),
    kind=st.sampled_from([np.uint8, np.uint16]),
    seed=st.integers(0, 2**32 - 1),
)
def test_what_the_library_writes_is_let_through(
    shape: tuple[int, int, int, int],
    reach: int,
    kind: type,
    seed: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    rng = np.random.default_rng(seed)
    stack = rng.integers(-reach, reach + 1, shape).cumsum().reshape(shape).astype(kind)
    path = tmp_path_factory.mktemp("pbd") / "a.v3dpbd"
    loaders.PBD().save(str(path), stack)

    layout = v3dpbd_layout(path)

    assert (layout.shape, layout.dtype) == (shape, kind)
    np.testing.assert_array_equal(load_v3dpbd(layout), stack)


@settings(max_examples=100, deadline=None)
@given(data=st.data(), kind=st.sampled_from([np.uint8, np.uint16]))
def test_damage_is_refused_or_changes_values_only(
    data: st.DataObject, kind: type, tmp_path_factory: pytest.TempPathFactory
) -> None:
    stack = (np.arange(5 * 6 * 7).reshape(1, 5, 6, 7) ** 2 % 300).astype(kind)
    path = tmp_path_factory.mktemp("pbd") / "a.v3dpbd"
    loaders.PBD().save(str(path), stack)
    stored = bytearray(path.read_bytes())
    stored[data.draw(st.integers(43, len(stored) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(stored)

    try:
        found = load_v3dpbd(v3dpbd_layout(path))
    except VolumeError:
        return
    assert found.shape == stack.shape
