"""Tracked boxes -> finished tracklets: gates, cuts, and which crops are kept.

Memory of a track is bounded: besides its boxes (28 bytes a frame, cut at `max_duration_s`) it holds at
most twice the kept crops, as JPEG.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.config import TrackletSettings
from pipeline.types import Boxes, Detections, Frame, Image, Tracklet

FULL_QUALITY_HEIGHT_PX = 128.0


@dataclass(slots=True)
class _Track:
    track_id: int
    frame_indices: list[int] = field(default_factory=list)
    timestamps: list[float] = field(default_factory=list)
    xyxy: list[npt.NDArray[np.float32]] = field(default_factory=list)
    confidence: list[float] = field(default_factory=list)
    crops: dict[int, bytes] = field(default_factory=dict)  # position in the track -> JPEG
    stride: int = 1


class TrackletBuilder:
    """Collects the tracks of one camera; `rejected` counts tracks by the reason they were not kept."""

    def __init__(self, camera: str, settings: TrackletSettings) -> None:
        self.camera, self.settings = camera, settings
        self.rejected: Counter[str] = Counter()
        self._tracks: dict[int, _Track] = {}

    def add(self, frame: Frame, detections: Detections, track_ids: npt.NDArray[np.int64]) -> list[Tracklet]:
        """Take one frame's tracked boxes; tracklets that this cuts off come back."""
        finished = []
        for box, confidence, track_id in zip(
            detections.xyxy, detections.confidence, track_ids.tolist(), strict=True
        ):
            if track_id < 0:
                continue
            track = self._tracks.get(track_id)
            if track is not None and self._must_cut(track, frame.timestamp):
                finished.append(self._finish(track))
                track = None
            if track is None:
                track = self._tracks[track_id] = _Track(track_id)
            self._extend(track, frame, box, float(confidence))
        return [tracklet for tracklet in finished if tracklet is not None]

    def finished(self, alive: set[int]) -> list[Tracklet]:
        """Tracklets of the tracks that the tracker has given up."""
        gone = [track_id for track_id in self._tracks if track_id not in alive]
        tracklets = [self._finish(self._tracks.pop(track_id)) for track_id in gone]
        return [tracklet for tracklet in tracklets if tracklet is not None]

    def close(self) -> list[Tracklet]:
        """Tracklets of all tracks left: the source has ended."""
        return self.finished(alive=set())

    def _must_cut(self, track: _Track, now: float) -> bool:
        return (
            now - track.timestamps[-1] > self.settings.max_gap_s
            or now - track.timestamps[0] > self.settings.max_duration_s
        )

    def _extend(self, track: _Track, frame: Frame, box: npt.NDArray[np.float32], confidence: float) -> None:
        position = len(track.frame_indices)
        track.frame_indices.append(frame.index)
        track.timestamps.append(frame.timestamp)
        track.xyxy.append(box)
        track.confidence.append(confidence)
        if position % track.stride == 0:
            track.crops[position] = encode_crop(frame.image, box, self.settings)
            if len(track.crops) > 2 * self.settings.num_crops:
                track.stride *= 2
                track.crops = {p: jpeg for p, jpeg in track.crops.items() if p % track.stride == 0}

    def _finish(self, track: _Track) -> Tracklet | None:
        xyxy = np.stack(track.xyxy)
        confidence = np.array(track.confidence, np.float32)
        reason = self._rejection(xyxy, confidence)
        if reason is not None:
            self.rejected[reason] += 1
            return None
        held = np.array(sorted(track.crops), np.int32)
        kept = held[_evenly(len(held), self.settings.num_crops)]
        return Tracklet(
            camera=self.camera,
            track_id=track.track_id,
            frame_indices=np.array(track.frame_indices, np.int32),
            timestamps=np.array(track.timestamps, np.float64),
            xyxy=xyxy,
            confidence=confidence,
            crops=tuple(track.crops[p] for p in kept.tolist()),
            crop_positions=kept,
            quality=quality(xyxy, confidence),
            thumbnail=int(np.argmax(confidence[kept] * _heights(xyxy[kept]))),
        )

    def _rejection(self, xyxy: Boxes, confidence: npt.NDArray[np.float32]) -> str | None:
        if len(confidence) < self.settings.min_frames:
            return "too_short"
        if np.median(_heights(xyxy)) < self.settings.min_height_px:
            return "too_small"
        if confidence.mean() < self.settings.min_confidence:
            return "low_confidence"
        return None


def quality(xyxy: Boxes, confidence: npt.NDArray[np.float32]) -> float:
    """How much a tracklet can be relied on, in [0, 1]: mean detection confidence, lessened for small people.

    A person of 128 px or more counts in full; below, the square root of the share of 128 px. It is a
    ranking aid, not a probability.
    """
    size = min(1.0, float(np.median(_heights(xyxy))) / FULL_QUALITY_HEIGHT_PX)
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


def encode_jpeg(image: Image, quality_percent: int) -> bytes:
    """An RGB picture as JPEG."""
    ok, encoded = cv2.imencode(
        ".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality_percent]
    )
    assert ok, "a crop has at least one pixel"
    return bytes(encoded)


def decode_jpeg(jpeg: bytes) -> Image | None:
    """A JPEG as (H, W, 3) uint8 RGB, or None when it is damaged."""
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR) if jpeg else None
    return None if image is None else np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)


def _heights(xyxy: Boxes) -> npt.NDArray[np.float32]:
    return np.asarray(xyxy[:, 3] - xyxy[:, 1], np.float32)


def _evenly(available: int, wanted: int) -> npt.NDArray[np.intp]:
    """Positions of at most `wanted` of `available` things, evenly spread, first and last included."""
    if available <= wanted:
        return np.arange(available)
    return np.linspace(0, available - 1, wanted).round().astype(np.intp)
