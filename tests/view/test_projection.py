import io
import re
from pathlib import Path

import numpy as np
import pytest
from fakes import fibre, save_brain
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from PIL import Image as Pillow

from neuroconn.inference.frontier.frontier import NAMES
from neuroconn.view.projection import RANKS, brain_views, cells, overlay, png
from neuroconn.view.publisher import pack

STATES = hnp.arrays(
    np.uint8,
    hnp.array_shapes(min_dims=3, max_dims=3, max_side=7),
    elements=st.integers(0, len(NAMES) - 1),
)


@given(STATES)
def test_a_cell_shows_the_foremost_state_of_its_ray(state: NDArray[np.uint8]) -> None:
    for axis, view in enumerate(cells(state)):
        rays = np.moveaxis(state, axis, 0)
        for index in np.ndindex(view.shape):
            ray = rays[(slice(None), *index)]
            assert view[index] == max(RANKS.index(NAMES[s]) for s in ray)


def test_a_huge_grid_has_few_cells_and_hides_no_failure() -> None:
    state = np.zeros((2, 3, 1500), np.uint8)
    state[1, 2, 1234] = NAMES.index("failed")

    along_z, along_y, along_x = cells(state)

    assert along_z.shape == (1, 500)
    assert along_y.shape == (1, 500)
    assert along_x.shape == (2, 3)
    for view in (along_z, along_y, along_x):
        assert (view == RANKS.index("failed")).sum() == 1


@given(STATES)
def test_packed_views_hold_the_same_cells(state: NDArray[np.uint8]) -> None:
    views = cells(state)

    for view, packed in zip(views, pack(views).values(), strict=True):
        runs = re.findall(r"(\d+)([a-z])", packed["rle"])
        flat = "".join(letter * int(length) for length, letter in runs)
        assert [ord(letter) - 97 for letter in flat] == view.ravel().tolist()
        assert packed["shape"] == list(view.shape)


def test_a_brain_is_seen_by_its_brightest_voxels(tmp_path: Path) -> None:
    volume = fibre()
    image = save_brain(tmp_path / "brain.zarr", volume)

    for axis, view in enumerate(brain_views(image)):
        seen = np.asarray(Pillow.open(io.BytesIO(view.png)))
        expected = volume.max(axis=axis)
        assert view.extent == expected.shape
        # Brighter voxels never look darker.
        order = np.argsort(expected, axis=None)
        assert (np.diff(seen.ravel()[order].astype(int)) >= 0).all()


def test_extents_count_voxels_of_the_inferred_level(tmp_path: Path) -> None:
    image = save_brain(tmp_path / "brain.zarr", fibre(), smallest=16)
    coarse = len(image.levels) - 1
    factor = image.levels[coarse].factor

    views = brain_views(image, coarse)

    assert views[0].extent == image.levels[coarse].shape[1:]
    assert factor > (1, 1, 1)


def test_a_volume_without_planes_is_refused() -> None:
    from neuroconn.view.projection import _maxima

    with pytest.raises(ValueError, match="without planes"):
        _maxima(iter(()))


def test_only_named_states_are_painted() -> None:
    view = np.array([[RANKS.index("neurite"), RANKS.index("unexplored")]], np.uint8)

    painted = overlay(view, {"neurite": (1, 2, 3, 4)})

    assert painted.tolist() == [[[1, 2, 3, 4], [0, 0, 0, 0]]]
    assert Pillow.open(io.BytesIO(png(painted))).mode == "RGBA"
