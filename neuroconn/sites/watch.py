"""An eye on the workers of a cluster: how many tasks fit, and whether anyone is left to run them.

A scheduler says nothing when the last worker goes away, and a worker that is paused for lack of
memory, with nothing left to finish, stays paused for good. Tasks wait for ever in both cases.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from distributed import Client

from neuroconn.sites.connect import slots
from neuroconn.sites.settings import RESOURCE

logger = logging.getLogger(__name__)

LOOK_AGAIN_S = 2.0
_GOODBYE_S = 1.0
PATIENCE_S = 60.0
"""How long a cluster may be without workers, or a worker paused with nothing to do."""


class Watch:
    """Looks at the workers of a client every two seconds, in a thread of its own.

    Parameters
    ----------
    client : distributed.Client
        Connected.
    on_gone : callable
        Called, perhaps repeatedly, once no worker has taken tasks for ``patience_s``.
    patience_s : float, optional
        See above.
    """

    def __init__(
        self, client: Client, on_gone: Callable[[], None], patience_s: float | None = None
    ) -> None:
        self.gone = False
        """Whether no worker has taken tasks for too long."""
        self.refused: str = ""
        """Why the last worker that was turned away cannot take the run."""
        self._slots = slots(client)
        self._client = client
        self._on_gone = on_gone
        self._patience_s = PATIENCE_S if patience_s is None else patience_s
        self._seen = self._looked = time.monotonic()
        self._paused: dict[str, float] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep_looking, name="neuroconn-watch")
        self._thread.daemon = True

    @property
    def slots(self) -> int:
        """Tasks the live workers may run at once."""
        if not self._thread.is_alive() and time.monotonic() - self._looked > LOOK_AGAIN_S:
            self.look()
        return self._slots

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join(_GOODBYE_S)  # it may be waiting for a scheduler that is gone

    def _keep_looking(self) -> None:
        while not self._over.wait(LOOK_AGAIN_S):
            self.look()

    def look(self) -> None:
        """Count the workers, and act on what is wrong with them."""
        self._looked = time.monotonic()
        try:
            workers = self._client.scheduler_info(n_workers=-1)["workers"]
        except Exception:  # a lost scheduler shows in the tasks; closing clients raise anything
            return
        self._slots = int(sum(w["resources"].get(RESOURCE, 0) for w in workers.values()))
        if self._slots:
            self._seen = self._looked
        elif self._looked - self._seen > self._patience_s:
            self.gone = True
            self._on_gone()
        self._revive(workers)

    def _revive(self, workers: Mapping[str, Mapping[str, Any]]) -> None:
        """Restart workers that are full although they have nothing to do."""
        stuck = {a for a, w in workers.items() if _paused(w)}
        since = {a: self._paused.get(a, self._looked) for a in stuck}
        self._paused = since
        for address, first in since.items():
            if self._looked - first <= self._patience_s:
                continue
            del self._paused[address]
            name = workers[address]["name"]
            if not workers[address].get("nanny"):
                logger.warning(
                    "worker %s is out of memory and runs nothing more; restart it, "
                    "with a nanny that does so by itself",
                    name,
                )
                continue
            logger.warning("worker %s is out of memory and runs nothing more: restarting it", name)
            with suppress(Exception):  # it may be gone by itself
                self._client.restart_workers([address], timeout=PATIENCE_S, raise_for_error=False)
            return  # one at a time


def _paused(worker: Mapping[str, Any]) -> bool:
    running = worker["metrics"].get("task_counts", {}).get("executing", 0)
    return worker["status"] == "paused" and not running
