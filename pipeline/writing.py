"""The thread that embeds finished tracklets and writes them, while the next frames are being analysed."""

from __future__ import annotations

import queue
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import monotonic, perf_counter
from types import TracebackType

from pipeline.config import BatchSettings
from pipeline.embedding import Embedder, Embedding, embed_tracklets
from pipeline.types import Tracklet
from storage.gallery import Gallery
from storage.records import NewTracklet


@dataclass(slots=True)
class Written:
    """What became of one source's tracklets."""

    stored: int = 0
    known: int = 0
    rejected: Counter[str] = field(default_factory=Counter)


class Writer:
    """Takes tracklets and jobs in order through a bounded queue; a context manager.

    An error of the thread is raised by the next call, and leaving the context waits until everything that
    was handed over is written, unless an error is on its way.
    """

    def __init__(self, gallery: Gallery, embedder: Embedder, settings: BatchSettings) -> None:
        self._gallery, self._embedder, self._settings = gallery, embedder, settings
        self._queue: queue.Queue[tuple[int, Tracklet] | Callable[[], None] | None] = queue.Queue(
            4 * settings.clips
        )
        self._known: dict[int, dict[tuple[int, int], int]] = {}
        self._error: BaseException | None = None
        self._abandoned = False
        self.written: dict[int, Written] = {}
        self.embed_s = self.write_s = 0.0
        self._thread = threading.Thread(target=self._run, name="embed and write", daemon=True)

    def __enter__(self) -> Writer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._abandoned = error is not None
        self._hand_over(None)
        self._thread.join()
        if self._error is not None and error is None:
            raise self._error

    def expect(self, source_id: int) -> None:
        """Learn what is stored of a source, so that a resumed run embeds only what is missing."""
        self._known[source_id] = self._gallery.stored_tracklets(source_id)
        self.written[source_id] = Written()

    def add(self, source_id: int, tracklet: Tracklet) -> None:
        """Queue a tracklet; waits when the embedder is behind."""
        if self._known[source_id].get(tracklet.key, 0) >= len(tracklet.frame_indices):
            self.written[source_id].known += 1
        else:
            self._hand_over((source_id, tracklet))

    def then(self, job: Callable[[], None]) -> None:
        """Run a job in the writing thread, after everything queued before it is written."""
        self._hand_over(job)

    def _hand_over(self, item: tuple[int, Tracklet] | Callable[[], None] | None) -> None:
        while self._thread.is_alive():
            try:
                self._queue.put(item, timeout=0.2)
                return
            except queue.Full:
                continue
        if self._error is not None and item is not None:
            raise self._error

    def _run(self) -> None:
        try:
            while True:
                tracklets, job, ended = self._take()
                if self._abandoned:
                    return
                self._write(tracklets)
                if job is not None:
                    job()
                if ended:
                    return
        except BaseException as error:  # noqa: BLE001 - raised in the thread that hands over
            self._error = error

    def _take(self) -> tuple[list[tuple[int, Tracklet]], Callable[[], None] | None, bool]:
        """Tracklets until a batch is full, the oldest has waited long enough, or something else comes."""
        tracklets: list[tuple[int, Tracklet]] = []
        deadline = 0.0
        while len(tracklets) < self._settings.clips:
            try:
                wait = max(0.0, deadline - monotonic()) if tracklets else None
                item = self._queue.get(timeout=wait)
            except queue.Empty:
                break
            if item is None:
                return tracklets, None, True
            if callable(item):
                return tracklets, item, False
            deadline = deadline if tracklets else monotonic() + self._settings.max_wait_s
            tracklets.append(item)
        return tracklets, None, False

    def _write(self, tracklets: Sequence[tuple[int, Tracklet]]) -> None:
        if not tracklets:
            return
        begin = perf_counter()
        embeddings = embed_tracklets(self._embedder, [t.crops for _, t in tracklets], self._settings.clips)
        embedded = perf_counter()
        by_source: dict[int, list[NewTracklet]] = {}
        for (source_id, tracklet), embedding in zip(tracklets, embeddings, strict=True):
            if embedding is None:
                self.written[source_id].rejected["not_embeddable"] += 1
            else:
                by_source.setdefault(source_id, []).append(_record(tracklet, embedding))
        for source_id, records in by_source.items():
            self._gallery.add_tracklets(source_id, records, self._embedder.spec)
            self.written[source_id].stored += len(records)
        self.embed_s += embedded - begin
        self.write_s += perf_counter() - embedded


def _record(tracklet: Tracklet, embedding: Embedding) -> NewTracklet:
    return NewTracklet(
        track_id=tracklet.track_id,
        frame_indices=tracklet.frame_indices,
        timestamps=tracklet.timestamps,
        xyxy=tracklet.xyxy,
        confidence=tracklet.confidence,
        quality=tracklet.quality,
        crops=tracklet.crops,
        crop_positions=tracklet.crop_positions,
        thumbnail=tracklet.thumbnail,
        embedding=embedding,
    )
