"""HLS: what a playlist says of time, and capture times of a stream that is seconds behind."""

from __future__ import annotations

import shutil
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from http_cameras import timed_hls
from painted import number_in, numbered, write_video

from pipeline.live.hls import LiveEdge, Pace, Playlist, find_live_edge, is_playlist
from tests.live.test_camera import taken, watching

SEGMENT_S, FPS = 2, 10
LISTS_OTHERS = (
    "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nlow/live.m3u8\n#EXT-X-STREAM-INF:BANDWIDTH=2\nhigh.m3u8\n"
)


def m3u8(first: int, *durations: float, dates: dict[int, str] | None = None, end: bool = False) -> str:
    lines = ["#EXTM3U", "#EXT-X-TARGETDURATION:4", f"#EXT-X-MEDIA-SEQUENCE:{first}"]
    for number, duration in enumerate(durations, first):
        if number in (dates or {}):
            lines.append(f"#EXT-X-PROGRAM-DATE-TIME:{(dates or {})[number]}")
        lines += [f"#EXTINF:{duration},a title", f"{number}.ts?token=x"]
    return "\n".join(lines + ["#EXT-X-ENDLIST"] * end)


def test_a_playlist_says_how_long_its_segments_are_and_when_they_were_taken() -> None:
    dates = {8: "1970-01-01T00:01:40.500Z", 10: "1970-01-01T01:05:00+0100"}
    playlist = Playlist.parse(m3u8(7, 4, 3.5, 4, 4, dates=dates))
    assert playlist == Playlist([4, 3.5, 4, 4], [None, 100.5, 104, 300], 11, 4, True)
    assert not Playlist.parse(m3u8(0, 4, end=True)).live
    assert Playlist.parse(m3u8(0, 4, dates={0: "yesterday"})).dates == [None]
    for wrong in ("", "<html>", "#EXTM3U\n#EXTINF:long,\na.ts\n", "#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:x\n"):
        with pytest.raises(ValueError):  # noqa: PT011 - float's and int's own words, too
            Playlist.parse(wrong)


@pytest.mark.parametrize(
    ("dated_s", "behind_s"), [(None, 12.5), (13.0, 13.0), (18.0, 18.0), (10.0, 12.5), (90.0, 12.5)]
)
def test_the_senders_clock_is_believed_when_it_can_be_right(dated_s: float | None, behind_s: float) -> None:
    """12 s of segments follow the one that playback begins with, and its first picture came 0.5 s later."""
    date = None if dated_s is None else time.time() - dated_s
    edge = LiveEdge(Playlist([4] * 5, [None, None, date, None, None], 5, 4, True), time.monotonic() - 0.5)
    assert edge.behind_s(time.monotonic()) == pytest.approx(behind_s, abs=0.05)


def test_a_recording_is_not_behind() -> None:
    edge = LiveEdge(Playlist.parse(m3u8(0, 4, 4, 4, 4, end=True)), time.monotonic())
    assert edge.behind_s(time.monotonic()) == 0


def test_the_live_edge_is_found_when_a_segment_appears() -> None:
    asked: list[str] = []

    def fetch(uri: str) -> str:
        asked.append(uri)
        return LISTS_OTHERS if uri == "http://h/x/all.m3u8" else m3u8(0, *[0.5] * (2 + (len(asked) > 4)))

    edge = find_live_edge("http://h/x/all.m3u8", fetch, threading.Event())
    assert set(asked[1:]) == {"http://h/x/low/live.m3u8"}
    assert (len(asked), edge.playlist.end) == (5, 3)
    assert time.monotonic() - edge.read_at < 0.1


@pytest.mark.parametrize("end", [True, False])
def test_a_recording_and_a_stop_are_not_waited_for(end: bool) -> None:
    stop, begin = threading.Event(), time.monotonic()
    threading.Timer(0.3, stop.set).start()
    assert find_live_edge("http://h/x", lambda _: m3u8(0, 4, end=end), stop).playlist.end == 1
    assert time.monotonic() - begin < (0.2 if end else 1)


def test_what_a_dead_server_left_is_not_taken_for_live() -> None:
    left = m3u8(0, 1, 1, 1, 1).replace("TARGETDURATION:4", "TARGETDURATION:1")
    with pytest.raises(TimeoutError, match="no new segment for 3 s"):
        find_live_edge("http://h/x", lambda _: left, threading.Event())


def test_a_segment_that_comes_late_is_further_behind_and_jitter_is_not() -> None:
    pace, stop = Pace(LiveEdge(Playlist([4], [None], 1, 4, True), 100.0)), threading.Event()
    assert pace.hold(50.0, 100.0, stop) == (100.0, 4.0)
    assert pace.hold(50.125, 100.1875, stop) == (100.1875, 4.0)
    assert pace.hold(50.25, 103.3125, stop) == (103.3125, 7.0)
    for i in range(1, 33):  # a machine that cannot keep up is late by a little again and again
        _, behind_s = pace.hold(50.25 + i / 8, 103.3125 + i * (1 / 8 + 1 / 16), stop)
    assert behind_s == pytest.approx(9.0, abs=0.1)
    assert pace.hold(1e6, 110.0, stop) == (110.0, behind_s)  # the stream's clock leapt


@pytest.mark.parametrize(
    ("uri", "yes"), [("http://h/a.m3u8?b", True), ("http://h/A.M3U8", True), ("http://h/a?b=c.m3u8", False)]
)
def test_what_looks_like_a_playlist(uri: str, yes: bool) -> None:
    assert is_playlist(uri) == yes


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty seconds; each picture shows its number."""
    if shutil.which("ffmpeg") is None:
        pytest.skip("ffmpeg, which cuts the segments, is missing: apt-get install ffmpeg")
    grey = np.full((192, 320, 3), 128, np.uint8)
    pictures = [numbered(grey, i % 256) for i in range(30 * FPS)]
    return write_video(tmp_path_factory.mktemp("hls") / "counted.mp4", pictures, FPS, bf="0", g="20")


@pytest.mark.parametrize(("dates", "ahead_s", "within_s"), [(True, 0, 0.5), (False, 0, 2), (True, -3600, 2)])
def test_capture_times_are_right_although_playback_is_segments_behind(
    counted: Path, tmp_path: Path, dates: bool, ahead_s: float, within_s: float
) -> None:
    began = time.time() - 9.0
    with (
        timed_hls(counted, tmp_path, began, SEGMENT_S, dates, ahead_s) as uri,
        watching(uri) as camera,
    ):
        found = taken(camera, count=15, timeout=30)
        late = time.time() - found[-1].capture_time
    errors = [w.capture_time - (began + number_in(w.picture.luma()) / FPS) for w in found]
    assert np.abs(errors).max() < within_s
    assert np.ptp(errors) < 0.2
    assert late > 2 * SEGMENT_S, "it is behind"
