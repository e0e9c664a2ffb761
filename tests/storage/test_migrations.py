"""The migrations make exactly what the code expects."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from storage.database import migrate, schema
from storage.database.engine import Database, open_postgresql, open_sqlite


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    if request.param == "sqlite":
        return open_sqlite(tmp_path / "50%.db", "here", read_only=False, create=True)
    return open_postgresql(request.getfixturevalue("postgresql_url"), read_only=False)


def parts(statement: str) -> list[str]:
    """The columns and constraints of a CREATE TABLE, however it is laid out."""
    found, depth = [""], 0
    for letter in " ".join(statement.split()):
        depth += {"(": 1, ")": -1}.get(letter, 0)
        if (depth == 1 and letter in "(,") or (depth == 0 and letter == ")"):
            found.append("")
        else:
            found[-1] += letter
    return [part.strip() for part in found]


def described(connection: sa.Connection) -> dict[str, object]:
    """All that the database says about our tables."""
    if connection.dialect.name == "sqlite":
        rows = connection.exec_driver_sql(
            "SELECT name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'"
        )
        tables = [row for row in rows if schema.VERSION_TABLE not in row[0]]
        return {name: sorted(parts(sql or "")) for name, sql in tables}
    seen = sa.inspect(connection)
    names = [name for name in seen.get_table_names() if name != schema.VERSION_TABLE]
    return {
        name: [
            [{key: str(value) for key, value in column.items()} for column in seen.get_columns(name)],
            seen.get_pk_constraint(name),
            seen.get_foreign_keys(name),
            sorted(seen.get_indexes(name), key=str),
            sorted(seen.get_unique_constraints(name), key=str),
        ]
        for name in names
    }


def test_migrated_and_made_from_the_metadata_are_the_same(empty: Database) -> None:
    with empty.migrating() as connection:
        assert migrate.check(connection, "here", for_writing=True) is None
        migrate.upgrade(connection)
        assert migrate.check(connection, "here", for_writing=False) == schema.VERSION
        context = MigrationContext.configure(connection, opts={"version_table": schema.VERSION_TABLE})
        assert compare_metadata(context, schema.metadata) == []
        migrated = described(connection)
    with empty.migrating() as connection:
        schema.metadata.drop_all(connection)
        schema.metadata.create_all(connection)
        assert described(connection) == migrated
    empty.close()


def test_a_migration_that_fails_leaves_nothing(empty: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("in the middle")

    with monkeypatch.context() as patched:
        patched.setattr("alembic.op.create_index", fail)
        with pytest.raises(RuntimeError, match="in the middle"), empty.migrating() as connection:
            migrate.upgrade(connection)
    with empty.reading() as connection:
        assert sa.inspect(connection).get_table_names() == []
    empty.close()


def test_the_newest_migration_is_the_version_of_the_code() -> None:
    assert migrate.scripts().get_heads() == [schema.VERSION]


def test_running_the_migrations_again_changes_nothing(empty: Database) -> None:
    for _ in range(2):
        with empty.migrating() as connection:
            migrate.upgrade(connection)
    empty.close()
