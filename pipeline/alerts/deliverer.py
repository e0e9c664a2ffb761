"""Tells webhooks of alerts: at least once, again until it is given up, and none of them waits for another."""

from __future__ import annotations

import logging
import math
import os
import threading
from collections import defaultdict
from collections.abc import Sequence
from random import Random
from time import monotonic, sleep, time
from types import TracebackType

from pipeline.alerts.lanes import Lane, Patience
from pipeline.alerts.message import message
from pipeline.alerts.webhook import Target, WebhookError, post, signature
from pipeline.live.logs import log_event
from pipeline.live.status import RunStatus
from storage.gallery import Gallery
from storage.watch_records import Alert

_POLL_S = 0.5
_COUNT_EVERY_S = 5.0
_AFTER_ERROR_S = 5.0
_AT_ONCE = 64
_BATCH_S = 10.0  # then it is looked again at what is due: watches may have been removed
_LANES_IN_ALL, _LANES_OF_A_HOST = 16, 4
_END_S = 1.0  # what is under way for longer is sent again by the next run


class Deliverer:
    """Delivers what is due, from threads of its own, while its context is open.

    Args:
        gallery: open for writing.
        status: counts what becomes of alerts.
        patience: with a single alert.
        rng: spreads the waits.
    """

    def __init__(
        self,
        gallery: Gallery,
        status: RunStatus | None = None,
        patience: Patience | None = None,
        rng: Random | None = None,
    ) -> None:
        self._watching, self._status = gallery.watching, status
        self._patience, self._rng = patience or Patience(), rng or Random()
        self._lock, self._writing = threading.Lock(), threading.Lock()
        self._lanes: dict[str, Lane] = {}
        self._unnoted: dict[int, tuple[str | None, float | None]] = {}
        self._errors = 0
        self._counted = 0.0
        self._deadline = math.inf
        self._stop, self._wake = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="alerts", daemon=True)

    def __enter__(self) -> Deliverer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._deadline = monotonic() + _END_S
        self._stop.set()
        self._wake.set()
        self._thread.join(_END_S)
        while any(lane.busy for lane in list(self._lanes.values())) and monotonic() < self._deadline:
            sleep(0.05)

    def _run(self) -> None:
        ending = False
        while not ending:
            ending = self._stop.is_set()  # once more after that: what was raised last is told, too
            self._wake.clear()
            try:
                self._turn()
                self._errors = 0
            except Exception as error:  # noqa: BLE001 - whatever fails, later alerts must be delivered
                self._tell_error(error)
            if not self._stop.is_set():
                (self._stop if self._errors else self._wake).wait(_AFTER_ERROR_S if self._errors else _POLL_S)

    def _turn(self) -> None:
        """Hand what is due to the webhooks that are free."""
        self._note_again()
        now = monotonic()
        with self._lock:
            self._lanes = {url: lane for url, lane in self._lanes.items() if not lane.is_idle(now)}
            closed = {
                number for lane in self._lanes.values() if lane.is_closed(now) for number in lane.watches
            }
        by_webhook: defaultdict[str, list[Alert]] = defaultdict(list)
        for alert in self._watching.due_alerts(time(), _AT_ONCE, closed):
            by_webhook[alert.webhook or ""].append(alert)
        for url, alerts in by_webhook.items():
            self._begin(url, alerts)
        if self._status is not None and now - self._counted > _COUNT_EVERY_S:
            self._counted = now
            self._status.queued["alerts"] = self._watching.num_pending_alerts()

    def _begin(self, url: str, alerts: Sequence[Alert]) -> None:
        try:
            target = Target.parse(url)
        except ValueError as error:  # stored by something that checks less
            for alert in alerts:
                self._note(alert.id, str(error), None)
            return
        with self._lock:
            lane = self._lanes.setdefault(url, Lane(target))
            lane.watches.update(alert.watch_id for alert in alerts)
            if lane.is_closed(monotonic()):
                return
            busy = [other.target.host for other in self._lanes.values() if other.busy]
            if len(busy) >= _LANES_IN_ALL or busy.count(lane.target.host) >= _LANES_OF_A_HOST:
                lane.held_until = monotonic() + _POLL_S
                return
            lane.busy = True
        name = f"webhook {lane.target.host}"
        threading.Thread(target=self._tell_all, args=(lane, alerts), name=name, daemon=True).start()

    def _tell_all(self, lane: Lane, alerts: Sequence[Alert]) -> None:
        """One alert after another, until one fails."""
        begin = monotonic()
        try:
            for alert in alerts:
                if monotonic() > min(begin + _BATCH_S, self._deadline):
                    return
                if alert.id not in self._unnoted and not self._tell(lane, alert):
                    return
        finally:
            with self._lock:
                lane.busy = False
            self._wake.set()

    def _tell(self, lane: Lane, alert: Alert) -> bool:
        """Try one alert, and note what became of it; whether the webhook can be told of others."""
        if time() - alert.created > self._patience.give_up_s:
            self._note(alert.id, alert.last_error or "its webhook did not answer while it waited", None)
            self._count("failed")
            return True
        error = _try(alert, lane.target)
        next_attempt = None if error is None else self._patience.next_attempt(alert, time(), self._rng)
        with self._lock:
            lane.settle(error is None, monotonic(), self._patience.first_s)
        self._log(alert, lane, error, next_attempt)
        self._note(alert.id, error, next_attempt)
        return error is None

    def _note(self, alert_id: int, error: str | None, next_attempt: float | None) -> None:
        """Write down what became of it. Until that has worked it is not sent again by this process."""
        with self._lock:
            self._unnoted[alert_id] = (error, next_attempt)
        try:
            self._write(alert_id)
        except Exception as problem:  # noqa: BLE001 - the next turn tries again
            self._tell_error(problem)

    def _note_again(self) -> None:
        for alert_id in list(self._unnoted):
            self._write(alert_id)

    def _write(self, alert_id: int) -> None:
        with self._writing:
            outcome = self._unnoted.get(alert_id)
            if outcome is None:  # another thread was quicker
                return
            error, next_attempt = outcome
            if error is None:
                self._watching.alert_delivered(alert_id, time())
            else:
                self._watching.alert_failed(alert_id, error, next_attempt)
            with self._lock:
                self._unnoted.pop(alert_id, None)

    def _log(self, alert: Alert, lane: Lane, error: str | None, next_attempt: float | None) -> None:
        fields = {"watch": alert.watch, "webhook": lane.target.shown, "reason": error}
        if error is None:
            self._count("delivered")
        elif next_attempt is None:
            self._count("failed")
            log_event(logging.ERROR, "alert given up", alert=alert.id, **fields)
        else:
            self._count("retried")
            if _is_power_of_two(lane.failures):
                log_event(logging.WARNING, "webhook failed", failures=lane.failures, **fields)

    def _tell_error(self, error: Exception) -> None:
        self._errors += 1
        if _is_power_of_two(self._errors):
            words = " ".join(str(error).split())
            log_event(logging.ERROR, "alerts cannot be read or noted", reason=words, failures=self._errors)

    def _count(self, outcome: str) -> None:
        if self._status is not None:
            with self._lock:
                self._status.alerts[outcome] += 1


def _try(alert: Alert, target: Target) -> str | None:
    """Send it; None when it has arrived, else why not."""
    body, timestamp = message(alert), str(int(time()))
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "retrace",
        "Retrace-Delivery": str(alert.id),
        "Retrace-Timestamp": timestamp,
    }
    if alert.secret_env is not None:
        key = os.environ.get(alert.secret_env)
        if not key:
            return f"the environment has no variable {alert.secret_env} with the key to sign with"
        headers["Retrace-Signature"] = signature(key, timestamp, body)
    try:
        post(target, body, headers)
    except WebhookError as error:
        return str(error)
    except Exception as error:  # noqa: BLE001 - its lane must be free again whatever happens
        return f"it could not be sent: {type(error).__name__}"
    return None


def _is_power_of_two(number: int) -> bool:
    """Of failures in a row the 1st, 2nd, 4th, 8th, ... is told."""
    return number & (number - 1) == 0
