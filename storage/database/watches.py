"""Statements over the watch list."""

from __future__ import annotations

import sqlalchemy as sa

from storage.database import cursors, tracklets
from storage.database.schema import watch_examples, watches
from storage.errors import TrackletNotFound, WatchExists, WatchNotFound
from storage.watch_records import NewWatch, Watch, WatchExample


def insert(connection: sa.Connection, watch: NewWatch, now: float) -> int:
    """A new watch with its examples; returns its id.

    Raises:
        WatchExists: Another one has its name.
        TrackletNotFound: One of its examples does not exist (any more).
    """
    if connection.scalar(sa.select(watches.c.id).where(watches.c.name == watch.name)) is not None:
        raise WatchExists(f"there is a watch '{watch.name}' already: remove it or choose another name")
    gone = set(watch.tracklets) - tracklets.media_versions(connection, watch.tracklets).keys()
    if gone:
        raise TrackletNotFound(f"no tracklet has the id {min(gone)}: list them with 'tracklets'")
    if watch.enabled:
        cursors.skip_unwatched(connection)
    watch_id = _insert(connection, watch, now)
    examples = [(number, None) for number in dict.fromkeys(watch.tracklets)]
    rows = [*examples, *((None, crop) for crop in watch.crops)]
    connection.execute(
        sa.insert(watch_examples),
        [{"watch_id": watch_id, "tracklet_id": number, "crop": crop} for number, crop in rows],
    )
    return watch_id


def _insert(connection: sa.Connection, watch: NewWatch, now: float) -> int:
    values = {
        "name": watch.name,
        "threshold": watch.threshold,
        "cameras": list(watch.cameras),
        "hours": list(watch.hours),
        "webhook": watch.webhook,
        "secret_env": watch.secret_env,
        "enabled": watch.enabled,
        "created": now,
    }
    return int(connection.execute(sa.insert(watches).returning(watches.c.id), values).scalar_one())


def every(connection: sa.Connection, *, enabled_only: bool) -> list[Watch]:
    """Watches with their examples, oldest first."""
    statement = sa.select(watches).order_by(watches.c.id)
    if enabled_only:
        statement = statement.where(watches.c.enabled)
    examples: dict[int, list[WatchExample]] = {}
    for row in connection.execute(sa.select(watch_examples).order_by(watch_examples.c.id)):
        examples.setdefault(row.watch_id, []).append(WatchExample(row.id, row.tracklet_id, row.crop))
    found = []
    for row in connection.execute(statement):
        lists = {"cameras": tuple(row.cameras), "hours": tuple(row.hours)}
        values = {**row._mapping, **lists, "examples": tuple(examples.get(row.id, ()))}
        found.append(Watch(**values))
    return found


def delete(connection: sa.Connection, watch_id: int) -> None:
    """Deletes a watch with its examples and alerts.

    Raises:
        WatchNotFound: It does not exist (any more).
    """
    if connection.execute(sa.delete(watches).where(watches.c.id == watch_id)).rowcount == 0:
        raise _not_found(watch_id)


def set_enabled(connection: sa.Connection, watch_id: int, enabled: bool) -> None:
    """Switches a watch on or off.

    Raises:
        WatchNotFound: It does not exist (any more).
    """
    if enabled:
        cursors.skip_unwatched(connection)
    statement = sa.update(watches).where(watches.c.id == watch_id).values(enabled=enabled)
    if connection.execute(statement).rowcount == 0:
        raise _not_found(watch_id)


def _not_found(watch_id: int) -> WatchNotFound:
    return WatchNotFound(f"no watch has the id {watch_id}: list them to see which there are")
