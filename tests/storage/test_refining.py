"""A tracklet of a person in view is stored early, and replaced in place when more of it is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from storage import intake
from storage.errors import GalleryDamaged
from storage.gallery import Gallery
from storage.media import MediaFolder
from storage.records import GalleryFilter, NewTracklet
from tests.storage.making import OTHER, SPEC, Place, fill, random_vectors, version


def source_of(gallery: Gallery) -> int:
    return gallery.begin_source("door", "door.mp4", "fingerprint", 1000.0, "settings", live=True).id


def assert_stored(gallery: Gallery, tracklet_id: int, expected: NewTracklet) -> None:
    record = gallery.tracklet(tracklet_id)
    assert (record.start, record.end) == (expected.timestamps[0], expected.timestamps[-1])
    assert (record.num_frames, record.finished) == expected.extent
    assert record.quality == expected.quality
    assert record.thumbnail.read_bytes() == expected.crops[expected.thumbnail]
    assert gallery.crops(tracklet_id) == list(expected.crops)
    np.testing.assert_array_equal(gallery.crop_positions(tracklet_id), expected.crop_positions)
    np.testing.assert_array_equal(gallery.trajectory(tracklet_id).xyxy, expected.xyxy)
    np.testing.assert_allclose(gallery.embedding(tracklet_id), expected.embedding, atol=1e-3)


def media_names(gallery: Gallery) -> list[str]:
    return sorted(file.name for file in gallery.folder.glob("media/*/*"))


def test_more_frames_replace_fewer_and_nothing_else_does(gallery: Gallery) -> None:
    source = source_of(gallery)
    (first,) = gallery.add_tracklets(source, [version(0, 20)], SPEC)
    assert_stored(gallery, first, version(0, 20))
    assert media_names(gallery) == [f"{first}.jpg", f"{first}.mjpeg"]
    assert gallery.add_tracklets(source, [version(0, 30)], SPEC) == [first]
    assert_stored(gallery, first, version(0, 30))
    assert media_names(gallery) == [f"{first}.1.jpg", f"{first}.1.mjpeg"]
    for fewer in (version(0, 30, quality=0.9), version(0, 29), version(0, 1, finished=True)):
        assert gallery.add_tracklets(source, [fewer], SPEC) == [first]
        assert_stored(gallery, first, version(0, 30))
    assert gallery.stored_tracklets(source) == {(0, 5): 30}
    assert gallery.counts()["tracklets"] == gallery.counts()["embeddings"] == 1
    assert gallery.sweep(grace_s=0.0) == {"files_removed": 0, "tracklets_without_crops": 0}


def test_the_last_version_of_a_track_finishes_it(gallery: Gallery) -> None:
    source = source_of(gallery)
    (first,) = gallery.add_tracklets(source, [version(0, 20)], SPEC)
    gallery.add_tracklets(source, [version(0, 20, finished=True, quality=0.9)], SPEC)
    assert_stored(gallery, first, version(0, 20, finished=True))
    gallery.add_tracklets(source, [version(0, 20)], SPEC)
    assert gallery.tracklet(first).finished
    gallery.add_tracklets(source, [version(0, 21)], SPEC)  # it was in view after all
    assert_stored(gallery, first, version(0, 21))


def test_of_several_versions_in_one_call_the_longest_is_stored(gallery: Gallery) -> None:
    source = source_of(gallery)
    given = [version(0, 20), version(0, 40), version(1, 10), version(0, 40, finished=True), version(0, 30)]
    ids = gallery.add_tracklets(source, given, SPEC)
    assert [ids[0]] * 5 == [*ids[:2], ids[0], *ids[3:]]
    assert_stored(gallery, ids[0], version(0, 40, finished=True))
    assert_stored(gallery, ids[2], version(1, 10))


def test_refining_reaches_the_index_in_place(gallery: Gallery) -> None:
    source = source_of(gallery)
    fill(gallery, 20, camera="yard", first=100)
    (first, second) = gallery.add_tracklets(source, [version(0, 20), version(1, 20)], SPEC)
    assert best(gallery, version(0, 20)) == (first, 1.0)
    revision = gallery._index._view.revision
    gallery.add_tracklets(source, [version(0, 30), version(2, 10)], SPEC)
    assert best(gallery, version(0, 30)) == (first, 1.0)
    assert best(gallery, version(0, 20))[1] < 0.99
    assert best(gallery, version(1, 20)) == (second, 1.0)
    assert len(gallery.search(random_vectors(1), SPEC, 100)[0]) == 23
    assert gallery._index._view.revision == revision
    late = GalleryFilter(start=1002.5, end=1003.0, cameras=frozenset(["door"]))
    assert [hit.record.id for hit in gallery.search(random_vectors(1), SPEC, 9, late)[0]] != []
    assert first in {hit.record.id for hit in gallery.search(random_vectors(1), SPEC, 9, late)[0]}


def best(gallery: Gallery, given: NewTracklet) -> tuple[int, float]:
    (hits,) = gallery.search(given.embedding[None], SPEC, 1)
    return hits[0].record.id, round(hits[0].similarity, 3)


def ranking(gallery: Gallery) -> list[tuple[int, float, float]]:
    (hits,) = gallery.search(random_vectors(1, seed=77), SPEC, 10_000)
    return [(hit.record.id, hit.similarity, hit.record.end) for hit in hits]


def fresh_ranking(place: Place) -> list[tuple[int, float, float]]:
    """As an index answers that read everything from the database."""
    with place.open(read_only=True) as gallery:
        gallery._snapshots.load = lambda *_: None  # type: ignore[method-assign]
        return ranking(gallery)


def test_a_snapshot_from_before_a_refinement(place: Place) -> None:
    with place.create() as gallery:
        source = source_of(gallery)
        gallery.add_tracklets(source, [version(number, 20) for number in range(10)], SPEC)
        ranking(gallery)
    assert list(place.folder.glob("index/*.faiss"))
    with place.open() as gallery:
        gallery.add_tracklets(source, [version(3, 25), version(9, 30), version(10, 5)], SPEC)
    with place.open() as gallery:
        assert ranking(gallery) == fresh_ranking(place)
        gallery.add_tracklets(source, [version(3, 35)], SPEC)
        gallery.delete_tracklets([gallery.add_tracklets(source, [version(4, 99)], SPEC)[0]])
        assert ranking(gallery) == fresh_ranking(place)
        assert len(ranking(gallery)) == 10


def test_other_generations_are_embedded_again(gallery: Gallery) -> None:
    source = source_of(gallery)
    ids = gallery.add_tracklets(source, [version(number, 20) for number in range(3)], SPEC)
    new = gallery.generations.begin(OTHER).id
    gallery.generations.add(new, ids, random_vectors(3, dimension=8))
    gallery.add_tracklets(source, [version(1, 21), version(2, 20, finished=True)], SPEC)
    assert gallery.generations.missing(new) == ids[1:2]
    assert gallery.generations.missing(1) == []


def test_an_embedding_of_crops_that_were_replaced_meanwhile_is_left_out(gallery: Gallery) -> None:
    source = source_of(gallery)
    ids = gallery.add_tracklets(source, [version(number, 20) for number in range(4)], SPEC)
    new = gallery.generations.begin(OTHER).id
    frames = gallery.num_frames([*ids, 999])
    assert frames == dict.fromkeys(ids, 20)
    gallery.add_tracklets(source, [version(1, 21)], SPEC)
    gallery.delete_tracklets(ids[3:])
    assert gallery.generations.add(new, ids, random_vectors(4, dimension=8), frames) == 2
    assert gallery.generations.missing(new) == ids[1:2]
    np.testing.assert_allclose(gallery.embedding(ids[2], new), random_vectors(4, dimension=8)[2], atol=1e-3)


def test_a_reader_that_comes_between_row_and_file(gallery: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files that the row named are gone when they are opened."""
    source = source_of(gallery)
    (first,) = gallery.add_tracklets(source, [version(0, 20)], SPEC)
    read = MediaFolder.read
    lengths = iter([30, 40])

    def refine_before_reading(*arguments: Any) -> list[bytes]:
        if (longer := next(lengths, None)) is not None:
            gallery.add_tracklets(source, [version(0, longer)], SPEC)
        return read(*arguments)

    monkeypatch.setattr(MediaFolder, "read", refine_before_reading)
    assert gallery.crops(first) == list(version(0, 40).crops)


