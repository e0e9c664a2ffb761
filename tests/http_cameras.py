"""Small servers for tests: cameras that speak HTTP, and some that are no cameras at all."""

from __future__ import annotations

import base64
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np


@contextmanager
def _running(server: ThreadingHTTPServer, certificate: Path | None = None) -> Iterator[str]:
    server.daemon_threads = True
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def folder_server(folder: Path) -> Iterator[str]:
    """Serves a folder; yields host and port."""

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with _running(ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))) as address:
        yield address


@contextmanager
def redirect_server(target: str) -> Iterator[str]:
    """Sends everybody on to another address; yields host and port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(302)
            self.send_header("Location", target)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with _running(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as address:
        yield address


@contextmanager
def mjpeg_server(
    pictures: Sequence[np.ndarray], fps: float, credentials: str = "", certificate: Path | None = None
) -> Iterator[tuple[str, threading.Event]]:
    """A camera that sends JPEGs for ever; yields host and port, and an event that stalls it while set.

    With a certificate (a PEM file with its key) it speaks TLS.
    """
    jpegs = [cv2.imencode(".jpg", cv2.cvtColor(p, cv2.COLOR_RGB2BGR))[1].tobytes() for p in pictures]
    wanted = "Basic " + base64.b64encode(credentials.encode()).decode()
    stalled = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if credentials and self.headers.get("Authorization") != wanted:
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="camera"')
                self.end_headers()
                return
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            with suppress(OSError):
                self._send_pictures()

        def _send_pictures(self) -> None:
            pause, number = threading.Event(), 0
            while True:
                if not stalled.is_set():
                    jpeg = jpegs[number % len(jpegs)]
                    head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                    self.wfile.write(head.encode() + jpeg + b"\r\n")
                    number += 1
                pause.wait(1 / fps)

        def log_message(self, *_: object) -> None:
            pass

    with _running(ThreadingHTTPServer(("127.0.0.1", 0), Handler), certificate) as address:
        yield address, stalled


@contextmanager
def live_hls(video: Path, folder: Path) -> Iterator[str]:
    """FFmpeg cuts a video that never ends into segments of a second; yields the address of the playlist."""
    command = [
        "ffmpeg", "-loglevel", "error", "-nostdin", "-re", "-stream_loop", "-1", "-i", str(video),
        "-c", "copy", "-f", "hls", "-hls_time", "1", "-hls_list_size", "4", "-hls_flags", "delete_segments",
        "live.m3u8",
    ]  # fmt: skip
    with subprocess.Popen(command, cwd=folder) as process, folder_server(folder) as address:
        try:
            pause = threading.Event()
            while not (folder / "live.m3u8").exists():
                assert process.poll() is None
                pause.wait(0.05)
            yield f"http://{address}/live.m3u8"
        finally:
            process.kill()


@contextmanager
def timed_hls(
    video: Path, folder: Path, began: float, segment_s: int, dates: bool, clock_ahead_s: float = 0.0
) -> Iterator[str]:
    """Serves a video as if it had been taken live from `began` on (seconds UTC), in segments cut beforehand.

    With `dates` the playlist says when each segment was taken, by a clock that may be ahead.
    """
    command = ["ffmpeg", "-loglevel", "error", "-nostdin", "-i", str(video), "-c", "copy", "-f", "hls"]
    command += ["-hls_time", str(segment_s), "-hls_list_size", "0", "all.m3u8"]
    subprocess.run(command, cwd=folder, check=True)

    def playlist() -> str:
        end = int((time.time() - began) / segment_s)
        lines = ["#EXTM3U", "#EXT-X-VERSION:3", f"#EXT-X-TARGETDURATION:{segment_s}"]
        lines.append(f"#EXT-X-MEDIA-SEQUENCE:{max(end - 5, 0)}")
        for number in range(max(end - 5, 0), end):
            taken = datetime.fromtimestamp(began + number * segment_s + clock_ahead_s, UTC)
            lines += [f"#EXT-X-PROGRAM-DATE-TIME:{taken.isoformat()}"] * dates
            lines += [f"#EXTINF:{segment_s:.3f},", f"all{number}.ts"]
        return "\n".join(lines) + "\n"

    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            if not self.path.startswith("/live.m3u8"):
                return super().do_GET()
            self.send_response(200)
            self.send_header("Content-Type", "application/vnd.apple.mpegurl")
            self.end_headers()
            return self.wfile.write(playlist().encode()) and None

        def log_message(self, *_: object) -> None:
            pass

    with _running(ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))) as address:
        yield f"http://{address}/live.m3u8"


@contextmanager
def socket_server(answer: bytes = b"") -> Iterator[str]:
    """Accepts everybody and answers nothing, or this over and over; yields host and port."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        clients: list[socket.socket] = []

        def accept() -> None:
            with suppress(OSError):
                while True:
                    client, _ = server.accept()
                    clients.append(client)
                    threading.Thread(target=talk, args=(client,), daemon=True).start()

        def talk(client: socket.socket) -> None:
            with suppress(OSError):
                while answer:
                    client.sendall(answer)

        threading.Thread(target=accept, daemon=True).start()
        try:
            yield f"127.0.0.1:{server.getsockname()[1]}"
        finally:
            for client in clients:
                client.close()
