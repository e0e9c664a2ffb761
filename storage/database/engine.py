"""Connections and transactions: SQLite in WAL mode or PostgreSQL, with errors that name the gallery."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import exc

from storage import errors
from storage.database.schema import gallery

BUSY_TIMEOUT_S = 60.0
"""How long a SQLite writer waits for another one. Write transactions take milliseconds."""

_PAGE_BYTES = 8192  # a float16 embedding of 2048 numbers fits one page
_LOG_BYTES = 32 << 20


class Database:
    """One database of one gallery.

    Attributes:
        place: What error messages call it: the folder, or the URL without secrets.
        backend: "sqlite" or "postgresql".
    """

    def __init__(self, engine: sa.Engine, place: str, *, read_only: bool) -> None:
        self.place = place
        self.backend = engine.dialect.name
        self.read_only = read_only
        self._engine = engine
        # Readers see one snapshot for the length of a transaction, as SQLite readers do anyhow.
        sqlite = self.backend == "sqlite"
        self._reader = engine if sqlite else engine.execution_options(isolation_level="REPEATABLE READ")
        # Writers wait for the lock inside the transaction, and must then see what was committed meanwhile.
        lock = {"immediate": True} if sqlite else {"isolation_level": "READ COMMITTED"}
        self._writer = engine.execution_options(**lock)
        self._open = threading.local()  # this thread's write transaction, which further ones join
        self._turn = threading.Lock()  # of this process's writers: SQLite would have them sleep and try again

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A transaction that sees one state of the database from its first statement to its end.

        Within a write transaction of this thread it is part of that, and sees what it has written.
        """
        if (joined := self._joined()) is not None:
            yield joined
            return
        with self._mapped_errors(), self._reader.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """A transaction that holds the gallery's write lock: writers of all processes take turns.

        Because they do, numbers rise in the order in which rows become visible, and whoever reads the rows
        after the last one it knows misses none. Within a write transaction of this thread it is part of that:
        both are committed together, or neither.

        Raises:
            GalleryReadOnly: The gallery was opened for reading.
            GalleryFull: The disk is full; nothing of the transaction is kept.
        """
        if (joined := self._joined()) is not None:
            yield joined
            return
        with self._turn, self.migrating() as connection:
            if self.backend == "postgresql":  # the one row is the lock; of SQLite BEGIN IMMEDIATE took it
                connection.execute(sa.select(gallery.c.id).with_for_update())
            self._open.connection = connection
            try:
                yield connection
            finally:
                self._open.connection = None

    def _joined(self) -> sa.Connection | None:
        found: sa.Connection | None = getattr(self._open, "connection", None)
        return found

    @contextmanager
    def migrating(self) -> Iterator[sa.Connection]:
        """A write transaction for when the tables may not exist yet."""
        if self.read_only:
            raise errors.read_only(self.place)
        with self._mapped_errors(), self._writer.connect() as connection, connection.begin():
            yield connection

    def merge_log(self) -> bool:
        """SQLite: empties the write-ahead log into the database file, so that no deleted bytes stay in it.

        Returns:
            Whether that was possible: not on a full disk, nor while somebody reads for very long.
        """
        if self.backend != "sqlite" or self.read_only:
            return True
        with self._mapped_errors(), self._engine.connect() as connection:
            driver = connection.connection.driver_connection
            assert driver is not None
            try:
                # Writers wait meanwhile, so it must not wait long for a reader: the next one merges.
                driver.execute(f"PRAGMA busy_timeout={_MERGE_WAIT_MS}")
                return not driver.execute(_MERGE).fetchone()[0]
            except sqlite3.Error as error:
                mapped = self._mapped(exc.OperationalError(_MERGE, None, error))
                if isinstance(mapped, errors.GalleryFull):
                    return False
                raise mapped from None
            finally:
                driver.execute(f"PRAGMA busy_timeout={int(BUSY_TIMEOUT_S * 1000)}")

    def rewrite(self) -> None:
        """SQLite: writes the database file anew, so that it holds its rows and nothing else.

        What is deleted is overwritten, but not copies where rows lay before they were moved to other pages.
        It takes the time and the room of a copy of the database, and writers wait meanwhile.

        Raises:
            GalleryFull: There is no such room.
            DatabaseUnavailable: Somebody is writing for very long.
        """
        if self.backend != "sqlite":
            return
        with self._engine.connect() as connection:
            driver = connection.connection.driver_connection
            assert driver is not None
            try:
                driver.execute("VACUUM")
            except sqlite3.Error as error:
                raise self._mapped(exc.OperationalError("VACUUM", None, error)) from None

    def close(self) -> None:
        """Closes every connection."""
        self._engine.dispose()

    @contextmanager
    def _mapped_errors(self) -> Iterator[None]:
        try:
            yield
        except exc.DBAPIError as error:
            raise self._mapped(error) from None  # the original repeats the statement, and may repeat the URL

    def _mapped(self, error: exc.DBAPIError) -> Exception:
        code = _code(error)
        reason = (str(error.orig).strip() or type(error.orig).__name__).splitlines()[0]
        if code in _FULL:
            return errors.full(self.place)
        if code in _READ_ONLY:
            return errors.read_only(self.place)
        if code in _DAMAGED:
            return errors.GalleryDamaged(
                f"{self.place}: the database is damaged ({reason}), restore a backup"
            )
        if code in _BUSY:
            return errors.DatabaseUnavailable(
                f"another process has been writing to {self.place} for {BUSY_TIMEOUT_S:.0f} s: try again"
            )
        if isinstance(error, exc.OperationalError | exc.InterfaceError):
            return errors.DatabaseUnavailable(f"the database of {self.place} cannot be reached: {reason}")
        if error.statement is None:  # it did not come to a statement
            return errors.GalleryMismatch(f"{self.place}: the database URL cannot be used: {reason}")
        return error


