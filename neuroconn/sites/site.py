"""A file of ``cluster/``: which cluster class to start, and with what."""

from __future__ import annotations

import importlib
from typing import Any

from distributed.deploy.cluster import Cluster
from pydantic import Field

from neuroconn.config.base import Settings, read_settings
from neuroconn.config.presets import find_site, list_sites
from neuroconn.errors import ClusterError, ConfigError
from neuroconn.sites.local import local_cluster

EXTRAS = {"dask_jobqueue": "slurm", "asyncssh": "ssh", "cryptography": "tls"}
"""Which extra of neuroconn brings a package that a site needs."""

ALLOWED = ("dask.distributed", "dask_jobqueue", "dask_cuda", "dask_kubernetes", "neuroconn.sites")
"""Modules a site may name; a file that could name any would run anything."""


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
    certificates: str | None = None
    """A folder that all machines of the cluster see, such as ``~``: certificates are made in it for
    the time of a run, and all its processes encrypt. Needs the extra ``tls``."""

    @property
    def local(self) -> bool:
        """Whether it starts processes on this machine only, the way we want them."""
        return self.module == "neuroconn.sites"


def find(name: str) -> Site:
    """Read the site ``name``; ``local:4`` is ``local`` with four workers.

    Raises
    ------
    ClusterError
        If there is none, or its file is not a site.
    """
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
    how_many = (
        {"kwargs": {**site.kwargs, "n_workers": int(count)}}
        if site.local
        else {"scale": int(count)}
    )
    return site.model_copy(update=how_many)


def load(site: Site, name: str) -> Any:
    """Return the cluster class that a site names.

    Raises
    ------
    ClusterError
        If it names anything else, or something that is not installed.
    """
    if site.module not in ALLOWED:
        raise ClusterError(
            f"site {name} names module {site.module!r}; for safety only {', '.join(ALLOWED)} load"
        )
    try:
        made = getattr(importlib.import_module(site.module), site.cls)
    except ImportError as error:
        raise ClusterError(f"site {name} needs {site.module}: {missing(error)}") from None
    except AttributeError:
        raise ClusterError(f"site {name}: {site.module} has no {site.cls!r}") from None
    if made is local_cluster or (isinstance(made, type) and issubclass(made, Cluster)):
        return made
    if site.module == "dask.distributed" and site.cls == "SSHCluster":
        return made  # a function that makes a SpecCluster
    raise ClusterError(f"site {name}: {site.module}.{site.cls} is not a cluster class")


def missing(error: ImportError) -> str:
    """Say what to install for an import that failed."""
    for package, extra in EXTRAS.items():
        if package in str(error):
            return f"install it with pip install 'neuroconn[{extra}]'"
    return f"install it with pip ({str(error).splitlines()[0]})"
