"""The story of a run without end: cameras -> fair batches -> detections -> tracks -> gallery, and alerts.

Each camera has a thread that reads, embedding and writing share one, detection and tracking run in the
caller's. Only the newest frame of a camera waits, so what the machine cannot do is left out, evenly and
counted, and never done late.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from queue import SimpleQueue
from random import Random
from time import monotonic, perf_counter, time

import numpy as np

from pipeline import plugins
from pipeline.alerts import Deliverer, Matcher
from pipeline.config import settings_hash
from pipeline.embedding import Clip, Embedder, Embedding, build_embedder, require_current
from pipeline.hooks import Hooks
from pipeline.live.camera import LiveCamera
from pipeline.live.camera_views import CameraViews
from pipeline.live.claims import claim_cameras
from pipeline.live.hours import Hours
from pipeline.live.live_run import LiveRun
from pipeline.live.logs import log_event
from pipeline.live.motion import MotionGate
from pipeline.live.recordings import Recordings, check_streams
from pipeline.live.redaction import expand
from pipeline.live.room import Room
from pipeline.live.settings import CameraSettings, RunConfig
from pipeline.live.status import RunStatus
from pipeline.live.supply import Supply
from pipeline.source_run import CameraRun, Detector, detect
from pipeline.types import CLIP_LENGTH, Detections, Frame
from pipeline.video import is_stream
from pipeline.writing import Writer, patiently
from storage.gallery import Gallery

_TURN_S = 0.2  # how long the loop waits for a frame
_LOOK_AFTER_S = 0.5
_WRITE_WAIT_S = 0.2  # a tracklet waits no longer for company before it is embedded
_PIPELINE_VERSION = 1


class SharedEmbedder:
    """An embedder that several threads may use: one at a time.

    What a network loads with its first clip is loaded here, before anybody waits for it.
    """

    def __init__(self, embedder: Embedder) -> None:
        self.spec, self.fallback, self.of_clips = embedder.spec, embedder.fallback, embedder.of_clips
        self._embedder, self._lock = embedder, threading.Lock()
        embedder.embed([[np.zeros((256, 128, 3), np.uint8)] * CLIP_LENGTH])

    def embed(self, clips: Sequence[Clip]) -> Embedding:
        """As the embedder itself."""
        with self._lock:
            return self._embedder.embed(clips)


class Run:
    """All cameras of a configuration, ready to start.

    Args:
        gallery: open for writing.
        config: cameras and settings.
        hooks: told what a user should read.
        status: to use; None: a new one.

    Attributes:
        status: what it is doing; changes while it runs.

    Raises:
        ValueError: the cameras do not fit together, or a variable in an address is not set.
        pipeline.video.VideoSourceError: a recording cannot be read, and there is no live camera. A stream is
            not tried before the start.
        storage.errors.WrongEmbedder: the gallery's embeddings were made by another model.
    """

    def __init__(
        self,
        gallery: Gallery,
        config: RunConfig,
        hooks: Hooks | None = None,
        status: RunStatus | None = None,
    ) -> None:
        batch = config.batch.model_copy(update={"max_wait_s": min(config.batch.max_wait_s, _WRITE_WAIT_S)})
        self._config = config = config.model_copy(update={"batch": batch})
        self._gallery, self._hooks = gallery, hooks or Hooks()
        self._wake = threading.Event()
        check_streams(config)
        self._recordings = Recordings(config, self._hooks)
        self.embedder = SharedEmbedder(build_embedder(config.embedder))
        require_current(gallery, self.embedder.spec)
        if self.embedder.fallback:
            self._hooks.on_note(self.embedder.fallback)
        self._detector: Detector = plugins.build("detectors", config.detector)
        self._live = [self._live_run(camera) for camera in config.cameras if is_stream(expand(camera.uri))]
        by_name = self._recordings.statuses | {run.status.name: run.status for run in self._live}
        self.status = status or RunStatus(time(), [])
        self.status.cameras, self.status.beat = [by_name[camera.name] for camera in config.cameras], 0.0

    def run(self, stop: threading.Event) -> None:
        """Go on until `stop` is set, or until every camera was a recording and is done.

        Raises:
            storage.errors.GalleryFull: told to stop while the disk was full; what was not written is lost.
            storage.errors.GenerationChanged: the gallery was switched to another model: begin a new run.
            ValueError: another process is reading one of the cameras into this gallery.
        """
        with ExitStack() as stack:
            room = Room(self._gallery, self._config.retention, self.status, stop)
            room.start()
            if not room.wait():
                return
            stack.enter_context(claim_cameras(self._gallery, [run.status.name for run in self._live]))
            stack.enter_context(CameraViews(self._gallery, self._live, self.status))
            stack.enter_context(Deliverer(self._gallery, self.status))
            stack.enter_context(Matcher(self._gallery, self.embedder, self._config, self.status))
            patience_s = self._config.live.stop_s if self._live else None
            writer = stack.enter_context(
                Writer(self._gallery, self.embedder, self._config, recover=room.wait, patience_s=patience_s)
            )
            patiently(partial(self._recordings.begin, self._gallery, self._detector), room.wait)
            for recording in self._recordings.runs:
                writer.expect(recording.record.id)
                stack.callback(recording.close)
            for run in self._live:
                patiently(partial(run.begin, writer), room.wait)
            with Supply(
                self._live,
                self._recordings.runs,
                self._config.video.open_sources,
                self._wake,
                self._recordings.fail if self._live else None,
            ) as supply:
                self._loop(supply, writer, stop)
            for run in self._live:
                run.end(writer)
        if writer.num_left:
            log_event(
                logging.ERROR, "told to stop, not everything could be stored in time", left=writer.num_left
            )

    def _loop(self, supply: Supply, writer: Writer, stop: threading.Event) -> None:
        looked = 0.0
        while not stop.is_set() and not supply.exhausted:
            self.status.beat = monotonic()
            self.status.queued |= {"detect": supply.num_waiting, "write": len(writer)}
            paused = self.status.paused
            for run in self._live:
                run.camera.paused = paused
            if paused or writer.is_behind:
                stop.wait(_TURN_S)  # frames that come meanwhile are dropped, and counted as that
                continue
            self._turn(supply, writer)
            if monotonic() - looked > _LOOK_AFTER_S:
                looked = monotonic()
                for run in self._live:
                    run.look_after(writer)
                self.status.stage_s["embed"], self.status.stage_s["write"] = writer.embed_s, writer.write_s
                self.status.stage_calls["embed"] = self.status.stage_calls["write"] = writer.batches

    def _turn(self, supply: Supply, writer: Writer) -> None:
        """One batch through detector and trackers."""
        seconds, calls = self.status.stage_s, self.status.stage_calls
        begin = perf_counter()
        steps, ended = supply.take(self._config.batch.frames, _TURN_S)
        if steps:
            seconds["convert"] += supply.convert_s
            calls["convert"] += 1
            found = detect(steps, self._detector, seconds)
            calls["detect"] += 1
            tracking = perf_counter()
            self._track(steps, found, writer)
            seconds["track"] += perf_counter() - tracking
            calls["track"] += 1
            seconds["turn"] += perf_counter() - begin
            calls["turn"] += 1
        for run in ended:
            run.end(writer)

    @staticmethod
    def _track(steps: Sequence[tuple[CameraRun, Frame]], found: Sequence[Detections], writer: Writer) -> None:
        for (run, frame), detections in zip(steps, found, strict=True):
            run.track(frame, detections, writer)

    def _live_run(self, camera: CameraSettings) -> LiveRun:
        config, gaps = self._config, SimpleQueue[tuple[float, str | None]]()
        hours = Hours.parse(camera.hours, config.live.timezone)
        reader = LiveCamera(
            camera,
            config.live,
            camera.analysis_fps or config.video.analysis_fps or 25.0,
            wake=self._wake.set,
            on_gap=lambda moment, reason: gaps.put((moment, reason)),
            on_gap_end=lambda moment: gaps.put((moment, None)),
            gate=MotionGate(camera.masks).moved if config.live.motion_gate else None,
            open_now=hours.open_at,
            rng=Random(),
        )
        # No password goes anywhere, not even hashed, and what is seen does not depend on whom we trust.
        looked_at = camera.model_dump(exclude={"uri", "tls_verify", "ca_file"}, mode="json")
        shaped = settings_hash(
            _PIPELINE_VERSION,
            self._detector.fingerprint,
            config.tracker,
            config.tracklets,
            config.stitch,
            looked_at,
        )
        return LiveRun(self._gallery, reader, camera, config, shaped, gaps)
