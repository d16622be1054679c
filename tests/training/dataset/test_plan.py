"""Which crops a dataset holds: regions, grids, counts, choices."""

from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from neuroconn.annotation import Forest, neurite_voxels, render
from neuroconn.config import resolve
from neuroconn.config.crops import DatasetSettings, SplitSettings
from neuroconn.errors import ConfigError, UsageError
from neuroconn.geometry import Box
from neuroconn.training.crop import SPLITS
from neuroconn.training.dataset.plan import Cubes, cubes_of, plan_of
from neuroconn.training.dataset.regions import regions

BRAIN = {"brain": "brain.ome.zarr", "swc": ["a.swc"], "units": "voxel"}


def make(**changes: object) -> DatasetSettings:
    plain = {"brains": [BRAIN], "size": 10, "minimum_voxels": 5, "clip": 3.0}
    return resolve(DatasetSettings, plain, changes)


def random_forest(seed: int, shape: tuple[int, int, int], nodes: int = 12) -> Forest:
    rng = np.random.default_rng(seed)
    parents = [-1, *(int(rng.integers(-1, k)) for k in range(1, nodes))]
    return Forest(rng.uniform(-3, np.add(shape, 3), (nodes, 3)), parents)


def of(forest: Forest, shape: tuple[int, int, int], options: DatasetSettings) -> Cubes:
    return cubes_of(forest, shape, options.brains[0], options, number=0)


@given(
    seed=st.integers(0, 2**32 - 1),
    shares=st.tuples(st.floats(0.1, 1), st.floats(0, 1), st.floats(0, 1)),
    guard=st.integers(0, 9),
    size=st.integers(4, 12),
)
def test_regions_are_inside_large_enough_and_a_guard_apart(
    seed: int, shares: tuple[float, float, float], guard: int, size: int
) -> None:
    shape = (20, 30, 60)
    split = SplitSettings(**dict(zip(SPLITS, shares, strict=True)), guard=guard)

    found = regions(random_forest(seed, shape), shape, split, size=size, clip=3.0, seed=seed)

    assert sorted(name for name, _ in found) == sorted(
        name for name, share in zip(SPLITS, shares, strict=True) if share
    )
    for _, box in found:
        assert Box.of_shape(shape).contains(box)
        assert min(box.shape) >= size
    for (_, one), (_, other) in pairwise(found):
        gaps = [b - a for a, b in zip(one.stop, other.start, strict=True)]
        assert max(gaps) == max(guard, 3)


def test_the_shares_are_of_the_annotated_length() -> None:
    line = Forest([[5, 5, 0], [5, 5, 100], [5, 5, 199]], parents=[-1, 0, 1])
    split = SplitSettings(train=0.6, validation=0.3, test=0.1, guard=4)

    found = dict(regions(line, (10, 10, 200), split, size=10, clip=4.0, seed=1))

    assert found["train"].shape[2] == pytest.approx(120, abs=4)
    assert found["validation"].shape[2] == pytest.approx(60, abs=4)
    assert found["test"].shape[2] == pytest.approx(20, abs=4)


def test_the_order_of_the_regions_follows_from_the_seed() -> None:
    line = Forest([[5, 5, 0], [5, 5, 199]], parents=[-1, 0])

    def order(seed: int) -> tuple[str, ...]:
        found = regions(line, (10, 10, 200), SplitSettings(), size=8, clip=4.0, seed=seed)
        return tuple(name for name, _ in found)

    assert order(3) == order(3)
    assert len({order(seed) for seed in range(20)}) > 3


@examples(max_examples=25)
@given(
    seed=st.integers(0, 2**32 - 1),
    stride=st.sampled_from([None, 5, 13]),
    jitter=st.sampled_from([0, 4]),
    loose=st.booleans(),
)
def test_every_cube_is_counted_as_if_all_were_rendered(
    seed: int, stride: int | None, jitter: int, loose: bool
) -> None:
    shape = (24, 20, 50)
    forest = random_forest(seed, shape)
    if loose:  # points, which touch few cubes
        forest = Forest(forest.positions, np.full(len(forest), -1))
    options = make(stride=stride, jitter=jitter, minimum_voxels=0, split={"test": 0.0})

    found = of(forest, shape, options)

    whole = render(forest, Box.of_shape(shape))
    for (z, y, x), voxels in zip(found.starts.tolist(), found.voxels.tolist(), strict=True):
        assert np.count_nonzero(whole[z : z + 10, y : y + 10, x : x + 10]) == voxels
    assert len(found.starts) == found.total  # a minimum of 0 keeps all
    if not jitter:
        corners = [
            corner
            for _, box in found.regions
            for corner in product(
                *(range(a, b - 9, stride or 10) for a, b in zip(box.start, box.stop, strict=True))
            )
        ]
        assert sorted(map(tuple, found.starts.tolist())) == sorted(corners)


@examples(max_examples=25)
@given(seed=st.integers(0, 2**32 - 1), stride=st.sampled_from([None, 3]), jitter=st.integers(0, 9))
def test_no_voxel_and_no_neighbourhood_is_in_two_splits(
    seed: int, stride: int | None, jitter: int
) -> None:
    shape = (14, 16, 70)
    options = make(stride=stride, jitter=jitter, minimum_voxels=1, background=0.5, seed=seed)

    plan = plan_of([of(random_forest(seed, shape, 30), shape, options)], 10)

    owner = np.full(shape, -1)
    for number, split in enumerate(plan.splits.tolist()):
        box = plan.box(number)
        reach = box.grow(1).clip(Box.of_shape(shape))
        assert set(np.unique(owner[reach.slices])) <= {-1, split}
        owner[box.slices] = split


@pytest.mark.parametrize(("voxels", "kept"), [(99, 0), (100, 1), (101, 1)])
def test_exactly_a_hundred_voxels_are_enough(voxels: int, kept: int) -> None:
    line = Forest([[5, 5, 0], [5, 5, voxels - 1]], parents=[-1, 0])
    options = make(size=110, minimum_voxels=100, split={"validation": 0, "test": 0})
    assert neurite_voxels(line, Box.of_shape((110, 110, 110))) == voxels

    found = of(line, (110, 110, 110), options)

    assert (found.kept, int(found.chosen.sum()), found.total) == (kept, kept, 1)


def test_background_crops_are_a_share_of_all_and_hold_too_little() -> None:
    shape = (40, 40, 100)
    found = of(random_forest(3, shape, 40), shape, make(background=0.25))

    background = found.chosen & (found.voxels < 5)
    assert background.sum() / found.chosen.sum() == pytest.approx(0.25, abs=0.03)
    assert found.chosen[found.voxels >= 5].all()


def test_a_whole_brain_can_be_given_to_one_split() -> None:
    shape = (20, 20, 40)
    options = make(brains=[{**BRAIN, "split": "validation"}])

    found = of(random_forest(2, shape), shape, options)

    assert found.regions == (("validation", Box.of_shape(shape)),)
    assert set(found.splits.tolist()) == {1}


def test_crops_that_do_not_fit_are_refused() -> None:
    forest = random_forest(0, (9, 40, 40))

    with pytest.raises(UsageError, match=r"crops of 10 voxels do not fit .* size: 9 or less"):
        of(forest, (9, 40, 40), make())
    with pytest.raises(UsageError, match=r"no room along x for 3 regions of 10 voxels with 3"):
        of(forest, (12, 12, 35), make())


@pytest.mark.parametrize("shares", [{"train": 0, "validation": 0, "test": 0}, {"train": -1}])
def test_shares_that_cannot_be_are_refused(shares: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        make(split=shares)
