import errno
import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import (
    CHUNK,
    SETTINGS,
    FakePredictor,
    distances,
    fake_predictor,
    fibre,
    grid_of,
    save_brain,
    save_card,
)

from neuroconn.errors import ClusterError, StorageError
from neuroconn.geometry import Box
from neuroconn.inference import task
from neuroconn.inference.engine.errors import NonFiniteOutputError
from neuroconn.inference.output.run_folder import create_output, level_of
from neuroconn.inference.plan import Plan
from neuroconn.inference.predictors import open_worker_context
from neuroconn.inference.prepare import prepare
from neuroconn.inference.task import (
    Context,
    Failure,
    Outcome,
    checksum,
    infer_chunk,
    open_context,
    try_chunk,
)
from neuroconn.volume.regions import stored_object


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    save_brain(tmp_path / "brain.zarr", fibre())
    save_card(tmp_path / "model")
    job = prepare(
        tmp_path / "brain.zarr",
        tmp_path / "out.zarr",
        model=tmp_path / "model",
        settings=SETTINGS,
        seeds=[("24", "40", "0")],
    )
    plan, identity = job.plan("cpu", "float32")
    levels, frame = level_of(job.brain, 0)
    create_output(
        job.output,
        identity=identity,
        grid=job.grid,
        inner_chunk=8,
        levels=levels,
        frame=frame,
        spacing_known=True,
        encoding=job.encoding,
        attributes={},
    )
    return plan


@pytest.fixture
def context(plan: Plan) -> Context:
    return open_context(
        plan, FakePredictor(False, plan.trim), lambda: FakePredictor(True, plan.trim)
    )


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Any:
    return lambda **settings: monkeypatch.setenv("FAKE", json.dumps(settings))


def test_chunks_put_together_are_the_distance_map_of_the_whole(context: Context) -> None:
    z, y, x = context.plan.grid.shape
    whole = distances(np.pad(fibre(), 16, mode="reflect"))[16 : 16 + z, 16 : 16 + y, 16 : 16 + x]

    for index in context.plan.grid:
        infer_chunk(context, index)

    stored = context.plan.encoding.decode(np.asarray(context.target[:]))
    # The fake sees 8 voxels around a chunk: nearer distances are exact.
    near = whole < 8
    np.testing.assert_allclose(stored[near], whole[near], atol=0.021)
    assert (stored[~near] >= 7.9).all()


def test_a_chunk_gives_the_same_bytes_and_verdict_every_time(context: Context) -> None:
    first = infer_chunk(context, (1, 2, 1), attempt=1)
    file = stored_object(context.target, (1, 2, 1))
    assert file is not None
    written = file.read_bytes()

    again = infer_chunk(context, (1, 2, 1), attempt=2)

    assert (again.verdict, again.crc) == (first.verdict, first.crc)
    assert file.read_bytes() == written


def test_the_digest_is_that_of_what_the_store_gives_back(context: Context) -> None:
    index = (2, 3, 4)  # the last chunk

    outcome = infer_chunk(context, index)

    stored = np.asarray(context.target[context.plan.grid.core(index).slices])
    assert outcome.crc == checksum(stored)


def test_the_verdict_names_the_way_the_fibre_goes(context: Context) -> None:
    from neuroconn.inference.verdict import opened

    verdict = infer_chunk(context, (1, 2, 1)).verdict

    assert verdict.neurite
    assert set(opened(verdict.strong)) == {(0, 0, -1), (0, 0, 1)}


def test_what_comes_back_is_small(context: Context) -> None:
    assert len(pickle.dumps(infer_chunk(context, (1, 2, 1)))) < 1000


def test_a_tile_answered_by_nan_is_never_written(context: Context, fake: Any) -> None:
    fake(nan=900)

    with pytest.raises(NonFiniteOutputError, match=r"chunk \(1, 2, 1\)"):
        infer_chunk(context, (1, 2, 1))

    file = stored_object(context.target, (1, 2, 1))
    assert file is not None
    assert not file.exists()
    result = try_chunk(context, (1, 2, 1), 1)
    assert isinstance(result, Failure)
    assert result.final


def test_a_tile_always_answered_by_nan_is_tried_once_more_in_float32(
    context: Context, fake: Any
) -> None:
    usual = infer_chunk(context, (1, 2, 1))
    fake(nan_once=900)

    rescued = infer_chunk(context, (1, 2, 1))

    assert rescued.crc == usual.crc
    assert (usual.rescued, rescued.rescued) == (False, True)


def test_a_tile_answered_by_nan_by_accident_has_the_answer_of_every_calm_run(
    context: Context,
) -> None:
    class Coarse(FakePredictor):
        """Rounds, as half precision does; what follows NaN shows which one answered."""

        def predict(self, raw: Any, constants: Any) -> Any:
            nan = accidents and accidents.pop()
            return super().predict(raw, constants).round() * (np.nan if nan else 1)

    accidents: list[bool] = []
    context.predictor = Coarse(False, context.plan.trim)
    usual = infer_chunk(context, (1, 2, 1))
    accidents.append(True)

    again = infer_chunk(context, (1, 2, 1))

    assert not accidents
    assert (again.crc, again.verdict, again.rescued) == (usual.crc, usual.verdict, False)
    accidents += [True, True]
    assert infer_chunk(context, (1, 2, 1)).rescued


def test_an_error_of_one_chunk_comes_back_as_a_value(context: Context, fake: Any) -> None:
    fake(error=900)

    result = try_chunk(context, (1, 2, 1), 2)

    assert isinstance(result, Failure)
    assert (result.attempt, result.final, result.storage) == (2, False, False)
    assert result.reason == "RuntimeError: the fake network was told to fail"
    assert "Traceback" in result.details


def test_a_full_disk_is_told_apart(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(array: Any, box: Box, data: Any) -> None:
        raise StorageError("the disk is full") from OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(task, "write_region", full)

    result = try_chunk(context, (1, 2, 1), 1)

    assert isinstance(result, Failure)
    assert result.storage


def test_damage_in_the_brain_is_final(context: Context) -> None:
    for file in (context.plan.brain / "0" / "c").rglob("*"):
        if file.is_file():
            file.write_bytes(b"")

    result = try_chunk(context, (1, 2, 1), 1)

    assert isinstance(result, Failure)
    assert result.final
    assert "VolumeError" in result.reason


def test_a_worker_with_other_packages_refuses(plan: Plan) -> None:
    other = replace(plan, versions=(("torch", "0.1"),))

    with pytest.raises(ClusterError, match=r"torch .* \(client: 0\.1\)"):
        open_worker_context(other, fake_predictor, 1, "w")


def test_the_plan_of_a_run_fits_in_a_message(plan: Plan) -> None:
    assert len(pickle.dumps(plan)) < 5000
    assert plan.tile == (CHUNK + 16,) * 3
    assert plan.grid == grid_of()


def test_the_checksum_is_that_of_little_endian_numbers() -> None:
    codes = np.arange(8, dtype="<u2").reshape(2, 2, 2)

    assert checksum(codes) == checksum(codes.astype(">u2"))
    assert checksum(codes) != checksum(codes[::-1])


def test_outcomes_say_who_computed_them_and_how_long(context: Context) -> None:
    outcome = try_chunk(context, (0, 0, 0), 1)

    assert isinstance(outcome, Outcome)
    assert 0 < outcome.model_seconds <= outcome.seconds
