"""How long and how often: the patience with one alert, and the lane of one webhook."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from pipeline.alerts.webhook import Target
from storage.watch_records import Alert

_HOLD_MAX_S = 60.0
_FORGET_S = 3600.0


@dataclass(frozen=True)
class Patience:
    """How long delivery of one alert is tried.

    Attributes:
        first_s: wait after the first failure; doubles each time.
        max_s: longest wait.
        tries: so many at most.
        give_up_s: and not when the alert is older.
        jitter: waits are longer or shorter by up to this share, so that they spread.
    """

    first_s: float = 2.0
    max_s: float = 1800.0
    tries: int = 60
    give_up_s: float = 86_400.0
    jitter: float = 0.2

    def next_attempt(self, alert: Alert, now: float, rng: Random) -> float | None:
        """When to try an alert again that has just failed, seconds UTC; None: not any more."""
        tries = alert.attempts + 1
        wait_s = min(self.max_s, self.first_s * 2.0 ** min(tries - 1, 60)) * (
            1 + self.jitter * rng.uniform(-1, 1)
        )
        given_up = tries >= self.tries or now + wait_s - alert.created > self.give_up_s
        return None if given_up else now + wait_s


@dataclass
class Lane:
    """One webhook: it is told of one alert after another, and held back as a whole while it fails.

    Attributes:
        watches: those that tell it.
        busy: a thread is telling it.
        failures: in a row.
        held_until: nothing is sent before, monotonic seconds.
    """

    target: Target
    watches: set[int] = field(default_factory=set)
    busy: bool = False
    failures: int = 0
    held_until: float = 0.0

    def is_closed(self, now: float) -> bool:
        """Whether nothing more can be sent at the moment `now`, monotonic seconds; likewise below."""
        return self.busy or now < self.held_until

    def is_idle(self, now: float) -> bool:
        """Whether there is nothing about it that is worth remembering."""
        return not self.is_closed(now) and (not self.failures or now > self.held_until + _FORGET_S)

    def settle(self, succeeded: bool, now: float, first_s: float) -> None:
        """After a message: go on, or hold back for `first_s` and twice as long after each further failure."""
        self.failures = 0 if succeeded else self.failures + 1
        if not succeeded:
            self.held_until = now + min(_HOLD_MAX_S, first_s * 2.0 ** min(self.failures - 1, 16))
