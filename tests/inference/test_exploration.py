"""Audit, region and guards of a whole run, in one process."""

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import (
    CHUNKS,
    FIBRE,
    SEED,
    SETTINGS,
    SHAPE,
    fake_predictor,
    fibre,
    save_brain,
    save_card,
    stored_bytes,
)

from neuroconn.config.infer import AuditSettings, InferSettings
from neuroconn.errors import InterruptedRunError, NeuroconnError, OutputError, UsageError
from neuroconn.inference import exploration
from neuroconn.inference.journal.journal import Journal
from neuroconn.inference.output.status import status
from neuroconn.inference.output.verify import verify
from neuroconn.inference.report import InferReport
from neuroconn.inference.run import infer
from neuroconn.inference.watching.events import Progress
from neuroconn.volume.store import open_image

Run = Callable[..., InferReport]
AUDITED = SETTINGS.model_copy(update={"audit": AuditSettings(probes=8, directed=4, share=1)})
LOST = {(0, 3, 0), (1, 3, 0), (2, 3, 0)}
"""Chunks of a second fibre that no seed lies on and no evidence leads to."""


def two_fibres() -> np.ndarray[Any, Any]:
    volume = fibre()
    volume[:, 60, 4] = 900
    return volume


@pytest.fixture
def run(tmp_path: Path) -> Run:
    save_brain(tmp_path / "brain.zarr", two_fibres())
    save_card(tmp_path / "model")

    def run(output: str = "out.zarr", **changes: Any) -> InferReport:
        usual: dict[str, Any] = {
            "model": tmp_path / "model",
            "seeds": [SEED],
            "settings": AUDITED,
            "scheduler": "sync",
            "predictor": fake_predictor,
        }
        return infer(tmp_path / "brain.zarr", tmp_path / output, **{**usual, **changes})

    return run


def neurite(output: Path) -> set[Any]:
    return {r.index for r in Journal.read(output / "run").records() if r.status == "neurite"}


def test_the_audit_finds_a_fibre_nobody_pointed_at(run: Run, tmp_path: Path) -> None:
    without = run("without.zarr", settings=SETTINGS)
    report = run()

    assert neurite(tmp_path / "without.zarr") == FIBRE
    assert without.audit is None
    assert neurite(tmp_path / "out.zarr") == FIBRE | LOST
    assert report.audit is not None
    assert report.audit.found == len(LOST)
    assert report.audit.hits >= 1
    assert report.audit.unexplored == report.chunks["unexplored"]
    assert report.complete
    assert verify(tmp_path / "out.zarr").sound


def test_a_finished_audit_computes_nothing_when_run_again(run: Run, tmp_path: Path) -> None:
    first = run()
    before = stored_bytes(tmp_path / "out.zarr")

    again = run()

    assert again.inferred == 0
    assert again.audit == first.audit
    assert stored_bytes(tmp_path / "out.zarr") == before


def test_more_probes_may_be_asked_for_later(run: Run) -> None:
    first = run()
    more = AUDITED.model_copy(update={"audit": AuditSettings(probes=20, share=1)})

    again = run(settings=more)

    assert again.inferred > 0
    assert first.audit is not None
    assert again.audit is not None
    assert again.audit.missed <= first.audit.missed
    assert run(settings=more).inferred == 0


@pytest.mark.parametrize("cut", [1, 4, 9])
def test_a_run_cut_in_the_middle_of_its_audit_ends_in_the_same_bytes(
    run: Run, tmp_path: Path, cut: int
) -> None:
    run("whole/out.zarr")
    stop = threading.Event()

    def in_the_audit(progress: Progress) -> None:
        if progress.phase == "audit" and progress.done >= len(FIBRE) + cut:
            stop.set()

    with pytest.raises(InterruptedRunError):
        run(progress=in_the_audit, stop=stop)
    run()

    assert stored_bytes(tmp_path / "out.zarr") == stored_bytes(tmp_path / "whole/out.zarr")
    assert run().inferred == 0


