"""BoT-SORT (Aharon et al., 2022): ByteTrack with a width-height state and camera-motion compensation."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pipeline.offline import keep_ultralytics_offline
from pipeline.trackers import bytetrack
from pipeline.trackers._ultralytics import UltralyticsTracker


class Config(bytetrack.Config):
    """ByteTrack's thresholds and the motion compensation."""

    gmc_method: Literal["none", "sparseOptFlow", "orb", "ecc"] = Field(
        "sparseOptFlow", description="compensation of camera motion; none for fixed cameras costs nothing"
    )


def build(config: Config, *, frame_rate: float) -> UltralyticsTracker:
    """A tracker for one camera; see `bytetrack.build`."""
    keep_ultralytics_offline()
    from ultralytics.trackers.bot_sort import BOTSORT

    return UltralyticsTracker(
        BOTSORT,
        config,
        frame_rate,
        with_reid=False,
        proximity_thresh=0.5,
        appearance_thresh=0.8,
        model="auto",
    )
