"""An SSH server on loopback that lets everybody in and runs their commands; prints its port.

``python ssh_server.py``; for tests, in a process of its own.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any

import asyncssh


class Open(asyncssh.SSHServer):
    """Lets everybody in."""

    def begin_auth(self, username: str) -> bool:
        return False


async def run_command(process: Any) -> None:
    """Run what was asked for, until it ends or the connection goes away."""
    pipe = asyncio.subprocess.PIPE
    command = await asyncio.create_subprocess_shell(
        process.command,
        stdin=pipe,
        stdout=pipe,
        stderr=pipe,
        start_new_session=True,
        # As over a real connection, nothing of the client's environment but where modules are.
        env={key: value for key, value in os.environ.items() if not key.startswith("DASK")},
    )
    await process.redirect(stdin=command.stdin, stdout=command.stdout, stderr=command.stderr)
    try:
        process.exit(await command.wait())
    finally:
        if command.returncode is None:
            os.killpg(command.pid, 9)


async def serve() -> None:
    server = await asyncssh.listen(
        "127.0.0.1",
        0,
        server_factory=Open,
        server_host_keys=[asyncssh.generate_private_key("ssh-ed25519")],
        process_factory=run_command,
    )
    print(server.get_port(), flush=True)
    await server.wait_closed()


if __name__ == "__main__":
    asyncio.run(serve())
