"""The story of one run: sources -> frames -> detections -> tracks -> tracklets -> embeddings -> gallery.

Decoding has a thread per open source, embedding and writing share one, detection and tracking run in the
caller's. Every queue between them is bounded, so memory does not depend on the length of the video.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property, partial
from pathlib import Path
from time import perf_counter
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from pipeline import plugins
from pipeline.config import Config, settings_hash
from pipeline.detection_log import DetectionLog
from pipeline.embedding import Embedder, build_embedder, require_current
from pipeline.export import iso
from pipeline.hooks import Hooks, SourceProgress
from pipeline.reading import ReaderPool
from pipeline.tracklets import TrackletBuilder
from pipeline.types import Detections, Frame
from pipeline.video import Source, SourceSpec, open_source
from pipeline.writing import Writer
from storage.gallery import Gallery
from storage.records import SourceRecord, camera_name

_PROGRESS_EVERY_S = 0.25
_NOTE_EVERY_S = 5.0
# Bump when the same settings would give other tracklets, so that a half-done source is begun anew.
_PIPELINE_VERSION = 1


class Detector(Protocol):
    """What a detector plug-in gives: `fingerprint` changes when its boxes would."""

    fingerprint: str

    def detect(self, frames: Sequence[Frame]) -> list[Detections]: ...


class Tracker(Protocol):
    """What a tracker plug-in gives; one instance per source."""

    def update(self, frame: Frame, detections: Detections) -> npt.NDArray[np.int64]: ...

    def alive(self) -> set[int]: ...


class SourceError(ValueError):
    """The sources of a run do not fit together."""


@dataclass
class SourceSummary:
    """What one source gave. `status` is "complete", or "already ingested" when nothing had to be done."""

    camera: str
    uri: str
    status: str
    start: float
    frames: int = 0
    detections: int = 0
    tracklets: int = 0
    already_stored: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    damage: dict[str, int] = field(default_factory=dict)


@dataclass
class IngestSummary:
    """What a run gave: totals, and each source's share."""

    frames: int
    detections: int
    tracklets: int
    already_stored: int
    rejected: dict[str, int]
    seconds: dict[str, float]
    embedder: dict[str, Any]
    sources: list[SourceSummary]

    def as_json(self) -> dict[str, Any]:
        """The object that `ingest --json` prints; times are ISO 8601 in UTC."""
        values = asdict(self)
        for source in values["sources"]:
            source["start"] = iso(source["start"])
        return values


def ingest(
    gallery: Gallery, specs: Sequence[SourceSpec], config: Config, hooks: Hooks | None = None
) -> IngestSummary:
    """Turn sources into tracklets of a gallery.

    Running it again adds nothing; running it again after a kill goes on where it was.

    Args:
        gallery: open for writing.
        specs: one per camera.
        config: settings of all stages.
        hooks: told about progress.

    Raises:
        SourceError: a camera or a recording is given twice.
        pipeline.video.VideoSourceError: a source cannot be read; nothing has been stored then.
        storage.errors.WrongEmbedder: the gallery's embeddings were made by another model.
    """
    hooks = hooks or Hooks()
    begin = perf_counter()
    sources = open_sources(specs, config)
    embedder = build_embedder(config.embedder)
    require_current(gallery, embedder.spec)
    if embedder.fallback:
        hooks.on_note(embedder.fallback)
    detector: Detector = plugins.build("detectors", config.detector)

    settings = settings_hash(
        _PIPELINE_VERSION, detector.fingerprint, config.tracker, config.tracklets, config.video
    )
    runs, summaries = [], []
    for source in sources:
        summary = SourceSummary(source.camera, source.uri, "complete", source.start)
        summaries.append(summary)
        record = _begin(gallery, source, settings, hooks)
        summary.start = record.start
        if record.status == "complete":
            summary.status = "already ingested"
            summary.already_stored = int(record.counts.get("tracklets", 0))
            if not gallery.read_only:
                _log_path(gallery, record).unlink(missing_ok=True)  # a run killed right after its last word
        else:
            runs.append(_SourceRun(source, record, config, summary, gallery, hooks))
    if any(_log_path(gallery, run.record).exists() for run in runs):
        gallery.sweep()  # an earlier run was killed: its half-written files go, once they are an hour old
    seconds: dict[str, float] = {"start": perf_counter() - begin}
    if runs:
        seconds.update(_run(gallery, runs, detector, embedder, config))
    seconds["total"] = perf_counter() - begin
    return _summarise(summaries, seconds, embedder)


