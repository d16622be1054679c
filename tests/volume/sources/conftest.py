"""A server on this machine that plays HTTP and path-style S3."""

import re
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from neuroconn.volume import connection


class Server(ThreadingHTTPServer):
    """Files of a folder, by GET and HEAD, with ranges; it never lists."""

    daemon_threads = True

    def __init__(self, root: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.root = root
        self.requests: list[tuple[str, str, str | None]] = []
        self.headers: list[dict[str, str]] = []
        self.status = self.hiccups = 0
        self.delay = 0.0
        self.ranges = self.head = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that do not wait are part of the play."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._answer(send=True)

    def do_HEAD(self) -> None:
        self._answer(send=False)

    def _answer(self, *, send: bool) -> None:
        server, wanted = self.server, self.headers.get("Range")
        server.requests.append((self.command, self.path, wanted))
        server.headers.append(dict(self.headers))
        time.sleep(server.delay)
        file = server.root / self.path.split("?")[0].lstrip("/")
        status = server.status
        if server.hiccups:
            server.hiccups, status = server.hiccups - 1, 503
        status = status or (0 if file.is_file() else 404)
        status = status or (0 if send or server.head else 405)
        data = b"" if status else file.read_bytes()
        extra = {"ETag": '"1"', "Last-Modified": "Tue, 01 Jan 2030 00:00:00 GMT"}
        if wanted and server.ranges and not status:
            first, last = re.fullmatch(r"bytes=(\d*)-(\d*)", wanted).groups()  # type: ignore[union-attr]
            start = int(first) if first else max(0, len(data) - int(last))
            stop = min(int(last) + 1, len(data)) if first and last else len(data)
            if start >= len(data):
                status, data = 416, b""
            else:
                extra["Content-Range"] = f"bytes {start}-{stop - 1}/{len(data)}"
                status, data = 206, data[start:stop]
        self.send_response(status or 200)
        for name, value in {**extra, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        if send:
            self.wfile.write(data)


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give up at once, with no credentials or proxies of whoever runs the tests."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name in (*connection.CREDENTIALS, *connection.ENDPOINTS, "AWS_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    patience = connection.Patience(timeout=1, retries=1, retry_for=1)
    for name in ("OPENING", "READING", "WRITING"):
        monkeypatch.setattr(connection, name, patience)


@pytest.fixture
def server(tmp_path: Path, hasty: None) -> Iterator[Server]:
    (tmp_path / "bucket").mkdir()
    server = Server(tmp_path)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(params=["http", "s3"])
def base(request: pytest.FixtureRequest, server: Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """URL of the folder ``bucket``."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
    return "s3://bucket" if request.param == "s3" else f"{server.url}/bucket"
