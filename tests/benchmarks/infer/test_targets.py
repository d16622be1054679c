"""What a run costs beside its network, and how it compares with others; the targets in brackets.

``pytest tests/benchmarks/infer --benchmark-enable -s`` prints

* a dense run over 64 chunks against the network alone on the same tiles (at most 1.10 times);
* one volume of 256^3 against MONAI's sliding window: time (3 times faster), and the difference to
  the network on the whole volume at once (a tenth), in float32 and in bfloat16;
* processor time of scheduler and client for a chunk that needs nothing done (0.25 ms), and their
  growth over 100,000 of them (100 MB);
* decisions of the frontier (200,000 a second) and its memory with a million visited chunks of ten
  million (1 GB);
* a run of a million finished chunks, from its start to the first task (10 s).

Without ``--benchmark-enable`` everything is tiny, and results are checked instead of times.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from infer import dense, frontier_load, peer, restart, scheduling
from pytest_benchmark.fixture import BenchmarkFixture
from workloads import phantom_brain, shipped_or, untrained

from neuroconn.config.infer import InferSettings

HERE = Path(__file__).parent


def fresh(script: str, *arguments: object) -> dict[str, float]:
    """Run a script of this folder in a process of its own; what it prints last is a JSON object."""
    command = [sys.executable, str(HERE / script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.cluster
@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_dense_run_against_the_network_alone(tmp_path: Path, benchmark: BenchmarkFixture) -> None:
    if benchmark.disabled:
        brain, model = phantom_brain(tmp_path, 32, 2), str(untrained(tmp_path / "model"))
        settings, ways = InferSettings(chunk=16, inner_chunk=8, halo=16), ["sync"]
    else:
        brain, model = phantom_brain(tmp_path, 512, 40), shipped_or(tmp_path / "model")
        settings, ways = InferSettings(), ["sync", "threads", "local:1"]
    where = (brain, tmp_path, settings, model, ways)

    found = benchmark.pedantic(dense.measure, args=where, rounds=1)

    benchmark.extra_info.update(bare=found.bare, walks=found.walks, calls=found.calls)
    print(f"\ndense inference, tiles of {settings.chunk + 2 * settings.halo}^3\n{found.table()}")
    assert found.chunks == (8 if benchmark.disabled else 64)
    assert set(found.walks) == set(ways)
    assert all(walk > 0 for walks in found.walks.values() for walk in walks)


def against_monai(folder: Path, model: str) -> dict[str, Any]:
    """Every way in a process of its own, in turn."""
    ways = ("whole", *peer.PEERS, *peer.OURS)
    found: dict[str, Any] = {way: peer.run(way, folder, model) for way in ways}
    exact = np.load(folder / "whole.npy")
    for way in ways[1:]:
        found[way] |= peer.errors(np.load(folder / f"{way}.npy"), exact, margin=48)
    return found


def peer_table(found: dict[str, Any]) -> str:
    """Return the table of all ways."""
    lines = [f"{'':33}{'s':>8}{'CPU s':>8}{'peak MB':>9}{'max':>9}{'mean':>10}{'flips':>9}"]
    for way, row in found.items():
        error = f"{row['max']:9.2e}{row['mean']:10.2e}{row['flips']:9.3%}" if "max" in row else ""
        lines.append(
            f"{way:33}{row['seconds']:8.2f}{row['cpu_seconds']:8.1f}{row['peak_mb']:9.0f}{error}"
        )
    plain, tuned = found["monai-bfloat16"], found["monai-bfloat16-last"]
    for way in peer.OURS:
        row = found[way]
        faster = [other["seconds"] / row["seconds"] for other in (plain, tuned)]
        closer = [plain[error] / row[error] for error in ("max", "mean")]
        lines.append(
            f"{way}: {faster[0]:.1f} times faster than MONAI in bfloat16 ({faster[1]:.1f} if its "
            f"network is laid out as ours), errors {closer[0]:.3g} (largest) and {closer[1]:.3g} "
            "(mean) times smaller"
        )
    return "\n".join(lines)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_one_volume_against_monai(tmp_path: Path, benchmark: BenchmarkFixture) -> None:
    if benchmark.disabled:  # without MONAI: what is compared with what, and how
        phantom_brain(tmp_path, 48, 2)
        model = str(untrained(tmp_path / "model"))
        _, exact = peer.whole(tmp_path, model)
        _, ours = benchmark(peer.neuroconn, "neuroconn-float32-torch-64", tmp_path, model)
        assert peer.errors(ours, exact, margin=8)["max"] < 1e-4
        assert peer.errors(ours + 1, exact, margin=8)["mean"] == pytest.approx(1, abs=1e-4)
        return
    phantom_brain(tmp_path, 256, 12)
    model = shipped_or(tmp_path / "model")

    found = benchmark.pedantic(against_monai, args=(tmp_path, model), rounds=1)

    benchmark.extra_info.update(found)
    print("\none volume of 256^3, differences to the network on all of it\n" + peer_table(found))


@pytest.mark.cluster
@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_what_scheduling_costs(tmp_path: Path, benchmark: BenchmarkFixture) -> None:
    counts = (3, 4, 5) if benchmark.disabled else (20, 50, 100)

    cost = benchmark.pedantic(scheduling.measure, args=(tmp_path, counts), rounds=1)

    benchmark.extra_info.update(vars(cost) | {"ms_a_chunk": cost.ms_a_chunk})
    print(
        f"\n{cost.chunks} chunks that need nothing done, 16 a task: {cost.ms_a_chunk:.3f} ms each "
        f"(client {cost.client_s / cost.chunks * 1e3:.3f}, scheduler "
        f"{cost.scheduler_s / cost.chunks * 1e3:.3f}), {cost.chunks / cost.seconds:.0f} a second; "
        f"client +{cost.client_mb:.0f} MB, scheduler +{cost.scheduler_mb:.0f} MB"
    )
    assert cost.chunks == counts[0] * counts[1] * counts[2]
    assert min(cost.client_s, cost.seconds) > 0


@pytest.mark.timeout(3600)
def test_how_fast_and_how_large_the_frontier_is(benchmark: BenchmarkFixture) -> None:
    if benchmark.disabled:
        found = benchmark(frontier_load.measure, (6, 7, 8), 200)
    else:
        found = benchmark.pedantic(fresh, args=("frontier_load.py",), rounds=1)

    benchmark.extra_info.update(found)
    print(
        f"\nfrontier: {found['neurites']:,.0f} decisions a second, {found['all_neighbours']:,.0f} "
        f"if all neighbours open, {found['one_by_one']:,.0f} one by one; peak "
        f"{found['peak_mb']:.0f} MB, of which {found['imports_mb']:.0f} MB are imports"
    )
    assert min(found.values()) > 0


@pytest.mark.timeout(3600)
def test_how_long_a_restart_takes(tmp_path: Path, benchmark: BenchmarkFixture) -> None:
    lines = 300 if benchmark.disabled else 1_000_000
    restart.prepare(tmp_path, lines)
    if benchmark.disabled:
        found = benchmark.pedantic(restart.measure, args=(tmp_path,), rounds=1)
    else:
        found = benchmark.pedantic(fresh, args=("restart.py", tmp_path), rounds=1)

    benchmark.extra_info.update(found)
    print(
        f"\nrestart with {lines} journal lines: {found['seconds']:.1f} s to the first task "
        f"({found['cpu_seconds']:.1f} CPU-s), peak {found['peak_mb']:.0f} MB"
    )
    assert found["seconds"] > 0
