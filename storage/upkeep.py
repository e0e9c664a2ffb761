"""How things leave: deletion that is complete, and the sweep of what dead processes left behind."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import sqlalchemy as sa

from storage import errors
from storage.database import holds, tracklets
from storage.database.engine import Database
from storage.database.schema import gallery
from storage.database.schema import tracklets as rows
from storage.media import MediaFolder
from storage.snapshot import SnapshotFolder

_AT_ONCE = 5000  # tracklets per transaction: a long one would keep an ingest waiting
_AT_ONCE_ON_FULL_DISK = 20

_log = logging.getLogger(__name__)


def delete_tracklets(
    database: Database, media: MediaFolder, snapshots: SnapshotFolder, ids: Iterable[int]
) -> int:
    """Deletes tracklets everywhere but in the indexes of running processes, which notice; see `Gallery`."""
    if database.read_only:
        raise errors.read_only(database.place)
    deleted = 0
    for some in tracklets.chunks(ids, _AT_ONCE):
        try:
            free, number = _delete_rows(database, some)
        except errors.GalleryFull:
            if database.backend != "sqlite":  # its disk is not the one that crops are on
                raise
            with database.reading() as connection:
                free = holds.without_held(connection, some)
            number = _delete_on_full_disk(database, media, snapshots, free)
        remove_traces(database, media, snapshots, free)
        deleted += number
    return deleted


def _delete_rows(database: Database, ids: list[int]) -> tuple[list[int], int]:
    """Deletes what no case holds: those ids, and how many of them there were."""
    with database.writing() as connection:
        free = holds.without_held(connection, ids)
        return free, tracklets.delete(connection, free)


def _delete_on_full_disk(
    database: Database, media: MediaFolder, snapshots: SnapshotFolder, ids: list[int]
) -> int:
    """Deletes few rows at a time; where not even they find room in the log, their crops go first."""
    snapshots.remove()
    database.merge_log()
    deleted, waiting = 0, []
    for some in tracklets.chunks(ids, _AT_ONCE_ON_FULL_DISK):
        waiting += some
        for _ in range(2):
            try:
                deleted += _delete_rows(database, waiting)[1]
            except errors.GalleryFull:
                media.remove(some)
                database.merge_log()
            else:
                media.remove(waiting)
                waiting = []
                break
    if waiting:
        raise errors.full(database.place)
    return deleted


def remove_traces(
    database: Database, media: MediaFolder, snapshots: SnapshotFolder, ids: Iterable[int]
) -> None:
    """Removes what tracklets leave outside of the tables, after the deletion of their rows was committed."""
    snapshots.remove()
    media.remove(ids)
    if not database.merge_log():
        _log.warning("%s: deleted rows stay in the database's log until the next deletion", database.place)


def sweep(
    database: Database, media: MediaFolder, snapshots: SnapshotFolder, work: Path, before: float
) -> dict[str, int]:
    """Removes leftovers older than the time `before` (seconds UTC); see `Gallery.sweep`."""
    if database.read_only:
        raise errors.read_only(database.place)
    database.merge_log()  # where a deletion could not, as somebody was reading
    removed = media.remove_stale(before) + snapshots.remove_stale(before) + _remove_scratch(work, before)
    for shelf in media.shelves():
        with database.writing() as connection:  # the lock: nobody else is giving files their names now
            removed += media.remove_orphans(shelf, tracklets.between(connection, shelf))
    with database.reading() as connection:
        snapshots.remove_outdated(connection.execute(sa.select(gallery.c.revision)).scalar_one())
        versions = tracklets.all_media_versions(connection)
        missing = [row[0] for row in versions if not media.complete(*row)]
    return {"files_removed": removed, "tracklets_without_crops": _still_missing(database, media, missing)}


def _remove_scratch(work: Path, before: float) -> int:
    """Removes half-made exports and clips, last written before that time; returns how many files."""
    removed = 0
    for entry in work.glob("tmp*"):
        with suppress(FileNotFoundError):  # its writer finished meanwhile
            inside = [entry, *entry.rglob("*")]
            if max(each.lstat().st_mtime for each in inside) >= before:
                continue
            removed += sum(not each.is_dir() for each in inside)
            if entry.is_dir():
                shutil.rmtree(entry)
            else:
                entry.unlink()
    return removed


def _still_missing(database: Database, media: MediaFolder, ids: list[int]) -> int:
    """How many of the tracklets lack files, now that nobody is refining or deleting them."""
    lacking = 0
    for some in tracklets.chunks(ids):
        with database.writing() as connection:
            versions = tracklets.media_versions(connection, some, rows.c.has_crops)
            lacking += sum(not media.complete(*row) for row in versions.items())
    return lacking
