"""The thread that joins, embeds and writes tracklets, while the next frames are being analysed."""

from __future__ import annotations

import queue
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from time import monotonic, perf_counter
from types import TracebackType

from pipeline.config import Config
from pipeline.embedding import Embedder, Embedding, embed_tracklets
from pipeline.joining import Joiner, Key
from pipeline.stitching import Stitcher
from pipeline.types import TrackletUpdate
from storage.errors import DatabaseUnavailable, GalleryFull
from storage.gallery import Gallery
from storage.records import NewTracklet


@dataclass(slots=True)
class Written:
    """What became of one source's tracklets."""

    stored: int = 0
    known: int = 0
    stitched: int = 0
    rejected: Counter[str] = field(default_factory=Counter)


@dataclass
class _Expected:
    """A source whose tracklets come."""

    joiner: Joiner
    known: dict[Key, int]  # frames of each tracklet that an earlier run has stored
    early: bool  # tracklets are stored before they are finished
    present: dict[Key, float] = field(default_factory=dict)  # lately stored by this run, and their end
    written: Written = field(default_factory=Written)


class Writer:
    """Takes news of tracklets, and jobs, in order through a bounded queue; a context manager.

    An error of the thread is raised by the next call, and leaving the context waits until everything that
    was handed over is written, unless an error is on its way.

    Args:
        gallery: open for writing.
        embedder: makes the embeddings; used in the writing thread.
        config: sizes of batches, which tracklets are joined, how many crops are kept.
        recover: asked before each write with None, and with the error when one failed because the disk is
            full or the database is away: waits until it may be tried (again) and returns True, or returns
            False to give up. Asked once more with None when that worked. None: such an error ends the run.
        patience_s: how long leaving waits for what is queued; None: as long as it takes.

    Attributes:
        num_left: news and jobs that leaving had no time for.
    """

    def __init__(
        self,
        gallery: Gallery,
        embedder: Embedder,
        config: Config,
        *,
        recover: Callable[[OSError | None], bool] | None = None,
        patience_s: float | None = None,
    ) -> None:
        self._gallery, self._embedder, self._config = gallery, embedder, config
        self._settings, self._recover, self._patience_s = config.batch, recover, patience_s
        self._memory_s = 2 * (config.stitch.max_gap_s + config.tracklets.max_duration_s)
        self._queue: queue.Queue[tuple[int, TrackletUpdate] | Callable[[], None] | None] = queue.Queue(
            4 * self._settings.clips
        )
        self._sources: dict[int, _Expected] = {}
        self._error: BaseException | None = None
        self._abandoned = False
        self.embed_s = self.write_s = 0.0
        self.batches = self.num_left = 0
        self._thread = threading.Thread(target=self._run, name="embed and write", daemon=True)

    def __enter__(self) -> Writer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._abandoned = error is not None
        self._hand_over(None, self._patience_s)
        self._thread.join(self._patience_s)
        self._abandoned = True  # it ends after the batch in hand, if it is still there
        self.num_left = len(self) if self._thread.is_alive() else 0
        if self._error is not None and error is None:
            raise self._error

    def __len__(self) -> int:
        """News and jobs that wait."""
        return self._queue.qsize()

    @property
    def is_behind(self) -> bool:
        """Whether so much waits that whoever can should wait, too."""
        return len(self) > self._queue.maxsize // 2

    def expect(self, source_id: int, *, early: bool = False) -> None:
        """Learn what is stored of a source, so that a resumed run embeds only what is missing.

        Args:
            early: store tracklets that are not finished, too, and refine them.
        """
        stitcher = Stitcher(self._embedder, self._config.stitch, self._settings.clips)
        joiner = Joiner(stitcher, self._config.tracklets.num_crops, self._memory_s)
        self._sources[source_id] = _Expected(joiner, self._gallery.stored_tracklets(source_id), early)

    def written(self, source_id: int) -> Written:
        """What has become of a source's tracklets so far."""
        return self._sources[source_id].written

    def add(self, source_id: int, update: TrackletUpdate) -> None:
        """Queue news of a tracklet; waits when the embedder is behind."""
        self._hand_over((source_id, update))

    def then(self, job: Callable[[], None]) -> None:
        """Run a job in the writing thread, after all that was queued before it; it may be repeated."""
        self._hand_over(job)

    def _hand_over(
        self, item: tuple[int, TrackletUpdate] | Callable[[], None] | None, patience_s: float | None = None
    ) -> None:
        deadline = None if patience_s is None else monotonic() + patience_s
        while self._thread.is_alive() and (deadline is None or monotonic() < deadline):
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
                updates, job, ended = self._take()
                if self._abandoned:
                    return
                self._write(updates)
                if job is not None:
                    patiently(job, self._recover)
                if ended:
                    return
        except BaseException as error:  # noqa: BLE001 - raised in the thread that hands over
            self._error = error

    def _take(self) -> tuple[list[tuple[int, TrackletUpdate]], Callable[[], None] | None, bool]:
        """News until a batch is full, the oldest has waited long enough, or something else comes."""
        updates: list[tuple[int, TrackletUpdate]] = []
        deadline = 0.0
        while len(updates) < self._settings.clips:
            try:
                wait = max(0.0, deadline - monotonic()) if updates else None
                item = self._queue.get(timeout=wait)
            except queue.Empty:
                break
            if item is None:
                return updates, None, True
            if callable(item):
                return updates, item, False
            deadline = deadline if updates else monotonic() + self._settings.max_wait_s
            updates.append(item)
        return updates, None, False

    def _write(self, updates: Sequence[tuple[int, TrackletUpdate]]) -> None:
        if not updates:
            return
        begin = perf_counter()
        news = self._wanted(updates)
        embeddings = embed_tracklets(
            self._embedder, [update.tracklet.crops for _, update in news], self._settings.clips
        )
        embedded = perf_counter()
        by_source: dict[int, list[NewTracklet]] = {}
        for (source_id, update), embedding in zip(news, embeddings, strict=True):
            if embedding is not None:
                by_source.setdefault(source_id, []).append(_record(update, embedding))
            elif update.finished:
                self.written(source_id).rejected["not_embeddable"] += 1
                self.written(source_id).stored -= 1
        for source_id, records in by_source.items():
            patiently(partial(self._store, source_id, records), self._recover)
        self.batches += 1
        self.embed_s += embedded - begin
        self.write_s += perf_counter() - embedded

    def _wanted(self, updates: Sequence[tuple[int, TrackletUpdate]]) -> list[tuple[int, TrackletUpdate]]:
        """The last news of each whole tracklet, without those that are stored already."""
        news: dict[tuple[int, tuple[int, int]], TrackletUpdate] = {}
        for source_id, update in updates:
            source = self._sources[source_id]
            whole = source.joiner.whole(update)
            num_frames = len(whole.tracklet.frame_indices)
            known = source.known.get(whole.tracklet.key, 0) >= num_frames
            if update.finished:
                source.written.stitched += whole is not update
                source.written.known += known and whole is update
                source.written.stored += not known and whole is update
            if not known and (update.finished or source.early):
                news[source_id, whole.tracklet.key] = whole
        return [(source_id, update) for (source_id, _), update in news.items()]

    def _store(self, source_id: int, records: Sequence[NewTracklet]) -> None:
        """Store or refine; what was deleted since it was stored stays deleted."""
        present = self._sources[source_id].present
        self._gallery.add_tracklets(source_id, records, self._embedder.spec, refining=present.keys())
        present.update({record.key: float(record.timestamps[-1]) for record in records})
        oldest = max(present.values()) - self._memory_s
        for key in [key for key, end in present.items() if end < oldest]:
            del present[key]


def patiently(write: Callable[[], object], recover: Callable[[OSError | None], bool] | None) -> None:
    """Do something that may be done again, as soon as disk and database let it; see `Writer` for `recover`.

    Raises:
        GalleryFull, DatabaseUnavailable: there is no `recover`, or it gave up.
    """
    error: OSError | None = None
    while True:
        if recover is not None and not recover(error):
            raise error or GalleryFull("told to stop while nothing could be written")
        try:
            write()
            break
        except (GalleryFull, DatabaseUnavailable) as failure:
            if recover is None:
                raise
            error = failure
    if error is not None and recover is not None:
        recover(None)  # it is known now that writing works again


def _record(update: TrackletUpdate, embedding: Embedding) -> NewTracklet:
    tracklet = update.tracklet
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
        finished=update.finished,
    )
