"""What flows through the pipeline: frames, detections, tracklets.

Conventions everywhere: images are RGB uint8, boxes are xyxy in pixels with the origin at the top left
corner of the frame, indices are 0-based, times are seconds UTC since 1970.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

CLIP_LENGTH = 8
"""Frames that the embedder sees together."""

Image = npt.NDArray[np.uint8]
Boxes = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False, slots=True)
class Frame:
    """One decoded picture of one camera.

    Attributes:
        camera: name of the camera.
        index: 0-based position of the picture in its source; grows, may skip when frames are sampled.
        timestamp: capture time, seconds UTC.
        image: (H, W, 3) uint8 RGB.
    """

    camera: str
    index: int
    timestamp: float
    image: Image

    def __post_init__(self) -> None:
        if self.image.ndim != 3 or self.image.shape[2] != 3 or self.image.dtype != np.uint8:
            raise ValueError(f"a frame is (H, W, 3) uint8, got {self.image.shape} {self.image.dtype}")


@dataclass(frozen=True, eq=False, slots=True)
class Detections:
    """The persons found in one frame.

    Attributes:
        xyxy: (N, 4) float32 pixels; inside the frame, positive width and height.
        confidence: (N,) float32 in [0, 1].
    """

    xyxy: Boxes
    confidence: npt.NDArray[np.float32]

    def __post_init__(self) -> None:
        if self.xyxy.shape != (len(self.confidence), 4):
            raise ValueError(f"expected ({len(self.confidence)}, 4) boxes, got {self.xyxy.shape}")

    def __len__(self) -> int:
        return len(self.confidence)

    @classmethod
    def empty(cls) -> Detections:
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.float32))


def clip_to_frame(detections: Detections, width: int, height: int) -> Detections:
    """Cut boxes at the frame's border and drop what is not finite or has no area left.

    Args:
        detections: any boxes, also ones partly or wholly outside the frame.
        width: frame width in pixels.
        height: frame height in pixels.

    Returns:
        New detections that satisfy the contract of `Detections`; the argument is not changed.
    """
    finite = np.isfinite(detections.xyxy).all(axis=1) & np.isfinite(detections.confidence)
    xyxy = np.clip(np.nan_to_num(detections.xyxy), 0, np.array([width, height, width, height], np.float32))
    keep = finite & (xyxy[:, 2] > xyxy[:, 0]) & (xyxy[:, 3] > xyxy[:, 1])
    return Detections(xyxy[keep].astype(np.float32, copy=False), detections.confidence[keep])


def box_iou(first: npt.NDArray[np.floating], second: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """IoU of every pair of (N, 4) and (M, 4) xyxy boxes: (N, M) in [0, 1]."""
    first, second = first.astype(np.float64, copy=False), second.astype(np.float64, copy=False)
    size = np.minimum(first[:, None, 2:], second[None, :, 2:]) - np.maximum(
        first[:, None, :2], second[None, :, :2]
    )
    shared = np.prod(np.clip(size, 0, None), axis=2)
    areas = [np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) for boxes in (first, second)]
    return np.asarray(shared / np.maximum(areas[0][:, None] + areas[1][None] - shared, 1e-9), np.float64)


@dataclass(frozen=True, eq=False, slots=True)
class Tracklet:
    """One person in one camera, finished.

    Attributes:
        camera: name of the camera.
        track_id: the tracker's number, counted per camera and source.
        frame_indices: (T,) int32, increasing.
        timestamps: (T,) float64 seconds UTC, increasing.
        xyxy: (T, 4) float32 pixels.
        confidence: (T,) float32 in [0, 1].
        crops: up to 16 JPEG pictures of the person, evenly spread in time.
        crop_positions: (K,) int32, which of the T frames each crop shows.
        quality: in [0, 1], see `pipeline.crops.quality`.
        thumbnail: which crop shows the person best.
    """

    camera: str
    track_id: int
    frame_indices: npt.NDArray[np.int32]
    timestamps: npt.NDArray[np.float64]
    xyxy: Boxes
    confidence: npt.NDArray[np.float32]
    crops: tuple[bytes, ...]
    crop_positions: npt.NDArray[np.int32]
    quality: float
    thumbnail: int

    def __post_init__(self) -> None:
        n = len(self.frame_indices)
        shapes = (self.timestamps.shape, self.xyxy.shape, self.confidence.shape)
        if n == 0 or shapes != ((n,), (n, 4), (n,)):
            raise ValueError(f"a tracklet of {n} frames has fields of shapes {shapes}")
        if n > 1 and not (np.diff(self.frame_indices) > 0).all():
            raise ValueError("frame indices of a tracklet must increase")
        if not 0 <= self.thumbnail < len(self.crops) or len(self.crops) != len(self.crop_positions):
            raise ValueError(f"{len(self.crops)} crops, {len(self.crop_positions)} positions")

    @property
    def key(self) -> tuple[int, int]:
        """(track id, first frame): names the tracklet within its source."""
        return self.track_id, int(self.frame_indices[0])


@dataclass(frozen=True, eq=False, slots=True)
class TrackletUpdate:
    """News of one tracklet, whose key stays the same.

    Attributes:
        tracklet: all of it that is known by now.
        finished: no more frames will come.
        earlier: tracklets of the same camera that had finished a short while before this one began; told
            once, with the first update.
    """

    tracklet: Tracklet
    finished: bool
    earlier: tuple[Tracklet, ...] = ()
