from pathlib import Path

import pytest
from fakes import CHUNKS, SEED, SETTINGS, fake_predictor, fibre, save_brain, save_card

from neuroconn.config.infer import InferSettings
from neuroconn.errors import OutputError
from neuroconn.inference.journal.journal import Journal
from neuroconn.inference.output.status import status
from neuroconn.inference.run import infer


@pytest.fixture
def output(tmp_path: Path) -> Path:
    save_brain(tmp_path / "brain.zarr", fibre())
    save_card(tmp_path / "model")
    run(tmp_path, SETTINGS.model_copy(update={"max_chunks": 2}))
    return tmp_path / "out.zarr"


def run(folder: Path, settings: InferSettings) -> None:
    infer(
        folder / "brain.zarr",
        folder / "out.zarr",
        model=folder / "model",
        seeds=[SEED],
        settings=settings,
        scheduler="sync",
        predictor=fake_predictor,
    )


def test_an_unfinished_run_says_what_is_left(output: Path) -> None:
    found = status(output)

    assert (found.chunks["neurite"], found.chunks["queued"]) == (2, 1)
    assert not found.complete
    assert "1 chunk known to be needed" in found.exceptions[0]
    assert found.running is None


def test_a_finished_run_is_complete(output: Path) -> None:
    run(output.parent, SETTINGS)

    found = status(output)

    assert found.complete
    assert sum(found.chunks.values()) == CHUNKS
    assert found.last["inferred"] == 3
    assert found.to_json()["complete"] is True


def test_a_client_at_work_is_named_and_not_disturbed(output: Path) -> None:
    with Journal.open(output / "run", Journal.read(output / "run").identity):
        running = status(output).running

    assert running is not None
    assert running.startswith("process ")


def test_something_else_has_no_status(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="not an output of"):
        status(tmp_path)
