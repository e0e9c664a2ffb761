"""What tests of whole runs share: people who walk, a configuration, waiting for something."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import painted_detector
import yaml
from painted import Painted, paint, write_video
from rtsp_server import RtspServer

from storage.errors import GalleryNotFound
from storage.gallery import Gallery
from storage.records import TrackletRecord

PROGRAM = Path(painted_detector.__file__)
Start = Callable[..., subprocess.Popen[str]]
FPS = 10
# Half of the time somebody walks through, half of the time nobody is there.
WALK, PAUSE = 40, 40


def walk(path: Path, top: tuple[int, int, int], trousers: tuple[int, int, int]) -> Path:
    """A person walks through the picture in four seconds; four more show nobody."""
    person = Painted(top, trousers, 10, 60, dx=5, last=WALK - 1)
    pictures = [paint([person], i, 320, 192) for i in range(WALK + PAUSE)]
    return write_video(path, pictures, FPS, bf="0")


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
