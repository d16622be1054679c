"""The script that asks whether neurites break at chunk faces, on a brain of one chunk."""

import json
from pathlib import Path

import breaks_at_faces
import numpy as np
import pytest
from breaks_at_faces import axons, draw
from workloads import untrained

from neuroconn import open_image
from neuroconn.annotation import read_swc
from neuroconn.geometry import Box
from neuroconn.volume import read_region

SMALL = (64, 64, 72)
"""Large enough for an axon."""


def test_the_brain_is_the_phantom_and_its_truth_lies_in_it(tmp_path: Path) -> None:
    brain, truth = draw(SMALL, tmp_path)

    stored = read_region(open_image(brain).array(0), Box.of_shape(SMALL))
    np.testing.assert_array_equal(stored, axons(SMALL, seed=10**9).image())
    nodes = read_swc(truth).positions
    assert (nodes > -4).all()
    assert (nodes < np.add(SMALL, 4)).all()


def test_a_brain_that_is_there_is_not_drawn_again(tmp_path: Path) -> None:
    _, truth = draw(SMALL, tmp_path)
    before = truth.stat().st_mtime_ns

    assert draw(SMALL, tmp_path)[1].stat().st_mtime_ns == before


def test_it_prints_breaks_near_faces_and_elsewhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = untrained(tmp_path / "model")
    size = [str(edge) for edge in SMALL]
    made = ["--model", str(model), "--scheduler", "sync", "--json"]

    assert breaks_at_faces.main([str(tmp_path / "run"), "--shape", *size, *made]) == 0

    scores = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert {"breaks", "truth_length"} <= set(scores["connectivity"])
