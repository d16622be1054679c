"""Runs that the first version began are resumed by this one."""

import json
from pathlib import Path
from typing import Any

import pytest
from fakes import FIBRE, SEED, SETTINGS, fake_predictor, fibre, save_brain, save_card, stored_bytes

from neuroconn.config.infer import InferSettings
from neuroconn.errors import OutputError
from neuroconn.inference.output.status import status
from neuroconn.inference.output.verify import verify
from neuroconn.inference.report import InferReport
from neuroconn.inference.run import infer

# The run folder as it was written then, after three of the five chunks.
IDENTITY = {
    "brain": {"content": "40b1191246d54edc", "dtype": "uint16",
              "frame": {"origin_um": [0, 0, 0], "spacing_um": [2, 1, 1]}, "level": 0,
              "shape": [48, 64, 80]},
    "bridge": 0,
    "encoding": {"clip": 10, "dtype": "uint8"},
    "engine": {"device": "auto", "precision": "auto"},
    "evidence": {"border": 8, "connectivity": 26, "core_threshold": 2, "min_component": 10,
                 "min_voxels": 3, "reliable": 2, "rule": "evidence", "threshold": 4},
    "grid": {"chunk": [16, 16, 16], "shape": [48, 64, 80]},
    "halo": 8,
    "inner_chunk": 8,
    "model": "0" * 64,
    "normalisation": {"curve": "asinh", "divisor": 20, "offset": 100, "scale": 3},
    "padding": "reflect",
    "schema": 1,
}  # fmt: skip
JOURNAL = """\
c518f097 {"zyx":[1,2,0],"status":"neurite","strong":12288,"weak":9597513,"voxels":144,"digest":1009078444,"attempt":1,"seconds":0.022,"elided":0}
e910b3e7 {"zyx":[1,2,1],"status":"neurite","strong":12288,"weak":12288,"voxels":144,"digest":1009078444,"attempt":1,"seconds":0.022,"elided":0}
f7153a0f {"zyx":[1,2,2],"status":"neurite","strong":5120,"weak":54656494,"voxels":153,"digest":1788141117,"attempt":1,"seconds":0.018,"elided":0}
"""  # noqa: E501
EVENTS = '{"time": 1795969237.4, "event": "start", "backend": "this process (sync)"}\n'


def run(folder: Path, output: str, settings: InferSettings = SETTINGS) -> InferReport:
    return infer(
        folder / "brain.zarr", folder / output, model=folder / "model", seeds=[SEED],
        settings=settings, scheduler="sync", predictor=fake_predictor,
    )  # fmt: skip


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """An unfinished output with a run folder of then."""
    save_brain(tmp_path / "brain.zarr", fibre())
    save_card(tmp_path / "model")
    run(tmp_path, "old/out.zarr", SETTINGS.model_copy(update={"max_chunks": 3}))
    folder = tmp_path / "old/out.zarr/run"
    for file in folder.iterdir():
        if file.name != "zarr.json":
            file.unlink()
    report: dict[str, Any] = {"inferred": 3, "pyramid_of": 3, "exceptions": []}
    (folder / "identity.json").write_text(json.dumps(IDENTITY, indent=1))
    (folder / "journal.jsonl").write_text(JOURNAL)
    (folder / "seeds.jsonl").write_text("\n[[1, 2, 0]]\n")
    (folder / "events.jsonl").write_text(EVENTS)
    (folder / "report.json").write_text(json.dumps(report))
    return tmp_path


def test_it_is_read_resumed_and_ends_with_the_same_bytes(old: Path) -> None:
    run(old, "new/out.zarr")

    before = status(old / "old/out.zarr")
    assert (before.chunks["neurite"], before.chunks["queued"]) == (3, 1)
    assert run(old, "old/out.zarr").inferred == len(FIBRE) - 3
    resumed, whole = (stored_bytes(old / name / "out.zarr") for name in ("old", "new"))
    del resumed["zarr.json"], whole["zarr.json"]  # holds the settings it was created with
    assert resumed == whole
    assert verify(old / "old/out.zarr").sound
    assert run(old, "old/out.zarr").inferred == 0


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"on_damage": "fill"}, "on_damage: missing, now"), ({"bridge": 2}, "bridge: 0, now 2"),
     ({"through_failed": "none"}, "through_failed: missing, now")],
)  # fmt: skip
def test_settings_it_could_not_have_had_are_other_settings(
    old: Path, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(OutputError, match=said):
        run(old, "old/out.zarr", SETTINGS.model_copy(update=changes))
