"""What the server does by itself: retention, sweeping what dead processes left, telling the trail's head."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from time import monotonic

from web.access import Caller
from web.audit import note
from web.services import Services

_EVERY_S = 600.0
_DAY_S = 86_400.0

_log = logging.getLogger(__name__)


def keep_house(services: Services, stop: threading.Event, clock: Callable[[], float] = monotonic) -> None:
    """Apply the retention rules and delete expired uploads every ten minutes, until `stop`.

    The sweep comes once a day; the log is told where the audit trail ends at the start and once a day.

    Args:
        clock: seconds, of which differences count.
    """
    swept, told = clock(), clock() if _tell_head(services) else None
    while not stop.wait(_EVERY_S):
        _done("retention", lambda: apply_rules(services, None, should_stop=stop.is_set))
        _done("the deletion of uploads", services.uploads.sweep)
        if (told is None or clock() - told > _DAY_S) and _tell_head(services):
            told = clock()
        if clock() - swept > _DAY_S and _done("the sweep", services.gallery.sweep):
            swept = clock()


def _tell_head(services: Services) -> bool:
    """Log where the audit trail ends: a log that is kept elsewhere finds a trail whose end was cut off.

    As a warning, because that is what the server's log has.
    """

    def tell() -> None:
        _log.warning("the audit trail's head is %d:%s", *services.gallery.audit.head())

    return _done("telling the audit trail's head", tell)


def _done(what: str, work: Callable[[], object]) -> bool:
    """Whether some work could be done; the next round tries again, whatever went wrong."""
    try:
        work()
    except Exception:  # noqa: BLE001 - a database that is away comes back, and nothing else may end this for good
        _log.exception("%s is put off", what)
        return False
    return True


def apply_rules(
    services: Services,
    caller: Caller | None,
    should_stop: Callable[[], bool] | None = None,
    progress: Callable[[int], None] | None = None,
) -> dict[str, int]:
    """Apply the retention rules, and note what they took, if anything.

    Args:
        caller: who asked for it; None: it was time.

    Returns:
        How many crops, embeddings and tracklets were deleted.
    """
    done = services.gallery.retention.apply(services.clock(), should_stop, progress)
    taken = {
        "crops": sum(each.crops for each in done),
        "embeddings": sum(each.embeddings for each in done),
        "tracklets": sum(each.tracklets for each in done),
    }
    if any(taken.values()) or caller is not None:
        note(services, caller, "retention applied", taken)
    return taken
