"""Compares new tracklets with the watch list, as soon as they have an embedding."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from time import time
from types import TracebackType

import numpy as np
import numpy.typing as npt

from pipeline.alerts.examples import ExampleVectors
from pipeline.embedding import Embedder
from pipeline.live.hours import Hours
from pipeline.live.logs import log_event
from pipeline.live.settings import RunConfig
from pipeline.live.status import RunStatus
from storage.gallery import Gallery
from storage.watch_records import AlertCursor, Watch

Arrivals = Sequence[tuple[int, str, float, float]]
"""(tracklet id, camera, start, end) each, seconds UTC."""

_POLL_S = 0.5
_AFTER_ERROR_S = 5.0
_AT_ONCE = 512
_END_S = 1.0  # what takes longer is compared by the next run


class Matcher:
    """Follows the gallery's new embeddings in a thread of its own while its context is open.

    Alerts and how far it has come are noted in one transaction: killed at any moment, it compares again
    what it had not noted, and the gallery keeps one alert for each watch and tracklet.

    Args:
        gallery: open for writing.
        embedder: for the pictures of the watch list; used by this thread, so it must bear several.
        config: batch size, and the time zone of hours.
        status: counts the alerts.
    """

    def __init__(
        self, gallery: Gallery, embedder: Embedder, config: RunConfig, status: RunStatus | None = None
    ) -> None:
        self._watching, self._status = gallery.watching, status
        self._timezone = config.live.timezone
        self._vectors = ExampleVectors(gallery, embedder, config.batch.clips)
        self._watched = False
        self._errors = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch list", daemon=True)

    def __enter__(self) -> Matcher:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(_END_S)

    def _run(self) -> None:
        ending = False
        while not ending:
            ending = self._stop.is_set()  # once more after that: what was stored last is compared, too
            try:
                while self.turn():
                    pass
                self._errors = 0
            except Exception as error:  # noqa: BLE001 - whatever fails, who is watched for stays watched for
                self._errors += 1
                if self._errors & (self._errors - 1) == 0:  # the 1st, 2nd, 4th, ... in a row
                    words = " ".join(str(error).split())
                    log_event(
                        logging.ERROR,
                        "the watch list cannot be compared",
                        reason=words,
                        failures=self._errors,
                    )
            self._stop.wait(_AFTER_ERROR_S if self._errors else _POLL_S)

    def turn(self) -> bool:
        """Compare the next embeddings; whether there may be more at once."""
        # Watches hold pictures: they are read only when there is something to compare them with.
        self._watched = self._watched or bool(self._watching.watches(enabled_only=True))
        if not self._watched:
            return False
        cursor, arrivals, vectors = self._watching.unmatched_embeddings(_AT_ONCE)
        if not arrivals:
            return False
        watches = self._watching.watches(enabled_only=True)
        self._watched = bool(watches)
        if not watches:
            return False
        matches = self.match(watches, cursor, arrivals, vectors)
        made = self._watching.record_alerts(cursor, matches, time())
        if made:
            log_event(logging.INFO, "watched persons seen", alerts=made)
            if self._status is not None:
                self._status.alerts["raised"] += len(made)
        return len(arrivals) == _AT_ONCE

    def match(
        self,
        watches: Sequence[Watch],
        cursor: AlertCursor,
        arrivals: Arrivals,
        vectors: npt.NDArray[np.float32],
    ) -> list[tuple[int, int, float]]:
        """(watch id, tracklet id, similarity) of what is to be reported.

        Args:
            watches: the enabled ones.
            cursor: names the generation.
            arrivals: N tracklets.
            vectors: (N, D) their unit embeddings.
        """
        examples = self._vectors.of(watches, cursor)
        usable = [i for i, rows in enumerate(examples) if len(rows)]
        if not usable:
            return []
        firsts = np.cumsum([0, *(len(examples[i]) for i in usable[:-1])])
        similarity = vectors @ np.concatenate([examples[i] for i in usable]).T  # (N, all examples)
        best = np.clip(np.maximum.reduceat(similarity, firsts, axis=1), -1.0, 1.0)  # (N, watches)
        matches = []
        for column, i in enumerate(usable):
            allowed = _Condition(watches[i], self._timezone)
            for row in np.flatnonzero(best[:, column] >= watches[i].threshold).tolist():
                if allowed(*arrivals[row]):
                    matches.append((watches[i].id, arrivals[row][0], float(best[row, column])))
        return matches


class _Condition:
    """What a watch asks of a tracklet besides its looks."""

    def __init__(self, watch: Watch, timezone: str) -> None:
        self._cameras = frozenset(watch.cameras)
        self._own = {example.tracklet_id for example in watch.examples}
        self._hours = Hours.parse(watch.hours, timezone)

    def __call__(self, tracklet_id: int, camera: str, start: float, end: float) -> bool:
        if tracklet_id in self._own or (self._cameras and camera not in self._cameras):
            return False
        return self._hours.open_at(start) or self._hours.open_at(end)
