"""Disks that are full, or cannot be written."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest

from storage.errors import GalleryFull, GalleryReadOnly
from storage.gallery import Gallery
from tests.storage.making import SPEC, Place, fill, random_vectors, read_only_disk, small_disk, tracklet

ROOT = Path(__file__).resolve().parents[2]


def filled(folder: Path) -> None:
    with Gallery.open(folder, create=True) as gallery:
        fill(gallery, 5)


def read_everything(gallery: Gallery) -> None:
    assert gallery.read_only
    (hits,) = gallery.search(random_vectors(1, seed=2), SPEC, 5)
    assert hits[0].record.track_id == 2
    assert len(hits) == 5
    assert len(gallery.crops(hits[0].record.id)) == 3
    with pytest.raises(GalleryReadOnly, match=r"cannot be written"):
        fill(gallery, 1, first=10)
    with pytest.raises(GalleryReadOnly, match=r"cannot be written"):
        gallery.delete_tracklets([1])


def test_a_gallery_on_a_read_only_disk(tmp_path: Path) -> None:
    filled(tmp_path / "disk")
    names = sorted(path.name for path in (tmp_path / "disk").iterdir())
    with read_only_disk(tmp_path / "disk") as seen:
        with Gallery.open(seen) as gallery:
            read_everything(gallery)
        with Gallery.open(seen, create=True) as gallery:
            read_everything(gallery)
        with pytest.raises(GalleryReadOnly):
            Gallery.open(seen / "new", create=True)
    assert sorted(path.name for path in (tmp_path / "disk").iterdir()) == names


def test_a_read_only_view_of_a_gallery_that_somebody_else_writes(tmp_path: Path) -> None:
    filled(tmp_path / "disk")
    with read_only_disk(tmp_path / "disk") as seen, Gallery.open(seen) as reader:
        assert len(reader.search(random_vectors(1), SPEC, 99)[0]) == 5
        with Gallery.open(tmp_path / "disk") as writer:
            for number in range(5, 9):
                (added,) = fill(writer, 1, first=number)
                found = {hit.record.id for hit in reader.search(random_vectors(1), SPEC, 99)[0]}
                assert added in found
                assert len(found) == number + 1
        assert len(reader.search(random_vectors(1), SPEC, 99)[0]) == 9


def test_a_gallery_on_a_read_only_disk_that_was_not_closed(tmp_path: Path) -> None:
    filled(tmp_path / "disk")
    (tmp_path / "copy").mkdir()
    with Gallery.open(tmp_path / "disk") as gallery:
        fill(gallery, 1, first=6)
        for name in ("gallery.json", "gallery.db", "gallery.db-wal"):  # as a crash would leave them
            shutil.copy(tmp_path / "disk" / name, tmp_path / "copy" / name)
    closed = pytest.raises(GalleryReadOnly, match="not closed properly")
    with read_only_disk(tmp_path / "copy") as seen, closed:
        Gallery.open(seen)
    with Gallery.open(tmp_path / "copy") as gallery:
        assert gallery.counts()["tracklets"] == 6


def test_a_folder_without_write_permission() -> None:
    """In a process without root's privileges, which permissions do not bind."""
    program = """
import os, sys
from pathlib import Path
import numpy.random  # later, another user might not be allowed to read the interpreter's own folder
sys.path.insert(0, sys.argv[1])
from storage.gallery import Gallery
from tests.storage.test_disks import read_everything
if os.geteuid() == 0:
    os.setgid(65534); os.setuid(65534)
with Gallery.open(Path(sys.argv[2])) as gallery:
    read_everything(gallery)
print("read all")
"""
    with tempfile.TemporaryDirectory() as parent:  # pytest's own folders are closed to others
        folder = Path(parent, "gallery")
        filled(folder)
        Path(parent).chmod(0o755)
        inside = [folder, *folder.rglob("*")]
        for path in inside:
            path.chmod(0o555 if path.is_dir() else 0o444)
        command = [sys.executable, "-c", program, str(ROOT), str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        for path in inside:
            path.chmod(0o755)
    assert done.stdout.strip() == "read all", done.stderr


def used_by(gallery: Gallery) -> list[str]:
    return sorted(path.name for path in (gallery.folder / "media").rglob("*") if path.is_file())


def add_until_full(gallery: Gallery, source: int) -> None:
    for number in range(1000):
        crops = tuple(b"\xff\xd8" + os.urandom(5000) for _ in range(3))
        gallery.add_tracklets(source, [tracklet(number, crops=crops)], SPEC)


def fill_up(file: Path) -> None:
    with file.open("wb", buffering=0) as ballast:
        while True:
            ballast.write(b"\0" * 4096)


def test_a_full_disk() -> None:
    with small_disk("2m") as disk:
        (disk / "something else").write_bytes(b"\0" * 400_000)
        with Gallery.open(disk / "gallery", create=True) as gallery:
            source = gallery.begin_source("door", "a", "f", 0.0, "s").id
            with pytest.raises(GalleryFull, match=r"no space left.*gallery") as caught:
                add_until_full(gallery, source)
            assert isinstance(caught.value, OSError)
            records = list(gallery.tracklets())
            assert len(records) == gallery.counts()["embeddings"] > 3
            assert used_by(gallery) == sorted(f"{r.id}{end}" for r in records for end in (".jpg", ".mjpeg"))
            assert len(gallery.search(random_vectors(1), SPEC, 1000)[0]) == len(records)
            (disk / "something else").unlink()
            assert gallery.add_tracklets(source, [tracklet(5000)], SPEC)
        with Gallery.open(disk / "gallery") as gallery:
            assert gallery.counts()["tracklets"] == len(records) + 1


@pytest.mark.parametrize("size", ["200k", "1000k", "1200k"])
def test_a_disk_too_small_for_a_new_gallery_is_full(size: str) -> None:
    """With 1200k the tables fit into the log, and the log not into the file."""
    with small_disk(size) as disk, pytest.raises(GalleryFull, match=r"no space left.*gallery"):
        Gallery.open(disk / "gallery", create=True)


def test_a_disk_that_the_database_fills() -> None:
    """The write-ahead log is what meets the end."""
    with small_disk("1800k") as disk:
        with Gallery.open(disk / "gallery", create=True) as gallery:
            source = gallery.begin_source("door", "a", "f", 0.0, "s").id
            ids = gallery.add_tracklets(source, [tracklet(number) for number in range(4)], SPEC)
            with pytest.raises(OSError, match="No space"):
                fill_up(disk / "ballast")
            with pytest.raises(GalleryFull, match=r"no space left.*gallery"):
                gallery.finish_source(source, {"text": "x" * 100_000})
            with pytest.raises(GalleryFull, match=r"no space left.*gallery"):
                gallery.add_tracklets(source, [tracklet(9)], SPEC)
            assert gallery.sources()[0].status == "running"
            assert [record.id for record in gallery.tracklets()] == ids
            (disk / "ballast").unlink()
            gallery.finish_source(source, {"text": "x" * 100_000})
        with Gallery.open(disk / "gallery") as gallery:
            assert gallery.sources()[0].status == "complete"
            assert [record.id for record in gallery.tracklets()] == ids


@pytest.mark.parametrize("batch", [20, 1000])
def test_a_full_disk_gets_room_by_deleting_the_oldest(batch: int) -> None:
    """Not even the log has room for the deletion of one row."""
    with small_disk("4m") as disk, Gallery.open(disk / "gallery", create=True) as gallery:
        source = gallery.begin_source("door", "a", "f", 0.0, "s").id
        gallery.finish_source(source, {"text": "x" * 300_000})  # in the log, not yet in the database file
        with pytest.raises(GalleryFull):
            add_until_full(gallery, source)
        with pytest.raises(OSError, match="No space"):
            fill_up(disk / "ballast")
        assert gallery.free_bytes() == 0
        stored = gallery.counts()["tracklets"]
        while oldest := gallery.oldest_tracklets(batch):
            assert gallery.delete_tracklets(oldest) == len(oldest)
            stored -= len(oldest)
            records = list(gallery.tracklets())
            assert len(records) == stored == gallery.counts()["embeddings"]
            assert used_by(gallery) == sorted(f"{r.id}{end}" for r in records for end in (".jpg", ".mjpeg"))
        assert (gallery.folder / "gallery.db-wal").stat().st_size == 0  # merged as soon as there was room
        assert gallery.free_bytes() > 1_000_000
        assert gallery.add_tracklets(source, [tracklet(5000)], SPEC)


def test_the_log_of_a_full_disk_is_merged_later() -> None:
    with small_disk("3m") as disk, Gallery.open(disk / "gallery", create=True) as gallery:
        source = gallery.begin_source("door", "a", "f", 0.0, "s").id
        gallery.finish_source(source, {"text": "x" * 300_000})  # in the log, not yet in the database file
        with pytest.raises(OSError, match="No space"):
            fill_up(disk / "ballast")
        assert not gallery._database.merge_log()
        assert len(gallery.sources()[0].counts["text"]) == 300_000
        (disk / "ballast").unlink()
        assert gallery._database.merge_log()
        assert (gallery.folder / "gallery.db-wal").stat().st_size == 0


def test_a_gallery_on_a_disk_without_any_room_is_opened_alone_and_can_be_deleted_from() -> None:
    with small_disk("4m") as disk:
        with Gallery.open(disk / "gallery", create=True) as gallery:
            ids = fill(gallery, 60)
        with suppress(OSError), (disk / "others").open("wb", buffering=0) as file:
            while True:
                file.write(b"x" * 4096)
        with pytest.raises(GalleryFull):
            Gallery.open(disk / "gallery")
        with Gallery.open(disk / "gallery", alone=True) as gallery:
            assert gallery.delete_tracklets(ids[:30]) == 30
        with Gallery.open(disk / "gallery") as gallery:
            assert [record.id for record in gallery.tracklets()] == ids[30:]


def test_no_room_for_a_new_gallery() -> None:
    with small_disk("40k") as disk:
        with pytest.raises(GalleryFull, match="no space left"):
            Gallery.open(disk / "gallery", create=True)
        assert not [path for path in (disk / "gallery").rglob("*") if path.name.startswith(".")]


def test_a_folder_where_nothing_can_be_made(sqlite_place: Place) -> None:
    sqlite_place.folder.parent.joinpath("file").write_text("")
    with pytest.raises(OSError, match="file"):
        Gallery.open(sqlite_place.folder.parent / "file" / "gallery", create=True)
