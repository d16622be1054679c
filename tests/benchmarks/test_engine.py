"""The engines against plain torch, in one process and one run.

``pytest tests/benchmarks/test_engine.py --benchmark-enable -s`` prints, for each tile, seconds of

* plain: ``network(x)`` in float32, as anyone would run it: the baseline of the target, 4 times;
* kept: the same after ``keep_pages``, which spares both sides the page faults;
* torch, openvino: ``Engine.predict_codes`` of grey values in the precision ``auto`` picks, all
  voxels; and the same without the outer voxels that nobody asks for;
* exact: the same in float32.

Without ``--benchmark-enable`` every engine runs once, on a small tile. On a machine with a GPU
``engine_device.py`` runs too, which is a script of its own.
"""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

MEASURE = """
import json, sys, time
import torch
from engine_device import CONSTANTS, ENCODING, model
from neuroconn.inference.engine.torch_engine import Engine, sample_tile
from neuroconn.network import keep_pages

side, threads, rounds, *kinds = sys.argv[1:]
side, rounds = int(side), int(rounds)
torch.set_num_threads(int(threads))
made = model(levels=3, width=16)
tile = sample_tile((side, side, side))
raw = (tile * 100 + 300).astype("uint16")
x = torch.from_numpy(tile)[None, None]

def best(run):
    run()
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return min(seconds)

@torch.inference_mode()
def plain():
    made.network(x)

found = {"plain": best(plain)}
keep_pages()
found["kept"] = best(plain)
for kind in kinds:
    for name, trim, precision in (("", 0, "auto"), (" trimmed", side // 8, "auto"),
                                  (" exact", 0, "float32")):
        engine = Engine(made, device="cpu", tile=tile.shape, trim=trim, kind=kind,
                        precision=precision)
        found[kind + name] = best(lambda: engine.predict_codes(raw, CONSTANTS, ENCODING))
        if not name:
            found["precision"] = engine.precision
print(json.dumps(found))
"""
KINDS = ["torch", *(["openvino"] if find_spec("openvino") else [])]


def measure(side: int, threads: int, rounds: int) -> dict[str, Any]:
    """Run in a process of its own: once pages are kept, they stay kept."""
    words = [sys.executable, "-c", MEASURE, str(side), str(threads), str(rounds), *KINDS]
    out = subprocess.run(
        words, capture_output=True, text=True, check=True, cwd=Path(__file__).parent
    )
    found: dict[str, Any] = json.loads(out.stdout)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("side", [96, 160])
def test_the_engines_against_plain_torch(
    side: int, threads: int, benchmark: BenchmarkFixture
) -> None:
    small = benchmark.disabled
    if small and (side, threads) != (96, 1):
        pytest.skip("one run shows that it works; --benchmark-enable measures")
    size, rounds = (32, 1) if small else (side, 5)

    found = benchmark.pedantic(measure, args=(size, threads, rounds), rounds=1)

    times = {name: value for name, value in found.items() if name != "precision"}
    benchmark.extra_info.update(found)
    print(f"\ntile {size}^3, {threads} threads, {found['precision']}")
    for name, seconds in times.items():
        print(
            f"  {name:17s} {seconds:7.3f} s  {times['plain'] / seconds:5.1f} times plain, "
            f"{times['kept'] / seconds:4.1f} kept"
        )
    assert all(seconds > 0 for seconds in times.values())
    assert {"plain", "kept", *KINDS} <= times.keys()


@pytest.mark.slow
def test_the_engine_keeps_its_device_busy(benchmark: BenchmarkFixture) -> None:
    """On a GPU at full size; elsewhere the same script on a small tile of the CPU."""
    gpu = torch.cuda.is_available() and not benchmark.disabled
    words = ["--device", "cuda"] if gpu else ["--device", "cpu", "--side", "32", "--levels", "2"]
    more = [] if gpu else ["--width", "4", "--tiles", "4"]
    script = Path(__file__).with_name("engine_device.py")

    out = benchmark.pedantic(
        subprocess.run,
        args=([sys.executable, str(script), *words, *more],),
        kwargs={"capture_output": True, "text": True, "check": True},
        rounds=1,
    )

    found = json.loads(out.stdout)
    benchmark.extra_info.update(found)
    print("\n" + out.stdout)
    assert 0 < found["busy"] <= 1.05
    assert found["engine_seconds"] > 0
