"""Which track continues which: place, time and appearance; and what a joined tracklet holds."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from models import weights
from models.weight_cards import card
from pipeline.config import StitchSettings
from pipeline.embedders.colour_stripes import ColourStripes, Config
from pipeline.stitching import MEASURED_FLOORS, Stitcher, join, plausible
from pipeline.types import Tracklet

RED, BLUE, GREEN, GREY = (200, 30, 30), (30, 30, 200), (20, 160, 40), (120, 120, 120)
SETTINGS = StitchSettings()


def dressed(colour: tuple[int, int, int], seed: int = 0) -> bytes:
    """A JPEG of somebody in one colour, with legs, a head and noise."""
    image = np.full((100, 40, 3), GREY, np.float64)
    image[:18, 12:28] = (190, 150, 120)
    image[18:55, 8:32] = colour
    image[55:, 10:30] = np.array(colour) * 0.5
    image += np.random.default_rng(seed).normal(0, 6, image.shape)
    ok, jpeg = cv2.imencode(".jpg", np.clip(image, 0, 255).astype(np.uint8)[..., ::-1])
    assert ok
    return bytes(jpeg)


def walk(
    track_id: int,
    start: float,
    seconds: float = 2.0,
    *,
    at: tuple[float, float] = (100, 100),
    speed: tuple[float, float] = (50, 0),
    height: float = 100,
    colour: tuple[int, int, int] = RED,
    confidence: float = 0.9,
    num_crops: int = 8,
    camera: str = "door",
) -> Tracklet:
    """Somebody who walks at `speed` pixels a second from `at`, 10 frames a second."""
    n = round(seconds * 10)
    times = start + np.arange(n) / 10
    centre = np.array(at) + np.arange(n)[:, None] / 10 * np.array(speed)
    half = np.array([0.2, 0.5]) * height
    positions = np.unique(np.linspace(0, n - 1, min(n, num_crops)).round().astype(np.int32))
    return Tracklet(
        camera=camera,
        track_id=track_id,
        frame_indices=np.round(times * 10).astype(np.int32),
        timestamps=times,
        xyxy=np.concatenate([centre - half, centre + half], axis=1).astype(np.float32),
        confidence=np.full(n, confidence, np.float32),
        crops=tuple(dressed(colour, 97 * track_id + i) for i in range(len(positions))),
        crop_positions=positions,
        quality=0.5,
        thumbnail=0,
    )


# The earlier one ends at 1.9 s, at (195, 100), walking to the right with half its height a second.
@pytest.mark.parametrize(
    ("later", "expected"),
    [
        pytest.param({"start": 3.0, "at": (250, 100)}, True, id="goes on as before"),
        pytest.param({"start": 3.0, "at": (195, 100)}, True, id="stood still meanwhile"),
        pytest.param({"start": 3.0, "at": (195, 100), "speed": (-50, 0)}, True, id="turned round"),
        pytest.param({"start": 3.0, "at": (250, 170)}, True, id="a little off the way"),
        pytest.param({"start": 3.0, "at": (250, 200)}, False, id="off the way"),
        pytest.param({"start": 3.0, "at": (700, 100)}, False, id="too far"),
        pytest.param({"start": 3.0, "at": (195, 500)}, False, id="too far below"),
        pytest.param({"start": 2.0, "at": (400, 100)}, False, id="too far for a tenth of a second"),
        pytest.param({"start": 1.5, "at": (195, 100)}, False, id="both in view"),
        pytest.param({"start": 60.0, "at": (195, 100)}, False, id="too late"),
        pytest.param({"start": 3.0, "at": (250, 100), "height": 40}, False, id="much smaller"),
        pytest.param({"start": 3.0, "at": (250, 100), "height": 120}, True, id="a little larger"),
        pytest.param({"start": 3.0, "at": (250, 100), "track_id": 1}, False, id="cut on purpose"),
    ],
)
def test_plausible_by_time_place_and_size(later: dict, expected: bool) -> None:
    assert plausible(walk(1, 0.0), walk(**({"track_id": 2} | later)), SETTINGS) is expected


def test_a_slow_camera_gives_tracks_of_one_frame() -> None:
    assert plausible(walk(1, 0.0, 0.1), walk(2, 1.0, 0.1), SETTINGS)


def stitcher(**settings) -> Stitcher:
    return Stitcher(ColourStripes(Config()), StitchSettings(**settings), 16)


def test_the_one_in_the_same_clothes_is_continued() -> None:
    red, blue = walk(1, 0.0, colour=RED), walk(2, 0.0, at=(100, 150), colour=BLUE)
    later = walk(3, 3.0, at=(250, 100), colour=RED)
    assert plausible(blue, later, SETTINGS)
    assert stitcher().match(later, [blue, red]) == 1
    assert stitcher().match(later, [red, blue]) == 0
    assert stitcher().match(walk(3, 3.0, at=(250, 100), colour=BLUE), [red, blue]) == 1


def test_somebody_new_continues_nobody() -> None:
    red, blue = walk(1, 0.0, colour=RED), walk(2, 0.0, at=(100, 150), colour=BLUE)
    assert stitcher().match(walk(3, 3.0, at=(250, 100), colour=GREEN), [red, blue]) is None
    assert stitcher().match(walk(3, 3.0, at=(250, 100), colour=GREEN), []) is None


def test_two_in_the_same_clothes_are_not_told_apart_by_guessing() -> None:
    twins = [walk(1, 0.0, colour=RED), walk(2, 0.0, at=(100, 150), colour=RED)]
    assert stitcher().match(walk(3, 3.0, at=(250, 110), colour=RED), twins) is None


def test_the_same_clothes_elsewhere_or_much_later_are_no_reason() -> None:
    red, blue = walk(1, 0.0, colour=RED), walk(2, 0.0, at=(100, 150), colour=BLUE)
    assert stitcher().match(walk(3, 3.0, at=(900, 100), colour=RED), [red, blue]) is None
    assert stitcher().match(walk(3, 90.0, at=(250, 100), colour=RED), [red, blue]) is None
    assert stitcher(enabled=False).match(walk(3, 3.0, at=(250, 100), colour=RED), [red, blue]) is None


def test_who_looks_like_somebody_in_view_at_the_same_time_is_not_guessed() -> None:
    """Two in red cross: the one whose track goes on elsewhere looks just like the one that ended here."""
    red = walk(1, 0.0, 2.0, colour=RED)
    twin = walk(2, 0.0, 2.5, at=(900, 100), colour=RED)
    later = walk(3, 3.0, at=(250, 100), colour=RED)
    assert stitcher().match(later, [red]) == 0
    assert not plausible(twin, later, SETTINGS)
    assert stitcher().match(later, [red, twin]) is None
    remembers = stitcher()
    assert remembers.match(walk(4, 2.8, at=(990, 100), colour=RED), [twin, red]) is None
    assert remembers.match(later, [red]) is None


def test_an_embedder_of_unknown_weights_is_trusted_when_it_has_shown_how_alike_people_look() -> None:
    unknown = ColourStripes(Config())
    unknown.spec = replace(unknown.spec, name="of my own")
    one = Stitcher(unknown, StitchSettings(), 16)
    red, later = walk(1, 100.0, colour=RED), walk(2, 103.0, at=(250, 100), colour=RED)
    assert one.match(later, [red]) is None
    colours = [RED, BLUE, GREEN, GREY, (220, 220, 220), (20, 20, 20), (200, 200, 40)]
    crowd = [walk(10 + i, 0.0, at=(100, 100 * i), colour=colour) for i, colour in enumerate(colours)]
    one.match(walk(20, 3.0, at=(250, 0), colour=(120, 20, 160)), crowd)
    assert one.match(later, [red]) == 0
    assert one.match(walk(3, 103.0, at=(250, 100), colour=GREEN), [red]) is None


def test_the_default_embedder_has_a_measured_floor() -> None:
    name = weights.default_embedder()
    assert name is not None
    assert ("ste_nvan", card(name).sha256) in MEASURED_FLOORS, (
        "measure new weights with benchmarks/stitching.py"
    )


def test_the_same_tracklets_give_the_same_answer() -> None:
    red, blue = walk(1, 0.0, colour=RED), walk(2, 0.0, at=(100, 150), colour=BLUE)
    later, one = walk(3, 3.0, at=(250, 100), colour=RED), stitcher()
    assert {one.match(later, [red, blue]) for _ in range(3)} == {0}


def test_a_joined_tracklet_has_all_boxes_and_the_earlier_key() -> None:
    earlier, later = (
        walk(1, 0.0, 3.0, num_crops=16),
        walk(2, 5.0, 1.0, confidence=0.7, height=140, num_crops=10),
    )
    joined = join(earlier, later, 16)
    assert joined.key == earlier.key
    assert joined.timestamps.tolist() == [*earlier.timestamps, *later.timestamps]
    np.testing.assert_array_equal(joined.xyxy, np.concatenate([earlier.xyxy, later.xyxy]))
    assert (np.diff(joined.frame_indices) > 0).all()
    assert len(joined.crops) == len(joined.crop_positions) == 16
    assert joined.quality == pytest.approx((30 * 0.9 + 10 * 0.7) / 40 * (100 / 128) ** 0.5, abs=1e-4)


def test_crops_of_a_joined_tracklet_are_spread_over_both() -> None:
    earlier, later = walk(1, 0.0, 3.0, num_crops=16), walk(2, 5.0, 1.0, num_crops=10)
    joined = join(earlier, later, 16)
    of = dict(zip(earlier.crop_positions, earlier.crops, strict=True))
    of |= dict(zip(later.crop_positions + 30, later.crops, strict=True))
    assert [of[p] for p in joined.crop_positions] == list(joined.crops)
    times = joined.timestamps[joined.crop_positions]
    assert (np.diff(times) > 0).all()
    assert times[0] == earlier.timestamps[0]
    assert times[-1] == later.timestamps[-1]
    assert (times < 3).sum() == 12  # three quarters of the time in view
    assert len(join(earlier, later, 1).crops) == 1
    assert len(join(walk(1, 0.0, 0.3), walk(2, 5.0, 0.3), 16).crops) == 6


def test_the_thumbnail_of_a_joined_tracklet_is_its_best_crop() -> None:
    small, tall = walk(1, 0.0), walk(2, 5.0, height=140)
    joined = join(small, tall, 16)
    assert joined.crop_positions[joined.thumbnail] >= len(small.timestamps)
    joined = join(walk(1, 0.0, height=140), walk(2, 5.0), 16)
    assert joined.crop_positions[joined.thumbnail] < len(small.timestamps)


def test_what_does_not_follow_is_not_joined() -> None:
    with pytest.raises(ValueError, match="track 2 of door does not follow track 1"):
        join(walk(1, 0.0), walk(2, 1.0), 16)
    with pytest.raises(ValueError, match="does not follow"):
        join(walk(1, 0.0), walk(2, 5.0, camera="gate"), 16)
