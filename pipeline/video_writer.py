"""RGB pictures to an H.264 file."""

from __future__ import annotations

from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import numpy as np

from pipeline.types import Image


class VideoWriter:
    """Writes an mp4, which appears when it is whole; a context manager.

    One thread encodes, so that the same pictures give the same file.

    Args:
        path: The file.
        rate: Frames a second.
        crf: Constant rate factor of x264, 0 (lossless) to 51; 6 more is about half the size.
        preset: Of x264: a slower one gives a smaller file.
        start: Time of the first frame, whole seconds UTC, kept in the file; None: not known.
    """

    def __init__(
        self, path: Path, rate: float, *, crf: int = 16, preset: str = "veryfast", start: float | None = None
    ) -> None:
        self._path, self._partial = path, path.with_name(f".{path.name}.tmp")
        self._container = av.open(str(self._partial), "w", format="mp4")
        if start is not None:
            moment = datetime.fromtimestamp(start, UTC).isoformat(timespec="microseconds")
            self._container.metadata["creation_time"] = moment.replace("+00:00", "Z")
        self._stream: Any = self._container.add_stream("libx264", rate=Fraction(rate).limit_denominator(1001))
        self._stream.pix_fmt, self._stream.options = "yuv420p", {"crf": str(crf), "preset": preset}
        self._stream.codec_context.thread_count = 1
        self._begun = False

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._container.mux(self._stream.encode(None))
        self._container.close()
        if error is None:
            self._partial.replace(self._path)
        else:
            self._partial.unlink(missing_ok=True)

    def add(self, image: Image) -> None:
        """Append a (H, W, 3) uint8 RGB picture; an odd last row or column is cut off."""
        height, width = (side // 2 * 2 for side in image.shape[:2])  # 4:2:0 needs even sides
        if not self._begun:
            self._stream.height, self._stream.width, self._begun = height, width, True
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(image[:height, :width]), format="rgb24")
        self._container.mux(self._stream.encode(picture))
