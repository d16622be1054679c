"""Zarr behind ``s3://`` and ``http(s)://`` addresses, for reading.

Nothing is ever listed: most HTTP servers cannot, and many public buckets forbid it. Opening gives
up within seconds; reading is patient, because a conversion of hours meets a hiccup.
"""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from typing import Any, ClassVar
from urllib.parse import urlsplit

from zarr.abc.store import Store
from zarr.storage import ObjectStore

from neuroconn.errors import InterruptedRunError, UsageError, VolumeError
from neuroconn.volume.sources.base import Choice
from neuroconn.volume.sources.stores.array import ZarrSource, open_zarr
from neuroconn.volume.sources.stores.place import (
    LARGEST_DOCUMENT,
    CheckedReads,
    Glance,
    Place,
    one_line,
)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long an answer is waited for."""

    timeout: float
    """Seconds for one request."""
    retries: int
    retry_for: float
    """Seconds after which nothing is tried again."""
    connect: float = 4.0
    longest_pause: float = 2.0


OPENING = Patience(timeout=10, retries=2, retry_for=12)
READING = Patience(timeout=300, retries=8, retry_for=120, longest_pause=15)

_CREDENTIALS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_SKIP_SIGNATURE",  # who sets it to false means the machine's own role
)


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
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise UsageError(f"{url.split('?')[0]} is no address: {one_line(error)}") from None
    if parts.scheme not in ("s3", "http", "https"):
        raise UsageError(
            f"{parts.scheme}:// addresses are not read; s3://, http:// and https:// are, and "
            "folders by their path"
        )
    if not host:
        raise UsageError(f"{parts.scheme}:// needs a host or a bucket, as in s3://bucket/path")
    if parts.username is not None or parts.password is not None:
        raise UsageError(f"the address of {host} holds a password; leave it out")
    return open_zarr(RemotePlace(url), choice)


@dataclass(frozen=True)
class RemotePlace(Place):
    """A Zarr behind a URL."""

    sampled: ClassVar[int] = 4
    url: str = field(repr=False)

    @property
    def name(self) -> str:
        """Last part of the path."""
        return self.where.rsplit("/", 1)[-1]

    @property
    def where(self) -> str:
        """The URL without its query."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}{parts.path}".rstrip("/")

    def document(self, key: str) -> bytes | None:
        """Return a metadata object."""
        obstore = _obstore(self.where)
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
            raise VolumeError(f"{self.where}/{key}: {_explained(error, self._quick)}") from None

    def children(self, path: str) -> None:
        """Nothing: servers need not list."""

    def glances(self, keys: Sequence[str], *, in_parts: bool) -> list[Glance]:
        """Ask for sizes and versions; a server that does not say costs certainty, not the run."""
        obstore = _obstore(self.where)
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
            reason = _explained(error, self._quick)
            raise VolumeError(f"{self.where}: shards cannot be read: {reason}") from None

    def open_store(self) -> Store:
        """Connect for reading voxels."""
        return _CheckedObjectStore(self._connect(READING), read_only=True)

    @cached_property
    def _quick(self) -> Any:
        return self._connect(OPENING)

    def _connect(self, patience: Patience) -> Any:
        stores = _obstore(self.where, "obstore.store")
        try:
            if self.url.startswith("s3://"):
                return _bucket(stores, self.url, patience)
            return stores.HTTPStore.from_url(
                self.url.rstrip("/"),
                client_options=_client(patience, self.url.startswith("http://")),
                retry_config=_retries(patience),
            )
        except Exception as error:  # settings in the environment may be anything
            raise VolumeError(f"{self.where} cannot be reached: {one_line(error)}") from error


class _ReadingStore(ObjectStore[Any]):
    """Objects behind a URL; what fails does so in words, and without the query of the URL."""

    async def get(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return await super().get(*args, **kwargs)
        except Exception as error:  # obstore's own types
            if "416 Range" in str(error):
                raise ValueError(f"{args[0]} ends before its chunks do") from None
            raise InterruptedRunError(f"{args[0]}: {_explained(error, self.store)}") from None


class _CheckedObjectStore(CheckedReads, _ReadingStore):
    """The same, read with checks."""


def _explained(error: Exception, store: Any) -> str:
    """Say in one line why a request failed and what to do; the address is left to the caller."""
    s3 = type(store).__name__ == "S3Store"
    name, text = type(error).__name__, str(error)
    found = _STATUS.search(text)
    status = found[1] if found else ""
    if name in ("PermissionDeniedError", "UnauthenticatedError") or status in ("401", "403"):
        return f"access is denied ({status or '403'}); {_S3_ADVICE if s3 else _HTTP_ADVICE}"
    if "BareRedirect" in text:
        return f"the server points elsewhere; {'set AWS_REGION' if s3 else 'check the address'}"
    if name == "NotSupportedError" or "NotPartial" in text:
        return "the server does not answer requests for a part of a file (HTTP Range)"
    if status:
        return f"the server answers {status}; try again later, or check the address"
    if "TimedOut" in text or "Timeout" in text:
        return "the server does not answer in time; try again later, or check the address"
    return "the server cannot be reached; check the address and the network"


_STATUS = re.compile(r"\b([345]\d\d) [A-Z]")
"""``403 Forbidden`` and its like."""
_S3_ADVICE = (
    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (profiles are not read) and AWS_REGION. "
    "A bucket that forbids listing answers so for what is absent, too"
)
_HTTP_ADVICE = "check the address and its access token"


def _bucket(stores: Any, url: str, patience: Patience) -> Any:
    parts = urlsplit(url)
    endpoint = next((os.environ[n] for n in _ENDPOINTS if os.environ.get(n)), "")
    anonymous = not any(os.environ.get(name) for name in _CREDENTIALS)
    # Without the flag, the machine's metadata service is asked and, on most machines, waited for.
    return stores.S3Store(
        parts.netloc,
        prefix=parts.path.strip("/") or None,
        client_options=_client(patience, endpoint.startswith("http://")),
        retry_config=_retries(patience),
        **({"skip_signature": True} if anonymous else {}),
    )


_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")


def _head(obstore: Any, store: Any, key: str) -> Glance:
    try:
        meta = obstore.head(store, key)
    except FileNotFoundError:
        return Glance(key, -1)
    except Exception:  # not every server answers HEAD; what is wrong shows on reading
        return Glance(key, 0)
    return Glance(key, int(meta["size"]), str(meta.get("e_tag") or ""))


def _client(patience: Patience, http: bool) -> dict[str, Any]:
    return {
        "allow_http": http,
        "connect_timeout": timedelta(seconds=patience.connect),
        "timeout": timedelta(seconds=patience.timeout),
        "read_timeout": timedelta(seconds=min(patience.timeout, 30)),
    }


def _retries(patience: Patience) -> dict[str, Any]:
    return {
        "max_retries": patience.retries,
        "retry_timeout": timedelta(seconds=patience.retry_for),
        "backoff": {
            "init_backoff": timedelta(milliseconds=200),
            "max_backoff": timedelta(seconds=patience.longest_pause),
            "base": 2,
        },
    }


def _obstore(where: str, module: str = "obstore") -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        raise VolumeError(
            f"reading {where} needs obstore, which is not installed; pip install 'neuroconn[cloud]'"
        ) from None
