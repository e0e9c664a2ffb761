"""What a run is doing now: plain numbers that its threads write and everybody may read."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Literal

CameraState = Literal["connecting", "streaming", "waiting", "off", "ended", "failed"]
"""waiting: for the next try, or for a driver that hangs; off: outside its hours; ended, failed: a recording
is done, cannot be read."""

LATENCY_BOUNDS_S = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 5.0, 10.0, 30.0)


@dataclass
class Histogram:
    """Observations counted by upper bounds, as Prometheus has them.

    Attributes:
        bounds: rising upper bounds, in seconds.
        counts: observations of each bound (not cumulative), the last one beyond all bounds.
        total: sum of all observations, in seconds.
    """

    bounds: tuple[float, ...] = LATENCY_BOUNDS_S
    counts: list[int] = field(default_factory=list)
    total: float = 0.0

    def __post_init__(self) -> None:
        self.counts = self.counts or [0] * (len(self.bounds) + 1)

    def observe(self, seconds: float) -> None:
        """Count one observation."""
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.total += seconds

    def quantile(self, share: float) -> float | None:
        """Upper bound of the bucket that holds this share of the observations, None without any."""
        wanted, seen = share * sum(self.counts), 0
        for bound, count in zip((*self.bounds, float("inf")), self.counts, strict=True):
            seen += count
            if count and seen >= wanted:
                return bound
        return None


@dataclass
class CameraStatus:
    """One camera. Each number is written by one thread only.

    Attributes:
        name: of the camera.
        uri: without credentials.
        state: what it is doing.
        detail: why it waits, connects again or has failed, "" otherwise; without credentials.
        width, height: of its pictures in pixels, 0 before the first.
        codec: such as "h264", "" before the first picture.
        pictures_read: decoded so far.
        frames_due: of those, the ones that the analysis rate asked for.
        frames_idle: due, and left out because nothing moved.
        frames_dropped: due, and overtaken by a newer one because the machine could not keep up.
        frames_analysed: went through detector and tracker.
        connections: streams opened so far; reconnects are one less.
        failures: tries that failed, by a short reason ("open", "timeout", "ended", "invalid data", ...).
        damaged: pictures or packets that could not be decoded.
        clock_jumps: times that the stream's clock was restarted or jumped.
        drift_ppm: how much faster the camera's clock runs than ours, parts per million; None: not known yet.
        last_frame: capture time of the last frame analysed, seconds UTC; None before the first.
        latency: from capture to the end of analysis, in seconds.
        tracklets: stored so far.
        stitched: tracks joined to an earlier one of the same person.
        rejected: tracks not kept, by reason.
        thread_id: the kernel's number of the thread that reads and decodes it; None before that begins.
    """

    name: str
    uri: str
    state: CameraState = "connecting"
    detail: str = ""
    width: int = 0
    height: int = 0
    codec: str = ""
    pictures_read: int = 0
    frames_due: int = 0
    frames_idle: int = 0
    frames_dropped: int = 0
    frames_analysed: int = 0
    connections: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    damaged: int = 0
    clock_jumps: int = 0
    drift_ppm: float | None = None
    last_frame: float | None = None
    latency: Histogram = field(default_factory=Histogram)
    tracklets: int = 0
    stitched: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    thread_id: int | None = None


@dataclass
class RunStatus:
    """A whole run.

    Attributes:
        started: seconds UTC.
        cameras: in the order of the configuration.
        stage_s: seconds of wall time by stage ("detect", "track", "embed", "write", ...).
        stage_calls: batches that went through each stage.
        queued: what waits in front of a stage ("detect": cameras with a picture, "write": tracklets to store,
            "alerts": to deliver).
        alerts: what became of alerts ("raised", "delivered", "retried", "failed").
        paused: why ingest stands still ("disk full: ..."), "" when it runs.
        beat: monotonic seconds of the main loop's last turn; an old one means that it hangs.
    """

    started: float
    cameras: list[CameraStatus]
    stage_s: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    stage_calls: Counter[str] = field(default_factory=Counter)
    queued: dict[str, int] = field(default_factory=dict)
    alerts: Counter[str] = field(default_factory=Counter)
    paused: str = ""
    beat: float = 0.0
