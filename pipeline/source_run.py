"""One recording on its way through the stages: boxes replayed or detected, tracked, cut into tracklets."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from time import perf_counter
from typing import Protocol

import numpy as np
import numpy.typing as npt

from pipeline import plugins
from pipeline.config import Config
from pipeline.crops import encode_frame
from pipeline.detection_log import DetectionLog
from pipeline.hooks import Hooks, SourceProgress
from pipeline.tracklets import TrackletBuilder
from pipeline.types import Detections, Frame
from pipeline.video import Source
from pipeline.writing import Writer
from pipeline.zones import Zones
from storage.gallery import Gallery
from storage.records import SourceRecord

_PROGRESS_EVERY_S = 0.25
_NOTE_EVERY_S = 5.0


class Detector(Protocol):
    """What a detector plug-in gives: `fingerprint` changes when its boxes would."""

    fingerprint: str

    def detect(self, frames: Sequence[Frame]) -> list[Detections]: ...


class Tracker(Protocol):
    """What a tracker plug-in gives; one instance per source."""

    def update(self, frame: Frame, detections: Detections) -> npt.NDArray[np.int64]: ...

    def alive(self) -> set[int]: ...


class CameraRun(Protocol):
    """One camera in a run: a recording, or a live stream that has nothing to replay."""

    def replay(self, frame: Frame) -> Detections | None:
        """Boxes that an earlier run has found in this frame."""

    def detected(self, frame: Frame, detections: Detections) -> None:
        """Boxes that were found now."""

    def flush(self) -> None:
        """A batch is done: what was found outlives this process."""

    def track(self, frame: Frame, detections: Detections, writer: Writer) -> None:
        """Follow the persons of the next frame."""


def detect(
    steps: Sequence[tuple[CameraRun, Frame]], detector: Detector, seconds: defaultdict[str, float]
) -> list[Detections]:
    """The boxes of a batch: replayed where a killed run has left them, detected where not.

    Args:
        steps: the frames, each with its camera.
        detector: sees all frames that are not replayed in one call.
        seconds: "detect" is added to.
    """
    found = [run.replay(frame) for run, frame in steps]
    missing = [i for i, detections in enumerate(found) if detections is None]
    if missing:
        begin = perf_counter()
        detected = detector.detect([steps[i][1] for i in missing])
        seconds["detect"] += perf_counter() - begin
        for i, detections in zip(missing, detected, strict=True):
            run, frame = steps[i]
            run.detected(frame, detections)
            found[i] = detections
        for run in {id(run): run for run, _ in steps}.values():
            run.flush()
    return [detections for detections in found if detections is not None]


@dataclass
class SourceSummary:
    """What one source gave. `status` is "complete", or "already ingested" when nothing had to be done;
    `stitched` counts tracks that were joined to an earlier one of the same person."""

    camera: str
    uri: str
    status: str
    start: float
    frames: int = 0
    detections: int = 0
    tracklets: int = 0
    already_stored: int = 0
    stitched: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    damage: dict[str, int] = field(default_factory=dict)


def log_path(gallery: Gallery, record: SourceRecord) -> Path:
    """Where a source's boxes are kept while it is being ingested."""
    return gallery.work_folder / f"{record.id:06d}.boxes"


class SourceRun:
    """One source on its way through the stages."""

    def __init__(
        self,
        source: Source,
        record: SourceRecord,
        config: Config,
        summary: SourceSummary,
        gallery: Gallery,
        hooks: Hooks,
        zones: Zones | None = None,
    ) -> None:
        self.zones = zones or Zones(None)
        self.source, self.record, self.summary, self._hooks = source, record, summary, hooks
        self._tracker: Tracker = plugins.build("trackers", config.tracker, frame_rate=source.analysed_rate)
        self._builder = TrackletBuilder(source.camera, config.tracklets, config.stitch)
        self._started = self._told = 0.0
        self._noted = perf_counter()
        self._gallery = gallery
        self._last: Frame | None = None

    @cached_property
    def log(self) -> DetectionLog:
        """Opened with the first frame, so that a thousand waiting sources hold no files open."""
        return DetectionLog(log_path(self._gallery, self.record), self.record.settings_hash)

    def replay(self, frame: Frame) -> Detections | None:
        """Boxes that a killed run has left."""
        return self.log.replay(frame.index)

    def detected(self, frame: Frame, detections: Detections) -> None:
        """Note boxes for a run after this one."""
        self.log.append(frame.index, detections)

    def flush(self) -> None:
        """Hand what was noted to the operating system."""
        self.log.flush()

    def track(self, frame: Frame, detections: Detections, writer: Writer) -> None:
        """Follow the persons of the next frame."""
        self._started = self._started or perf_counter()
        self.summary.frames += 1
        self._last = frame
        self.summary.detections += len(detections)
        detections = self.zones.inside(detections, frame.image.shape[1], frame.image.shape[0])
        track_ids = self._tracker.update(frame, detections)
        for update in self._builder.add(frame, detections, track_ids, self._tracker.alive()):
            writer.add(self.record.id, update)
        now = perf_counter()
        if now - self._told > _PROGRESS_EVERY_S:
            self._tell(writer, frame.timestamp - self.source.start)
        if now - self._noted > _NOTE_EVERY_S:  # for those who look at the gallery meanwhile
            self._noted = now
            writer.then(partial(self._gallery.update_source, self.record.id, self.summary.frames))

    def end(self, writer: Writer) -> None:
        """All frames were tracked: what is open is finished, and the source is complete after it."""
        for update in self._builder.close():
            writer.add(self.record.id, update)
        writer.then(partial(self._finish, writer))
        self._tell(writer, self.source.duration_s or 0.0, finished=True)

    def close(self) -> None:
        """Close the files."""
        if "log" in self.__dict__:
            self.log.__exit__(None, None, None)

    def _finish(self, writer: Writer) -> None:
        """In the writing thread, when all tracklets of the source are stored."""
        written, summary = writer.written(self.record.id), self.summary
        summary.tracklets, summary.already_stored = written.stored, written.known
        summary.stitched = written.stitched
        summary.rejected = dict(self._builder.rejected + written.rejected)
        summary.damage = dict(self.source.damage)
        counts = {
            "frames": summary.frames,
            "detections": summary.detections,
            "tracklets": summary.tracklets + summary.already_stored,
            "stitched": summary.stitched,
            "rejected": summary.rejected,
            "damage": summary.damage,
        }
        if self._last is not None:
            self._gallery.update_source(self.record.id, summary.frames, self._last.timestamp)
        self._gallery.finish_source(self.record.id, counts)
        self._show()
        self.log.remove()

    def _show(self) -> None:
        """Let people see where the camera looks, by the last picture."""
        if self._last is None:
            self._gallery.set_camera_view(self.source.camera, "recorded")
            return
        self.zones.black_out(self._last.image)  # whoever read it may have done so already
        frame, taken = encode_frame(self._last.image), self._last.timestamp
        self._gallery.set_camera_view(self.source.camera, "recorded", frame=frame, frame_time=taken)
        self._last = None

    def _tell(self, writer: Writer, seconds_done: float, finished: bool = False) -> None:
        self._told = perf_counter()
        elapsed = max(self._told - self._started, 1e-6) if self._started else 1e-6
        total, written = self.source.duration_s, writer.written(self.record.id)
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
