"""What a server refuses, loses or takes back, and clients that are killed in between."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from fakes import FIBRE, SEED, SETTINGS, fake_predictor, fibre, save_brain, save_card, stored_bytes
from flaky import Proxy, proxy_of

from neuroconn.cli import main
from neuroconn.errors import NeuroconnError, OutputError, StorageError, VolumeError
from neuroconn.inference.journal.journal import Journal
from neuroconn.inference.output.verify import verify
from neuroconn.inference.report import InferReport
from neuroconn.inference.run import infer
from neuroconn.volume import connection, open_volume
from neuroconn.volume.address import ObjectPath
from neuroconn.volume.connection import Patience
from neuroconn.volume.objects import Objects

Run = Callable[..., InferReport]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    save_brain(tmp_path / "brain.zarr", fibre())
    save_card(tmp_path / "model")

    def run(output: str, brain: str | Path = tmp_path / "brain.zarr", **more: Any) -> InferReport:
        usual: dict[str, Any] = {"settings": SETTINGS, "scheduler": "sync"}
        return infer(
            brain, output, model=tmp_path / "model", seeds=[SEED], predictor=fake_predictor,
            **{**usual, **more},
        )  # fmt: skip

    return run


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENING", "READING", "WRITING"):
        patience = Patience(timeout=2, retries=2, retry_for=1, longest_pause=0.05)
        monkeypatch.setattr(connection, name, patience)


@pytest.fixture
def proxy(
    s3_server: str, bucket: str, hasty: None, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Proxy]:
    with proxy_of(s3_server) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        yield server


def objects_of(output: str) -> dict[str, bytes]:
    at = Objects(ObjectPath(output))
    return {key: at.get(key) or b"" for key, _ in at.list() if not key.startswith("run/")}


def one_line(error: pytest.ExceptionInfo[NeuroconnError]) -> bool:
    return "\n" not in str(error.value)


@pytest.mark.usefixtures("bucket", "hasty")
def test_a_missing_bucket_is_one_line_before_anything_runs(run: Run) -> None:
    with pytest.raises(StorageError, match=r"s3://nowhere.*no such bucket") as caught:
        run("s3://nowhere/out.zarr")
    assert one_line(caught)
    with pytest.raises(VolumeError, match=r"s3://nowhere.*no such bucket") as unread:
        run("s3://elsewhere/out.zarr", brain="s3://nowhere/brain.zarr")
    assert one_line(unread)


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_denied_access_is_one_line_before_anything_runs(
    run: Run, bucket: str, proxy: Proxy, method: str
) -> None:
    proxy.trouble = lambda asked, _: "403" if asked == method else ""

    with pytest.raises(StorageError, match=r"access is denied \(403\)") as caught:
        run(f"{bucket}/out.zarr")

    assert one_line(caught)
    assert caught.value.exit_code == 74


@pytest.mark.usefixtures("hasty")
def test_a_server_nobody_runs_is_one_line(
    run: Run, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")

    with pytest.raises(StorageError, match="cannot be reached") as caught:
        run(f"{bucket}/out.zarr")
    assert one_line(caught)


def test_what_is_not_ours_is_refused_and_kept(run: Run, bucket: str) -> None:
    at = Objects(ObjectPath(f"{bucket}/out.zarr"))
    at.put("notes.txt", b"mine")

    with pytest.raises(OutputError, match="not ours"):
        run(f"{bucket}/out.zarr")

    assert [key for key, _ in at.list()] == ["notes.txt"]
    run(f"{bucket}/out.zarr2")  # a name that starts the same is another address


def test_other_settings_are_refused_by_name(run: Run, bucket: str) -> None:
    run(f"{bucket}/out.zarr")

    with pytest.raises(OutputError, match=r"bridge: 0, now 2"):
        run(f"{bucket}/out.zarr", settings=SETTINGS.model_copy(update={"bridge": 2}))


def test_an_output_behind_http_is_refused(run: Run) -> None:
    with pytest.raises(OutputError, match="can only be read"):
        run("https://host/out.zarr")


@pytest.mark.parametrize("kind", ["503", "hang up"])
def test_a_store_that_is_lost_on_the_way_ends_a_run_that_resumes(
    run: Run, tmp_path: Path, bucket: str, proxy: Proxy, kind: str
) -> None:
    run(str(tmp_path / "out.zarr"))
    writes: list[str] = []

    def lost_after_three_cores(method: str, path: str) -> str:
        if method == "PUT" and "/0/c/" in path:
            writes.append(path)
        return kind if len(writes) > 3 else ""

    proxy.trouble = lost_after_three_cores
    with pytest.raises(NeuroconnError) as caught:
        run(f"{bucket}/out.zarr")
    assert caught.value.exit_code in (74, 75)
    assert one_line(caught)

    proxy.trouble = lambda *_: ""
    report = run(f"{bucket}/out.zarr")
    assert report.inferred >= len(FIBRE) - 3
    assert objects_of(f"{bucket}/out.zarr") == stored_bytes(tmp_path / "out.zarr")
    assert verify(f"{bucket}/out.zarr").sound


def test_a_brain_that_is_lost_on_the_way_fails_no_chunk(
    run: Run, tmp_path: Path, bucket: str, proxy: Proxy
) -> None:
    save_brain(ObjectPath(f"{bucket}/brain.zarr"), fibre())  # type: ignore[arg-type]
    run(str(tmp_path / "a/out.zarr"))
    output = tmp_path / "b/out.zarr"

    def lost_after_two_chunks(method: str, path: str) -> str:
        stored = len(list((output / "0/c").rglob("*/*/*")))
        return "503" if stored > 1 and "brain.zarr/0/c" in path else ""

    proxy.trouble = lost_after_two_chunks
    with pytest.raises(NeuroconnError, match="answers 503") as caught:
        run(str(output), brain=f"{bucket}/brain.zarr")
    assert caught.value.exit_code in (74, 75)
    assert {r.status for r in Journal.read(output / "run").records()} == {"neurite"}

    proxy.trouble = lambda *_: ""
    assert run(str(output), brain=f"{bucket}/brain.zarr").inferred == len(FIBRE) - 2
    assert stored_bytes(output) == stored_bytes(tmp_path / "a/out.zarr")


def test_a_server_that_does_not_keep_the_first_is_refused(
    run: Run, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Objects._write

    def overwriting(objects: Objects, key: str, data: bytes, mode: Any) -> None:
        write(objects, key, data, "overwrite")

    monkeypatch.setattr(Objects, "_write", overwriting)

    with pytest.raises(StorageError, match="two clients would undo"):
        run(f"{bucket}/out.zarr")


def test_a_creation_that_was_cut_short_is_said_to_be_and_finished(
    run: Run, tmp_path: Path, bucket: str
) -> None:
    run(str(tmp_path / "out.zarr"))
    run(f"{bucket}/out.zarr")
    at = Objects(ObjectPath(f"{bucket}/out.zarr"))
    at.delete(*(key for key, _ in at.list() if key not in ("run/identity.json", "0/zarr.json")))

    with pytest.raises(OutputError, match="the same infer command finishes it"):
        verify(f"{bucket}/out.zarr")
    assert run(f"{bucket}/out.zarr").inferred == len(FIBRE)
    assert objects_of(f"{bucket}/out.zarr") == stored_bytes(tmp_path / "out.zarr")


def test_a_brain_behind_http_is_walked(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    run(str(tmp_path / "a/out.zarr"))
    with folder_over_http(tmp_path) as url:
        run(str(tmp_path / "b/out.zarr"), brain=f"{url}/brain.zarr")
        volume = open_volume(f"{url}/brain.zarr", level=1)
        there = np.asarray(open_volume(tmp_path / "brain.zarr", level=1))
        np.testing.assert_array_equal(np.asarray(volume), there)

    assert stored_bytes(tmp_path / "a/out.zarr") == stored_bytes(tmp_path / "b/out.zarr")


def test_a_missing_library_names_the_extra(
    run: Run, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "obstore", None)

    with pytest.raises(VolumeError, match=r"pip install 'neuroconn\[cloud\]'"):
        run(f"{bucket}/out.zarr")


CLIENT = """
import sys
from fakes import *
from neuroconn.inference.run import infer
brain, output, model = sys.argv[1:]
infer(brain, output, model=model, seeds=[SEED], settings=SETTINGS, scheduler="sync",
      predictor=fake_predictor)
