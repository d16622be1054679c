"""Starting the cluster of a site, encrypted where it can be, and keeping it at its size."""

from __future__ import annotations

import logging
import shlex
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import dask
from distributed.deploy.cluster import Cluster
from distributed.security import Security

from neuroconn.config.access import Access
from neuroconn.errors import ClusterError
from neuroconn.sites.certificate import write_certificates
from neuroconn.sites.settings import DASK_SETTINGS, WORKER_ENVIRONMENT, tls_settings
from neuroconn.sites.site import Site, load, missing

logger = logging.getLogger(__name__)

_LOOK_AGAIN_S = 5.0
_LOST_S = 60.0
"""How long the nanny of a worker may take to bring it back, before its job counts as over."""
_WORKER_SETTINGS = ("distributed.worker", "distributed.comm.timeouts", "distributed.comm.retry")


@contextmanager
def start(site: Site, name: str, access: Access) -> Iterator[Cluster]:
    """Start the cluster of a site, and close it at the end.

    Parameters
    ----------
    site : Site
        What to start.
    name : str
        What the user calls it.
    access : Access
        Where to listen, and certificates; without any, a site may make some for the run.

    Raises
    ------
    ClusterError
        If it does not start.
    """
    make = load(site, name)
    with ExitStack() as stack:
        if site.certificates and not access.encrypted:
            access = stack.enter_context(_certificates(site.certificates, name))
            stack.enter_context(dask.config.set(tls_settings(access)))
        arguments = _arguments(site, access, name)
        try:
            cluster = _made(make, site, arguments)
        except ImportError as error:
            raise ClusterError(f"site {name} did not start: {missing(error)}") from error
        except Exception as error:  # whatever a class raises: a refused login, a bad argument
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise ClusterError(f"site {name} did not start: {reason}") from error
        stack.enter_context(cluster)
        if site.scale is not None:
            stack.enter_context(_kept_at(site.scale, cluster))
        yield cluster


def _made(make: Any, site: Site, arguments: dict[str, Any]) -> Cluster:
    # This class waits for a line that the machine it logs into writes at level INFO.
    level = {"logging.distributed": "info"} if site.cls == "SSHCluster" else {}
    with dask.config.set(level):
        cluster: Cluster = make(*site.args, **arguments)
    return cluster


@contextmanager
def _certificates(folder: str, name: str) -> Iterator[Access]:
    """Certificates for the time of a run, readable by their owner alone."""
    where = Path(folder).expanduser()
    if not where.is_dir():
        raise ClusterError(f"site {name}: there is no folder {where} to make certificates in")
    with tempfile.TemporaryDirectory(prefix=".neuroconn-", dir=where) as made:
        yield write_certificates(Path(made))


@contextmanager
def _kept_at(workers: int, cluster: Cluster) -> Iterator[None]:
    """Ask for so many workers, and again for those that came to the end of their wall-time."""
    over = threading.Event()
    patience = {"distributed.deploy.lost-worker-timeout": f"{_LOST_S}s"}

    def keep() -> None:
        while not over.wait(_LOOK_AGAIN_S):
            cluster.scale(workers)  # does nothing as long as all are there

    cluster.scale(workers)
    keeper = threading.Thread(target=keep, name="neuroconn-scale", daemon=True)
    keeper.start()
    try:
        with dask.config.set(patience):
            yield
    finally:
        over.set()
        keeper.join()


def _arguments(site: Site, access: Access, name: str) -> dict[str, Any]:
    """Return the arguments of a site, with what the command line says about listening."""
    kwargs = dict(site.kwargs)
    if site.local:
        return {**kwargs, **({"host": access.listen} if access.listen else {})}
    if access.listen:
        raise ClusterError(
            f"--listen is for sites of this machine; {name} decides in its file where it listens"
        )
    if not (access.encrypted or kwargs.get("security")):
        logger.warning(
            "site %s listens on the network in plain text: whoever reaches the port of its "
            "scheduler can run code as you. Give --tls-ca, --tls-cert and --tls-key.",
            name,
        )
    if site.module == "dask_jobqueue":
        kwargs["job_script_prologue"] = [*_exports(), *kwargs.get("job_script_prologue", ())]
    return {**kwargs, **_encrypted(site)} if access.encrypted else kwargs


def _encrypted(site: Site) -> dict[str, Any]:
    """Arguments that make a cluster class use the certificates of Dask's settings."""
    scheme = {"protocol": "tls://"}
    security = {"security": Security()}  # type: ignore[no-untyped-call]
    if site.module != "dask.distributed":
        return {**scheme, **security}
    # Over SSH, machines get Dask's settings, and with them the certificates; not the protocol.
    roles = ("scheduler_options", "worker_options")
    return {**security, **{role: {**scheme, **site.kwargs.get(role, {})} for role in roles}}


def _exports() -> list[str]:
    """Dask's settings for workers that a job script starts, which see none of ours."""
    named = {k: v for k, v in DASK_SETTINGS.items() if k.startswith(_WORKER_SETTINGS)}
    lines = [
        f"export DASK_{key.upper().replace('.', '__').replace('-', '_')}={shlex.quote(str(value))}"
        for key, value in named.items()
    ]
    return [*lines, *(f"export {name}={value}" for name, value in WORKER_ENVIRONMENT.items())]
