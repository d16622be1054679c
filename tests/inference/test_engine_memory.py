"""The memory an engine says it takes, against the peak of a real process."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from neuroconn.inference.engine_device import has_bfloat16, predict_memory
from neuroconn.network import UNet

MEASURE = """
import json, re, sys
from pathlib import Path
import numpy as np
from neuroconn.inference.engine import Engine, sample_tile
from neuroconn.network import Model, ModelCard, Normalisation, UNet

def peak():
    # Not getrusage: a child starts with the peak of its parent there.
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\\s+(\\d+)", status).group(1)) * 1024

precision, trim = sys.argv[1], int(sys.argv[2])
card = ModelCard(name="m", clip=10, normalisation=Normalisation(), spacing_um=(1, 1, 1))
model = Model(UNet(levels=3, width=16).eval(), card)
warm = Engine(model, device="cpu", precision=precision, tile=(16, 16, 16), threads=1)
warm.predict(sample_tile((16, 16, 16)))
tile = sample_tile((96, 96, 96))
before = peak()
engine = Engine(model, device="cpu", precision=precision, tile=tile.shape, trim=trim)
engine.predict(tile)
print(json.dumps({"said": engine.memory, "taken": peak() - before}))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peaks are read from Linux")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("trim", [0, 32])
def test_the_peak_of_a_process_is_near_what_the_engine_says(precision: str, trim: int) -> None:
    if precision == "bfloat16" and not has_bfloat16():
        pytest.skip("this CPU computes in float32 only")

    out = subprocess.run(
        [sys.executable, "-c", MEASURE, precision, str(trim)],
        capture_output=True,
        text=True,
        check=True,
    )

    found = json.loads(out.stdout)
    assert 0.35 < found["taken"] / found["said"] < 1.6, found


def test_memory_grows_with_the_tile_and_shrinks_with_the_trim() -> None:
    network = UNet(levels=2, width=4)
    tile, larger = (64, 64, 64), (128, 64, 64)

    whole = predict_memory(network, tile, "float32")

    assert predict_memory(network, larger, "float32") > 1.9 * whole
    assert predict_memory(network, tile, "float32", (16, 16, 16)) < whole
    assert 0.4 * whole < predict_memory(network, tile, "bf16") < 0.8 * whole
