"""Sources of live cameras, gaps, and room on the disk."""

from __future__ import annotations

import numpy as np
import pytest

from storage.errors import GapNotFound, SourceNotFound
from storage.gallery import Gallery
from storage.records import GalleryFilter, Gap
from tests.storage.making import SPEC, fill, tracklet


def test_a_live_source_from_beginning_to_end(gallery: Gallery) -> None:
    gallery.begin_source("door", "door.mp4", "file", 900.0, "s")
    first = gallery.begin_source("door", "rtsp://camera", "run 1", 1000.0, "s", live=True)
    second = gallery.begin_source("door", "rtsp://camera", "run 2", 2000.0, "s", live=True)
    gallery.begin_source("yard", "rtsp://other", "run 1", 1000.0, "s", live=True)
    assert (first.live, first.end, first.status) == (True, None, "running")
    gallery.update_source(first.id, 50, end=np.float32(1010.5))
    gallery.update_source(first.id, 60)
    assert [source.id for source in gallery.live_sources("door")] == [first.id, second.id]
    assert gallery.live_sources("door")[0].end == 1010.5
    gallery.finish_source(first.id, {"frames": 60}, status="interrupted")
    assert [source.id for source in gallery.live_sources("door")] == [second.id]
    assert [source.status for source in gallery.sources()] == ["running", "interrupted", "running", "running"]
    assert [source.live for source in gallery.sources()] == [False, True, True, True]
    gallery.finish_source(second.id, {})
    assert gallery.live_sources("door") == []
    again = gallery.restart_source(first.id)
    assert (again.status, again.end, again.live) == ("running", None, True)


def test_a_source_ends_in_one_of_two_ways(gallery: Gallery) -> None:
    source = gallery.begin_source("door", "a", "f", 0.0, "s").id
    with pytest.raises(ValueError, match="not as running"):
        gallery.finish_source(source, {}, status="running")
    with pytest.raises(ValueError, match="end must be seconds UTC"):
        gallery.update_source(source, 1, end=float("nan"))


def test_gaps(gallery: Gallery) -> None:
    door = gallery.begin_source("door", "a", "f", 0.0, "s", live=True).id
    yard = gallery.begin_source("yard", "b", "f", 0.0, "s", live=True).id
    late = gallery.begin_gap(door, 300.0, "no answer")
    early = gallery.begin_gap(door, 100.0, "stream\x00 broke off")
    other = gallery.begin_gap(yard, 200.0, "disk full")
    gallery.end_gap(early, 150.0)
    gallery.end_gap(other, 190.0)  # the clock was set back
    expected = [
        Gap(early, door, "door", 100.0, 150.0, "stream\\x00 broke off"),
        Gap(other, yard, "yard", 200.0, 200.0, "disk full"),
        Gap(late, door, "door", 300.0, None, "no answer"),
    ]
    assert gallery.gaps() == expected
    assert gallery.gaps(GalleryFilter(frozenset({"door"}))) == [expected[0], expected[2]]
    assert gallery.gaps(GalleryFilter(exclude_cameras=frozenset({"door"}))) == expected[1:2]
    assert gallery.gaps(GalleryFilter(start=150.0, end=200.0)) == expected[:2]
    assert gallery.gaps(GalleryFilter(start=10_000.0)) == expected[2:]
    assert gallery.gaps(GalleryFilter(end=99.0)) == gallery.gaps(GalleryFilter(frozenset({"no"}))) == []
    assert gallery.gaps(limit=2) == expected[1:]
    gallery.restart_source(door)
    assert gallery.gaps() == expected[1:2]
    with pytest.raises(GapNotFound, match=f"the id {late}"):
        gallery.end_gap(late, 400.0)
    with pytest.raises(SourceNotFound, match="41"):
        gallery.begin_gap(41, 0.0, "x")


def test_the_oldest_finished_tracklets(gallery: Gallery) -> None:
    door = fill(gallery, 3, camera="door")
    yard = fill(gallery, 3, camera="yard", first=1)
    source = gallery.sources()[0].id
    (unfinished,) = gallery.add_tracklets(source, [tracklet(9, start=5.0, finished=False)], SPEC)
    assert gallery.oldest_tracklets(4) == [door[0], door[1], yard[0], door[2]]
    assert gallery.oldest_tracklets(99, cameras=["yard", "nowhere"]) == yard
    assert gallery.oldest_tracklets(99, cameras=[]) == []
    assert gallery.oldest_tracklets(99, before=1001.9) == door[:1]
    assert unfinished not in gallery.oldest_tracklets(99)
    assert gallery.delete_tracklets(gallery.oldest_tracklets(2)) == 2
    assert gallery.oldest_tracklets(1) == yard[:1]


def test_free_bytes(gallery: Gallery) -> None:
    assert 0 < gallery.free_bytes() < 2**60


@pytest.mark.parametrize("status", ["complete", "interrupted"])
def test_no_tracklet_of_a_source_that_has_ended_is_in_view(gallery: Gallery, status: str) -> None:
    door = gallery.begin_source("door", "a", "f", 0.0, "s", live=True).id
    yard = gallery.begin_source("yard", "b", "f", 0.0, "s", live=True).id
    for source in (door, yard):
        gallery.add_tracklets(source, [tracklet(1, finished=False), tracklet(2)], SPEC)
    gallery.finish_source(door, {}, status=status)
    in_view = {(record.camera, record.track_id): not record.finished for record in gallery.tracklets()}
    assert in_view == {("door", 1): False, ("door", 2): False, ("yard", 1): True, ("yard", 2): False}
