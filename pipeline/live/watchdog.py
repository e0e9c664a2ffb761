"""Tells systemd that the run has started, still turns, and is about to stop (as sd_notify(3) does)."""

from __future__ import annotations

import os
import socket
import threading
from types import TracebackType

from pipeline.live.health import hanging, health
from pipeline.live.logs import Persistent
from pipeline.live.status import RunStatus

_EVERY_S = 5.0
_POLL_S = 0.1


class Watchdog:
    """Reports to the service manager that started this process, if one did, while its context is open.

    READY is sent when the run has begun its work, or is paused before it can. While the main loop turns,
    WATCHDOG is sent three times in the time that the unit's WatchdogSec allows: a loop that hangs is
    restarted by systemd. A run that is paused turns and is left alone.
    """

    def __init__(self, status: RunStatus) -> None:
        self._status = status
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    def __enter__(self) -> Watchdog:
        if os.environ.get("NOTIFY_SOCKET"):
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(1.0)
            notify("STOPPING=1")

    def _run(self) -> None:
        while not (self._status.beat or self._status.paused):
            if self._stop.wait(_POLL_S):
                return
        notify("READY=1")
        every = min(_EVERY_S, _watchdog_s() / 3)
        going_on = Persistent("the service manager cannot be told")
        while not self._stop.wait(every):
            with going_on:
                words = health(self._status).reason or _summary(self._status)
                # Before the first turn the loop is still being set up: only one that has turned can hang.
                alive = not self._status.beat or not hanging(self._status)
                notify(f"STATUS={words}" + ("\nWATCHDOG=1" if alive else ""))


def notify(message: str) -> bool:
    """Send lines of NAME=VALUE to the service manager; False when there is none."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path.startswith(("/", "@")):
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.settimeout(1.0)
        try:
            sender.sendto(message.encode(), "\0" + path[1:] if path[0] == "@" else path)
        except OSError:  # a manager that is gone is no reason to stop
            return False
    return True


def _watchdog_s() -> float:
    """Time that the manager waits for a sign of life, infinite when it does not wait for any."""
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    meant = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    return int(microseconds) / 1e6 if microseconds.isdigit() and int(microseconds) and meant else float("inf")


def _summary(status: RunStatus) -> str:
    streaming = sum(camera.state == "streaming" for camera in status.cameras)
    return f"{streaming} of {len(status.cameras)} cameras streaming"
