"""One client per run folder."""

from __future__ import annotations

import fcntl
import json
import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

from neuroconn.errors import OutputError


class RunLock:
    """A file that names the process at work in a folder; it is there only while one is.

    The lock of a process that died on this host is taken over. One of another host is not: whether
    that process lives cannot be known from here.

    Parameters
    ----------
    path : Path
        The lock file, in an existing folder.
    force : bool, optional
        Take the lock whoever holds it.

    Raises
    ------
    OutputError
        If another process holds the lock; the message names its host and pid.
    """

    def __init__(self, path: Path, *, force: bool = False) -> None:
        self.path = path
        self._mine = json.dumps(myself())
        if not self._create():
            self._take_over(force)

    def held(self) -> bool:
        """Whether nobody took the lock by force meanwhile."""
        try:
            return self.path.read_text(encoding="utf-8") == self._mine
        except FileNotFoundError:
            return False

    def release(self) -> None:
        """Remove the lock, unless someone took it by force meanwhile."""
        with suppress(FileNotFoundError):
            if self.path.read_text(encoding="utf-8") == self._mine:
                self.path.unlink()

    def _create(self) -> bool:
        """Put the file there with its content in one step, so that no kill leaves it empty."""
        draft = self.path.with_name(f"{self.path.name}.{socket.gethostname()}.{os.getpid()}")
        try:
            draft.write_text(self._mine, encoding="utf-8")
        except OSError:
            draft.unlink(missing_ok=True)
            raise
        try:
            os.link(draft, self.path)
        except FileExistsError:
            return False
        except OSError:  # a file system without hard links
            return self._create_exclusively()
        finally:
            draft.unlink()
        return True

    def _create_exclusively(self) -> bool:
        try:
            with self.path.open("x", encoding="utf-8") as file:
                file.write(self._mine)
        except FileExistsError:
            return False
        return True

    def _take_over(self, force: bool) -> None:
        """Replace the lock of a dead process; two that try at once take turns."""
        with self.path.open("r+", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            holder = parse_holder(file.read())
            if not force and not is_dead(holder):
                raise OutputError(refusal(self.path.parent, holder))
            file.seek(0)
            file.write(self._mine)
            file.truncate()  # last: a full disk must not leave a lock that names nobody


def holder(path: Path) -> dict[str, Any] | None:
    """Return host and pid of the process that holds the lock at ``path``; None if it is free."""
    try:
        found = parse_holder(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return None if is_dead(found) else found


def refusal(where: object, holder: dict[str, Any]) -> str:
    """Say who is at work in a run folder, and what to do."""
    return (
        f"{where} is in use by process {holder.get('pid', '?')} on host "
        f"{holder.get('host', '?')}; two clients would undo each other's work. Wait "
        "for it, or pass --force-unlock if you know that it is gone."
    )


def myself() -> dict[str, Any]:
    """Return what tells this process from all others."""
    return {"host": socket.gethostname(), "pid": os.getpid(), "started": _started(os.getpid())}


def parse_holder(text: str) -> dict[str, Any]:
    """Read who holds a lock; empty if it does not say."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def is_dead(who: dict[str, Any]) -> bool:
    """Whether the process ran on this host and is certainly gone."""
    pid = who.get("pid")
    if who.get("host") != socket.gethostname() or not isinstance(pid, int):
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    # Its number may have been given to another process since.
    return who.get("started") != _started(pid)


def _started(pid: int) -> str | None:
    """When a process started, in clock ticks since boot; None where /proc does not say."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The name of the program may hold spaces and brackets; fields count from the last bracket.
    return stat.rpartition(")")[2].split()[19]
