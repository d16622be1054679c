"""The tile table against bytes that TeraFly's own code wrote."""

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuroconn.errors import VolumeError
from neuroconn.geometry import Frame
from neuroconn.vaa3d.mdata import TileTable, decode, encode
from neuroconn.vaa3d.names import name_tiles
from neuroconn.vaa3d.partition import LevelPlan, Tiling, balanced
from neuroconn.vaa3d.plan import tile_table

GOLDEN_1 = "cc2dfd93b7a4a946d98e4a61b2779786de0d0c4cba191cbcf8773a50b96efdb8"
GOLDEN_2 = (
    (1988, "2241ae6fb5ed5c0a943cce6fe96f70c7bd8cb161e7a6956f07d7bdf4c4e43e40"),
    (568, "79649f639c95f82a89d7f38b9bf5bcf97860e3d5c7a3b0ee94a39a33985a7ce9"),
    (158, "0d65ca7b4a3625cfd0c562446ae6b0e90227c958aea100a3bb2451010a2f559d"),
)
MICRON = Frame((1.0, 1.0, 1.0))


def small_table() -> TileTable:
    """(3, 4, 6) voxels; columns x 0-2 and 3-5, z blocks 2 + 1, the block at x 3, z 2 absent."""
    level, tiling = LevelPlan((3, 4, 6), (1, 1, 1), (1, 1, 1)), Tiling((2, 1), (4,), (3, 3))
    (names,) = name_tiles([level], [tiling], MICRON.spacing_um)
    return tile_table(level, tiling, names, lambda i: i != (1, 0, 1), frame=MICRON, itemsize=2)


def test_a_small_table_has_the_known_bytes() -> None:
    data = encode(small_table())

    assert data[:68].hex() == (
        "00000040" "010000000200000003000000" "0000803f0000803f0000803f"
        "0000803f0000803f0000803f" "000000000000000000000000"
        "040000000600000003000000" "01000200"
    )  # fmt: skip
    assert data.endswith(b"\x09\x00NULL.tif\0\x01\0\0\0\x02\0\0\0\x02\0\0\0")
    assert (len(data), hashlib.sha256(data).hexdigest()) == (302, GOLDEN_1)


def test_a_three_level_pyramid_has_the_bytes_of_the_reference_writer() -> None:
    shapes = [(130, 300, 420), (65, 150, 210), (32, 75, 105)]
    levels = [LevelPlan(shape, (2**r,) * 3, (2 if r else 1,) * 3) for r, shape in enumerate(shapes)]
    tilings = [Tiling(balanced(z, 64), balanced(y, 128), balanced(x, 128)) for z, y, x in shapes]
    named = name_tiles(levels, tilings, MICRON.spacing_um)

    found = []
    for level, tiling, names in zip(levels, tilings, named, strict=True):
        table = tile_table(level, tiling, names, lambda _: True, frame=MICRON, itemsize=2)
        found.append((len(encode(table)), hashlib.sha256(encode(table)).hexdigest()))

    assert tuple(found) == GOLDEN_2


@settings(max_examples=30, deadline=None)
@given(
    sizes=st.tuples(*[st.lists(st.integers(1, 300), min_size=1, max_size=4)] * 3),
    spacing=st.tuples(*[st.floats(4, 50, width=32)] * 3),
    itemsize=st.sampled_from([1, 2]),
    absent=st.integers(0, 63),
)
def test_what_is_written_is_read(
    sizes: tuple[list[int], ...],
    spacing: tuple[float, float, float],
    itemsize: int,
    absent: int,
) -> None:
    tiling = Tiling(*map(tuple, sizes))
    level, frame = LevelPlan(tiling.shape, (1, 1, 1), (1, 1, 1)), Frame(spacing)
    (names,) = name_tiles([level], [tiling], spacing)
    table = tile_table(
        level, tiling, names, lambda i: hash(i) % 64 != absent, frame=frame, itemsize=itemsize
    )

    assert decode(encode(table)) == table


@pytest.mark.parametrize("damage", ["cut", "extra", "version", "empty"])
def test_a_damaged_table_is_an_error_that_names_the_file(damage: str) -> None:
    data = encode(small_table())
    broken = {
        "cut": data[:-7],
        "extra": data + b"\0",
        "version": b"\0" * 4 + data[4:],
        "empty": b"",
    }[damage]

    with pytest.raises(VolumeError, match=r"brain/mdata\.bin"):
        decode(broken, source="brain/mdata.bin")
