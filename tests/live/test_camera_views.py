"""What people see of the cameras of a run: their states, and masked pictures now and then."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
import pytest
from rtsp_server import RtspServer

from pipeline.crops import decode_jpeg
from pipeline.live.camera import LiveCamera
from pipeline.live.camera_views import CameraViews
from pipeline.live.live_run import LiveRun
from pipeline.live.settings import load_run_config
from pipeline.live.status import RunStatus
from pipeline.types import Frame
from storage.browse_records import CameraView
from storage.errors import DatabaseUnavailable, full
from storage.gallery import Gallery
from tests.live.running import cameras, until, write_config
from tests.live.test_run import running

LEFT_HALF = [[0, 0], [0.5, 0], [0.5, 1], [0, 1]]


def view_of(gallery: Gallery, camera: str) -> CameraView | None:
    return next((view for view in gallery.camera_views() if view.camera == camera), None)


def state_of(gallery: Gallery, camera: str) -> str:
    view = view_of(gallery, camera)
    return "" if view is None else view.state


def test_a_run_shows_what_its_cameras_do_and_where_they_look(
    tmp_path: Path, server: RtspServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    red = {**cameras(server, "red")[0], "masks": [LEFT_HALF]}
    dead = {"name": "dead", "uri": server.uri("nobody")}
    config = write_config(tmp_path, [red, dead])
    with Gallery.open(tmp_path / "g", create=True) as gallery:
        with running(gallery, config, monkeypatch) as run:
            until(lambda: gallery.camera_frame("red"), 30, "a picture")
            until(lambda: state_of(gallery, "red") == "streaming", 10, "its state")
            until(lambda: state_of(gallery, "dead") == "waiting", 20, "the state of the other")
            shown = view_of(gallery, "red")
            assert shown is not None
            assert shown.frame_time is not None
            assert run.status.started < shown.frame_time <= shown.updated <= time.time()
            assert view_of(gallery, "dead").detail  # type: ignore[union-attr]
            picture = decode_jpeg(gallery.camera_frame("red") or b"")
            assert picture is not None
            assert picture.shape == (192, 320, 3)
            assert picture[:, :150].max() < 16, "the mask"
            assert picture[:, 170:].min(axis=2).mean() > 60, "what is beside it"
            server.kill()
            until(lambda: state_of(gallery, "red") in ("waiting", "connecting"), 20, "the failure")
        assert [view.state for view in gallery.camera_views()] == ["off", "off"]
        assert gallery.camera_frame("red") is not None
        assert {source.camera: source.masked for source in gallery.sources()} == {"red": True, "dead": False}


@contextmanager
def one_camera(gallery: Gallery, folder: Path) -> Iterator[tuple[LiveRun, RunStatus]]:
    """A camera that is never read, and its views."""
    config = load_run_config(write_config(folder, [{"name": "door", "uri": "rtsp://127.0.0.1:1/x"}]))
    reader = LiveCamera(
        config.cameras[0],
        config.live,
        None,
        wake=lambda: None,
        on_gap=lambda *_: None,
        on_gap_end=lambda _: None,
    )
    run = LiveRun(gallery, reader, config.cameras[0], config, "hash", SimpleQueue())
    status = RunStatus(time.time(), [run.status])
    with CameraViews(gallery, [run], status):
        yield run, status


def show(run: LiveRun, value: int, timestamp: float) -> None:
    """As `LiveRun.track` does."""
    image = np.full((1080, 1920, 3), value, np.uint8)
    run.picture, run.picture_wanted = Frame("door", 0, timestamp, image), False


def test_pictures_are_small_and_asked_for_now_and_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.live.camera_views._POLL_S", 0.02)
    monkeypatch.setattr("pipeline.live.camera_views._PICTURE_EVERY_S", 0.5)
    with (
        Gallery.open(tmp_path / "g", create=True) as gallery,
        one_camera(gallery, tmp_path) as (run, status),
    ):
        until(lambda: run.picture_wanted, 5, "a wish for a picture")
        begin = time.monotonic()
        show(run, 90, 1000.0)
        jpeg = until(lambda: gallery.camera_frame("door"), 5, "the picture")
        picture = decode_jpeg(jpeg)
        assert picture is not None
        assert picture.shape == (540, 960, 3)
        assert abs(int(picture.mean()) - 90) <= 1
        assert run.picture is None, "nobody keeps it in memory"
        until(lambda: run.picture_wanted, 5, "the next wish")
        assert time.monotonic() - begin >= 0.5
        status.paused = "disk full"
        until(lambda: not run.picture_wanted, 5, "no wish while nothing is to be written")
        run.status.state, run.status.detail = "waiting", "timeout"
        until(lambda: state_of(gallery, "door") == "waiting", 5, "its state")
        assert gallery.camera_frame("door") == jpeg
        first = view_of(gallery, "door")
        monkeypatch.setattr("pipeline.live.camera_views._AGAIN_S", 0.1)
        until(lambda: view_of(gallery, "door").updated > first.updated, 5, "a sign of life")  # type: ignore[union-attr]
    with Gallery.open(tmp_path / "g") as gallery:
        assert state_of(gallery, "door") == "off"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (full("here"), "camera views are not written"),
        (DatabaseUnavailable("the database cannot be reached"), "camera views are not written"),
        (KeyError("never thought of"), "camera views cannot be made"),
    ],
)
def test_what_cannot_be_written_is_left_out_and_comes_later(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    words: str,
) -> None:
    for wait in ("_PUT_OFF_S", "_POLL_S"):
        monkeypatch.setattr(f"pipeline.live.camera_views.{wait}", 0.05)
    with Gallery.open(tmp_path / "g", create=True) as gallery:
        write, tries = gallery.set_camera_views, []

        def fail(views: Any) -> None:
            tries.append(views)
            raise error

        monkeypatch.setattr(gallery, "set_camera_views", fail)
        with one_camera(gallery, tmp_path) as (run, _):
            run.status.state = "streaming"
            until(lambda: len(tries) > 2, 10, "some tries")
            monkeypatch.setattr(gallery, "set_camera_views", write)
            until(lambda: state_of(gallery, "door") == "streaming", 10, "its state")
        assert state_of(gallery, "door") == "off"
    told = [record for record in caplog.records if record.message == words]
    assert 1 <= len(told) < len(tries), "less often than it is tried"
