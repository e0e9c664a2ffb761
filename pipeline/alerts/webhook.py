"""One signed message to one webhook: bounded in time, to no place it should not go, and its address untold.

Where messages may go: https anywhere, http to this machine and private networks only, and neither to
link-local addresses (which in clouds hand out credentials). The name is resolved once, and the checked
address is the one that is connected to. Redirects are not followed, proxies not asked, certificates are
verified.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import ipaddress
import socket
import ssl
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

STEP_S = 5.0
"""Longest wait for a connection, for the TLS handshake and for each part of the answer."""
TOTAL_S = 10.0
"""Longest time for all of it together, once connected."""

_MAX_ADDRESSES = 3
_METADATA = frozenset({ipaddress.ip_address("fd00:ec2::254")})  # of clouds, where it is not link-local
_KEPT_IN_PATH = "/%:@!$&'()*+,;=~-._"


class WebhookError(OSError):
    """A message was not accepted. The text says why, and never holds the address: that may hold a token."""


@dataclass(frozen=True)
class Target:
    """A webhook's address, taken apart.

    Attributes:
        path: with the query.
    """

    tls: bool
    host: str
    port: int
    path: str

    @classmethod
    def parse(cls, url: str) -> Target:
        """Take an address apart.

        Raises:
            ValueError: it is no http(s) address, or holds a user; the message does not repeat it.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            parts, port = urlsplit(""), None
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("a webhook must be an address such as https://alerts.example.org/retrace")
        if "@" in parts.netloc:
            raise ValueError(
                "a webhook must not hold a user or password: messages are signed by a key instead"
            )
        path = quote(parts.path or "/", safe=_KEPT_IN_PATH)
        if parts.query:
            path += "?" + quote(parts.query, safe=_KEPT_IN_PATH + "?")
        tls = parts.scheme == "https"
        return cls(tls, parts.hostname, port or (443 if tls else 80), path)

    @property
    def shown(self) -> str:
        """For lists and logs: the path may be a secret, so only whether there is one is told."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == (443 if self.tls else 80) else f":{self.port}"
        rest = "" if self.path == "/" else "/…"
        return f"{'https' if self.tls else 'http'}://{host}{port}{rest}"


def signature(key: str, timestamp: str, body: bytes) -> str:
    """What a receiver compares `Retrace-Signature` with: HMAC-SHA256 of timestamp, a dot and the body."""
    return "sha256=" + hmac.new(key.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def post(target: Target, body: bytes, headers: Mapping[str, str]) -> None:
    """Send a message; returns when it was accepted (an answer of 200 to 299).

    Raises:
        WebhookError: it was not, and may be tried again.
    """
    connection = _Connection(target)
    try:
        connection.request("POST", target.path, body, dict(headers))
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException, ValueError) as error:
        words = f"it took longer than {TOTAL_S:g} s" if connection.was_cut else _words(error)
        raise WebhookError(words) from None
    finally:
        connection.close()
    if 300 <= status < 400:
        raise WebhookError(f"it answered {status}; redirects are not followed")
    if not 200 <= status < 300:
        raise WebhookError(f"it answered {status}")


class _Connection(http.client.HTTPConnection):
    """A connection to an address that was checked, with TLS where the target wants it."""

    def __init__(self, target: Target) -> None:
        super().__init__(target.host, target.port, timeout=STEP_S)
        self._target = target
        self.default_port = 443 if target.tls else 80  # so that the Host header leaves it out
        self.was_cut = False
        # A receiver that sends a byte now and then would hold the connection for ever.
        self._cut = threading.Timer(TOTAL_S, self._cut_off)
        self._cut.daemon = True

    def connect(self) -> None:
        self.sock = _reach(self._target)
        self._cut.start()
        if self._target.tls:
            context = ssl.create_default_context()
            self.sock = context.wrap_socket(
                self.sock, server_hostname=self._target.host, do_handshake_on_connect=False
            )
            self.sock.do_handshake()

    def close(self) -> None:
        self._cut.cancel()
        super().close()

    def _cut_off(self) -> None:
        self.was_cut = True
        with suppress(OSError, TypeError):  # it may have ended in this moment
            socket.socket.shutdown(self.sock, socket.SHUT_RDWR)  # also wakes a TLS handshake


def _reach(target: Target) -> socket.socket:
    found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    for address in addresses:
        check_address(address, target.tls)
    last: OSError = WebhookError("its name has no address")
    for address in addresses[:_MAX_ADDRESSES]:
        try:
            return socket.create_connection((address, target.port), STEP_S)
        except OSError as error:
            last = error
    raise last


def check_address(text: str, tls: bool) -> None:
    """Refuse what a webhook must not reach, whatever its name.

    Raises:
        WebhookError: the address is link-local or no single machine's, or public and without TLS.
    """
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    if address.is_loopback:
        return
    if (
        address in _METADATA
        or address.is_link_local
        or address.is_multicast
        or address.is_unspecified
        or address.is_reserved
    ):
        raise WebhookError("its address is link-local or reserved, where no message is sent")
    if not tls and not address.is_private:
        raise WebhookError("its address is public: http is for private networks only, use https")


def _words(error: Exception) -> str:
    """Why it failed, in words of our own: those of others may repeat the address."""
    if isinstance(error, WebhookError):
        return str(error)
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return "TLS could not be agreed on"
    if isinstance(error, socket.gaierror):
        return "its name cannot be resolved"
    if isinstance(error, TimeoutError):
        return f"no answer within {STEP_S:g} s"
    if isinstance(error, http.client.HTTPException | ValueError):
        return "it closed the connection or does not speak HTTP"
    return error.strerror.lower() if isinstance(error, OSError) and error.strerror else type(error).__name__
