"""What is too old leaves: crops, embeddings and whole tracklets, by a rule for each camera."""

from __future__ import annotations

import time
from collections.abc import Callable

from storage import upkeep
from storage.database import camera_views, retention
from storage.database.cases import held_tracklets
from storage.database.engine import Database
from storage.database.retention import Part, Place
from storage.media import MediaFolder
from storage.records import camera_name
from storage.retention_records import DEFAULT_CAMERA, Due, Limits, Rule
from storage.snapshot import SnapshotFolder

__all__ = ["Due", "Retention", "Rule"]

_AT_ONCE = 500  # tracklets per transaction: an ingest waits no longer than for one
_PARTS: tuple[Part, ...] = ("tracklets", "crops", "embeddings")


class Retention:
    """The rules of a gallery, and their application; reached as `Gallery.retention`.

    Only finished tracklets grow old. What a case under legal hold is about stays.
    """

    def __init__(
        self,
        database: Database,
        media: MediaFolder,
        snapshots: SnapshotFolder,
        refresh: Callable[[], None],
    ) -> None:
        self._database, self._media, self._snapshots = database, media, snapshots
        self._refresh = refresh  # makes this process's index forget what is gone

    def rules(self) -> list[Rule]:
        """All rules by camera, that for cameras without one of their own ("") first."""
        with self._database.reading() as connection:
            return retention.rules(connection)

    def set_rule(self, rule: Rule) -> None:
        """Adds a rule, in the place of the camera's former one; the camera may be one that is yet to come."""
        with self._database.writing() as connection:
            retention.put(connection, rule)

    def remove_rule(self, camera: str) -> None:
        """Removes a camera's rule; from then on that of "" is its rule.

        Raises:
            RuleNotFound: It has none of its own.
        """
        name = camera if camera == DEFAULT_CAMERA else camera_name(camera)
        with self._database.writing() as connection:
            retention.remove(connection, name)

    def due(self, now: float | None = None) -> list[Due]:
        """What `apply` would take now, for each camera that a rule is for, by name; changes nothing.

        Args:
            now: Seconds UTC; None asks the clock.
        """
        now = time.time() if now is None else now
        with self._database.reading() as connection:
            found = []
            for camera, limits in retention.limits(connection, now).items():
                held = retention.held(connection, camera, limits)
                counted = {
                    part: retention.count(connection, part, camera, limits) - len(held[part])
                    for part in _PARTS
                }
                found.append(Due(camera, **counted, held=len(set().union(*held.values()))))
            return found

    def apply(
        self,
        now: float | None = None,
        should_stop: Callable[[], bool] | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> list[Due]:
        """Takes what is due, in short transactions; may be stopped and begun again at any point.

        Args:
            now: Seconds UTC; None asks the clock.
            should_stop: Asked before each batch.
            progress: Told after each batch how many tracklets lost something so far.

        Returns:
            What was taken, for each camera that a rule is for.

        Raises:
            GalleryFull: The disk is too full even for a deletion.
        """
        now = time.time() if now is None else now
        with self._database.reading() as connection:
            limits = retention.limits(connection, now)
        run = _Application(self._database, self._media, self._snapshots, should_stop, progress)
        try:
            taken = [run.of_camera(camera, mine) for camera, mine in limits.items()]
            self._forget_frames(limits)
        finally:
            if run.num_embeddings:
                upkeep.remove_traces(self._database, self._media, self._snapshots, [])
            self._refresh()
        return taken

    def _forget_frames(self, limits: dict[str, Limits]) -> None:
        """Cameras' last frames show people as crops do."""
        before = {camera: mine.pictures for camera, mine in limits.items()}
        wanted = {camera: limit for camera, limit in before.items() if limit is not None}
        with self._database.reading() as connection:
            old = retention.old_frames(connection, wanted)
        if old:
            with self._database.writing() as connection:
                for camera in old:
                    camera_views.forget_frames(connection, camera, 0.0, wanted[camera])
            self._database.merge_log()


class _Application:
    """One going through of everything that is due.

    Attributes:
        num_taken: How many tracklets lost something so far; one that loses two parts counts twice.
        num_embeddings: How many of these lost their embeddings and stayed.
    """

    def __init__(
        self,
        database: Database,
        media: MediaFolder,
        snapshots: SnapshotFolder,
        should_stop: Callable[[], bool] | None,
        progress: Callable[[int], None] | None,
    ) -> None:
        self._database, self._media, self._snapshots = database, media, snapshots
        self._should_stop, self._progress = should_stop, progress
        self.num_taken = self.num_embeddings = 0

    def of_camera(self, camera: str, limits: Limits) -> Due:
        """Takes what is due of one camera: whole tracklets first, then parts of those that stay."""
        taken: dict[Part, int] = dict.fromkeys(_PARTS, 0)
        held: set[int] = set()
        for part in _PARTS:
            after: Place | None = None
            while not (self._should_stop and self._should_stop()):
                with self._database.reading() as connection:
                    page = retention.page(connection, part, camera, limits, after, _AT_ONCE)
                    ids = [number for _, number in page]
                    held |= held_tracklets(connection, ids)
                if not page:
                    break
                after = page[-1]
                number = self._take(part, camera, limits, [each for each in ids if each not in held])
                taken[part] += number
                self.num_taken += number
                if self._progress is not None:
                    self._progress(self.num_taken)
        return Due(camera, **taken, held=len(held))

    def _take(self, part: Part, camera: str, limits: Limits, ids: list[int]) -> int:
        """One batch; what was refined, held or deleted since it was read is left out."""
        if not ids:
            return 0
        if part == "tracklets":
            return upkeep.delete_tracklets(self._database, self._media, self._snapshots, ids)
        with self._database.writing() as connection:
            still = retention.among(connection, part, camera, limits, ids)
            gone = retention.take(connection, part, still)
        if part == "crops":
            self._media.remove(gone)
        else:
            self.num_embeddings += len(gone)
        return len(gone)