def test_a_thumbnail_that_is_replaced_while_it_is_read(
    gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = source_of(gallery)
    (first,) = gallery.add_tracklets(source, [version(0, 20)], SPEC)
    read = MediaFolder.read_thumbnail
    lengths = iter([30])

    def refine_before_reading(*arguments: Any) -> bytes:
        if (longer := next(lengths, None)) is not None:
            gallery.add_tracklets(source, [version(0, longer)], SPEC)
        return read(*arguments)

    monkeypatch.setattr(MediaFolder, "read_thumbnail", refine_before_reading)
    given = version(0, 30)
    assert gallery.thumbnail(first) == given.crops[given.thumbnail]
    gallery.tracklet(first).thumbnail.unlink()
    with pytest.raises(GalleryDamaged, match=r"\.1\.jpg is missing"):
        gallery.thumbnail(first)


def test_a_refinement_that_fails_leaves_the_old_version(
    gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = source_of(gallery)
    (first,) = gallery.add_tracklets(source, [version(0, 20)], SPEC)
    names = media_names(gallery)

    def fail(*_: object) -> None:
        raise RuntimeError("power of the test")

    with monkeypatch.context() as patched:
        patched.setattr("storage.database.generations.add", fail)
        with pytest.raises(RuntimeError):
            gallery.add_tracklets(source, [version(0, 30), version(1, 20)], SPEC)
    assert_stored(gallery, first, version(0, 20))
    assert media_names(gallery) == names
    gallery.add_tracklets(source, [version(0, 30)], SPEC)
    assert_stored(gallery, first, version(0, 30))


@pytest.mark.parametrize("num_frames", [20, 30])
def test_a_tracklet_that_is_deleted_while_it_is_refined_is_stored_anew(
    gallery: Gallery, monkeypatch: pytest.MonkeyPatch, num_frames: int
) -> None:
    source = source_of(gallery)
    (first,) = gallery.add_tracklets(source, [version(0, 20)], SPEC)
    begin = intake._Intake

    def delete_after_the_first_look(*arguments: Any) -> Any:
        gallery.delete_tracklets([first])
        return begin(*arguments)

    monkeypatch.setattr(intake, "_Intake", delete_after_the_first_look)
    (second,) = gallery.add_tracklets(source, [version(0, num_frames)], SPEC)
    assert second != first
    assert_stored(gallery, second, version(0, num_frames))
    assert all(name.startswith(f"{second}.") for name in media_names(gallery))
