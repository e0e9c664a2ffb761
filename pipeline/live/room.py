"""Room on the disk: ingest waits while there is little, what is too old leaves, leftovers are swept.

What a case under legal hold is about stays, whatever the settings say.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from time import monotonic, time

from pipeline.live.logs import Persistent, log_event
from pipeline.live.settings import RetentionSettings
from pipeline.live.status import RunStatus
from storage.errors import DatabaseUnavailable, GalleryError, GalleryFull
from storage.gallery import Gallery

_CHECK_EVERY_S = 1.0
_KEEP_EVERY_S = 600.0
_SWEEP_EVERY_S = 86_400.0
_SWEEP_AGAIN_S = 4_000.0  # after the start: then what a killed run left is old enough to go
_AT_ONCE = 500
_DAY_S = 86_400.0
_LEAP_S = 3_600.0


def open_with_room(
    open_gallery: Callable[..., Gallery],
    folder: Path,
    settings: RetentionSettings,
    status: RunStatus,
    stop: threading.Event,
) -> Gallery | None:
    """Open a gallery as soon as its disk has room for what an open database needs.

    Args:
        open_gallery: opens it; takes the keyword `alone` of `Gallery.open`.
        folder: of the gallery.
        settings: whether the oldest tracklets may be deleted to have room.
        status: `paused` says so while there is none.
        stop: set when the run is to end.

    Returns:
        None when told to stop before there was room.
    """
    while not stop.is_set():
        try:
            gallery = open_gallery()
        except GalleryFull:
            status.paused = _full(settings, folder)
        else:
            status.paused = ""
            return gallery
        if settings.when_full == "delete_oldest":
            with suppress(GalleryFull, DatabaseUnavailable), open_gallery(alone=True) as gallery:
                if Room(gallery, settings, status, stop).delete_oldest():
                    continue
        stop.wait(_CHECK_EVERY_S)
    return None


def _full(settings: RetentionSettings, folder: Path) -> str:
    mend = "free some, or set retention.when_full to delete_oldest"
    if settings.when_full == "delete_oldest":
        mend = "the oldest tracklets are deleted"
    return f"disk full: less than {settings.min_free_mb} MB are free at {folder}: {mend}"


class Room:
    """Asked by the writing thread before each write; deletes by age and sweeps in a thread of its own.

    Args:
        gallery: whose disk it is.
        settings: how much room there must be, and what may be deleted to have it.
        status: `paused` says so while nothing can be written.
        stop: set when the run is to end.
    """

    def __init__(
        self, gallery: Gallery, settings: RetentionSettings, status: RunStatus, stop: threading.Event
    ) -> None:
        self._gallery, self._settings, self._status, self._stop = gallery, settings, status, stop
        self._epoch = time() - monotonic()
        self._thread = threading.Thread(target=self._keep, name="housekeeping", daemon=True)

    def start(self) -> None:
        """Begin to keep house."""
        self._thread.start()

    def wait(self, error: OSError | None = None) -> bool:
        """Wait until something may be written; the pause lasts until it is asked without an error.

        Args:
            error: why the last write failed, None if it did not.

        Returns:
            False when the run is told to stop before there is room.
        """
        failed = error is not None
        while error is not None or self._gallery.free_bytes() < self._wanted_bytes:
            self._pause(error)
            full = error is None or isinstance(error, GalleryFull)
            error = None
            if full and self._settings.when_full == "delete_oldest" and self.delete_oldest():
                continue
            if self._stop.wait(_CHECK_EVERY_S):
                return False
        if not failed:  # else who asks tries again first: a pause that came and went would be many
            self._status.paused = ""
        return True

    @property
    def _wanted_bytes(self) -> int:
        return self._settings.min_free_mb * 1_000_000

    def _pause(self, error: OSError | None) -> None:
        if error is not None and not isinstance(error, GalleryFull):
            self._status.paused = str(error)
            return
        self._status.paused = _full(self._settings, self._gallery.folder)

    def delete_oldest(self, before: float | None = None) -> int:
        """Delete some of the oldest tracklets, or of those before that time (seconds UTC); how many."""
        ids = self._gallery.oldest_tracklets(_AT_ONCE, before=before)
        if not ids:
            return 0
        try:
            deleted = self._gallery.delete_tracklets(ids)
        except GalleryFull:  # not even a deletion fits: wait for somebody else to make room
            return 0
        log_event(logging.INFO, "the oldest tracklets were deleted", tracklets=deleted)
        return deleted

    def _keep(self) -> None:
        sweeps = [monotonic(), monotonic() + _SWEEP_AGAIN_S]
        going_on = Persistent("housekeeping failed")
        while True:
            with going_on:
                try:
                    self._retain()
                    if monotonic() >= sweeps[0]:
                        self._gallery.sweep()
                        sweeps = [*sweeps[1:], monotonic() + _SWEEP_EVERY_S][:2]
                except (GalleryError, OSError) as error:  # a database that is away comes back
                    log_event(logging.WARNING, "housekeeping is put off", reason=str(error))
            if self._stop.wait(_KEEP_EVERY_S):
                return

    def _retain(self) -> None:
        if abs(time() - monotonic() - self._epoch) > _LEAP_S:
            log_event(logging.WARNING, "the clock has leapt: nothing is deleted by age until a new start")
            return
        if self._settings.max_days is not None:
            before = time() - self._settings.max_days * _DAY_S
            while not self._stop.is_set() and self.delete_oldest(before):
                pass
        self._apply_rules()

    def _apply_rules(self) -> None:
        """The gallery's own rules, which hold for every process that uses it."""
        for taken in self._gallery.retention.apply(should_stop=self._stop.is_set):
            if taken.tracklets or taken.crops or taken.embeddings:
                log_event(
                    logging.INFO,
                    "what was too old was deleted",
                    camera=taken.camera,
                    tracklets=taken.tracklets,
                    crops=taken.crops,
                    embeddings=taken.embeddings,
                )
