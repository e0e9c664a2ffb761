"""Answers that are no JSON: pictures and videos; and pages of lists, with their cursors."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Annotated, Any, TypeVar

from fastapi import Query
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

After = Annotated[str | None, Query(max_length=400, description="`next` of the page before")]
PageSize = Annotated[int, Query(ge=1, le=500, description="at most so many at once")]

_Row = TypeVar("_Row")

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


def paged(
    found: Sequence[_Row], limit: int, key: Callable[[_Row], tuple[float | int | str, ...]]
) -> tuple[list[_Row], str | None]:
    """A page of a list, and the cursor with which the next one is asked for.

    Args:
        found: one row more than the page shall have, if there are so many.
        limit: rows of the page.
        key: what a row is sorted by.
    """
    rows = list(found[:limit])
    return rows, cursor(*key(rows[-1])) if len(found) > limit else None


def cursor(*place: float | int | str) -> str:
    """Where a page ended, as text that clients hand back."""
    written = json.dumps(place, ensure_ascii=False).encode()
    return base64.urlsafe_b64encode(written).decode().rstrip("=")


def place(text: str | None, *kinds: type[float | int | str]) -> tuple[Any, ...] | None:
    """What `cursor` was made of.

    Args:
        kinds: of its parts.

    Raises:
        Refused: it is not a cursor of ours.
    """
    if text is None:
        return None
    try:
        found = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (binascii.Error, ValueError):
        found = None
    if not isinstance(found, list) or [*map(type, found)] != [*kinds] or not all(map(_sane, found)):
        raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, "this cursor is none that a page gave")
    return tuple(found)


def _sane(part: float | int | str) -> bool:
    """Whether a database can compare with it."""
    return part.isprintable() if isinstance(part, str) else abs(part) < 2**63
