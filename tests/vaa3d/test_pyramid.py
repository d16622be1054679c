"""One pass over level 0 makes what the slow way does, however the levels are cut."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from slow_pyramid import check_levels

from neuroconn.geometry import Box
from neuroconn.vaa3d import partition
from neuroconn.vaa3d.plan import TeraflyOptions, TeraflyPlan
from neuroconn.vaa3d.terafly import write_terafly

options = st.builds(
    TeraflyOptions,
    tile=st.integers(4, 15),
    partition=st.sampled_from(["fixed", "balanced"]),
    downsample=st.sampled_from(["max", "mean"]),
    isotropic=st.booleans(),
    avoid_powers_of_two=st.booleans(),
)
shapes = st.tuples(st.integers(1, 30), st.integers(1, 40), st.integers(2, 40))


def plan_of(shape: tuple[int, int, int], chosen: TeraflyOptions) -> TeraflyPlan:
    return TeraflyPlan(shape, "uint16", spacing_um=(5.0, 1.0, 1.0), options=chosen)


@pytest.fixture(scope="module", autouse=True)
def _deep_pyramids() -> Any:
    """Small volumes get as many levels as large ones."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(partition, "VIEW", 4)
        yield


def sparse(shape: tuple[int, int, int], seed: int) -> NDArray[np.uint16]:
    rng = np.random.default_rng(seed)
    values = (rng.integers(1, 65535, shape) * (rng.random(shape) < 0.01)).astype(np.uint16)
    values[: shape[0] // 2] |= (rng.random(values[: shape[0] // 2].shape) * 300).astype(np.uint16)
    values[:, : shape[1] // 3] = 0
    return values


@settings(max_examples=40, deadline=None)
@given(shape=shapes, chosen=options, seed=st.integers(0, 99), threads=st.integers(1, 3))
def test_a_tree_equals_the_slow_way_level_by_level(
    shape: tuple[int, int, int],
    chosen: TeraflyOptions,
    seed: int,
    threads: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    volume, plan = sparse(shape, seed), plan_of(shape, chosen)
    output = tmp_path_factory.mktemp("pass") / "out"

    write_terafly(lambda box: volume[box.slices].copy(), output, plan, threads=threads)

    check_levels(output, volume, plan)


@settings(max_examples=60, deadline=None)
@given(shape=shapes, chosen=options)
def test_blocks_tile_the_level_above_and_each_is_asked_for_where_it_lies(
    shape: tuple[int, int, int], chosen: TeraflyOptions
) -> None:
    plan = plan_of(shape, chosen)
    for level, tiling in enumerate(plan.tilings[:-1]):
        covered = np.zeros(plan.levels[level + 1].shape, dtype=int)
        for index in tiling:
            block = plan.pyramid.gives(level, index)
            covered[block.slices] += 1
            for parent in plan.pyramid.parents(level, index):
                assert index in plan.pyramid.children(level + 1, parent)
        assert (covered == 1).all()
        counts = plan.pyramid.child_counts(level + 1)
        for parent in plan.tilings[level + 1]:
            children = plan.pyramid.children(level + 1, parent)
            needed = plan.pyramid.needs(level + 1, parent)
            shared = [plan.pyramid.gives(level, child).clip(needed).size for child in children]
            assert sum(shared) == needed.size
            assert counts[parent] == len(children)
            assert all(parent in plan.pyramid.parents(level, child) for child in children)


@settings(max_examples=60, deadline=None)
@given(shape=shapes, chosen=options)
def test_the_order_visits_every_tile_once(
    shape: tuple[int, int, int], chosen: TeraflyOptions
) -> None:
    plan = plan_of(shape, chosen)

    assert sorted(plan.pyramid.order()) == sorted(plan.tilings[0])


@pytest.mark.parametrize(("tile", "most"), [(8, 1.0), (7, (8 / 7) ** 3)])
def test_level_0_is_read_once_and_at_most_a_voxel_into_the_next_tile(
    tile: int, most: float, tmp_path: Path
) -> None:
    volume = sparse((24, 32, 48), 0)
    asked: list[Box] = []

    def read(box: Box) -> NDArray[np.uint16]:
        asked.append(box)
        return volume[box.slices].copy()

    plan = plan_of(volume.shape, TeraflyOptions(tile=tile))  # type: ignore[arg-type]
    write_terafly(read, tmp_path / "out", plan)

    assert len(asked) == len(plan.tilings[0])
    assert 1.0 <= sum(box.size for box in asked) / volume.size <= most
