"""Worker processes on this machine: one per GPU, or CPU workers that share the cores."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
from typing import Any

import dask
from distributed import Nanny, Scheduler, SpecCluster
from distributed.security import Security
from distributed.system import MEMORY_LIMIT

from neuroconn.errors import ClusterError
from neuroconn.sites.settings import RESOURCE

logger = logging.getLogger(__name__)

_LOOPBACK = "127.0.0.1"
_THREADS_PER_WORKER = 4
_FIRST_SLOTS = {"cpu": 1, "gpu": 3}  # a GPU computes one chunk while others are read and written
_MOST_SLOTS = 8


def local_cluster(
    *,
    n_workers: int | None = None,
    device: str = "auto",
    slots: int | None = None,
    threads: int | None = None,
    host: str = _LOOPBACK,
) -> SpecCluster:
    """Start worker processes on this machine, one per GPU or sharing the cores.

    Parameters
    ----------
    n_workers : int, optional
        Processes; by default one per visible GPU, or one per four cores.
    device : {"auto", "gpu", "cpu"}, optional
        ``auto`` takes GPUs where there are any.
    slots : int, optional
        Chunks in a worker at a time: one computes while the others are read and written. By default
        1, with a GPU 3, and up to 8 where the first chunks show that the store is slow.
    threads : int, optional
        Threads of the network in each worker; by default the cores divided by the workers.
    host : str, optional
        Where scheduler and workers listen; the dashboard stays on loopback.

    Raises
    ------
    ClusterError
        If GPUs are asked for and there are none.
    """
    gpus = [] if device == "cpu" else visible_gpus()
    if device == "gpu" and not gpus:
        raise ClusterError("device: gpu, but no GPU is visible; use the site local-cpu")
    cores = len(os.sched_getaffinity(0))
    count = n_workers or len(gpus) or max(1, cores // _THREADS_PER_WORKER)
    where = _where(host)
    workers = {}
    for i in range(count):
        env = {
            "CUDA_VISIBLE_DEVICES": gpus[i % len(gpus)] if gpus else "",
            "NEUROCONN_THREADS": str(threads or max(1, cores // count)),
        }
        options = {
            # Threads beyond the slots let a run take more chunks at a time.
            "nthreads": slots or _MOST_SLOTS,
            "resources": {RESOURCE: slots or _FIRST_SLOTS["gpu" if gpus else "cpu"]},
            "env": env,
            "memory_limit": MEMORY_LIMIT // count,
            "silence_logs": logging.WARNING,
            **where,
        }
        workers[f"{'gpu' if gpus else 'cpu'}{i}"] = {"cls": Nanny, "options": options}
    scheduler = {"cls": Scheduler, "options": {**where, "dashboard": True}}
    cluster: SpecCluster = SpecCluster(  # type: ignore[no-untyped-call]
        workers=workers,
        scheduler=scheduler,
        silence_logs=logging.ERROR,
        security=where["security"],
    )
    return cluster


def _where(host: str) -> dict[str, Any]:
    """Addresses of a scheduler or worker; encrypted if Dask's settings require it."""
    encrypted = dask.config.get("distributed.comm.require-encryption", False)
    return {
        "host": host,
        "dashboard_address": f"{_LOOPBACK}:0",
        "protocol": "tls://" if encrypted else "tcp://",
        "security": Security(),  # type: ignore[no-untyped-call]
    }


def visible_gpus() -> list[str]:
    """Names of the GPUs a process may use, without importing torch.

    ``CUDA_VISIBLE_DEVICES`` is believed; else the driver is asked.
    """
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return [name.strip() for name in chosen.split(",") if name.strip() not in ("", "-1")]
    command = shutil.which("nvidia-smi")
    if command is None:
        return []
    query = [command, "--query-gpu=index", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        logger.warning("nvidia-smi failed (%s); going on without GPUs", error)
        return []
    return done.stdout.split()
