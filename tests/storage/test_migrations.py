"""The migrations make exactly what the code expects."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext

from storage.database import accountability, migrate, schema
from storage.database.engine import Database, open_postgresql, open_sqlite
from storage.errors import OlderSchema
from tests.storage.making import OTHER, SPEC, Place, fill, random_vectors, tracklet, version


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
            "SELECT name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%' AND type <> 'trigger'"
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
        accountability.metadata.create_all(connection)
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


def to_version(database: Database, version: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(migrate.MIGRATIONS).replace("%", "%%"))
    with database.migrating() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, version)


def made_with_first_schema(place: Place) -> list[int]:
    """A filled gallery whose database is as the first schema has it."""
    with place.create() as gallery:
        ids = fill(gallery, 5)
        new = gallery.generations.begin(OTHER).id
        gallery.generations.add(new, ids[:4], random_vectors(4, dimension=8))
        gallery.delete_tracklets(ids[4:])
        gallery.finish_source(gallery.sources()[0].id, {"frames": 9})
        gallery.search(random_vectors(1), SPEC, 3)
        to_version(gallery._database, "0001")
    return ids[:4]


def test_a_gallery_of_the_first_schema_is_upgraded_with_all_it_holds(place: Place) -> None:
    ids = made_with_first_schema(place)
    with pytest.raises(OlderSchema, match="has schema 0001, older than"):
        place.open(read_only=True)
    with place.open() as gallery:
        assert [record.id for record in gallery.tracklets()] == ids
        assert [camera.num_tracklets for camera in gallery.cameras()] == [4]
        assert gallery.time_line().counts["door"].sum() == gallery.counts()["tracklets"] == 4
        for record in gallery.tracklets():
            assert record.finished
            assert gallery.crops(record.id) == list(tracklet(record.track_id).crops)
            assert record.thumbnail.name == f"{record.id}.jpg"
        (source,) = gallery.sources()
        assert (source.status, source.counts, source.live, source.end) == (
            "complete",
            {"frames": 9},
            False,
            None,
        )
        assert [generation.num_embeddings for generation in gallery.generations.all()] == [4, 4]
        assert gallery.search(tracklet(2).embedding[None], SPEC, 1)[0][0].record.id == ids[2]
        assert gallery.gaps() == gallery.watching.alerts() == gallery.watching.watches() == []
        assert gallery.sweep(grace_s=0.0) == {"files_removed": 0, "tracklets_without_crops": 0}
        assert gallery.watching.unmatched_embeddings(9)[1] == []  # the archive raises no alerts
        longer = version(0, 30)
        assert gallery.add_tracklets(source.id, [longer], SPEC) == ids[:1]
        assert gallery.crops(ids[0]) == list(longer.crops)
        assert gallery.generations.missing(2) == ids[:1]
        assert [arrival.tracklet_id for arrival in gallery.watching.unmatched_embeddings(9)[1]] == ids[:1]
        assert fill(gallery, 1, first=50)[0] > max(ids) + 1  # numbers go on where they were


def test_downgraded_and_upgraded_is_as_it_was(empty: Database) -> None:
    with empty.migrating() as connection:
        migrate.upgrade(connection)
        newest = described(connection)
    to_version(empty, "0001")
    with empty.migrating() as connection:
        assert described(connection) != newest
        migrate.upgrade(connection)
        assert described(connection) == newest
    empty.close()
