"""Records refuse what a gallery must not hold, and say why."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from storage.records import EmbedderSpec, GalleryFilter, NewTracklet
from tests.storage.making import SPEC, tracklet

FRAMES = np.arange(10, dtype=np.int32)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"track_id": -1}, "track_id"),
        ({"frame_indices": FRAMES[::-1]}, "strictly increasing"),
        ({"frame_indices": FRAMES - 1}, "from 0"),
        ({"frame_indices": FRAMES[:0]}, "at least one"),
        ({"frame_indices": FRAMES.astype(float)}, "expected int32, got float64"),
        ({"timestamps": np.arange(9.0)}, r"timestamps: expected shape \(10,\).*\(9,\)"),
        ({"timestamps": np.full(10, np.nan)}, "timestamps"),
        ({"timestamps": -np.arange(10.0)}, "never decrease"),
        ({"xyxy": np.zeros((10, 5), np.float32)}, r"xyxy: expected shape \(10, 4\)"),
        ({"xyxy": np.tile(np.float32([5, 5, 4, 9]), (10, 1))}, "x1 <= x2"),
        ({"xyxy": np.full((10, 4), np.inf, np.float32)}, "finite"),
        ({"confidence": np.full(10, 1.5, np.float32)}, "confidence"),
        ({"confidence": np.full(10, np.nan, np.float32)}, "confidence"),
        ({"quality": 1.1}, "quality"),
        ({"quality": float("nan")}, "quality"),
        ({"crops": ()}, "1 to 16 crops, got 0"),
        ({"num_crops": 17}, "1 to 16 crops, got 17"),
        ({"crops": (b"\xff\xd8", b"PNG", b"\xff\xd8")}, "JPEG"),
        ({"crop_positions": np.int32([0, 1])}, "crop_positions"),
        ({"crop_positions": np.int32([0, 5, 10])}, "within the 10 frames"),
        ({"crop_positions": np.int32([0, 5, 5])}, "must increase"),
        ({"thumbnail": 3}, "thumbnail"),
        ({"embedding": np.ones(16, np.float32)}, "norm 4"),
        ({"embedding": np.full(16, np.nan, np.float32)}, "norm nan"),
        ({"embedding": np.zeros(16, np.float32)}, "norm 0"),
        ({"embedding": np.zeros((2, 8), np.float32)}, "embeddings"),
    ],
)
def test_a_tracklet_is_checked(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tracklet(**change)


def test_arrays_get_their_type_and_arguments_stay_as_they_are() -> None:
    frames = np.arange(10, dtype=np.int64)
    made = tracklet(frame_indices=frames, xyxy=np.tile([1.0, 2.0, 3.0, 4.0], (10, 1)))
    assert (made.frame_indices.dtype, made.xyxy.dtype) == (np.int32, np.float32)
    assert frames.flags.writeable
    assert made.key == (0, 0)
    with pytest.raises(ValueError, match="read-only"):
        made.frame_indices[0] = 3


def test_specs_are_equal_by_what_makes_vectors() -> None:
    same = EmbedderSpec("colours", "", "crop-1", 16, {"device": "cpu"})
    assert same == SPEC
    assert same.same_as(SPEC)
    assert hash(same) == hash(SPEC)
    for other in (("x", "", "crop-1", 16), ("colours", "w", "crop-1", 16), ("colours", "", "crop-2", 16)):
        assert EmbedderSpec(*other) != SPEC
    assert EmbedderSpec("colours", "", "crop-1", 17) != SPEC
    for bad in (("", "", "", 4), ("a", "", "", 0)):
        with pytest.raises(ValueError, match=r"name|dimension"):
            EmbedderSpec(*bad)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"cameras": "door"}, "set of camera names"),
        ({"exclude_cameras": frozenset([""])}, "camera name"),
        ({"start": 5.0, "end": 4.0}, "ends"),
        ({"start": float("nan")}, "seconds UTC"),
        ({"min_quality": 2.0}, "min_quality"),
        ({"exclude_span": ("door", 5.0, 4.0)}, "ends"),
    ],
)
def test_a_filter_is_checked(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GalleryFilter(**values)


def test_a_tracklet_has_no_hidden_default() -> None:
    with pytest.raises(TypeError):
        NewTracklet()  # type: ignore[call-arg]
