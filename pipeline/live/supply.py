"""Frames of all cameras in fair turns: whoever was served longest ago comes first."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from os import cpu_count
from time import monotonic, perf_counter
from types import TracebackType

from pipeline.live.live_run import LiveRun
from pipeline.reading import End, Reader
from pipeline.source_run import CameraRun, SourceRun
from pipeline.types import Frame

_JOIN_S = 1.0


class Supply:
    """Batches for the detector; a context manager.

    Each turn takes at most one frame of each camera. A live camera keeps only its newest frame, so when the
    machine cannot keep up, all of them lose the same share, and a frame waits for one turn at most. A
    recording waits for its turn and loses nothing.

    Args:
        live: the live cameras; their readers are started and stopped here.
        recordings: opened one after another, at most `num_open` at a time.
        wake: set by the readers when a frame waits.
        on_failed: told of a recording that cannot be read further, which is left out then; None: its error is
            raised.

    Attributes:
        convert_s: seconds that the last batch took to become RGB.
    """

    def __init__(
        self,
        live: Sequence[LiveRun],
        recordings: Sequence[SourceRun],
        num_open: int,
        wake: threading.Event,
        on_failed: Callable[[SourceRun, Exception], None] | None = None,
    ) -> None:
        self._live, self._wake, self._on_failed = live, wake, on_failed
        self._turn: deque[LiveRun | _Recording] = deque(live)
        self._waiting, self._num_open = deque(recordings), num_open
        self.convert_s = 0.0
        self._converters = ThreadPoolExecutor(min(4, cpu_count() or 1), thread_name_prefix="convert")
        self._open_recordings()

    def __enter__(self) -> Supply:
        for run in self._live:
            run.camera.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for run in self._live:
            run.camera.stop()
        for item in self._turn:
            if isinstance(item, _Recording):
                item.reader.close()
        deadline = monotonic() + _JOIN_S
        for run in self._live:
            run.camera.join(max(0.0, deadline - monotonic()))  # one that hangs in a read is left behind
        self._converters.shutdown(wait=False, cancel_futures=True)

    @property
    def exhausted(self) -> bool:
        """No frame will ever come again."""
        return not self._turn

    @property
    def num_waiting(self) -> int:
        """Live cameras with a picture that waits for its turn."""
        return sum(run.camera.waiting_since() is not None for run in self._live)

    def take(self, size: int, wait_s: float) -> tuple[list[tuple[CameraRun, Frame]], list[SourceRun]]:
        """The next batch.

        Args:
            size: frames at most.
            wait_s: how long to wait for the first one, in seconds.

        Returns:
            Frames with their cameras, and the recordings that ended after them. Both may be empty.
        """
        found = self._collect(size)
        if not found[0] and not found[1]:
            self._wake.wait(wait_s if self._live else min(wait_s, 0.02))
            self._wake.clear()
            found = self._collect(size)
        taken, ended = found
        begin = perf_counter()
        frames = list(self._converters.map(_converted, taken))
        self.convert_s = perf_counter() - begin
        steps: list[tuple[CameraRun, Frame]] = []
        for (item, _), frame in zip(taken, frames, strict=True):
            if isinstance(frame, Frame):
                steps.append((item.run if isinstance(item, _Recording) else item, frame))
            else:
                self._fail(item, frame)
        return steps, ended

    def _collect(self, size: int) -> tuple[list[_Taken], list[SourceRun]]:
        taken: list[_Taken] = []
        ended: list[SourceRun] = []
        rounds = 1 if self._live else size  # recordings alone may fill a batch
        for _ in range(rounds):
            before = len(taken)
            for item in list(self._turn):
                if len(taken) == size:
                    return taken, ended
                self._serve(item, taken, ended)
            if len(taken) == before:
                break
        return taken, ended

    def _serve(self, item: LiveRun | _Recording, taken: list[_Taken], ended: list[SourceRun]) -> None:
        """Take a camera's frame, if it has one, and put the camera at the end of the queue."""
        try:
            found = item.take()
        except Exception as error:  # noqa: BLE001 - one recording must not end all cameras
            self._fail(item, error)
            return
        if found is None:
            return
        self._turn.remove(item)
        if isinstance(found, End):
            assert isinstance(item, _Recording)
            item.reader.close()
            ended.append(item.run)
            self._open_recordings()
            return
        self._turn.append(item)
        taken.append((item, found))

    def _fail(self, item: LiveRun | _Recording, error: Exception) -> None:
        """One frame less of a live camera; a recording would lack it for ever, so it ends here."""
        if not isinstance(item, _Recording):
            item.lost(error)
        elif self._on_failed is None:
            raise error
        else:
            self._turn.remove(item)
            item.reader.close()
            self._on_failed(item.run, error)
            self._open_recordings()

    def _open_recordings(self) -> None:
        while self._waiting and sum(isinstance(item, _Recording) for item in self._turn) < self._num_open:
            self._turn.append(_Recording(self._waiting.popleft()))


class _Recording:
    """An open recording and its decoding thread."""

    def __init__(self, run: SourceRun) -> None:
        self.run = run
        self.reader = Reader(run.source)

    def take(self) -> Callable[[], Frame] | End | None:
        """The next frame, if it is decoded."""
        found = self.reader.poll()
        return partial(self._masked, found) if isinstance(found, Frame) else found

    def _masked(self, frame: Frame) -> Frame:
        self.run.zones.black_out(frame.image)
        return frame


_Taken = tuple[LiveRun | _Recording, Callable[[], Frame]]
"""A camera and its frame, which is still to be converted."""


def _converted(taken: _Taken) -> Frame | Exception:
    try:
        return taken[1]()
    except Exception as error:  # noqa: BLE001 - one picture must not end all cameras
        return error
