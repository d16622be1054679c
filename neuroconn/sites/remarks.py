"""What is unwise about a cluster that somebody else started; a run on it is slower, never wrong."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from distributed import Client

from neuroconn.sites.settings import RESOURCE

_SHORT_TTL_S = 60.0
_MANY_FAILURES = 3


def remarks(client: Client) -> list[str]:
    """Return a line for each thing that its owner may want to change.

    Workers of a queue end at their wall-time and are not started again; that is no remark, since
    the run waits for others and can be resumed.
    """
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    settings = client.run_on_scheduler(_settings)  # type: ignore[no-untyped-call]
    return [*_about_workers(workers), *_about_scheduler(**settings)]


def _about_workers(workers: Iterable[Mapping[str, Any]]) -> list[str]:
    ours = [w for w in workers if w["resources"].get(RESOURCE)]
    found = []
    narrow = [w for w in ours if w["nthreads"] < w["resources"][RESOURCE]]
    if narrow:
        first = narrow[0]
        slots = int(first["resources"][RESOURCE])
        found.append(
            f"worker {first['name']} offers {RESOURCE}={slots} but has {first['nthreads']} threads "
            f"and does not hold {slots} chunks at a time: start it with --nthreads {slots}"
        )
    alone = sum(not w.get("nanny") for w in ours)
    if alone:
        found.append(f"{alone} workers have no nanny: one that dies is not started again")
    return found


def _about_scheduler(allowed_failures: int, worker_ttl: float | None) -> list[str]:
    found = []
    if allowed_failures > _MANY_FAILURES:
        found.append(
            f"the scheduler's allowed-failures is {allowed_failures}: a chunk that kills its "
            f"worker kills {allowed_failures + 1} before it is set aside; 1 is enough"
        )
    if worker_ttl is not None and worker_ttl < _SHORT_TTL_S:
        found.append(
            f"the scheduler's worker-ttl is {worker_ttl:g} s: a worker busy for longer is given up "
            "and its chunks run again; 15 minutes is better"
        )
    return found


def _settings(dask_scheduler: Any = None) -> dict[str, Any]:
    """Return settings of a scheduler that bear on a run; runs there."""
    ttl = dask_scheduler.worker_ttl
    return {"allowed_failures": dask_scheduler.allowed_failures, "worker_ttl": ttl or None}
