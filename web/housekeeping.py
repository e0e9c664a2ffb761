"""What the server does by itself: retention, and sweeping what dead processes left behind."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from time import monotonic

from web.access import Caller
from web.audit import note
from web.services import Services

_EVERY_S = 600.0
_SWEEP_EVERY_S = 86_400.0

_log = logging.getLogger(__name__)


def keep_house(services: Services, stop: threading.Event) -> None:
    """Apply the retention rules every ten minutes, and sweep once a day, until `stop` is set."""
    swept = monotonic()
    while not stop.wait(_EVERY_S):
        try:
            apply_rules(services, None, should_stop=stop.is_set)
            services.uploads.sweep()
            if monotonic() - swept > _SWEEP_EVERY_S:
                services.gallery.sweep()
                swept = monotonic()
        except Exception:  # noqa: BLE001 - a database that is away comes back, and nothing else may end this for good
            _log.exception("housekeeping is put off")


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
