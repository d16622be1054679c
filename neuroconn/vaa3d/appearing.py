"""A file that has its name only once it is whole."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from neuroconn.vaa3d.files import publish, storage_errors


@contextmanager
def appearing(path: Path) -> Iterator[Path]:
    """Give a temporary file beside ``path``, which gets that name when all went well.

    If anything fails the temporary file is removed; a process that is killed leaves it, and the
    next one writes over it.

    Raises
    ------
    StorageError
        If the disk is full or refuses.
    """
    temporary = path.with_name(f".{path.name}.partial")
    try:
        with storage_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            publish(temporary, path)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
