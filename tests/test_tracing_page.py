"""The example of docs/tracing.md runs as it stands, on the part of the sample around its seed."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from neuroconn.annotation import read_swc
from neuroconn.demonstration import SAMPLE

PAGE = Path(__file__).resolve().parents[1] / "docs" / "tracing.md"
NEAR_THE_SEED = " --box 32 32 208 64 64 256 --set chunk=32 --set inner_chunk=32"
"""A small size: without it the walk goes on through all of the sample, for minutes."""


@pytest.mark.cluster
@pytest.mark.slow
def test_the_shell_block_runs(tmp_path: Path) -> None:
    (block,) = re.findall(r"```sh\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    seed = "--seed 42 40 235"
    assert block.count(seed) == 1
    (tmp_path / "axons.tif").symlink_to(SAMPLE)
    paths = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])

    done = subprocess.run(
        ["bash", "-ec", block.replace(seed, seed + NEAR_THE_SEED)],
        cwd=tmp_path,
        env={**os.environ, "PATH": paths},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^trees +[1-9]", done.stdout, re.MULTILINE)
    assert re.search(r"^ *completeness +(0\.9|1\.0)", done.stdout, re.MULTILINE)
    forest = read_swc(tmp_path / "axons.swc")
    assert np.linalg.norm(forest.positions - (42, 40, 235), axis=1).min() < 15


def test_the_page_says_the_defaults_of_the_settings() -> None:
    from neuroconn.tracing import TraceSettings

    text, settings = PAGE.read_text(encoding="utf-8"), TraceSettings()

    assert f"`--threshold`, {settings.threshold:g} voxels" in text
    assert f"`--spur`, {settings.spur:g} voxels" in text
    assert f"drops trees with less cable, {settings.shortest:g} µm" in text
    assert settings.tolerance == 0.5
