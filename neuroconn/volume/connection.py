"""Connections to object stores, how long an answer is waited for, and what a refusal means.

Credentials and endpoint come from the environment (``AWS_ACCESS_KEY_ID``, ``AWS_REGION``,
``AWS_ENDPOINT_URL``, ...); without credentials requests are anonymous. Opening gives up within
seconds; work of hours is patient, because it meets a hiccup.
"""

from __future__ import annotations

import importlib
import os
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

from neuroconn.errors import VolumeError
from neuroconn.volume.address import ObjectPath
from neuroconn.volume.checked_reads import one_line


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
    silence: float = 30.0
    """Seconds without a byte from the server; an upload is silent until it is over."""

    def pauses(self) -> Iterator[float]:
        """Yield how long to wait before each further try, as long as there is one from now on."""
        return self._pauses(monotonic() + self.retry_for)

    def _pauses(self, end: float) -> Iterator[float]:
        pause = min(0.2, self.longest_pause)
        for _ in range(self.retries):
            if monotonic() >= end:
                return
            yield pause * (0.5 + random.random())  # so that a hundred workers do not knock at once
            pause = min(2 * pause, self.longest_pause)


OPENING = Patience(timeout=10, retries=2, retry_for=12)
READING = Patience(timeout=300, retries=8, retry_for=120, longest_pause=15)
WRITING = Patience(timeout=300, retries=8, retry_for=120, longest_pause=15, silence=300)

CREDENTIALS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_SKIP_SIGNATURE",  # who sets it to false means the machine's own role
)
ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")


def connect(at: ObjectPath, patience: Patience) -> Any:
    """Return the obstore store of an address, the same one for the same environment.

    Raises
    ------
    VolumeError
        If obstore is missing, or the settings in the environment are none.
    """
    settings = tuple(sorted(item for item in os.environ.items() if item[0].startswith("AWS_")))
    # The process is part of the key: connections do not survive a fork.
    return _connect(at, patience, settings, os.getpid())


@lru_cache(maxsize=64)
def _connect(at: ObjectPath, patience: Patience, _settings: object, _process: int) -> Any:
    stores = obstore_module(str(at), "obstore.store")
    try:
        if at.url.startswith("s3://"):
            return _bucket(stores, at.url, patience)
        return stores.HTTPStore.from_url(
            at.url.rstrip("/"),
            client_options=_client(patience, at.url.startswith("http://")),
            retry_config=_retries(patience),
        )
    except Exception as error:  # settings in the environment may be anything
        raise VolumeError(f"{at} cannot be reached: {one_line(error)}") from error


def obstore_module(where: str, module: str = "obstore") -> Any:
    """Import obstore, or say which extra brings it."""
    try:
        return importlib.import_module(module)
    except ImportError:
        raise VolumeError(
            f"reading {where} needs obstore, which is not installed; pip install 'neuroconn[cloud]'"
        ) from None


def explained(error: Exception, store: Any) -> str:
    """Say in one line why a request failed and what to do; the address is left to the caller."""
    s3 = type(store).__name__ == "S3Store"
    name, text = type(error).__name__, str(error)
    status = status_of(error)
    if name in ("PermissionDeniedError", "UnauthenticatedError") or status in ("401", "403"):
        return f"access is denied ({status or '403'}); {_S3_ADVICE if s3 else _HTTP_ADVICE}"
    if "NoSuchBucket" in text:
        return "there is no such bucket; check its name, or create it"
    if "BareRedirect" in text:
        return f"the server points elsewhere; {'set AWS_REGION' if s3 else 'check the address'}"
    if "NotPartial" in text or (name == "NotSupportedError" and not status):
        return "the server does not answer requests for a part of a file (HTTP Range)"
    if status == "501":
        return "the server does not know this kind of request (501); take another one, or a folder"
    if status:
        return f"the server answers {status}; try again later, or check the address"
    if "TimedOut" in text or "Timeout" in text:
        return "the server does not answer in time; try again later, or check the address"
    return "the server cannot be reached; check the address and the network"


def status_of(error: Exception) -> str:
    """Return the HTTP status an error tells of; empty if the server never answered."""
    found = _STATUS.search(str(error))
    return found[1] if found else ""


def passing(error: Exception) -> bool:
    """Whether a request may succeed when it is made once more."""
    if type(error).__name__ in ("PermissionDeniedError", "UnauthenticatedError"):
        return False
    text = str(error)
    if "BareRedirect" in text or "NotPartial" in text or "NoSuchBucket" in text:
        return False
    status = status_of(error)
    return status in ("", "408", "409", "429") or (status >= "500" and status != "501")


_STATUS = re.compile(r"\b([345]\d\d) [A-Z]")
"""``403 Forbidden`` and its like."""
_S3_ADVICE = (
    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (profiles are not read) and AWS_REGION. "
    "A bucket that forbids listing answers so for what is absent, too"
)
_HTTP_ADVICE = "check the address and its access token"


def _bucket(stores: Any, url: str, patience: Patience) -> Any:
    parts = urlsplit(url)
    endpoint = next((os.environ[n] for n in ENDPOINTS if os.environ.get(n)), "")
    anonymous = not any(os.environ.get(name) for name in CREDENTIALS)
    # Without the flag, the machine's metadata service is asked and, on most machines, waited for.
    return stores.S3Store(
        parts.netloc,
        prefix=parts.path.strip("/") or None,
        client_options=_client(patience, endpoint.startswith("http://")),
        retry_config=_retries(patience),
        **({"skip_signature": True} if anonymous else {}),
    )


def _client(patience: Patience, http: bool) -> dict[str, Any]:
    return {
        "allow_http": http,
        "connect_timeout": timedelta(seconds=patience.connect),
        "timeout": timedelta(seconds=patience.timeout),
        "read_timeout": timedelta(seconds=min(patience.timeout, patience.silence)),
    }


def _retries(patience: Patience) -> dict[str, Any]:
    return {
        "max_retries": patience.retries,
        "retry_timeout": timedelta(seconds=patience.retry_for),
        "backoff": {
            # The library draws a pause between the two, and panics where there is none.
            "init_backoff": timedelta(seconds=min(0.2, patience.longest_pause / 2)),
            "max_backoff": timedelta(seconds=patience.longest_pause),
            "base": 2,
        },
    }
