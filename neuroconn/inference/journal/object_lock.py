"""One client per run folder, where the folder is on an object store."""

from __future__ import annotations

import json
import logging
import uuid
from typing import Any

from neuroconn.errors import OutputError, StorageError
from neuroconn.inference.journal.lock import is_dead, myself, parse_holder, refusal
from neuroconn.volume.objects import Objects

logger = logging.getLogger(__name__)

_KEY = "lock"
_held: set[str] = set()
"""Tokens of the locks this process holds."""


class ObjectLock:
    """An object that names the process at work; the same promises as of a lock file.

    The server lets one client create it, and lets one replace the version that several have read.

    Parameters
    ----------
    objects : Objects
        The run folder.
    force : bool, optional
        Take the lock whoever holds it.

    Attributes
    ----------
    taken : bool
        Whether it was taken by force from someone who may be alive.

    Raises
    ------
    OutputError
        If another process holds the lock; the message names its host and pid.
    StorageError
        If the server refuses.
    """

    def __init__(self, objects: Objects, *, force: bool = False) -> None:
        self._objects = objects
        self._token = uuid.uuid4().hex
        self._mine = json.dumps({**myself(), "token": self._token}).encode()
        self.taken = False
        self._take(force)
        _held.add(self._token)

    def _take(self, force: bool) -> None:
        objects = self._objects
        while not objects.create(_KEY, self._mine):
            found = objects.get_tagged(_KEY)
            if found is None:  # released this moment
                continue
            holder = parse_holder(found[0].decode(errors="replace"))
            dead = _is_gone(holder)
            if not (dead or force) or not objects.swap(_KEY, self._mine, found[1]):
                raise OutputError(refusal(objects.at, holder))
            self.taken = not dead
            return

    def release(self) -> None:
        """Remove the lock, unless someone took it by force meanwhile.

        Where the server does not answer any more it stays; this process is known to be done with
        it, and so is every one that has ended.
        """
        _held.discard(self._token)
        try:
            if self._objects.get(_KEY) == self._mine:
                self._objects.delete(_KEY)
        except StorageError as error:
            logger.warning("the lock of %s stays: %s", self._objects.at, error)


def object_holder(objects: Objects) -> dict[str, Any] | None:
    """Return host and pid of the process that holds the lock; None if it is free."""
    found = objects.get(_KEY)
    holder = {} if found is None else parse_holder(found.decode(errors="replace"))
    return None if found is None or _is_gone(holder) else holder


def _is_gone(holder: dict[str, Any]) -> bool:
    """Whether the holder has ended, or is this process and done with it."""
    me = {key: holder.get(key) for key in ("host", "pid", "started")} == myself()
    return is_dead(holder) or (me and holder.get("token") not in _held)
