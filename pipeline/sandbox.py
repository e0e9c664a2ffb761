"""Runs `pipeline.untrusted` on one file and takes nothing from it but pixels of the sizes that were agreed.

What the child is denied, beside what it gives up itself: the parent's environment, open files and process
group; more than a set time, after which its whole group is killed. POSIX only.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.types import Image
from pipeline.untrusted import MESSAGE_BYTES, Bounds

_ROOT = Path(__file__).resolve().parent.parent
_PIPE_BYTES = 1 << 20


class ChildFailed(ValueError):
    """The file gave no pixels.

    Attributes:
        reason: one of `file_formats.Reason`, "time", or "failed" when the child died or talked nonsense.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Unpacked:
    """What is known at the end: a clip's length in seconds (a picture: 0), and how many parts were bad."""

    duration_s: float
    num_damaged: int


def unpack(file: Path, bounds: Bounds, wall_s: float, keep: Callable[[float, Image], None]) -> Unpacked:
    """Decode an untrusted file in a process that is held down.

    Args:
        file: lies in a folder of its own, where the child works.
        bounds: what the child may ask for.
        wall_s: after so many seconds it is killed.
        keep: called with second and (H, W, 3) RGB picture of each frame, in order of time.

    Raises:
        ChildFailed: nothing, or not all of it, came back.
    """
    with file.open("rb") as given, _start(given, file.parent, bounds) as process:
        assert process.stdout is not None
        try:
            return _listen(_Pipe(process.stdout.fileno(), time.monotonic() + wall_s), bounds, keep)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def _start(given: Any, folder: Path, bounds: Bounds) -> subprocess.Popen[bytes]:
    # One thread each: threads count as processes, and their stacks as memory.
    threads = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL")}
    return subprocess.Popen(
        [sys.executable, "-P", "-s", "-B", "-m", "pipeline.untrusted", json.dumps(asdict(bounds))],
        stdin=given, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0, pipesize=_PIPE_BYTES,
        cwd=folder, env={"PYTHONPATH": str(_ROOT)} | threads, close_fds=True, start_new_session=True,
    )  # fmt: skip


def _listen(pipe: _Pipe, bounds: Bounds, keep: Callable[[float, Image], None]) -> Unpacked:
    side = max(bounds.picture_side_px, bounds.frame_side_px)
    most = max(2.0, bounds.clip_s * bounds.frames_per_s + 2)
    last, size, count = -1.0, None, 0
    while True:
        match _message(pipe.read(MESSAGE_BYTES)):
            case {"frame": [float(offset), int(width), int(height)]}:
                count += 1
                fits = 0 < width <= side and 0 < height <= side and width * height <= bounds.picture_px
                in_order = last < offset <= bounds.clip_s and count <= most
                if not (fits and in_order and size in (None, (width, height))):
                    raise ChildFailed("failed")
                last, size = offset, (width, height)
                pixels = np.frombuffer(pipe.read(width * height * 3), np.uint8)
                keep(offset, pixels.reshape(height, width, 3))
            case {"done": [float(duration_s), int(num_damaged)]} if count and 0 <= duration_s < 1e6:
                return Unpacked(duration_s, num_damaged)
            case {"refused": str(reason)}:
                raise ChildFailed(reason)
            case _:
                raise ChildFailed("failed")


def _message(text: bytearray) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise ChildFailed("failed") from error


class _Pipe:
    """Reads exact lengths until the deadline, whoever else may hold the other end open."""

    def __init__(self, fd: int, deadline: float) -> None:
        self._fd = fd
        self._deadline = deadline
        self._poll = select.poll()
        self._poll.register(fd, select.POLLIN)

    def read(self, length: int) -> bytearray:
        content = bytearray(length)
        rest = memoryview(content)
        while rest:
            left = self._deadline - time.monotonic()
            if left <= 0 or not self._poll.poll(left * 1000):
                raise ChildFailed("time")
            count = os.readv(self._fd, [rest])
            if count == 0:
                raise ChildFailed("failed")
            rest = rest[count:]
        return content
