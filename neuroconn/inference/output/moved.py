"""Run folders that were copied from an object store to a disk, numbered objects and all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path


class Files:
    """Files of a folder, looked at like objects; nothing of them is changed."""

    def __init__(self, folder: Path) -> None:
        self.at: object = folder
        self._folder = folder

    def get(self, key: str) -> bytes | None:
        """Return a file, None if it is absent."""
        try:
            return (self._folder / key).read_bytes()
        except FileNotFoundError:
            return None

    def size(self, key: str) -> int | None:
        """Return the size of a file, None if it is absent."""
        path = self._folder / key
        return path.stat().st_size if path.is_file() else None

    def list(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Yield name and size of the files under a prefix."""
        for file in sorted((self._folder / prefix).glob("*")):
            if file.is_file():
                yield file.relative_to(self._folder).as_posix(), file.stat().st_size

    def create(self, key: str, data: bytes) -> bool:
        """Refuse: there is a file for new lines."""
        raise NotImplementedError(f"{self._folder / key} is for reading")

    def delete(self, *keys: str) -> None:
        """Refuse likewise."""
        raise NotImplementedError(f"{self._folder} is for reading")
