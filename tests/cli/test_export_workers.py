"""The export command: what was explored, updates, and who does the work."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from neuroconn.cli import main
from neuroconn.geometry import Box, Frame, Level
from neuroconn.volume import create_image, intensity_statistics, write_region
from neuroconn.volume.statistics import pack_histogram, voxel_histogram

SHAPE = (40, 50, 60)


def store(path: Path, volume: Any, kind: Any, **more: Any) -> None:
    image = create_image(
        path,
        levels=[Level(SHAPE, (1, 1, 1), (1, 1, 1))],
        dtype=volume.dtype,
        frame=Frame((1.0, 1.0, 1.0)),
        chunk=16,
        shard=64,
        kind=kind,
        **more,
    )
    write_region(image.array(0), Box.of_shape(SHAPE), volume)


@pytest.fixture
def images(tmp_path: Path) -> list[str]:
    """A brain, a map of its right end, and the map after a longer walk."""
    raw = np.random.default_rng(0).integers(0, 900, SHAPE, dtype=np.uint16)
    counts = voxel_histogram(raw)
    notes = {"intensity": {**intensity_statistics(counts), "histogram": pack_histogram(counts)}}
    store(tmp_path / "brain", raw, "brain", attributes=notes)
    codes = np.full(SHAPE, 255, np.uint8)
    for name, start in (("first", 48), ("longer", 32)):
        codes[:, :, start:] = 100
        scale = {"scale_factor": 0.04, "_FillValue": 255}
        store(tmp_path / name, codes, "distance", fill_value=255, array_attributes=scale)
    return [str(tmp_path / name) for name in ("brain", "first", "longer")]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["export", *map(str, arguments)])


def test_what_was_explored_is_written_and_updated(images: list[str], tmp_path: Path) -> None:
    brain, first, longer = images
    options = ("--tile", 16, "--only-explored", "--json")
    old = json.loads(run(brain, first, tmp_path / "old", *options).stdout)

    new = json.loads(
        run(brain, longer, tmp_path / "new", *options, "--update", tmp_path / "old").stdout
    )

    assert [level["tiles"] - level["empty"] for level in old["levels"]] == [12, 4]
    assert [level["tiles"] - level["empty"] for level in new["levels"]] == [24, 4]
    assert new["reused"] > 0
    assert new["written"] + new["reused"] == sum(level["tiles"] for level in new["levels"])
    refused = run(brain, longer, tmp_path / "other", "--update", tmp_path / "old")
    assert refused.exit_code == 2
    assert "other" in refused.stderr


@pytest.mark.parametrize("scheduler", ["threads", "sync"])
def test_work_stays_here_unless_a_cluster_is_named(
    scheduler: str, images: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*arguments: Any, **options: Any) -> None:
        raise AssertionError("no cluster was asked for")

    monkeypatch.setattr("neuroconn.sites.connect", refused)

    result = run(*images[:2], tmp_path / "out", "--tile", 16, "--scheduler", scheduler)

    assert result.exit_code == 0, result.output


def test_a_named_cluster_makes_the_tiles(
    images: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from distributed import Client, LocalCluster

    asked: list[str] = []

    @contextmanager
    def connect(scheduler: str, **options: Any) -> Iterator[Client]:
        asked.append(scheduler)
        with (
            LocalCluster(processes=False, dashboard_address=None) as there,
            Client(there) as client,
        ):
            yield client

    monkeypatch.setattr("neuroconn.sites.connect", connect)

    result = run(*images[:2], tmp_path / "out", "--tile", 16, "--scheduler", "local:2")

    assert result.exit_code == 0, result.output
    assert asked == ["local:2"]
    plain = run(*images[:2], tmp_path / "plain", "--tile", 16)
    assert plain.exit_code == 0
    for path in (tmp_path / "plain").rglob("*"):
        if path.is_file():
            twin = tmp_path / "out" / path.relative_to(tmp_path / "plain")
            assert twin.read_bytes() == path.read_bytes()
