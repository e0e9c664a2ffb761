"""What a run did over the last seconds, from counters that only ever grow."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from pipeline.live.status import CameraStatus, Histogram


@dataclass(frozen=True)
class Rates:
    """One camera over the last seconds; None where nothing was counted.

    Attributes:
        read_fps, analysed_fps: pictures per second.
        dropped, idle: shares of the due pictures, in [0, 1].
        latency_p50_s, latency_p95_s: upper bounds, from capture to the end of analysis.
    """

    read_fps: float | None = None
    analysed_fps: float | None = None
    dropped: float | None = None
    idle: float | None = None
    latency_p50_s: float | None = None
    latency_p95_s: float | None = None


@dataclass(frozen=True)
class _Sample:
    at: float
    read: int
    due: int
    idle: int
    dropped: int
    analysed: int
    latency: tuple[int, ...]


class RateMeter:
    """Remembers a camera's counters for a while.

    Args:
        window_s: seconds that the rates are taken over.
    """

    def __init__(self, window_s: float = 10.0) -> None:
        self._window_s = window_s
        self._samples: deque[_Sample] = deque()

    def update(self, camera: CameraStatus, now: float) -> Rates:
        """Add the counters of this moment (monotonic seconds) and give the rates since the window's begin."""
        newest = _Sample(
            now,
            camera.pictures_read,
            camera.frames_due,
            camera.frames_idle,
            camera.frames_dropped,
            camera.frames_analysed,
            tuple(camera.latency.counts),
        )
        self._samples.append(newest)
        while len(self._samples) > 2 and self._samples[1].at <= now - self._window_s:
            self._samples.popleft()
        return _between(self._samples[0], newest, camera.latency.bounds)


def _between(old: _Sample, new: _Sample, bounds: tuple[float, ...]) -> Rates:
    seconds = new.at - old.at
    if seconds <= 0:
        return Rates()
    due = new.due - old.due
    latency = Histogram(bounds, [b - a for a, b in zip(old.latency, new.latency, strict=True)])
    return Rates(
        read_fps=(new.read - old.read) / seconds,
        analysed_fps=(new.analysed - old.analysed) / seconds,
        dropped=(new.dropped - old.dropped) / due if due else None,
        idle=(new.idle - old.idle) / due if due else None,
        latency_p50_s=latency.quantile(0.5),
        latency_p95_s=latency.quantile(0.95),
    )
