"""Statements over the alert cursor: how far each generation's embeddings met the watch list.

A watch looks forward only. While none is enabled nothing needs to be compared, and the first one that is puts
the cursor at the end. A generation that becomes the current one begins at its end, or before the tracklets
that the one before it had not yet compared.
"""

from __future__ import annotations

import sqlalchemy as sa

from storage.database.schema import alert_cursor, embeddings, generations, watches


def position(connection: sa.Connection, generation_id: int) -> int:
    """Number of the last embedding that was compared; 0 if none was."""
    mine = alert_cursor.c.generation_id == generation_id
    return connection.scalar(sa.select(alert_cursor.c.seq).where(mine)) or 0


def advance(connection: sa.Connection, generation_id: int, seq: int) -> None:
    """Moves a cursor forward; one that is further on stays, and that of a generation that is gone is none."""
    there = connection.scalar(sa.select(generations.c.id).where(generations.c.id == generation_id))
    if there is not None and seq > position(connection, generation_id):
        _put(connection, generation_id, seq)


def skip_unwatched(connection: sa.Connection) -> None:
    """If no watch is enabled: moves the current generation's cursor to its end."""
    current = connection.scalar(sa.select(generations.c.id).where(generations.c.status == "current"))
    if current is not None and not _watched(connection):
        advance(connection, current, _end(connection, current))


def carry_over(connection: sa.Connection, target: int, current: int) -> None:
    """Puts the cursor of the generation `target`, which is to take the place of `current`."""
    first = None
    if _watched(connection):
        new = sa.select(embeddings.c.tracklet_id).where(
            embeddings.c.generation_id == current, embeddings.c.seq > position(connection, current)
        )
        first = connection.scalar(
            sa.select(sa.func.min(embeddings.c.seq)).where(
                embeddings.c.generation_id == target, embeddings.c.tracklet_id.in_(new)
            )
        )
    _put(connection, target, _end(connection, target) if first is None else first - 1)


def _watched(connection: sa.Connection) -> bool:
    return connection.scalar(sa.select(watches.c.id).where(watches.c.enabled).limit(1)) is not None


def _end(connection: sa.Connection, generation_id: int) -> int:
    mine = embeddings.c.generation_id == generation_id
    return connection.scalar(sa.select(sa.func.max(embeddings.c.seq)).where(mine)) or 0


def _put(connection: sa.Connection, generation_id: int, seq: int) -> None:
    connection.execute(sa.delete(alert_cursor).where(alert_cursor.c.generation_id == generation_id))
    connection.execute(sa.insert(alert_cursor), {"generation_id": generation_id, "seq": seq})
