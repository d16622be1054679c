"""A run whose brain and output lie on an object store ends as one on a disk does."""

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from fakes import FIBRE, SEED, SETTINGS, fake_predictor, fibre, save_brain, save_card, stored_bytes
from flaky import Proxy, at_random, proxy_of

from neuroconn.errors import InterruptedRunError, OutputError
from neuroconn.evaluation import evaluate
from neuroconn.exporter import export
from neuroconn.inference.journal.journal import Journal, Record
from neuroconn.inference.output.run_folder import RunFolder, require_run
from neuroconn.inference.output.status import status
from neuroconn.inference.output.verify import verify
from neuroconn.inference.report import InferReport
from neuroconn.inference.run import infer
from neuroconn.inference.watching.events import Progress
from neuroconn.volume import connection
from neuroconn.volume.address import ObjectPath, address_of
from neuroconn.volume.connection import Patience
from neuroconn.volume.objects import Objects

Run = Callable[..., InferReport]


@pytest.fixture
def run(tmp_path: Path, bucket: str) -> Run:
    """Walk a brain into an output; both are ``s3`` for the bucket, or ``disk``."""
    save_card(tmp_path / "model")
    roots = {"s3": bucket, "disk": str(tmp_path)}
    made: set[str] = set()

    def run(brain: str = "s3", output: str = "s3", **changes: Any) -> InferReport:
        if brain not in made:
            save_brain(address_of(f"{roots[brain]}/brain.zarr"), fibre())
            made.add(brain)
        usual: dict[str, Any] = {
            "model": tmp_path / "model",
            "seeds": [SEED],
            "settings": SETTINGS,
            "scheduler": "sync",
            "predictor": fake_predictor,
        }
        return infer(
            f"{roots[brain]}/brain.zarr", f"{roots[output]}/out.zarr", **{**usual, **changes}
        )

    return run


def objects_of(output: str) -> dict[str, bytes]:
    """Every object of a map on S3 but those of the run folder."""
    at = Objects(address_of(output))  # type: ignore[arg-type]
    return {key: at.get(key) or b"" for key, _ in at.list() if not key.startswith("run/")}


def lines(output: Any) -> list[Any]:
    found = Journal.read(output / "run").records()
    return [(r.index, r.status, r.strong, r.weak, r.voxels, r.digest) for r in found]


@pytest.mark.parametrize("brain", ["s3", "disk"])
def test_a_walk_stores_the_same_bytes_and_records_on_s3_as_on_disk(
    run: Run, tmp_path: Path, bucket: str, brain: str
) -> None:
    on_disk = run(brain, "disk")
    on_s3 = run(brain, "s3")

    assert on_s3.chunks == on_disk.chunks
    assert on_s3.output == f"{bucket}/out.zarr"
    assert objects_of(f"{bucket}/out.zarr") == stored_bytes(tmp_path / "out.zarr")
    assert lines(address_of(f"{bucket}/out.zarr")) == lines(tmp_path / "out.zarr")
    assert {index for index, *_ in lines(tmp_path / "out.zarr")} == FIBRE
    assert verify(f"{bucket}/out.zarr").sound
    assert status(f"{bucket}/out.zarr").complete
    assert run(brain, "s3").inferred == 0


