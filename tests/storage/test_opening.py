"""Opening the right gallery, and clear words about all others."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import stat
from pathlib import Path

import pytest
import sqlalchemy as sa

from storage.database.schema import VERSION_TABLE
from storage.errors import (
    DatabaseUnavailable,
    GalleryDamaged,
    GalleryMismatch,
    GalleryNotFound,
    NewerSchema,
    OlderSchema,
)
from storage.gallery import Gallery
from tests.storage.making import Place, fill


def test_no_gallery_is_made_unasked(place: Place) -> None:
    for folder in (place.folder, place.folder / "below"):
        with pytest.raises(GalleryNotFound, match=r"no gallery at .*: run ingest first"):
            Gallery.open(folder, url=place.url)
    assert not place.folder.exists()
    place.folder.mkdir()
    with pytest.raises(GalleryNotFound):
        place.open()
    with pytest.raises(GalleryNotFound):
        place.open(create=True, read_only=True)
    assert not list(place.folder.iterdir())


def test_nobody_else_on_the_machine_reads_a_new_gallery(place: Place) -> None:
    """It holds faces and password hashes."""
    mask = os.umask(0)
    try:
        with place.create() as gallery:
            fill(gallery, 1)
        shut = {name: mode(place.folder / name) for name in ("", "media", "index", "work")}
        assert shut == dict.fromkeys(shut, 0o700)
        place.folder.chmod(0o750)
        with place.create(), place.open():
            assert mode(place.folder) == 0o750, "a gallery that exists stays as open as its owner made it"
    finally:
        os.umask(mask)


def test_a_folder_that_was_there_keeps_its_mode_and_what_is_made_in_it_is_private(
    sqlite_place: Place,
) -> None:
    sqlite_place.folder.mkdir()
    sqlite_place.folder.chmod(0o755)
    with sqlite_place.create() as gallery:
        fill(gallery, 1)
        assert mode(sqlite_place.folder) == 0o755
        assert mode(sqlite_place.folder / "media") == 0o700
        assert {mode(file) for file in sqlite_place.folder.glob("gallery.db*")} == {0o600}


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_file_is_not_a_gallery(tmp_path: Path) -> None:
    file = tmp_path / "video.mp4"
    file.write_bytes(b"x")
    with pytest.raises(GalleryNotFound):
        Gallery.open(file)
    with pytest.raises(GalleryMismatch, match="is a file"):
        Gallery.open(file, create=True)


def test_the_url_must_fit_the_folder(tmp_path: Path, postgresql_url: str) -> None:
    Gallery.open(tmp_path / "s", create=True).close()
    Gallery.open(tmp_path / "p", create=True, url=postgresql_url).close()
    with pytest.raises(GalleryMismatch, match="give no database URL"):
        Gallery.open(tmp_path / "s", url=postgresql_url)
    with pytest.raises(GalleryMismatch, match="RETRACE_DATABASE_URL"):
        Gallery.open(tmp_path / "p")
    with pytest.raises(GalleryMismatch, match="belongs to another gallery"):
        Gallery.open(tmp_path / "another", url=postgresql_url, create=True)
    assert "postgresql" in (tmp_path / "p" / "gallery.json").read_text()
    assert postgresql_url not in (tmp_path / "p" / "gallery.json").read_text()


def test_folder_and_database_must_belong_together(tmp_path: Path) -> None:
    for name in ("one", "two"):
        with Gallery.open(tmp_path / name, create=True) as gallery:
            fill(gallery, 1)
    shutil.copy(tmp_path / "one" / "gallery.db", tmp_path / "two" / "gallery.db")
    with pytest.raises(GalleryMismatch, match="belongs to another gallery"):
        Gallery.open(tmp_path / "two")


def test_a_lost_database_is_not_replaced_by_an_empty_one(place: Place) -> None:
    """Else the next sweep would remove every crop."""
    with place.create() as gallery:
        fill(gallery, 2)
    if place.url is None:
        (place.folder / "gallery.db").unlink()
    else:
        engine = sa.create_engine(place.url, poolclass=sa.NullPool)
        with engine.begin() as connection:
            connection.execute(sa.text("DROP SCHEMA public CASCADE"))
            connection.execute(sa.text("CREATE SCHEMA public"))
    for create in (False, True):
        with pytest.raises(GalleryDamaged, match="missing: restore"):
            place.open(create=create)
    (place.folder / "gallery.json").unlink()
    with pytest.raises(GalleryDamaged, match=r"without gallery.json"):
        place.create()


def test_creation_that_was_cut_off_is_finished(place: Place) -> None:
    """Killed between the mark and the database."""
    place.folder.mkdir()
    mark = {"uuid": "u", "backend": "sqlite" if place.url is None else "postgresql", "format": 1}
    (place.folder / "gallery.json").write_text(json.dumps(mark))
    with pytest.raises(GalleryNotFound, match="never finished"):
        place.open()
    with place.create() as gallery:
        assert gallery.uuid == "u"
        fill(gallery, 1)
    place.open().close()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"uuid": 1}', "\x00"])
def test_a_damaged_mark(sqlite_place: Place, text: str) -> None:
    sqlite_place.create().close()
    (sqlite_place.folder / "gallery.json").write_text(text)
    with pytest.raises(GalleryDamaged, match=r"gallery.json cannot be read"):
        sqlite_place.open()


def test_a_mark_of_a_newer_format(sqlite_place: Place) -> None:
    sqlite_place.create().close()
    mark = sqlite_place.folder / "gallery.json"
    mark.write_text(json.dumps(json.loads(mark.read_text()) | {"format": 2}))
    with pytest.raises(NewerSchema, match="update"):
        sqlite_place.open()


def test_a_damaged_database(sqlite_place: Place) -> None:
    with sqlite_place.create() as gallery:
        fill(gallery, 1)
    (sqlite_place.folder / "gallery.db").write_bytes(b"no database at all" * 1000)
    with pytest.raises(GalleryDamaged, match="restore a backup"):
        sqlite_place.open()


def set_version(place: Place, version: str) -> None:
    url = place.url or f"sqlite:///{place.folder / 'gallery.db'}"
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.begin() as connection:
        connection.execute(sa.text(f"UPDATE {VERSION_TABLE} SET version_num = '{version}'"))


@pytest.fixture
def plain_place(tmp_path: Path, request: pytest.FixtureRequest) -> Place:
    return Place(tmp_path / "plain", None)


def test_a_newer_schema_is_refused(plain_place: Place, postgresql_url: str, tmp_path: Path) -> None:
    for place in (plain_place, Place(tmp_path / "other", postgresql_url)):
        place.create().close()
        set_version(place, "9999")
        for options in ({}, {"create": True}, {"read_only": True}):
            with pytest.raises(
                NewerSchema, match=r"has schema 9999, this Retrace knows up to .*: update Retrace"
            ):
                place.open(**options)


def test_an_older_schema_is_not_upgraded_by_a_reader(
    plain_place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain_place.create().close()
    monkeypatch.setattr("storage.database.migrate.VERSION", "0004")
    with pytest.raises(OlderSchema, match="has schema 0003, older than 0004"):
        plain_place.open(read_only=True)


BAD_URLS = [
    "postgresql+psycopg://me:hidden-word@127.0.0.1:1/none?connect_timeout=2",
    "postgresql+psycopg://me@127.0.0.1:1/none?password=hidden-word&connect_timeout=2",
    "postgresql+psycopg://me:hidden-word@127.0.0.1:1/none?no_such_option=hidden-word",
]


@pytest.mark.parametrize("url", BAD_URLS)
def test_no_password_in_an_error(tmp_path: Path, url: str) -> None:
    with pytest.raises((DatabaseUnavailable, GalleryMismatch), match=r"127\.0\.0\.1") as caught:
        Gallery.open(tmp_path / "g", url=url, create=True)
    shown: list[str] = []
    error: BaseException | None = caught.value
    while error is not None:
        shown += [str(error), repr(error)]
        error = (
            error.__cause__
            if error.__cause__ is not None or error.__suppress_context__
            else error.__context__
        )
    assert not any("hidden-word" in text for text in shown)


def test_an_unreachable_server_comes_back(tmp_path: Path, postgresql_url: str) -> None:
    """The folder was marked when the server did not answer: the next try goes on."""
    with pytest.raises(DatabaseUnavailable, match="cannot be reached"):
        Gallery.open(tmp_path / "g", url=BAD_URLS[0], create=True)
    with Gallery.open(tmp_path / "g", url=postgresql_url, create=True) as gallery:
        assert gallery.backend == "postgresql"


@pytest.mark.parametrize(
    "url", ["nonsense", "", "mysql://me:hidden-word@h/d", "postgresql+nodriver://h/d", "://", "sqlite://"]
)
def test_unusable_urls(tmp_path: Path, url: str) -> None:
    with pytest.raises(GalleryMismatch) as caught:
        Gallery.open(tmp_path / "g", url=url, create=True)
    assert "hidden-word" not in str(caught.value)
    assert not (tmp_path / "g").exists()


def test_a_lock_held_for_too_long_is_named(sqlite_place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.database.engine.BUSY_TIMEOUT_S", 0.1)
    with sqlite_place.create() as gallery:
        fill(gallery, 1)
        blocker = sqlite3.connect(sqlite_place.folder / "gallery.db", isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        try:
            with pytest.raises(DatabaseUnavailable, match="another process has been writing"):
                gallery.update_source(1, 5)
            assert len(list(gallery.tracklets())) == 1  # readers go on
        finally:
            blocker.close()
        gallery.update_source(1, 5)
