"""When: which pictures are due, when a camera is tried again, and since when its pictures are missing."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable

_EARLY = 0.25


class Schedule:
    """Picks pictures at a rate.

    A picture may come a quarter of an interval before it is due, and the next one is counted from where this
    one should have been: capture times jitter, and a camera at exactly the rate asked for must not lose the
    pictures that came a little early.
    """

    def __init__(self, rate: float | None) -> None:
        """`rate`: a second; None: every picture."""
        self._interval_s = 1.0 / rate if rate else 0.0
        self._next = float("-inf")

    def due(self, at: float) -> bool:
        """Whether the picture of this time (seconds, rising) is due; the next one is an interval on."""
        if at < self._next - _EARLY * self._interval_s:
            return False
        late = at - self._next
        self._next = (self._next if late < self._interval_s else at) + self._interval_s
        return True

    def restart(self, at: float) -> None:
        """Count from a picture that was taken for another reason."""
        self._next = at + self._interval_s


class Backoff:
    """Waits between tries: doubling up to a cap, each shortened at random by up to a half.

    The jitter keeps the cameras of a recorder that comes back from all asking it at the same moment.
    """

    def __init__(self, first_s: float, longest_s: float, rng: random.Random) -> None:
        self._first_s, self._longest_s, self._rng = first_s, max(first_s, longest_s), rng
        self._next_s = first_s

    def next_s(self) -> float:
        """Seconds to wait now."""
        wait_s = self._next_s
        self._next_s = min(2 * wait_s, self._longest_s)
        return wait_s * self._rng.uniform(0.5, 1.0)

    def to_longest(self) -> None:
        """Where hurry does harm."""
        self._next_s = self._longest_s

    def reset(self) -> None:
        """All was well."""
        self._next_s = self._first_s


class Gap:
    """Tells when pictures are missing and when they are back, once each.

    Silence is measured by arrivals, so a stream that is always some seconds late has no gaps. Another thread
    may `look` when the one that reads hangs.
    """

    def __init__(
        self, after_s: float, on_gap: Callable[[float, str], None], on_gap_end: Callable[[float], None]
    ) -> None:
        self._after_s, self._on_gap, self._on_gap_end = after_s, on_gap, on_gap_end
        self._arrival = self._taken = float("inf")  # nothing is expected yet
        self._since = float("-inf")
        self._open = False
        self._lock = threading.RLock()

    def begin(self, now: float, utc: float) -> None:
        """Pictures are expected from now on (monotonic seconds, and seconds UTC)."""
        self._arrival, self._taken, self._since = now, utc, utc

    def look(self, now: float, why: str, last: float | None = None) -> None:
        """Is it a gap by now? `last`: since when, seconds UTC, at the earliest the end of the gap before;
        None: since the last picture."""
        with self._lock:
            if not self._open and now - self._arrival > self._after_s:
                self._open = True
                self._on_gap(self._taken if last is None else max(last, self._since), why)

    def picture(self, arrival: float, taken: float) -> None:
        """There is one: monotonic seconds of its arrival, seconds UTC of its capture."""
        with self._lock:
            self.look(arrival, "no pictures")
            self.end(taken)
            self._arrival, self._taken = arrival, taken

    def end(self, utc: float) -> None:
        """Pictures are back, or are no longer expected."""
        with self._lock:
            if self._open:
                self._open, self._since = False, utc
                self._on_gap_end(utc)
