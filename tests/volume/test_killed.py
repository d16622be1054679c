"""Conversions killed by a signal that nothing can catch, at random moments."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from neuroconn.volume import convert, verify_image
from neuroconn.volume.convert_journal import read_journal

CHILD = """
import sys
from neuroconn.volume import convert, convert_band, engines
engines.SYNC = False
convert_band._candidates = lambda plan: [plan.shard]
convert(sys.argv[1], sys.argv[2], spacing=(1, 1, 1), chunk=8, shard=16, smallest=16, threads=2,
        engine=sys.argv[3])
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("source") / "a.tif"
    voxels = np.random.default_rng(0).integers(0, 5000, (128, 160, 160)).astype(np.uint16)
    voxels[:40, :50] = 0
    tifffile.imwrite(path, voxels, photometric="minisblack")
    return path


def bands(brain: Path) -> int:
    return len(list(read_journal(brain)))


@pytest.mark.cluster
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("engine", "kills"), [("tensorstore", 20), ("zarr", 6)])
def test_killed_again_and_again_at_random_moments_gives_the_same_bytes(
    tmp_path: Path, source: Path, digests: Any, engine: str, kills: int
) -> None:
    once = tmp_path / "once" / "brain"
    convert(
        source,
        once,
        spacing=(1, 1, 1),
        chunk=8,
        shard=16,
        smallest=16,
        engine=engine,  # type: ignore[arg-type]
    )
    brain, moments = tmp_path / "brain", random.Random(engine)
    command = [sys.executable, "-c", CHILD, str(source), str(brain), engine]
    total = 8 * 10 * 10
    for _ in range(kills):
        before = bands(brain)
        child = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        while bands(brain) == before and child.poll() is None:
            time.sleep(0.001)
        time.sleep(moments.uniform(0, 0.02))
        assert child.poll() is None, "the child ended before it could be killed"
        child.send_signal(signal.SIGKILL)
        child.wait()
        assert before < bands(brain) < total

    report = convert(
        source,
        brain,
        spacing=(1, 1, 1),
        chunk=8,
        shard=16,
        smallest=16,
        engine=engine,  # type: ignore[arg-type]
    )

    assert 0 < report.bands_written < total
    assert digests(brain) == digests(once)
    assert not verify_image(brain)
    again = convert(source, brain, spacing=(1, 1, 1), chunk=8, shard=16, smallest=16)
    assert again.bands_written == 0
