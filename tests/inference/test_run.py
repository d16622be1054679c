"""``infer`` from end to end in one process; clusters are in ``test_scheduler.py``."""

import json
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fakes import (
    CHUNK,
    CHUNKS,
    FIBRE,
    SEED,
    SETTINGS,
    distances,
    fake_predictor,
    fibre,
    save_brain,
    save_card,
)
from fakes import stored_bytes as stored

from neuroconn.config.infer import InferSettings
from neuroconn.errors import (
    DataError,
    HaloError,
    InterruptedRunError,
    ModelError,
    NeuroconnError,
    OutputError,
    StorageError,
    UsageError,
)
from neuroconn.inference import prepare
from neuroconn.inference.journal.journal import Journal
from neuroconn.inference.output import verify
from neuroconn.inference.report import InferReport
from neuroconn.inference.run import infer
from neuroconn.inference.watching.events import Progress
from neuroconn.network import ModelCard, Normalisation, UNet, load_model, save_model
from neuroconn.volume.regions import read_region
from neuroconn.volume.store import open_image

Run = Callable[..., InferReport]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    save_brain(tmp_path / "brain.zarr", fibre())
    save_card(tmp_path / "model")

    def run(output: str = "out.zarr", **changes: Any) -> InferReport:
        usual: dict[str, Any] = {
            "model": tmp_path / "model",
            "seeds": [SEED],
            "settings": SETTINGS,
            "scheduler": "sync",
            "predictor": fake_predictor,
        }
        return infer(tmp_path / "brain.zarr", tmp_path / output, **{**usual, **changes})

    return run


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    return lambda **settings: monkeypatch.setenv("FAKE", json.dumps(settings))


def chunks(output: Path, status: str = "neurite") -> set[Any]:
    return {r.index for r in Journal.read(output / "run").records() if r.status == status}


def test_the_walk_follows_the_fibre_and_not_the_speck(run: Run, tmp_path: Path) -> None:
    report = run()

    assert chunks(tmp_path / "out.zarr") == FIBRE
    assert report.complete
    assert report.exit_code == 0
    assert report.visited == report.inferred == len(FIBRE)
    assert sum(report.chunks.values()) == CHUNKS


def test_unexplored_voxels_are_fill_and_explored_ones_are_distances(
    run: Run, tmp_path: Path
) -> None:
    run()

    image = open_image(tmp_path / "out.zarr")
    codes = np.asarray(image.array(0)[:])
    explored = np.zeros(codes.shape, bool)
    for index in FIBRE:
        explored[image.grid(0).core(index).slices] = True
    np.testing.assert_array_equal(codes != 255, explored)
    whole = np.clip(distances(fibre()), 0, 7)[explored]
    np.testing.assert_allclose(np.clip(codes[explored] * 0.04, 0, 7), whole, atol=0.021)


def test_the_map_lies_where_the_brain_lies(run: Run, tmp_path: Path) -> None:
    run()

    brain, image = open_image(tmp_path / "brain.zarr"), open_image(tmp_path / "out.zarr")
    assert (image.levels, image.frames) == (brain.levels, brain.frames)
    assert image.kind == "distance"
    assert image.attributes["model"]["sha256"] == "0" * 64
    assert image.attributes["infer"]["chunk"] == CHUNK


def test_coarse_levels_are_the_minimum_of_explored_voxels(run: Run, tmp_path: Path) -> None:
    run()

    image = open_image(tmp_path / "out.zarr")
    for number, level in enumerate(image.levels[1:], start=1):
        fine = np.asarray(image.array(number - 1)[:])
        pad = [(0, -n % s) for n, s in zip(fine.shape, level.step, strict=True)]
        padded = np.pad(fine, pad, constant_values=255)
        z, y, x = level.step
        blocks = padded.reshape(
            *(v for n, s in zip(padded.shape, (z, y, x), strict=True) for v in (n // s, s))
        )
        np.testing.assert_array_equal(image.array(number)[:], blocks.min(axis=(1, 3, 5)))


def test_a_second_run_computes_nothing_and_changes_nothing(
    run: Run, tmp_path: Path, fake: Callable[..., None]
) -> None:
    first = run()
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "out.zarr").rglob("*") if p.is_file()}
    fake(log=str(tmp_path / "tiles"))

    second = run()

    assert second.inferred == 0
    assert second.chunks == first.chunks
    assert not (tmp_path / "tiles").exists()
    after = {p: p.stat().st_mtime_ns for p in (tmp_path / "out.zarr").rglob("*") if p.is_file()}
    assert after == before


