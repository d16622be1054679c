"""Dask's settings for a walk, and the resource that its tasks ask for."""

from __future__ import annotations

from typing import Any

from neuroconn.config.access import Access

RESOURCE = "GPU"
"""What a worker offers once per task it may run at a time; CPU workers offer it too."""

WORKER_ENVIRONMENT = {
    # One heap for all threads: several grow, shrink and fault in their pages again at every tile.
    "MALLOC_ARENA_MAX": "1",
}
"""What the C library of a worker must find when its process starts."""

DASK_SETTINGS: dict[str, Any] = {
    # Every death costs a restart; from the second on the walk runs the suspects alone, itself.
    "distributed.scheduler.allowed-failures": 1,
    "distributed.scheduler.worker-ttl": "15 minutes",  # a long convolution misses heartbeats
    "distributed.scheduler.work-stealing": False,  # the window leaves nothing to steal
    "distributed.scheduler.no-workers-timeout": "60s",
    "distributed.scheduler.unknown-task-duration": "5s",
    # A cluster looks once, this long after it lost a worker, and gives the nanny up for good if the
    # worker is away just then: after the usual 15 s that may be its next restart.
    "distributed.deploy.lost-worker-timeout": "1 hour",
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": 0.85,
    "distributed.worker.memory.terminate": 0.95,
    "distributed.comm.timeouts.connect": "60s",
    "distributed.comm.timeouts.tcp": "120s",
    # Fetching from a worker that was just killed fails as soon as the scheduler knows; trying again
    # would wait a minute for a port that nobody listens on.
    "distributed.comm.retry.count": 0,
    **{f"distributed.nanny.pre-spawn-environ.{k}": v for k, v in WORKER_ENVIRONMENT.items()},
}
"""Dask's settings for a walk: no stealing, no spilling, patience with busy workers."""


def tls_settings(access: Access) -> dict[str, Any]:
    """Dask's settings for the certificates of a run; none if there are none.

    As settings, not as an object, since those travel to the workers that a cluster starts.

    Examples
    --------
    >>> tls_settings(Access())
    {}
    """
    if not access.encrypted:
        return {}
    pair = {"cert": str(access.tls_cert), "key": str(access.tls_key)}
    roles = {
        f"distributed.comm.tls.{role}.{kind}": file
        for role in ("client", "scheduler", "worker")
        for kind, file in pair.items()
    }
    return {
        "distributed.comm.tls.ca-file": str(access.tls_ca),
        "distributed.comm.require-encryption": True,
        **roles,
    }
