"""How the server listens, and how long log-ins last."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from pathlib import Path

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


class ListenError(ValueError):
    """The server may not listen there; the message says what is missing."""


@dataclass(frozen=True)
class ServerSettings:
    """Where the server listens, and what it believes.

    Attributes:
        host, port: address of this machine; loopback unless told otherwise.
        tls_cert, tls_key: PEM files; with them the server speaks https itself.
        trusted_proxies: addresses or networks of proxies whose X-Forwarded-For and -Proto are believed.
        allowed_hosts: names by which browsers may call it, beside those of loopback and `host`.
        idle_s, absolute_s: a log-in ends when unused for so long, and after so long in any case.
        rotate_s: a session gets a new token when the old one is older.
        grace_s: requests under way may still show the token before.
        max_body_bytes: of a request that is no upload.
        max_picture_bytes, max_clip_bytes: of an upload.
    """

    host: str = "127.0.0.1"
    port: int = 8765
    tls_cert: Path | None = None
    tls_key: Path | None = None
    trusted_proxies: tuple[str, ...] = ()
    allowed_hosts: frozenset[str] = field(default_factory=frozenset)
    idle_s: float = 3600.0
    absolute_s: float = 12 * 3600.0
    rotate_s: float = 900.0
    grace_s: float = 30.0
    max_body_bytes: int = 1_000_000

    @property
    def https(self) -> bool:
        """Whether the server itself speaks TLS."""
        return self.tls_cert is not None

    @property
    def url(self) -> str:
        """What to open in a browser on this machine."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.https else 'http'}://{host}:{self.port}"


def check(settings: ServerSettings) -> None:
    """Refuses addresses at which passwords and faces would cross a network in the clear.

    Raises:
        ListenError: TLS is half configured, or `host` is no loopback address and neither TLS nor a trusted
            proxy is configured; also where an address cannot be read.
    """
    if (settings.tls_cert is None) != (settings.tls_key is None):
        raise ListenError("--tls-cert and --tls-key belong together: give both, PEM files")
    for file in (settings.tls_cert, settings.tls_key):
        if file is not None and not file.is_file():
            raise ListenError(f"there is no file {file}")
    for proxy in settings.trusted_proxies:
        try:
            ipaddress.ip_network(proxy, strict=False)
        except ValueError as error:
            raise ListenError(
                f"--trusted-proxy takes an address or a network such as 10.0.0.2, not {proxy}"
            ) from error
    if not (is_loopback(settings.host) or settings.https or settings.trusted_proxies):
        raise ListenError(
            f"{settings.host} can be reached from other machines, and without TLS everybody on the way "
            "could read passwords and pictures: give --tls-cert and --tls-key, or --trusted-proxy with the "
            "address of a proxy that speaks TLS, or listen on 127.0.0.1"
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
