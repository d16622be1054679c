"""A rehearsal finds what a run would find, writes nothing, and names what one would regret."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import (
    CHUNK,
    CHUNKS,
    FIBRE,
    SEED,
    SETTINGS,
    fake_predictor,
    fibre,
    save_brain,
    save_card,
    stored_bytes,
)
from hypothesis import given
from hypothesis import strategies as st

from neuroconn.config.infer import AuditSettings
from neuroconn.errors import OutputError, UsageError
from neuroconn.geometry import ChunkGrid
from neuroconn.inference.rehearsal import rehearse as rehearsal
from neuroconn.inference.rehearsal.costs import touched
from neuroconn.inference.rehearsal.estimate import Estimate
from neuroconn.inference.rehearsal.regrets import human
from neuroconn.inference.rehearsal.rehearse import rehearse
from neuroconn.inference.rehearsal.trials import Trial
from neuroconn.inference.run import infer
from neuroconn.volume.codecs import packed_bytes

Rehearse = Callable[..., Estimate]


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    save_brain(tmp_path / "brain.zarr", fibre())
    save_card(tmp_path / "model")
    return tmp_path


@pytest.fixture
def usual(lab: Path) -> dict[str, Any]:
    return {
        "model": lab / "model",
        "seeds": [SEED],
        "settings": SETTINGS,
        "scheduler": "sync",
        "predictor": fake_predictor,
    }


@pytest.fixture
def dry(lab: Path, usual: dict[str, Any]) -> Rehearse:
    return lambda **changes: rehearse(lab / "brain.zarr", lab / "out.zarr", **{**usual, **changes})


def tree(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file and folder, with its size and the time of its last change."""
    paths = [folder, *folder.rglob("*")]
    return {str(p): (p.stat().st_size, p.stat().st_mtime_ns) for p in paths}


@pytest.mark.parametrize("scheduler", ["sync", "threads"])
def test_a_rehearsal_writes_nothing_and_holds_no_lock(
    lab: Path, dry: Rehearse, scheduler: str
) -> None:
    before = tree(lab)

    estimate = dry(scheduler=scheduler)

    assert tree(lab) == before
    assert estimate.measured is not None
    assert estimate.measured.chunks == CHUNKS
    assert estimate.measured.neurite == len(FIBRE)


def test_beside_an_output_it_changes_nothing_and_says_what_is_done(
    lab: Path, dry: Rehearse, usual: dict[str, Any]
) -> None:
    settings = SETTINGS.model_copy(update={"max_chunks": 2})
    infer(lab / "brain.zarr", lab / "out.zarr", **{**usual, "settings": settings})
    before = tree(lab / "out.zarr")

    estimate = dry()

    assert tree(lab / "out.zarr") == before
    assert estimate.chunks["neurite"] == 2
    assert estimate.chunks["queued"] >= 1
    assert estimate.neurite is not None
    assert estimate.neurite.likely == len(FIBRE) - 2  # all that is open was inferred


def test_what_a_finished_run_would_do_is_nothing(
    lab: Path, dry: Rehearse, usual: dict[str, Any]
) -> None:
    infer(lab / "brain.zarr", lab / "out.zarr", **usual)

    estimate = dry()

    assert estimate.visits.high == 0
    assert estimate.seconds is not None
    assert estimate.seconds.high == 0
    assert estimate.measured is None
    assert "nothing is left" in estimate.basis


def test_what_it_promises_is_what_the_run_does(
    lab: Path, dry: Rehearse, usual: dict[str, Any]
) -> None:
    estimate = dry()

    report = infer(lab / "brain.zarr", lab / "out.zarr", **usual)

    assert estimate.run_id == report.run_id
    assert estimate.visits.low <= report.visited <= estimate.visits.high
    cores = [n for name, n in sizes(lab / "out.zarr").items() if name.startswith("0/c")]
    assert estimate.bytes.likely == pytest.approx(sum(cores) * 8 / 7, rel=0.4)


def sizes(output: Path) -> dict[str, int]:
    return {name: len(data) for name, data in stored_bytes(output).items()}


def test_a_dense_run_visits_every_chunk_for_certain(dry: Rehearse) -> None:
    estimate = dry(seeds=(), seed_source="all")

    assert estimate.visits.low == estimate.visits.high == CHUNKS
    assert estimate.looks == {}
    assert estimate.seeds == CHUNKS
    assert estimate.audit == 0


def test_a_region_bounds_the_visits(dry: Rehearse) -> None:
    estimate = dry(box=[16, 32, 0, 32, 48, 80])

    assert estimate.visits.high <= 5
    assert estimate.region is not None
    assert "5 of 60 chunks" in estimate.region
    with pytest.raises(UsageError, match="every seed lies outside the region"):
        dry(box=[0, 0, 0, 16, 16, 16])


def test_max_chunks_bounds_the_visits(dry: Rehearse) -> None:
    estimate = dry(settings=SETTINGS.model_copy(update={"max_chunks": 3}))
    assert estimate.visits.high == 3


