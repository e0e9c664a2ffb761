"""The socket that the server listens on."""

from __future__ import annotations

import socket

import pytest

from pipeline.live.health import AddressError
from web.commands import _listener


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
