"""What was noted a moment ago, so that looking at one thing in many pieces is one row of the audit trail."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable

_FOR_S = 600.0
_MOST = 10_000
_TURNS = 64  # keys that share one wait for each other, seldom and to no harm


class Recently:
    """Remembers keys for ten minutes."""

    def __init__(self) -> None:
        self._seen: OrderedDict[Hashable, float] = OrderedDict()
        self._lock = threading.Lock()
        self._turns = [threading.Lock() for _ in range(_TURNS)]

    def once(self, key: Hashable, now: float, work: Callable[[], None]) -> None:
        """Do the work, unless it was done for the key within the last ten minutes (`now` in seconds).

        Who asks while it is being done waits for it. Work that fails was not done: the next one tries again.
        """
        with self._turns[hash(key) % _TURNS]:
            if self._has(key, now):
                return
            work()
            with self._lock:
                self._seen[key] = now

    def _has(self, key: Hashable, now: float) -> bool:
        with self._lock:
            while self._seen and (now - next(iter(self._seen.values())) > _FOR_S or len(self._seen) > _MOST):
                self._seen.popitem(last=False)
            return key in self._seen
