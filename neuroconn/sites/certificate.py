"""Certificates for one job, so that its processes talk to each other and to nobody else.

``python -m neuroconn.sites.certificate FOLDER`` writes ``ca.pem``, ``cert.pem`` and ``key.pem``,
readable by their owner alone. They are for a folder that the nodes of a job share and that goes
away with it; whoever can read the key can run code in the job.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from distributed.security import Security

from neuroconn.config.access import Access
from neuroconn.errors import ClusterError, NeuroconnError


def write_certificates(folder: Path) -> Access:
    """Make a key and a certificate that signs itself, valid for every role of a cluster.

    Parameters
    ----------
    folder : Path
        Created if it is not there; its files are replaced.

    Returns
    -------
    Access
        The three files.

    Raises
    ------
    ClusterError
        If the package that makes keys is missing.
    """
    try:
        made = Security.temporary()  # type: ignore[no-untyped-call]
    except ImportError:
        raise ClusterError(
            "making certificates takes the package cryptography: pip install 'neuroconn[tls]'"
        ) from None
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    files = {"ca.pem": made.tls_ca_file, "cert.pem": made.tls_client_cert}
    for name, text in {**files, "key.pem": made.tls_client_key}.items():
        _write_private(folder / name, text)
    return Access(
        tls_ca=folder / "ca.pem", tls_cert=folder / "cert.pem", tls_key=folder / "key.pem"
    )


def _write_private(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m neuroconn.sites.certificate FOLDER")
    try:
        write_certificates(Path(sys.argv[1]))
    except NeuroconnError as error:
        sys.exit(f"Error: {error}")
