"""Frames of recordings to draw a box on, and sources that are no recording."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from painted import BLUE, RED, Painted, number_in, numbered, paint, write_video

from pipeline.clips import source_file
from pipeline.config import VideoSettings
from pipeline.source_frames import frame_at
from pipeline.video import file_fingerprint
from storage.records import SourceRecord

GROUND = paint((Painted(RED, BLUE, 150, 60),), 0, 320, 192)


def clip(path: Path, num_frames: int, pts: list[int] | None = None) -> Path:
    return write_video(path, [numbered(GROUND, i) for i in range(num_frames)], pts=pts)


def number_at(path: Path, at_s: float) -> tuple[int, float]:
    image, since, _ = frame_at(path, VideoSettings(), at_s)
    return number_in(image.mean(axis=2)), since


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_the_frame_is_the_one_shown_at_that_moment(tmp_path: Path, suffix: str) -> None:
    path = clip(tmp_path / f"v.{suffix}", 150)
    for at_s, expected in ((0.0, 0), (0.05, 0), (0.1001, 1), (4.96, 49), (7.0501, 70), (14.95, 149)):
        assert number_at(path, at_s) == (expected, pytest.approx(expected / 10, abs=0.002))
    assert frame_at(path, VideoSettings(), 3.0)[2] == pytest.approx(15.0, abs=0.11)


def test_a_picture_stays_until_the_next_comes(tmp_path: Path) -> None:
    path = clip(tmp_path / "v.mp4", 5, pts=[0, 100, 2000, 2100, 2200])
    assert [number_at(path, at_s)[0] for at_s in (0.05, 0.5, 1.999, 2.0, 2.15)] == [0, 1, 1, 2, 3]


def test_an_analysis_rate_does_not_leave_out_frames(tmp_path: Path) -> None:
    path = clip(tmp_path / "v.mp4", 60)
    image, since, _ = frame_at(path, VideoSettings(analysis_fps=1.0), 3.35)
    assert (number_in(image.mean(axis=2)), since) == (33, pytest.approx(3.3))


@pytest.mark.parametrize("at_s", [-0.1, 99.0, float("nan"), float("inf")])
def test_moments_outside_are_refused(tmp_path: Path, at_s: float) -> None:
    with pytest.raises(ValueError, match=r"outside the recording, which is 2\.0 s long"):
        frame_at(clip(tmp_path / "v.mp4", 20), VideoSettings(), at_s)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


def source(uri: str, fingerprint: str = "0" * 32) -> SourceRecord:
    return SourceRecord(1, "yard", uri, fingerprint, 0.0, "s", "complete", 0, {})


def test_addresses_that_are_no_recording_are_never_opened(tmp_path: Path, listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    fifo, folder = tmp_path / "fifo.mp4", tmp_path / "folder"
    os.mkfifo(fifo)  # whoever opens it, waits for ever
    folder.mkdir()
    for uri in (
        f"http://127.0.0.1:{port}/a.mp4",
        f"rtsp://127.0.0.1:{port}/a",
        f"tcp://127.0.0.1:{port}",
        f"http:/127.0.0.1:{port}/a.mp4",
        f"concat:http://127.0.0.1:{port}/a.mp4",
        f"subfile,,start,0,end,9,,:http://127.0.0.1:{port}/a",
        "concat:/etc/passwd|/etc/hosts",
        "file:///etc/passwd",
        "/etc/passwd",
        "/dev/zero",
        "0",
        "-",
        "",
        "relative.mp4",
        "/a\0b",
        "/" + "x" * 5000,
        str(fifo),
        str(folder),
        str(tmp_path / "absent.mp4"),
    ):
        assert source_file(source(uri)) is None, uri
    with pytest.raises(BlockingIOError):
        listener.accept()


def test_a_file_counts_only_with_the_content_that_was_read(tmp_path: Path) -> None:
    real, other, link = clip(tmp_path / "v.mp4", 20), clip(tmp_path / "w.mp4", 21), tmp_path / "link.mp4"
    known = file_fingerprint(real)
    link.symlink_to(real)
    assert source_file(source(str(real), known)) == real
    found = source_file(source(str(link), known))
    assert found is not None
    assert found.samefile(real)
    link.unlink()
    link.symlink_to(other)
    assert source_file(source(str(link), known)) is None
    real.write_bytes(other.read_bytes())
    assert source_file(source(str(real), known)) is None


def test_a_playlist_in_the_place_of_a_recording_reaches_nobody(
    tmp_path: Path, listener: socket.socket
) -> None:
    port = listener.getsockname()[1]
    path = tmp_path / "v.mp4"
    for text in (
        f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nhttp://127.0.0.1:{port}/a.ts\n#EXT-X-ENDLIST\n",
        f"ffconcat version 1.0\nfile 'http://127.0.0.1:{port}/a.mp4'\n",
    ):
        path.write_text(text)
        with pytest.raises(OSError, match="camera"):
            frame_at(path, VideoSettings(), 0.0)
    with pytest.raises(BlockingIOError):
        listener.accept()


def test_pictures_are_rgb(tmp_path: Path) -> None:
    image, _, _ = frame_at(clip(tmp_path / "v.mp4", 12), VideoSettings(), 0.5)
    assert np.abs(image[90, 170].astype(int) - RED).max() < 40
