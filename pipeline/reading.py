"""Decoding threads and the batches taken from them in strict turn."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from time import perf_counter
from types import TracebackType

from pipeline.types import Frame
from pipeline.video import Source

_POLL_S = 0.2


class End:
    """What `Reader.poll` gives when no frame will come any more."""


class Reader:
    """Decodes one source in a thread of its own; at most `queue_frames` frames wait in memory."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.decode_s = 0.0
        self._queue: queue.Queue[Frame | BaseException | None] = queue.Queue(source.settings.queue_frames)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"decode {source.camera}", daemon=True)
        self._thread.start()

    def next(self) -> Frame | None:
        """The next frame, None at the end; an error of the decoding thread is raised here."""
        item = self._queue.get()
        if isinstance(item, BaseException):
            raise item
        return item

    def poll(self) -> Frame | End | None:
        """The next frame if one is ready, None if not, or the end."""
        try:
            item = self._queue.get_nowait()
        except queue.Empty:
            return None
        if isinstance(item, BaseException):
            raise item
        return item or End()

    def close(self) -> None:
        """Stop decoding and wait for the thread."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        frames = self.source.frames()
        last: BaseException | None = None
        try:
            while not self._stop.is_set():
                begin = perf_counter()
                frame = next(frames, None)
                self.decode_s += perf_counter() - begin
                if frame is None:
                    break
                self._put(frame)
        except BaseException as error:  # noqa: BLE001 - handed to the thread that reads
            last = error
        self._put(last)

    def _put(self, item: Frame | BaseException | None) -> None:
        while not self._stop.is_set():
            try:
                self._queue.put(item, timeout=_POLL_S)
                return
            except queue.Full:
                continue


class ReaderPool:
    """Reads many sources, a bounded number at a time, and deals their frames out in batches.

    The open sources take strict turns, one frame each: every camera gets its fair share, and which frames
    share a batch does not depend on the speed of the machine.

    Attributes:
        decode_s: seconds the decoding threads took, of the sources that have ended.
        wait_s: seconds the caller waited for them.
    """

    def __init__(self, sources: Sequence[Source], num_open: int) -> None:
        self._waiting = deque(sources)
        self._num_open = num_open
        self._open: deque[Reader] = deque()
        self.decode_s = self.wait_s = 0.0

    def __enter__(self) -> ReaderPool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for reader in self._open:
            reader.close()

    def batches(self, size: int) -> Iterator[tuple[list[tuple[Source, Frame]], list[Source]]]:
        """Yields up to `size` frames with their sources, and the sources that ended after them."""
        while True:
            self._fill()
            if not self._open:
                return
            batch: list[tuple[Source, Frame]] = []
            ended: list[Source] = []
            while self._open and len(batch) < size:
                reader = self._open[0]
                begin = perf_counter()
                frame = reader.next()
                self.wait_s += perf_counter() - begin
                if frame is None:
                    self._open.popleft()
                    self.decode_s += reader.decode_s
                    reader.close()
                    ended.append(reader.source)
                    self._fill()
                else:
                    self._open.rotate(-1)
                    batch.append((reader.source, frame))
            yield batch, ended

    def _fill(self) -> None:
        while self._waiting and len(self._open) < self._num_open:
            self._open.append(Reader(self._waiting.popleft()))
