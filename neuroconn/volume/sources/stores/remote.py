"""Zarr behind ``s3://`` and ``http(s)://`` addresses, for reading.

Nothing is ever listed: most HTTP servers cannot, and many public buckets forbid it. Opening gives
up within seconds; reading is patient, because a conversion of hours meets a hiccup.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

from zarr.abc.store import Store

from neuroconn.errors import VolumeError
from neuroconn.volume import connection
from neuroconn.volume.address import ObjectPath
from neuroconn.volume.connection import connect, explained, obstore_module
from neuroconn.volume.object_store import open_objects
from neuroconn.volume.sources.base import Choice
from neuroconn.volume.sources.stores.array import ZarrSource, open_zarr
from neuroconn.volume.sources.stores.place import LARGEST_DOCUMENT, Glance, Place


def open_remote(url: str, choice: Choice) -> ZarrSource:
    """Open a Zarr array or OME-Zarr image behind a URL.

    Parameters
    ----------
    url : str
        ``s3://bucket/path`` or ``http(s)://host/path``. For S3 the usual environment variables
        count (``AWS_ACCESS_KEY_ID``, ``AWS_REGION``, ``AWS_ENDPOINT_URL``, ...); without
        credentials requests are anonymous. A query, such as an access token, goes with every
        request and is shown nowhere.
    choice : Choice
        ``dataset`` is a path inside it. It must be given for a group whose members cannot be
        known: one without consolidated metadata that is no OME-Zarr.

    Raises
    ------
    VolumeError
        If nothing answers, access is denied, or there is no volume.
    UsageError
        If the address cannot be one.
    """
    ObjectPath(url)
    return open_zarr(RemotePlace(url), choice)


@dataclass(frozen=True)
class RemotePlace(Place):
    """A Zarr behind a URL."""

    sampled: ClassVar[int] = 4
    url: str = field(repr=False)

    @property
    def name(self) -> str:
        """Last part of the path."""
        return ObjectPath(self.url).name

    @property
    def where(self) -> str:
        """The URL without its query."""
        return str(ObjectPath(self.url))

    def document(self, key: str) -> bytes | None:
        """Return a metadata object."""
        obstore = obstore_module(self.where)
        try:
            answer = obstore.get(self._quick, key)
            if answer.meta["size"] > LARGEST_DOCUMENT:
                raise VolumeError(f"{self.where}/{key} is too large for metadata; it is damaged")
            return bytes(answer.bytes())
        except FileNotFoundError:
            return None
        except VolumeError:
            raise
        except Exception as error:  # obstore's own types, and ValueError
            raise VolumeError(f"{self.where}/{key}: {explained(error, self._quick)}") from None

    def children(self, path: str) -> None:
        """Nothing: servers need not list."""

    def glances(self, keys: Sequence[str], *, in_parts: bool) -> list[Glance]:
        """Ask for sizes and versions; a server that does not say costs certainty, not the run."""
        obstore = obstore_module(self.where)
        glances = [_head(obstore, self._quick, key) for key in keys]
        for glance in glances if in_parts else ():
            if glance.size > 1:
                self._check_parts(obstore, glance.key)
                break
        return glances

    def _check_parts(self, obstore: Any, key: str) -> None:
        try:
            obstore.get_range(self._quick, key, start=1, length=1)
        except Exception as error:
            reason = explained(error, self._quick)
            raise VolumeError(f"{self.where}: shards cannot be read: {reason}") from None

    def open_store(self) -> Store:
        """Connect for reading voxels."""
        return open_objects(ObjectPath(self.url), write=False)

    @cached_property
    def _quick(self) -> Any:
        return connect(ObjectPath(self.url), connection.OPENING)


def _head(obstore: Any, store: Any, key: str) -> Glance:
    try:
        meta = obstore.head(store, key)
    except FileNotFoundError:
        return Glance(key, -1)
    except Exception:  # not every server answers HEAD; what is wrong shows on reading
        return Glance(key, 0)
    return Glance(key, int(meta["size"]), str(meta.get("e_tag") or ""))
