"""Files that appear whole or not at all, and a disk that says it is full in one line."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from neuroconn.errors import StorageError

ABOUT = "about"
"""Key of an export's record that is for people: formula, sources, version. A brain may move, and a
later version may finish what an earlier one began."""


def differences(found: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """Return the keys in which two records of an export differ, but for ``ABOUT``."""
    keys = (found.keys() | wanted.keys()) - {ABOUT}
    return sorted(key for key in keys if found.get(key) != wanted.get(key))


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn a full or refusing disk into a :class:`StorageError` that names ``path``.

    Raises
    ------
    StorageError
        If the file system has no room left, no quota left, or refuses the write.
    """
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            hint = "free some space and run the same command to resume"
        elif error.errno in (errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO):
            hint = "check the disk and its permissions, then run the same command to resume"
        else:
            raise
        raise StorageError(f"cannot write {path}: {error.strerror}; {hint}") from error


def publish(temporary: Path, final: Path) -> None:
    """Move a finished file to its name; after a crash the name holds all of it or nothing."""
    with temporary.open("rb") as handle:
        os.fsync(handle.fileno())
    final.parent.mkdir(parents=True, exist_ok=True)
    temporary.replace(final)


def write_whole(path: Path, data: bytes | Iterable[bytes], *, scratch: Path) -> None:
    """Write ``data`` to ``path`` by way of a temporary file in the folder ``scratch``."""
    temporary = scratch / f"{path.name}.tmp"
    with temporary.open("wb") as file:
        file.writelines([data] if isinstance(data, bytes) else data)
    publish(temporary, path)
