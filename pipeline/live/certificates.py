"""Whom to trust over TLS, and why a server is not trusted: FFmpeg only says that something failed."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path
from urllib.parse import urlsplit

_PORTS = {"https": 443, "rtsps": 322}


def is_encrypted(uri: str) -> bool:
    """Whether a stream comes over TLS."""
    return uri.lower().startswith(tuple(f"{scheme}://" for scheme in _PORTS))


def tls_options(verify: bool, ca_file: Path | None) -> dict[str, str]:
    """What FFmpeg is told: whether to verify certificates, and against whose.

    FFmpeg as PyAV brings it looks for the system's authorities in Red Hat's place only.
    """
    trusted = ca_file or ssl.get_default_verify_paths().cafile
    return {"tls_verify": str(int(verify)), **({"ca_file": str(trusted)} if verify and trusted else {})}


def why_not_trusted(uri: str, ca_file: Path | None, timeout_s: float) -> str:
    """What is wrong with a server's certificate, asking the server once more; "" when it is not that."""
    place = urlsplit(uri)
    try:
        context = ssl.create_default_context(cafile=ca_file)
        address = (place.hostname or "", place.port or _PORTS[place.scheme.lower()])
        with (
            socket.create_connection(address, timeout_s) as connection,
            context.wrap_socket(connection, server_hostname=place.hostname),
        ):
            return ""
    except ssl.SSLCertVerificationError as error:
        return error.verify_message
    except (OSError, ValueError):
        return ""
