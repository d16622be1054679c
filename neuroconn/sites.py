"""From ``--scheduler`` to a Dask client.

A scheduler is named in one of these ways; whatever the way, the answer of a run is the same::

    local            one worker process per GPU, or CPU workers; the site ``cluster/local.yaml``
    local:4          the same with four workers
    tcp://host:8786  a running scheduler (``tls://`` with the certificates of Dask's own settings)
    sched.json       a running scheduler, by the file it wrote
    NAME, x.yaml     a site: the class of ``cluster/NAME.yaml`` started with its arguments

Everything started here listens on loopback only, dashboard included: a Dask scheduler runs any
code that reaches its port.
"""

from __future__ import annotations

import importlib
import logging
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import dask
from distributed import Client, Nanny, Scheduler, SpecCluster
from distributed.deploy.cluster import Cluster
from distributed.system import MEMORY_LIMIT
from pydantic import Field

from neuroconn.config.base import Settings, read_settings
from neuroconn.config.presets import find_site, list_sites
from neuroconn.errors import ClusterError, ConfigError

logger = logging.getLogger(__name__)

RESOURCE = "GPU"
"""What a worker offers once per task it may run at a time; CPU workers offer it too."""

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
    "distributed.comm.retry.count": 3,
}
"""Dask's settings for a walk: no stealing, no spilling, patience with busy workers."""

_ALLOWED = ("dask.distributed", "dask_jobqueue", "dask_cuda", "dask_kubernetes", "neuroconn.sites")
_THREADS_PER_WORKER = 4
_SLOTS = 2  # one chunk computes while another is read or written


class Site(Settings):
    """A file of ``cluster/``: which cluster class to start, and with what."""

    module: str
    """One of dask.distributed, dask_jobqueue, dask_cuda, dask_kubernetes, neuroconn.sites."""
    cls: str = Field(alias="class")
    """A cluster class of that module, or ``local_cluster``."""
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = Field(default_factory=dict)
    scale: int | None = Field(default=None, ge=1)
    """Workers to ask for once the cluster runs, for classes that start with none."""
    wait_s: float = Field(default=60.0, gt=0)
    """How long the first worker may take, queue of the cluster included."""


@contextmanager
def connect(
    scheduler: str | None = None, *, wait_s: float = 8.0, resource: str | None = RESOURCE
) -> Iterator[Client]:
    """Start or reach the cluster that ``scheduler`` names, and close what was started.

    Parameters
    ----------
    scheduler : str, optional
        See the module. Unset, ``DASK_SCHEDULER_ADDRESS`` is honoured before ``local``.
    wait_s : float, optional
        How long a running scheduler may take to answer and to show a fitting worker.
    resource : str, optional
        What a worker must offer to fit; None takes any.

    Yields
    ------
    distributed.Client
        At least one worker offers the resource.

    Raises
    ------
    ClusterError
        If there is no such scheduler or site, or no worker that fits: tasks would wait for ever.
    """
    name = scheduler or os.environ.get("DASK_SCHEDULER_ADDRESS") or "local"
    with ExitStack() as stack:
        stack.enter_context(dask.config.set(DASK_SETTINGS))
        if "://" in name or name.endswith(".json"):
            client = _client(name, wait_s)
        else:
            site = _site(name)
            cluster = stack.enter_context(_start(site, name))
            client = Client(cluster)  # type: ignore[no-untyped-call]
            wait_s = site.wait_s
        with client:
            await_workers(client, name, wait_s, resource)
            yield client


def slots(client: Client) -> int:
    """Tasks the live workers may run at once: the sum of their ``GPU`` resources."""
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    return int(sum(w["resources"].get(RESOURCE, 0) for w in workers))


def await_workers(
    client: Client, name: str, wait_s: float, resource: str | None = RESOURCE
) -> None:
    """Return once a worker offers the resource; a task nobody can run stays pending silently."""
    until = time.monotonic() + wait_s
    while not (workers := client.scheduler_info()["workers"]) or (resource and slots(client) < 1):
        if time.monotonic() > until:
            raise ClusterError(_nobody(len(workers), name, wait_s))
        time.sleep(0.1)


