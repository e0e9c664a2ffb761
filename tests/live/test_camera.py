"""One camera over many connections: pictures, times, gaps, and what of it others are told."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from http_cameras import folder_server, mjpeg_server, socket_server
from painted import number_in
from rtsp_server import Mount, RtspServer

from pipeline.live.camera import MAX_INDEX, LiveCamera, Waiting
from pipeline.live.settings import CameraSettings, LiveSettings

SECRET = "s3cr3t"
LIVE = LiveSettings(open_timeout_s=4, read_timeout_s=2, backoff_s=0.2, backoff_max_s=0.5, gap_s=1)


class Watched(LiveCamera):
    """A camera and all it told: "gap", time and reason; "end" and time."""

    def __init__(self, uri: str, fps: float | None = None, live: LiveSettings = LIVE, **options: Any) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.woken = 0
        super().__init__(
            CameraSettings(name="yard", uri=uri, ca_file=options.pop("ca_file", None)),
            live,
            fps,
            wake=self._woken,
            on_gap=lambda at, why: self.told.append(("gap", at, why)),
            on_gap_end=lambda at: self.told.append(("end", at)),
            rng=random.Random(0),
            **options,
        )

    def _woken(self) -> None:
        self.woken += 1


@contextmanager
def watching(
    uri: str, fps: float | None = None, live: LiveSettings = LIVE, **options: Any
) -> Iterator[Watched]:
    camera = Watched(uri, fps, live, **options)
    camera.start()
    try:
        yield camera
    finally:
        camera.stop()
        assert camera.join(5)


def taken(camera: LiveCamera, seconds: float = 1e9, count: int = 10**9, timeout: float = 15) -> list[Waiting]:
    """What waits, as soon as it does, for so long or until there are so many."""
    begin, found = time.monotonic(), []
    while time.monotonic() - begin < min(seconds, timeout) and len(found) < count:
        if (waiting := camera.take()) is not None:
            found.append(waiting)
        else:
            time.sleep(0.002)
    assert len(found) == count or time.monotonic() - begin >= seconds, camera.status
    return found


def eventually(true: Callable[[], Any], timeout: float = 10) -> None:
    until = time.monotonic() + timeout
    while not true():
        assert time.monotonic() < until
        time.sleep(0.01)


def errors_s(found: list[Waiting], sent: list[tuple[float, int]]) -> np.ndarray:
    """Capture time less the time at which the server sent that picture."""
    return np.array(
        [
            min((w.capture_time - at for at, n in sent if n == number_in(w.picture.luma())), key=abs)
            for w in found
        ]
    )


def test_capture_times_are_right_and_rise_over_a_restart_of_the_server(rtsp: RtspServer) -> None:
    with watching(rtsp.uri("h264")) as camera:
        before = taken(camera, 4)
        sent = rtsp.sent("h264")
        rtsp.kill()
        before += taken(camera, 1.6)
        rtsp.start()
        back = time.monotonic()
        after = taken(camera, 4)
        sent += rtsp.sent("h264")
    assert after[0].arrival - back < 2 + LIVE.backoff_max_s
    found = [*before, *after]
    assert np.abs(errors_s(found, sent)).max() < 0.3
    assert np.median(np.abs(errors_s(found, sent))) < 0.05
    assert (np.diff([w.capture_time for w in found]) > 0.0009).all()
    assert (np.diff([w.index for w in found]) > 0).all()
    (gap, last, why), (end, first) = camera.told
    assert (gap, end) == ("gap", "end")
    assert (last, first) == (before[-1].capture_time, after[0].capture_time)
    assert why.endswith("Connection refused")
    status = camera.status
    assert (status.connections, status.failures["ended"], status.damaged) == (2, 1, 0)
    assert status.failures["refused"] >= 1
    assert (status.codec, status.width, status.height) == ("h264", 320, 192)
    assert (
        status.frames_due
        == status.pictures_read
        == camera.status.frames_dropped + len(found) + (camera.waiting_since() is not None)
    )


def test_a_stalled_server_is_left_and_found_again_when_it_goes_on(rtsp: RtspServer) -> None:
    with watching(rtsp.uri("h264")) as camera:
        taken(camera, count=5)
        rtsp.stall("h264")
        eventually(lambda: camera.status.failures["timeout"])
        assert camera.status.state in ("waiting", "connecting")
        assert "no picture for 2 s" in camera.status.detail
        rtsp.stall("h264", on=False)
        back = time.monotonic()
        again = taken(camera, count=5)
        assert again[-1].arrival - back < LIVE.open_timeout_s + 2
        assert [t[0] for t in camera.told] == ["gap", "end"]
        assert (camera.status.state, camera.status.detail) == ("streaming", "")


def test_another_codec_and_size_after_a_restart(mounts: list[Mount], videos: dict[str, Path]) -> None:
    with RtspServer(mounts) as server, watching(server.uri("h264")) as camera:
        assert taken(camera, count=3)[-1].frame().image.shape == (192, 320, 3)
        server.replace("h264", videos["large"])
        eventually(lambda: camera.status.width == 480)
        camera.take()
        frame = taken(camera, count=1)[0].frame()
        assert (frame.camera, frame.image.shape) == ("yard", (288, 480, 3))
        server.replace("h264", videos["h265"])
        eventually(lambda: camera.status.codec == "hevc", 20)
        assert taken(camera, count=2)[-1].frame().image.shape == (192, 320, 3)


@pytest.mark.parametrize("shift_s", [1000, -3000])
def test_a_clock_set_in_mid_stream_is_one_jump_and_times_stay_right(rtsp: RtspServer, shift_s: float) -> None:
    with watching(rtsp.uri("h264")) as camera:
        taken(camera, 1)
        rtsp.shift_clock("h264", shift_s)
        found = taken(camera, 3)
        assert np.abs(errors_s(found, rtsp.sent("h264"))).max() < 0.3
        assert (np.diff([w.capture_time for w in found]) > 0).all()
        assert camera.status.clock_jumps == 1
        assert camera.status.connections == 1


def test_the_analysis_rate_is_kept_and_the_newest_picture_wins(calm: RtspServer) -> None:
    with watching(calm.uri("h264"), fps=5) as camera:
        eventually(lambda: camera.status.state == "streaming")
        found = taken(camera, 3)
        assert len(found) == pytest.approx(15, abs=2)
        assert camera.status.frames_dropped == 0
        assert camera.woken == len(found) + (camera.waiting_since() is not None)
        camera.take()
        woken = camera.woken
        time.sleep(1.5)  # nobody takes
        assert camera.woken == woken + 1
        since = camera.waiting_since()
        assert since is not None
        assert time.monotonic() - since < 0.5
        assert 5 <= camera.status.frames_dropped <= 8
        newest = camera.take()
        assert newest is not None
        assert time.time() - newest.capture_time < 0.5
        assert camera.take() is None or camera.waiting_since() is None


def test_a_still_scene_is_looked_at_rarely_unless_people_are_in_view(calm: RtspServer) -> None:
    asked: list[tuple[tuple[int, ...], float]] = []

    def nothing_moves(grey: np.ndarray, at: float) -> bool:
        asked.append((grey.shape, at))
        return False

    live = LIVE.model_copy(update={"idle_fps": 1.0})
    with watching(calm.uri("h264"), fps=5, live=live, gate=nothing_moves) as camera:
        eventually(lambda: camera.status.state == "streaming")
        idle = taken(camera, 3)
        assert 3 <= len(idle) <= 4
        assert camera.status.frames_idle == pytest.approx(12, abs=2)
        assert {shape for shape, _ in asked} == {(192, 320)}
        camera.active = True
        time.sleep(0.1)
        count = len(asked)
        assert len(taken(camera, 2)) >= 9
        assert len(asked) == count


def test_outside_its_hours_a_camera_is_not_connected_and_nothing_is_missing(calm: RtspServer) -> None:
    is_open = threading.Event()
    with watching(
        calm.uri("h264"), open_now=lambda at: is_open.is_set() and abs(at - time.time()) < 1
    ) as camera:
        time.sleep(2.5)
        assert (camera.status.state, camera.status.connections, camera.told) == ("off", 0, [])
        is_open.set()
        taken(camera, count=3)
        is_open.clear()
        eventually(lambda: camera.status.state == "off", 3)
        camera.take()
        time.sleep(1.5)
        assert camera.take() is None
        assert (camera.told, camera.status.failures.total()) == ([], 0)


def test_a_secret_shows_nowhere(
    mounts: list[Mount],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("CAM_PW", SECRET)
    with RtspServer(mounts, "admin", "another") as server:
        with watching(server.uri("h264", "admin:${CAM_PW}") + f"?token={SECRET}") as camera:
            eventually(lambda: camera.told)
            assert camera.status.failures == {"unauthorised": camera.status.failures.total()}
            eventually(lambda: camera.status.state == "waiting")
        shown = (camera.status, camera.told, vars(camera), caplog.text, *capfd.readouterr())
    assert SECRET not in repr(shown)
    assert "unauthorized" in camera.status.detail.lower()


def test_a_wrong_password_is_tried_rarely_because_cameras_lock_out() -> None:
    live = LIVE.model_copy(update={"backoff_s": 0.01, "backoff_max_s": 60.0})
    black = np.zeros((32, 32, 3), np.uint8)
    with (
        mjpeg_server([black], 10, "u:right") as (address, _),
        watching(f"http://u:wrong@{address}/", live=live) as camera,
    ):
        time.sleep(1.5)
        assert camera.status.failures == {"unauthorised": 1}


def test_a_camera_that_connects_and_dies_at_once_is_not_hammered(videos: dict[str, Path]) -> None:
    live = LIVE.model_copy(update={"backoff_s": 0.4, "backoff_max_s": 60.0})
    with (
        folder_server(videos["h264"].parent) as address,
        watching(f"http://{address}/h264.mp4", live=live) as camera,
    ):
        time.sleep(3)
        assert 2 <= camera.status.connections <= 4  # after 0.4, 1.2 and 2.8 s, or half of that
        assert camera.status.failures == {"ended": camera.status.failures.total()}


def test_a_camera_that_never_answers_is_a_gap_from_the_start_on() -> None:
    with socket_server() as address:
        begin = time.time()
        live = LIVE.model_copy(update={"open_timeout_s": 0.5})
        with watching(f"rtsp://{address}/x", live=live) as camera:
            eventually(lambda: camera.told)
            assert camera.told[0][0] == "gap"
            assert camera.told[0][1] == pytest.approx(begin, abs=0.5)
            eventually(lambda: camera.status.failures["timeout"] >= 2)
            assert camera.status.state in ("waiting", "connecting")


def test_a_pause_is_one_gap_since_the_last_frame_analysed_even_if_the_camera_is_away_meanwhile(
    rtsp: RtspServer,
) -> None:
    with watching(rtsp.uri("h264")) as camera:
        last = taken(camera, count=5)[-1].capture_time
        camera.status.last_frame = last
        eventually(lambda: camera.waiting_since() is not None)
        camera.paused = "disk full"
        eventually(lambda: camera.told)
        assert camera.waiting_since() is None
        rtsp.kill()
        eventually(lambda: camera.status.failures)
        time.sleep(1.2)
        rtsp.start()
        eventually(lambda: camera.status.connections == 2 and camera.status.state == "streaming")
        time.sleep(0.3)
        assert camera.told == [("gap", last, "paused: disk full")]
        assert camera.waiting_since() is None
        camera.paused = ""
        (first,) = taken(camera, count=1)
        assert camera.told[1:] == [("end", first.capture_time)]


def test_a_stop_does_not_wait_for_the_next_try() -> None:
    live = LIVE.model_copy(update={"backoff_s": 60.0, "backoff_max_s": 60.0})
    with watching("rtsp://127.0.0.1:1/x", live=live) as camera:
        eventually(lambda: camera.status.state == "waiting")
        begin = time.monotonic()
        camera.stop()
        assert camera.join(2)
        assert time.monotonic() - begin < 0.7


def test_a_missing_variable_is_an_error_before_anything_starts() -> None:
    with pytest.raises(ValueError, match="NO_SUCH_VARIABLE"):
        Watched("rtsp://u:${NO_SUCH_VARIABLE}@127.0.0.1/x")


def test_an_error_of_ours_does_not_end_the_camera(calm: RtspServer) -> None:
    calls: list[float] = []

    def fails_once(_: np.ndarray, at: float) -> bool:
        calls.append(at)
        if len(calls) == 1:
            raise RuntimeError(f"u:{SECRET}@")
        return True

    with watching(calm.uri("h264"), gate=fails_once) as camera:
        taken(camera, count=3)
        assert camera.status.failures == {"internal": 1}


def test_the_index_begins_again_after_the_largest_one(calm: RtspServer) -> None:
    camera = Watched(calm.uri("h264"))
    camera._index = MAX_INDEX - 2
    camera.start()
    try:
        found = [w.index for w in taken(camera, count=6)]
    finally:
        camera.stop()
        assert camera.join(5)
    assert found[0] <= MAX_INDEX
    assert found[-1] < 10
