"""The live view: what it shows, and that it fits."""

from __future__ import annotations

import io
import logging
import time
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from pipeline.live.logs import log_event, logging_to
from pipeline.live.rates import RateMeter
from pipeline.live.status import CameraStatus, RunStatus
from pipeline.live.terminal import LiveView, NewsHandler
from pipeline.live.view import View
from tests.live.running import until


def _run(number: int = 3) -> RunStatus:
    cameras = [CameraStatus(f"camera {i} 駐車場西側入口", "", state="streaming") for i in range(number)]
    for camera in cameras:
        camera.width, camera.height, camera.codec = 1920, 1080, "h264"
        camera.last_frame = time.time() - 0.3
    return RunStatus(time.time() - 7300, cameras, queued={"write": 4})


def _work(camera: CameraStatus, seconds: int) -> None:
    camera.pictures_read += 25 * seconds
    camera.frames_due += 10 * seconds
    camera.frames_dropped += 2 * seconds
    camera.frames_idle += 3 * seconds
    camera.frames_analysed += 5 * seconds
    for _ in range(5 * seconds):
        camera.latency.observe(0.15)


def test_rates_are_of_the_last_seconds_only() -> None:
    camera, meter = CameraStatus("yard", ""), RateMeter(window_s=10.0)
    assert meter.update(camera, 0.0).read_fps is None
    for second in range(1, 60):
        _work(camera, 1)
        rates = meter.update(camera, float(second))
    assert (rates.read_fps, rates.analysed_fps) == (25.0, 5.0)
    assert rates.dropped == pytest.approx(0.2)
    assert rates.idle == pytest.approx(0.3)
    assert (rates.latency_p50_s, rates.latency_p95_s) == (0.2, 0.2)
    for second in range(60, 75):
        rates = meter.update(camera, float(second))
    assert rates.read_fps == 0.0, "what was before the window is forgotten"
    assert rates.dropped is None


@pytest.mark.parametrize(("width", "height"), [(80, 24), (80, 9), (120, 40), (50, 24)])
@pytest.mark.parametrize("number", [0, 1, 8, 60])
def test_the_view_fits_the_terminal(width: int, height: int, number: int) -> None:
    status = _run(number)
    for camera in status.cameras[::3]:
        camera.state, camera.detail = "waiting", "connection refused, " * 20
    lines = View(status).draw(width, height, 1.0).plain.split("\n")
    assert len(lines) <= height
    assert max(cell_len(line) for line in lines) <= width


def test_the_view_shows_numbers_and_troubles_first_when_there_are_many() -> None:
    status, view = _run(40), None
    view = View(status)
    view.draw(80, 20, 0.0)
    for camera in status.cameras:
        _work(camera, 2)
    status.cameras[33].state, status.cameras[33].detail = "waiting", "wrong password"
    status.paused = "disk full"
    text = view.draw(80, 20, 2.0).plain
    assert "39 of 40 cameras streaming" in text
    assert "up 2 h" in text
    assert "paused: disk full" in text
    assert "camera 33" in text
    assert "wrong password" in text
    assert "25.0 ›  5.0" in text
    assert "20%" in text
    assert "30%" in text
    assert "more" in text
    assert "write queue 4" in text


def test_columns_stay_where_they_are_while_numbers_grow() -> None:
    status, view = _run(1), None
    view = View(status)
    before = view.draw(80, 24, 0.0).plain.split("\n")[4]
    _work(status.cameras[0], 400)
    status.cameras[0].tracklets = 99999
    after = view.draw(80, 24, 4.0).plain.split("\n")[4]
    assert cell_len(before) == cell_len(after)
    assert before.index("●") == after.index("●")


def test_news_appear_above_the_view() -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=80, height=24, color_system=None)
    with LiveView(_run(2), console), logging_to(NewsHandler(console)):
        log_event(logging.WARNING, "stream failed", camera="yard", reason="open", failures=2)
        time.sleep(1.3)
    text = screen.getvalue()
    assert "yard: stream failed  open  failures 2" in text
    assert text.count("2 of 2 cameras streaming") >= 2
    assert text.rindex("stream failed") < text.rindex("cameras streaming")
    assert text.endswith("\x1b[?25h"), "the cursor is shown again"


def test_an_error_does_not_end_the_view(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("pipeline.live.terminal._EVERY_S", 0.02)
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=80, height=24, color_system=None)
    shown = LiveView(_run(2), console)
    draw, errors = shown._view.draw, iter([KeyError("never thought of")])

    def failing(*given: Any) -> Any:
        for error in errors:
            raise error
        return draw(*given)

    monkeypatch.setattr(shown._view, "draw", failing)
    with shown:
        until(lambda: "cameras streaming" in screen.getvalue(), 20, "the view after the error")
    assert "the view cannot be drawn" in caplog.messages