def _nobody(workers: int, name: str, wait_s: float) -> str:
    if not workers:
        return (
            f"scheduler {name} has no worker after {wait_s:g} s, so nothing would run. Start some "
            f"with `dask worker ADDRESS --resources {RESOURCE}=1`, or use --scheduler local."
        )
    return (
        f"none of the {workers} workers of {name} offers the resource {RESOURCE}, so nothing would "
        f"run. Restart them with `--resources {RESOURCE}=1` (CPU workers too)."
    )


def _client(address: str, wait_s: float) -> Client:
    where: dict[str, Any] = {"address": address}
    if "://" not in address:
        if not Path(address).is_file():
            raise ClusterError(f"no scheduler file {address}: start one with --scheduler-file")
        where = {"scheduler_file": address}
    try:
        return Client(**where, timeout=wait_s)  # type: ignore[no-untyped-call]
    except (OSError, TimeoutError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ClusterError(
            f"no scheduler answers at {address} within {wait_s:g} s ({reason}). "
            "Check the address, or use --scheduler local."
        ) from None


def _site(name: str) -> Site:
    kind, colon, count = name.partition(":")
    try:
        site = read_settings(Site, find_site(kind if colon else name))
    except ConfigError as error:
        known = ", ".join(["local:N", "threads", "sync", *list_sites()])
        raise ClusterError(f"{error} (--scheduler takes an address, a file, or: {known})") from None
    if not colon:
        return site
    if not count.isdecimal() or int(count) < 1:
        raise ClusterError(f"--scheduler {name}: the number of workers must be 1 or more")
    return site.model_copy(update={"kwargs": {**site.kwargs, "n_workers": int(count)}})


@contextmanager
def _start(site: Site, name: str) -> Iterator[Cluster]:
    make = _load(site, name)
    try:
        cluster = make(*site.args, **site.kwargs)
    except (TypeError, ValueError, RuntimeError, OSError) as error:
        raise ClusterError(f"site {name} did not start: {error}") from error
    with cluster:
        if site.scale:
            cluster.scale(site.scale)
        yield cluster


def _load(site: Site, name: str) -> Any:
    if site.module not in _ALLOWED:
        raise ClusterError(
            f"site {name} names module {site.module!r}; for safety only {', '.join(_ALLOWED)} load"
        )
    try:
        made = getattr(importlib.import_module(site.module), site.cls)
    except ImportError:
        raise ClusterError(f"site {name} needs {site.module}: install it with pip") from None
    except AttributeError:
        raise ClusterError(f"site {name}: {site.module} has no {site.cls!r}") from None
    if made is local_cluster or (isinstance(made, type) and issubclass(made, Cluster)):
        return made
    raise ClusterError(f"site {name}: {site.module}.{site.cls} is not a cluster class")


def local_cluster(
    *,
    n_workers: int | None = None,
    device: str = "auto",
    slots: int = _SLOTS,
    threads: int | None = None,
) -> SpecCluster:
    """Start worker processes on this machine, one per GPU or sharing the cores.

    Parameters
    ----------
    n_workers : int, optional
        Processes; by default one per visible GPU, or one per four cores.
    device : {"auto", "gpu", "cpu"}, optional
        ``auto`` takes GPUs where there are any.
    slots : int, optional
        Chunks in a worker at a time: one computes while the others are read and written.
    threads : int, optional
        Threads of the network in each worker; by default the cores divided by the workers.

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
    workers = {}
    for i in range(count):
        env = {
            "CUDA_VISIBLE_DEVICES": gpus[i % len(gpus)] if gpus else "",
            "NEUROCONN_THREADS": str(threads or max(1, cores // count)),
        }
        options = {
            "nthreads": slots,
            "resources": {RESOURCE: slots},
            "env": env,
            "memory_limit": MEMORY_LIMIT // count,
            "silence_logs": logging.WARNING,
            **_LOOPBACK,
        }
        workers[f"{'gpu' if gpus else 'cpu'}{i}"] = {"cls": Nanny, "options": options}
    scheduler = {"cls": Scheduler, "options": {**_LOOPBACK, "dashboard": True}}
    cluster: SpecCluster = SpecCluster(  # type: ignore[no-untyped-call]
        workers=workers, scheduler=scheduler, silence_logs=logging.ERROR
    )
    return cluster


_LOOPBACK = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}


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
