"""What is done, what is ready, and what may be thrown away."""

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuroconn.geometry import ZYX
from neuroconn.vaa3d.journal import Block, Made
from neuroconn.vaa3d.ledger import Job, Ledger
from neuroconn.vaa3d.partition import Partition
from neuroconn.vaa3d.plan import TeraflyOptions, TeraflyPlan


def plan_of(shape: ZYX, tile: int, partition: Partition = "fixed") -> TeraflyPlan:
    return TeraflyPlan(shape, "uint8", options=TeraflyOptions(tile=tile, partition=partition))


def started(plan: TeraflyPlan, records: list[Made] | None = None) -> Ledger:
    ledger = Ledger(plan.pyramid)
    ledger.resume(iter(records or []), lambda *tile: True, lambda *block: True)
    return ledger


def made(job: Job) -> Made:
    return Made(job.level, job.index, 1, Block.STORED, stamp=7)


@settings(max_examples=20)
@given(
    window=st.integers(1, 7),
    tile=st.integers(40, 70),
    partition=st.sampled_from(["fixed", "balanced"]),
    seed=st.integers(0, 9),
)
def test_jobs_come_once_and_after_what_they_need_in_any_order_of_finishing(
    window: int, tile: int, partition: Partition, seed: int
) -> None:
    plan = plan_of((200, 300, 600), tile, partition)
    ledger, chance = started(plan), random.Random(seed)
    running: list[Job] = []
    handed: Counter[tuple[int, ZYX]] = Counter()
    blocks: set[tuple[int, ZYX]] = set()
    while ledger.done < plan.tile_count:
        while len(running) < window and (job := ledger.next()) is not None:
            handed[job.level, job.index] += 1
            for child, block in job.inputs:
                assert block == Block.STORED
                assert (job.level - 1, child) in blocks
            running.append(job)
        job = running.pop(chance.randrange(len(running)))
        blocks.add((job.level, job.index))
        blocks -= set(ledger.finish(made(job)))

    assert set(handed.values()) == {1}
    assert handed.total() == plan.tile_count
    top = len(plan.levels) - 1
    assert blocks == {(top, index) for index in plan.tilings[top]}


@pytest.mark.parametrize(
    ("tile", "partition", "most"),
    [(64, "fixed", 2 * 8), (64, "balanced", 2 * 8), (61, "balanced", 2 * 17**2)],
)
def test_the_blocks_that_wait_at_any_time_are_few(
    tile: int, partition: Partition, most: int
) -> None:
    plan = plan_of((1024, 1024, 1024), tile, partition)
    ledger, peak = started(plan), 0
    waiting: set[tuple[int, ZYX]] = set()
    while (job := ledger.next()) is not None:
        if job.level + 1 < len(plan.levels):
            waiting.add((job.level, job.index))
        waiting -= set(ledger.finish(made(job)))
        peak = max(peak, len(waiting))

    assert ledger.done == plan.tile_count > 4000
    assert peak <= most


def test_a_lost_block_sends_its_tile_back_and_all_that_it_needs() -> None:
    plan = plan_of((256, 256, 600), 128)
    ledger, records = started(plan), []
    for _ in range(len(plan.tilings[0])):
        job = ledger.next()
        assert job is not None
        records.append(made(job))
        ledger.finish(records[-1])
    gone = next(m for m in reversed(records) if m.level == 0)
    again = Ledger(plan.pyramid)

    again.resume(
        iter(records),
        has_tile=lambda level, index, size: True,
        has_block=lambda level, index: (level, index) != (gone.level, gone.index),
    )

    needed = plan.pyramid.parents(0, gone.index)
    if all(again.is_done(1, parent) for parent in needed):
        assert again.is_done(0, gone.index)  # nobody needs the block any more
    else:
        assert not again.is_done(0, gone.index)


def test_a_lost_tile_is_not_done_and_its_children_are_kept_if_their_blocks_are() -> None:
    plan = plan_of((256, 256, 600), 128)
    ledger, records = started(plan), []
    while (job := ledger.next()) is not None:
        records.append(made(job))
        ledger.finish(records[-1])
    again = Ledger(plan.pyramid)

    again.resume(
        iter(records),
        has_tile=lambda level, index, size: level != 1,
        has_block=lambda level, index: level == 0,
    )

    assert again.done == len(plan.tilings[0]) + len(plan.tilings[2])
    job = again.next()
    assert job is not None
    assert job.level == 1
