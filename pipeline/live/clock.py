"""When was a picture taken? Stream time stamps, arrivals and sender reports -> seconds UTC.

A stream's own time stamps are regular but begin anywhere; arrivals are on our clock but late by whatever the
network, buffers and a busy machine add. Delay is never negative, so the least delay of the last minute ties
the one to the other: jitter falls away, and a slow drift between the two clocks is followed. Where RTCP
sender reports give the sender's own UTC, it is taken when it can be right, and else tied in the same way.

Everything is pure: monotonic and UTC seconds are passed in.
"""

from __future__ import annotations

from collections import deque
from typing import Final

import numpy as np

STEP_S: Final = 1e-3  # two pictures of a camera are at least this far apart
_WINDOW_S = 60.0  # of the least delay; at 100 ppm the clocks part by 6 ms in that time
_BINS_S = 1.0  # the window is kept as the least delay of each second, so a high rate costs no more
_LEAP_S = 2.0  # stamps that advance so much faster than arrivals have leapt
_BACK_S = 0.5  # stamps that go back by more have been set back; less is a picture out of order
_LATE_S, _LATE_FOR_S = 1.0, 10.0  # later than this for so long: the stream's clock had stood still
_WRAPS_S = (2**32 / 90_000, 2**33 / 90_000)  # of RTP and MPEG time stamps
_WRAP_SLACK_S = 60.0
_DRIFT_BIN_S, _DRIFT_BINS, _DRIFT_AFTER = 30.0, 120, 10
_TRUST_S, _DISTRUST_S = (-0.1, 3.0), (-0.3, 4.0)  # lag of arrival behind the sender's clock that can be real
_WALL_SLEW, _WALL_BACK_SLEW, _WALL_STEP_S, _WALL_DONE_S = 1e-3, 0.05, 0.5, 0.01


class WallAnchor:
    """Monotonic seconds -> seconds UTC, calm when the machine's clock is not.

    Small corrections are followed at 0.1 %. A step forwards is followed at once. A step backwards would make
    times repeat, so time runs 5 % slower until it agrees (an hour takes most of a day).

    Attributes:
        steps: of more than half a second, either way.
    """

    def __init__(self, monotonic: float, utc: float) -> None:
        self._offset, self._at = utc - monotonic, monotonic
        self._going_back = False
        self.steps = 0

    def observe(self, monotonic: float, utc: float) -> None:
        """Both clocks, read together; call it as often as you like."""
        elapsed, self._at = max(0.0, monotonic - self._at), max(monotonic, self._at)
        error = utc - monotonic - self._offset
        if error > _WALL_STEP_S:
            self._offset += error
            self.steps += 1
            return
        back = error < -(_WALL_DONE_S if self._going_back else _WALL_STEP_S)
        self.steps += back and not self._going_back
        self._going_back = back
        limit = elapsed * (_WALL_BACK_SLEW if back else _WALL_SLEW)
        self._offset += min(max(error, -limit), limit)

    def utc(self, monotonic: float) -> float:
        """Seconds UTC at that moment."""
        return monotonic + self._offset


class StreamClock:
    """The clock of one camera, over all its connections.

    Call `connected` for each new connection, then `capture_time` for each of its pictures in order.

    Attributes:
        wall: turns arrivals into UTC.
        jumps: times that the stream's clock was set back, leapt, or stood still.
        drift_ppm: how much faster the stream's clock runs than ours; None before about five minutes.
        sender_offset_s: how far the sender's clock is ahead (behind, when negative) where that cannot be true
            and is corrected; None when the sender's clock is believed or there is none.
    """

    def __init__(self, wall: WallAnchor) -> None:
        self.wall = wall
        self.jumps = 0
        self.drift_ppm: float | None = None
        self.sender_offset_s: float | None = None
        self._stamps, self._sender = _Anchor(), _Anchor()
        self._drift = _Drift()
        self._believed = False
        self._usual_delay_s = 0.0
        self._last = float("-inf")

    def connected(self) -> None:
        """The next picture comes from a new connection: its time stamps begin anew."""
        self._stamps, self._sender, self._drift = _Anchor(), _Anchor(), _Drift()

    def capture_time(self, pts_s: float | None, arrival: float, sender_time: float | None = None) -> float:
        """When a picture was taken.

        Args:
            pts_s: its time stamp in the stream, None when it has none.
            arrival: monotonic seconds.
            sender_time: UTC by the sender's clock, None without sender reports.

        Returns:
            Seconds UTC, at least `STEP_S` after the picture before it and otherwise never after its arrival.
        """
        stamp_delay = self._by_stamps(pts_s, arrival) if pts_s is not None else None
        if sender_time is not None:
            taken = self._by_sender(sender_time, arrival)
        elif pts_s is not None and stamp_delay is not None:
            taken = self._stamps.unwrapped + stamp_delay + self.wall.utc(0.0) - self._usual_delay_s
        else:
            taken = self.wall.utc(arrival) - self._usual_delay_s
        taken = min(taken, self.wall.utc(arrival))
        self._last = max(taken, self._last + STEP_S)
        return self._last

    def _by_stamps(self, pts_s: float, arrival: float) -> float:
        """Monotonic seconds to add to the (unwrapped) stamp."""
        jumped, delay = self._stamps.tie(pts_s, arrival)
        if jumped:
            self.jumps += 1
            self._drift = _Drift()
        drift_ppm = self._drift.ppm(self._stamps.unwrapped, arrival)
        self.drift_ppm = self.drift_ppm if drift_ppm is None else drift_ppm
        return delay

    def _by_sender(self, sender_time: float, arrival: float) -> float:
        """UTC by a sender report, corrected when the sender's clock cannot be right."""
        _, delay = self._sender.tie(sender_time, arrival)
        lag = delay + self.wall.utc(0.0)  # least time from the sender's "now" to our arrival
        low, high = _DISTRUST_S if self._believed else _TRUST_S
        self._believed = low <= lag <= high
        if self._believed:
            self._usual_delay_s, self.sender_offset_s = max(0.0, lag), None
            return sender_time + min(0.0, lag)
        self.sender_offset_s = -lag
        return sender_time + lag - self._usual_delay_s


