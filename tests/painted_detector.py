"""A detector for painted people in coloured clothes, quick enough for live tests: whatever is not grey.

Run as a program it is `run_pipeline.py` with this detector in the place of every other.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

from pipeline import plugins  # noqa: E402
from pipeline.types import Detections, Frame  # noqa: E402

MIN_AREA_PX = 300


class PaintedDetector:
    """Finds what differs from the grey ground that `painted.paint` lays."""

    fingerprint = "painted"

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        """The boxes of connected coloured areas."""
        return [_people(frame.image) for frame in frames]


def _people(image: np.ndarray) -> Detections:
    lowest, highest = image.min(axis=2), image.max(axis=2)
    coloured = highest.astype(int) - lowest > 40
    mask = cv2.morphologyEx(coloured.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask)
    found = stats[1:][stats[1:, cv2.CC_STAT_AREA] >= MIN_AREA_PX]
    boxes = np.stack([found[:, 0], found[:, 1], found[:, 0] + found[:, 2], found[:, 1] + found[:, 3]], axis=1)
    return Detections(boxes.astype(np.float32), np.full(len(boxes), 0.9, np.float32))


def use() -> None:
    """Let every detector be this one, for the rest of the process."""
    real = plugins.build

    def build(kind: plugins.Kind, settings: plugins.PluginSettings, **context: Any) -> Any:
        return PaintedDetector() if kind == "detectors" else real(kind, settings, **context)

    plugins.build = build


if __name__ == "__main__":
    use()
    from run_pipeline import main

    sys.exit(main())
