"""The demo is the main job: it ends with a table, figures and tiles, and can be run again."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from neuroconn.demonstration import SAMPLE, SEED
from neuroconn.vaa3d import TeraflyVolume
from neuroconn.volume import open_volume


def test_the_sample_comes_with_its_origin_and_licence() -> None:
    text = (SAMPLE.parent / "README.md").read_text(encoding="utf-8")

    assert SAMPLE.name in text
    assert "licence" in text.lower()


def test_the_seed_lies_on_something_bright() -> None:
    whole = tifffile.imread(SAMPLE)

    assert whole[SEED] > np.percentile(whole, 98)


@pytest.mark.cluster
@pytest.mark.slow
def test_the_demo_runs_and_runs_again(tmp_path: Path) -> None:
    def demo() -> tuple[dict[str, object], str]:
        command = [sys.executable, "-m", "neuroconn", "demo", str(tmp_path), "--json"]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=280)
        return json.loads(done.stdout), done.stderr

    report, said = demo()

    assert [f"{n}/4" in said for n in (1, 2, 3, 4)] == [True] * 4
    assert 0 < report["neurite"] <= report["visited"] <= report["chunks"]
    assert {"brain.png", "distance.png", "chunks.png", "summary.png"} <= {
        path.name for path in (tmp_path / "figures").iterdir()
    }
    for figure in report["figures"]:
        assert len(Image.open(figure).convert("L").getcolors(1 << 16)) > 1
    tree = TeraflyVolume(tmp_path / "terafly")
    assert tree.shape == open_volume(tmp_path / "distance.ome.zarr").shape
    again, _ = demo()
    assert again["visited"] == report["visited"]
