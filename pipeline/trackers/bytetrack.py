"""ByteTrack (Zhang et al., ECCV 2022): association of every detection box; Ultralytics' implementation."""

from __future__ import annotations

from pydantic import Field

from pipeline.config import Settings
from pipeline.offline import keep_ultralytics_offline
from pipeline.trackers._ultralytics import UltralyticsTracker


class Config(Settings):
    """ByteTrack's thresholds, under the names of the paper's code."""

    track_high_thresh: float = Field(0.25, ge=0, le=1, description="confidence for the first association")
    track_low_thresh: float = Field(0.1, ge=0, le=1, description="confidence for the second association")
    new_track_thresh: float = Field(0.25, ge=0, le=1, description="confidence that starts a track")
    match_thresh: float = Field(0.8, gt=0, le=1, description="largest cost (1 - IoU x score) of a match")
    fuse_score: bool = Field(True, description="multiply IoU by the detection's confidence")
    lost_buffer_s: float = Field(3.0, gt=0, description="how long a lost track may be found again")


def build(config: Config, *, frame_rate: float) -> UltralyticsTracker:
    """A tracker for one camera.

    Args:
        config: thresholds.
        frame_rate: analysed frames a second, which turns seconds into frames.
    """
    keep_ultralytics_offline()
    from ultralytics.trackers.byte_tracker import BYTETracker

    return UltralyticsTracker(BYTETracker, config, frame_rate)