class _Anchor:
    """Ties a stream's stamps to arrivals by the least delay of a sliding window.

    Attributes:
        unwrapped: the last stamp, without wraps.
    """

    def __init__(self) -> None:
        self.unwrapped = 0.0
        self._wrapped_s = 0.0
        self._arrival: float | None = None
        self._least: deque[tuple[int, float]] = deque()  # (second of arrival, least delay), delays rising
        self._late_since: float | None = None

    def tie(self, stamp: float, arrival: float) -> tuple[bool, float]:
        """Returns whether the stamps jumped, and what to add to the unwrapped stamp to get its arrival."""
        jumped = self._follow(stamp, arrival)
        delay = arrival - self.unwrapped
        jumped = self._stood_still(delay, arrival) or jumped
        if jumped:
            self._least.clear()
            self._late_since = None
        second = int(arrival // _BINS_S)
        while self._least and self._least[-1][1] >= delay:
            self._least.pop()
        if not self._least or self._least[-1][0] != second:
            self._least.append((second, delay))
        while self._least[0][0] < second - _WINDOW_S / _BINS_S:
            self._least.popleft()
        return jumped, self._least[0][1]

    def _follow(self, stamp: float, arrival: float) -> bool:
        """Unwrap the stamp; True when it has gone back or leapt."""
        before, last_arrival = self.unwrapped, self._arrival
        self.unwrapped, self._arrival = stamp + self._wrapped_s, arrival
        if last_arrival is None:
            return False
        for wrap_s in _WRAPS_S:
            if abs(self.unwrapped + wrap_s - before - (arrival - last_arrival)) < _WRAP_SLACK_S:
                self._wrapped_s += wrap_s
                self.unwrapped += wrap_s
                break
        step = self.unwrapped - before
        leapt = step - (arrival - last_arrival) > _LEAP_S
        # After a stall, what was buffered catches up in a burst: its delays fall towards the least one.
        earlier_than_ever = arrival - self.unwrapped < self._least[0][1] - _LEAP_S
        return step < -_BACK_S or (leapt and earlier_than_ever)

    def _stood_still(self, delay: float, arrival: float) -> bool:
        if not self._least or delay < self._least[0][1] + _LATE_S:
            self._late_since = None
            return False
        if self._late_since is None:
            self._late_since = arrival
        return arrival - self._late_since > _LATE_FOR_S


class _Drift:
    """Slope of the least delay of each half minute over the last hour."""

    def __init__(self) -> None:
        self._bins: deque[tuple[float, float]] = deque(maxlen=_DRIFT_BINS)
        self._least: tuple[float, float] | None = None
        self._ends = float("-inf")

    def ppm(self, stamp: float, arrival: float) -> float | None:
        """Parts per million by which stamps run faster than arrivals, each time a bin is full."""
        delay, full = arrival - stamp, None
        if self._least is None:
            self._ends = arrival + _DRIFT_BIN_S
        elif arrival >= self._ends:
            self._bins.append(self._least)
            self._least, self._ends = None, arrival + _DRIFT_BIN_S
            full = self._slope() if len(self._bins) >= _DRIFT_AFTER else None
        if self._least is None or delay < self._least[1]:
            self._least = (arrival, delay)
        return full

    def _slope(self) -> float:
        """Theil-Sen: the median slope of all pairs, which a few bad half minutes do not move."""
        arrivals, delays = np.array(self._bins).T
        first, second = np.triu_indices(len(arrivals), k=1)
        slopes = (delays[second] - delays[first]) / (arrivals[second] - arrivals[first])
        return -1e6 * float(np.median(slopes))
