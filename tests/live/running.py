"""What tests of whole runs share: people who walk, a configuration, waiting for something."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import painted_detector
import yaml
from painted import Painted, paint, write_video
from rtsp_server import RtspServer

from storage.errors import GalleryNotFound
from storage.gallery import Gallery
from storage.records import TrackletRecord

PROGRAM = Path(painted_detector.__file__)
Start = Callable[..., subprocess.Popen[str]]
Colour = tuple[int, int, int]
FPS = 10
# Half of the time somebody walks through, half of the time nobody is there.
WALK, PAUSE = 40, 40


def walk_pictures(top: Colour, trousers: Colour) -> list[np.ndarray]:
    """A person walks through the picture in four seconds; four more show nobody."""
    person = Painted(top, trousers, 10, 60, dx=5, last=WALK - 1)
    return [paint([person], i, 320, 192) for i in range(WALK + PAUSE)]


def walk(path: Path, top: Colour, trousers: Colour, codec: str = "libx264") -> Path:
    """The same as a video."""
    return write_as_cameras_do(path, walk_pictures(top, trousers), FPS, codec)


def write_as_cameras_do(path: Path, pictures: Sequence[np.ndarray], fps: float, codec: str) -> Path:
    """No B-frames, a key frame every ten pictures; H.264 or H.265."""
    quiet = {"x265-params": "log-level=none:bframes=0"} if codec == "libx265" else {"bf": "0"}
    return write_video(path, pictures, fps, codec, **quiet)


def write_config(folder: Path, cameras: list[dict[str, Any]], **more: Any) -> Path:
    """A cameras.yaml with an embedder that needs no weights and short waits."""
    values = {
        "cameras": cameras,
        "embedder": {"name": "colour_stripes"},
        "tracker": {"name": "bytetrack", "lost_buffer_s": 1.0},
        "live": {"backoff_s": 0.2, "backoff_max_s": 0.5, "read_timeout_s": 2.0, "gap_s": 2.0, "stop_s": 5.0},
        "retention": {"min_free_mb": 1},
        **more,
    }
    path = folder / "cameras.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def cameras(server: RtspServer, *names: str) -> list[dict[str, Any]]:
    return [{"name": name, "uri": server.uri(name)} for name in names]


def until(true: Callable[[], Any], within_s: float, what: str) -> Any:
    """Wait for something; the value it became."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        value = true()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError(f"not within {within_s} s: {what}")


class Webcam:
    """An open webcam as FFmpeg has it: so many pictures of a video, and from then on what `then` does."""

    def __init__(self, video: Path, count: int, then: Callable[[], None]) -> None:
        self._file, self._then, self._left = av.open(str(video)), then, count
        self.streams = self._file.streams
        self.format = SimpleNamespace(name="video4linux2,v4l2")
        self._packets = self._file.demux(video=0)

    def demux(self, stream: Any) -> Iterator[Any]:
        while self._left:
            self._left -= 1
            time.sleep(1 / FPS)
            yield next(self._packets)
        self._then()

    def close(self) -> None:
        self._file.close()


def listed(folder: Path) -> list[TrackletRecord]:
    if not (folder / "gallery.json").exists():
        return []
    try:
        with Gallery.open(folder, read_only=True) as gallery:
            return list(gallery.tracklets())
    except GalleryNotFound:  # still being made
        return []
