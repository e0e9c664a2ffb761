"""Finds or makes the folder and the database of a gallery, and checks that they belong together."""

from __future__ import annotations

import sqlalchemy as sa

from storage import errors
from storage.database import migrate
from storage.database.engine import Database, open_postgresql, open_sqlite, writable
from storage.database.schema import VERSION, gallery
from storage.folder import FolderMark, GalleryFolder, place_once

_MIGRATION_LOCK = 0x7265_7472_6163_65  # any number that other programs in a shared database do not use


def open_parts(
    folder: GalleryFolder, url: str | None, *, create: bool, read_only: bool, alone: bool = False
) -> tuple[FolderMark, Database]:
    """The mark of `folder` and its database, up to date and open.

    Raises:
        GalleryError: See `Gallery.open`.
    """
    backend = "sqlite" if url is None else "postgresql"
    mark = folder.read_mark()
    if mark is None:
        mark = _make(folder, backend, url, create=create and not read_only)
    _check_backend(folder, mark, url)
    read_only = read_only or not writable(folder.root)
    if not read_only:
        with errors.disk_errors(folder.root):
            folder.make()  # a creation that was cut off, or a copy that left out empty folders
    if url is None:
        if not folder.database_file.exists():
            _refuse_lost_database(folder, create=create and not read_only)
            _make_sqlite(folder, mark)
        read_only = read_only or not writable(folder.database_file)
        database = open_sqlite(folder.database_file, str(folder.root), read_only=read_only, alone=alone)
    else:
        database = open_postgresql(url, read_only=read_only)
    try:
        _check_database(database, folder, mark, create=create)
    except BaseException:
        database.close()
        raise
    return mark, database


def _make(folder: GalleryFolder, backend: str, url: str | None, *, create: bool) -> FolderMark:
    if not create:
        raise errors.GalleryNotFound(f"no gallery at {folder.root}: run ingest first")
    if folder.root.exists() and not folder.root.is_dir():
        raise errors.GalleryMismatch(f"{folder.root} is a file: name a folder for the gallery")
    if folder.database_file.exists() or folder.has_crops():
        raise errors.GalleryDamaged(
            f"{folder.root} holds a gallery without {folder.mark_file.name}: restore that from a backup"
        )
    if url is not None:
        open_postgresql(url, read_only=True).close()  # refuses a wrong URL before anything is made
    with errors.disk_errors(folder.root):
        folder.make()
        return folder.make_mark(backend)


def _check_backend(folder: GalleryFolder, mark: FolderMark, url: str | None) -> None:
    if mark.backend == "sqlite" and url is not None:
        raise errors.GalleryMismatch(
            f"the gallery at {folder.root} has its tables in its own folder (SQLite): give no database URL"
        )
    if mark.backend == "postgresql" and url is None:
        raise errors.GalleryMismatch(
            f"the gallery at {folder.root} has its tables on PostgreSQL: give their URL "
            "(--database, or RETRACE_DATABASE_URL)"
        )


def _refuse_lost_database(folder: GalleryFolder, *, create: bool) -> None:
    """A folder whose database is gone must not get an empty one: a sweep would then remove every crop."""
    if folder.has_crops():
        raise errors.GalleryDamaged(f"{folder.database_file} is missing: restore it from a backup")
    if not create:
        raise errors.GalleryNotFound(f"the gallery at {folder.root} was never finished: run ingest first")


def _make_sqlite(folder: GalleryFolder, mark: FolderMark) -> None:
    """Builds the database under a temporary name, so that no process ever meets a half-made one."""
    temporary = folder.temporary(folder.database_file)
    database = open_sqlite(temporary, str(folder.root), read_only=False, create=True)
    try:
        with errors.disk_errors(folder.root):
            temporary.touch(mode=0o600)  # the folder may have been there, open to others
            with database.migrating() as connection:
                _upgrade_and_mark(connection, mark)
            if not database.merge_log():  # what did not fit into the file would be left behind
                raise errors.full(folder.root)
            database.close()
            place_once(temporary, folder.database_file)
    finally:
        database.close()
        for leftover in folder.root.glob(f"{temporary.name}*"):
            leftover.unlink(missing_ok=True)


def _check_database(database: Database, folder: GalleryFolder, mark: FolderMark, *, create: bool) -> None:
    with database.reading() as connection:
        version = migrate.check(connection, database.place, for_writing=not database.read_only)
        ready = version == VERSION and _uuid(connection) is not None
    if version is None:
        _refuse_lost_database(folder, create=create and not database.read_only)
    if not ready:
        with database.migrating() as connection:
            if database.backend == "postgresql":
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
            _upgrade_and_mark(connection, mark)
    with database.reading() as connection:
        found = _uuid(connection)
    if found != mark.uuid:
        raise errors.GalleryMismatch(
            f"the database {database.place} belongs to another gallery than the folder {folder.root}: "
            "give the URL of this gallery's database, or a folder and an empty database for a new gallery"
        )


def _upgrade_and_mark(connection: sa.Connection, mark: FolderMark) -> None:
    migrate.upgrade(connection)
    if _uuid(connection) is None:
        connection.execute(sa.insert(gallery).values(id=1, uuid=mark.uuid, revision=0))


def _uuid(connection: sa.Connection) -> str | None:
    return connection.scalar(sa.select(gallery.c.uuid))
