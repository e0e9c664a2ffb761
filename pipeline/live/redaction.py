"""Where a camera is, without its secrets; and where the secrets come from.

`rtsp://admin:secret@10.0.0.7/live?token=abc` becomes `rtsp://***@10.0.0.7/live?token=***` before anything
else of a run sees it. Errors of FFmpeg carry the address they failed on, so only their reason may be shown.
"""

from __future__ import annotations

import os
import re
from urllib.parse import quote

HIDDEN = "***"
_PLACE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*):/{2,}")
# Some cameras take user and password inside the path: /user=admin&password=secret&channel=1.sdp
_NAMED_SECRET = re.compile(
    r"((?:user|usr|login|pass|pwd|pw|token|auth|key|secret|sig)[a-z_]*=)[^/?#]*", re.IGNORECASE
)
_TOKEN = re.compile(
    r"(?<![A-Za-z0-9])(?:eyJ[A-Za-z0-9_.-]+|(?=[A-Za-z]*[0-9])(?=[0-9]*[A-Za-z])[A-Za-z0-9]{16,})"
)


def redact(uri: str) -> str:
    """An address that may be shown to anybody: no user, no password, no values of a query, no tokens.

    Takes any text: what only looks a little like an address with credentials is cut as well, and what is no
    address (a path, a webcam's number) comes back as it is.
    """
    scheme = _SCHEME.match(uri)
    if scheme is None:
        return re.sub(r"\S+:\S*@", f"{HIDDEN}@", uri) if "@" in uri else uri
    authority, rest = _split(uri[scheme.end() :])
    if "@" in rest:
        return f"{scheme[1]}://{HIDDEN}"  # a password with an unencoded / ? or #: who knows where it ends
    _, at, host = authority.rpartition("@")
    rest, has_fragment, _ = rest.partition("#")
    path, has_query, query = rest.partition("?")
    path = _TOKEN.sub(HIDDEN, _NAMED_SECRET.sub(rf"\1{HIDDEN}", path))
    values = "&".join(_without_value(part) for part in query.split("&"))
    return (
        f"{scheme[1]}://{HIDDEN + at if at else ''}{host}{path}"
        f"{has_query}{values}{has_fragment and f'#{HIDDEN}'}"
    )


def expand(uri: str) -> str:
    """Put environment variables in the place of `${NAME}`.

    A variable between `://` and `@` is taken as it is: signs that mean something in an address, such as the
    @ of a password, are encoded here.

    Raises:
        ValueError: there is no such variable, or `${` names none. The message holds nothing else of `uri`.
    """
    scheme = _SCHEME.match(uri)
    first = scheme.end() if scheme else len(uri)
    end_of_user = uri.rfind("@", first, first + len(_split(uri[first:])[0]))

    def value(match: re.Match[str]) -> str:
        if match[1] not in os.environ:
            raise ValueError(f"the environment has no variable {match[1]}, which the camera's uri asks for")
        found = os.environ[match[1]]
        return quote(found, safe="") if first <= match.start() < end_of_user else found

    if "${" in _PLACE.sub("", uri):
        raise ValueError("a camera's uri has a '${' that names no variable; write ${NAME}")
    return _PLACE.sub(value, uri)


def reason(error: BaseException) -> str:
    """Why something failed, in a few words that hold no address: `Connection refused`."""
    # str() of FFmpeg's errors ends with the address; their strerror does not.
    words = getattr(error, "strerror", None)
    return words if isinstance(words, str) and "://" not in words else type(error).__name__


def _split(rest: str) -> tuple[str, str]:
    """`user:password@host:port`, and what comes after it."""
    end = next((i for i, sign in enumerate(rest) if sign in "/?#"), len(rest))
    return rest[:end], rest[end:]


def _without_value(part: str) -> str:
    """`name=***` of a part of a query."""
    name, equals, _ = part.partition("=")
    return f"{name}={HIDDEN}" if equals else HIDDEN if part else ""
