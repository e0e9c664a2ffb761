"""What each camera of a run does and where it looks, written down for those who look at the gallery."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic, time
from types import TracebackType

from pipeline.crops import encode_frame
from pipeline.live.live_run import LiveRun
from pipeline.live.logs import Persistent, log_event
from pipeline.live.status import RunStatus
from storage.browse_records import NewView
from storage.errors import GalleryError
from storage.gallery import Gallery

_POLL_S = 0.5
_PICTURE_EVERY_S = 10.0
_AGAIN_S = 30.0  # what does not change is said anew so often: a view that is older is of a run that died
_PUT_OFF_S = 5.0  # after a failure
_LAST_WORD_S = 2.0


@dataclass
class _Said:
    """What was last written of a camera, and when (monotonic seconds)."""

    what: tuple[str, str] = ("", "")
    at: float = float("-inf")
    next_picture: float = float("-inf")


class CameraViews:
    """Writes a camera's view when its state changes, and a picture now and then; a context manager.

    It has a thread of its own, as neither analysis nor the storing of tracklets is to wait for it. What
    cannot be written, as the disk is full or the database away, is left out.

    Args:
        gallery: open for writing.
        runs: the live cameras.
        status: of the run; no pictures are written while it is paused.
    """

    def __init__(self, gallery: Gallery, runs: Sequence[LiveRun], status: RunStatus) -> None:
        self._gallery, self._runs, self._status = gallery, runs, status
        self._said = {run.status.name: _Said() for run in runs}
        self._failing = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="camera views", daemon=True)

    def __enter__(self) -> CameraViews:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(_LAST_WORD_S)  # a database that does not answer keeps nobody waiting

    def _run(self) -> None:
        going_on = Persistent("camera views cannot be made")
        while not self._stop.wait(_PUT_OFF_S if self._failing else _POLL_S):
            with going_on:
                self._write(self._news(monotonic()))
        self._write([NewView(run.status.name, "off", "", time()) for run in self._runs])

    def _news(self, now: float) -> list[NewView]:
        """The views that are to be written; asks the cameras for their next pictures."""
        found = []
        for run in self._runs:
            status, said = run.status, self._said[run.status.name]
            picture, run.picture = run.picture, None
            if picture is not None:
                said.next_picture = now + _PICTURE_EVERY_S
            if picture is not None or said.what != (status.state, status.detail) or now - said.at >= _AGAIN_S:
                frame = None if picture is None else encode_frame(picture.image)
                taken = None if picture is None else picture.timestamp
                found.append(NewView(status.name, status.state, status.detail, time(), frame, taken))
            run.picture_wanted = now >= said.next_picture and not self._status.paused
        return found + self._failed(now)

    def _failed(self, now: float) -> list[NewView]:
        """The views of recordings that cannot be read."""
        found = []
        for status in self._status.cameras:
            said = self._said.setdefault(status.name, _Said())
            new = said.what != (status.state, status.detail) or now - said.at >= _AGAIN_S
            if status.state == "failed" and new:
                found.append(NewView(status.name, status.state, status.detail, time()))
        return found

    def _write(self, views: Sequence[NewView]) -> None:
        if not views:
            return
        try:
            self._gallery.set_camera_views(views)
        except (GalleryError, OSError) as error:
            if not self._failing:
                log_event(logging.WARNING, "camera views are not written", reason=str(error))
            self._failing = True
            return
        self._failing = False
        for view in views:
            said = self._said[view.camera]
            said.what, said.at = (view.state, view.detail), monotonic()
