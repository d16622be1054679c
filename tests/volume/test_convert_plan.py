import logging
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from neuroconn.errors import UsageError
from neuroconn.geometry import ZYX, Box, plan_levels
from neuroconn.volume import convert, convert_band, convert_run
from neuroconn.volume.cascade import Cascade
from neuroconn.volume.convert_band import amplification, warn_amplification, with_band
from neuroconn.volume.convert_plan import ConvertPlan, choose_shapes
from neuroconn.volume.sources import Identity, Source

sides = st.integers(1, 70)
GIB = 1 << 30


class Virtual(Source):
    """A volume of any size that is read from nowhere."""

    format = "virtual"

    def __init__(self, shape: ZYX, unit: ZYX = (1, 1, 1), dtype: str = "uint16") -> None:
        self.shape, self.unit, self.dtype = shape, unit, np.dtype(dtype)
        self.description = self.format
        self.identity = Identity("virtual", 1, 0, "", "")

    def read(self, box: Box) -> NDArray[Any]:
        return np.full(box.shape, 7, self.dtype)


def plan_of(shape: ZYX, shard: ZYX = (256,) * 3, band: ZYX | None = None) -> ConvertPlan:  # type: ignore[assignment]
    return ConvertPlan(plan_levels(shape), (64,) * 3, shard, band or shard, 2, "max")


@settings(max_examples=80, deadline=None)
@given(
    shape=st.tuples(sides, sides, sides),
    spacing=st.sampled_from([(1.0, 1.0, 1.0), (5.0, 1.0, 1.0), (1.0, 3.0, 1.0)]),
    shard=st.tuples(*[st.sampled_from([2, 4, 6])] * 3),
    times=st.tuples(*[st.sampled_from([1, 2, 4, 32])] * 3),
)
def test_bands_are_visited_once_and_leave_one_open_a_level(
    shape: ZYX, spacing: tuple[float, float, float], shard: ZYX, times: ZYX
) -> None:
    z, y, x = (s * n for s, n in zip(shard, times, strict=True))
    levels = plan_levels(shape, spacing, smallest=4)
    plan = ConvertPlan(levels, (2, 2, 2), shard, (z, y, x), 2, "max")
    order = list(plan.order())

    assert sorted(order) == list(plan.bands(0))

    opened: dict[int, set[ZYX]] = {}
    for band in order:
        level = 0
        while level + 1 < len(plan.levels):
            parent = plan.parent(level, band)
            assert band in plan.children(level + 1, parent)
            left = opened.setdefault(level + 1, set())
            left |= set(plan.children(level + 1, parent)) if not left else set()
            assert band in left, "a second band of this level would be open"
            left.remove(band)
            if left:
                break
            level, band = level + 1, parent
    assert not any(opened.values())
    for level in range(len(levels)):
        cores = [core for band in plan.bands(level) for core in plan.shards(level, band)]
        assert sorted(c.start for c in cores) == sorted(
            plan.grid(level).core(index).start for index in plan.grid(level)
        )


def test_memory_holds_two_bands_and_one_open_band_a_level(
    tmp_path: Path,
    stack: Path,
    small: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    narrow: None,
) -> None:
    levels = plan_levels((18, 27, 21), (1.0, 0.5, 0.5), smallest=8)
    plan = ConvertPlan(levels, (4, 4, 4), (8, 8, 8), (8, 8, 8), 2, "max")
    coarse = sum(plan.bands(k).core((0, 0, 0)).size for k in range(1, len(levels)))
    alive: list[Any] = []
    most = {"bands": 0, "open": 0}
    take, free, absorb = convert_run._Buffers.take, convert_run._Buffers.free, Cascade.absorb

    def counted_take(self: Any, *args: Any) -> Any:
        voxels = take(self, *args)
        alive.append(voxels)
        most["bands"] = max(most["bands"], len(alive))
        return voxels

    def counted_free(self: Any, voxels: Any) -> None:
        alive[:] = [other for other in alive if other is not voxels]
        free(self, voxels)

    def counted_absorb(self: Cascade, level: int, *args: Any) -> Any:
        most["open"] = max(most["open"], self.open_voxels)
        return absorb(self, level, *args)

    monkeypatch.setattr(convert_run._Buffers, "take", counted_take)
    monkeypatch.setattr(convert_run._Buffers, "free", counted_free)
    monkeypatch.setattr(Cascade, "absorb", counted_absorb)
    convert(stack, tmp_path / "b", **small)

    assert most["bands"] == 2
    assert 0 < most["open"] <= coarse
    assert plan.peak_bytes(2) >= 2 * (2 * 512 + coarse)


def test_memory_stays_within_the_usual_whatever_the_volume() -> None:
    for shape in [(64, 40_000, 40_000), (6000, 40_000, 40_000), (300, 300, 300), (9, 9, 90_000)]:
        source = Virtual(shape)
        _, shard = choose_shapes(shape, 64, None)

        plan = with_band(plan_of(shape, shard), source, 2, None)

        assert plan.peak_bytes(2) <= convert_band.USUAL_BYTES
        assert amplification(source, plan) == 1.0