@pytest.mark.parametrize("options", [{"scheduler": "threads"}, {"threads": 1}])
def test_how_it_runs_changes_no_byte(run: Run, tmp_path: Path, options: dict[str, Any]) -> None:
    run("a/out.zarr")

    run("b/out.zarr", **options)

    assert stored(tmp_path / "a/out.zarr") == stored(tmp_path / "b/out.zarr")


def test_an_interrupted_run_resumes_to_the_same_bytes(run: Run, tmp_path: Path) -> None:
    run("a/out.zarr")
    stop = threading.Event()

    def after_two(progress: Progress) -> None:
        if progress.done == 2:
            stop.set()

    with pytest.raises(InterruptedRunError):
        run("b/out.zarr", stop=stop, progress=after_two)
    assert chunks(tmp_path / "b/out.zarr") < FIBRE
    report = run("b/out.zarr")

    assert report.inferred == len(FIBRE) - 2
    assert stored(tmp_path / "a/out.zarr") == stored(tmp_path / "b/out.zarr")
    assert run("b/out.zarr").inferred == 0


def test_a_torn_journal_loses_one_chunk_and_no_byte(
    run: Run, tmp_path: Path, fake: Callable[..., None]
) -> None:
    run()
    before = stored(tmp_path / "out.zarr")
    journal = tmp_path / "out.zarr/run/journal.jsonl"
    journal.write_bytes(journal.read_bytes()[:-7])
    fake(log=str(tmp_path / "tiles"))

    report = run()

    assert report.inferred == 1
    assert (tmp_path / "tiles").read_text() == "tile\n"
    assert stored(tmp_path / "out.zarr") == before


def test_more_seeds_add_to_a_finished_run(run: Run, tmp_path: Path) -> None:
    run()

    report = run(seeds=[(4, 60, 76)])

    assert report.inferred == 1
    assert chunks(tmp_path / "out.zarr", "empty") == {(0, 3, 4)}


def test_every_chunk_is_visited_with_all_as_seeds(run: Run, tmp_path: Path) -> None:
    report = run(seeds=(), seed_source="all")

    assert report.visited == CHUNKS
    assert not (np.asarray(open_image(tmp_path / "out.zarr").array(0)[:]) == 255).any()
    assert run(seeds=(), seed_source="all").inferred == 0


