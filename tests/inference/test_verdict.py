"""Verdicts against a slow twin in plain Python, and the traps they must not fall into."""

from itertools import pairwise, permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import ValidationError
from scipy import ndimage

from neuroconn.config.infer import EvidenceRules
from neuroconn.geometry import DIRECTIONS, ZYX, Box, ChunkGrid, directions
from neuroconn.inference.verdict import (
    Verdict,
    assess,
    direction_mask,
    opened,
    point_voxels,
)

Map = NDArray[np.float32]
CLIP = 10.0


def distance_to(neurite: NDArray[np.bool_]) -> Map:
    if not neurite.any():
        return np.full(neurite.shape, CLIP, np.float32)
    return np.minimum(ndimage.distance_transform_edt(~neurite), CLIP).astype(np.float32)


def fibre(shape: ZYX, *points: ZYX) -> Map:
    """The perfect prediction of a straight fibre through ``points``."""
    neurite = np.zeros(shape, bool)
    for a, b in pairwise(points):
        steps = max(abs(p - q) for p, q in zip(a, b, strict=True))
        for t in np.linspace(0, 1, steps + 1):
            z, y, x = (round(p + (q - p) * t) for p, q in zip(a, b, strict=True))
            neurite[z, y, x] = True
    return distance_to(neurite)


def cube(core: int, halo: int) -> tuple[Box, Box]:
    """Core and tile of a cubic chunk, in coordinates of the tile."""
    a, b = halo, halo + core
    return Box((a, a, a), (b, b, b)), Box.of_shape((b + a, b + a, b + a))


CORE, TILE = cube(32, 32)
RULES = EvidenceRules()


# --- the slow twin -------------------------------------------------------------------------


def flood(members: set[ZYX]) -> list[set[ZYX]]:
    found, left = [], set(members)
    while left:
        component = {left.pop()}
        edge = list(component)
        while edge:
            z, y, x = edge.pop()
            for dz, dy, dx in DIRECTIONS:
                near = (z + dz, y + dy, x + dx)
                if near in left:
                    left.remove(near)
                    component.add(near)
                    edge.append(near)
        found.append(component)
    return found


def slow_kept(distance: Map, volume: Box, rules: EvidenceRules) -> set[ZYX]:
    low = {
        v
        for v in product(*map(range, distance.shape))
        if volume.contains(v) and distance[v] < rules.core_threshold
    }
    kept: set[ZYX] = set()
    for part in flood(low):
        cut = any(i in (0, n - 1) for v in part for i, n in zip(v, distance.shape, strict=True))
        alone = 0 if cut else point_voxels(rules.core_threshold)
        if len(part) >= alone + rules.min_component:
            kept |= part
    return kept


def slow_verdict(distance: Map, core: Box, volume: Box, rules: EvidenceRules) -> tuple[int, int]:
    """Strong mask and neurite voxels by the definitions."""
    kept = slow_kept(distance, volume, rules)
    voxels = sum(core.contains(v) for v in kept)
    near = {
        v
        for v in product(*map(range, distance.shape))
        if volume.contains(v) and distance[v] < rules.threshold
    }
    if rules.rule == "any":
        return (direction_mask(directions(rules.connectivity)) if voxels else 0), voxels
    if rules.rule == "seed":
        hit = set()
        for v, d in product((v for v in near if core.contains(v)), directions(6)):
            axis = next(k for k in range(3) if d[k])
            away = v[axis] - core.start[axis] if d[axis] < 0 else core.stop[axis] - 1 - v[axis]
            if away < rules.border:
                hit.add(d)
        return direction_mask(hit), voxels
    evidence: set[ZYX] = set()
    for part in flood(near):
        if part & kept:
            evidence |= part
    mask = 0
    for k, d in enumerate(DIRECTIONS):
        if d not in directions(rules.connectivity):
            continue
        count = sum(_counts(v, d, core, distance.shape, rules.reliable) for v in evidence)
        mask |= (count >= rules.min_voxels) << k
    return mask, voxels


