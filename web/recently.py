"""What was noted a moment ago, so that looking at one thing in many pieces is one row of the audit trail."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable

_FOR_S = 600.0
_MOST = 10_000


class Recently:
    """Remembers keys for ten minutes."""

    def __init__(self) -> None:
        self._seen: OrderedDict[Hashable, float] = OrderedDict()
        self._lock = threading.Lock()

    def new(self, key: Hashable, now: float) -> bool:
        """Whether the key was not given within the last ten minutes (`now` in seconds)."""
        with self._lock:
            while self._seen and (now - next(iter(self._seen.values())) > _FOR_S or len(self._seen) > _MOST):
                self._seen.popitem(last=False)
            if key in self._seen:
                return False
            self._seen[key] = now
            return True