def test_a_nan_chunk_fails_alone_and_says_so(
    run: Run, tmp_path: Path, fake: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    brain = fibre()
    brain[24, 40, 40] = 901
    shutil.rmtree(tmp_path / "brain.zarr")
    save_brain(tmp_path / "brain.zarr", brain)
    fake(nan=901)
    # Its neighbours see the voxel in their halo: going through would try them, too.
    settings = SETTINGS.model_copy(update={"through_failed": "none"})

    report = run(seeds=[SEED, (24, 0, 40)], settings=settings)

    assert [index for index, _ in report.failed] == [(1, 2, 2)]
    assert chunks(tmp_path / "out.zarr", "failed") == {(1, 2, 2)}
    assert chunks(tmp_path / "out.zarr") == FIBRE - {(1, 2, 2)}
    assert report.exit_code == 1
    assert "failed" in report.exceptions[0]
    assert "NaN" in report.failed[0][1]
    image = open_image(tmp_path / "out.zarr")
    assert (read_region(image.array(0), image.grid(0).core((1, 2, 2))) == 255).all()
    assert verify.verify(tmp_path / "out.zarr").sound

    assert run(settings=settings).chunks["failed"] == 1
    monkeypatch.delenv("FAKE")
    assert run(retry_failed=True, settings=settings).complete
    assert chunks(tmp_path / "out.zarr") == FIBRE


def test_max_chunks_is_an_exception_to_the_closure(run: Run) -> None:
    cut = run(settings=SETTINGS.model_copy(update={"max_chunks": 3}))

    assert (cut.visited, cut.exit_code) == (3, 1)
    assert "not visited" in cut.exceptions[0]
    assert run().complete


def test_a_dry_run_writes_nothing(run: Run, tmp_path: Path) -> None:
    seen: list[Any] = []

    report = run(dry_run=True, header=lambda *what: seen.append(what))

    assert report.chunks["queued"] == 1
    assert len(seen) == 1
    assert not (tmp_path / "out.zarr").exists()
    assert not list(tmp_path.glob(".out*"))


def test_a_folder_that_is_not_ours_is_refused_and_kept(run: Run, tmp_path: Path) -> None:
    (tmp_path / "out.zarr").mkdir()
    (tmp_path / "out.zarr" / "keep.tif").write_text("mine")

    with pytest.raises(OutputError, match="not ours"):
        run()

    assert (tmp_path / "out.zarr" / "keep.tif").read_text() == "mine"
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="file or a link"):
        run("file")


def test_other_settings_on_resume_are_refused_by_name(run: Run, tmp_path: Path) -> None:
    run()
    before = stored(tmp_path / "out.zarr")

    with pytest.raises(OutputError, match=r"bridge: 0, now 2"):
        run(settings=SETTINGS.model_copy(update={"bridge": 2}))
    with pytest.raises(OutputError, match=r'encoding.dtype: "uint8", now "uint16"'):
        run(settings=SETTINGS.model_copy(update={"dtype": "uint16"}))

    assert stored(tmp_path / "out.zarr") == before


def test_another_brain_on_resume_is_refused(run: Run, tmp_path: Path) -> None:
    run()
    shutil.rmtree(tmp_path / "brain.zarr")
    save_brain(tmp_path / "brain.zarr", fibre() + 1)

    with pytest.raises(OutputError, match=r"brain\.content"):
        run()


def test_a_moved_brain_and_output_are_the_same_run(run: Run, tmp_path: Path) -> None:
    run()
    (tmp_path / "brain.zarr").rename(tmp_path / "moved.zarr")
    (tmp_path / "out.zarr").rename(tmp_path / "there.zarr")

    report = infer(
        tmp_path / "moved.zarr",
        tmp_path / "there.zarr",
        model=tmp_path / "model",
        seeds=[SEED],
        settings=SETTINGS,
        scheduler="sync",
        predictor=fake_predictor,
    )

    assert report.inferred == 0


def test_a_brain_without_statistics_is_refused(run: Run, tmp_path: Path) -> None:
    open_image(tmp_path / "brain.zarr").update_attributes({"intensity": None})

    with pytest.raises(DataError, match="no intensity statistics"):
        run()


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"seeds": []}, UsageError, "needs a seed"),
        ({"seeds": [(24, 400, 0)]}, UsageError, "outside the volume"),
        ({"model": "nowhere"}, ModelError, "no model at nowhere"),
        ({"settings": SETTINGS.model_copy(update={"level": 7})}, UsageError, "level 7 is not in"),
        (
            {
                "settings": SETTINGS.model_copy(
                    update={"evidence": SETTINGS.evidence.model_copy(update={"threshold": 12.0})}
                )
            },
            ModelError,
            "clip of 10",
        ),
    ],
)
def test_what_can_be_known_to_be_wrong_is_said_before_anything_is_written(
    run: Run, tmp_path: Path, changes: dict[str, Any], error: type[NeuroconnError], said: str
) -> None:
    with pytest.raises(error, match=said):
        run(**changes)

    assert not (tmp_path / "out.zarr").exists()