def _log_path(gallery: Gallery, record: SourceRecord) -> Path:
    return gallery.work_folder / f"{record.id:06d}.boxes"


def open_sources(specs: Sequence[SourceSpec], config: Config) -> list[Source]:
    """Open every source of a run, or refuse them all.

    Raises:
        SourceError: a camera is given twice.
        pipeline.video.VideoSourceError: a source cannot be read.
    """
    names = Counter(camera_name(spec.camera) for spec in specs)
    twice = [name for name, count in names.items() if count > 1]
    if twice:
        raise SourceError(
            f"camera '{twice[0]}' is given {names[twice[0]]} times; ingest its recordings one after another, "
            "each with its own --start"
        )
    return [open_source(spec, config.video) for spec in specs]


def _begin(gallery: Gallery, source: Source, settings: str, hooks: Hooks) -> SourceRecord:
    """The source's record: new, half done, or complete. The time it was begun with stays its start."""
    record = gallery.begin_source(source.camera, source.uri, source.fingerprint, source.start, settings)
    moved = source.start_from == "given" and abs(record.start - source.start) > 1e-3
    if record.status == "complete":
        other = "" if record.settings_hash == settings else " (with other settings)"
        start = f"; its start stays {iso(record.start)}, {iso(source.start)} is ignored" if moved else ""
        hooks.on_note(f"{source.camera}: {source.uri} was already ingested{other}; nothing is added{start}")
    elif record.settings_hash != settings or moved:
        hooks.on_note(f"{source.camera}: was begun with other settings; it is begun anew")
        record = gallery.restart_source(record.id, settings_hash=settings, start=source.start, uri=source.uri)
    elif source.start_from == "file time":
        hooks.on_note(
            f"{source.camera}: no start time in {source.uri}; taken from the file's time "
            f"(pass --start {source.camera}=... to set it)"
        )
    source.start = record.start
    return record


def _run(
    gallery: Gallery, runs: Sequence[_SourceRun], detector: Detector, embedder: Embedder, config: Config
) -> dict[str, float]:
    by_source = {id(run.source): run for run in runs}
    seconds: defaultdict[str, float] = defaultdict(float)
    pool = ReaderPool([run.source for run in runs], config.video.open_sources)
    with Writer(gallery, embedder, config.batch) as writer:
        for run in runs:
            writer.expect(run.record.id)
        try:
            with pool:
                for batch, ended in pool.batches(config.batch.frames):
                    steps = [(by_source[id(source)], frame) for source, frame in batch]
                    found = _detect(steps, detector, seconds)
                    begin = perf_counter()
                    for (run, frame), detections in zip(steps, found, strict=True):
                        run.track(frame, detections, writer)
                    seconds["track"] += perf_counter() - begin
                    for source in ended:
                        by_source[id(source)].end(writer)
        finally:
            for run in runs:
                run.close()
    seconds["decode"], seconds["wait for decode"] = pool.decode_s, pool.wait_s
    seconds["embed"], seconds["write"] = writer.embed_s, writer.write_s
    return seconds


def _detect(
    steps: Sequence[tuple[_SourceRun, Frame]], detector: Detector, seconds: defaultdict[str, float]
) -> list[Detections]:
    """The boxes of a batch: replayed where a killed run has left them, detected where not."""
    found = [run.log.replay(frame.index) for run, frame in steps]
    missing = [i for i, detections in enumerate(found) if detections is None]
    if missing:
        begin = perf_counter()
        detected = detector.detect([steps[i][1] for i in missing])
        seconds["detect"] += perf_counter() - begin
        for i, detections in zip(missing, detected, strict=True):
            run, frame = steps[i]
            run.log.append(frame.index, detections)
            found[i] = detections
        for run in {id(run): run for run, _ in steps}.values():
            run.log.flush()
    return [detections for detections in found if detections is not None]


