"""The folder of a run: identity, checkpoints, logs."""

import errno
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from neuroconn.config.train import TrainSettings
from neuroconn.errors import ModelError, OutputError, StorageError
from neuroconn.training.folder import TrainingFolder

Settings = Callable[..., TrainSettings]


@pytest.fixture
def folder(tmp_path: Path, tiny: Settings) -> TrainingFolder:
    return TrainingFolder.open(tmp_path / "run", tiny(), resume=True)


def test_a_new_folder_keeps_its_settings(folder: TrainingFolder, tiny: Settings) -> None:
    stored = json.loads((folder.path / "config.json").read_text())

    assert TrainSettings.model_validate(stored) == tiny()
    assert folder.checkpoint() is None


def test_the_same_settings_open_it_again(folder: TrainingFolder, tiny: Settings) -> None:
    assert TrainingFolder.open(folder.path, tiny(), resume=True) == folder


def test_a_run_is_not_taken_up_if_that_is_not_wanted(
    folder: TrainingFolder, tiny: Settings
) -> None:
    with pytest.raises(OutputError, match="holds a run already"):
        TrainingFolder.open(folder.path, tiny(), resume=False)


def test_other_settings_are_refused_and_named(folder: TrainingFolder, tiny: Settings) -> None:
    with pytest.raises(OutputError, match=r"another batch, clip:"):
        TrainingFolder.open(folder.path, tiny(batch=3, clip=9.0), resume=True)
    with pytest.raises(OutputError, match=r"another network.width:"):
        TrainingFolder.open(folder.path, tiny(network={"width": 4}), resume=True)


def test_settings_this_version_does_not_know_are_another_run(
    folder: TrainingFolder, tiny: Settings
) -> None:
    config = folder.path / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "twist": 3}))

    with pytest.raises(OutputError, match="another twist"):
        TrainingFolder.open(folder.path, tiny(), resume=True)


def test_foreign_folders_and_files_are_left_alone(tmp_path: Path, tiny: Settings) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")

    for path in (tmp_path, tmp_path / "thesis.tex"):
        with pytest.raises(OutputError, match="not a training folder"):
            TrainingFolder.open(path, tiny(), resume=True)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_an_empty_folder_is_taken(tmp_path: Path, tiny: Settings) -> None:
    assert TrainingFolder.open(tmp_path, tiny(), resume=False).path == tmp_path


def test_a_start_that_was_killed_is_no_obstacle(tmp_path: Path, tiny: Settings) -> None:
    (tmp_path / ".config.json.part").write_text('{"na')

    TrainingFolder.open(tmp_path, tiny(), resume=True)

    assert json.loads((tmp_path / "config.json").read_text())["name"] == "tiny"


def test_unreadable_settings_are_an_error(folder: TrainingFolder, tiny: Settings) -> None:
    (folder.path / "config.json").write_text("{")

    with pytest.raises(OutputError, match="cannot be read"):
        TrainingFolder.open(folder.path, tiny(), resume=True)


def test_a_checkpoint_that_was_saved_is_read(folder: TrainingFolder) -> None:
    folder.save({"iteration": 4, "network": {"w": torch.arange(3.0)}, "losses": (1.5, 2)})

    state = folder.checkpoint()

    assert state is not None
    assert (state["iteration"], state["losses"]) == (4, (1.5, 2))
    torch.testing.assert_close(state["network"]["w"], torch.arange(3.0))


def test_the_old_checkpoint_stays_until_the_new_one_is_whole(
    folder: TrainingFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.save({"iteration": 2})

    def crash(*_: object) -> None:
        raise OSError("power cut")

    monkeypatch.setattr(os, "fsync", crash)
    with pytest.raises(OSError, match="power cut"):
        folder.save({"iteration": 4})

    state = folder.checkpoint()
    assert state is not None
    assert state["iteration"] == 2


class Attack:
    """Unpickling it would make a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("damage", ["cut", "noise", "empty", "attack", "other", "list"])
def test_a_damaged_checkpoint_is_a_model_error_and_runs_no_code(
    folder: TrainingFolder, damage: str, tmp_path: Path
) -> None:
    path = folder.path / "checkpoint.pt"
    folder.save({"iteration": 4, "network": {"w": torch.arange(300.0)}})
    whole = path.read_bytes()
    if damage in ("other", "list"):
        torch.save({"weights": torch.zeros(2)} if damage == "other" else [1, 2], path)
    else:
        path.write_bytes(
            {
                "cut": whole[: len(whole) // 2],
                "noise": bytes(range(256)) * 10,
                "empty": b"",
                "attack": pickle.dumps(Attack(tmp_path / "owned")),
            }[damage]
        )

    with pytest.raises(ModelError, match=r"checkpoint .* cannot be read .*: delete it") as caught:
        folder.checkpoint()

    assert "\n" not in str(caught.value)
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_leaves_the_old_checkpoint_and_nothing_else(
    folder: TrainingFolder, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    folder.save({"iteration": 2})

    def full(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match=r"checkpoint.pt: .*free some space") as caught:
        folder.save({"iteration": 4})

    assert caught.value.exit_code == 74
    assert sorted(p.name for p in folder.path.iterdir()) == ["checkpoint.pt", "config.json"]
    state = folder.checkpoint()
    assert state is not None
    assert state["iteration"] == 2


def test_a_write_that_the_disk_refuses_is_told_apart_from_a_broken_archive(
    folder: TrainingFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.save({"iteration": 2})
    whole = Path.open

    def device_without_room(path: Path, *words: Any, **options: Any) -> Any:
        if path.name == ".checkpoint.pt.part":
            return Path("/dev/full").open("wb", buffering=0)
        return whole(path, *words, **options)

    monkeypatch.setattr(Path, "open", device_without_room)
    with pytest.raises(StorageError, match="No space left on device"):
        folder.save({"iteration": 4, "network": {"w": torch.zeros(100_000)}})
    monkeypatch.undo()

    state = folder.checkpoint()
    assert state is not None
    assert state["iteration"] == 2
