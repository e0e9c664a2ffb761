"""Privacy masks to the pixel, and who stands in a region."""

from __future__ import annotations

from fractions import Fraction
from time import perf_counter

import numpy as np
import pytest

from pipeline.types import Detections
from pipeline.zones import Zones, covered

QUARTER = [(0.5, 0.5), (1.0, 0.5), (1.0, 1.0), (0.5, 1.0)]
TRIANGLE = [(0.5, 0.2), (0.8, 0.8), (0.2, 0.8)]
BOW_TIE = [(0.0, 0.0), (1.0, 1.0), (1.0, 0.0), (0.0, 1.0)]
STAR = [(0.5, 0.0), (0.8, 1.0), (0.0, 0.4), (1.0, 0.4), (0.2, 1.0)]


def people(*boxes: tuple[float, float, float, float]) -> Detections:
    return Detections(np.array(boxes, np.float32).reshape(-1, 4), np.full(len(boxes), 0.9, np.float32))


@pytest.mark.parametrize(
    ("mask", "size", "black"),
    [
        # left, top, right, bottom in shares; width, height; rows and columns that are black
        pytest.param((0, 0, 1, 1), (8, 6), (slice(0, 6), slice(0, 8)), id="all"),
        pytest.param((0.25, 0, 0.5, 1), (8, 6), (slice(0, 6), slice(2, 4)), id="columns"),
        pytest.param((0.3, 0, 0.55, 1), (8, 6), (slice(0, 6), slice(2, 5)), id="parts of pixels"),
        pytest.param((0, 0.4, 1, 0.45), (8, 10), (slice(4, 5), slice(0, 8)), id="thinner than a pixel"),
        pytest.param((0.1, 0, 0.7, 1), (1920, 4), (slice(0, 4), slice(192, 1344)), id="inexact shares"),
        pytest.param((0, 1, 1, 0.5), (8, 6), (slice(3, 6), slice(0, 8)), id="counterclockwise"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("channels", [(), (3,)], ids=["luma", "rgb"])
def test_a_mask_is_black_to_the_pixel_and_nothing_else_is(
    mask: tuple[float, ...], size: tuple[int, int], black: tuple[slice, slice], channels: tuple[int, ...]
) -> None:
    left, top, right, bottom = mask
    width, height = size
    image = np.full((height, width, *channels), 200, np.uint8)
    expected = image.copy()
    expected[black] = 0
    Zones(None, [[(left, top), (right, top), (right, bottom), (left, bottom)]]).black_out(image)
    np.testing.assert_array_equal(image, expected)


@pytest.mark.parametrize(
    "corners", [TRIANGLE, BOW_TIE, STAR, QUARTER], ids=["triangle", "bow tie", "star", "box"]
)
def test_every_pixel_with_a_part_in_the_mask_is_covered_and_no_other(corners: list) -> None:
    """Against exact fractions: a grid of 5 x 5 points in each pixel, wound around or not."""
    width, height, fine = 13, 11, 5
    expected = np.zeros((height, width), bool)
    parts = [Fraction(2 * i + 1, 2 * fine) for i in range(fine)]
    for y, x in np.ndindex(height, width):
        expected[y, x] = any(_wound(corners, x + i, y + j, width, height) for i in parts for j in parts)
    found = covered(np.array(corners), width, height)
    assert not (expected & ~found).any(), "a masked part of the picture shows"
    grown = np.pad(expected, 1)
    near = grown[:-2, 1:-1] | grown[2:, 1:-1] | grown[1:-1, :-2] | grown[1:-1, 2:] | expected
    assert not (found & ~near).any()
    assert (found & ~expected).sum() <= 8  # slivers smaller than the grid of the check


def _wound(corners: list, x: Fraction, y: Fraction, width: int, height: int) -> bool:
    winding = 0
    points = [(Fraction(str(a)) * width, Fraction(str(b)) * height) for a, b in corners]
    for (x0, y0), (x1, y1) in zip(points, points[1:] + points[:1], strict=True):
        if (y0 <= y) != (y1 <= y) and x0 + (y - y0) * (x1 - x0) / (y1 - y0) > x:
            winding += 1 if y1 > y0 else -1
    return winding != 0


def test_a_change_of_resolution_moves_no_mask() -> None:
    zones = Zones(None, [QUARTER])
    for width, height in ((8, 8), (16, 12), (8, 8), (640, 360), (320, 200), (100, 100), (8, 8)):
        image = np.full((height, width, 3), 9, np.uint8)
        zones.black_out(image)
        assert (image[height // 2 :, width // 2 :] == 0).all()
        assert (image[: height // 2] == 9).all()


def test_two_masks_on_a_large_picture_cost_under_a_millisecond() -> None:
    zones = Zones(None, [TRIANGLE, [(0, 0), (0.3, 0), (0.25, 0.3), (0, 0.3)]])
    image = np.full((1080, 1920, 3), 9, np.uint8)
    zones.black_out(image)
    times = []
    for _ in range(50):
        begin = perf_counter()
        zones.black_out(image)
        times.append(perf_counter() - begin)
    assert min(times) < 1e-3


@pytest.mark.parametrize(
    ("region", "box", "kept"),
    [
        pytest.param(None, (0, 0, 10, 10), True, id="no region"),
        pytest.param(QUARTER, (60, 10, 80, 90), True, id="feet inside, head outside"),
        pytest.param(QUARTER, (60, 10, 80, 40), False, id="above"),
        pytest.param(QUARTER, (10, 60, 80, 90), False, id="only the corner of the box inside"),
        pytest.param(QUARTER, (40, 10, 60, 90), True, id="on the left border"),
        pytest.param(QUARTER, (60, 10, 80, 50), True, id="on the upper border"),
        pytest.param(QUARTER, (60, 10, 80, 100), True, id="cut off by the picture's border"),
        pytest.param(QUARTER, (40, 10, 59.9, 90), False, id="just outside"),
        pytest.param(BOW_TIE, (70, 10, 90, 60), True, id="right wing of a bow tie"),
        pytest.param(BOW_TIE, (40, 10, 60, 90), False, id="below its knot"),
        pytest.param(STAR, (40, 10, 60, 55), True, id="middle of a star"),
    ],
)
def test_those_whose_feet_are_in_the_region_are_kept(region: list | None, box: tuple, kept: bool) -> None:
    found = Zones(region, []).inside(people(box), 100, 100)
    assert len(found) == kept
    assert found.xyxy.dtype == np.float32


def test_the_others_keep_their_order_and_confidence() -> None:
    detections = Detections(
        np.array([[60, 0, 80, 90], [0, 0, 10, 10], [70, 0, 90, 60]], np.float32),
        np.array([0.5, 0.6, 0.7], np.float32),
    )
    found = Zones(QUARTER).inside(detections, 100, 100)
    np.testing.assert_array_equal(found.xyxy, detections.xyxy[[0, 2]])
    np.testing.assert_array_equal(found.confidence, detections.confidence[[0, 2]])
    assert len(Zones(QUARTER).inside(Detections.empty(), 100, 100)) == 0
