"""The memory of a real process against what was predicted before it began."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

WIDE = Path(__file__).resolve().parents[1] / "benchmarks" / "convert" / "wide.py"


@pytest.mark.cluster
@pytest.mark.parametrize("shape", [(64, 1024, 12_000), (300, 1024, 2048)])
def test_the_peak_of_a_process_is_at_most_the_prediction(
    tmp_path: Path, shape: tuple[int, int, int]
) -> None:
    arguments = ["--shape", *map(str, shape), "--threads", "2", "--folder", str(tmp_path)]

    done = subprocess.run(
        [sys.executable, str(WIDE), *arguments], capture_output=True, text=True, check=True
    )

    measured = json.loads(done.stdout)
    assert measured["bands"] > 2
    assert measured["peak_bytes"] <= measured["predicted_bytes"] <= 2_000_000_000
