"""One live camera on its way through the stages: tracked, cut into tracklets, and told of early."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from time import monotonic, time

from pipeline import plugins
from pipeline.live.camera import LiveCamera, Waiting
from pipeline.live.settings import CameraSettings, RunConfig
from pipeline.source_run import Tracker
from pipeline.tracklets import TrackletBuilder
from pipeline.types import Detections, Frame, TrackletUpdate
from pipeline.writing import Writer
from pipeline.zones import Zones
from storage.gallery import Gallery
from storage.records import GalleryFilter, SourceRecord

_NOTE_EVERY_S = 5.0
_SILENCE_S = 5.0  # without a frame for so long, everybody in view has left it


class LiveRun:
    """A live camera in a run. Every method is called in the thread of the run.

    Args:
        gallery: open for writing.
        camera: reads the stream.
        settings: of this camera.
        config: of the run.
        settings_hash: of all that shapes its tracklets.
        gaps: what `camera` reports, as (time, reason) or (time, None) for its end.

    Attributes:
        picture_wanted: set by who wants to show where the camera looks; the next frame is `picture` then.
        picture: as it was analysed, with its masks; who takes it puts None in its place.
    """

    def __init__(
        self,
        gallery: Gallery,
        camera: LiveCamera,
        settings: CameraSettings,
        config: RunConfig,
        settings_hash: str,
        gaps: SimpleQueue[tuple[float, str | None]],
    ) -> None:
        self.camera, self.status = camera, camera.status
        self._gallery, self._config, self._settings_hash, self._gaps = gallery, config, settings_hash, gaps
        self._rate = settings.analysis_fps or config.video.analysis_fps or 25.0
        self._zones = Zones(settings.region, settings.masks)
        self._builder = TrackletBuilder(settings.name, config.tracklets, config.stitch, early=True)
        self._tracker: Tracker | None = None
        self._shape: tuple[int, ...] = ()
        self._last_id = self._first_id = 0
        self._index = -1
        self._seen = self._noted = monotonic()
        self._gap: int | None = None  # the one that lasts
        self.record: SourceRecord | None = None
        self.picture_wanted = False
        self.picture: Frame | None = None

    def begin(self, writer: Writer) -> SourceRecord:
        """A source of its own for each run: its frames and tracks are counted from 0."""
        now = time()
        _close_earlier(self._gallery, self.status.name, now)
        name, uri, key = self.status.name, self.status.uri, f"live-{uuid.uuid4().hex}"
        self.record = self._gallery.begin_source(
            name, uri, key, now, self._settings_hash, live=True, masked=self._zones.masked
        )
        writer.expect(self.record.id, early=True)
        return self.record

    def take(self) -> Callable[[], Frame] | None:
        """The newest frame, masked, as a function that converts it; None when there is none."""
        waiting = self.camera.take()
        return None if waiting is None else partial(self._converted, waiting)

    def _converted(self, waiting: Waiting) -> Frame:
        frame = waiting.frame()
        self._zones.black_out(frame.image)
        return frame

    def lost(self, error: Exception) -> None:
        """A frame could not be converted."""
        self.status.failures["picture"] += 1
        self.status.detail = f"picture: {type(error).__name__}"

    def replay(self, frame: Frame) -> Detections | None:
        """Nothing: what a camera showed comes once."""
        return None

    def detected(self, frame: Frame, detections: Detections) -> None:
        """Nothing: see `replay`."""

    def flush(self) -> None:
        """Nothing: see `replay`."""

    def track(self, frame: Frame, detections: Detections, writer: Writer) -> None:
        """Follow the persons of the next frame."""
        if frame.index < self._index:  # the reader's count was full and began anew
            self.end(writer)
            self.record = None
        self._index = frame.index
        if self.picture_wanted:
            self.picture, self.picture_wanted = frame, False
        record = self.record or self.begin(writer)
        height, width = frame.image.shape[:2]
        if self._tracker is None or frame.image.shape != self._shape:
            self._restart(frame.image.shape, writer)
        assert self._tracker is not None
        inside = self._zones.inside(detections, width, height)
        try:
            ids = self._tracker.update(frame, inside)
        except Exception as error:  # noqa: BLE001 - one frame of one camera must not end all of them
            self.status.failures["tracker"] += 1
            self.status.detail = f"tracker: {type(error).__name__}"
            self._finish(writer)
            return
        ids[ids >= 0] += self._first_id
        self._last_id = max(self._last_id, int(ids.max(initial=0)))
        alive = {track_id + self._first_id for track_id in self._tracker.alive()}
        for update in self._builder.add(frame, inside, ids, alive):
            writer.add(record.id, update)
        self.camera.active = len(self._builder) > 0
        self._seen = monotonic()
        self.status.frames_analysed += 1
        self.status.last_frame = frame.timestamp
        self.status.latency.observe(time() - frame.timestamp)

    def look_after(self, writer: Writer) -> None:
        """Between frames: gaps are written down, and tracks end when pictures stay away."""
        self.camera.look()
        if monotonic() - self._seen > _SILENCE_S and len(self._builder):
            self._finish(writer)
        assert self.record is not None
        while not self._gaps.empty():
            moment, reason = self._gaps.get()
            if reason is None:
                writer.then(partial(self._end_gap, moment))
            else:
                writer.then(partial(self._begin_gap, self.record.id, moment, reason))
        if monotonic() - self._noted > _NOTE_EVERY_S:
            self._noted = monotonic()
            writer.then(
                partial(self._note, self.record.id, self.status.frames_analysed, self.status.last_frame)
            )
            written = writer.written(self.record.id)
            self.status.tracklets, self.status.stitched = written.stored, written.stitched
            self.status.rejected = self._builder.rejected + written.rejected

    def end(self, writer: Writer) -> None:
        """The run ends: what is in view is finished, and the source is complete after it."""
        self._finish(writer)
        self.look_after(writer)
        assert self.record is not None
        writer.then(partial(self._complete, writer, self.record.id))

    def _restart(self, shape: tuple[int, ...], writer: Writer) -> None:
        """A new tracker, as boxes of another picture size mean other places."""
        self._finish(writer)
        self._shape = shape
        self._first_id = self._last_id
        self._tracker = plugins.build("trackers", self._config.tracker, frame_rate=self._rate)

    def _finish(self, writer: Writer) -> None:
        updates: list[TrackletUpdate] = self._builder.close()
        for update in updates:
            assert self.record is not None
            writer.add(self.record.id, update)
        self.camera.active = False
        self._tracker, self._shape = None, ()

    # In the writing thread

    def _note(self, source_id: int, num_frames: int, end: float | None) -> None:
        self._gallery.update_source(source_id, num_frames, end)

    def _begin_gap(self, source_id: int, start: float, reason: str) -> None:
        self._gap = self._gallery.begin_gap(source_id, start, reason)

    def _end_gap(self, end: float) -> None:
        if self._gap is not None:
            self._gallery.end_gap(self._gap, end)
            self._gap = None

    def _complete(self, writer: Writer, source_id: int) -> None:
        written, status = writer.written(source_id), self.status
        status.tracklets, status.stitched = written.stored, written.stitched
        status.rejected = self._builder.rejected + written.rejected
        self._note(source_id, status.frames_analysed, status.last_frame)
        counts = {
            "frames": status.frames_analysed,
            "dropped": status.frames_dropped,
            "tracklets": written.stored,
            "stitched": written.stitched,
            "rejected": dict(status.rejected),
            "connections": status.connections,
        }
        self._gallery.finish_source(source_id, counts)


def _close_earlier(gallery: Gallery, camera: str, now: float) -> None:
    """Runs of this camera before: those that died are marked, and the time since the last one is a gap."""
    for source in gallery.live_sources(camera):
        gallery.finish_source(source.id, {"frames": source.num_frames_done}, status="interrupted")
    open_gaps = [gap for gap in gallery.gaps(GalleryFilter(frozenset({camera}))) if gap.end is None]
    for gap in open_gaps:  # the stream was away when the run ended
        gallery.end_gap(gap.id, now)
    before = [s for s in gallery.sources() if s.camera == camera and s.live and s.end is not None]
    if before and not open_gaps:
        last = max(before, key=lambda source: source.end or 0.0)
        reason = "the run was killed" if last.status == "interrupted" else "not running"
        if last.end is not None and last.end < now:
            gallery.end_gap(gallery.begin_gap(last.id, last.end, reason), now)
