"""Statements over gaps: the times in which a source gave no frames."""

from __future__ import annotations

import sqlalchemy as sa

from storage.database.schema import gaps, sources
from storage.errors import GapNotFound
from storage.records import GalleryFilter, Gap


def begin(connection: sa.Connection, source_id: int, start: float, reason: str) -> int:
    """A gap that lasts; returns its id."""
    values = {"source_id": source_id, "start": start, "reason": reason}
    return int(connection.execute(sa.insert(gaps).returning(gaps.c.id), values).scalar_one())


def end(connection: sa.Connection, gap_id: int, time: float) -> None:
    """Ends a gap, at its own start at the earliest.

    Raises:
        GapNotFound: It does not exist (any more).
    """
    latest = sa.case((gaps.c.start > time, gaps.c.start), else_=time)
    done = connection.execute(sa.update(gaps).where(gaps.c.id == gap_id).values(end=latest))
    if done.rowcount == 0:
        raise GapNotFound(f"no gap has the id {gap_id} (any more): begin another")


def passing(connection: sa.Connection, filter: GalleryFilter, limit: int | None) -> list[Gap]:
    """Gaps by start, of too many the newest; see `Gallery.gaps`."""
    statement = (
        sa.select(gaps.c.id, gaps.c.source_id, sources.c.camera, gaps.c.start, gaps.c.end, gaps.c.reason)
        .select_from(gaps.join(sources))
        .order_by(gaps.c.start.desc(), gaps.c.id.desc())
        .limit(limit)
    )
    if filter.cameras:
        statement = statement.where(sources.c.camera.in_(sorted(filter.cameras)))
    if filter.exclude_cameras:
        statement = statement.where(sources.c.camera.not_in(sorted(filter.exclude_cameras)))
    if filter.start is not None:
        statement = statement.where(sa.or_(gaps.c.end.is_(None), gaps.c.end >= filter.start))
    if filter.end is not None:
        statement = statement.where(gaps.c.start <= filter.end)
    return [Gap(*row) for row in connection.execute(statement)][::-1]


def delete_of_source(connection: sa.Connection, source_id: int) -> None:
    """Deletes one source's gaps."""
    connection.execute(sa.delete(gaps).where(gaps.c.source_id == source_id))
