import json
import threading
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from fakes import CHUNKS, SEED, SETTINGS, fake_predictor, fibre, save_brain, save_card

from neuroconn.errors import InterruptedRunError
from neuroconn.inference.output.run_folder import require_run
from neuroconn.inference.run import infer
from neuroconn.inference.watching.events import EventLog, Progress
from neuroconn.inference.watching.samples import Sampler, Sessions

START = Progress(0, 0, 0, 0, queued=9, in_flight=1, slots=2, inferred=0, seconds=0, model_seconds=0)


def samples(path: Path) -> list[float]:
    events = [json.loads(line) for line in path.read_text().splitlines()]
    return [event["seconds"] for event in events if event["event"] == "sample"]


def test_samples_are_dense_at_first_and_rare_later(tmp_path: Path) -> None:
    log = tmp_path / "events.jsonl"
    sampler = Sampler(EventLog(log))

    for second in range(0, 36000, 1):
        sampler(replace(START, seconds=float(second)))
    sampler.close()

    taken = samples(log)
    assert taken[:20] == [float(n) for n in range(20)]
    assert max(b - a for a, b in pairwise(taken)) <= 31
    assert len(taken) < 1500
    assert taken[-1] == 35999


def test_the_last_state_is_written_once(tmp_path: Path) -> None:
    log = tmp_path / "events.jsonl"
    sampler = Sampler(EventLog(log))
    sampler(START)
    sampler(replace(START, seconds=0.5))

    sampler.close()
    sampler.close()

    assert samples(log) == [0.0, 0.5]


def test_a_run_of_two_clients_is_read_as_two_sessions(tmp_path: Path) -> None:
    save_brain(tmp_path / "brain.zarr", fibre())
    save_card(tmp_path / "model")
    stop = threading.Event()

    def run(listen: Callable[[Progress], None]) -> None:
        infer(
            tmp_path / "brain.zarr",
            tmp_path / "out.zarr",
            model=tmp_path / "model",
            seeds=[SEED],
            seed_source="all",
            settings=SETTINGS,
            scheduler="sync",
            predictor=fake_predictor,
            progress=listen,
            stop=stop,
        )

    with pytest.raises(InterruptedRunError):
        run(lambda now: stop.set() if now.done > 20 else None)
    stop.clear()
    run(lambda now: None)

    sessions = Sessions()
    sessions.read(require_run(tmp_path / "out.zarr").events)
    first, second = sessions.all
    assert first.end is not None
    assert "Interrupted" in first.end["reason"]
    assert (second.end or {})["event"] == "end"
    assert first.samples[-1].done == second.samples[0].done
    assert second.samples[-1].done == CHUNKS
    assert sum(s.samples[-1].inferred for s in sessions.all) == CHUNKS
    assert first.start["brain"] == str(tmp_path / "brain.zarr")


def test_lines_that_make_no_sense_are_passed_over() -> None:
    sessions = Sessions()

    sessions.read(
        ['{"time": 1, "eve', "[1]", '{"event": "start"}', "", '{"time": 2, "event": "x"}']
    )

    assert [event["event"] for event in sessions.incidents] == ["x"]
    assert sessions.all[0].until == 2


def test_incidents_are_kept_within_bounds() -> None:
    sessions = Sessions()

    sessions.read(json.dumps({"time": n, "event": "batch killed", "n": n}) for n in range(3000))

    assert [event["n"] for event in sessions.incidents] == list(range(2000, 3000))
