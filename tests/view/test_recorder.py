import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from neuroconn.inference.watching.events import ChunkDone, Progress
from neuroconn.view.recorder import SECONDS, ChunkTimes, RunRecorder

NOW = Progress(0, 0, 0, 0, queued=9, in_flight=1, slots=2, inferred=0, seconds=0, model_seconds=0)


def done(number: int, seconds: float, worker: str = "w") -> ChunkDone:
    return ChunkDone((0, number // 100, number % 100), "neurite", seconds, worker=worker)


@given(st.lists(st.floats(0, 2000), max_size=60))
def test_times_are_counted_in_classes_one_by_one_or_together(seconds: list[float]) -> None:
    rows = np.zeros(len(seconds), [("z", int), ("y", int), ("x", int), ("seconds", float)])
    rows["x"], rows["seconds"] = np.arange(len(seconds)), seconds
    one_by_one, together = ChunkTimes(), ChunkTimes()
    for x, s in enumerate(seconds):
        one_by_one.add((0, 0, x), s)
    together.add_rows(rows)

    edges = [-1, *SECONDS, np.inf]
    expected = [sum(a < s <= b for s in seconds) for a, b in pairwise(edges)]
    assert one_by_one.counts == together.counts == expected
    slowest = sorted((round(s, 3) for s in seconds), reverse=True)[:10]
    assert [s for _, s, _ in one_by_one.slowest()] == slowest
    assert [s for _, s, _ in together.slowest()] == slowest


def test_what_is_sent_stays_small_however_long_a_run_is() -> None:
    recorder = RunRecorder(limit=10**7)
    for n in range(30_000):
        failed = ChunkDone((0, 0, n), "failed", 0.0, reason="x" * 1000)
        fresh = (done(n, 0.1 * (n % 7), worker=f"w{n % 500}"), failed)
        recorder(replace(NOW, done=n, failed=n, inferred=n, seconds=n / 10.0, finished=fresh))

    assert len(json.dumps(recorder.fields())) < 2_000
    assert len(json.dumps(recorder.details())) < 60_000


def test_it_says_what_the_page_shows() -> None:
    recorder = RunRecorder(limit=100)
    recorder(NOW)
    failed = ChunkDone((1, 2, 3), "failed", 0.0, worker="w2", reason="OSError: gone")
    now = replace(
        NOW,
        done=2,
        neurite=1,
        empty=1,
        failed=1,
        queued=4,
        inferred=2,
        seconds=4.0,
        model_seconds=3.0,
        voxels=64,
        finished=(done(1, 0.5, "w1"), done(2, 1.5, "w1"), failed),
        warnings=("too many",),
        audit="at most 3 %",
    )
    recorder(now)

    fields, details = recorder.fields(), recorder.details()

    chunks = {"neurite": 1, "empty": 1, "failed": 1, "queued": 4, "in_flight": 1}
    assert fields["chunks"] == chunks
    assert (fields["voxels"], fields["busy"], fields["rates"]) == (64, 0.75, [0.5, 0.5])
    assert fields["total"] == [8, None, None]
    assert fields["eta_text"] == "at least 10 s"
    assert (fields["warnings"], fields["audit"]) == (["too many"], "at most 3 %")
    assert details["failures"] == [[[1, 2, 3], "OSError: gone", "w2"]]
    assert details["workers"] == [["w1", 2, 2.0]]
    assert details["times"]["slowest"][0] == [[0, 0, 2], 1.5, "w1"]
    assert details["curve"][-1] == [4.0, 2, 3.0, 5]


def test_before_the_first_word_there_is_nothing_to_say() -> None:
    assert RunRecorder(limit=1).fields() == {}


def test_an_audit_that_begins_is_no_growth_of_the_walk() -> None:
    recorder = RunRecorder(limit=10_000)
    for n in range(200):
        recorder(replace(NOW, done=n, inferred=n, queued=max(0, 100 - n // 2), in_flight=0))
    recorder(replace(NOW, done=200, inferred=200, queued=0, in_flight=0))
    recorder(replace(NOW, done=200, inferred=200, queued=50, in_flight=0, phase="audit"))

    assert recorder.fields()["basis"] == "trend"