"""


@pytest.mark.slow
def test_a_killed_client_is_taken_over_from_and_no_byte_is_another(
    run: Run, tmp_path: Path, bucket: str
) -> None:
    output = f"{bucket}/out.zarr"
    run(str(tmp_path / "out.zarr"))
    slow = {"FAKE": json.dumps({"seconds": 0.3}), "PYTHONPATH": str(Path(__file__).parent)}
    client = subprocess.Popen(
        [sys.executable, "-c", CLIENT, tmp_path / "brain.zarr", output, tmp_path / "model"],
        env={**os.environ, **slow},
    )
    folder = ObjectPath(f"{output}/run")
    while not Journal.exists(folder) or len(list(Journal.read(folder).records())) < 2:
        assert client.poll() is None
        time.sleep(0.05)
    client.send_signal(signal.SIGKILL)
    client.wait()
    done = len(list(Journal.read(folder).records()))
    assert done < len(FIBRE)

    assert run(output).inferred == len(FIBRE) - done
    assert objects_of(output) == stored_bytes(tmp_path / "out.zarr")
    assert run(output).inferred == 0


def test_the_command_line_takes_addresses(run: Run, bucket: str, tmp_path: Path) -> None:
    run(f"{bucket}/out.zarr")
    call = CliRunner().invoke

    assert call(main, ["verify", f"{bucket}/out.zarr"]).exit_code == 0
    found = call(main, ["verify", "--json", f"{bucket}/out.zarr"])
    assert json.loads(found.stdout)["sound"]
    shown = call(main, ["status", "--json", f"{bucket}/out.zarr"])
    assert json.loads(shown.stdout)["chunks"]["neurite"] == len(FIBRE)
    brain = str(tmp_path / "brain.zarr")
    for command in (["convert", brain, f"{bucket}/b"], ["export", brain, brain, f"{bucket}/b"]):
        refused = call(main, command)
        assert refused.exit_code == 2
        assert "is no folder" in refused.stderr
    missing = call(main, ["verify", f"{bucket}/nothing.zarr"])
    assert missing.exit_code != 0
    assert f"{bucket}/nothing.zarr" in missing.stderr


class _Ranges(SimpleHTTPRequestHandler):
    """Files of a folder, in parts if asked."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        file = Path(self.translate_path(self.path))
        data = file.read_bytes() if file.is_file() else b""
        status = 200 if file.is_file() else 404
        wanted = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        headers = {"ETag": '"1"', "Last-Modified": "Tue, 01 Jan 2030 00:00:00 GMT"}
        if wanted and status == 200:
            start = int(wanted[1]) if wanted[1] else max(0, len(data) - int(wanted[2]))
            stop = min(int(wanted[2]) + 1, len(data)) if wanted[1] and wanted[2] else len(data)
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(data)}"
            status, data = 206, data[start:stop]
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)


@contextmanager
def folder_over_http(folder: Path) -> Iterator[str]:
    handler = partial(_Ranges, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()
