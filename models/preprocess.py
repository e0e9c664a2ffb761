"""From crops to clips: which frames of a tracklet, and how their pictures become numbers.

All of it must be the same in training and in use, which is why it lives beside the networks.
Frames are chosen by restricted random sampling (RRS), Li et al., "Diversity Regularized Spatiotemporal
Attention for Video-based Person Re-identification" (CVPR 2018), as the released STE-NVAN code does it.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

import cv2
import numpy as np
from numpy.typing import NDArray

Crop = NDArray[np.uint8]
Clip = NDArray[np.float32]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
RESIZE = "bilinear, area when shrinking"  # names what `resize` does; it is part of the hash


def sample_frame_indices(
    num_frames: int, clip_length: int = 8, rng: np.random.Generator | None = None
) -> NDArray[np.int64]:
    """Chooses the frames of one clip: the tracklet is cut into equal chunks, one frame from each.

    Args:
        num_frames: Frames of the tracklet, at least 1.
        clip_length: Frames of the clip, at least 1.
        rng: With one, a random frame of each chunk (training); without, the first (use).

    Returns:
        `(clip_length,)` positions in [0, num_frames), never decreasing; the last frame is repeated at the
        end where the chunks run past it, so short tracklets repeat it.
    """
    interval = _interval(num_frames, clip_length)
    starts = np.arange(clip_length, dtype=np.int64) * interval
    if rng is not None:
        starts += rng.integers(0, interval, size=clip_length)
    return np.asarray(np.minimum(starts, num_frames - 1))


def clip_indices(num_frames: int, clip_length: int = 8) -> NDArray[np.int64]:
    """Cuts a tracklet into all its clips: clip k takes the k-th frame of every chunk.

    Args:
        num_frames: Frames of the tracklet, at least 1.
        clip_length: Frames of a clip, at least 1.

    Returns:
        `(num_clips, clip_length)` positions, num_clips = ceil(num_frames / clip_length). The first clip is
        `sample_frame_indices(num_frames, clip_length)`; together the clips hold every frame.
    """
    interval = _interval(num_frames, clip_length)
    starts = np.arange(clip_length, dtype=np.int64) * interval
    return np.asarray(np.minimum(starts + np.arange(interval, dtype=np.int64)[:, None], num_frames - 1))


def _interval(num_frames: int, clip_length: int) -> int:
    if num_frames < 1 or clip_length < 1:
        raise ValueError(f"a clip of {clip_length} frames cannot be drawn from {num_frames} frames")
    return -(-num_frames // clip_length)


@dataclass(frozen=True)
class Preprocessing:
    """How crops become the input of a network.

    Attributes:
        height: Pixels of the network's input.
        width: Pixels of the network's input.
        mean: Per RGB channel, of values in [0, 1].
        std: Per RGB channel, of values in [0, 1], above 0.
    """

    height: int = 256
    width: int = 128
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD

    def __post_init__(self) -> None:
        if self.height < 1 or self.width < 1:
            raise ValueError(f"input size must be at least 1 x 1, not {self.height} x {self.width}")
        if len(self.mean) != 3 or len(self.std) != 3 or min(self.std) <= 0:
            raise ValueError(f"mean {self.mean} and std {self.std} must be three numbers, std above 0")

    @property
    def hash(self) -> str:
        """16 hex digits that change whenever the prepared numbers would."""
        canonical = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]

    def to_json(self) -> dict[str, Any]:
        """Plain numbers, strings and lists for a checkpoint."""
        values = asdict(self) | {"resize": RESIZE}
        return {key: list(v) if isinstance(v, tuple) else v for key, v in values.items()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Reads what `to_json` wrote; ValueError on unknown keys, another resize or values out of range."""
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(values) - known - {"resize"})
        if unknown or values.get("resize", RESIZE) != RESIZE:
            raise ValueError(f"unknown preprocessing: {', '.join(unknown) or values['resize']}")
        fitting: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        return cls(**{key: value for key, value in fitting.items() if key in known})

    def clip(self, crops: Sequence[Crop], out: Clip | None = None) -> Clip:
        """Prepares the crops of one clip.

        Bilinear when enlarging. When shrinking a side, its pixels are averaged by area first, as bilinear
        alone would skip pixels and let fine patterns of clothes alias.

        Args:
            crops: T pictures, each `(H, W, 3) uint8` RGB of any size.
            out: `(T, 3, height, width) float32` to write into, for instance a slice of a batch.

        Returns:
            `(T, 3, height, width) float32`; `out` if one was given.

        Raises:
            ValueError: A crop is not a picture with pixels, or `out` has another shape.
        """
        shape = (len(crops), 3, self.height, self.width)
        out = _checked(out, shape)
        std = np.asarray(self.std, np.float32)[:, None, None]
        scale = 1 / (255 * std)
        offset = -np.asarray(self.mean, np.float32)[:, None, None] / std
        for crop, target in zip(crops, out, strict=True):
            resized = resize(crop, self.height, self.width)
            np.multiply(resized.transpose(2, 0, 1), scale, out=target)
            target += offset
        return out

    def batch(self, clips: Sequence[Sequence[Crop]], out: Clip | None = None) -> Clip:
        """Prepares clips of equal length.

        Args:
            clips: B clips of T crops each, as in `clip`.
            out: `(B, T, 3, height, width) float32` to write into, so that one buffer serves every batch.

        Returns:
            `(B, T, 3, height, width) float32`; `out` if one was given.
        """
        lengths = {len(crops) for crops in clips}
        if len(lengths) > 1:
            raise ValueError(f"clips of one batch must be equally long, not {sorted(lengths)} frames")
        shape = (len(clips), lengths.pop() if lengths else 0, 3, self.height, self.width)
        out = _checked(out, shape)
        for crops, target in zip(clips, out, strict=True):
            self.clip(crops, target)
        return out


def _checked(out: Clip | None, shape: tuple[int, ...]) -> Clip:
    if out is None:
        return np.empty(shape, np.float32)
    if out.shape != shape or out.dtype != np.float32:
        raise ValueError(f"out must be {shape} float32, not {out.shape} {out.dtype}")
    return out


def resize(crop: Crop, height: int, width: int) -> NDArray[np.uint8]:
    """`(H, W, 3) uint8` to `(height, width, 3) uint8`, as all crops are resized for a network."""
    if crop.ndim != 3 or crop.shape[2] != 3 or crop.dtype != np.uint8 or 0 in crop.shape:
        raise ValueError(f"a crop must be (H, W, 3) uint8 with pixels, not {crop.shape} {crop.dtype}")
    shrunk = (min(crop.shape[0], height), min(crop.shape[1], width))
    if shrunk != crop.shape[:2]:
        crop = np.asarray(cv2.resize(crop, shrunk[::-1], interpolation=cv2.INTER_AREA), np.uint8)
    if crop.shape[:2] != (height, width):
        crop = np.asarray(cv2.resize(crop, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)
    return crop
