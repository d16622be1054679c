"""Arguments that are a path of this machine or an address on an object store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click


class FolderType(click.Path):
    """A path of this machine to write to; a URL would be taken for the name of a folder."""

    name = "path"

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return a path."""
        if isinstance(value, str) and "://" in value:
            self.fail(f"{value} is no folder; write to one, and copy it there", param, ctx)
        return super().convert(value, param, ctx)


class AddressType(click.Path):
    """A path, checked as :class:`click.Path` does; or a URL, checked when it is opened."""

    name = "path or URL"

    def __init__(self, *, exists: bool = False) -> None:
        super().__init__(exists=exists, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return a URL as it is, and anything else as a path."""
        if isinstance(value, str) and "://" in value:
            return value
        return super().convert(value, param, ctx)