def test_a_prediction_does_not_grow_with_the_volume() -> None:
    thin, deep = (
        with_band(plan_of(shape), Virtual(shape), 2, 8.0).peak_bytes(2)
        for shape in [(2000, 2000, 40_000), (20_000, 40_000, 40_000)]
    )
    assert deep < 1.1 * thin


@pytest.mark.parametrize(
    ("unit", "memory", "expected"),
    [
        ((1, 1, 1), 4, 1.0),
        ((1, 128, 2000), 4, 1.0),  # strips: bands as wide as the volume
        ((1, 2000, 2000), 8, 1.0),  # one strip a page: bands as high as the volume, too
        ((1, 2000, 2000), 1.5, 16.0),  # not enough memory for that
        ((64, 64, 64), 4, 1.0),
        ((60, 60, 60), 2, 1.3),  # chunks that fit no shard: those at the cuts twice
    ],
)
def test_a_band_decodes_as_little_as_memory_allows(
    unit: ZYX, memory: float, expected: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(convert_band, "available_memory", lambda: 64 * GIB)
    source = Virtual((1000, 2000, 2000), unit)

    plan = with_band(plan_of(source.shape), source, 2, memory)

    assert amplification(source, plan) <= expected
    assert plan.peak_bytes(2) <= memory * GIB


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(sides, sides, sides),
    unit=st.tuples(*[st.integers(1, 40)] * 3),
    times=st.tuples(*[st.sampled_from([1, 2, 4])] * 3),
)
def test_amplification_is_what_reading_every_band_decodes(
    shape: ZYX, unit: ZYX, times: ZYX
) -> None:
    z, y, x = (8 * n for n in times)
    levels = plan_levels(shape, smallest=8)
    plan = ConvertPlan(levels, (4, 4, 4), (8, 8, 8), (z, y, x), 2, "max")
    decoded = 0
    for band in plan.order():
        box = plan.bands(0).core(band)
        ends = zip(box.start, box.stop, unit, shape, strict=True)
        decoded += int(np.prod([min(-(-b // n) * n, size) - a // n * n for a, b, n, size in ends]))

    assert amplification(Virtual(shape, unit), plan) == pytest.approx(decoded / np.prod(shape))


@settings(max_examples=60, deadline=None)
@given(
    start=st.tuples(sides, sides, sides),
    size=st.tuples(sides, sides, sides),
    unit=st.tuples(*[st.integers(1, 40)] * 3),
    threads=st.integers(1, 5),
)
def test_pieces_cover_a_band_once_and_cut_between_units(
    start: ZYX, size: ZYX, unit: ZYX, threads: int
) -> None:
    z, y, x = (a + n for a, n in zip(start, size, strict=True))
    box = Box(start, (z, y, x))
    seen = np.zeros(size, np.uint8)

    for piece in convert_run.read_pieces(box, unit, threads):
        seen[piece.within(box)] += 1
        for a, b, low, high, n in zip(
            piece.start, piece.stop, box.start, box.stop, unit, strict=True
        ):
            assert a == low or a % n == 0
            assert b == high or b % n == 0

    assert (seen == 1).all()


def test_too_little_memory_is_said_with_what_it_takes() -> None:
    source = Virtual((1000, 2000, 2000))

    with pytest.raises(UsageError, match=r"needs 1\.\d+ GiB .* 0\.40 are there"):
        with_band(plan_of(source.shape), source, 2, 0.4)


def test_reading_often_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    source = Virtual((1000, 2000, 2000), (1, 2000, 2000))
    plan = plan_of(source.shape)

    with caplog.at_level(logging.WARNING):
        warn_amplification(source, replace(plan, band=(256, 2048, 2048)))
        assert not caplog.records
        warn_amplification(source, plan)

    assert "decoded 64.0 times" in caplog.text


@pytest.mark.parametrize(
    ("shape", "chunk", "shard", "expected"),
    [
        ((1000, 1000, 1000), 64, None, ((64,) * 3, (256,) * 3)),
        ((100, 10, 1000), 64, 256, ((64,) * 3, (128, 64, 256))),
        ((1000, 1000, 1000), 96, None, ((96,) * 3, (192,) * 3)),
        ((1000, 1000, 1000), (32, 64, 64), (64, 256, 256), ((32, 64, 64), (64, 256, 256))),
        ((1000, 1000, 1000), 512, None, ((512,) * 3, (512,) * 3)),
    ],
)
def test_shards_are_whole_chunks_and_no_larger_than_the_volume(
    shape: Any, chunk: Any, shard: Any, expected: Any
) -> None:
    assert choose_shapes(shape, chunk, shard) == expected


def test_children_and_parents_agree_on_a_flat_volume() -> None:
    levels = plan_levels((3, 60, 60), (4.0, 1.0, 1.0), smallest=16)
    plan = ConvertPlan(levels, (2, 2, 2), (4, 8, 8), (4, 16, 64), 2, "max")

    for level, band in product(range(1, len(levels)), [(0, 0, 0)]):
        assert all(plan.parent(level - 1, c) == band for c in plan.children(level, band))
