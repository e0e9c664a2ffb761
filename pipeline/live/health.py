"""Is the run well? An HTTP server says it: `/healthz` to supervisors, `/metrics` to Prometheus."""

from __future__ import annotations

import json
import socket
import threading
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import monotonic, time
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import CollectorRegistry

from pipeline.export import iso
from pipeline.live.metrics import run_registry
from pipeline.live.status import CameraStatus, RunStatus

DEFAULT_ADDRESS = "127.0.0.1:9464"
BEAT_MAX_S = 10.0  # the main loop turns several times a second; one that does not for so long hangs

_REQUEST_S = 10.0  # a client that takes longer is cut off
_MAX_CLIENTS = 16


class AddressError(OSError):
    """The health server cannot listen where it was told to."""


@dataclass(frozen=True)
class Health:
    """Whether a run does its work. `reason` says in words why not, "" when it does."""

    ok: bool
    reason: str


def health(status: RunStatus) -> Health:
    """Judge a run: its main loop turns and it is not paused. A camera that is away is no fault of the run."""
    stuck = hanging(status)
    reason = stuck or (f"paused: {status.paused}" if status.paused else "")
    return Health(not reason, reason)


def hanging(status: RunStatus) -> str:
    """Why the main loop seems to hang, "" when it turns. A paused run turns, or waits for its start."""
    if not status.beat:
        return "" if status.paused else "starting: the main loop has not turned yet"
    age = monotonic() - status.beat
    return f"the main loop has not turned for {age:.0f} s" if age >= BEAT_MAX_S else ""


class HealthServer:
    """Serves `/healthz` and `/metrics` of a run while its context is open.

    Args:
        status: of the run.
        address: HOST:PORT; [HOST]:PORT for IPv6. Only who names another host than the default's is heard
            beyond this machine. Port 0 takes a free one.

    Attributes:
        address: where it listens, once the context is open.

    Raises:
        ValueError: `address` is not HOST:PORT.
        AddressError: on entering: the port is taken, or the host is not one of this machine.
    """

    def __init__(self, status: RunStatus, address: str = DEFAULT_ADDRESS) -> None:
        self.address = address
        self._host, self._port = parse_address(address)
        self._status = status
        self._registry = run_registry(status)
        self._server: _Server | None = None

    def __enter__(self) -> HealthServer:
        try:
            self._server = _Server((self._host, self._port), self._status, self._registry)
        except OSError as error:
            raise AddressError(
                f"cannot listen on {self.address} ({error.strerror or error}): another run may have it; "
                "give this one another HOST:PORT"
            ) from error
        host = f"[{self._host}]" if ":" in self._host else self._host
        self.address = f"{host}:{self._server.server_address[1]}"
        threading.Thread(
            target=self._server.serve_forever, args=(0.2,), name="health server", daemon=True
        ).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


def parse_address(text: str) -> tuple[str, int]:
    """HOST:PORT.

    Raises:
        ValueError: a part is missing or the port is no port.
    """
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise ValueError(
            f"'{text}' is not HOST:PORT such as {DEFAULT_ADDRESS} (0.0.0.0 as the host is heard by everybody)"
        )
    return host, int(port)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 32
    block_on_close = False

    def __init__(self, where: tuple[str, int], status: RunStatus, registry: CollectorRegistry) -> None:
        self.address_family = socket.AF_INET6 if ":" in where[0] else socket.AF_INET
        self.status, self.registry = status, registry
        self._free = threading.BoundedSemaphore(_MAX_CLIENTS)
        super().__init__(where, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread, unless too many are being answered."""
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer, with a deadline for the whole request: a time-out per byte would let it last for ever."""
        deadline = threading.Timer(_REQUEST_S, _cut_off, (request,))
        deadline.daemon = True
        deadline.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            deadline.cancel()
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is nothing to tell about."""


def _cut_off(request: socket.socket) -> None:
    with suppress(OSError):  # it may have ended in this moment
        request.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    timeout = _REQUEST_S
    server: _Server

    def do_GET(self) -> None:
        """Serve the two pages there are."""
        path = urlsplit(self.path).path
        if path == "/healthz":
            code, body = health_json(self.server.status)
            self._answer(code, "application/json", json.dumps(body).encode())
        elif path == "/metrics":
            encode, kind = choose_encoder(self.headers.get("Accept", ""))
            self._answer(HTTPStatus.OK, kind, encode(self.server.registry))
        else:
            self.send_error(HTTPStatus.NOT_FOUND, "there are /healthz and /metrics")

    def do_HEAD(self) -> None:
        """As GET, without the body."""
        self.do_GET()

    def _refuse(self) -> None:
        self.send_error(HTTPStatus.METHOD_NOT_ALLOWED, "GET and HEAD only")

    do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _refuse

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Plain words instead of a page that repeats the request."""
        self._answer(code, "text/plain; charset=utf-8", f"{message or HTTPStatus(code).phrase}\n".encode())

    def _answer(self, code: int, kind: str, body: bytes) -> None:
        self.send_response_only(code)  # without the header that tells the server's version
        self.send_header("Date", self.date_time_string())
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        if code == HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "GET, HEAD")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Scrapes every few seconds are no events."""


def health_json(status: RunStatus) -> tuple[int, dict[str, Any]]:
    """HTTP status code and the object of `/healthz`; it names no address of a camera."""
    verdict, now = health(status), time()
    body = {
        "status": "ok" if verdict.ok else "failing",
        "reason": verdict.reason,
        "started": iso(status.started),
        "cameras": [_camera_json(camera, now) for camera in status.cameras],
    }
    return (HTTPStatus.OK if verdict.ok else HTTPStatus.SERVICE_UNAVAILABLE), body


def _camera_json(camera: CameraStatus, now: float) -> dict[str, Any]:
    last = camera.last_frame
    age = None if last is None else round(now - last, 3)
    told = {"camera": camera.name, "state": camera.state, "last_frame_age_s": age}
    return told | ({"detail": camera.detail} if camera.state == "failed" else {})
