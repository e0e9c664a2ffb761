"""The detector's boxes of a source being ingested, kept until the source is done.

Detection is nine tenths of the work. A run that was killed replays its boxes from this log instead of
detecting again, and because the tracker then sees exactly what it saw before, it makes the same tracks:
tracklets that are already stored are recognised and nothing differs from a run never killed.

Format: a header line (the settings hash), then per frame two int32 (frame index, N) and N x 5 float32
(xyxy, confidence). A record cut off by a kill is dropped.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from types import TracebackType

import numpy as np

from pipeline.types import Detections
from storage.errors import disk_errors

_FIELDS = 5


class DetectionLog:
    """Read what is there, in order, then append; a context manager."""

    def __init__(self, path: Path, settings_hash: str) -> None:
        """Open the log; one of other settings is begun anew."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        header = f"retrace boxes 1 {settings_hash}\n".encode()
        self._file = path.open("a+b")
        self._file.seek(0)
        if self._file.read(len(header)) != header:
            self._file.seek(0)
            self._file.truncate()
            self._file.write(header)
        self._replaying = True

    def __enter__(self) -> DetectionLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):  # a full disk, reported by `flush`
            self._file.close()

    def replay(self, frame_index: int) -> Detections | None:
        """The boxes logged for the next frame; None from the first frame on that has none."""
        if not self._replaying:
            return None
        position = self._file.tell()
        head = self._file.read(8)
        if len(head) == 8:
            index, count = np.frombuffer(head, np.int32).tolist()
            body = self._file.read(4 * _FIELDS * max(count, 0))
            if index == frame_index and count >= 0 and len(body) == 4 * _FIELDS * count:
                rows = np.frombuffer(body, np.float32).reshape(count, _FIELDS)
                return Detections(rows[:, :4].copy(), rows[:, 4].copy())
        self._file.seek(position)
        self._file.truncate()  # a torn record, or one of a frame that no longer comes next
        self._replaying = False
        return None

    def append(self, frame_index: int, detections: Detections) -> None:
        """Add the boxes of a frame that `replay` did not know."""
        assert not self._replaying, "append comes after replay has ended"
        rows = np.concatenate([detections.xyxy, detections.confidence[:, None]], axis=1).astype(np.float32)
        with disk_errors(self._path.parent.parent):
            self._file.write(np.array([frame_index, len(rows)], np.int32).tobytes() + rows.tobytes())

    def flush(self) -> None:
        """Hand what was appended to the operating system, so that a kill of this process keeps it."""
        with disk_errors(self._path.parent.parent):  # the gallery's folder
            self._file.flush()

    def remove(self) -> None:
        """Delete the log: its source is done."""
        with suppress(OSError):
            self._file.close()
        self._path.unlink(missing_ok=True)
