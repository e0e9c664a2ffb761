"""Recordings among the cameras of a run: one that cannot be read is no reason to end live cameras."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.hooks import Hooks, SourceProgress
from pipeline.ingest import begin_sources, open_sources
from pipeline.live.opening import is_live
from pipeline.live.redaction import expand, redact
from pipeline.live.settings import CameraSettings, RunConfig
from pipeline.live.status import CameraStatus
from pipeline.source_run import Detector, SourceRun
from pipeline.video import Source, SourceSpec, VideoSourceError, is_stream
from pipeline.zones import Zones
from storage.gallery import Gallery


class Recordings:
    """All recordings of a configuration.

    Args:
        config: of the run.
        hooks: told what a user should read.

    Attributes:
        statuses: by camera.
        runs: those that are not ingested yet, once begun.

    Raises:
        pipeline.video.VideoSourceError: one cannot be read, and there is no live camera.
        ValueError: one is given hours, or asks for an environment variable that is not there.
    """

    def __init__(self, config: RunConfig, hooks: Hooks) -> None:
        self._config, self._hooks = config, hooks
        cameras = [camera for camera in config.cameras if not is_stream(expand(camera.uri))]
        self.statuses = {camera.name: CameraStatus(camera.name, camera.uri, "waiting") for camera in cameras}
        self.runs: list[SourceRun] = []
        self._zones = {camera.name: Zones(camera.region, camera.masks) for camera in cameras}
        self._sources: list[Source] = []
        for camera in cameras:
            try:
                self._sources += _opened(camera, config)
            except VideoSourceError as error:
                if len(cameras) == len(config.cameras):
                    raise
                self._fail(camera.name, error)

    def begin(self, gallery: Gallery, detector: Detector) -> None:
        """Find or make their sources in the gallery; may be done again."""
        hooks = _StatusHooks(self.statuses, self._hooks)
        self.runs, summaries = begin_sources(
            gallery, self._sources, detector, self._config, hooks, self._zones
        )
        for summary in summaries:
            if summary.status == "already ingested":
                self.statuses[summary.camera].state = "ended"

    def fail(self, run: SourceRun, error: Exception) -> None:
        """One cannot be read further; a later run tries again from there."""
        self._fail(run.source.camera, error)

    def _fail(self, camera: str, error: Exception) -> None:
        status = self.statuses[camera]
        status.state, status.detail = "failed", str(error)


def check_streams(config: RunConfig) -> None:
    """Check the addresses of the streams; none is tried.

    Raises:
        ValueError: one is of no kind that can be read, or asks for an environment variable that is not there.
    """
    for camera in config.cameras:
        if is_stream(expand(camera.uri)) and not is_live(expand(camera.uri)):
            raise ValueError(
                f"camera '{camera.name}': {redact(camera.uri)} is no stream that can be read; give rtsp://, "
                "http(s):// or a webcam's number, or a file, folder or glob"
            )


def _opened(camera: CameraSettings, config: RunConfig) -> list[Source]:
    if camera.hours:
        raise ValueError(f"camera '{camera.name}' is a recording: `hours` are of live cameras")
    start = camera.start.timestamp() if camera.start else None
    fps = camera.analysis_fps or config.video.analysis_fps
    video = config.video.model_copy(update={"analysis_fps": fps})
    return open_sources([SourceSpec(camera.name, expand(camera.uri), start)], config.replace(video=video))


class _StatusHooks(Hooks):
    """What recordings tell, as numbers of their cameras."""

    def __init__(self, statuses: Mapping[str, CameraStatus], hooks: Hooks) -> None:
        self._statuses, self._hooks = statuses, hooks

    def on_note(self, text: str) -> None:
        self._hooks.on_note(text)

    def on_source(self, progress: SourceProgress) -> None:
        status = self._statuses[progress.camera]
        status.state = "ended" if progress.finished else "streaming"
        status.frames_analysed = status.frames_due = status.pictures_read = progress.frames
        status.tracklets = progress.tracklets
        self._hooks.on_source(progress)
