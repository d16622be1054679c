"""Listeners that may fail without anybody else noticing."""

from __future__ import annotations

import logging
from collections.abc import Callable

from neuroconn.inference.watching.events import Listener, Progress

logger = logging.getLogger(__name__)


class Quiet:
    """A listener whose first error is logged and its last.

    Examples
    --------
    >>> quiet = Quiet("nobody", lambda now: None)
    >>> quiet.alive
    True
    """

    def __init__(self, name: str, listener: Listener) -> None:
        self.alive = True
        self._name = name
        self._listener = listener

    def __call__(self, now: Progress) -> None:
        """Tell the listener, unless it has failed before."""
        self.attempt(lambda: self._listener(now))

    def attempt(self, action: Callable[[], object]) -> None:
        """Do something on the listener's behalf, unless it has failed before."""
        if not self.alive:
            return
        try:
            action()
        except Exception as error:
            self.alive = False
            logger.warning(
                "%s stopped listening: %s: %s. The run goes on.",
                self._name,
                type(error).__name__,
                error,
            )
