"""Logs: JSON lines, without credentials wherever they came from, and few of them."""

from __future__ import annotations

import io
import json
import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from pipeline.hooks import SourceProgress
from pipeline.live.logs import LOGGER, LogHooks, RedactingFilter, json_handler, log_event, logging_to
from pipeline.live.state_log import StateLog
from pipeline.live.status import CameraStatus, RunStatus
from tests.live.running import until

SECRET = "rtsp://admin:p@ss:w0rd@10.0.0.3:554/live?token=abc"


@contextmanager
def _captured() -> Iterator[list[dict[str, Any]]]:
    stream, lines = io.StringIO(), []
    with logging_to(json_handler(stream)):
        yield lines
    lines.extend(json.loads(line) for line in stream.getvalue().splitlines())
    text = stream.getvalue()
    assert not any(secret in text for secret in ("admin", "p@ss", "w0rd", "abc")), text


def test_a_line_has_time_level_event_camera_and_fields() -> None:
    with _captured() as lines:
        log_event(logging.WARNING, "stream failed", camera="Höhe", failures=3, bad=float("nan"), at=None)
    (line,) = lines
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "warning", "event": "stream failed", "camera": "Höhe", "failures": 3, "bad": "nan",
        "at": None,
    }  # fmt: skip


def test_credentials_are_taken_out_wherever_they_are() -> None:
    with _captured() as lines:
        log_event(logging.INFO, f"cannot open {SECRET}", uri=SECRET, nested={"list": [SECRET, 1]})
        logging.getLogger("some.library").info("not of interest")
        logging.getLogger("pipeline.live.room").info("room again for %s", SECRET)
        logging.getLogger("some.library").error("tried %s and '%s'", SECRET, SECRET)
        try:
            try:
                raise OSError(f"{SECRET}: refused")
            except OSError as error:
                raise RuntimeError(f"no camera at {SECRET}") from error
        except RuntimeError:
            logging.getLogger("retrace").exception("failed at %s", SECRET)
        warnings.showwarning(UserWarning(f"odd stream {SECRET}"), UserWarning, "reader.py", 7)
        thread = threading.Thread(target=_fail, name="reader yard")
        thread.start()
        thread.join()
    assert len(lines) == 6
    assert "10.0.0.3" in lines[0]["event"]
    assert "10.0.0.3" in lines[0]["uri"]
    assert lines[1]["logger"] == "pipeline.live.room"
    assert "refused" in lines[3]["error"]
    assert lines[5]["thread"] == "reader yard"
    assert lines[5]["level"] == "critical"
    assert "ValueError" in lines[5]["error"]


def test_arguments_that_do_not_fit_their_message_are_no_way_out() -> None:
    record = logging.makeLogRecord({"msg": "%s %d", "args": ("one", SECRET)})
    assert RedactingFilter().filter(record)
    assert "10.0.0.3" in record.getMessage()
    assert "admin" not in record.getMessage()


def _fail() -> None:
    raise ValueError(f"bad packet from {SECRET}")


def test_what_was_there_before_is_restored() -> None:
    root, hook = list(logging.getLogger().handlers), threading.excepthook
    with _captured():
        pass
    assert logging.getLogger().handlers == root
    assert threading.excepthook is hook


def test_hooks_log_notes_and_ends_only() -> None:
    with _captured() as lines:
        hooks = LogHooks()
        hooks.on_note(f"note about {SECRET}")
        for done in (1, 2, 3):
            hooks.on_step("embedding", done, 3)
            hooks.on_source(SourceProgress("yard", done, 3, done, 1, 5.0, 1.0, 0.0, finished=done == 3))
    assert [line["event"].split()[0] for line in lines] == ["note", "embedding", "source"]


@pytest.fixture
def yard() -> CameraStatus:
    return CameraStatus("yard", "rtsp://10.0.0.3/live", width=640, height=480, codec="h264")


def _fail_once(camera: CameraStatus, reason: str, detail: str) -> None:
    camera.failures[reason] += 1
    camera.state, camera.detail = "waiting", detail


def test_changes_are_logged_once_and_series_of_failures_are_thinned(yard: CameraStatus) -> None:
    log = StateLog(RunStatus(0.0, [yard]))
    with _captured() as lines:
        for second in range(5):
            yard.state = "streaming"
            yard.pictures_read += 25
            log.look(second)
        for second in range(5, 105):
            _fail_once(yard, "open", f"refused by {SECRET}; next try in {second} s")
            log.look(second)
            yard.state, yard.detail = "connecting", ""
            log.look(second + 0.5)
        yard.state = "streaming"
        log.look(105)
    assert [line["event"] for line in lines] == ["camera streaming", *["stream failed"] * 7]
    assert [line["failures"] for line in lines[1:]] == [1, 2, 4, 8, 16, 32, 64]
    assert lines[0]["picture"] == "640x480"
    assert lines[1]["reason"] == "open"
    assert "10.0.0.3" in lines[1]["detail"]


def test_a_recovery_is_logged_and_begins_a_new_series_when_it_holds(yard: CameraStatus) -> None:
    log = StateLog(RunStatus(0.0, [yard]))
    with _captured() as lines:
        _fail_once(yard, "timeout", "silent for 10 s")
        log.look(0)
        yard.state, yard.detail = "streaming", ""
        log.look(4)
        log.look(70)
        _fail_once(yard, "timeout", "silent for 10 s")
        log.look(71)
    assert [(line["event"], line["failures"]) for line in lines] == [
        ("stream failed", 1), ("camera streaming", 1), ("stream failed", 1)
    ]  # fmt: skip
    assert lines[1]["down_s"] == 4.0


def test_a_camera_that_flaps_does_not_fill_the_log(yard: CameraStatus) -> None:
    log = StateLog(RunStatus(0.0, [yard]))
    with _captured() as lines:
        for second in range(0, 4000, 4):
            yard.state, yard.detail = "streaming", ""
            log.look(second)
            _fail_once(yard, "invalid data", "garbage")
            log.look(second + 2)
    assert len(lines) < 25, "1000 failures: 10 of them and the recoveries after those"


def test_pauses_and_ends_are_logged(yard: CameraStatus) -> None:
    status = RunStatus(0.0, [yard])
    with _captured() as lines, StateLog(status):
        status.paused, yard.state = "disk full: 10 MB left", "off"
        _wait_for(lambda: threading.active_count() > 1)
        threading.Event().wait(1.2)
        status.paused, yard.state = "", "ended"
    told = [(line["event"], line["level"]) for line in lines]
    assert told == [
        ("run paused", "warning"), ("camera off", "info"), ("run goes on", "info"), ("camera ended", "info"),
    ]  # fmt: skip


def _wait_for(condition: Any) -> None:
    for _ in range(100):
        if condition():
            return
        threading.Event().wait(0.02)
    raise AssertionError("it did not happen in 2 s")


def test_the_thread_that_logs_outlives_an_error(
    yard: CameraStatus, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.live.state_log._POLL_S", 0.02)
    caplog.set_level(logging.INFO, LOGGER)
    status = RunStatus(0.0, [yard])
    with StateLog(status) as log:
        monkeypatch.setattr(log, "_failures", lambda *_: 1 / 0)
        until(lambda: "changes of cameras cannot be told" in caplog.messages, 20, "the error")
        status.paused = "disk full"
        until(lambda: "run paused" in caplog.messages, 20, "the pause")
        monkeypatch.undo()
