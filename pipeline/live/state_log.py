"""Changes of a run's cameras as log lines: one for each change, fewer for a camera that keeps failing."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from dataclasses import dataclass, field
from time import monotonic
from types import TracebackType

from pipeline.live.logs import Persistent, log_event
from pipeline.live.status import CameraStatus, RunStatus

_POLL_S = 0.5
# A stream that holds for so long has recovered: its next failure is the first of a new series.
_STEADY_S = 60.0


@dataclass
class _Seen:
    """What was last known of a camera; `failures` and `since` are of the series that is going on."""

    state: str = ""
    reasons: Counter[str] = field(default_factory=Counter)
    failures: int = 0
    told: bool = True  # whether the newest failure has its line, so that the recovery gets one, too
    down_since: float | None = None
    steady_since: float | None = None


class StateLog:
    """Watches a run and logs what changes; a context manager with a thread of its own.

    Of a series of failures of one camera the 1st, 2nd, 4th, 8th, ... is logged, and a recovery only after a
    failure that was.
    """

    def __init__(self, status: RunStatus) -> None:
        self._status = status
        self._cameras: dict[str, _Seen] = {}
        self._paused = ""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="state log", daemon=True)

    def __enter__(self) -> StateLog:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(2.0)
        self.look(monotonic())

    def _run(self) -> None:
        going_on = Persistent("changes of cameras cannot be told")
        while not self._stop.wait(_POLL_S):
            with going_on:
                self.look(monotonic())

    def look(self, now: float) -> None:
        """Log what has changed since the last look; `now` in monotonic seconds."""
        if self._status.paused != self._paused:
            self._paused = self._status.paused
            if self._paused:
                log_event(logging.WARNING, "run paused", reason=self._paused)
            else:
                log_event(logging.INFO, "run goes on")
        for camera in self._status.cameras:
            seen = self._cameras.setdefault(camera.name, _Seen())
            if seen.steady_since is not None and now - seen.steady_since >= _STEADY_S:
                seen.failures, seen.steady_since = 0, None
            self._failures(camera, seen, now)
            if camera.state != seen.state:
                seen.state = camera.state
                self._change(camera, seen, now)

    def _failures(self, camera: CameraStatus, seen: _Seen, now: float) -> None:
        reasons = Counter(dict(camera.failures))  # its thread may be counting
        new = reasons - seen.reasons
        if not new:
            return
        seen.reasons = reasons
        before, seen.failures = seen.failures, seen.failures + new.total()
        seen.down_since = now if seen.down_since is None else seen.down_since
        seen.steady_since = None
        seen.told = before.bit_length() != seen.failures.bit_length()  # a power of two was reached
        if seen.told:
            log_event(
                logging.WARNING,
                "stream failed",
                camera=camera.name,
                reason=", ".join(sorted(new)),
                detail=camera.detail,
                failures=seen.failures,
            )

    def _change(self, camera: CameraStatus, seen: _Seen, now: float) -> None:
        if camera.state == "streaming":
            self._streaming(camera, seen, now)
        elif camera.state in ("off", "ended", "failed"):
            level = logging.WARNING if camera.state == "failed" else logging.INFO
            log_event(level, f"camera {camera.state}", camera=camera.name, **_detail(camera))
            seen.steady_since = None

    def _streaming(self, camera: CameraStatus, seen: _Seen, now: float) -> None:
        if seen.told:
            picture = f"{camera.width}x{camera.height}" if camera.width else ""
            fields: dict[str, object] = {
                "picture": picture,
                "codec": camera.codec,
                "failures": seen.failures or "",
            }
            if seen.down_since is not None:
                fields["down_s"] = round(now - seen.down_since, 1)
            log_event(
                logging.INFO, "camera streaming", camera=camera.name, **{k: v for k, v in fields.items() if v}
            )
        seen.down_since, seen.steady_since = None, now


def _detail(camera: CameraStatus) -> dict[str, str]:
    return {"detail": camera.detail} if camera.detail else {}
