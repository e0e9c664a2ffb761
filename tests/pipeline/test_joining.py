"""News of parts becomes news of whole tracklets."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from painted import BLUE, GREEN, RED, YELLOW, Painted, paint

from pipeline.config import StitchSettings, TrackletSettings
from pipeline.crops import encode_crop
from pipeline.embedding import build_embedder, named_embedder
from pipeline.joining import Joiner
from pipeline.stitching import Stitcher
from pipeline.types import Tracklet, TrackletUpdate

SETTINGS = TrackletSettings()
LOOKS = {"red": (RED, BLUE), "green": (GREEN, YELLOW), "blue": (BLUE, GREEN)}


def tracklet(track_id: int, look: str, frames: range, x: float = 0) -> Tracklet:
    """Somebody who stands at `x`; ten frames a second."""
    box = np.array([20 + x, 40, 60 + x, 136], np.float32)
    image = paint([Painted(*LOOKS[look], 20 + x, 40, dx=0)], 0, 320, 192)
    positions = np.linspace(0, len(frames) - 1, min(len(frames), 16)).round().astype(np.int32)
    return Tracklet(
        camera="cam", track_id=track_id, frame_indices=np.array(frames, np.int32),
        timestamps=np.array(frames) / 10, xyxy=np.tile(box, (len(frames), 1)),
        confidence=np.full(len(frames), 0.9, np.float32),
        crops=(encode_crop(image, box, SETTINGS),) * len(positions), crop_positions=positions,
        quality=0.8, thumbnail=0,
    )  # fmt: skip


@pytest.fixture
def joiner() -> Joiner:
    stitcher = Stitcher(build_embedder(named_embedder("colour_stripes")), StitchSettings(), 16)
    return Joiner(stitcher, 16, memory_s=130)


# Somebody else, in view with everybody, and a broken track of one person.
OTHER = tracklet(1, "green", range(90), x=200)
FIRST, SECOND, THIRD = (
    tracklet(2 + i, "red", frames) for i, frames in enumerate((range(20), range(25, 45), range(50, 70)))
)


def ended(tracklet: Tracklet, *earlier: Tracklet) -> TrackletUpdate:
    return TrackletUpdate(tracklet, True, earlier)


def begun(tracklet: Tracklet, *earlier: Tracklet, frames: int = 10) -> TrackletUpdate:
    positions = tracklet.crop_positions[tracklet.crop_positions < frames]
    part = replace(
        tracklet,
        frame_indices=tracklet.frame_indices[:frames], timestamps=tracklet.timestamps[:frames],
        xyxy=tracklet.xyxy[:frames], confidence=tracklet.confidence[:frames],
        crops=tracklet.crops[: len(positions)], crop_positions=positions,
    )  # fmt: skip
    return TrackletUpdate(part, False, earlier)


def spans(update: TrackletUpdate) -> tuple[tuple[int, int], int, bool]:
    whole = update.tracklet
    return whole.key, len(whole.frame_indices), update.finished


def test_news_without_an_earlier_tracklet_passes_unchanged(joiner: Joiner) -> None:
    for update in (begun(FIRST), ended(FIRST), ended(OTHER)):
        assert joiner.whole(update) is update


def test_a_broken_track_grows_under_its_first_key(joiner: Joiner) -> None:
    joiner.whole(begun(OTHER))
    joiner.whole(ended(FIRST, OTHER))
    assert spans(joiner.whole(begun(SECOND, OTHER, FIRST))) == ((2, 0), 30, False)
    assert spans(joiner.whole(ended(SECOND))) == ((2, 0), 40, True)
    assert spans(joiner.whole(begun(THIRD, OTHER, FIRST, SECOND))) == ((2, 0), 50, False)
    whole = joiner.whole(ended(THIRD))
    assert spans(whole) == ((2, 0), 60, True)
    assert len(whole.tracklet.crops) == 16
    assert np.all(np.diff(whole.tracklet.timestamps) > 0)


def test_somebody_else_is_not_joined(joiner: Joiner) -> None:
    joiner.whole(ended(FIRST, OTHER))
    stranger = tracklet(7, "blue", range(25, 45))
    assert spans(joiner.whole(ended(stranger, OTHER, FIRST))) == ((7, 25), 20, True)


def test_a_tracklet_has_one_continuation(joiner: Joiner) -> None:
    joiner.whole(ended(FIRST, OTHER))
    joiner.whole(begun(SECOND, OTHER, FIRST))
    twin = tracklet(9, "red", range(26, 46), x=1)
    assert spans(joiner.whole(ended(twin, OTHER, FIRST))) == ((9, 26), 20, True)


def test_what_cannot_be_asked_for_any_more_is_forgotten(joiner: Joiner) -> None:
    for i in range(200):
        late = 10 * 60 * i
        joiner.whole(ended(tracklet(100 + 3 * i, "green", range(late, late + 60), x=200)))
        first = tracklet(101 + 3 * i, "red", range(late, late + 20))
        second = tracklet(102 + 3 * i, "red", range(late + 25, late + 45))
        other = tracklet(100 + 3 * i, "green", range(late, late + 60), x=200)
        joiner.whole(ended(first, other))
        assert spans(joiner.whole(ended(second, other, first)))[1] == 40
    assert len(joiner._whole) < 10
    assert len(joiner._continued) < 10
    assert not joiner._before