class _SourceRun:
    """One source on its way through the stages."""

    def __init__(
        self,
        source: Source,
        record: SourceRecord,
        config: Config,
        summary: SourceSummary,
        gallery: Gallery,
        hooks: Hooks,
    ) -> None:
        self.source, self.record, self.summary, self._hooks = source, record, summary, hooks
        self._tracker: Tracker = plugins.build("trackers", config.tracker, frame_rate=source.analysed_rate)
        self._builder = TrackletBuilder(source.camera, config.tracklets)
        self._started = self._told = 0.0
        self._noted = perf_counter()
        self._gallery = gallery

    @cached_property
    def log(self) -> DetectionLog:
        """Opened with the first frame, so that a thousand waiting sources hold no files open."""
        return DetectionLog(_log_path(self._gallery, self.record), self.record.settings_hash)

    def track(self, frame: Frame, detections: Detections, writer: Writer) -> None:
        self._started = self._started or perf_counter()
        self.summary.frames += 1
        self.summary.detections += len(detections)
        track_ids = self._tracker.update(frame, detections)
        finished = self._builder.add(frame, detections, track_ids)
        finished += self._builder.finished(self._tracker.alive())
        for tracklet in finished:
            writer.add(self.record.id, tracklet)
        now = perf_counter()
        if now - self._told > _PROGRESS_EVERY_S:
            self._tell(writer, frame.timestamp - self.source.start)
        if now - self._noted > _NOTE_EVERY_S:  # for those who look at the gallery meanwhile
            self._noted = now
            writer.then(partial(self._gallery.update_source, self.record.id, self.summary.frames))

    def end(self, writer: Writer) -> None:
        for tracklet in self._builder.close():
            writer.add(self.record.id, tracklet)
        writer.then(partial(self._finish, writer))
        self._tell(writer, self.source.duration_s or 0.0, finished=True)

    def close(self) -> None:
        if "log" in self.__dict__:
            self.log.__exit__(None, None, None)

    def _finish(self, writer: Writer) -> None:
        """In the writing thread, when all tracklets of the source are stored."""
        written, summary = writer.written[self.record.id], self.summary
        summary.tracklets, summary.already_stored = written.stored, written.known
        summary.rejected = dict(self._builder.rejected + written.rejected)
        summary.damage = dict(self.source.damage)
        counts = {
            "frames": summary.frames,
            "detections": summary.detections,
            "tracklets": summary.tracklets + summary.already_stored,
            "rejected": summary.rejected,
            "damage": summary.damage,
        }
        self._gallery.finish_source(self.record.id, counts)
        self.log.remove()

    def _tell(self, writer: Writer, seconds_done: float, finished: bool = False) -> None:
        self._told = perf_counter()
        elapsed = max(self._told - self._started, 1e-6) if self._started else 1e-6
        total, written = self.source.duration_s, writer.written[self.record.id]
        factor = seconds_done / elapsed
        left = max(0.0, total - seconds_done) / factor if total and factor > 0 else None
        self._hooks.on_source(
            SourceProgress(
                camera=self.source.camera,
                seconds_done=seconds_done,
                seconds_total=total,
                frames=self.summary.frames,
                tracklets=written.stored + written.known,
                frames_per_s=self.summary.frames / elapsed,
                realtime_factor=factor,
                seconds_left=left,
                finished=finished,
            )
        )


def _summarise(
    summaries: list[SourceSummary], seconds: dict[str, float], embedder: Embedder
) -> IngestSummary:
    rejected: Counter[str] = Counter()
    for summary in summaries:
        rejected.update(summary.rejected)
    return IngestSummary(
        frames=sum(s.frames for s in summaries),
        detections=sum(s.detections for s in summaries),
        tracklets=sum(s.tracklets for s in summaries),
        already_stored=sum(s.already_stored for s in summaries),
        rejected=dict(rejected),
        seconds={stage: round(value, 3) for stage, value in seconds.items()},
        embedder={
            "name": embedder.spec.name,
            "weights": embedder.spec.weights_hash,
            "note": embedder.fallback,
        },
        sources=summaries,
    )
