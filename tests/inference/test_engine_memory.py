"""The memory an engine says it takes, against the peak of a real process."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from neuroconn.errors import UsageError
from neuroconn.inference.engine.device import has_bfloat16
from neuroconn.inference.engine.memory import Room, check_memory, predict_memory, room
from neuroconn.network import UNet

MEASURE = """
import json, re, sys
from pathlib import Path
import numpy as np
from neuroconn.inference.engine.torch_engine import Engine, sample_tile
from neuroconn.inference.engine.memory import predict_memory
from neuroconn.network import Model, ModelCard, Normalisation, build

def peak():
    # Not getrusage: a child starts with the peak of its parent there.
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\\s+(\\d+)", status).group(1)) * 1024

precision, trim, planes = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]) or None
arguments = json.loads(sys.argv[4])
card = ModelCard(name="m", clip=10, normalisation=Normalisation(), spacing_um=(1, 1, 1))
model = Model(build(**arguments).eval(), card)
small = (model.network.stride,) * 3
warm = Engine(model, device="cpu", precision=precision, tile=small, threads=1)
warm.predict(sample_tile(small))
tile = sample_tile((96, 96, 96))
before = peak()
engine = Engine(
    model, device="cpu", precision=precision, tile=tile.shape, trim=trim, check=False
)
engine._body.planes = planes
engine.predict(tile)
said = predict_memory(model.network, tile.shape, precision, (trim,) * 3, planes)
print(json.dumps({"said": said, "taken": peak() - before}))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peaks are read from Linux")
@pytest.mark.parametrize(
    ("precision", "trim", "planes"),
    [("float32", 0, 0), ("bfloat16", 0, 0), ("bfloat16", 32, 0), ("bfloat16", 0, 24)],
)
def test_the_peak_of_a_process_is_near_what_the_engine_says(
    precision: str, trim: int, planes: int
) -> None:
    if precision == "bfloat16" and not has_bfloat16():
        pytest.skip("this CPU computes in float32 only")

    found = measured(precision, trim, planes, {"name": "unet", "levels": 3, "width": 16})

    assert 0.25 < found["taken"] / found["said"] < 1.1, found


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peaks are read from Linux")
@pytest.mark.parametrize(
    "arguments",
    [
        {"name": "resunet", "depth": 34, "width": 16},
        {"name": "resunet", "depth": 50, "width": 16},
        {"name": "cenet", "depth": 18, "width": 16},
        {"name": "resunetpp", "width": 16},
    ],
)
def test_no_network_takes_more_than_the_engine_says(arguments: dict[str, Any]) -> None:
    found = measured("float32", 0, 0, arguments)

    assert 0.2 < found["taken"] / found["said"] < 1.05, found


def measured(precision: str, trim: int, planes: int, arguments: dict[str, Any]) -> dict[str, int]:
    """What a process takes for one tile, and what it said it would."""
    out = subprocess.run(
        [sys.executable, "-c", MEASURE, precision, str(trim), str(planes), json.dumps(arguments)],
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, int] = json.loads(out.stdout)
    return found


def test_memory_grows_with_the_tile_and_shrinks_with_the_trim() -> None:
    network = UNet(levels=2, width=4)
    tile, larger = (128, 128, 128), (256, 128, 128)

    whole = predict_memory(network, tile, "float32")

    assert predict_memory(network, larger, "float32") > 1.8 * whole
    assert predict_memory(network, tile, "float32", (16, 16, 16)) < whole
    assert 0.4 * whole < predict_memory(network, tile, "bf16") < 0.9 * whole


def test_slabs_take_less_than_half_the_memory_of_the_whole() -> None:
    network = UNet(levels=4, width=32)
    tile = (192, 192, 192)

    whole = predict_memory(network, tile, "bf16")

    assert predict_memory(network, tile, "bf16", planes=24) < 0.6 * whole


GIB = 2**30


def checked(*rooms: Room, device: str = "cpu", chunk: int = 256) -> None:
    check_memory(
        UNet(levels=3, width=16),
        (chunk,) * 3,
        32,
        16,
        device=device,
        precision="float32",
        rooms=rooms,
    )


def test_a_tile_that_fits_is_taken() -> None:
    checked(Room("a", 64 * GIB, None))
    checked(Room("a", None, None))
    checked(Room("a", 1 * GIB, 64 * GIB), device="cuda")


def test_a_tile_that_does_not_fit_is_refused_with_the_largest_chunk_that_would() -> None:
    with pytest.raises(
        UsageError, match=r"need (\d+\.\d) GiB, a has 4.0 free: set chunk: \d+"
    ) as e:
        checked(Room("a", 4 * GIB, None))

    best = int(str(e.value).split("set chunk: ")[1].split()[0])
    assert best in (64, 128, 192)
    checked(Room("a", 4 * GIB, None), chunk=best)
    with pytest.raises(UsageError):
        checked(Room("a", 4 * GIB, None), chunk=best + 64)


def test_workers_of_one_machine_share_its_memory_and_gpus_are_their_own() -> None:
    alone = Room("a/17", 16 * GIB, 16 * GIB)
    checked(alone)
    checked(alone, Room("b", 16 * GIB, None))
    checked(alone, alone, device="cuda")

    with pytest.raises(UsageError, match=r"for 2 workers, a has 16.0 free.*fewer workers"):
        checked(alone, alone)
    with pytest.raises(UsageError, match=r"the GPU of a has 1\.0 free"):
        checked(Room("a", 99 * GIB, GIB), device="cuda")


def test_a_machine_too_small_for_any_chunk_is_named() -> None:
    with pytest.raises(UsageError, match="use a machine with more memory"):
        checked(Room("a", 2**20, None))


def test_this_machine_has_room() -> None:
    here = room()

    assert here.host
    assert here.available is None or here.available > 0
