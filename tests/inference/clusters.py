"""A Dask cluster of separate processes, started as its users start it, to be killed at will."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil
from fakes import fibre, save_brain

from neuroconn.config.access import Access

HERE = Path(__file__).parent
PATIENCE_S = 120.0


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


def wait_until(true: Callable[[], object], what: str, seconds: float = PATIENCE_S) -> None:
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, what
        time.sleep(0.02)


CLIENT = """
import sys
sys.path.insert(0, {fakes!r})
import fakes
from neuroconn.inference.run import infer
if __name__ == "__main__":
    infer({brain!r}, {output!r}, model={model!r}, seed_source="all", settings=fakes.SETTINGS,
          scheduler={scheduler!r}, predictor=fakes.fake_predictor)
"""


def start_client(folder: Path, scheduler: str) -> subprocess.Popen[bytes]:
    """Start another process at work on ``out.zarr``, slowly; its log is ``client.log``."""
    script = folder / "client.py"
    names = {"brain": "brain.zarr", "output": "out.zarr", "model": "model"}
    paths = {key: str(folder / name) for key, name in names.items()}
    script.write_text(CLIENT.format(fakes=str(HERE), scheduler=scheduler, **paths))
    environment = {**os.environ, "FAKE": json.dumps({"seconds": 0.05})}
    with (folder / "client.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, str(script)], env=environment, stderr=log, start_new_session=True
        )


def wait_for_records(folder: Path, count: int) -> None:
    journal = folder / "out.zarr/run/journal.jsonl"
    until = time.monotonic() + 200
    while not journal.exists() or journal.read_bytes().count(b"\n") < count:
        assert time.monotonic() < until, (folder / "client.log").read_text()
        time.sleep(0.02)


def save_brain_and_network(folder: Path, chunk: int = 16) -> Callable[[str], list[str]]:
    """Write a brain and a tiny network; return the command that infers all of it, by run name."""
    import torch

    from neuroconn.network import ModelCard, Normalisation, UNet, save_model

    save_brain(folder / "brain.zarr", fibre())
    torch.manual_seed(0)
    card = ModelCard(name="tiny", clip=10, normalisation=Normalisation(), spacing_um=(1, 1, 1))
    network = UNet(levels=1, width=4)
    for parameter in network.parameters():  # an untrained head answers a constant
        torch.nn.init.normal_(parameter, std=0.3)
    save_model(folder / "model", network, card)
    small = {"chunk": chunk, "inner_chunk": 8, "halo": 8, "evidence.reliable": 2}
    settings = [f"--set={key}={value}" for key, value in small.items()]
    settings.append("--set=precision=float32")
    options = ["--model", str(folder / "model"), "--seeds", "all", "--threads", "1"]

    def command(name: str) -> list[str]:
        places = [str(folder / "brain.zarr"), str(folder / name / "out.zarr")]
        infer = [sys.executable, "-m", "neuroconn", "infer"]
        return [*infer, *places, *options, *settings]

    return command


class Cluster:
    """``dask scheduler`` and any number of ``dask worker``, in the folder of a test.

    Every process leads a group of its own; leaving the context kills them all. The scheduler keeps
    its port over restarts, and every process its log.
    """

    def __init__(
        self,
        folder: Path,
        *,
        access: Access | None = None,
        environment: Mapping[str, str] | None = None,
        **dask: Any,
    ) -> None:
        self.folder = folder
        scheme = "tls" if access else "tcp"
        self.address = f"{scheme}://127.0.0.1:{free_port()}"
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self._environment = {
            **os.environ,
            "PYTHONPATH": str(HERE),
            # The command line lowers it for its process, and so for tests that run it in theirs.
            "DASK_LOGGING__DISTRIBUTED": "info",
            **{f"DASK_DISTRIBUTED__{key.upper()}": str(value) for key, value in dask.items()},
            **(environment or {}),
        }
        loopback = ["--host", "127.0.0.1", "--dashboard-address", "127.0.0.1:0"]
        self._common = [*loopback, "--no-dashboard"]
        if access:
            files = {"ca-file": access.tls_ca, "cert": access.tls_cert, "key": access.tls_key}
            self._common += [f"--tls-{key}={file}" for key, file in files.items()]
            self._common += ["--protocol", "tls"]

    def scheduler(self) -> Self:
        port = self.address.rpartition(":")[2]
        return self.start("scheduler", "distributed.cli.dask_scheduler", "--port", port)

    def worker(
        self, name: str = "worker", *options: str, slots: int = 2, nanny: bool = False, **env: str
    ) -> Self:
        return self.start(
            name,
            "distributed.cli.dask_worker",
            *(self.address, "--name", name, "--nthreads", str(slots)),
            *("--resources", f"GPU={slots}", "--death-timeout", "20"),
            *("--local-directory", str(self.folder / name)),
            "--nanny" if nanny else "--no-nanny",
            *options,
            **env,
        )

    def start(self, process: str, module: str, *options: str, **env: str) -> Self:
        """Run a module of Dask in the background; a process of this name that ended is replaced."""
        with (self.folder / f"{process}.log").open("ab") as log:
            self.running[process] = subprocess.Popen(
                [sys.executable, "-m", module, *options, *self._common],
                env={**self._environment, **env},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return self

    def alive(self, name: str) -> bool:
        return name in self.running and self.running[name].poll() is None

    def kill(self, name: str, number: int = signal.SIGKILL) -> None:
        """Send a signal to a process and all that it started."""
        if self.alive(name):
            os.killpg(self.running[name].pid, number)
            if number == signal.SIGKILL:
                self.running[name].wait()

    def children(self, name: str) -> list[psutil.Process]:
        """Worker processes under a nanny."""
        found = psutil.Process(self.running[name].pid).children(recursive=True)
        return [p for p in found if any("spawn_main" in word for word in p.cmdline())]

    def processes(self) -> Iterator[psutil.Process]:
        for name in filter(self.alive, self.running):
            process = psutil.Process(self.running[name].pid)
            yield from (process, *process.children(recursive=True))

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for name in self.running:
            self.kill(name)
