"""A webhook receiver: a real HTTP server that answers as a test tells it to."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any


@dataclass
class Received:
    """One message."""

    path: str
    headers: dict[str, str]
    body: bytes
    at: float

    @property
    def json(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(self.body)
        return told


@dataclass
class Receiver:
    """Answers by `script`, one entry a message, the last one for ever.

    Entries: a status code; "hang" (never answers); "drip" (a byte now and then); "close" (no answer);
    "garbage" (no HTTP); or a text, to which it redirects.
    """

    script: list[int | str] = field(default_factory=lambda: [200])
    received: list[Received] = field(default_factory=list)

    def __enter__(self) -> Receiver:
        receiver, self._over, lock = self, threading.Event(), threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with lock:
                    receiver.received.append(Received(self.path, dict(self.headers), body, time.monotonic()))
                    answer = receiver.script.pop(0) if len(receiver.script) > 1 else receiver.script[0]
                receiver._answer(self, answer)

            def do_GET(self) -> None:
                receiver.received.append(Received(self.path, dict(self.headers), b"", time.monotonic()))
                receiver._answer(self, 200)

            def log_message(self, format: str, *args: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._server.shutdown()
        self._server.server_close()

    @property
    def server(self) -> ThreadingHTTPServer:
        return self._server

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/hook/s3cr3t-t0ken"

    def wait_for(self, count: int, timeout_s: float = 20.0) -> list[Received]:
        """The first `count` messages."""
        deadline = time.monotonic() + timeout_s
        while len(self.received) < count:
            assert time.monotonic() < deadline, f"{len(self.received)} of {count} messages in {timeout_s} s"
            time.sleep(0.02)
        return self.received[:count]

    def _answer(self, handler: BaseHTTPRequestHandler, answer: int | str) -> None:
        if answer == "hang":
            self._over.wait(60)
        elif answer == "drip":
            while not self._over.wait(0.1):
                try:
                    handler.wfile.write(b"x")
                except OSError:
                    return
        elif answer == "garbage":
            handler.wfile.write(b"\x00\x01 no HTTP at all\r\n\r\n")
        elif isinstance(answer, int):
            handler.send_response(answer)
            handler.send_header("Content-Length", "0")
            handler.end_headers()
        elif answer != "close":
            handler.send_response(302)
            handler.send_header("Location", answer)
            handler.end_headers()
