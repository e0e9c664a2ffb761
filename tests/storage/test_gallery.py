"""What goes into a gallery comes out again, on both back ends."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from storage.errors import GalleryReadOnly, SourceNotFound, TrackletNotFound
from storage.gallery import Gallery
from storage.records import CameraSummary, GalleryFilter
from tests.storage.making import OTHER, SPEC, Place, fill, random_vectors, tracklet


def test_a_tracklet_comes_back_as_it_went_in(gallery: Gallery) -> None:
    source = gallery.begin_source("Küche ✓ 厨房", "/videos/a b.mp4", "f1", 990.0, "s")
    given = tracklet(7, quality=0.25)
    (tracklet_id,) = gallery.add_tracklets(source.id, [given], SPEC)
    record = gallery.tracklet(tracklet_id)
    assert record.id == tracklet_id
    assert (record.camera, record.source, record.track_id) == ("Küche ✓ 厨房", "/videos/a b.mp4", 7)
    assert (record.start, record.end, record.num_frames, record.quality) == (1007.0, 1007.9, 10, 0.25)
    assert record.thumbnail.is_absolute()
    assert record.thumbnail.read_bytes() == given.crops[1]
    stored = gallery.trajectory(tracklet_id)
    for name in ("frame_indices", "timestamps", "xyxy", "confidence"):
        np.testing.assert_array_equal(getattr(stored, name), getattr(given, name))
        assert getattr(stored, name).dtype == getattr(given, name).dtype
    assert gallery.crops(tracklet_id) == list(given.crops)
    assert gallery.crops(tracklet_id, [2, 0]) == [given.crops[2], given.crops[0]]
    np.testing.assert_array_equal(gallery.crop_positions(tracklet_id), [0, 2, 4])
    vector = gallery.embedding(tracklet_id)
    np.testing.assert_allclose(vector, given.embedding, atol=1e-3)
    assert vector.dtype == np.float32
    assert abs(np.linalg.norm(vector) - 1) < 1e-6


def test_numbers_of_numpy_are_numbers(gallery: Gallery) -> None:
    source = gallery.begin_source("door", "a", "f", np.float32(5.0), "s")
    gallery.update_source(source.id, np.int64(7))
    given = tracklet(np.int64(3), quality=np.float32(0.5), thumbnail=np.int32(2))
    (tracklet_id,) = gallery.add_tracklets(np.int64(source.id), [given], SPEC)
    number = np.int64(tracklet_id)
    assert gallery.tracklet(number).track_id == 3
    assert gallery.crops(number, np.array([2])) == [gallery.tracklet(number).thumbnail.read_bytes()]
    assert gallery.trajectory(number).frame_indices[0] == 5
    assert gallery.embedding(number, np.int64(1)).shape == (16,)
    filter = GalleryFilter(start=np.float32(0), end=np.float64(2000), min_quality=np.float32(0.25))
    assert len(list(gallery.tracklets(filter))) == 1
    assert list(gallery.tracklets(after_id=number)) == []
    assert gallery.sources()[0].num_frames_done == 7
    generation = gallery.generations.begin(OTHER).id
    assert gallery.generations.add(generation, np.array([tracklet_id]), random_vectors(1, dimension=8)) == 1
    assert gallery.delete_tracklets(np.array([tracklet_id])) == 1


def test_counts_must_be_json(gallery: Gallery) -> None:
    source = gallery.begin_source("door", "a", "f", 0.0, "s").id
    for bad in ({"a": float("nan")}, {"a": object()}, {"a": np.int64(3)}):
        with pytest.raises(ValueError, match="counts must be JSON"):
            gallery.finish_source(source, bad)
    assert gallery.sources()[0].status == "running"


def test_an_empty_gallery(gallery: Gallery) -> None:
    assert list(gallery.tracklets()) == []
    assert gallery.search(random_vectors(2), SPEC, 5) == [[], []]
    assert gallery.generations.current() is None
    assert gallery.cameras() == []
    assert gallery.counts() == {"tracklets": 0, "sources": 0, "cameras": 0, "embeddings": 0, "generations": 0}
    assert gallery.delete_tracklets([]) == 0
    assert gallery.sweep() == {"files_removed": 0, "tracklets_without_crops": 0}


def test_what_does_not_exist_is_named(gallery: Gallery) -> None:
    for ask in (
        gallery.tracklet,
        gallery.trajectory,
        gallery.crops,
        gallery.crop_positions,
        gallery.embedding,
    ):
        with pytest.raises(TrackletNotFound, match="no tracklet has the id 41"):
            ask(41)
    with pytest.raises(TrackletNotFound, match="41"):
        list(gallery.tracklets(after_id=41))
    for write in (gallery.restart_source, lambda number: gallery.update_source(number, 1)):
        with pytest.raises(SourceNotFound, match="41"):
            write(41)
    with pytest.raises(SourceNotFound, match="41"):
        gallery.add_tracklets(41, [tracklet()], SPEC)
    assert not list(gallery.folder.glob("media/*/*"))


def test_the_same_source_again_is_the_same_source(gallery: Gallery) -> None:
    first = gallery.begin_source("door", "a.mp4", "f", 5.0, "s")
    assert (first.status, first.num_frames_done, first.counts) == ("running", 0, {})
    gallery.update_source(first.id, 120)
    assert gallery.begin_source("door", "moved.mp4", "f", 5.0, "s").num_frames_done == 120
    gallery.finish_source(first.id, {"frames": 240, "rejected": {"short": 3}})
    again = gallery.begin_source("door", "a.mp4", "f", 5.0, "s")
    assert (again.id, again.status, again.counts) == (
        first.id,
        "complete",
        {"frames": 240, "rejected": {"short": 3}},
    )
    assert gallery.begin_source("yard", "a.mp4", "f", 5.0, "s").id != first.id
    assert [source.camera for source in gallery.sources()] == ["door", "yard"]


def test_one_camera_has_one_spelling(gallery: Gallery) -> None:
    composed, decomposed = "K\u00fcche", "Ku\u0308che"
    first = gallery.begin_source(composed, "a", "f", 0.0, "s")
    assert gallery.begin_source(decomposed, "a", "f", 0.0, "s").id == first.id
    gallery.add_tracklets(first.id, [tracklet()], SPEC)
    assert len(list(gallery.tracklets(GalleryFilter(cameras=frozenset([decomposed]))))) == 1


def test_a_uri_that_is_not_text_is_still_kept(gallery: Gallery) -> None:
    source = gallery.begin_source("door", "/videos/caf\udce9\x00.mp4", "f", 0.0, "s")
    assert source.uri == "/videos/caf\\udce9\\x00.mp4"


@pytest.mark.parametrize("camera", ["", "  ", "a\nb", "nul\x00", "half\udce9"])
def test_a_camera_needs_a_readable_name(sqlite_place: Place, camera: str) -> None:
    with sqlite_place.create() as gallery, pytest.raises(ValueError, match="camera name"):
        gallery.begin_source(camera, "a", "f", 0.0, "s")


def test_adding_again_adds_nothing(gallery: Gallery) -> None:
    source = gallery.begin_source("door", "a", "f", 0.0, "s")
    first = gallery.add_tracklets(source.id, [tracklet(1), tracklet(2)], SPEC)
    again = gallery.add_tracklets(source.id, [tracklet(3), tracklet(2), tracklet(1), tracklet(3)], SPEC)
    assert again[1:3] == first[::-1]
    assert again[0] == again[3]
    assert gallery.counts()["tracklets"] == gallery.counts()["embeddings"] == 3
    assert gallery.stored_tracklets(source.id) == {(1, 5): 10, (2, 5): 10, (3, 5): 10}
    assert gallery.add_tracklets(source.id, [tracklet(1, first_frame=900)], SPEC)[0] not in first
    assert len(list(gallery.folder.glob("media/*/*"))) == 8
    assert gallery.add_tracklets(source.id, [], SPEC) == []


def test_ids_follow_the_order_given(gallery: Gallery) -> None:
    ids = fill(gallery, 50)
    assert ids == sorted(ids)
    assert [gallery.tracklet(number).track_id for number in ids] == list(range(50))


def test_an_embedding_of_another_length_is_refused(gallery: Gallery) -> None:
    source = gallery.begin_source("door", "a", "f", 0.0, "s")
    wrong = tracklet(1, random_vectors(1, dimension=8)[0])
    with pytest.raises(ValueError, match=r"\(-1, 16\).*\(1, 8\)"):
        gallery.add_tracklets(source.id, [tracklet(0), wrong], SPEC)
    assert gallery.counts()["tracklets"] == 0
    assert not list(gallery.folder.glob("media/*/*"))


def test_tracklets_come_by_time_then_id_and_page_by_page(
    gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.gallery._PAGE", 7)
    source = gallery.begin_source("door", "a", "f", 0.0, "s")
    starts = [30.0, 10.0, 20.0, 10.0, 10.0] * 4
    ids = gallery.add_tracklets(source.id, [tracklet(i, start=start) for i, start in enumerate(starts)], SPEC)
    expected = [number for _, number in sorted(zip(starts, ids, strict=True))]
    assert [record.id for record in gallery.tracklets()] == expected
    assert [record.id for record in gallery.tracklets(limit=9)] == expected[:9]
    assert [record.id for record in gallery.tracklets(after_id=expected[8])] == expected[9:]
    assert [record.id for record in gallery.tracklets(after_id=expected[8], limit=2)] == expected[9:11]
    assert list(gallery.tracklets(limit=0)) == []
    listing = gallery.tracklets()
    assert next(listing).id == expected[0]
    gallery.delete_tracklets(expected[10:])  # a listing under way holds nothing up
    assert [record.id for record in listing] == expected[1:10]


def test_the_newest_sources_come_first_and_in_pages(gallery: Gallery) -> None:
    for number, camera in enumerate(["door", "yard", "door", "door"]):
        gallery.begin_source(camera, f"{number}.mp4", f"of {number}", 1000.0, "settings")
    first, yard, second, third = gallery.sources()
    assert gallery.newest_sources(2) == [third, second]
    assert gallery.newest_sources(9, before=second.id) == [yard, first]
    assert gallery.newest_sources(2, cameras=["door"], before=third.id) == [second, first]
    assert gallery.newest_sources(9, cameras=[]) == []


def test_restarting_a_source_removes_all_it_gave(gallery: Gallery) -> None:
    kept = fill(gallery, 2, camera="yard")
    ids = fill(gallery, 3)
    (door,) = [source for source in gallery.sources() if source.camera == "door"]
    gallery.finish_source(door.id, {"frames": 9})
    assert len(gallery.search(random_vectors(1), SPEC, 10)[0]) == 5
    again = gallery.restart_source(door.id, settings_hash="new", start=7.0)
    assert (again.status, again.num_frames_done, again.counts) == ("running", 0, {})
    assert (again.settings_hash, again.start, again.uri) == ("new", 7.0, "door.mp4")
    assert [record.id for record in gallery.tracklets()] == kept
    assert {hit.record.id for hit in gallery.search(random_vectors(1), SPEC, 10)[0]} == set(kept)
    assert {int(file.stem) for file in gallery.folder.glob("media/*/*")} == set(kept)
    assert not set(fill(gallery, 3)) & set(ids)


def test_cameras_and_counts(gallery: Gallery) -> None:
    fill(gallery, 3, camera="yard")
    fill(gallery, 2, camera="door")
    gallery.begin_source("attic", "c", "f", 0.0, "s")
    assert gallery.cameras() == [
        CameraSummary("attic", 1, 0, None, None),
        CameraSummary("door", 1, 2, 1000.0, 1001.9),
        CameraSummary("yard", 1, 3, 1000.0, 1002.9),
    ]
    assert gallery.counts() == {"tracklets": 5, "sources": 3, "cameras": 3, "embeddings": 5, "generations": 1}


def test_all_stays_over_closing(place: Place) -> None:
    with place.create() as gallery:
        ids = fill(gallery, 4)
        identity = gallery.uuid
    with place.open() as gallery:
        assert gallery.uuid == identity
        assert [record.id for record in gallery.tracklets()] == ids
        current = gallery.generations.current()
        assert current is not None
        assert (current.spec, current.spec.config, current.num_embeddings) == (SPEC, {"stripes": 4}, 4)
    with place.create() as gallery:  # creating what exists opens it
        assert gallery.counts()["tracklets"] == 4


def test_read_only_reads_and_refuses_to_write(place: Place) -> None:
    with place.create() as gallery:
        (first, *_) = fill(gallery, 3)
        source = gallery.sources()[0].id
    before = {file: file.stat().st_mtime_ns for file in place.folder.glob("media/**/*")}
    with place.open(read_only=True) as gallery:
        assert gallery.read_only
        assert len(gallery.search(random_vectors(1), SPEC, 5)[0]) == 3
        writes = [
            lambda: gallery.begin_source("new", "a", "f", 0.0, "s"),
            lambda: gallery.restart_source(source),
            lambda: gallery.update_source(source, 3),
            lambda: gallery.finish_source(source, {}),
            lambda: gallery.add_tracklets(source, [tracklet(9)], SPEC),
            lambda: gallery.delete_tracklets([first]),
            lambda: gallery.sweep(),
            lambda: gallery.generations.begin(OTHER),
            lambda: gallery.generations.roll_back(),
        ]
        for write in writes:
            with pytest.raises(GalleryReadOnly, match="cannot be written"):
                write()
    assert not list(Path(place.folder, "index").iterdir())
    assert {file: file.stat().st_mtime_ns for file in place.folder.glob("media/**/*")} == before
