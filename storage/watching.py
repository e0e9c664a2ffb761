"""The watch list of a gallery, and the alerts that it raised."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable

import numpy as np

from storage.database import alerts, cursors, generations, watches
from storage.database.alerts import Arrival, Match
from storage.database.engine import Database
from storage.media import MediaFolder
from storage.records import Float32Array, readable
from storage.watch_records import Alert, AlertCursor, NewWatch, Watch


class WatchList:
    """Whom to look out for among new tracklets; reached as `Gallery.watching`.

    A watch looks forward: what was stored before it raises no alert, nor does what was compared before a
    re-index. A tracklet that is refined is compared again, and raises at most one alert per watch.
    """

    def __init__(self, database: Database, media: MediaFolder) -> None:
        self._database = database
        self._media = media

    def add_watch(self, watch: NewWatch, now: float | None = None) -> int:
        """Adds a watch; returns its id.

        Args:
            now: Seconds UTC; None asks the clock.

        Raises:
            WatchExists: Another one has its name.
            TrackletNotFound: A tracklet among its examples does not exist (any more).
        """
        created = float(time.time() if now is None else now)
        with self._database.writing() as connection:
            return watches.insert(connection, watch, created)

    def watches(self, enabled_only: bool = False) -> list[Watch]:
        """Watches with their examples, oldest first."""
        with self._database.reading() as connection:
            return watches.every(connection, enabled_only=enabled_only)

    def remove_watch(self, watch_id: int) -> None:
        """Removes a watch with its examples and alerts.

        Raises:
            WatchNotFound: It does not exist (any more); likewise below.
        """
        with self._database.writing() as connection:
            watches.delete(connection, watch_id)

    def set_watch_enabled(self, watch_id: int, enabled: bool) -> None:
        """Switches a watch on or off. What is stored while every watch is off is never compared."""
        with self._database.writing() as connection:
            watches.set_enabled(connection, watch_id, bool(enabled))

    def unmatched_embeddings(self, limit: int) -> tuple[AlertCursor, list[Arrival], Float32Array]:
        """The next embeddings of the current generation to compare with the watch list, in order of arrival.

        Returns:
            What `record_alerts` wants to know, and up to `limit` tracklets (tracklet_id, camera, start, end)
            with their embeddings (N, D) of norm 1.
        """
        with self._database.reading() as connection:
            current = generations.current(connection)
            if current is None:
                return AlertCursor(0, 0, None), [], np.zeros((0, 0), np.float32)
            return alerts.unmatched(connection, *current, limit)

    def record_alerts(self, cursor: AlertCursor, matches: Iterable[Match], now: float) -> list[int]:
        """Makes alerts and notes, in the same transaction, what was compared.

        A watch and a tracklet have one alert: a better match raises its similarity until it was delivered.

        Args:
            cursor: As `unmatched_embeddings` gave it.
            matches: (watch id, tracklet id, similarity); those of what was deleted meanwhile are left out.
            now: Seconds UTC.

        Returns:
            Ids of the alerts that are new.
        """
        with self._database.writing() as connection:
            made = alerts.record(connection, matches, float(now))
            cursors.advance(connection, cursor.generation_id, cursor.seq)
            return made

    def due_alerts(self, now: float, limit: int, except_watches: Collection[int] = ()) -> list[Alert]:
        """Up to `limit` alerts to deliver at the time `now` (seconds UTC), longest waiting first.

        Args:
            except_watches: Ids of watches whose webhook cannot be told now.
        """
        with self._database.reading() as connection:
            return alerts.due(connection, self._media.thumbnail, float(now), limit, except_watches)

    def num_pending_alerts(self) -> int:
        """How many alerts are to be delivered, now or later."""
        with self._database.reading() as connection:
            return alerts.num_pending(connection)

    def alert_delivered(self, alert_id: int, now: float) -> None:
        """Notes that an alert has arrived (seconds UTC). One deleted meanwhile is ignored; likewise below."""
        with self._database.writing() as connection:
            alerts.delivered(connection, alert_id, float(now))

    def alert_failed(self, alert_id: int, error: str, next_attempt: float | None) -> None:
        """Notes that an alert could not be delivered.

        Args:
            error: One line, without secrets.
            next_attempt: When to try again, seconds UTC; None gives up.
        """
        with self._database.writing() as connection:
            again = None if next_attempt is None else float(next_attempt)
            alerts.failed(connection, alert_id, readable(error), again)

    def alerts(
        self, after_id: int | None = None, limit: int | None = None, watch: int | None = None
    ) -> list[Alert]:
        """Alerts by rising id.

        Args:
            after_id: Begin behind this one.
            limit: At most so many.
            watch: Only those of the watch with this id.
        """
        with self._database.reading() as connection:
            return alerts.listed(connection, self._media.thumbnail, after_id, limit, watch)
