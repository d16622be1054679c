"""Parts of a volume, as people type them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuroconn.cli.box import crop_of, parse_box
from neuroconn.errors import UsageError
from neuroconn.geometry import Box

ranges = st.tuples(st.integers(0, 10**6), st.integers(1, 10**6)).map(lambda p: (p[0], sum(p)))


@given(axes=st.tuples(ranges, ranges, ranges), blank=st.sampled_from(["", " "]))
def test_three_ranges_are_a_box(axes: tuple[tuple[int, int], ...], blank: str) -> None:
    text = f",{blank}".join(f"{start}:{stop}" for start, stop in axes)

    starts, stops = zip(*axes, strict=True)
    assert parse_box(text) == Box(starts, stops)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0:1,0:1", "has 2 ranges"),
        ("0:1,0:1,0:1,0:1", "has 4 ranges"),
        ("", "has 1 ranges"),
        ("0:1,5,0:1", "'5' is no range of whole voxels along y"),
        ("0:1,0:1,1.5:3", "'1.5:3' is no range of whole voxels along x"),
        (":4,0:1,0:1", "':4' is no range of whole voxels along z"),
        ("0:4:2,0:1,0:1", "'0:4:2' is no range"),
        ("0:1,-5:3,0:1", "'-5:3' along y: voxels count from 0"),
        ("0:1,0:1,7:7", "'7:7' along x holds no voxel"),
        ("9:3,0:1,0:1", "'9:3' along z holds no voxel"),
    ],
)
def test_what_is_no_box_is_named(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        parse_box(text)


def test_a_crop_is_said_in_one_way() -> None:
    box = Box((1, 2, 3), (4, 5, 6))

    assert crop_of(None, None, None) is None
    assert crop_of(box, None, None) == box
    assert crop_of(None, (1, 2, 3), (3, 3, 3)) == box
    assert crop_of(None, None, (3, 3, 3)) == Box.of_shape((3, 3, 3))
    with pytest.raises(UsageError, match="leave out --start"):
        crop_of(box, (1, 2, 3), None)
    with pytest.raises(UsageError, match="--start needs --shape"):
        crop_of(None, (1, 2, 3), None)
