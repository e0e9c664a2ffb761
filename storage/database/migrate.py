"""Brings a database's schema up to date, or says why it cannot be used."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from storage.database.schema import VERSION, VERSION_TABLE
from storage.errors import NewerSchema, OlderSchema

if TYPE_CHECKING:
    from alembic.script import ScriptDirectory

MIGRATIONS = Path(__file__).resolve().parent.parent / "migrations"

_ALEMBIC = threading.Lock()  # alembic hands the connection to a migration through module attributes


def scripts() -> ScriptDirectory:
    """The migrations that come with this code."""
    from alembic.script import ScriptDirectory  # a fifth of a command's start, and seldom needed

    return ScriptDirectory(str(MIGRATIONS))


def schema_version(connection: sa.Connection) -> str | None:
    """The migration that the database stands at; None for one without our tables."""
    if not sa.inspect(connection).has_table(VERSION_TABLE):
        return None
    return connection.execute(sa.text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar_one_or_none()


def check(connection: sa.Connection, place: str, *, for_writing: bool) -> str | None:
    """Refuses a database that this code cannot use.

    Returns:
        The version it stands at, which for writers may be an older one that `upgrade` brings up to date;
        None if it holds no gallery yet.

    Raises:
        NewerSchema: A newer Retrace made it.
        OlderSchema: It needs an upgrade, and `for_writing` is false.
    """
    version = schema_version(connection)
    if version is None or version == VERSION:
        return version
    if version not in {script.revision for script in scripts().walk_revisions()}:
        raise NewerSchema(f"{place} has schema {version}, this Retrace knows up to {VERSION}: update Retrace")
    if not for_writing:
        raise OlderSchema(f"{place} has schema {version}, older than {VERSION}: open it once for writing")
    return version


def upgrade(connection: sa.Connection) -> None:
    """Runs the missing migrations inside the caller's transaction: all of them or none."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    with _ALEMBIC:
        command.upgrade(config, VERSION)
