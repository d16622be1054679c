"""Who may reach the processes of a run: loopback and plain text, unless asked otherwise."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from neuroconn.errors import ClusterError


@dataclass(frozen=True, slots=True)
class Access:
    """How a run talks to its scheduler and workers.

    A Dask scheduler runs the code of whoever reaches its port. So what neuroconn starts listens on
    loopback; certificates make every connection encrypted, and refused to those without one.

    Raises
    ------
    ClusterError
        If a certificate is named without the others, or a file is missing.

    Examples
    --------
    >>> Access().encrypted
    False
    >>> Access(tls_ca="ca.pem")
    Traceback (most recent call last):
    ...
    neuroconn.errors.ClusterError: TLS takes three files: --tls-cert and --tls-key are missing
    """

    listen: str | None = None
    """Address to listen on instead of loopback, ``0.0.0.0`` for all."""
    tls_ca: str | Path | None = None
    """Certificate of the authority that signed all others, PEM."""
    tls_cert: str | Path | None = None
    """Certificate to show to the other side, PEM."""
    tls_key: str | Path | None = None
    """Its private key, PEM."""
    wait_s: float | None = None
    """How long the first worker may take; by default what the site says, or 8 s for an address."""

    def __post_init__(self) -> None:
        given = {"--tls-ca": self.tls_ca, "--tls-cert": self.tls_cert, "--tls-key": self.tls_key}
        missing = [option for option, file in given.items() if file is None]
        if 0 < len(missing) < len(given):
            verb = "is" if len(missing) == 1 else "are"
            raise ClusterError(f"TLS takes three files: {' and '.join(missing)} {verb} missing")
        for option, file in given.items():
            if file is not None and not Path(file).is_file():
                raise ClusterError(f"{option}: there is no file {file}")

    @property
    def encrypted(self) -> bool:
        """Whether certificates are given."""
        return self.tls_ca is not None
