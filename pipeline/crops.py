"""Pictures of a person: cut out, encoded, which of them are kept, and how far they can be relied on.

And the picture of a camera, as people are shown where it looks.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.config import TrackletSettings
from pipeline.types import Boxes, Image

FULL_QUALITY_HEIGHT_PX = 128.0
_FRAME_SIDE_PX = 960
_FRAME_QUALITY_PERCENT = 80
_NARROWED_QUALITY_PERCENT = 60


def best_crop(xyxy: Boxes, confidence: npt.NDArray[np.float32]) -> int:
    """Which of K crops, by their boxes, shows the person best: the largest and surest one."""
    return int(np.argmax(confidence * heights(xyxy)))


def quality(xyxy: Boxes, confidence: npt.NDArray[np.float32]) -> float:
    """How much a tracklet can be relied on, in [0, 1]: mean detection confidence, lessened for small people.

    A person of 128 px or more counts in full; below, the square root of the share of 128 px. It is a
    ranking aid, not a probability.
    """
    size = min(1.0, float(np.median(heights(xyxy))) / FULL_QUALITY_HEIGHT_PX)
    return float(confidence.mean() * np.sqrt(size))


def encode_crop(image: Image, box: npt.NDArray[np.float32], settings: TrackletSettings) -> bytes:
    """Cut a box out of an RGB picture and encode it as JPEG, shrunk to the largest height kept."""
    height, width = image.shape[:2]
    left, top = np.floor(box[:2]).astype(int).clip(0, [width - 1, height - 1]).tolist()
    right, bottom = np.ceil(box[2:]).astype(int).clip([left + 1, top + 1], [width, height]).tolist()
    crop = image[top:bottom, left:right]
    if crop.shape[0] > settings.max_crop_height_px:
        scale = settings.max_crop_height_px / crop.shape[0]
        size = (max(1, round(crop.shape[1] * scale)), settings.max_crop_height_px)
        crop = np.asarray(cv2.resize(crop, size, interpolation=cv2.INTER_AREA), np.uint8)
    return encode_jpeg(crop, settings.jpeg_quality)


def encode_frame(image: Image) -> bytes:
    """An RGB picture as JPEG of at most 960 pixels a side."""
    scale = _FRAME_SIDE_PX / max(image.shape[:2])
    return encode_jpeg(_shrunk(image, scale) if scale < 1.0 else image, _FRAME_QUALITY_PERCENT)


def narrowed(jpeg: bytes, width_px: int) -> bytes:
    """A JPEG of at most so many pixels across; one that is no wider, or damaged, stays as it is."""
    image = decode_jpeg(jpeg)
    if image is None or image.shape[1] <= width_px:
        return jpeg
    return encode_jpeg(_shrunk(image, width_px / image.shape[1]), _NARROWED_QUALITY_PERCENT)


def _shrunk(image: Image, scale: float) -> Image:
    height, width = (max(1, round(side * scale)) for side in image.shape[:2])
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def encode_jpeg(image: Image, quality_percent: int, fine_colours: bool = False) -> bytes:
    """An RGB picture as JPEG; with fine colours each pixel keeps its own, else four share one."""
    options = [cv2.IMWRITE_JPEG_QUALITY, quality_percent]
    if fine_colours:
        options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    ok, encoded = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)
    assert ok, "a crop has at least one pixel"
    return bytes(encoded)


def decode_jpeg(jpeg: bytes) -> Image | None:
    """A JPEG as (H, W, 3) uint8 RGB, or None when it is damaged."""
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR) if jpeg else None
    return None if image is None else np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)


def heights(xyxy: Boxes) -> npt.NDArray[np.float32]:
    """(N,) heights of (N, 4) boxes, in pixels."""
    return np.asarray(xyxy[:, 3] - xyxy[:, 1], np.float32)


def evenly(available: int, wanted: int) -> npt.NDArray[np.intp]:
    """Positions of at most `wanted` of `available` things, evenly spread, first and last included."""
    if available <= wanted:
        return np.arange(available)
    return np.linspace(0, available - 1, wanted).round().astype(np.intp)
