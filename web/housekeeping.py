"""What the server does by itself: retention, and sweeping what dead processes left behind."""

from __future__ import annotations

import logging
import threading
from time import monotonic

from storage.errors import GalleryError
from web.services import Services

_EVERY_S = 600.0
_SWEEP_EVERY_S = 86_400.0

_log = logging.getLogger(__name__)


def keep_house(services: Services, stop: threading.Event) -> None:
    """Apply the retention rules every ten minutes, and sweep once a day, until `stop` is set."""
    gallery, swept = services.gallery, monotonic()
    while not stop.wait(_EVERY_S):
        try:
            gallery.retention.apply(services.clock(), should_stop=stop.is_set)
            if monotonic() - swept > _SWEEP_EVERY_S:
                gallery.sweep()
                swept = monotonic()
        except (GalleryError, OSError) as error:  # a database that is away comes back
            _log.warning("housekeeping is put off: %s", error)
