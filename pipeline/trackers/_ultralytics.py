"""Ultralytics' association algorithms behind our two-method contract."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.config import Settings
from pipeline.types import Detections, Frame

_REMOVED_KEPT = 100  # the next frame needs those of this one; Ultralytics keeps a thousand


class UltralyticsTracker:
    """One instance per camera and source; ids start at 1 and are never given twice by an instance."""

    def __init__(self, algorithm: type, config: Settings, frame_rate: float, **extra: Any) -> None:
        options = config.model_dump()
        options["track_buffer"] = max(1, round(options.pop("lost_buffer_s") * frame_rate))
        self._needs_image = options.get("gmc_method", "none") != "none"
        self._tracker: Any = algorithm(SimpleNamespace(**options, **extra))

    def update(self, frame: Frame, detections: Detections) -> npt.NDArray[np.int64]:
        """Match one frame's detections to the tracks.

        Args:
            frame: the next frame; its picture is used by motion compensation only.
            detections: N persons found in it.

        Returns:
            (N,) int64: the track of each detection, -1 where no track is confirmed.
        """
        image = cv2.cvtColor(frame.image, cv2.COLOR_RGB2BGR) if self._needs_image else None
        self._tracker.update(_Boxes(detections.xyxy, detections.confidence), image)
        del self._tracker.removed_stracks[:-_REMOVED_KEPT]
        ids = np.full(len(detections), -1, np.int64)
        for track in self._tracker.tracked_stracks:
            if track.is_activated and track.frame_id == self._tracker.frame_id:
                ids[int(track.idx)] = track.track_id
        return ids

    def alive(self) -> set[int]:
        """Ids that a later frame may still carry: tracked now, or lost within the buffer."""
        tracker = self._tracker
        return {int(track.track_id) for track in (*tracker.tracked_stracks, *tracker.lost_stracks)}


class _Boxes:
    """The part of Ultralytics' `Boxes` that the trackers read: numpy, indexable by a mask."""

    def __init__(self, xyxy: npt.NDArray[np.float32], conf: npt.NDArray[np.float32]) -> None:
        self.xyxy, self.conf = xyxy, conf
        self.cls = np.zeros(len(conf), np.float32)

    @property
    def xywh(self) -> npt.NDArray[np.float32]:
        corners = self.xyxy
        size = corners[:, 2:] - corners[:, :2]
        return np.concatenate([corners[:, :2] + size / 2, size], axis=1)

    def __getitem__(self, mask: npt.NDArray[np.bool_]) -> _Boxes:
        return _Boxes(self.xyxy[mask], self.conf[mask])

    def __len__(self) -> int:
        return len(self.conf)
