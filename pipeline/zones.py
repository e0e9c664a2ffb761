"""Where a camera looks: privacy masks that black out, and a region that people must stand in.

Polygons are in shares of the picture's width and height, so a camera that changes its resolution keeps
its zones. A self-crossing polygon covers all that its line winds around.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.types import Detections

Corners = Sequence[tuple[float, float]]

_SIZES_KEPT = 4
_ON_EDGE_PX = 1e-3  # boxes are float32


@dataclass(frozen=True, slots=True)
class _Patch:
    """Bounding box of a mask, and what stays in it: 255 where the picture is kept, 0 where it is black."""

    rows: slice
    columns: slice
    keep: npt.NDArray[np.uint8]


class Zones:
    """The zones of one camera; what they cover is computed once per picture size."""

    def __init__(self, region: Corners | None, masks: Sequence[Corners] = ()) -> None:
        """Polygons of at least three corners, (x, y) in shares of width and height.

        Args:
            region: only people whose feet are in it are kept; None: the whole picture.
            masks: blacked out.
        """
        self._region = None if region is None else np.asarray(region, np.float64)
        self._masks = tuple(np.asarray(mask, np.float64) for mask in masks)
        self._patches: dict[tuple[int, ...], tuple[_Patch, ...]] = {}

    @property
    def masked(self) -> bool:
        """Whether anything is blacked out."""
        return len(self._masks) > 0

    def polygons(self) -> list[list[list[float]]]:
        """All corners, the region's first, as JSON can have them."""
        region = [] if self._region is None else self._region.tolist()
        return [region, *(mask.tolist() for mask in self._masks)]

    def black_out(self, image: npt.NDArray[np.uint8]) -> None:
        """Set every pixel that a mask touches to 0, in place.

        Args:
            image: (H, W, 3) or (H, W) uint8. Never the planes of a decoded picture: later pictures of
                the stream are predicted from them.
        """
        for patch in self._patches_of(image.shape):
            part = image[patch.rows, patch.columns]
            np.bitwise_and(part, patch.keep, out=part)

    def inside(self, detections: Detections, width: int, height: int) -> Detections:
        """Those who stand in the region: the middle of their box's lower edge is in it or on its border.

        Args:
            detections: of one frame.
            width: of the frame in pixels.
            height: of the frame in pixels.
        """
        if self._region is None or len(detections) == 0:
            return detections
        boxes = detections.xyxy.astype(np.float64)
        feet = np.stack([(boxes[:, 0] + boxes[:, 2]) / 2, boxes[:, 3]], axis=1)  # (N, 2)
        kept = contains(self._region * (width, height), feet)
        return Detections(detections.xyxy[kept], detections.confidence[kept])

    def _patches_of(self, shape: tuple[int, ...]) -> tuple[_Patch, ...]:
        patches = self._patches.get(shape)
        if patches is None:
            if len(self._patches) >= _SIZES_KEPT:
                self._patches.clear()
            patches = tuple(patch for mask in self._masks if (patch := _patch(mask, shape)) is not None)
            self._patches[shape] = patches
        return patches


def contains(corners: npt.NDArray[np.float64], points: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Which of (N, 2) points lie in or on the border of a polygon of (K, 2) corners, all in pixels."""
    start, step = corners, np.roll(corners, -1, axis=0) - corners  # (K, 2)
    to_point = points[:, None] - start  # (N, K, 2)
    cross = step[:, 0] * to_point[..., 1] - step[:, 1] * to_point[..., 0]  # > 0: left of the edge
    above_start, above_end = to_point[..., 1] >= 0, to_point[..., 1] >= step[:, 1]
    upward, downward = above_start & ~above_end, ~above_start & above_end
    winding = (upward & (cross > 0)).sum(axis=1) - (downward & (cross < 0)).sum(axis=1)
    length2 = np.maximum((step**2).sum(axis=1), 1e-12)
    along = np.clip((to_point * step).sum(axis=2) / length2, 0, 1)
    distance = np.linalg.norm(to_point - along[..., None] * step, axis=2).min(axis=1)
    return np.asarray((winding != 0) | (distance <= _ON_EDGE_PX), np.bool_)


def covered(corners: npt.NDArray[np.float64], width: int, height: int) -> npt.NDArray[np.bool_]:
    """(H, W): the pixels of which a polygon, in shares, covers any part; pixel x spans x to x + 1.

    Crossings of the polygon's line are summed along each row: where the sum at a pixel's middle is not 0,
    the middle is inside; the pixels that the line itself runs through are added.
    """
    winding = np.zeros((height, width + 1), np.int32)
    touched = np.zeros((height, width + 1), np.int32)
    pixels = np.round(corners * (width, height), 6)  # 0.1 * 1920 is 192, not a trifle more
    for (x0, y0), (x1, y1) in zip(pixels, np.roll(pixels, -1, axis=0), strict=True):
        low, high = min(y0, y1), max(y0, y1)
        rows = np.arange(int(np.floor(low)), min(int(np.ceil(high)), height))
        ends = np.array([max(x0, x1), min(x0, x1)])[:, None]
        if high > low:
            slope = (x1 - x0) / (y1 - y0)
            ends = x0 + (np.stack([np.maximum(rows, low), np.minimum(rows + 1, high)]) - y0) * slope
        first, last = np.floor(ends.min(axis=0)).astype(int), np.ceil(ends.max(axis=0)).astype(int)
        touched[rows, first] += 1
        touched[rows, last] -= 1
        crossed = rows[(rows + 0.5 >= low) & (rows + 0.5 < high)]
        if len(crossed):
            middle = np.ceil(x0 + (crossed + 0.5 - y0) * slope - 0.5).astype(int)
            winding[crossed, np.clip(middle, 0, width)] += 1 if y1 > y0 else -1
    inside = (winding.cumsum(axis=1) != 0) | (touched.cumsum(axis=1) > 0)
    return np.asarray(inside[:, :width], np.bool_)


def _patch(corners: npt.NDArray[np.float64], shape: tuple[int, ...]) -> _Patch | None:
    inside = covered(corners, shape[1], shape[0])
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    if len(rows) == 0:
        return None
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    keep = np.where(inside[box], np.uint8(0), np.uint8(255))
    if len(shape) == 3:
        keep = np.repeat(keep[..., None], shape[2], axis=2)
    return _Patch(*box, np.ascontiguousarray(keep))
