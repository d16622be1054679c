"""Whatever dies between two requests to an object store, the next run ends as if nothing had.

A PUT is carried out or not, so a crash after one is a crash before the next: it is enough to die
before each of them.
"""

from pathlib import Path
from typing import Any

import pytest
from fakes import SETTINGS, fake_predictor, fibre, save_brain, save_card

from neuroconn.inference.journal import object_lock
from neuroconn.inference.journal.journal import Journal
from neuroconn.inference.output.verify import verify
from neuroconn.inference.run import infer
from neuroconn.volume.address import ObjectPath
from neuroconn.volume.object_store import ZarrObjects
from neuroconn.volume.objects import Objects


class Crash(BaseException):
    """The process is gone: nothing it would do on its way out is done."""


class Mortal:
    """Counts what changes the store, and dies before one of it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.before: int | None = None
        self.count = 0
        write, remove, put = Objects._write, Objects._remove, ZarrObjects.set

        def _write(objects: Objects, *what: Any) -> None:
            self.step()
            write(objects, *what)

        def _remove(objects: Objects, keys: list[str]) -> None:
            # Of several a server may have removed some.
            for key in keys:
                self.step()
                remove(objects, [key])

        async def _put(store: ZarrObjects, *what: Any) -> None:
            self.step()
            await put(store, *what)

        monkeypatch.setattr(Objects, "_write", _write)
        monkeypatch.setattr(Objects, "_remove", _remove)
        monkeypatch.setattr(ZarrObjects, "set", _put)

    def step(self) -> None:
        if self.before is not None and self.count >= self.before:
            raise Crash
        self.count += 1

    def live(self, before: int | None = None) -> None:
        self.before, self.count = before, 0


@pytest.fixture
def mortal(monkeypatch: pytest.MonkeyPatch) -> Mortal:
    # The process that holds the lock is this one, and is dead all the same.
    monkeypatch.setattr(object_lock, "_is_gone", lambda who: True)
    return Mortal(monkeypatch)


def objects_of(output: str) -> dict[str, bytes]:
    at = Objects(ObjectPath(output))
    return {key: at.get(key) or b"" for key, _ in at.list() if not key.startswith("run/")}


def records(output: str) -> list[Any]:
    found = Journal.read(ObjectPath(output) / "run").records()
    return [(r.index, r.status, r.strong, r.weak, r.voxels, r.digest) for r in found]


def test_a_crash_before_any_request_changes_no_byte_and_no_record(
    tmp_path: Path, bucket: str, mortal: Mortal
) -> None:
    save_brain(tmp_path / "brain.zarr", fibre((16, 16, 40), bend=(8, 8, 39)), smallest=20)
    save_card(tmp_path / "model")

    def run(output: str) -> int:
        return infer(
            tmp_path / "brain.zarr", output, model=tmp_path / "model", seeds=[(8, 8, 0)],
            settings=SETTINGS, scheduler="sync", predictor=fake_predictor,
        ).inferred  # fmt: skip

    mortal.live()
    whole = f"{bucket}/whole/out.zarr"
    chunks = run(whole)
    steps = mortal.count
    assert chunks == 3
    assert steps > 20

    for step in range(steps):
        output = f"{bucket}/{step}/out.zarr"
        mortal.live(before=step)
        with pytest.raises(Crash):
            run(output)
        mortal.live()
        run(output)
        assert objects_of(output) == objects_of(whole), step
        assert records(output) == records(whole), step
        if step % 8 == 0:
            assert run(output) == 0
            assert verify(output).sound
