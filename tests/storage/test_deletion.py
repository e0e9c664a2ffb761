"""What is deleted is gone everywhere, and what dead processes left is swept."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

from storage.errors import GalleryDamaged, TrackletNotFound
from storage.gallery import Gallery
from tests.storage.making import OTHER, SPEC, Place, fill, random_vectors, tracklet


def test_a_deleted_tracklet_is_gone_everywhere(place: Place) -> None:
    with place.create() as gallery:
        ids = fill(gallery, 6)
        new = gallery.generations.begin(OTHER).id
        gallery.generations.add(new, ids, random_vectors(6, dimension=8))
        gallery.search(random_vectors(1), SPEC, 3)
    assert list(place.folder.glob("index/*.faiss"))
    with place.open() as gallery:
        gallery.search(random_vectors(1), SPEC, 3)
        victim = gallery.tracklet(ids[2])
        vector = gallery.embedding(ids[2])
        assert gallery.delete_tracklets([ids[2], ids[2], 999]) == 1
        assert not list(place.folder.glob("index/*"))
        assert not list(place.folder.glob(f"media/*/{ids[2]}.*"))
        assert gallery.search(vector[None], SPEC, 10)[0][0].record.id != ids[2]
        for ask in (gallery.tracklet, gallery.trajectory, gallery.crops, gallery.embedding):
            with pytest.raises(TrackletNotFound):
                ask(ids[2])
        assert [generation.num_embeddings for generation in gallery.generations.all()] == [5, 5]
        assert gallery.delete_tracklets([ids[2]]) == 0
        assert not victim.thumbnail.exists()
    with place.open() as gallery:
        assert {hit.record.id for hit in gallery.search(vector[None], SPEC, 10)[0]} == {*ids} - {ids[2]}


def test_no_byte_of_a_deleted_embedding_stays_in_the_file(sqlite_place: Place) -> None:
    marked = random_vectors(1, seed=1234)[0]
    pattern = marked.astype("<f2").tobytes()
    with sqlite_place.create() as gallery:
        source = gallery.begin_source("door", "a", "f", 0.0, "s").id
        ids = gallery.add_tracklets(source, [tracklet(i, marked if i == 3 else None) for i in range(8)], SPEC)
        gallery.delete_tracklets([ids[3]])
        files = list(sqlite_place.folder.glob("gallery.db*"))
        assert not any(pattern in file.read_bytes() for file in files)
        assert any(gallery_bytes.count(b"crop-1") for gallery_bytes in (file.read_bytes() for file in files))


def test_ids_are_never_used_again(place: Place) -> None:
    used: set[int] = set()
    for round_number in range(3):
        with place.create() as gallery:
            ids = fill(gallery, 5, first=10 * round_number)
            assert not used & set(ids)
            used |= set(ids)
            gallery.delete_tracklets(ids)
    with place.open() as gallery:
        door = gallery.sources()[0].id
        gallery.restart_source(door)
        assert not used & set(fill(gallery, 1))


def test_more_ids_than_a_statement_may_name(gallery: Gallery) -> None:
    ids = fill(gallery, 12)
    assert gallery.delete_tracklets(range(ids[2], 40_000)) == 10
    assert [record.id for record in gallery.tracklets()] == ids[:2]


def test_the_sweep_removes_what_dead_processes_left(gallery: Gallery) -> None:
    ids = fill(gallery, 3)
    media, index = gallery.folder / "media", gallery.folder / "index"
    shelf = gallery.tracklet(ids[0]).thumbnail.parent
    orphans = [shelf / "900.jpg", shelf / "900.mjpeg", shelf / "stray.txt"]
    young, old = media / "incoming" / "aaa.jpg", media / "incoming" / "bbb.mjpeg"
    half = index / ".x.faiss.123"
    scratch = gallery.work_folder / "run-1"
    for file in (*orphans, young, old, half, scratch):
        file.write_bytes(b"left")
    for file in (old, half):
        os.utime(file, (1000.0, 1000.0))
    assert gallery.sweep() == {"files_removed": 5, "tracklets_without_crops": 0}
    assert young.exists()
    assert scratch.exists()  # the pipeline's own
    assert not any(file.exists() for file in (*orphans, old, half))
    assert gallery.sweep(now=young.stat().st_mtime + 100, grace_s=50)["files_removed"] == 1
    assert [len(gallery.crops(number)) for number in ids] == [3, 3, 3]


def test_the_sweep_removes_half_made_exports_and_clips(gallery: Gallery) -> None:
    dead, alive = gallery.work_folder / "tmpdead", gallery.work_folder / "tmpalive"
    loose, boxes = gallery.work_folder / "tmploose", gallery.work_folder / "000001.boxes"
    for folder in (dead, alive):
        (folder / "pictures").mkdir(parents=True)
        (folder / "pictures" / "1.jpg").write_bytes(b"picture")
        (folder / "case.zip").write_bytes(b"half")
    for file in (loose, boxes):
        file.write_bytes(b"left")
    everything = [dead, *dead.rglob("*"), alive, *alive.rglob("*"), loose, boxes]
    for each in everything:
        os.utime(each, (1000.0, 1000.0))
    written = alive / "case.zip"  # an export of hours: only this file grows
    os.utime(written, (9000.0, 9000.0))
    assert gallery.sweep(now=9000.0 + 3600.0)["files_removed"] == 3
    assert sorted(gallery.work_folder.iterdir()) == [boxes, alive]
    assert written.exists()
    assert gallery.sweep(now=9001.0 + 3600.0)["files_removed"] == 2
    assert list(gallery.work_folder.iterdir()) == [boxes]


def test_missing_and_short_crops_are_reported(gallery: Gallery) -> None:
    ids = fill(gallery, 3)
    crops = gallery.tracklet(ids[0]).thumbnail.with_suffix(".mjpeg")
    crops.unlink()
    gallery.tracklet(ids[1]).thumbnail.unlink()
    assert gallery.sweep() == {"files_removed": 0, "tracklets_without_crops": 2}
    with pytest.raises(GalleryDamaged, match=r"mjpeg is missing"):
        gallery.crops(ids[0])
    short = gallery.tracklet(ids[2]).thumbnail.with_suffix(".mjpeg")
    short.write_bytes(short.read_bytes()[:-1])
    with pytest.raises(GalleryDamaged, match=r"cut short"):
        gallery.crops(ids[2])
    with pytest.raises(IndexError, match="crops 0 to 2"):
        gallery.crops(ids[2], [3])


def test_a_failure_in_mid_write_leaves_nothing(gallery: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files have their names and the rows are written when the embeddings cannot be."""
    kept = fill(gallery, 2)

    def fail(*_: object) -> None:
        raise RuntimeError("power of the test")

    with monkeypatch.context() as patched:
        patched.setattr("storage.database.generations.add", fail)
        with pytest.raises(RuntimeError):
            fill(gallery, 3, first=2)
    assert [record.id for record in gallery.tracklets()] == kept
    files = [file for file in gallery.folder.glob("media/**/*") if file.is_file()]
    assert {int(file.stem) for file in files} == set(kept)
    assert len(fill(gallery, 3, first=2)) == 3


def test_a_deletion_that_was_cut_off_is_finished_by_the_sweep(gallery: Gallery) -> None:
    ids = fill(gallery, 4)
    with gallery._database.writing() as connection:  # the process dies right after this commit
        connection.execute(sa.text(f"DELETE FROM tracklets WHERE id = {ids[1]}"))
    assert gallery.sweep() == {"files_removed": 2, "tracklets_without_crops": 0}
    assert not list(Path(gallery.folder).glob(f"media/*/{ids[1]}.*"))
    np.testing.assert_array_equal([record.id for record in gallery.tracklets()], [ids[0], *ids[2:]])