@pytest.fixture
def proxy(s3_server: str, bucket: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """The server, seen through one that can make trouble, and clients that do not wait long."""
    for name in ("OPENING", "READING", "WRITING"):
        patience = Patience(timeout=5, retries=8, retry_for=5, longest_pause=0.05)
        monkeypatch.setattr(connection, name, patience)
    with proxy_of(s3_server) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        yield server


def test_a_flaky_server_changes_nothing(
    run: Run, tmp_path: Path, bucket: str, proxy: Proxy
) -> None:
    run("disk", "disk")
    run("s3", "s3", dry_run=True)
    proxy.trouble = at_random(seed=1, share=0.15)

    report = run()

    assert report.complete
    assert report.retried == 0

    proxy.trouble = lambda *_: ""
    assert objects_of(f"{bucket}/out.zarr") == stored_bytes(tmp_path / "out.zarr")
    assert lines(address_of(f"{bucket}/out.zarr")) == lines(tmp_path / "out.zarr")


def test_the_answer_to_every_first_write_may_be_lost(
    run: Run, tmp_path: Path, bucket: str, proxy: Proxy
) -> None:
    run("disk", "disk")
    seen: set[str] = set()

    def carried_out_and_not_said(method: str, path: str) -> str:
        first = method == "PUT" and path not in seen
        seen.add(path)
        return "lose the answer" if first else ""

    proxy.trouble = carried_out_and_not_said
    assert run("disk", "s3").retried == 0

    assert objects_of(f"{bucket}/out.zarr") == stored_bytes(tmp_path / "out.zarr")
    assert lines(address_of(f"{bucket}/out.zarr")) == lines(tmp_path / "out.zarr")
    assert not [key for key, _ in Objects(ObjectPath(f"{bucket}/out.zarr/run")).list("lock")]


def test_an_interrupted_run_resumes_to_the_same_bytes(run: Run, bucket: str) -> None:
    stop = threading.Event()

    def after_two(progress: Progress) -> None:
        if progress.done == 2:
            stop.set()

    with pytest.raises(InterruptedRunError):
        run("disk", "s3", stop=stop, progress=after_two)
    assert status(f"{bucket}/out.zarr").chunks["neurite"] == 2
    report = run("disk", "s3")

    assert report.inferred == len(FIBRE) - 2
    assert {index for index, *_ in lines(address_of(f"{bucket}/out.zarr"))} == FIBRE
    assert verify(f"{bucket}/out.zarr").sound


def test_what_a_run_says_beside_the_map_is_read_back(run: Run, bucket: str) -> None:
    run("disk", "s3", settings=SETTINGS.model_copy(update={"max_chunks": 3}))
    folder = require_run(f"{bucket}/out.zarr")

    assert [note["event"] for note in folder.incidents()][:1] == ["start"]
    assert {"start", "end"} <= {note["event"] for note in folder.incidents()}
    assert folder.read_report()["output"] == f"{bucket}/out.zarr"
    assert folder.read_json("audit") is None
    folder.write_json("more", {"a": [1]})
    assert require_run(f"{bucket}/out.zarr").read_json("more") == {"a": [1]}
    found = status(f"{bucket}/out.zarr")
    assert not found.complete
    assert found.chunks["queued"] == 1


def test_failed_chunks_keep_their_reason_and_are_tried_again(
    run: Run, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stay = SETTINGS.model_copy(update={"through_failed": "none"})
    monkeypatch.setenv("FAKE", json.dumps({"error": 900}))

    report = run("disk", "s3", settings=stay)

    assert [index for index, _ in report.failed] == [(1, 2, 0)]
    assert "told to fail" in report.failed[0][1]
    monkeypatch.delenv("FAKE")
    assert run("disk", "s3", settings=stay).chunks["failed"] == 1
    assert run("disk", "s3", settings=stay, retry_failed=True).visited == len(FIBRE)


def test_damage_is_found_and_repaired_and_only_it_is_computed_again(run: Run, bucket: str) -> None:
    output = f"{bucket}/out.zarr"
    run("disk", "s3")
    whole, at = objects_of(output), Objects(ObjectPath(output))
    flipped = bytes(byte ^ (i == 30) for i, byte in enumerate(whole["0/c/1/1/2"]))
    at.delete("0/c/1/2/0")
    at.put("0/c/1/2/1", b"")
    at.put("0/c/1/2/2", whole["0/c/1/2/0"])
    at.put("0/c/1/1/2", flipped)

    found = verify(output)

    reasons = dict(found.damaged)
    assert set(reasons) == {(1, 2, 0), (1, 2, 1), (1, 2, 2), (1, 1, 2)}
    assert reasons[1, 2, 0] == "missing from the store"
    assert "is empty" in reasons[1, 2, 1]
    assert "not those that were written" in reasons[1, 2, 2]
    assert objects_of(output) != whole
    assert verify(output, repair=True).repaired
    assert run("disk", "s3").inferred == 4
    assert verify(output).sound
    assert objects_of(output) == whole

    at.put("0/c/1/0/2", whole["0/c/1/0/2"][:-9])
    assert "cannot decode" in dict(verify(output).damaged)[1, 0, 2]


def test_objects_nobody_speaks_of_and_bad_coarse_ones_are_taken_out(run: Run, bucket: str) -> None:
    output = f"{bucket}/out.zarr"
    run("disk", "s3")
    whole, at = objects_of(output), Objects(ObjectPath(output))
    at.put("0/c/0/0/0", whole["0/c/1/2/1"])
    coarse = next(key for key in whole if key.startswith("1/c/"))
    at.put(coarse, b"")

    found = verify(output)

    assert found.unjournalled == ((0, 0, 0),)
    assert found.coarse
    verify(output, repair=True)
    assert run("disk", "s3").inferred == 0
    assert objects_of(output) == whole


def test_a_second_client_is_refused_and_told_by_whom(run: Run, bucket: str) -> None:
    run("disk", "s3")
    folder = ObjectPath(f"{bucket}/out.zarr/run")

    with Journal.open(folder, Journal.read(folder).identity):
        assert (status(f"{bucket}/out.zarr").running or "").startswith(f"process {os.getpid()} on")
        with pytest.raises(OutputError, match=f"in use by process {os.getpid()} on host"):
            run("disk", "s3")
        with pytest.raises(OutputError, match="in use by process"):
            verify(f"{bucket}/out.zarr", repair=True)
    assert status(f"{bucket}/out.zarr").running is None
    assert run("disk", "s3").inferred == 0


def test_who_was_shut_out_by_force_notices_and_takes_nothing_with_it(bucket: str) -> None:
    folder = ObjectPath(f"{bucket}/run")
    first = Journal.create(folder, {"model": "x"})
    first.append([Record((0, 0, 0), "empty", digest=1)])

    second = Journal.open(folder, {"model": "x"}, force_unlock=True)
    with pytest.raises(OutputError, match="another client"):
        first.append([Record((0, 0, 1), "empty", digest=1)])
    first.close()

    second.append([Record((0, 0, 2), "empty", digest=1)])
    with pytest.raises(OutputError, match="in use"):
        Journal.open(folder, {"model": "x"})
    second.close()
    assert [r.index for r in Journal.read(folder).records()] == [(0, 0, 0), (0, 0, 2)]


def test_the_lock_of_a_dead_process_is_taken_over_and_that_of_another_host_is_not(
    bucket: str,
) -> None:
    folder = ObjectPath(f"{bucket}/run")
    at = Objects(folder)
    with Journal.create(folder, {"model": "x"}):
        held = json.loads(at.get("lock") or b"")
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()

    at.put("lock", json.dumps({**held, "pid": dead.pid}).encode())
    assert RunFolder(folder).running() is None
    Journal.open(folder, {"model": "x"}).close()
    assert at.get("lock") is None

    at.put("lock", json.dumps({**held, "host": "elsewhere", "pid": 12}).encode())
    with pytest.raises(OutputError, match=r"process 12 on host elsewhere.*--force-unlock"):
        Journal.open(folder, {"model": "x"})
    Journal.open(folder, {"model": "x"}, force_unlock=True).close()


def test_damaged_lines_of_a_journal_cost_their_chunks_only(run: Run, bucket: str) -> None:
    output = f"{bucket}/out.zarr"
    run("disk", "s3")
    whole, at = objects_of(output), Objects(ObjectPath(f"{output}/run"))
    key = sorted(key for key, _ in at.list("journal/"))[1]
    data = bytearray(at.get(key) or b"")
    data[-20] ^= 4
    at.put(key, bytes(data))

    journal = Journal.read(ObjectPath(f"{output}/run"))
    assert len(list(journal.records())) == len(FIBRE) - 1
    assert journal.dropped > 0
    assert len(verify(output).unjournalled) == 1

    assert run("disk", "s3").inferred == 1
    assert objects_of(output) == whole


@pytest.mark.cluster
def test_worker_processes_open_the_store_themselves(run: Run, tmp_path: Path, bucket: str) -> None:
    run("disk", "disk")

    report = run("s3", "s3", scheduler="local:2", threads=1)

    assert report.complete
    assert objects_of(f"{bucket}/out.zarr") == stored_bytes(tmp_path / "out.zarr")


def test_a_map_on_s3_is_scored_and_exported(run: Run, tmp_path: Path, bucket: str) -> None:
    run("s3", "s3")
    run("disk", "disk")
    truth = tmp_path / "truth.tif"
    tifffile.imwrite(truth, (fibre() > 500).astype(np.uint8))

    scores = [evaluate(f"{root}/out.zarr", truth).as_dict() for root in (bucket, tmp_path)]
    assert scores[0] == scores[1]
    for root, name in ((bucket, "there"), (tmp_path, "here")):
        export(f"{root}/brain.zarr", f"{root}/out.zarr", tmp_path / f"{name}.v3draw",
               format="v3draw")  # fmt: skip
    there, here = (tmp_path / f"{name}.v3draw" for name in ("there", "here"))
    assert there.read_bytes() == here.read_bytes()


def test_a_run_is_moved_between_disk_and_s3_and_goes_on(
    run: Run, tmp_path: Path, bucket: str
) -> None:
    """As ``aws s3 sync`` moves it."""
    at, part = Objects(ObjectPath(f"{bucket}/out.zarr")), SETTINGS.model_copy
    run("disk", "disk", settings=part(update={"max_chunks": 2}))
    for file in (p for p in (tmp_path / "out.zarr").rglob("*") if p.is_file()):
        at.put(file.relative_to(tmp_path / "out.zarr").as_posix(), file.read_bytes())
    shutil.rmtree(tmp_path / "out.zarr")

    assert status(f"{bucket}/out.zarr").chunks["neurite"] == 2
    assert run("disk", "s3", settings=part(update={"max_chunks": 4})).inferred == 2
    for key, _ in at.list():
        (tmp_path / "out.zarr" / key).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "out.zarr" / key).write_bytes(at.get(key) or b"")

    assert status(tmp_path / "out.zarr").chunks["neurite"] == 4
    assert verify(tmp_path / "out.zarr").sound
    assert run("disk", "disk").inferred == len(FIBRE) - 4
    assert {index for index, *_ in lines(tmp_path / "out.zarr")} == FIBRE
    assert verify(tmp_path / "out.zarr").sound
    folder = tmp_path / "out.zarr/run"
    assert not [p for p in folder.iterdir() if p.is_dir()]
    assert len([n for n in RunFolder(folder).incidents() if n["event"] == "start"]) == 3
    assert run("disk", "disk").inferred == 0
