"""A bar on stderr for work of known size; off a terminal nothing is drawn."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from rich.progress import TaskID


class Bar:
    """A bar that is told how much is done.

    Parameters
    ----------
    title, unit : str
        What is done, and what is counted.
    quiet : bool
        Draw nothing.
    """

    def __init__(self, title: str, unit: str, *, quiet: bool = False) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

        console = Console(stderr=True)
        self._bar = Progress(
            title,
            BarColumn(),
            MofNCompleteColumn(),
            unit,
            TimeRemainingColumn(),
            console=console,
            disable=quiet or not console.is_terminal,
        )
        self._task: TaskID | None = None

    def show(self, done: int, total: int) -> None:
        """Draw the bar."""
        if self._task is None:
            self._task = self._bar.add_task("", total=total)
        self._bar.update(self._task, completed=done, total=total)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()