def test_a_run_that_dies_between_draw_and_probes_goes_on_with_the_same_probes(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("whole/out.zarr")
    real = exploration.write_rounds

    def die(*arguments: Any) -> None:
        real(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(exploration, "write_rounds", die)
    with pytest.raises(KeyboardInterrupt):
        run()
    monkeypatch.undo()
    run()

    drawn = [
        json.loads((tmp_path / name / "run/audit.json").read_text())["rounds"]
        for name in ("whole/out.zarr", "out.zarr")
    ]
    assert drawn[0] == drawn[1]
    assert stored_bytes(tmp_path / "out.zarr") == stored_bytes(tmp_path / "whole/out.zarr")


def test_a_walk_that_was_cut_short_is_not_audited(run: Run) -> None:
    report = run(settings=AUDITED.model_copy(update={"max_chunks": 3}))

    assert report.audit is None
    assert report.visited == 3


def test_the_walk_stays_in_its_box(run: Run, tmp_path: Path) -> None:
    report = run(box=(0, 0, 0, 48, 64, 32))

    inside = {index for index in FIBRE | LOST if index[2] < 2}
    assert neurite(tmp_path / "out.zarr") == inside
    assert report.chunks["masked"] == CHUNKS - 3 * 4 * 2
    assert report.complete
    assert status(tmp_path / "out.zarr").chunks == report.chunks
    assert run(box=(0, 0, 0, 48, 64, 32)).inferred == 0


def test_a_box_in_micrometres_is_the_same_box(run: Run, tmp_path: Path) -> None:
    run(box=(0, 0, 0, 48, 64, 32))

    # Voxels are 2 x 1 x 1 µm; the same chunks are the same run.
    again = run(box=("0um", "0um", "0um", "96um", "64um", "32um"))

    assert again.inferred == 0


def test_another_region_is_another_run(run: Run) -> None:
    run(box=(0, 0, 0, 48, 64, 32))

    with pytest.raises(OutputError, match="region"):
        run()


def test_every_chunk_of_a_mask_can_be_asked_for(run: Run, tmp_path: Path) -> None:
    mask = np.zeros(SHAPE, np.uint16)
    mask[:16, :16, :] = 1
    save_brain(tmp_path / "mask.zarr", mask)

    report = run(mask=tmp_path / "mask.zarr", seeds=(), seed_source="all")

    assert report.visited == 5
    assert report.chunks["unexplored"] == 0


def test_seeds_outside_the_region_are_refused(run: Run) -> None:
    with pytest.raises(UsageError, match="every seed lies outside the region"):
        run(box=(0, 0, 32, 48, 64, 80))


def test_a_region_survives_a_crash_before_it_was_stored(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from neuroconn.inference import run as module

    def die(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "write_mask", die)
    with pytest.raises(KeyboardInterrupt):
        run(box=(0, 0, 0, 48, 64, 32))
    monkeypatch.undo()

    assert run(box=(0, 0, 0, 48, 64, 32)).chunks["masked"] == CHUNKS - 24


def test_a_network_that_always_fails_ends_the_run_with_its_reason(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("neuroconn.inference.walk._HOPELESS", 5)
    monkeypatch.setenv("FAKE", json.dumps({"error": 900}))

    with pytest.raises(NeuroconnError, match=r"in a row failed.*told to fail.*--retry-failed"):
        run()
    monkeypatch.delenv("FAKE")

    assert run(retry_failed=True).complete


@pytest.fixture
def floods(monkeypatch: pytest.MonkeyPatch) -> InferSettings:
    """Every neighbour of every chunk, in a grid of which little holds neurite."""
    monkeypatch.setattr("neuroconn.inference.flood._ENOUGH", 20)
    rules = SETTINGS.evidence.model_copy(update={"rule": "any"})
    return SETTINGS.model_copy(update={"evidence": rules, "bridge": 9, "max_empty": 0.6})


def test_a_flooding_walk_stops_where_it_was_told_to(run: Run, floods: InferSettings) -> None:
    report = run(settings=floods)

    assert report.exit_code == 1
    assert any("max_empty" in line for line in report.warnings)
    assert 20 <= report.visited < CHUNKS
    higher = floods.model_copy(update={"max_empty": None})
    assert run(settings=higher).complete


def test_the_map_says_where_nobody_looked(run: Run, tmp_path: Path) -> None:
    run(box=(0, 0, 0, 48, 64, 32))

    codes = np.asarray(open_image(tmp_path / "out.zarr").array(0)[:])
    assert (codes[:, :, 32:] == 255).all()
