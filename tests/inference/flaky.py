"""A server in front of an S3 server, which does what servers do on a bad day."""

import http.client
import random
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

KINDS = ("500", "503", "hang up", "lose the answer", "cut the answer")


class Proxy(ThreadingHTTPServer):
    """Passes requests on, unless ``trouble`` names something else to do with one.

    A 503 of S3 means SlowDown. To lose the answer is the worst: the request was carried out.
    """

    daemon_threads = True

    def __init__(self, upstream: str) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.upstream = urlsplit(upstream).netloc
        self.trouble: Callable[[str, str], str] = lambda method, path: ""
        self.seen: list[tuple[str, str]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Connections that break are part of the play."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: Proxy

    def log_message(self, *_: Any) -> None:
        pass

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.seen.append((self.command, self.path))
        kind = self.server.trouble(self.command, self.path)
        if kind == "hang up":
            self._hang_up()
        elif kind.isdecimal():
            code = {"503": "SlowDown", "403": "AccessDenied"}.get(kind, "InternalError")
            self._answer(int(kind), {}, f"<Error><Code>{code}</Code></Error>".encode())
        else:
            status, headers, data = self._ask(body)
            if kind == "lose the answer":
                self._hang_up()
            else:
                self._answer(status, headers, data, cut=kind == "cut the answer")

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _pass_on

    def _ask(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection(self.server.upstream, timeout=30)
        headers = {k: v for k, v in self.headers.items() if k.lower() != "connection"}
        connection.request(self.command, self.path, body, headers)
        answer = connection.getresponse()
        data = answer.read()
        dropped = ("connection", "transfer-encoding", "server", "date")
        kept = {k: v for k, v in answer.getheaders() if k.lower() not in dropped}
        connection.close()
        return answer.status, kept, data

    def _answer(self, status: int, headers: dict[str, str], data: bytes, cut: bool = False) -> None:
        self.send_response(status)
        if self.command != "HEAD":
            headers = {k: v for k, v in headers.items() if k.lower() != "content-length"}
            headers["Content-Length"] = str(len(data))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data[: len(data) // 2] if cut else data)
        if cut:
            self._hang_up()

    def _hang_up(self) -> None:
        self.close_connection = True
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_RDWR)


@contextmanager
def proxy_of(upstream: str) -> Iterator[Proxy]:
    server = Proxy(upstream)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def at_random(seed: int, share: float, kinds: tuple[str, ...] = KINDS) -> Callable[[str, str], str]:
    """Trouble with a share of the requests, the same for the same seed and order."""
    chance, lock = random.Random(seed), threading.Lock()

    def trouble(method: str, path: str) -> str:
        with lock:
            return chance.choice(kinds) if chance.random() < share else ""

    return trouble
