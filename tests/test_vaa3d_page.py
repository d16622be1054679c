"""The worked example of the page on Vaa3D: a brain comes in as TeraFly, and goes out again."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

from neuroconn import open_volume
from neuroconn.annotation import read_ano
from neuroconn.demonstration import SAMPLE

PAGE = Path(__file__).resolve().parents[1] / "docs/vaa3d.md"


def block(language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return str(found)


@pytest.mark.slow
def test_from_terafly_to_terafly(tmp_path: Path) -> None:
    shutil.copy(SAMPLE, tmp_path / "trailmap_axons.tif")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    for call in ([sys.executable, "-c", block("python")], ["bash", "-ec", block("sh")]):
        done = subprocess.run(
            call,
            cwd=tmp_path,
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"

    voxels = tifffile.imread(SAMPLE)
    brain = open_volume(tmp_path / "brain.ome.zarr")
    np.testing.assert_array_equal(brain, voxels)
    assert float(brain["z"][1] - brain["z"][0]) == 2.0
    assert len(list((tmp_path / "terafly").glob("RES(*)/mdata.bin"))) == 2
    assert len(read_ano(tmp_path / "traced.ano").forest) > 100
    assert "within 2" in done.stdout
