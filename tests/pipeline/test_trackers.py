"""One contract for every tracker."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline import plugins
from pipeline.plugins import PluginSettings
from pipeline.types import Detections, Frame

IMAGE = np.zeros((240, 320, 3), np.uint8)


@pytest.fixture(params=plugins.available("trackers"))
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def build(name: str, **options: object):
    return plugins.build("trackers", PluginSettings(name=name, **options), frame_rate=10)


def frame(i: int) -> Frame:
    return Frame("cam", i, i / 10, IMAGE)


def boxes(*lefts: float, confidence: float = 0.9) -> Detections:
    xyxy = np.array([[x, 50, x + 40, 150] for x in lefts], np.float32).reshape(-1, 4)
    return Detections(xyxy, np.full(len(lefts), confidence, np.float32))


def test_ids_are_aligned_with_the_detections_whatever_their_order(name: str) -> None:
    tracker = build(name)
    before = np.zeros(0)
    for i in range(10):
        left, right = 20 + 3 * i, 200 - 3 * i
        ids = tracker.update(frame(i), boxes(left, right) if i % 2 else boxes(right, left))
        ids = ids if i % 2 else ids[::-1]
        if i > 2:
            assert ids[0] != ids[1]
            assert -1 not in ids
            assert i == 3 or (ids == before).all()
        before = ids
    assert tracker.alive() == set(before.tolist())


def test_two_instances_share_no_counter(name: str) -> None:
    one, two = build(name), build(name)
    for i in range(5):
        first = one.update(frame(i), boxes(20, 200))
        second = two.update(frame(i), boxes(20, 200))
    assert sorted(first.tolist()) == sorted(second.tolist()) == [1, 2]


def test_a_lost_track_is_alive_within_the_buffer_and_found_again(name: str) -> None:
    tracker = build(name, lost_buffer_s=2.0)
    for i in range(10):
        ids = tracker.update(frame(i), boxes(50))
    for i in range(10, 20):
        assert tracker.update(frame(i), Detections.empty()).shape == (0,)
    assert tracker.alive() == set(ids.tolist())
    assert tracker.update(frame(20), boxes(50)).tolist() == ids.tolist()
    for i in range(21, 45):
        tracker.update(frame(i), Detections.empty())
    assert tracker.alive() == set()
    for i in range(45, 48):
        new = tracker.update(frame(i), boxes(50))
    assert new[0] not in ids


def test_weak_boxes_carry_a_track_but_start_none(name: str) -> None:
    tracker = build(name)
    for i in range(5):
        ids = tracker.update(frame(i), boxes(50))
    assert tracker.update(frame(5), boxes(50, 250, confidence=0.15)).tolist() == [ids[0], -1]


def test_empty_input_first(name: str) -> None:
    tracker = build(name)
    ids = tracker.update(frame(0), Detections.empty())
    assert ids.shape == (0,)
    assert ids.dtype == np.int64
    assert tracker.alive() == set()


def test_memory_does_not_grow_with_tracks_that_are_gone(name: str) -> None:
    tracker = build(name, lost_buffer_s=0.3)
    for i in range(3000):  # a new person every ten frames
        tracker.update(
            frame(i), boxes(20 + 60 * (i // 10 % 5), confidence=0.9) if i % 10 < 4 else Detections.empty()
        )
    assert len(tracker.alive()) <= 2
    assert len(tracker._tracker.removed_stracks) <= 100


def test_camera_motion_is_compensated_when_asked() -> None:
    tracker = build("botsort")
    picture = np.random.default_rng(0).integers(0, 255, (30, 60, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    for i in range(6):
        ids = tracker.update(
            Frame("cam", i, i / 10, picture[:, 8 * i : 8 * i + 320].copy()), boxes(150 - 8 * i)
        )
    assert ids.tolist() == [1]
