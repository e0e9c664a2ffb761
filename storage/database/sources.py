"""Statements over sources: the videos, folders and streams that were ingested."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa

from storage.database import hours
from storage.database.schema import AnyRow, sources, tracklets
from storage.errors import SourceNotFound
from storage.records import CameraSummary, SourceRecord


def find(connection: sa.Connection, camera: str, fingerprint: str) -> SourceRecord | None:
    """The source with this fingerprint in this camera."""
    same = (sources.c.camera == camera, sources.c.fingerprint == fingerprint)
    row = connection.execute(sa.select(sources).where(*same)).one_or_none()
    return None if row is None else _record(row)


def get(connection: sa.Connection, source_id: int) -> SourceRecord:
    """One source.

    Raises:
        SourceNotFound: There is none with that id.
    """
    row = connection.execute(sa.select(sources).where(sources.c.id == source_id)).one_or_none()
    if row is None:
        raise SourceNotFound(f"no source has the id {source_id}: begin it first")
    return _record(row)


def of_tracklet(connection: sa.Connection, tracklet_id: int) -> SourceRecord | None:
    """The source of a tracklet; None if there is no such tracklet."""
    statement = sa.select(sources).join(tracklets).where(tracklets.c.id == tracklet_id)
    row = connection.execute(statement).one_or_none()
    return None if row is None else _record(row)


def every(connection: sa.Connection) -> list[SourceRecord]:
    """All sources, oldest first."""
    return [_record(row) for row in connection.execute(sa.select(sources).order_by(sources.c.id))]


def newest(
    connection: sa.Connection, cameras: Iterable[str] | None, before: int | None, limit: int
) -> list[SourceRecord]:
    """Sources, newest first; None does not narrow."""
    statement = sa.select(sources).order_by(sources.c.id.desc()).limit(limit)
    if cameras is not None:
        statement = statement.where(sources.c.camera.in_(sorted(cameras)))
    if before is not None:
        statement = statement.where(sources.c.id < before)
    return [_record(row) for row in connection.execute(statement)]


def live(connection: sa.Connection, camera: str) -> list[SourceRecord]:
    """One camera's running live sources, oldest first."""
    running = (sources.c.camera == camera, sources.c.live, sources.c.status == "running")
    return [
        _record(row) for row in connection.execute(sa.select(sources).where(*running).order_by(sources.c.id))
    ]


def insert(connection: sa.Connection, values: Mapping[str, Any]) -> SourceRecord:
    """A new source, status running."""
    statement = sa.insert(sources).values(status="running", num_frames_done=0, counts={}, **values)
    return get(connection, connection.execute(statement.returning(sources.c.id)).scalar_one())


def update(connection: sa.Connection, source_id: int, values: Mapping[str, Any]) -> None:
    """Sets columns of one source.

    Raises:
        SourceNotFound: There is none with that id.
    """
    done = connection.execute(sa.update(sources).where(sources.c.id == source_id).values(**values))
    if done.rowcount == 0:
        raise SourceNotFound(f"no source has the id {source_id}: begin it first")


def cameras(connection: sa.Connection) -> list[CameraSummary]:
    """One summary per camera, by name."""
    counted = sa.select(sources.c.camera, sa.func.count()).group_by(sources.c.camera)
    totals = hours.totals(connection)
    held = {extent.camera: extent for extent in hours.extents(connection)}
    found = []
    for camera, num_sources in connection.execute(counted).all():
        extent = held.get(camera)
        start, end = (None, None) if extent is None else (extent.first, extent.end)
        found.append(CameraSummary(camera, num_sources, totals.get(camera, 0), start, end))
    return sorted(found, key=lambda summary: summary.camera)


def _record(row: AnyRow) -> SourceRecord:
    return SourceRecord(**row._mapping)
