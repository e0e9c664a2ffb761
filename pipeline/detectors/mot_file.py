"""Replays boxes from a MOT file: recorded detections, or ground truth as an oracle detector."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import Field

from models.checkpoint import file_sha256
from pipeline.config import Settings
from pipeline.types import Detections, Frame, clip_to_frame


class Config(Settings):
    """Where the boxes are."""

    path: Path = Field(description="frame,id,left,top,width,height,confidence,...; frames count from 1")
    camera: str | None = Field(None, description="replay for this camera only; null: for every camera")


class MotFileDetector:
    """Looks up the boxes of each frame by its index; frames the file does not name have none."""

    def __init__(self, config: Config) -> None:
        if not config.path.is_file():
            raise FileNotFoundError(f"no box file {config.path}; detector.path must name a MOT file")
        self._boxes = read_boxes(config.path)
        self._camera = config.camera
        self.fingerprint = f"mot_file:{file_sha256(config.path)}:{config.camera}"

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        """See `YoloDetector.detect`."""
        return [self._of(frame) for frame in frames]

    def _of(self, frame: Frame) -> Detections:
        if self._camera is not None and frame.camera != self._camera:
            return Detections.empty()
        height, width = frame.image.shape[:2]
        return clip_to_frame(self._boxes.get(frame.index, Detections.empty()), width, height)


def read_boxes(path: Path) -> dict[int, Detections]:
    """Boxes of a MOT file by 0-based frame.

    Raises:
        ValueError: the file does not hold at least six numbers a line, or a frame or a confidence is none.
    """
    try:
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        if not lines:
            return {}
        rows = np.loadtxt(lines, delimiter=",", ndmin=2, dtype=np.float64)
    except ValueError as error:  # a UnicodeDecodeError is one
        raise ValueError(f"{path} is not a MOT file (frame,id,left,top,width,height,...): {error}") from error
    if rows.shape[1] < 6:
        raise ValueError(
            f"{path} has {rows.shape[1]} columns; a MOT file has frame,id,left,top,width,height,..."
        )
    if not ((rows[:, 0] >= 1) & (rows[:, 0] < 2**31)).all():
        raise ValueError(f"{path} has a frame number that is none; frames count from 1")
    confidence = rows[:, 6] if rows.shape[1] > 6 else np.ones(len(rows))
    if not (confidence <= 1).all():
        raise ValueError(f"{path} has confidences that are not between 0 and 1 (or -1: not known)")
    given: npt.NDArray[np.float32] = np.where(confidence < 0, 1.0, confidence).astype(np.float32)  # -1: not
    xyxy = np.concatenate([rows[:, 2:4], rows[:, 2:4] + rows[:, 4:6]], axis=1).astype(np.float32)
    frames = rows[:, 0].astype(np.int64) - 1
    order = np.argsort(frames, kind="stable")
    numbers, starts = np.unique(frames[order], return_index=True)
    groups = np.split(order, starts[1:])
    return {int(n): Detections(xyxy[rows], given[rows]) for n, rows in zip(numbers, groups, strict=True)}


def build(config: Config) -> MotFileDetector:
    """A detector that replays `config.path`."""
    return MotFileDetector(config)