_MERGE = "PRAGMA wal_checkpoint(TRUNCATE)"
_MERGE_WAIT_MS = 500

_FULL = {"SQLITE_FULL", "53100"}
_READ_ONLY = {"SQLITE_READONLY", "SQLITE_READONLY_DBMOVED", "SQLITE_READONLY_DIRECTORY", "25006"}
_DAMAGED = {"SQLITE_CORRUPT", "SQLITE_NOTADB"}
_BUSY = {"SQLITE_BUSY", "SQLITE_BUSY_SNAPSHOT", "SQLITE_LOCKED"}


def _code(error: exc.DBAPIError) -> str:
    """SQLite's error name or PostgreSQL's SQLSTATE."""
    original = error.orig
    code = str(getattr(original, "sqlite_errorname", None) or getattr(original, "sqlstate", None) or "")
    # On a full disk SQLite may fail to grow its shared memory or log, and calls it an input/output error.
    return "SQLITE_FULL" if code in ("SQLITE_IOERR_WRITE", "SQLITE_IOERR_SHMSIZE") else code


def writable(path: Path) -> bool:
    """Whether this process may write there (a read-only mount says no even to root)."""
    return os.access(path, os.W_OK)


def open_sqlite(
    file: Path, place: str, *, read_only: bool, create: bool = False, alone: bool = False
) -> Database:
    """A gallery's SQLite database.

    Args:
        file: The database file; made only if `create` is set.
        place: What error messages call it.
        read_only: Refuse writes. Where `file` cannot be written, this must be set.
        alone: See `Gallery.open`.
    """
    fixed = not (writable(file.parent) and (create or writable(file)))

    def connect() -> sqlite3.Connection:
        mode = _fixed_mode(file, place) if fixed else "mode=rwc" if create else "mode=rw"
        mode += "&vfs=unix-excl" * alone
        connection = sqlite3.connect(
            f"{file.absolute().as_uri()}?{mode}",
            uri=True,
            timeout=BUSY_TIMEOUT_S,
            isolation_level=None,  # transactions begin and end by our statements alone
            check_same_thread=False,
        )
        try:
            for pragma in _pragmas(create=create, read_only=read_only):
                connection.execute(pragma)
        except BaseException:
            connection.close()  # else its locks stay until somebody drops the error
            raise
        return connection

    # On a medium that cannot be written each connection looks anew whether someone writes from elsewhere.
    # Else as many stay open as there were ever threads at once: to open one takes longer than to ask.
    kept: dict[str, Any] = (
        {"poolclass": sa.NullPool} if fixed else {"poolclass": sa.QueuePool, "pool_size": 0}
    )
    engine = sa.create_engine("sqlite://", creator=connect, hide_parameters=True, **kept)
    sa.event.listen(engine, "begin", _begin_sqlite)
    return Database(engine, place, read_only=read_only)


def _pragmas(*, create: bool, read_only: bool) -> list[str]:
    if read_only:
        return ["PRAGMA query_only=ON"]
    first = [f"PRAGMA page_size={_PAGE_BYTES}", "PRAGMA journal_mode=WAL"] if create else []
    # NORMAL: a power cut may take the last commits, never the consistency.
    # secure_delete: what is erased is overwritten.
    # journal_size_limit: a log that grew under a long reading shrinks again.
    lasting = (
        "synchronous=NORMAL",
        "foreign_keys=ON",
        "secure_delete=ON",
        f"journal_size_limit={_LOG_BYTES}",
    )
    return [*first, *(f"PRAGMA {setting}" for setting in lasting)]


def _fixed_mode(file: Path, place: str) -> str:
    """How to open a database that this process cannot write: side files of the WAL may not be there."""
    log, shared = (file.with_name(file.name + suffix) for suffix in ("-wal", "-shm"))
    if not log.exists() or log.stat().st_size == 0:
        return "mode=ro&immutable=1"
    if not shared.exists():
        raise errors.GalleryReadOnly(
            f"{place} was not closed properly and cannot be written: open it once where it can be written"
        )
    return "mode=ro"  # somebody else is writing and keeps the side files up to date


def _begin_sqlite(connection: sa.Connection) -> None:
    # IMMEDIATE: a read transaction that turns into a write one could fail half way.
    immediate = connection.get_execution_options().get("immediate", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


def open_postgresql(url: str, *, read_only: bool) -> Database:
    """A gallery's PostgreSQL database.

    Raises:
        GalleryMismatch: `url` is not a PostgreSQL URL, or the driver is not installed.
    """
    try:
        parsed = sa.make_url(url)
    except (exc.ArgumentError, ValueError):
        raise errors.GalleryMismatch(
            "the database URL cannot be read: write postgresql+psycopg://USER:PASSWORD@HOST/DATABASE"
        ) from None
    place = parsed.set(query={}).render_as_string(hide_password=True)
    if parsed.get_backend_name() != "postgresql":
        raise errors.GalleryMismatch(
            f"{place}: a gallery's database is SQLite (give no URL) or PostgreSQL (postgresql+psycopg://...)"
        )
    try:
        engine = sa.create_engine(parsed, pool_pre_ping=True, hide_parameters=True)
    except exc.ArgumentError:
        raise errors.GalleryMismatch(
            f"{place}: no such driver, write postgresql+psycopg://USER:PASSWORD@HOST/DATABASE"
        ) from None
    except ModuleNotFoundError as error:
        raise errors.GalleryMismatch(
            f"PostgreSQL needs the package {error.name}: pip install 'retrace-reid[postgres]'"
        ) from error
    return Database(engine, place, read_only=read_only)
