"""Where an image lies: a folder of this machine, or a prefix of an object store."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias
from urllib.parse import urlsplit

from neuroconn.errors import UsageError

SCHEMES = ("s3", "http", "https")


@dataclass(frozen=True, slots=True, order=True)
class ObjectPath:
    """``s3://bucket/path`` or ``http(s)://host/path``; behaves like a path where that makes sense.

    A query, such as an access token, goes with every request and is shown nowhere.

    Raises
    ------
    UsageError
        If the address cannot be one.

    Examples
    --------
    >>> brain = ObjectPath("s3://bucket/mouse/brain.ome.zarr/")
    >>> str(brain), brain.name, str(brain / "run")
    ('s3://bucket/mouse/brain.ome.zarr', 'brain.ome.zarr', 's3://bucket/mouse/brain.ome.zarr/run')
    >>> str(ObjectPath("https://host/a.zarr?token=secret") / "0")
    'https://host/a.zarr/0'
    """

    url: str = field(repr=False)

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.url)
            host, _ = parts.hostname, parts.port
        except ValueError as error:
            raise UsageError(f"{self.url.split('?')[0]} is no address: {error}") from None
        if parts.scheme not in SCHEMES:
            raise UsageError(
                f"{parts.scheme}:// addresses are not read; s3://, http:// and https:// are, and "
                "folders by their path"
            )
        if not host:
            raise UsageError(f"{parts.scheme}:// needs a host or a bucket, as in s3://bucket/path")
        if parts.username is not None or parts.password is not None:
            raise UsageError(f"the address of {host} holds a password; leave it out")

    def __str__(self) -> str:
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}{parts.path}".rstrip("/")

    def __repr__(self) -> str:
        return f"ObjectPath({str(self)!r})"

    def __truediv__(self, part: str) -> ObjectPath:
        query = urlsplit(self.url).query
        return ObjectPath(f"{self}/{part}" + (f"?{query}" if query else ""))

    @property
    def name(self) -> str:
        """Last part of the path."""
        return str(self).rsplit("/", 1)[-1]

    @property
    def writable(self) -> bool:
        """Whether objects can be stored there; behind plain HTTP they can only be read."""
        return self.url.startswith("s3://")

    def resolve(self) -> ObjectPath:
        """Return the same address: it has no links and no working directory."""
        return self


Address: TypeAlias = Path | ObjectPath


def address_of(where: str | Path | ObjectPath) -> Address:
    """Tell addresses from paths.

    Examples
    --------
    >>> address_of("s3://bucket/a.zarr")
    ObjectPath('s3://bucket/a.zarr')
    >>> address_of("brains/a.zarr")
    PosixPath('brains/a.zarr')
    """
    if isinstance(where, str) and "://" in where:
        return ObjectPath(where)
    return Path(where) if isinstance(where, str) else where