def _counts(v: ZYX, d: ZYX, core: Box, tile: tuple[int, ...], untrusted: int) -> bool:
    at, beyond = True, True
    for i, a, b, n, step in zip(v, core.start, core.stop, tile, d, strict=True):
        inside = a <= i < b
        at &= inside and (step == 0 or (i - a < 2 if step < 0 else b - i <= 2))
        if step == 0:
            beyond &= inside
        else:
            trusted = untrusted <= i < n - untrusted
            beyond &= trusted and (i < a if step < 0 else i >= b)
    return at or beyond


@given(
    seed=st.integers(0, 10**6),
    rule=st.sampled_from(["evidence", "evidence", "seed", "any"]),
    connectivity=st.sampled_from([6, 18, 26]),
    reliable=st.integers(0, 5),
    edge=st.integers(-2, 4),
)
@settings(max_examples=60, deadline=None)
def test_the_verdict_is_that_of_the_slow_twin(
    seed: int, rule: str, connectivity: int, reliable: int, edge: int
) -> None:
    rng = np.random.default_rng(seed)
    distance = distance_to(rng.random((14, 13, 12)) < rng.choice([0.003, 0.01]))
    distance += rng.random(distance.shape, dtype=np.float32)
    core = Box((4, 4, 4), (10, 9, 8))
    brain = (
        Box((edge, -9, edge), (20, 20, 20)) if seed % 2 else Box((-9, -9, -9), (8, 9 + edge, 30))
    )
    rules = EvidenceRules(
        rule=rule,
        connectivity=connectivity,
        reliable=reliable,
        threshold=3.5,
        core_threshold=1.8,
        min_component=int(rng.integers(1, 20)),
        min_voxels=int(rng.integers(1, 6)),
        border=int(rng.integers(1, 4)),
    )
    core = core.clip(brain)

    verdict = assess(distance, core, brain, rules)

    assert (verdict.strong, verdict.voxels) == slow_verdict(distance, core, brain, rules)
    assert verdict.neurite == (verdict.voxels > 0)
    assert verdict.weak & verdict.strong == verdict.strong


# --- hand cases ----------------------------------------------------------------------------


def test_a_fibre_opens_the_two_faces_it_passes() -> None:
    verdict = assess(fibre(TILE.shape, (48, 48, 0), (48, 48, 95)), CORE, TILE, RULES)

    assert opened(verdict.strong) == [(0, 0, -1), (0, 0, 1)]
    assert verdict.neurite
    assert opened(verdict.weak) == [(0, 0, -1), (0, 0, 1)], "nothing ends here"


def test_a_diagonal_fibre_opens_the_corner_it_leaves_through() -> None:
    verdict = assess(fibre(TILE.shape, (0, 0, 0), (48, 48, 48)), CORE, TILE, RULES)

    assert (-1, -1, -1) in opened(verdict.strong)
    assert not any(1 in d for d in opened(verdict.strong))


def test_a_fibre_that_stops_in_the_core_opens_one_side_and_points_on() -> None:
    verdict = assess(fibre(TILE.shape, (48, 48, 0), (48, 48, 45)), CORE, TILE, RULES)

    assert opened(verdict.strong) == [(0, 0, -1)]
    assert (0, 0, 1) in opened(verdict.weak)
    assert not {(1, 0, -1), (0, -1, -1), (1, 0, 0)} & set(opened(verdict.weak))


def test_a_fibre_beyond_the_face_is_evidence_though_the_core_is_dark() -> None:
    tile = fibre(TILE.shape, (48, 10, 72), (48, 90, 72))  # 8 voxels past the face of +x

    verdict = assess(tile, CORE, TILE, RULES)

    assert not verdict.neurite
    assert opened(verdict.strong) == [(0, -1, 1), (0, 0, 1), (0, 1, 1)]
    assert len(opened(verdict.weak)) == 26, "an empty chunk passes the budget on to all sides"


def test_the_outer_part_of_the_halo_is_not_trusted() -> None:
    tile = fibre(TILE.shape, (48, 40, 90), (48, 56, 90))  # beyond 64 + 16 + 8

    assert assess(tile, CORE, TILE, RULES).strong == 0
    assert assess(tile, CORE, TILE, RULES.model_copy(update={"reliable": 0})).strong


