"""The command `serve`: the socket that it listens on, and what its log says."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest
from rtsp_server import free_port

from pipeline.live.health import AddressError
from tests.web.conftest import Server
from web.commands import _listener

ROOT = Path(__file__).resolve().parents[2]


def test_answers_do_not_wait_for_the_client_to_confirm_their_headers() -> None:
    with (
        _listener("127.0.0.1", 0) as listener,
        socket.create_connection(listener.getsockname()),
        listener.accept()[0] as accepted,
    ):
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_port_that_is_taken_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(AddressError, match=f"cannot listen on 127.0.0.1:{port} "):
            _listener("127.0.0.1", port)


def test_the_log_of_the_command_says_where_the_audit_trail_ends(server: Server) -> None:
    server.user("admin", "admin")
    where = ["--gallery", str(server.gallery.folder), "--listen", f"127.0.0.1:{free_port()}"]
    command = [sys.executable, str(ROOT / "run_pipeline.py"), "serve", *where]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            wanted = "the audit trail's head is {}:{}\n".format(*server.gallery.audit.head())
            assert wanted in iter(process.stderr.readline, "")
        finally:
            process.terminate()
