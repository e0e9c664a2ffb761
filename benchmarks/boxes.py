"""The default detector's boxes of a video, kept in a MOT file so that a second run needs no detector."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pipeline import plugins
from pipeline.config import load_config
from pipeline.detectors.mot_file import read_boxes
from pipeline.types import Detections, Frame
from pipeline.video import SourceSpec, open_source

_TOGETHER = 8


def boxes_of(video: Path, cache: Path) -> Path:
    """The MOT file of all frames of `video`, made in the folder `cache` if it is not there."""
    path = cache / f"{video.resolve().parent.name}-{video.stem}.boxes.txt"
    if path.exists():
        return path
    cache.mkdir(parents=True, exist_ok=True)
    config = load_config(overrides=["video.analysis_fps=null"])
    detector = plugins.build("detectors", config.detector)
    lines: list[str] = []
    waiting: list[Frame] = []
    for frame in open_source(SourceSpec("camera", str(video), 0.0), config.video).frames():
        waiting.append(frame)
        if len(waiting) == _TOGETHER:
            lines += _rows(waiting, detector.detect(waiting))
            waiting = []
    if waiting:
        lines += _rows(waiting, detector.detect(waiting))
    partial = path.with_suffix(".tmp")
    partial.write_text("".join(lines), encoding="utf-8")
    partial.replace(path)
    return path


def load(video: Path, cache: Path) -> dict[int, Detections]:
    """Boxes by 0-based frame."""
    return read_boxes(boxes_of(video, cache))


def _rows(frames: list[Frame], found: list[Detections]) -> list[str]:
    return [
        f"{frame.index + 1},-1,{left:.3f},{top:.3f},{right - left:.3f},{bottom - top:.3f},{confidence:.5f}\n"
        for frame, detections in zip(frames, found, strict=True)
        for (left, top, right, bottom), confidence in zip(
            detections.xyxy.tolist(), detections.confidence.tolist(), strict=True
        )
    ]
