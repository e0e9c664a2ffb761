"""Answers that are no JSON: pictures and videos; and cursors of pages."""

from __future__ import annotations

import base64
import binascii
import json
import re
from http import HTTPStatus
from typing import Any

from fastapi.responses import Response

from web.problems import Refused

JPEG: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}},
        "description": "A JPEG.",
    }
}
MP4: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {"video/mp4": {"schema": {"type": "string", "format": "binary"}}},
        "description": "A video.",
    },
    206: {
        "content": {"video/mp4": {"schema": {"type": "string", "format": "binary"}}},
        "description": "A part.",
    },
}

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


def jpeg(picture: bytes, headers: dict[str, str] | None = None) -> Response:
    """A picture."""
    return Response(picture, media_type="image/jpeg", headers=headers)


def ranged(content: bytes, media_type: str, asked: str | None) -> Response:
    """All of it, or the one range of bytes that was asked for (RFC 9110, 14)."""
    headers = {"Accept-Ranges": "bytes"}
    match = _RANGE.fullmatch(asked.strip()) if asked else None
    if match is None or not (match[1] or match[2]):
        return Response(content, media_type=media_type, headers=headers)
    size = len(content)
    if match[1]:
        first, last = int(match[1]), min(int(match[2]) if match[2] else size - 1, size - 1)
    else:
        first, last = max(0, size - int(match[2])), size - 1
    if first > last:
        headers["Content-Range"] = f"bytes */{size}"
        return Response(b"", HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, headers)
    headers["Content-Range"] = f"bytes {first}-{last}/{size}"
    return Response(content[first : last + 1], HTTPStatus.PARTIAL_CONTENT, headers, media_type)


def cursor(*place: float | int) -> str:
    """Where a page ended, as text that clients hand back."""
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode().rstrip("=")


def place(text: str | None, length: int) -> tuple[float, ...] | None:
    """What `cursor` was made of.

    Raises:
        Refused: it is not a cursor of ours.
    """
    if text is None:
        return None
    try:
        found = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (binascii.Error, ValueError):
        found = None
    numbers = isinstance(found, list) and all(
        isinstance(each, int | float) and not isinstance(each, bool) and abs(each) < 2**63 for each in found
    )
    if not numbers or len(found) != length:
        raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, "this cursor is none that a page gave")
    return tuple(found)