def reached_at(x: int, core: Box, tile: Box, rules: EvidenceRules) -> set[ZYX]:
    """Directions opened by a plate of evidence that is one voxel thick, at ``x``."""
    middle = (core.start[0] + core.stop[0]) // 2
    plate = np.full(tile.shape, CLIP, np.float32)
    plate[middle - 2 : middle + 2, middle - 2 : middle + 2, x] = 0
    return set(opened(assess(plate, core, tile, rules).strong))


def test_evidence_counts_from_two_voxels_inside_to_the_end_of_the_trusted_halo() -> None:
    rules = EvidenceRules(core_threshold=1, threshold=1, min_component=10, reliable=10)
    core, tile = cube(16, 24)
    low = {x for x in range(64) if (0, 0, -1) in reached_at(x, core, tile, rules)}
    high = {x for x in range(64) if (0, 0, 1) in reached_at(x, core, tile, rules)}
    assert low == set(range(10, 26))
    assert high == set(range(38, 54))


def test_evidence_beyond_the_neighbour_is_not_evidence_for_it() -> None:
    rules = EvidenceRules(core_threshold=1, threshold=1, min_component=10, reliable=0)
    core, tile = cube(8, 24)  # the halo spans three chunks
    low = {x for x in range(56) if (0, 0, -1) in reached_at(x, core, tile, rules)}
    assert low == set(range(16, 26))


@pytest.mark.parametrize("where", [(48, 48, 48), (48, 48, 63), (63, 63, 63), (48, 48, 70)])
def test_one_false_positive_with_a_perfect_cone_is_not_evidence(where: ZYX) -> None:
    neurite = np.zeros(TILE.shape, bool)
    neurite[where] = True
    tile = distance_to(neurite)
    assert np.count_nonzero(tile < RULES.threshold) == 2103, "a size limit alone would let it pass"

    verdict = assess(tile, CORE, TILE, RULES)

    assert verdict == Verdict(neurite=False, strong=0, weak=(1 << 26) - 1, voxels=0)


def test_the_rule_any_opens_every_side_and_so_would_run_away_on_specks() -> None:
    neurite = np.zeros(TILE.shape, bool)
    neurite[46:50, 46:50, 46:50] = True  # large enough to pass as neurite
    tile = distance_to(neurite)

    for connectivity in (6, 18, 26):
        some = RULES.model_copy(update={"rule": "any", "connectivity": connectivity})
        assert opened(assess(tile, CORE, TILE, some).strong) == list(directions(connectivity))
    assert assess(tile, CORE, TILE, RULES).strong == 0


def test_a_faint_stretch_counts_once_it_hangs_on_a_neurite() -> None:
    strong = fibre(TILE.shape, (48, 48, 44), (48, 48, 54))
    faint = fibre(TILE.shape, (48, 48, 54), (48, 48, 95)) + 6
    both = np.minimum(strong, faint)

    assert opened(assess(both, CORE, TILE, RULES).strong) == [(0, 0, 1)]
    assert assess(faint, CORE, TILE, RULES).strong == 0


def test_the_seed_rule_looks_at_faces_inside_the_core_only() -> None:
    rules = RULES.model_copy(update={"rule": "seed"})
    tile = np.full(TILE.shape, CLIP, np.float32)
    tile[48, 48, 63 - 7] = 7.9
    tile[48, 48 - 30, 48] = 0  # in the halo
    assert opened(assess(tile, CORE, TILE, rules).strong) == [(0, 0, 1)]

    tile[48, 48, 63 - 7] = 8.0
    tile[48, 48, 63 - 8] = 7.9
    assert assess(tile, CORE, TILE, rules).strong == 0


def test_voxels_beyond_the_brain_never_count() -> None:
    everywhere = np.zeros(TILE.shape, np.float32)
    brain = Box((-500, -500, -500), (500, 500, 50))

    for rule in ("evidence", "seed", "any"):
        rules = RULES.model_copy(update={"rule": rule})
        core = CORE.clip(brain)
        verdict = assess(everywhere, core, brain, rules)
        assert verdict.voxels == core.size
        padding = everywhere.copy()
        padding[:, :, :50] = CLIP
        beyond = assess(padding, core, brain, rules)
        assert (beyond.neurite, beyond.strong) == (False, 0)


