"""One live camera: a thread that connects, decodes, keeps time and holds the newest picture that is due."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pipeline.live.clock import StreamClock, WallAnchor
from pipeline.live.opening import StreamError, StreamSpec
from pipeline.live.redaction import expand, redact
from pipeline.live.schedule import Backoff, Gap, Schedule
from pipeline.live.settings import CameraSettings, LiveSettings
from pipeline.live.status import CameraStatus
from pipeline.live.stream import Picture, read_pictures
from pipeline.types import Frame, Image

MAX_INDEX: Final = 2**31 - 1
"""Largest index of a picture, 2.7 years at 25 a second; the next one is 0 (tracks must not go on over it)."""
_STABLE_S = 10.0  # a connection that gave pictures for so long was a good one
_HOURS_EVERY_S = 1.0
_READ_TOGETHER_S = 0.005
_HANGS_AFTER_S = 2.0  # the reading thread itself has told by then, unless it hangs


@dataclass(frozen=True, eq=False, slots=True)
class Waiting:
    """A picture that waits for analysis, still as the decoder left it.

    Attributes:
        camera: name of the camera.
        index: counts all decoded pictures of the camera over all connections.
        capture_time: seconds UTC.
        arrival: monotonic seconds.
        picture: what was decoded.
    """

    camera: str
    index: int
    capture_time: float
    arrival: float
    picture: Picture

    def frame(self) -> Frame:
        """As RGB; costs some milliseconds at 1080p."""
        return Frame(self.camera, self.index, self.capture_time, self.picture.rgb())


class LiveCamera:
    """Reads one camera until told to stop, whatever the camera does.

    Attributes:
        status: what it is doing.
        active: set it while people are in view; the motion gate is not asked then.
        paused: set it to the reason while nothing can be analysed: pictures are dropped, and their time is a
            gap; "" otherwise.
        clock: where capture times come from.
    """

    def __init__(
        self,
        settings: CameraSettings,
        live: LiveSettings,
        analysis_fps: float | None,
        *,
        wake: Callable[[], None],
        on_gap: Callable[[float, str], None],
        on_gap_end: Callable[[float], None],
        gate: Callable[[Image, float], bool] | None = None,
        open_now: Callable[[float], bool] | None = None,
        rng: random.Random | None = None,
    ) -> None:
        """Nothing is opened before `start`.

        Args:
            settings: of this camera; its `analysis_fps` wins over the other one.
            live: of all cameras.
            analysis_fps: frames a second to analyse, None: all.
            wake: called by the reading thread when a picture waits.
            on_gap: called by the reading thread, once a gap: seconds UTC of the last picture (of the start,
                when there was none), and why.
            on_gap_end: called by the reading thread: seconds UTC of the first picture afterwards.
            gate: told the (H, W) brightness and capture time of pictures that are due; says if
                something moved.
            open_now: whether the camera is to be read at that time, seconds UTC; None: always.
            rng: for the jitter between tries.

        Raises:
            ValueError: the uri asks for an environment variable that is not there.
        """
        self._spec = StreamSpec(
            expand(settings.uri),
            settings.transport,
            live.open_timeout_s,
            live.read_timeout_s,
            live.threads_per_stream,
            settings.tls_verify,
            settings.ca_file,
        )
        self._live, self._wake, self._gate, self._open_now = live, wake, gate, open_now
        self.status = CameraStatus(settings.name, redact(settings.uri))
        self.active = False
        self.paused = ""
        self._wall = WallAnchor(time.monotonic(), time.time())
        self.clock = StreamClock(self._wall)
        self._gap = Gap(live.gap_s, on_gap, on_gap_end)
        self._due = Schedule(settings.analysis_fps or analysis_fps)
        self._idle_due = Schedule(live.idle_fps)
        self._backoff = Backoff(live.backoff_s, live.backoff_max_s, rng or random.Random())
        self._index, self._seen = -1, float("-inf")
        self._slot: Waiting | None = None
        self._lock = threading.Lock()
        self._stop, self._leave = threading.Event(), threading.Event()
        self._hours_asked, self._open = float("-inf"), True
        self._thread = threading.Thread(target=self._run, name=f"read {settings.name}", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def stop(self) -> None:
        """Ask the reading thread to end; see `read_pictures` for how long it may take."""
        self._stop.set()
        self._leave.set()

    def join(self, timeout: float | None = None) -> bool:
        """Wait for the reading thread; whether it has ended. One that has not keeps no process alive."""
        if self._thread.ident is not None:
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def look(self) -> None:
        """Notice what a reading thread that hangs cannot tell; another one calls it about once a second."""
        status, silent_s = self.status, time.monotonic() - self._seen
        if status.state in ("connecting", "streaming"):
            self._gap.look(time.monotonic(), status.detail or "no pictures")
        if status.state == "streaming" and silent_s > self._live.read_timeout_s + _HANGS_AFTER_S:
            status.state, status.detail = "waiting", f"no picture for {silent_s:.0f} s: reading it hangs"
            status.failures["timeout"] += 1

    def take(self) -> Waiting | None:
        """The newest picture that is due, which is handed out once; None when there is none."""
        with self._lock:
            waiting, self._slot = self._slot, None
        return waiting

    def waiting_since(self) -> float | None:
        """Arrival (monotonic seconds) of the picture that waits, None when none does."""
        waiting = self._slot
        return None if waiting is None else waiting.arrival

    def _run(self) -> None:
        self.status.thread_id = threading.get_native_id()
        self._gap.begin(time.monotonic(), self._now())
        while not self._stop.is_set():
            if not self._within_hours():
                self._rest()
                continue
            self.status.state = "connecting"  # the reason of the last failure stays until it streams
            try:
                self._read()
                continue
            except StreamError as error:
                kind, why = error.kind, str(error)
            except Exception as error:  # noqa: BLE001 - this camera must come back, whatever it was
                kind, why = "internal", _where(error)
            self.status.failures[kind] += 1
            self._wait(kind, why)
        self.status.state = "off"

    def _read(self) -> None:
        """One connection: until it breaks (StreamError), or stop or the hours end it."""
        self._leave.clear()
        if self._stop.is_set():  # just now, and the line above has undone it
            return
        first: float | None = None
        with closing(read_pictures(self._spec, self._leave, self._count_damage, self._look_up)) as pictures:
            for picture in pictures:
                if first is None:
                    first = picture.arrival
                    self._opened()
                elif picture.arrival - first > _STABLE_S:
                    self._backoff.reset()
                self._receive(picture)
                self._look_up()

    def _opened(self) -> None:
        self.clock.connected()
        self.status.connections += 1

    def _receive(self, picture: Picture) -> None:
        status, self._seen = self.status, time.monotonic()
        if status.state != "streaming":
            status.state, status.detail = "streaming", ""
        status.pictures_read += 1
        status.damaged += picture.corrupt
        status.width, status.height, status.codec = picture.width, picture.height, picture.codec
        self._index = self._index + 1 if self._index < MAX_INDEX else 0
        self._observe_wall()
        arrival = picture.arrival - picture.behind_s
        taken = self.clock.capture_time(picture.pts_s, arrival, picture.sender_time)
        status.drift_ppm, status.clock_jumps = self.clock.drift_ppm, self.clock.jumps
        if self.paused:
            self._look_for_gap("no pictures")
        else:
            self._gap.picture(picture.arrival, taken)
        if self._due.due(taken):
            status.frames_due += 1
            if not self._worth_analysis(picture, taken):
                status.frames_idle += 1
            elif self.paused:
                status.frames_dropped += 1 + (self.take() is not None)
            else:
                self._offer(Waiting(status.name, self._index, taken, picture.arrival, picture))

    def _worth_analysis(self, picture: Picture, taken: float) -> bool:
        """Whether people are in view, something moved, or it is time to look at a still scene again."""
        if self._gate is None or self.active or self._gate(picture.luma(), taken):
            self._idle_due.restart(taken)
            return True
        return self._idle_due.due(taken)

    def _offer(self, waiting: Waiting) -> None:
        with self._lock:
            overtaken, self._slot = self._slot, waiting
        if overtaken is not None:
            self.status.frames_dropped += 1
        else:
            self._wake()

    def _wait(self, kind: str, why: str) -> None:
        """Until the next try. A wrong password is not tried often: cameras lock out who does."""
        self.status.state, self.status.detail = "waiting", why
        if kind == "unauthorised":
            self._backoff.to_longest()
        until = time.monotonic() + self._backoff.next_s()
        while (left := until - time.monotonic()) > 0 and not self._stop.wait(min(left, 0.5)):
            self._observe_wall()
            self._look_for_gap(why)

    def _rest(self) -> None:
        """Outside its hours: no connection, and nothing is missing."""
        self.status.state, self.status.detail = "off", ""
        self._gap.end(self._now())
        self._backoff.reset()
        self._stop.wait(_HOURS_EVERY_S)
        self._observe_wall()
        self._gap.begin(time.monotonic(), self._now())

    def _look_up(self) -> None:
        """About once a second while connected: gaps, and whether the hours have ended."""
        self._look_for_gap("no pictures")
        if not self._within_hours():
            self._leave.set()

    def _look_for_gap(self, why: str) -> None:
        """Whether pictures are missing for that reason, or as nobody analyses them."""
        if paused := self.paused:
            self._gap.look(time.monotonic(), f"paused: {paused}", self.status.last_frame or 0.0)
        else:
            self._gap.look(time.monotonic(), why)

    def _within_hours(self) -> bool:
        if self._open_now is not None and time.monotonic() - self._hours_asked >= _HOURS_EVERY_S:
            self._hours_asked = time.monotonic()
            self._open = self._open_now(self._now())
        return self._open

    def _count_damage(self) -> None:
        self.status.damaged += 1

    def _observe_wall(self) -> None:
        before = time.monotonic()
        utc = time.time()
        if time.monotonic() - before < _READ_TOGETHER_S:  # not torn apart by another thread
            self._wall.observe(before, utc)

    def _now(self) -> float:
        return self._wall.utc(time.monotonic())


def _where(error: Exception) -> str:
    """What went wrong inside, by its place: its text may hold anything."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f" at {Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace else ""
    return f"{type(error).__name__}{place}"
