"""A disk that is full at one moment, for every file of a run."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from labs import ENVIRONMENT

SCRIPT = Path(__file__).with_name("full_disk.py")
NAMESPACE = ["unshare", "--mount"]


def can_mount() -> bool:
    """Whether a file system can be mounted here that nobody else sees."""
    trial = 'd=$(mktemp -d) && mount -t tmpfs -o size=1m tmpfs "$d"'
    try:
        done = subprocess.run([*NAMESPACE, "sh", "-c", trial], capture_output=True, check=False)
    except FileNotFoundError:
        return False
    return done.returncode == 0


@pytest.fixture(scope="module", params=["tmpfs", "rlimit"])
def met(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What happened at every moment."""
    if request.param == "tmpfs" and not can_mount():
        pytest.skip("no right to mount a file system")
    command = [sys.executable, str(SCRIPT), str(tmp_path_factory.mktemp("disk")), request.param]
    prefix = NAMESPACE if request.param == "tmpfs" else []
    done = subprocess.run(
        [*prefix, *command], capture_output=True, text=True, check=False, env=ENVIRONMENT
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
def test_a_full_disk_ends_a_run_in_one_line_and_its_resumption_in_the_calm_map(met: Any) -> None:
    for moment in ("output", "lock", "seeds", "core", "journal", "pyramid"):
        found = met[moment]
        assert found["met"]["exit_code"] == 74, found
        assert "same command again" in found["met"]["said"]
        assert found["left"] == []
        assert found["damaged"] == 0
        assert found["resumed"]["exit_code"] == 0, found
        assert found["third"]["inferred"] == 0
        assert found["calm"], moment
    assert met["core"]["resumed"]["inferred"] < 27
    assert met["pyramid"]["resumed"]["inferred"] == 0


@pytest.mark.slow
def test_what_is_only_told_to_people_ends_no_run(met: Any) -> None:
    for moment in ("failures", "events", "report"):
        found = met[moment]
        assert found["met"]["exit_code"] == (1 if moment == "failures" else 0), found
        assert found["left"] == []
        assert found["third"]["inferred"] == 0
        assert found["calm"], moment
    assert "report of the run could not be stored" in met["report"]["met"]["said"]
    assert met["failures"]["met"]["inferred"] + met["failures"]["resumed"]["inferred"] == 27


@pytest.mark.slow
def test_a_disk_that_takes_no_writes_is_one_line(met: Any) -> None:
    for found in (found for moment, found in met.items() if moment.startswith("read-only")):
        assert found["exit_code"] == 74
        assert "Read-only file system" in found["said"]
