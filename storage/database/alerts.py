"""Statements over alerts: what is to be compared with the watch list, what matched, and who was told."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import sqlalchemy as sa

from storage.database import cursors, encoding, tracklets
from storage.database.schema import AnySelect, alerts, embeddings, sources, watches
from storage.database.schema import tracklets as tracklet_rows
from storage.database.tracklets import ThumbnailPath
from storage.records import EmbedderSpec, Float32Array
from storage.watch_records import Alert, AlertCursor

Match = tuple[int, int, float]
"""watch id, tracklet id, similarity."""

_Pair = tuple[int, int]

_ALERT = sa.select(
    alerts, watches.c.name.label("watch"), watches.c.webhook, watches.c.secret_env
).select_from(alerts.join(watches))


class Arrival(NamedTuple):
    """A tracklet whose embedding is to be compared; start and end in seconds UTC."""

    tracklet_id: int
    camera: str
    start: float
    end: float


def unmatched(
    connection: sa.Connection, generation_id: int, spec: EmbedderSpec, limit: int
) -> tuple[AlertCursor, list[Arrival], Float32Array]:
    """Up to `limit` embeddings (N, D) behind the cursor, in the order in which they came."""
    reached = cursors.position(connection, generation_id)
    seen = (tracklet_rows.c.id, sources.c.camera, tracklet_rows.c.start, tracklet_rows.c.end)
    statement = (
        sa.select(embeddings.c.seq, embeddings.c.vector, *seen)
        .select_from(embeddings.join(tracklet_rows).join(sources))
        .where(embeddings.c.generation_id == generation_id, embeddings.c.seq > reached)
        .order_by(embeddings.c.seq)
        .limit(limit)
    )
    rows = connection.execute(statement).all()
    vectors = encoding.unpack_vectors([row[1] for row in rows], spec.dimension)
    cursor = AlertCursor(generation_id, rows[-1][0] if rows else reached, spec)
    return cursor, [Arrival(*row[2:]) for row in rows], vectors


def record(connection: sa.Connection, matches: Iterable[Match], now: float) -> list[int]:
    """Makes the alerts that are new, and raises the similarity of those not yet delivered; ids of the new."""
    best: dict[_Pair, float] = {}
    for watch_id, tracklet_id, similarity in matches:
        pair = (int(watch_id), int(tracklet_id))
        best[pair] = max(best.get(pair, -np.inf), float(similarity))
    known = _known(connection, {tracklet_id for _, tracklet_id in best})
    rows = connection.execute(sa.select(watches.c.id, watches.c.webhook))
    webhooks = {row[0]: row[1] for row in rows}
    there = tracklets.media_versions(connection, {tracklet_id for _, tracklet_id in best})
    made = []
    for (watch_id, tracklet_id), similarity in best.items():
        if (watch_id, tracklet_id) in known:
            _raise(connection, known[watch_id, tracklet_id], similarity)
        elif watch_id in webhooks and tracklet_id in there:  # else one of them was deleted meanwhile
            made.append(_insert(connection, watch_id, tracklet_id, similarity, now, webhooks[watch_id]))
    return made


def _known(connection: sa.Connection, tracklet_ids: Iterable[int]) -> dict[_Pair, int]:
    found: dict[_Pair, int] = {}
    for some in tracklets.chunks(tracklet_ids):
        statement = sa.select(alerts.c.watch_id, alerts.c.tracklet_id, alerts.c.id)
        rows = connection.execute(statement.where(alerts.c.tracklet_id.in_(some)))
        found.update(((row[0], row[1]), row[2]) for row in rows)
    return found


def _raise(connection: sa.Connection, alert_id: int, similarity: float) -> None:
    lower = (alerts.c.id == alert_id, alerts.c.similarity < similarity)
    open_still = alerts.c.status.in_(("pending", "none"))
    connection.execute(sa.update(alerts).where(*lower, open_still).values(similarity=similarity))


def _insert(
    connection: sa.Connection,
    watch_id: int,
    tracklet_id: int,
    similarity: float,
    now: float,
    webhook: str | None,
) -> int:
    values = {
        "watch_id": watch_id,
        "tracklet_id": tracklet_id,
        "similarity": similarity,
        "created": now,
        "status": "none" if webhook is None else "pending",
        "attempts": 0,
        "next_attempt": None if webhook is None else now,
    }
    return int(connection.execute(sa.insert(alerts).returning(alerts.c.id), values).scalar_one())


def due(
    connection: sa.Connection,
    thumbnail: ThumbnailPath,
    now: float,
    limit: int,
    except_watches: Collection[int] = (),
) -> list[Alert]:
    """Pending alerts of other watches whose time has come, those that have waited longest first."""
    waiting = [alerts.c.status == "pending", alerts.c.next_attempt <= now]
    if except_watches:
        waiting.append(alerts.c.watch_id.not_in(except_watches))
    statement = _ALERT.where(*waiting).order_by(alerts.c.next_attempt, alerts.c.id).limit(limit)
    return _records(connection, thumbnail, statement)


def num_pending(connection: sa.Connection) -> int:
    """How many alerts are still to be delivered."""
    counted = sa.select(sa.func.count()).where(alerts.c.status == "pending")
    return connection.scalar(counted) or 0


def listed(
    connection: sa.Connection,
    thumbnail: ThumbnailPath,
    after_id: int | None,
    limit: int | None,
    watch_id: int | None,
) -> list[Alert]:
    """Alerts by rising id."""
    statement = _ALERT.order_by(alerts.c.id).limit(limit)
    if after_id is not None:
        statement = statement.where(alerts.c.id > after_id)
    if watch_id is not None:
        statement = statement.where(alerts.c.watch_id == watch_id)
    return _records(connection, thumbnail, statement)


def delivered(connection: sa.Connection, alert_id: int, now: float) -> None:
    """Notes that an alert has arrived."""
    values = {"status": "delivered", "delivered": now, "next_attempt": None, "last_error": None}
    _attempted(connection, alert_id, values)


def failed(connection: sa.Connection, alert_id: int, error: str, next_attempt: float | None) -> None:
    """Notes that an alert could not be delivered; without a next attempt it has failed for good."""
    status = "failed" if next_attempt is None else "pending"
    values = {"status": status, "next_attempt": next_attempt, "last_error": error}
    _attempted(connection, alert_id, values)


def _attempted(connection: sa.Connection, alert_id: int, values: dict[str, Any]) -> None:
    mine = alerts.c.id == alert_id
    connection.execute(sa.update(alerts).where(mine).values(attempts=alerts.c.attempts + 1, **values))


def _records(connection: sa.Connection, thumbnail: ThumbnailPath, statement: AnySelect) -> list[Alert]:
    rows: Sequence[Any] = connection.execute(statement).all()
    found = tracklets.records(connection, thumbnail, {row.tracklet_id for row in rows})
    values = [dict(row._mapping) for row in rows]
    shown = [found[each.pop("tracklet_id")] for each in values]
    return [Alert(**each, record=record) for each, record in zip(values, shown, strict=True)]
