"""Answers that are no JSON: pictures and videos; and pages of lists, with their cursors."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Iterator, Sequence
from http import HTTPStatus
from pathlib import Path as File
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Header, Path, Query
from fastapi.responses import Response, StreamingResponse

from web.problems import MEDIA_TYPE, Refused

JPEG: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}},
        "description": "A JPEG.",
    }
}
FRAME: dict[int | str, dict[str, Any]] = {
    200: {
        **JPEG[200],
        "headers": {
            "X-Frame-Time": {
                "description": "When the picture is shown, in seconds from the start.",
                "schema": {"type": "string", "pattern": r"^[0-9]+\.[0-9]{6}$"},
                "example": "12.480000",
            }
        },
    }
}
_RANGES = {"Accept-Ranges": {"schema": {"type": "string"}, "example": "bytes"}}
MP4: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {"video/mp4": {"schema": {"type": "string", "format": "binary"}}},
        "description": "A video.",
        "headers": _RANGES,
    },
    206: {
        "content": {"video/mp4": {"schema": {"type": "string", "format": "binary"}}},
        "description": "A part.",
        "headers": {
            **_RANGES,
            "Content-Range": {"schema": {"type": "string"}, "example": "bytes 0-99/665102"},
        },
    },
    416: {
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        "description": "The range begins behind the end.",
        "headers": {"Content-Range": {"schema": {"type": "string"}, "example": "bytes */665102"}},
    },
}

_CURSOR = "WzE3NjQxNTEyMzAuMCwgMjNd"
After = Annotated[
    str | None, Query(max_length=400, description="`next` of the page before", examples=[_CURSOR])
]
PageSize = Annotated[int, Query(ge=1, le=500, description="at most so many at once", examples=[50])]
CropNumber = Annotated[int, Path(ge=0, lt=64, description="from 0, in the order of time", examples=[0])]

_Row = TypeVar("_Row")

_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})", re.IGNORECASE)
_CHUNK_BYTES = 256 * 1024


async def _asked_range(
    asked: Annotated[
        str | None,
        Header(alias="Range", description="one range of bytes; others are ignored", examples=["bytes=0-99"]),
    ] = None,
    if_range: Annotated[
        str | None,
        Header(
            alias="If-Range",
            description="the range is then ignored: no answer has a validator",
            examples=['"a validator"'],
        ),
    ] = None,
) -> str | None:
    return asked if if_range is None else None


AskedRange = Annotated[str | None, Depends(_asked_range)]
"""The header Range, where it counts (RFC 9110, 13.1.5)."""


def jpeg(picture: bytes, headers: dict[str, str] | None = None) -> Response:
    """A picture."""
    return Response(picture, media_type="image/jpeg", headers=headers)


def ranged(content: bytes | File, media_type: str, asked: str | None) -> Response:
    """All of it, or the one range of bytes that was asked for (RFC 9110, 14).

    Raises:
        Refused: it ends before the range begins.
    """
    size = len(content) if isinstance(content, bytes) else content.stat().st_size
    span = _span(asked, size)
    headers = {"Accept-Ranges": "bytes"}
    begin, end = span or (0, size)
    if span is not None:
        headers["Content-Range"] = f"bytes {begin}-{end - 1}/{size}"
    status = HTTPStatus.OK if span is None else HTTPStatus.PARTIAL_CONTENT
    if isinstance(content, bytes):
        return Response(content[begin:end], status, headers, media_type)
    headers["Content-Length"] = str(end - begin)
    return StreamingResponse(_read(content, begin, end), status, headers, media_type)


def _span(asked: str | None, size: int) -> tuple[int, int] | None:
    """First byte of a range and the one behind its last; None: no range that we know was asked for."""
    match = _RANGE.fullmatch(asked.strip()) if asked else None
    if match is None or not any(match.groups()):
        return None
    first, last = match.groups()
    if first and last and int(last) < int(first):
        return None
    begin = int(first) if first else max(0, size - int(last))
    end = min(int(last) + 1, size) if first and last else size
    if begin >= end:
        raise Refused(
            HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
            f"it has {size} bytes, none of them in the range {asked}",
            {"Content-Range": f"bytes */{size}"},
        )
    return begin, end


def _read(file: File, begin: int, end: int) -> Iterator[bytes]:
    with file.open("rb") as opened:
        opened.seek(begin)
        while begin < end and (chunk := opened.read(min(_CHUNK_BYTES, end - begin))):
            begin += len(chunk)
            yield chunk


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
