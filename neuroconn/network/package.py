"""Files of a bioimage.io package, a folder or a zip that is read in place. Free of torch."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from neuroconn.config.base import load_yaml
from neuroconn.errors import ConfigError, ModelError
from neuroconn.network.foreign import Weights

DESCRIPTIONS = ("rdf.yaml", "bioimageio.yaml")
_MOST_TEXT = 4 << 20
_MOST_WEIGHTS = 8 << 30


@dataclass(frozen=True, slots=True)
class Package:
    """A description and what lies beside it."""

    path: Path
    """Folder or zip."""
    name: str
    """Of the description in it."""

    def description(self) -> dict[str, Any]:
        """Read the YAML.

        Raises
        ------
        ModelError
            If it is not a mapping in YAML.
        """
        where = f"{self.name} in {self.path}"
        try:
            return load_yaml(self._read(self.name, _MOST_TEXT).decode("utf-8"), source=where)
        except ConfigError as error:
            raise ModelError(str(error)) from None
        except UnicodeDecodeError as error:
            raise ModelError(f"{where} is not UTF-8: {error.reason}") from None

    def weights(self, source: str) -> Weights:
        """Read a file the description names.

        Raises
        ------
        ModelError
            If it is not in the package: nothing is downloaded, nothing outside is opened.
        """
        if "://" in source:
            raise ModelError(
                f"{self.path} has its weights at {source}: download the whole package, with its "
                "weights inside"
            )
        return Weights(self._read(source, _MOST_WEIGHTS), f"{source} in {self.path}")

    def _read(self, name: str, most: int) -> bytes:
        """One file, by the name it has in the package."""
        parts = PurePosixPath(name.removeprefix("./"))
        if parts.is_absolute() or ".." in parts.parts:
            raise ModelError(f"{self.path} names {name}, which lies outside the package")
        try:
            if self.path.is_dir():
                return _read_file(self.path, parts, most)
            return _read_member(self.path, str(parts), most)
        except (OSError, KeyError, zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:
            raise ModelError(f"{name} in {self.path} cannot be read: {error}") from None


def open_package(path: Path) -> Package:
    """Find the description in a folder or a zip, or at the path itself.

    Raises
    ------
    ModelError
        If there is none.
    """
    if path.name in DESCRIPTIONS:
        return Package(path.parent, path.name)
    try:
        names = _names(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise ModelError(f"model package {path} cannot be read: {error}") from None
    for name in DESCRIPTIONS:
        if name in names:
            return Package(path, name)
    raise ModelError(
        f"{path} is no bioimage.io package: it holds neither {' nor '.join(DESCRIPTIONS)}"
    )


def _names(path: Path) -> set[str]:
    if path.is_dir():
        return {p.name for p in path.iterdir()}
    with zipfile.ZipFile(path) as archive:
        return set(archive.namelist())


def _read_file(folder: Path, parts: PurePosixPath, most: int) -> bytes:
    file = (folder / parts).resolve()
    if not file.is_relative_to(folder.resolve()):
        raise OSError("a link leads out of the package")
    if file.stat().st_size > most:
        raise OSError(f"larger than {most / 2**20:.0f} MiB")
    return file.read_bytes()


def _read_member(path: Path, name: str, most: int) -> bytes:
    """Unpack one member into memory; the size in the directory is not believed."""
    with zipfile.ZipFile(path) as archive, archive.open(name) as member:
        data = member.read(most + 1)
    if len(data) > most:
        raise OSError(f"larger than {most / 2**20:.0f} MiB")
    return data
