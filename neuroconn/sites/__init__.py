"""From ``--scheduler`` to a Dask client.

A scheduler is named in one of these ways; whatever the way, the answer of a run is the same::

    local            one worker process per GPU, or CPU workers; the site ``cluster/local.yaml``
    local:4          the same with four workers
    tcp://host:8786  a running scheduler; ``tls://`` with certificates
    sched.json       a running scheduler, by the file it wrote
    NAME, x.yaml     a site: the class of ``cluster/NAME.yaml`` started with its arguments

Everything started here listens on loopback only, dashboard included: a Dask scheduler runs any
code that reaches its port. ``Access`` opens it, and closes it again with certificates.
"""

from neuroconn.sites.connect import await_workers, connect, slots
from neuroconn.sites.local import local_cluster, visible_gpus
from neuroconn.sites.settings import DASK_SETTINGS, RESOURCE
from neuroconn.sites.site import ALLOWED, Site
from neuroconn.sites.watch import Watch

__all__ = [
    "ALLOWED",
    "DASK_SETTINGS",
    "RESOURCE",
    "Site",
    "Watch",
    "await_workers",
    "connect",
    "local_cluster",
    "slots",
    "visible_gpus",
]
