"""Videos whose pictures are numbered, and a server that sends them as cameras do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from painted import BLUE, GREEN, RED, WHITE, Painted, numbered, paint, write_video
from rtsp_server import Mount, RtspServer, why_not

NUM_PICTURES, FPS = 40, 10


def make_video(path: Path, codec: str = "libx264", width: int = 320, height: int = 192) -> Path:
    """Four seconds of two people walking, in the way of cameras: no B-frames, a key frame a second."""
    people = [Painted(RED, BLUE, 10, 60), Painted(WHITE, GREEN, 200, 80, dx=-2)]
    pictures = [numbered(paint(people, i, width, height), i) for i in range(NUM_PICTURES)]
    quiet = {"x265-params": "log-level=none:bframes=0"} if codec == "libx265" else {"bf": "0"}
    return write_video(path, pictures, FPS, codec, **quiet)


@pytest.fixture(scope="session")
def videos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """ "h264", "h265" and "large", which is H.264 of another size."""
    folder = tmp_path_factory.mktemp("videos")
    return {
        "h264": make_video(folder / "h264.mp4"),
        "h265": make_video(folder / "h265.mp4", "libx265"),
        "large": make_video(folder / "large.mp4", width=480, height=288),
    }


@pytest.fixture(scope="session")
def mounts(videos: dict[str, Path]) -> list[Mount]:
    """Cameras "h264" and "h265"; skips where there is no GStreamer."""
    if reason := why_not():
        pytest.skip(reason)
    return [Mount.of(name, videos[name]) for name in ("h264", "h265")]


@pytest.fixture(scope="session")
def calm(mounts: list[Mount]) -> Iterator[RtspServer]:
    """The same for tests that only read."""
    with RtspServer(mounts) as server:
        yield server


@pytest.fixture
def rtsp(mounts: list[Mount]) -> Iterator[RtspServer]:
    """A server with the cameras "h264" and "h265", to be killed, stalled and spoilt."""
    with RtspServer(mounts) as server:
        yield server
