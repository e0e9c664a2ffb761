"""What a webhook is told of an alert."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from pipeline.export import iso
from storage.watch_records import Alert

MAX_THUMBNAIL_BYTES = 65_536
"""A larger picture is left out: receivers limit the length of messages."""


def alert_json(alert: Alert) -> dict[str, Any]:
    """An alert as lists show it: without the webhook's address."""
    return {
        "alert": alert.id,
        "watch": alert.watch,
        "camera": alert.record.camera,
        "tracklet": alert.record.id,
        "start": iso(alert.record.start),
        "end": iso(alert.record.end),
        "similarity": round(alert.similarity, 4),
        "created": iso(alert.created),
        "status": alert.status,
        "attempts": alert.attempts,
        "error": alert.last_error or "",
    }


def message(alert: Alert) -> bytes:
    """The body of the message: JSON in UTF-8, with the tracklet's picture if it is there and small enough."""
    told = alert_json(alert)
    for ours in ("status", "attempts", "error"):
        del told[ours]
    told["attempt"] = alert.attempts + 1
    told["thumbnail"] = _thumbnail(alert.record.thumbnail)
    return json.dumps(told, ensure_ascii=False).encode()


def _thumbnail(path: Path) -> str | None:
    """JPEG as base64."""
    try:
        picture = path.read_bytes()
    except OSError:  # the tracklet was deleted in this moment
        return None
    return base64.b64encode(picture).decode() if len(picture) <= MAX_THUMBNAIL_BYTES else None