def test_the_last_chunk_of_an_axis_looks_back_as_far_as_any_other() -> None:
    grid = ChunkGrid(shape=(64, 64, 70), chunk=(32, 32, 32))
    tile = grid.tile((0, 0, 2), 32)
    z, y, x = (-a for a in tile.start)
    core, brain = grid.core((0, 0, 2)).shift((z, y, x)), grid.bounds.shift((z, y, x))
    assert core.shape == (32, 32, 6)
    seen = fibre((96, 96, 96), (40, 48, 20), (60, 48, 20))  # 12 voxels before the core

    assert (0, 0, -1) in opened(assess(seen, core, brain, RULES).strong)


# --- laws ----------------------------------------------------------------------------------


@given(seed=st.integers(0, 10**6), rule=st.sampled_from(["evidence", "seed", "any"]))
@settings(max_examples=12, deadline=None)
def test_turning_and_mirroring_the_tile_turns_and_mirrors_the_masks(seed: int, rule: str) -> None:
    rng = np.random.default_rng(seed)
    core, volume = cube(16, 16)
    ends = rng.integers(0, 48, (2, 3)).tolist()
    tile = fibre(volume.shape, tuple(ends[0]), (24, 24, 24), tuple(ends[1]))
    rules = EvidenceRules(rule=rule, reliable=4)
    plain = assess(tile, core, volume, rules)

    for order in permutations(range(3)):
        turned = assess(np.ascontiguousarray(tile.transpose(order)), core, volume, rules)
        for mask, was in ((turned.strong, plain.strong), (turned.weak, plain.weak)):
            assert set(opened(mask)) == {tuple(d[k] for k in order) for d in opened(was)}
    for axis in range(3):
        sign = [-1 if k == axis else 1 for k in range(3)]
        mirrored = assess(np.ascontiguousarray(np.flip(tile, axis)), core, volume, rules)
        for mask, was in ((mirrored.strong, plain.strong), (mirrored.weak, plain.weak)):
            assert set(opened(mask)) == {
                (d[0] * sign[0], d[1] * sign[1], d[2] * sign[2]) for d in opened(was)
            }


def test_neighbours_of_a_fibre_see_each_other() -> None:
    """Law of the walk: along a perfect fibre every chunk leads to the next, both ways."""
    grid = ChunkGrid((96, 96, 160), (32, 32, 32))
    whole = fibre(grid.shape, (10, 10, 0), (80, 60, 80), (20, 90, 159))
    padded = np.pad(whole, 32, constant_values=CLIP)
    verdicts = {}
    for index in grid:
        tile = grid.tile(index, 32)
        z, y, x = (-a for a in tile.start)
        block = padded[tile.shift((32, 32, 32)).slices]
        there = grid.core(index).shift((z, y, x)), grid.bounds.shift((z, y, x))
        verdicts[index] = assess(np.ascontiguousarray(block), *there, RULES)
    held = {tuple(int(i) // 32 for i in v) for v in np.argwhere(whole == 0)}
    assert all(verdicts[c].neurite for c in held)

    reached, edge = {min(held)}, [min(held)]
    while edge:
        z, y, x = edge.pop()
        for dz, dy, dx in opened(verdicts[z, y, x].strong):
            near = (z + dz, y + dy, x + dx)
            if near in grid and near not in reached:
                reached.add(near)
                edge.append(near)
    assert held <= reached
    assert len(reached) <= 2.5 * len(held)


def test_nan_is_an_error_and_not_the_end_of_the_walk() -> None:
    tile = np.full(TILE.shape, CLIP, np.float32)
    tile[3, 3, 3] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        assess(tile, CORE, TILE, RULES)


def test_a_core_outside_the_tile_is_refused() -> None:
    with pytest.raises(ValueError, match="is not inside a tile"):
        assess(np.zeros((4, 4, 4), np.float32), Box((0, 0, 0), (5, 4, 4)), TILE, RULES)


def test_rules_that_contradict_themselves_are_refused() -> None:
    with pytest.raises(ValidationError, match="must not exceed threshold"):
        EvidenceRules(threshold=2)
    with pytest.raises(ValidationError):
        EvidenceRules(connectivity=8)
