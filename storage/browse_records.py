"""What browsing shows: when tracklets began, and what each camera does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from storage.records import camera_name, readable

ViewState = Literal["connecting", "streaming", "waiting", "off", "ended", "failed", "recorded"]
"""As a run calls the states of its live cameras; "recorded": a recording of it was ingested last."""


@dataclass(frozen=True, eq=False)
class TimeLine:
    """How many tracklets began when.

    Attributes:
        start: Of the first bin, seconds UTC.
        bin_s: Length of a bin in seconds.
        counts: (B,) int64 of each camera: tracklets that began in each bin.
        exact: False when there were too many tracklets to look at each: then the filter's `min_quality` and
            `exclude_span` were left aside.
    """

    start: float
    bin_s: float
    counts: dict[str, npt.NDArray[np.int64]]
    exact: bool = True


@dataclass(frozen=True)
class CameraView:
    """What the last run or ingest said of a camera.

    Attributes:
        state: What it was doing then.
        detail: Why it waits, "" otherwise.
        updated: When that was said, seconds UTC. A run says it anew at least every half minute.
        frame_time: Capture time of the picture that `Gallery.camera_frame` gives, seconds UTC; None: there
            is none.
        per_hour: Tracklets that began in each of 24 hours, the last of which is the present one; of a
            recorded camera, that of its last tracklet.
    """

    camera: str
    state: ViewState
    detail: str
    updated: float
    frame_time: float | None
    per_hour: tuple[int, ...]


@dataclass(frozen=True)
class NewView:
    """A camera's view on its way into the gallery; see `CameraView`.

    Attributes:
        frame: A JPEG file, masked as the camera is; None leaves the one that is there.
        frame_time: Of `frame`, seconds UTC.
    """

    camera: str
    state: ViewState
    detail: str
    updated: float
    frame: bytes | None = None
    frame_time: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "camera", camera_name(self.camera))
        object.__setattr__(self, "detail", readable(self.detail))
        if self.state not in get_args(ViewState):
            raise ValueError(f"a camera's state is one of {get_args(ViewState)}, got {self.state!r}")
        if (self.frame is None) != (self.frame_time is None):
            raise ValueError("a frame and its time belong together")
        if self.frame is not None and self.frame[:2] != b"\xff\xd8":
            raise ValueError("a frame must be a JPEG file")
        for name in ("updated", "frame_time"):
            seconds = getattr(self, name)
            if seconds is not None and not np.isfinite(seconds):
                raise ValueError(f"{name} must be seconds UTC, got {seconds}")
            object.__setattr__(self, name, None if seconds is None else float(seconds))
