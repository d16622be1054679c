"""Options of every command that starts or reaches a cluster."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from neuroconn.config.access import Access

F = TypeVar("F", bound=Callable[..., Any])

_NAMES = ("listen", "tls_ca", "tls_cert", "tls_key", "wait_s")


def access_options(command: F) -> F:
    """Add ``--listen`` and the certificates to a command; :func:`access_of` takes them out."""
    file = click.Path(path_type=Path)
    options = [
        click.option(
            "--listen",
            metavar="ADDRESS",
            help="Let what is started listen here instead of on loopback: who reaches its port "
            "can run code as you.",
        ),
        click.option("--tls-ca", type=file, help="Authority of the certificates; for tls://…"),
        click.option("--tls-cert", type=file, help="Certificate of this client."),
        click.option("--tls-key", type=file, help="Its private key."),
        click.option(
            "--wait",
            "wait_s",
            type=click.FloatRange(min=0, min_open=True),
            metavar="SECONDS",
            help="How long scheduler and first worker may take to show up.",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def access_of(options: dict[str, Any]) -> Access:
    """Take the options of :func:`access_options` out of the keyword arguments of a command.

    Examples
    --------
    >>> given = {"listen": "0.0.0.0", "tls_ca": None, "tls_cert": None, "tls_key": None}
    >>> access_of({**given, "wait_s": 60.0})
    Access(listen='0.0.0.0', tls_ca=None, tls_cert=None, tls_key=None, wait_s=60.0)
    """
    return Access(**{name: options.pop(name) for name in _NAMES})
