"""The story of one run: sources -> frames -> detections -> tracks -> tracklets -> embeddings -> gallery.

Decoding has a thread per open source, embedding and writing share one, detection and tracking run in the
caller's. Every queue between them is bounded, so memory does not depend on the length of the video.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Any

from pipeline import plugins
from pipeline.config import Config, settings_hash
from pipeline.embedding import Embedder, build_embedder, require_current
from pipeline.export import iso
from pipeline.hooks import Hooks
from pipeline.reading import ReaderPool
from pipeline.source_run import Detector, SourceRun, SourceSummary, detect, log_path
from pipeline.video import Source, SourceSpec, open_source
from pipeline.writing import Writer
from pipeline.zones import Zones
from storage.gallery import Gallery
from storage.records import SourceRecord, camera_name

# Bump when the same settings would give other tracklets, so that a half-done source is begun anew.
_PIPELINE_VERSION = 2
NOWHERE: Mapping[str, Zones] = {}


class SourceError(ValueError):
    """The sources of a run do not fit together."""


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

    runs, summaries = begin_sources(gallery, sources, detector, config, hooks)
    seconds: dict[str, float] = {"start": perf_counter() - begin}
    if runs:
        seconds.update(_run(gallery, runs, detector, embedder, config))
    seconds["total"] = perf_counter() - begin
    return _summarise(summaries, seconds, embedder)


def begin_sources(
    gallery: Gallery,
    sources: Sequence[Source],
    detector: Detector,
    config: Config,
    hooks: Hooks,
    zones: Mapping[str, Zones] = NOWHERE,
) -> tuple[list[SourceRun], list[SourceSummary]]:
    """The runs of the recordings that are not ingested yet, and a summary of every one.

    Args:
        zones: masks and regions by camera; none where a camera is not named.
    """
    runs, summaries = [], []
    for source in sources:
        zone = zones.get(source.camera, Zones(None))
        settings = settings_hash(
            _PIPELINE_VERSION, detector.fingerprint, config.tracker, config.tracklets, config.stitch,
            source.settings, zone.polygons(),
        )  # fmt: skip
        summary = SourceSummary(source.camera, source.uri, "complete", source.start)
        summaries.append(summary)
        record = _begin(gallery, source, settings, hooks, masked=zone.masked)
        summary.start = record.start
        if record.status == "complete":
            summary.status = "already ingested"
            summary.already_stored = int(record.counts.get("tracklets", 0))
            if not gallery.read_only:
                log_path(gallery, record).unlink(missing_ok=True)  # a run killed right after its last word
        else:
            runs.append(SourceRun(source, record, config, summary, gallery, hooks, zone))
    if any(log_path(gallery, run.record).exists() for run in runs):
        gallery.sweep()  # an earlier run was killed: its half-written files go, once they are an hour old
    return runs, summaries


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


def _begin(gallery: Gallery, source: Source, settings: str, hooks: Hooks, *, masked: bool) -> SourceRecord:
    """The source's record: new, half done, or complete. The time it was begun with stays its start."""
    record = gallery.begin_source(
        source.camera, source.uri, source.fingerprint, source.start, settings, masked=masked
    )
    moved = source.start_from == "given" and abs(record.start - source.start) > 1e-3
    if record.status == "complete":
        other = "" if record.settings_hash == settings else " (with other settings)"
        start = f"; its start stays {iso(record.start)}, {iso(source.start)} is ignored" if moved else ""
        hooks.on_note(f"{source.camera}: {source.uri} was already ingested{other}; nothing is added{start}")
    elif record.settings_hash != settings or moved:
        hooks.on_note(f"{source.camera}: was begun with other settings; it is begun anew")
        record = gallery.restart_source(
            record.id, settings_hash=settings, start=source.start, uri=source.uri, masked=masked
        )
    elif source.start_from == "file time":
        hooks.on_note(
            f"{source.camera}: no start time in {source.uri}; taken from the file's time "
            f"(pass --start {source.camera}=... to set it)"
        )
    source.start = record.start
    return record


def _run(
    gallery: Gallery, runs: Sequence[SourceRun], detector: Detector, embedder: Embedder, config: Config
) -> dict[str, float]:
    by_source = {id(run.source): run for run in runs}
    seconds: defaultdict[str, float] = defaultdict(float)
    pool = ReaderPool([run.source for run in runs], config.video.open_sources)
    with Writer(gallery, embedder, config) as writer:
        for run in runs:
            writer.expect(run.record.id)
        try:
            with pool:
                for batch, ended in pool.batches(config.batch.frames):
                    steps = [(by_source[id(source)], frame) for source, frame in batch]
                    found = detect(steps, detector, seconds)
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
