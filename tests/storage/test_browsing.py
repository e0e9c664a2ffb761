"""Pages, time lines and cameras are as if every tracklet were looked at, and none is that need not be."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from storage.browse_records import CameraView, NewView
from storage.database import camera_views
from storage.errors import GalleryReadOnly, TrackletNotFound
from storage.gallery import Gallery
from storage.records import CameraSummary, GalleryFilter, NewTracklet, TrackletRecord
from tests.storage.making import JPEG, SPEC, Place, fill, tracklet, version

CAMERAS = ("attic", "door", "Küche", "yard")
HOUR = 3600.0


def lasting(track_id: int, start: float, duration: float, quality: float) -> NewTracklet:
    return tracklet(track_id, start=start, timestamps=start + np.linspace(0.0, duration, 10), quality=quality)


def fill_at_random(gallery: Gallery, rng: np.random.Generator, number: int = 60) -> list[TrackletRecord]:
    """Tracklets over some hours, some of equal start, some long, some refined and some deleted since."""
    for camera in CAMERAS:
        source = gallery.begin_source(camera, f"{camera}.mp4", camera, 0.0, "s").id
        count = number if camera != "yard" else 3
        starts = np.round(rng.uniform(-1.0, 5.0, count), 1) * HOUR
        lasts = rng.exponential(60.0, count) * rng.choice([1.0, 20.0], count, p=[0.9, 0.1])
        given = [
            lasting(number, start, long, round(float(good), 1))
            for number, (start, long, good) in enumerate(
                zip(starts, lasts, rng.uniform(size=count), strict=True)
            )
        ]
        ids = gallery.add_tracklets(source, given, SPEC)
        gallery.delete_tracklets(rng.choice(ids, count // 4, replace=False))
    with gallery._database.reading() as connection:
        ids = list(connection.scalars(sa.text("SELECT id FROM tracklets")))
    return [gallery.tracklet(number) for number in ids]


def passes(filter: GalleryFilter, record: TrackletRecord) -> bool:
    if filter.exclude_span is not None:
        camera, start, end = filter.exclude_span
        if record.camera == camera and record.end >= start and record.start <= end:
            return False
    return (
        (not filter.cameras or record.camera in filter.cameras)
        and record.camera not in filter.exclude_cameras
        and (filter.start is None or record.end >= filter.start)
        and (filter.end is None or record.start <= filter.end)
        and record.quality >= filter.min_quality
    )


def some_filter(rng: np.random.Generator) -> GalleryFilter:
    """Each part is set in about every third one."""

    def names() -> frozenset[str]:
        return frozenset(rng.choice([*CAMERAS, "nowhere"], rng.integers(1, 4), replace=False).tolist())

    start, end = np.sort(np.round(rng.uniform(-2.0, 6.0, 2), 1) * HOUR)
    span = np.sort(np.round(rng.uniform(-1.0, 5.0, 2), 1) * HOUR)
    choices: dict[str, Any] = {
        "cameras": names(),
        "exclude_cameras": names(),
        "start": start,
        "end": end,
        "min_quality": round(float(rng.uniform()), 1),
        "exclude_span": (str(rng.choice(CAMERAS)), *span),
    }
    return GalleryFilter(**{name: value for name, value in choices.items() if rng.uniform() < 0.35})


def in_order(records: list[TrackletRecord], newest_first: bool) -> list[TrackletRecord]:
    return sorted(records, key=lambda record: (record.start, record.id), reverse=newest_first)


def test_a_page_is_what_looking_at_every_tracklet_finds(
    gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.gallery._PAGE", 7)
    rng = np.random.default_rng(5)
    stored = fill_at_random(gallery, rng)
    for _ in range(60):
        filter, newest_first = some_filter(rng), bool(rng.integers(2))
        expected = in_order([record for record in stored if passes(filter, record)], newest_first)
        assert list(gallery.tracklets(filter, newest_first=newest_first)) == expected, filter
        if expected:
            cut, limit = int(rng.integers(len(expected))), int(rng.integers(1, 30))
            place = (expected[cut].start, expected[cut].id)
            more = expected[cut + 1 :][:limit]
            given = {"filter": filter, "limit": limit, "newest_first": newest_first}
            assert list(gallery.tracklets(after=place, **given)) == more
            assert list(gallery.tracklets(after_id=place[1], **given)) == more
        between = (float(rng.uniform(-HOUR, 5 * HOUR)), 0)
        behind = [r for r in expected if ((r.start, r.id) < between) == newest_first]
        assert list(gallery.tracklets(filter, after=between, newest_first=newest_first)) == behind


def test_a_place_outlives_its_tracklet(gallery: Gallery) -> None:
    ids = fill(gallery, 9)
    records = list(gallery.tracklets())
    gallery.delete_tracklets([ids[4]])
    place = (records[4].start, records[4].id)
    assert [record.id for record in gallery.tracklets(after=place)] == ids[5:]
    assert [record.id for record in gallery.tracklets(after=place, newest_first=True)] == ids[3::-1]
    with pytest.raises(TrackletNotFound, match=str(ids[4])):
        list(gallery.tracklets(after_id=ids[4]))
    with pytest.raises(ValueError, match="not both"):
        list(gallery.tracklets(after_id=ids[0], after=place))
    with pytest.raises(ValueError, match="after must be seconds UTC"):
        list(gallery.tracklets(after=(float("nan"), 0)))


@contextmanager
def statements(gallery: Gallery) -> Iterator[list[tuple[str, Any]]]:
    """What is asked of the database within the block."""
    found: list[tuple[str, Any]] = []

    def note(_c: Any, _u: Any, statement: str, parameters: Any, *_: Any) -> None:
        if statement.startswith(("SELECT", "WITH")):
            found.append((statement, parameters))

    sa.event.listen(gallery._database._engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        sa.event.remove(gallery._database._engine, "before_cursor_execute", note)


@pytest.mark.parametrize("analysed", [False, True])
def test_no_question_reads_through_all_tracklets(gallery: Gallery, analysed: bool) -> None:
    rng = np.random.default_rng(6)
    stored = fill_at_random(gallery, rng, 40)
    sqlite = gallery.backend == "sqlite"
    with gallery._database.migrating() as connection:
        if analysed:
            connection.execute(sa.text("ANALYZE"))
    with statements(gallery) as asked:
        for _ in range(40):
            filter = some_filter(rng)
            place = None if rng.uniform() < 0.5 else (stored[0].start, stored[0].id)
            list(gallery.tracklets(filter, after=place, limit=10, newest_first=bool(rng.integers(2))))
            gallery.time_line(filter)
        for newest_first in (False, True):
            list(gallery.tracklets(limit=10, newest_first=newest_first))
        gallery.cameras()
        gallery.counts()
        gallery.camera_views()
    assert len(asked) > 100
    with gallery._database.reading() as connection:
        if not sqlite:  # it would rather read a table of one page than an index
            connection.execute(sa.text("SET LOCAL enable_seqscan = off"))
        for statement, parameters in asked:
            rows = connection.exec_driver_sql(
                ("EXPLAIN QUERY PLAN " if sqlite else "EXPLAIN ") + statement, parameters
            )
            plan = "\n".join(str(row[-1]) for row in rows)
            assert not re.search(r"SCAN tracklets\b|Seq Scan on tracklets\b", plan), statement + plan
            if sqlite and "LIMIT" in statement:
                assert "TEMP B-TREE" not in plan, statement + plan


@pytest.mark.parametrize("analysed", [False, True])
def test_gaps_are_read_from_an_index_in_the_order_of_time(gallery: Gallery, analysed: bool) -> None:
    sources = [gallery.begin_source(name, name, name, 0.0, "s").id for name in ("door", "yard")]
    for number in range(300):
        gap = gallery.begin_gap(sources[number % 2], 60.0 * number, "stream broke off")
        gallery.end_gap(gap, 60.0 * number + 30.0)
    sqlite = gallery.backend == "sqlite"
    with gallery._database.migrating() as connection:
        if analysed:
            connection.execute(sa.text("ANALYZE"))

    def plan(filter: GalleryFilter) -> str:
        with statements(gallery) as asked:
            gallery.gaps(filter, 5)
        with gallery._database.reading() as connection:
            if not sqlite:
                connection.execute(sa.text("SET LOCAL enable_seqscan = off"))
            [(statement, parameters)] = asked
            rows = connection.exec_driver_sql(
                ("EXPLAIN QUERY PLAN " if sqlite else "EXPLAIN ") + statement, parameters
            )
            return "\n".join(str(row[-1]) for row in rows)

    for filter in (GalleryFilter(), GalleryFilter(start=600.0, end=1200.0), GalleryFilter(end=1200.0)):
        assert "ix_gaps_start_id_end" in plan(filter)
        assert "TEMP B-TREE" not in plan(filter)
    of_one = GalleryFilter(frozenset({"door"}), start=600.0, end=1200.0)
    assert [gap.start for gap in gallery.gaps(of_one)] == list(np.arange(600.0, 1201.0, 120.0))
    assert re.search("ix_gaps_(source_id_)?start_id_end", plan(of_one)), plan(of_one)
    assert not re.search(r"Seq Scan on gaps\b", plan(of_one))


def hour_rows(gallery: Gallery) -> dict[tuple[str, int], tuple[int, float]]:
    with gallery._database.reading() as connection:
        rows = connection.execute(
            sa.text("SELECT camera, hour, num_tracklets, longest_s FROM tracklet_hours")
        )
        return {(row[0], row[1]): (row[2], row[3]) for row in rows}


def assert_hours_are_right(gallery: Gallery) -> None:
    stored = list(gallery.tracklets())
    kept = hour_rows(gallery)
    expected = Counter((record.camera, int(record.start // HOUR)) for record in stored)
    assert {place: number for place, (number, _) in kept.items()} == expected
    for record in stored:
        assert kept[record.camera, int(record.start // HOUR)][1] >= record.end - record.start
    by_camera = {camera: [r for r in stored if r.camera == camera] for camera in CAMERAS}
    assert gallery.counts()["tracklets"] == len(stored)
    assert gallery.cameras() == [
        CameraSummary(
            source.camera,
            1,
            len(by_camera[source.camera]),
            min((r.start for r in by_camera[source.camera]), default=None),
            max((r.end for r in by_camera[source.camera]), default=None),
        )
        for source in sorted(gallery.sources(), key=lambda source: source.camera)
    ]


def test_the_hours_follow_every_change(gallery: Gallery) -> None:
    rng = np.random.default_rng(7)
    fill_at_random(gallery, rng, 40)
    assert_hours_are_right(gallery)
    door = next(source for source in gallery.sources() if source.camera == "door").id
    refined = [version(500, 20), version(501, 20)]
    gallery.add_tracklets(door, refined, SPEC)
    assert_hours_are_right(gallery)
    longer = version(500, 30, timestamps=1500.0 + np.linspace(0.0, 900.0, 30))
    earlier = version(501, 30, timestamps=-9000.0 + np.arange(30) / 10)  # of another hour
    gallery.add_tracklets(door, [longer, earlier, version(502, 10)], SPEC)
    assert_hours_are_right(gallery)
    assert hour_rows(gallery)["door", -3][0] == 1
    gallery.restart_source(door)
    assert_hours_are_right(gallery)
    assert not [place for place in hour_rows(gallery) if place[0] == "door"]
    gallery.delete_tracklets([record.id for record in gallery.tracklets()])
    assert hour_rows(gallery) == {}
    assert_hours_are_right(gallery)


def counted(stored: list[TrackletRecord], camera: str, first: float, last: float, num_bins: int) -> list[int]:
    """Tracklets of a camera by start, in even bins."""
    starts = [record.start for record in stored if record.camera == camera and first <= record.start <= last]
    width = (last - first) / num_bins
    found = Counter(min(int((start - first) / width), num_bins - 1) for start in starts)
    return [found[number] for number in range(num_bins)]


def test_a_time_line_of_a_short_range_counts_tracklets(gallery: Gallery) -> None:
    stored = fill_at_random(gallery, np.random.default_rng(8))
    line = gallery.time_line(start=HOUR / 2, end=2 * HOUR, num_bins=16)
    assert (line.start, line.bin_s, line.exact) == (HOUR / 2, 337.5, True)
    assert line.counts.keys() == set(CAMERAS)
    for camera, counts in line.counts.items():
        assert counts.dtype == np.int64
        assert counts.tolist() == counted(stored, camera, HOUR / 2, 2 * HOUR, 16)
    good = GalleryFilter(min_quality=0.6, exclude_cameras=frozenset(["attic"]), start=HOUR, end=1.5 * HOUR)
    line = gallery.time_line(good, end=9 * HOUR, num_bins=8)
    better = [record for record in stored if record.quality >= 0.6]
    assert line.counts.keys() == {"door", "Küche", "yard"}
    for camera, counts in line.counts.items():
        assert counts.tolist() == counted(better, camera, HOUR, 1.5 * HOUR, 8)
    spanned = GalleryFilter(exclude_span=("door", 0.0, HOUR), cameras=frozenset(["door", "yard"]))
    line = gallery.time_line(spanned)
    kept = [record for record in stored if passes(spanned, record)]
    assert {camera: counts.sum() for camera, counts in line.counts.items()} == {
        camera: sum(record.camera == camera for record in kept) for camera in ("door", "yard")
    }


def test_a_time_line_of_a_long_range_counts_hours(gallery: Gallery) -> None:
    stored = fill_at_random(gallery, np.random.default_rng(9))
    first = min(int(record.start // HOUR) for record in stored)
    last = max(int(record.start // HOUR) for record in stored)
    line = gallery.time_line(num_bins=3)
    width = -(-(last - first + 1) // 3)
    assert (line.start, line.bin_s, line.exact) == (first * HOUR, width * HOUR, True)
    for camera, counts in line.counts.items():
        hours = Counter((int(r.start // HOUR) - first) // width for r in stored if r.camera == camera)
        assert counts.tolist() == [hours[number] for number in range(len(counts))]
    assert sum(counts.sum() for counts in line.counts.values()) == len(stored)


def test_of_too_many_tracklets_a_time_line_counts_hours_and_says_so(
    gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = fill_at_random(gallery, np.random.default_rng(10), 40)
    picky = GalleryFilter(min_quality=0.5, cameras=frozenset(["door"]))
    assert gallery.time_line(picky).exact
    monkeypatch.setattr("storage.database.time_lines.MOST_ROWS", 9)
    line = gallery.time_line(picky)
    assert (line.exact, line.bin_s) == (False, HOUR)
    assert line.counts["door"].sum() == sum(record.camera == "door" for record in stored)
    assert gallery.time_line(start=0.0, end=HOUR).exact  # hours are all that there is to know


def test_time_lines_of_nothing(gallery: Gallery) -> None:
    assert gallery.time_line().counts == {}
    fill(gallery, 3)
    assert gallery.time_line(GalleryFilter(cameras=frozenset(["nowhere"]))).counts == {}
    assert gallery.time_line(GalleryFilter(end=10.0), start=20.0).counts["door"].sum() == 0
    assert gallery.time_line(start=5000.0, end=6000.0, num_bins=4).counts["door"].tolist() == [0] * 4
    assert gallery.time_line(start=1001.0, end=1001.0).counts["door"].sum() == 1
    with pytest.raises(ValueError, match="num_bins must be at least 1, got 0"):
        gallery.time_line(num_bins=0)
    with pytest.raises(ValueError, match=r"ends .* before it starts"):
        gallery.time_line(start=5.0, end=4.0)


def test_camera_views(gallery: Gallery) -> None:
    assert gallery.camera_views() == []
    fill(gallery, 3)  # begun at seconds 1000 to 1002
    source = gallery.sources()[0].id
    gallery.add_tracklets(source, [tracklet(9, start=HOUR + 1), tracklet(10, start=24 * HOUR + 5)], SPEC)
    gallery.set_camera_view("yard", "waiting", "open: no\x00 answer", now=50.0)
    gallery.set_camera_view("door", "streaming", frame=JPEG % (1, 1), frame_time=40.0, now=41.0)
    gallery.set_camera_view("door", "connecting", "timeout", now=np.float32(60.0))
    present = 24 * HOUR + 100.0
    assert gallery.camera_views(present) == [
        CameraView("door", "connecting", "timeout", 60.0, 40.0, (1, *[0] * 22, 1)),
        CameraView("yard", "waiting", "open: no\\x00 answer", 50.0, None, (0,) * 24),
    ]
    assert gallery.camera_frame("door") == JPEG % (1, 1)
    assert gallery.camera_frame("yard") is gallery.camera_frame("nowhere") is None
    gallery.set_camera_view("door", "recorded", now=70.0)
    (door, _) = gallery.camera_views(10**9)
    assert door.per_hour == (1, *[0] * 22, 1), "of its last day, whenever that was"


def test_a_frame_is_forgotten_by_its_time(gallery: Gallery) -> None:
    for camera in ("door", "yard"):
        gallery.set_camera_view(camera, "streaming", frame=JPEG % (1, 1), frame_time=40.0)

    def forget(start: float, end: float) -> int:
        with gallery._database.writing() as connection:
            return camera_views.forget_frames(connection, "door", start, end)

    assert forget(10.0, 39.9) == forget(40.1, 99.0) == 0
    assert gallery.camera_frame("door") is not None
    assert forget(39.0, 40.0) == 1
    assert gallery.camera_frame("door") is None
    assert [view.frame_time for view in gallery.camera_views()] == [None, 40.0]
    assert gallery.camera_frame("yard") is not None


def test_a_view_that_cannot_be_is_refused(sqlite_place: Place) -> None:
    with sqlite_place.create() as gallery:
        for wrong, message in (
            ({"state": "asleep"}, "state is one of"),
            ({"frame": JPEG % (1, 1)}, "belong together"),
            ({"frame_time": 4.0}, "belong together"),
            ({"frame": b"PNG", "frame_time": 4.0}, "JPEG"),
            ({"now": float("nan")}, "updated must be seconds UTC"),
        ):
            with pytest.raises(ValueError, match=message):
                gallery.set_camera_view("door", **{"state": "off", **wrong})  # type: ignore[arg-type]
        good = NewView("yard", "off", "", 1.0)
        with pytest.raises(ValueError, match="camera name"):
            gallery.set_camera_views([good, NewView("", "off", "", 1.0)])
        gallery.set_camera_views([good])
    with sqlite_place.open(read_only=True) as gallery:
        assert [view.camera for view in gallery.camera_views()] == ["yard"]
        with pytest.raises(GalleryReadOnly):
            gallery.set_camera_view("door", "off")


def test_what_was_masked_once_stays_masked_until_it_is_begun_anew(gallery: Gallery) -> None:
    def begin(masked: bool) -> bool:
        return gallery.begin_source("door", "a", "f", 0.0, "s", masked=masked).masked

    assert [begin(False), begin(True), begin(False)] == [False, True, True]
    source = gallery.sources()[0].id
    assert gallery.restart_source(source).masked
    assert not gallery.restart_source(source, masked=False).masked
    assert gallery.restart_source(source, masked=True).masked
    assert gallery.begin_source("yard", "b", "f", 0.0, "s", live=True, masked=True).masked
