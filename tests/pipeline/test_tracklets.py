"""Tracks -> tracklets: gates, cuts, bounded crops."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.config import StitchSettings, TrackletSettings
from pipeline.crops import decode_jpeg, encode_crop, evenly, quality
from pipeline.tracklets import TrackletBuilder
from pipeline.types import Detections, Frame, clip_to_frame

IMAGE = np.random.default_rng(0).integers(0, 255, (200, 300, 3), np.uint8)


def run(
    boxes: list,
    *,
    ids: list[int] | None = None,
    rate: float = 10,
    confidence: float = 0.9,
    image=IMAGE,
    **settings,
):
    """One box a frame (None: not seen) through a builder; the tracklets and the rejections."""
    builder = TrackletBuilder("cam", TrackletSettings(**settings), StitchSettings(enabled=False))
    out = []
    for i, box in enumerate(boxes):
        frame = Frame("cam", i, i / rate, image)
        if box is None:
            detections, track = Detections.empty(), np.zeros(0, np.int64)
        else:
            detections = Detections(np.array([box], np.float32), np.array([confidence], np.float32))
            track = np.array([1 if ids is None else ids[i]], np.int64)
        out += builder.add(frame, detections, track, alive=set(range(9)))
    out += builder.close()
    assert all(update.finished and not update.earlier for update in out)
    return [update.tracklet for update in out], dict(builder.rejected)


BOX = (10, 20, 50, 120)


def test_a_long_enough_track_becomes_one_tracklet() -> None:
    (tracklet,), rejected = run([BOX] * 20)
    assert rejected == {}
    assert tracklet.frame_indices.tolist() == list(range(20))
    assert tracklet.key == (1, 0)
    assert len(tracklet.crops) == 16
    crop = decode_jpeg(tracklet.crops[0])
    assert crop is not None
    assert crop.shape == (100, 40, 3)


@pytest.mark.parametrize(
    ("boxes", "settings", "reason"),
    [
        ([BOX] * 7, {}, "too_short"),
        ([(10, 20, 13, 23)] * 20, {}, "too_small"),  # 3x3 pixels
        ([BOX] * 20, {"min_confidence": 0.95}, "low_confidence"),
    ],
)
def test_rejections_are_counted_by_reason(boxes: list, settings: dict, reason: str) -> None:
    tracklets, rejected = run(boxes, **settings)
    assert tracklets == []
    assert rejected == {reason: 1}


def test_unconfirmed_boxes_belong_to_no_tracklet() -> None:
    (tracklet,), _ = run([BOX] * 20, ids=[-1] * 5 + [3] * 15)
    assert tracklet.key == (3, 5)


def test_a_gap_cuts_only_when_it_is_long() -> None:
    short, _ = run([BOX] * 10 + [None] * 15 + [BOX] * 10, max_gap_s=2.0)
    assert [len(t.frame_indices) for t in short] == [20]
    long, _ = run([BOX] * 10 + [None] * 25 + [BOX] * 10, max_gap_s=2.0)
    assert [t.key for t in long] == [(1, 0), (1, 35)]


def test_a_long_track_is_cut_and_its_crops_stay_bounded_and_even() -> None:
    tracklets, _ = run([BOX] * 1000, max_duration_s=50)
    assert [t.key for t in tracklets] == [(1, 0), (1, 501)]
    for tracklet in tracklets:
        gaps = np.diff(tracklet.crop_positions)
        assert len(tracklet.crops) == 16
        assert gaps.max() <= 2 * gaps.min()
        assert tracklet.crop_positions[-1] >= 0.9 * (len(tracklet.frame_indices) - 32)


def test_a_builder_never_holds_more_than_twice_the_crops() -> None:
    builder = TrackletBuilder("cam", TrackletSettings(max_duration_s=1e6), StitchSettings())
    detections = Detections(np.array([BOX], np.float32), np.ones(1, np.float32))
    for i in range(700):
        builder.add(Frame("cam", i, i / 10, IMAGE), detections, np.array([1]), {1})
        assert len(builder._tracks[1].crops) <= 32


def two_tracks(builder: TrackletBuilder, frames: range, ids: list[int], alive: set[int], left: float = 10):
    """Frames with one person at `left`, and a second one at 100 px if two ids are given."""
    boxes = np.array([(left, 20, left + 40, 120), (100, 20, 140, 120)][: len(ids)], np.float32).reshape(-1, 4)
    detections = Detections(boxes, np.ones(len(ids), np.float32))
    updates = []
    for i in frames:
        updates += builder.add(Frame("cam", i, i / 10, IMAGE), detections, np.array(ids, np.int64), alive)
    return updates


def test_tracks_finish_when_the_tracker_gives_them_up_or_they_stay_away() -> None:
    builder = TrackletBuilder("cam", TrackletSettings(), StitchSettings(enabled=False))
    assert two_tracks(builder, range(10), [1, 2], {1, 2}) == []
    assert [u.tracklet.track_id for u in two_tracks(builder, range(10, 11), [2], {2})] == [1]
    # the tracker would still take it back, but what came back after 2 s were a tracklet of its own
    assert two_tracks(builder, range(11, 31), [], {2}) == []
    assert [u.tracklet.track_id for u in two_tracks(builder, range(31, 32), [], {2})] == [2]
    assert len(builder) == 0
    assert builder.close() == []


def test_early_news_comes_once_with_the_first_full_clip_and_keeps_its_key() -> None:
    builder = TrackletBuilder("cam", TrackletSettings(), StitchSettings(), early=True)
    assert two_tracks(builder, range(7), [4], {4}) == []
    (begun,) = two_tracks(builder, range(7, 30), [4], {4})
    assert (begun.finished, len(begun.tracklet.frame_indices), begun.earlier) == (False, 8, ())
    (finished,) = builder.close()
    assert (finished.finished, len(finished.tracklet.frame_indices)) == (True, 30)
    assert finished.tracklet.key == begun.tracklet.key == (4, 0)


def test_a_track_is_told_of_only_when_all_that_it_may_continue_has_ended() -> None:
    builder = TrackletBuilder("cam", TrackletSettings(), StitchSettings(), early=True)
    two_tracks(builder, range(20), [1], {1})
    assert two_tracks(builder, range(20, 35), [2], {1, 2}) == []  # track 1 might come back for 2 s
    first, begun = two_tracks(builder, range(35, 41), [2], {1, 2})
    assert (first.tracklet.track_id, first.finished) == (1, True)
    assert (begun.tracklet.track_id, begun.finished) == (2, False)
    assert [earlier.key for earlier in begun.earlier] == [(1, 0)]
    assert builder.close()[0].earlier == ()  # told once


def test_a_track_that_comes_back_is_continued_by_nobody() -> None:
    builder = TrackletBuilder("cam", TrackletSettings(), StitchSettings(), early=True)
    two_tracks(builder, range(20), [1], {1})
    two_tracks(builder, range(20, 25), [2], {1, 2})
    (begun,) = two_tracks(builder, range(25, 40), [2, 1], {1, 2})
    assert begun.tracklet.track_id == 2
    assert begun.earlier == ()


def test_who_was_told_of_early_is_told_of_at_the_end_whatever_became_of_the_track() -> None:
    builder = TrackletBuilder("cam", TrackletSettings(min_height_px=60), StitchSettings(), early=True)
    assert len(two_tracks(builder, range(10), [1], {1})) == 1
    small = Detections(np.array([(10, 20, 20, 40)], np.float32), np.ones(1, np.float32))
    for i in range(10, 60):  # walks away until too small for the gates
        builder.add(Frame("cam", i, i / 10, IMAGE), small, np.array([1]), {1})
    (finished,) = builder.close()
    assert (finished.finished, finished.tracklet.key) == (True, (1, 0))
    assert builder.rejected == {}


def test_without_early_news_only_beginnings_that_may_continue_something_are_told() -> None:
    builder = TrackletBuilder("cam", TrackletSettings(), StitchSettings())
    first, begun = two_tracks(builder, range(20), [1], {1}) + two_tracks(builder, range(20, 60), [2], {2})
    assert (first.tracklet.key, begun.tracklet.key, begun.finished) == ((1, 0), (2, 20), False)
    assert [earlier.key for earlier in begun.earlier] == [(1, 0)]


def test_the_thumbnail_is_the_largest_and_surest() -> None:
    boxes = [(10, 20, 50, 100)] * 8 + [(10, 20, 80, 190)] + [(10, 20, 50, 100)] * 7
    (tracklet,), _ = run(boxes)
    assert tracklet.crop_positions[tracklet.thumbnail] == 8


def test_quality_grows_with_confidence_and_height_to_one() -> None:
    def of(height: float, confidence: float) -> float:
        return quality(np.array([[0, 0, 10, height]] * 3, np.float32), np.full(3, confidence, np.float32))

    assert of(128, 1.0) == 1.0 == of(400, 1.0)
    assert of(32, 1.0) == pytest.approx(0.5)
    assert of(128, 0.6) == pytest.approx(0.6)


def test_large_crops_are_shrunk_and_boxes_outside_are_cut() -> None:
    image = np.zeros((1000, 600, 3), np.uint8)
    crop = decode_jpeg(encode_crop(image, np.array([100, 50, 400, 850], np.float32), TrackletSettings()))
    assert crop is not None
    assert crop.shape == (384, 144, 3)
    corner = decode_jpeg(
        encode_crop(image, np.array([598.6, 998.7, 600, 1000], np.float32), TrackletSettings())
    )
    assert corner is not None
    assert corner.shape == (2, 2, 3)


def test_boxes_outside_or_broken_are_dropped() -> None:
    boxes = [
        (-20, -20, 50, 50),
        (400, 10, 500, 60),
        (10, 10, 10, 60),
        (np.nan, 0, 5, 5),
        (250, 150, 900, 900),
    ]
    found = clip_to_frame(Detections(np.array(boxes, np.float32), np.ones(5, np.float32)), 300, 200)
    assert found.xyxy.tolist() == [[0, 0, 50, 50], [250, 150, 300, 200]]


@pytest.mark.parametrize(("available", "wanted"), [(1, 16), (16, 16), (17, 16), (32, 16), (5, 1)])
def test_even_spread(available: int, wanted: int) -> None:
    positions = evenly(available, wanted)
    assert len(positions) == min(available, wanted) == len(set(positions.tolist()))
    assert positions[0] == 0
    assert wanted == 1 or positions[-1] == available - 1