def test_a_disk_with_no_room_is_refused(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(prepare.shutil, "disk_usage", lambda _: usage._replace(free=1000))

    with pytest.raises(StorageError, match="MiB free"):
        run()

    assert not (tmp_path / "out.zarr").exists()


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_other_stored_types_hold_the_same_distances(run: Run, tmp_path: Path, dtype: str) -> None:
    run("bytes.zarr")
    run("wide.zarr", settings=SETTINGS.model_copy(update={"dtype": dtype}))

    for number in range(len(open_image(tmp_path / "bytes.zarr").levels)):
        codes = np.asarray(open_image(tmp_path / "bytes.zarr").array(number)[:])
        wide = np.asarray(open_image(tmp_path / "wide.zarr").array(number)[:])
        unexplored = np.isnan(wide) if dtype == "float32" else wide == 65535
        np.testing.assert_array_equal(unexplored, codes == 255)
        voxels = wide[~unexplored] * (1 if dtype == "float32" else 10 / 65000)
        np.testing.assert_allclose(voxels, codes[~unexplored] * 0.04, atol=0.021)
    assert verify.verify(tmp_path / "wide.zarr").sound


def test_level_one_of_a_brain_gives_a_map_of_that_level(run: Run, tmp_path: Path) -> None:
    report = run(settings=SETTINGS.model_copy(update={"level": 1}))

    brain, image = open_image(tmp_path / "brain.zarr"), open_image(tmp_path / "out.zarr")
    assert report.visited > 0
    assert image.shape == brain.levels[1].shape
    assert image.frame == brain.frames[1]


@pytest.fixture
def real_model(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    network = UNet(levels=1, width=4, dropout=0.0)
    for parameter in network.parameters():  # an untrained head answers a constant
        torch.nn.init.normal_(parameter, std=0.3)
    card = ModelCard(
        name="tiny", clip=10.0, normalisation=Normalisation(), spacing_um=(1.0, 1.0, 1.0)
    )
    save_model(tmp_path / "tiny", network, card)
    return tmp_path / "tiny"


EXACT = InferSettings(
    chunk=CHUNK,
    inner_chunk=8,
    halo=16,
    exact=True,
    dtype="float32",
    precision="float32",
    device="cpu",
    evidence=SETTINGS.evidence,
)


def test_in_exact_mode_the_stitched_map_is_the_network_on_the_whole_brain(
    tmp_path: Path, real_model: Path
) -> None:
    volume = fibre((32, 32, 48), bend=(16, 16, 24))
    brain = save_brain(tmp_path / "brain.zarr", volume)

    report = infer(
        brain.path,
        tmp_path / "out.zarr",
        model=real_model,
        seed_source="all",
        settings=EXACT,
        scheduler="threads",
        threads=1,
    )

    assert report.complete
    model = load_model(real_model)
    constants = model.card.normalisation.constants(brain.attributes["intensity"])
    padded = constants.apply(np.pad(volume, 16, mode="reflect"))
    with torch.inference_mode():
        whole = model.network(torch.from_numpy(padded)[None, None])[0, 0].numpy()
    stitched = np.asarray(open_image(tmp_path / "out.zarr").array(0)[:])
    expected = np.clip(whole[16:-16, 16:-16, 16:-16], 0, 10)
    np.testing.assert_allclose(stitched, expected, atol=1e-5, rtol=0)
    assert np.ptp(expected) > 0.01


def test_a_halo_that_is_too_narrow_for_exact_mode_is_refused(
    tmp_path: Path, real_model: Path
) -> None:
    save_brain(tmp_path / "brain.zarr", fibre())
    narrow = EXACT.model_copy(update={"halo": 4})

    with pytest.raises(HaloError, match=r"Set halo: \d+ or more"):
        infer(
            tmp_path / "brain.zarr",
            tmp_path / "out.zarr",
            model=real_model,
            seeds=[SEED],
            settings=narrow,
        )
