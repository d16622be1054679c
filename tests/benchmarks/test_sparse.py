"""What a walk visits of a sparse brain, what it misses, and whether the audit says so.

``pytest tests/benchmarks/test_sparse.py --benchmark-enable -s`` walks a virtual brain of 43,602
chunks of 128^3 in which 4 % hold neurite, with the real loop, rules and audit; the network knows
the exact distance to what can be seen. It prints

* executed chunks per chunk with neurite, and the share of the reachable centreline that was found;
* the same with a tenth of the neurons unseeded and 3 % of the length in gaps of 10 to 80 voxels,
  before and after the audit, over 100 draws of the unseeded neurons and of the probes;
* how often the stated bound on what was missed held.

Without ``--benchmark-enable`` the brain is small and there are few trials.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from sparse_brain import SparseBrain, explore, grow_brain

from neuroconn.config.infer import AuditSettings, EvidenceRules
from neuroconn.geometry import ZYX


class Size(NamedTuple):
    """How large the brain is."""

    shape: ZYX
    neurons: int
    length: float
    chunk: int
    trials: int


WHOLE = Size((3249, 5399, 4982), 60, 9_000.0, 128, 100)
SMALL = Size((512, 768, 768), 5, 3_000.0, 64, 5)
pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200)]


def brain_of(size: Size, gaps: float) -> SparseBrain:
    return grow_brain(
        size.shape, size.neurons, size.length,
        chunk=size.chunk, halo=32, rules=EvidenceRules(), gaps=gaps,
    )  # fmt: skip


def test_a_sparse_brain_is_found_whole_at_little_cost(
    tmp_path: Path, benchmark: BenchmarkFixture
) -> None:
    size = SMALL if benchmark.disabled else WHOLE
    brain = brain_of(size, gaps=0.0)
    seeds = brain.roots(range(size.neurons))

    found = benchmark.pedantic(
        explore, args=(brain, seeds, tmp_path, AuditSettings(probes=0)), rounds=1
    )

    positive = sum(brain.verdict(index).neurite for index in found.visited)
    ratio, recall = found.executed / positive, brain.recall(found.visited)
    benchmark.extra_info.update(executed_per_positive=ratio, recall=recall)
    print(
        f"\nsparse brain of {len(brain.grid):,} chunks, {len(brain.true_chunks())} with neurite: "
        f"{found.executed} executed, {ratio:.3f} per positive, recall {recall:.2%}"
    )
    assert ratio <= 1.35
    assert recall >= 0.995


def test_the_audit_finds_unseeded_neurons_and_bounds_the_rest(
    tmp_path: Path, benchmark: BenchmarkFixture
) -> None:
    size = SMALL if benchmark.disabled else WHOLE
    brain = brain_of(size, gaps=0.03)
    scores = brain.scores(tmp_path / "coarse.zarr")
    positives = set(brain.positives())
    # In the small brain a twentieth of what was visited is a handful of probes.
    settings = AuditSettings(share=0.3) if benchmark.disabled else AuditSettings()

    def trials() -> np.ndarray:
        rows = []
        for trial in range(size.trials):
            rng = np.random.default_rng(trial)
            seeded = rng.permutation(size.neurons)[: round(0.9 * size.neurons)].tolist()
            found = explore(
                brain, brain.roots(seeded), tmp_path / str(trial), settings, scores, f"run {trial}"
            )
            assert found.audit is not None
            left = len(positives - found.visited)
            before, after = brain.recall(found.before_audit), brain.recall(found.visited)
            audit = found.audit
            rows.append((before, after, left <= audit.missed, audit.share, audit.probes))
        return np.array(rows)

    rows = benchmark.pedantic(trials, rounds=1)

    before, after, holds, share, probes = rows.T
    benchmark.extra_info.update(before=before.mean(), after=after.mean(), holds=holds.mean())
    print(
        f"\n{len(rows)} trials, a tenth unseeded, 3 % in gaps: recall {before.mean():.2%} before "
        f"the audit, {after.mean():.2%} after (least {after.min():.2%}); bound "
        f"{np.median(share):.2%} (median), holds in {holds.sum():.0f}; {probes.mean():.0f} probes"
    )
    assert after.mean() >= 0.97
    assert holds.mean() >= 0.95
