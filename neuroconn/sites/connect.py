"""From a name to a client with workers that can take tasks."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import dask
from distributed import Client
from distributed.security import Security

from neuroconn.config.access import Access
from neuroconn.errors import ClusterError
from neuroconn.sites.remarks import remarks
from neuroconn.sites.settings import DASK_SETTINGS, RESOURCE, tls_settings
from neuroconn.sites.site import find
from neuroconn.sites.start import start

logger = logging.getLogger(__name__)

_DASHBOARD = "http://127.0.0.1:{port}/status"


@contextmanager
def connect(
    scheduler: str | None = None,
    *,
    wait_s: float = 8.0,
    resource: str | None = RESOURCE,
    access: Access | None = None,
) -> Iterator[Client]:
    """Start or reach the cluster that ``scheduler`` names, and close what was started.

    Parameters
    ----------
    scheduler : str, optional
        See :mod:`neuroconn.sites`. Unset, ``DASK_SCHEDULER_ADDRESS`` is honoured before ``local``.
    wait_s : float, optional
        How long a running scheduler may take to answer and to show a fitting worker.
    resource : str, optional
        What a worker must offer to fit; None takes any.
    access : Access, optional
        Where to listen, and certificates; by default loopback, in plain text.

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
    access = access or Access()
    site = None
    with ExitStack() as stack:
        stack.enter_context(dask.config.set({**DASK_SETTINGS, **tls_settings(access)}))
        if "://" in name or name.endswith(".json"):
            wait_s = access.wait_s or wait_s
            client = _client(name, wait_s, access)
        else:
            site = find(name)
            _warn_of_listening(access)
            if site.local:  # whatever the scheduler's address, its dashboard stays on loopback
                stack.enter_context(dask.config.set({"distributed.dashboard.link": _DASHBOARD}))
            cluster = stack.enter_context(start(site, name, access))
            client = Client(cluster)  # type: ignore[no-untyped-call]
            wait_s = access.wait_s or site.wait_s
        with client:
            await_workers(client, name, wait_s, resource)
            if resource and site is None:
                for line in remarks(client):
                    logger.warning("%s: %s", name, line)
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


def _client(name: str, wait_s: float, access: Access) -> Client:
    """Connect to a scheduler that runs already."""
    until = time.monotonic() + wait_s
    address = name if "://" in name else _address_in(name, until if access.wait_s else 0.0)
    _check_access(address, access)
    try:
        return Client(address, timeout=max(1.0, until - time.monotonic()))  # type: ignore[no-untyped-call]
    except (OSError, TimeoutError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ClusterError(
            f"no scheduler answers at {name} within {wait_s:g} s ({reason}). "
            "Check the address and the certificates, or use --scheduler local."
        ) from None


def _address_in(file: str, until: float) -> str:
    """Read the address out of the file that a scheduler wrote, or is about to write."""
    folder = Path(file).parent
    while folder.is_dir() and not Path(file).exists() and time.monotonic() < until:
        time.sleep(0.1)
    try:
        return str(json.loads(Path(file).read_text(encoding="utf-8"))["address"])
    except OSError:
        raise ClusterError(f"no scheduler file {file}: start one with --scheduler-file") from None
    except (ValueError, KeyError, TypeError):
        raise ClusterError(f"{file} is not the file of a scheduler: it names no address") from None


def _check_access(address: str, access: Access) -> None:
    """Refuse what would talk in plain text, or could not talk at all."""
    if access.listen:
        raise ClusterError(
            f"--listen opens what neuroconn starts, but {address} runs already; "
            "its own --host says where it listens"
        )
    if access.encrypted and not address.startswith("tls://"):
        raise ClusterError(
            f"certificates are given, but {address} is in plain text: use tls://…, "
            "and start scheduler and workers with --tls-ca-file, --tls-cert and --tls-key"
        )
    config: Any = Security()  # type: ignore[no-untyped-call]
    if address.startswith("tls://") and not (config.tls_ca_file and config.tls_client_cert):
        raise ClusterError(
            f"{address} asks for certificates: give --tls-ca, --tls-cert and --tls-key, "
            "or set distributed.comm.tls in Dask's own configuration"
        )


def _warn_of_listening(access: Access) -> None:
    if access.listen and not access.encrypted:
        logger.warning(
            "listening on %s in plain text: whoever reaches the port of the scheduler can run code "
            "as you. Give --tls-ca, --tls-cert and --tls-key, or leave out --listen.",
            access.listen,
        )
