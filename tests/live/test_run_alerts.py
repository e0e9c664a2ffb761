"""A whole run with a watch list: seen by a camera, told to a webhook, in the order of seconds."""

from __future__ import annotations

import io
import json
import threading
import time
from pathlib import Path

import painted_detector
import pytest
import yaml
from painted import BLUE, GREEN, RED, YELLOW, Painted, paint, write_video

from pipeline import plugins
from pipeline.live.logs import LogHooks, json_handler, logging_to
from pipeline.live.run import Run
from pipeline.live.settings import load_run_config
from storage.gallery import Gallery
from storage.watch_records import NewWatch
from tests.alerts.receiver import Receiver


def _walk(path: Path, *people: tuple[tuple[int, int, int], tuple[int, int, int]]) -> Path:
    """One person after another walks through the picture, four seconds each."""
    walkers = [
        Painted(top, trousers, 10, 60, dx=5, first=60 * i, last=60 * i + 39)
        for i, (top, trousers) in enumerate(people)
    ]
    pictures = [paint(walkers, i, 320, 192) for i in range(60 * len(people))]
    return write_video(path, pictures, 10, bf="0")


def _run(folder: Path, gallery: Gallery, camera: str, video: Path) -> Run:
    values = {
        "cameras": [{"name": camera, "uri": str(video), "start": "2026-05-01T12:00:00+00:00"}],
        "embedder": {"name": "colour_stripes"},
        "tracker": {"name": "bytetrack", "lost_buffer_s": 1.0},
        "retention": {"min_free_mb": 1},
    }
    (folder / "cameras.yaml").write_text(yaml.safe_dump(values))
    run = Run(gallery, load_run_config(folder / "cameras.yaml"), LogHooks())
    run.run(threading.Event())
    return run


def test_a_watched_person_is_told_before_the_run_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plugins, "build", plugins.build)  # put back what `use` exchanges
    painted_detector.use()
    first = _walk(tmp_path / "first.mp4", (RED, BLUE))
    second = _walk(tmp_path / "second.mp4", (GREEN, YELLOW), (RED, BLUE))
    stream = io.StringIO()
    with (
        Receiver() as receiver,
        logging_to(json_handler(stream)),
        Gallery.open(tmp_path / "g", create=True) as gallery,
    ):
        _run(tmp_path, gallery, "door", first)
        (red,) = gallery.tracklets()
        gallery.watching.add_watch(
            NewWatch("the one in red", 0.95, tracklets=(red.id,), webhook=receiver.url)
        )
        begin = time.monotonic()
        run = _run(tmp_path, gallery, "yard", second)
        (message,) = receiver.wait_for(1, timeout_s=2.0)
        assert message.at - begin < 60
        seen = message.json
        assert (seen["watch"], seen["camera"]) == ("the one in red", "yard")
        assert seen["start"] >= "2026-05-01T12:00:05", "the second of the two who came by"
        (alert,) = gallery.watching.alerts()
        assert (alert.status, alert.record.camera) == ("delivered", "yard")
        assert run.status.alerts == {"raised": 1, "delivered": 1}
    events = [json.loads(line)["event"] for line in stream.getvalue().splitlines()]
    assert "watched persons seen" in events
    assert "t0ken" not in stream.getvalue()
