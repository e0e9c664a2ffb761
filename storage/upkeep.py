"""How things leave: deletion that is complete, and the sweep of what dead processes left behind."""

from __future__ import annotations

from collections.abc import Iterable

import sqlalchemy as sa

from storage import errors
from storage.database import tracklets
from storage.database.engine import Database
from storage.database.schema import gallery
from storage.media import MediaFolder
from storage.snapshot import SnapshotFolder

_AT_ONCE = 5000  # tracklets per transaction: a long one would keep an ingest waiting


def delete_tracklets(
    database: Database, media: MediaFolder, snapshots: SnapshotFolder, ids: Iterable[int]
) -> int:
    """Deletes tracklets everywhere but in the indexes of running processes, which notice; see `Gallery`."""
    if database.read_only:
        raise errors.read_only(database.place)
    deleted = 0
    for some in tracklets.chunks(ids, _AT_ONCE):
        with database.writing() as connection:
            deleted += tracklets.delete(connection, some)
        remove_traces(database, media, snapshots, some)
    return deleted


def remove_traces(
    database: Database, media: MediaFolder, snapshots: SnapshotFolder, ids: Iterable[int]
) -> None:
    """Removes what tracklets leave outside of the tables, after the deletion of their rows was committed."""
    snapshots.remove()
    media.remove(ids)
    database.merge_log()


def sweep(database: Database, media: MediaFolder, snapshots: SnapshotFolder, before: float) -> dict[str, int]:
    """Removes leftovers older than the time `before` (seconds UTC); see `Gallery.sweep`."""
    if database.read_only:
        raise errors.read_only(database.place)
    removed = media.remove_stale(before) + snapshots.remove_stale(before)
    for shelf in media.shelves():
        with database.writing() as connection:  # the lock: nobody else is giving files their names now
            removed += media.remove_orphans(shelf, tracklets.between(connection, shelf))
    with database.reading() as connection:
        snapshots.remove_outdated(connection.execute(sa.select(gallery.c.revision)).scalar_one())
        rows = tracklets.all_media_versions(connection)
        missing = [tracklet_id for tracklet_id, version in rows if not media.complete(tracklet_id, version)]
    return {"files_removed": removed, "tracklets_without_crops": _still_missing(database, media, missing)}


def _still_missing(database: Database, media: MediaFolder, ids: list[int]) -> int:
    """How many of the tracklets lack files, now that nobody is refining or deleting them."""
    lacking = 0
    for some in tracklets.chunks(ids):
        with database.writing() as connection:
            versions = tracklets.media_versions(connection, some)
            lacking += sum(not media.complete(*row) for row in versions.items())
    return lacking