def test_without_measuring_nothing_is_inferred(
    lab: Path, dry: Rehearse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE", json.dumps({"log": str(lab / "tiles")}))

    estimate = dry(measure=False)

    assert not (lab / "tiles").exists()
    assert estimate.measured is estimate.seconds is estimate.device_hours is None
    assert estimate.visits.low >= 1
    assert estimate.visits.high > estimate.visits.low
    assert "no inferred chunk" in estimate.basis
    assert estimate.bytes.high > 0


def test_time_that_is_up_ends_it_after_one_timed_chunk(
    lab: Path, dry: Rehearse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE", json.dumps({"log": str(lab / "tiles")}))

    estimate = dry(budget_s=0.0)

    assert (lab / "tiles").read_text().count("tile") == 2
    assert estimate.measured is not None
    assert estimate.measured.timed == 1
    assert estimate.visits.high > len(FIBRE)


def test_asked_again_it_infers_the_same_chunks(lab: Path, dry: Rehearse) -> None:
    first, again = dry(budget_s=0.0), dry(budget_s=0.0)
    assert (first.neurite, first.visits, first.looks) == (again.neurite, again.visits, again.looks)


def test_a_network_that_fails_is_a_warning_with_its_reason(
    dry: Rehearse, monkeypatch: pytest.MonkeyPatch
) -> None:
    value = int(fibre()[0, 0, 0])  # every tile at the corner holds it, others may
    monkeypatch.setenv("FAKE", json.dumps({"error": value}))

    estimate = dry()

    assert any("could not be inferred" in w and "told to fail" in w for w in estimate.warnings)


def test_whatever_infer_refuses_is_refused(lab: Path, dry: Rehearse) -> None:
    (lab / "out.zarr").mkdir()
    (lab / "out.zarr" / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="not ours"):
        dry()


def test_the_estimate_is_json(dry: Rehearse) -> None:
    said: list[str] = []
    plain = json.loads(json.dumps(dry(say=said.append).to_json()))

    assert plain["tiling"]["redundancy"] == ((CHUNK + 16) / CHUNK) ** 3
    assert plain["visits"]["low"] <= plain["visits"]["high"]
    assert set(plain["looks"]) == {"noise", "doubtful", "likely", "sure"}
    assert len(said) == 2


def test_a_full_disk_many_days_and_rule_any_are_said_before(
    dry: Rehearse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rehearsal, "free_bytes", lambda _: 10)
    monkeypatch.setattr(Trial, "measured", slow(Trial.measured))
    rules = SETTINGS.evidence.model_copy(update={"rule": "any"})

    estimate = dry(settings=SETTINGS.model_copy(update={"evidence": rules}))

    text = "\n".join(estimate.warnings)
    for words in (
        "will not fit",
        "the walk may take",
        "26 neighbours visits the whole brain",
        "chunk: 32 makes it 3.4",
        "neuroconn doctor",
    ):
        assert words in text
    assert "GPU" not in text  # the fake network says nothing of its device


def slow(measured: Callable[..., Any]) -> Callable[..., Any]:
    from dataclasses import replace

    return lambda trial, models: replace(measured(trial, models), chunks_per_second=1e-6)


def test_the_audit_is_announced_with_its_limit(dry: Rehearse) -> None:
    audit = AuditSettings(probes=8, directed=3)
    estimate = dry(settings=SETTINGS.model_copy(update={"audit": audit}))
    assert estimate.audit == 11


@given(
    size=st.integers(1, 60),
    chunk=st.integers(1, 20),
    halo=st.integers(0, 12),
    unit=st.integers(1, 20),
)
def test_what_is_decoded_is_counted_voxel_by_voxel(
    size: int, chunk: int, halo: int, unit: int
) -> None:
    grid, decoded = ChunkGrid((1, 1, size), (1, 1, chunk)), 0
    for index in grid:
        tile = grid.core(index).grow((0, 0, 0))
        wanted = range(max(0, tile.start[2] - halo), min(size, index[2] * chunk + chunk + halo))
        units = {v // unit for v in wanted}
        decoded += sum(v // unit in units for v in range(size))
    assert touched(size, chunk, halo, unit) == pytest.approx(decoded / (len(grid) * chunk))


def test_packed_bytes_are_those_on_disk(lab: Path, usual: dict[str, Any]) -> None:
    infer(lab / "brain.zarr", lab / "out.zarr", **{**usual, "seeds": (), "seed_source": "all"})
    from neuroconn.volume.store import open_image

    array = open_image(lab / "out.zarr").array(0)
    core = np.asarray(array[16:32, 32:48, 16:32])
    stored = (lab / "out.zarr/0/c/1/2/1").stat().st_size
    # Beside the chunks a shard has an index and four bytes of checksum for each.
    assert packed_bytes(core, 8) == pytest.approx(stored, abs=8 * (16 + 4) + 4)


def test_bytes_are_written_for_people() -> None:
    assert [human(n) for n in (999, 1000, 999_600, 3e15)] == ["999 B", "1 kB", "1 MB", "3e+03 TB"]


@pytest.mark.cluster
def test_workers_of_a_cluster_rehearse_too_and_forget_it(lab: Path, dry: Rehearse) -> None:
    before = tree(lab)

    estimate = dry(scheduler="local:1")

    assert tree(lab) == before
    assert estimate.measured is not None
    assert estimate.measured.neurite == len(FIBRE)
    assert estimate.measured.slots == 1
    assert estimate.workers.models == 1
