"""The CPU engine against plain torch, in one process and one run.

``pytest tests/benchmarks/test_engine.py --benchmark-enable -s`` prints, for each tile, seconds of

* plain: ``network(x)`` in float32, as anyone would run it;
* kept: the same after ``keep_pages``, which spares both sides the page faults;
* engine: ``Engine.predict`` in the precision ``auto`` picks, all voxels;
* trimmed: the same without the outer voxels that nobody asks for.

Without ``--benchmark-enable`` every engine runs once, on a small tile.
"""

import json
import subprocess
import sys

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

MEASURE = """
import json, sys, time
import torch
from neuroconn.inference.engine import Engine, sample_tile
from neuroconn.network import Model, ModelCard, Normalisation, UNet, keep_pages

side, threads, rounds = map(int, sys.argv[1:])
torch.set_num_threads(threads)
torch.manual_seed(0)
card = ModelCard(name="bench", clip=10, normalisation=Normalisation(), spacing_um=(1, 1, 1))
model = Model(UNet(levels=3, width=16).eval(), card)
tile = sample_tile((side, side, side))
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
    model.network(x)

found = {"plain": best(plain)}
keep_pages()
found["kept"] = best(plain)
for name, trim in (("engine", 0), ("trimmed", side // 8)):
    engine = Engine(model, device="cpu", tile=tile.shape, trim=trim)
    found[name] = best(lambda: engine.predict(tile))
found["precision"] = engine.precision
print(json.dumps(found))
"""


def measure(side: int, threads: int, rounds: int) -> dict[str, float]:
    """Run in a process of its own: once pages are kept, they stay kept."""
    words = [sys.executable, "-c", MEASURE, str(side), str(threads), str(rounds)]
    out = subprocess.run(words, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(out.stdout)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("side", [96, 128])
def test_the_engine_against_plain_torch(
    side: int, threads: int, benchmark: BenchmarkFixture
) -> None:
    small = benchmark.disabled
    if small and (side, threads) != (96, 1):
        pytest.skip("one run shows that it works; --benchmark-enable measures")
    size, rounds = (32, 1) if small else (side, 5)

    found = benchmark.pedantic(measure, args=(size, threads, rounds), rounds=1)

    engine, kept, plain = found["engine"], found["kept"], found["plain"]
    benchmark.extra_info.update(found, against_plain=plain / engine, against_kept=kept / engine)
    print(
        f"\ntile {size}^3, {threads} threads, {found['precision']}: plain {plain:.3f} s, kept "
        f"{kept:.3f} s, engine {engine:.3f} s, trimmed {found['trimmed']:.3f} s; the engine is "
        f"{plain / engine:.1f} times plain torch ({kept / engine:.1f} with pages kept)"
    )
    assert engine > 0
