"""Videos, servers that send them as cameras do, and whole runs in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from painted import BLUE, GREEN, RED, WHITE, YELLOW, Painted, numbered, paint
from rtsp_server import Mount, RtspServer, why_not

from tests.live.running import PROGRAM, walk, write_as_cameras_do

NUM_PICTURES, FPS = 40, 10


def make_video(path: Path, codec: str = "libx264", width: int = 320, height: int = 192) -> Path:
    """Four seconds of two people walking."""
    people = [Painted(RED, BLUE, 10, 60), Painted(WHITE, GREEN, 200, 80, dx=-2)]
    pictures = [numbered(paint(people, i, width, height), i) for i in range(NUM_PICTURES)]
    return write_as_cameras_do(path, pictures, FPS, codec)


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


@pytest.fixture(scope="session")
def walks(tmp_path_factory: pytest.TempPathFactory) -> list[Mount]:
    """Cameras "red", "green" and "again", which shows the person of "red" in H.265."""
    if reason := why_not():
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("walks")
    red, green = walk(folder / "red.mp4", RED, BLUE), walk(folder / "green.mp4", GREEN, YELLOW)
    again = walk(folder / "again.mp4", RED, BLUE, "libx265")
    return [Mount.of("red", red), Mount.of("green", green), Mount.of("again", again)]


@pytest.fixture
def server(walks: list[Mount]) -> Iterator[RtspServer]:
    with RtspServer(walks) as running:
        yield running


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts `run_pipeline.py run` in a process of its own; none of them outlives the test."""
    begun: list[subprocess.Popen[str]] = []

    def go(config: Path, gallery: Path, listen: str = "off", **env: str) -> subprocess.Popen[str]:
        command = [sys.executable, str(PROGRAM), "run", "--config", str(config), "--gallery", str(gallery)]
        command += ["--listen", listen, "--show", "json"]
        environment = {**os.environ, **env}
        begun.append(subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment))
        return begun[-1]

    yield go
    for process in begun:
        process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()
