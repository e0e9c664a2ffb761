"""Statements over camera views: what the last run or ingest said of each camera, and its picture."""

from __future__ import annotations

from collections.abc import Iterable

import sqlalchemy as sa

from storage.browse_records import CameraView, NewView
from storage.database import hours
from storage.database.schema import camera_views

_HOURS_SHOWN = 24


def put(connection: sa.Connection, views: Iterable[NewView]) -> None:
    """Takes the place of what was said before; a frame stays until another one comes."""
    for view in views:
        values = {"state": view.state, "detail": view.detail, "updated": view.updated}
        if view.frame is not None:
            values |= {"frame": view.frame, "frame_time": view.frame_time}
        mine = camera_views.c.camera == view.camera
        # Writers take turns, so nobody else inserts the row in between.
        if connection.execute(sa.update(camera_views).where(mine).values(**values)).rowcount == 0:
            connection.execute(sa.insert(camera_views).values(camera=view.camera, **values))


def every(connection: sa.Connection, now: float) -> list[CameraView]:
    """All cameras of which something was said, by name."""
    view = camera_views.c
    statement = sa.select(view.camera, view.state, view.detail, view.updated, view.frame_time)
    rows = connection.execute(statement.order_by(view.camera)).all()
    last = {extent.camera: extent.last for extent in hours.extents(connection)}
    shown: dict[int, list[str]] = {}  # cameras by the last of their hours
    for row in rows:
        until = last.get(row.camera, now) if row.state == "recorded" else now
        shown.setdefault(hours.hour_of(until), []).append(row.camera)
    per_hour: dict[str, tuple[int, ...]] = {}
    for present, cameras in shown.items():
        found = hours.per_bin(connection, cameras, present - _HOURS_SHOWN + 1, present)
        for camera in cameras:
            counts = found.get(camera, {})
            per_hour[camera] = tuple(counts.get(number, 0) for number in range(_HOURS_SHOWN))
    return [CameraView(*row, per_hour[row.camera]) for row in rows]


def frame(connection: sa.Connection, camera: str) -> bytes | None:
    """A camera's picture, a JPEG file; None if there is none."""
    mine = camera_views.c.camera == camera
    found: bytes | None = connection.scalar(sa.select(camera_views.c.frame).where(mine))
    return found


def forget_frames(connection: sa.Connection, camera: str, start: float, end: float) -> int:
    """Deletes a camera's picture if it was taken within [start, end], seconds UTC; returns how many were."""
    shows = sa.and_(camera_views.c.camera == camera, camera_views.c.frame_time.between(start, end))
    statement = sa.update(camera_views).where(shows).values(frame=None, frame_time=None)
    return connection.execute(statement).rowcount
