"""How a run ends: for want of better scores, of numbers, of disk; and how it goes on."""

import errno
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from runs import Settings, run, weights

from neuroconn.errors import ModelError, OutputError, StorageError
from neuroconn.network import load_model
from neuroconn.training import Crop, Mixture
from neuroconn.training.folder import TrainingFolder
from neuroconn.training.validation import Validation


def scored(monkeypatch: pytest.MonkeyPatch, qualities: list[float]) -> None:
    """Let validations have these scores, one after the other."""
    at = iter(qualities)
    monkeypatch.setattr(
        Validation, "scores", lambda self, trainer: {"mse": 1.0, "quality": next(at)}
    )


def test_a_run_that_no_longer_improves_ends_and_keeps_its_best_weights(
    tiny: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tiny(iterations=50, validate_every=2, stopping={"patience": 2})
    scored(monkeypatch, [0.1, 0.5, 0.4, 0.5])
    run(tiny(iterations=4, validate_every=5), tmp_path / "four")

    scored(monkeypatch, [0.1, 0.5, 0.4, 0.5])
    report = run(settings, tmp_path / "run")

    assert (report.iterations, report.best, report.stopped) == (8, 4, True)
    assert report.scores == {"mse": 1.0, "quality": 0.5}
    assert weights(tmp_path / "run") == weights(tmp_path / "four")
    card = load_model(report.model).card
    assert card.scores == report.scores
    assert card.provenance["best_iteration"] == 4
    assert load_model(tmp_path / "run" / "best").sha256 == load_model(report.model).sha256

    again = run(settings, tmp_path / "run")
    assert (again.iterations, again.resumed_at, again.stopped) == (8, 8, True)


def test_without_patience_the_last_weights_are_saved_and_the_best_kept_beside_them(
    tiny: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored(monkeypatch, [0.1, 0.5, 0.4, 0.3])

    report = run(tiny(iterations=8, validate_every=2), tmp_path / "run")

    assert (report.iterations, report.best, report.stopped) == (8, 4, False)
    assert report.scores["quality"] == 0.3
    best = load_model(tmp_path / "run" / "best")
    assert best.card.scores["quality"] == 0.5
    assert best.sha256 != load_model(report.model).sha256


def test_a_run_that_is_made_longer_equals_one_that_was_long_from_the_start(
    tiny: Settings, whole: Path, tmp_path: Path
) -> None:
    settings = tiny(optimiser={"average": 0.9}, iterations=4)
    run(settings, tmp_path / "run")

    report = run(tiny(optimiser={"average": 0.9}), tmp_path / "run")

    assert (report.resumed_at, report.iterations) == (4, 7)
    assert weights(tmp_path / "run") == weights(whole)
    with pytest.raises(OutputError, match="has made 7 iterations already"):
        run(settings, tmp_path / "run")


def test_a_loss_that_is_not_finite_leaves_the_last_good_checkpoint(
    tiny: Settings, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, folder = tiny(optimiser={"average": 0.9}), tmp_path / "run"
    crop = Mixture.crop

    def poisoned(self: Mixture, number: int) -> tuple[Crop, np.random.Generator]:
        found, rng = crop(self, number)
        if number == 10 and self._stream == 0:  # of iteration 6
            found = replace(found, distance=np.full_like(found.distance, np.nan), where="crop ten")
        return found, rng

    with monkeypatch.context() as patch:
        patch.setattr(Mixture, "crop", poisoned)
        with pytest.raises(ModelError, match=r"the loss is nan .* at iteration 6, on crop ten;"):
            run(settings, folder)

    state = TrainingFolder(folder).checkpoint()
    assert state is not None
    assert state["iteration"] == 4
    run(settings, folder)
    assert weights(folder) == weights(whole)


def test_a_full_disk_ends_the_run_and_the_checkpoint_before_is_whole(
    tiny: Settings, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, folder = tiny(optimiser={"average": 0.9}), tmp_path / "run"
    sync, calls = os.fsync, iter(range(1000))

    def full(descriptor: int) -> None:
        if next(calls) >= 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(StorageError, match="No space left"):
            run(settings, folder)

    assert not list(folder.glob(".*"))
    assert run(settings, folder).resumed_at == 4
    assert weights(folder) == weights(whole)
