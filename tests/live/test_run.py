"""Runs without end, over real RTSP servers: found early, refined, cut off, killed, stopped, full disks."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any

import av
import painted_detector
import pytest
import yaml
from http_cameras import live_hls, mjpeg_server
from painted import BLUE, GREEN, RED, YELLOW
from rtsp_server import Mount, RtspServer, free_port

from pipeline import plugins
from pipeline.crops import decode_jpeg
from pipeline.embedding import build_embedder
from pipeline.live.run import Run
from pipeline.live.settings import load_run_config
from pipeline.live.stream import Picture
from pipeline.video import VideoFile, VideoSourceError
from storage.errors import DatabaseUnavailable
from storage.gallery import Gallery
from storage.records import GalleryFilter
from tests.live.running import (
    FPS,
    PAUSE,
    PROGRAM,
    WALK,
    Start,
    Webcam,
    cameras,
    listed,
    until,
    walk,
    walk_pictures,
    write_config,
)
from tests.storage.making import random_vectors, small_disk, tracklet


@contextmanager
def running(gallery: Gallery, config: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """A run in a thread of this process; what it raises is raised here."""
    monkeypatch.setattr(plugins, "build", plugins.build)  # put back what `use` exchanges
    painted_detector.use()
    run, stop, errors = Run(gallery, load_run_config(config)), threading.Event(), []

    def go() -> None:
        try:
            run.run(stop)
        except BaseException as error:  # noqa: BLE001 - raised in the test's thread
            errors.append(error)

    thread = threading.Thread(target=go)
    thread.start()
    try:
        yield run
    finally:
        stop.set()
        thread.join(20)
        assert not thread.is_alive(), "told to stop, the run goes on"
    if errors:
        raise errors[0]


def test_a_person_in_view_is_found_early_and_refined_under_the_same_id(
    tmp_path: Path, server: RtspServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = write_config(tmp_path, cameras(server, "red", "green", "again"))
    with Gallery.open(tmp_path / "g", create=True) as gallery, running(gallery, config, monkeypatch) as run:
        early = until(
            lambda: next((r for r in gallery.tracklets() if not r.finished), None), 20, "somebody in view"
        )
        assert time.time() - early.start < 0.8 + 3.0, "searchable within 3 s of the first full clip"
        assert 8 <= early.num_frames < WALK
        refined = until(
            lambda: (record := gallery.tracklet(early.id)).finished and record, 10, "the end of the track"
        )
        assert refined.num_frames > early.num_frames
        assert (refined.camera, refined.start) == (early.camera, early.start)

        def everywhere() -> bool:
            return {record.camera for record in gallery.tracklets()} == {"red", "green", "again"}

        until(everywhere, 20, "a person in each camera")
        (red,) = list(gallery.tracklets(GalleryFilter(cameras=frozenset({"red"})), limit=1))
        others = GalleryFilter(exclude_cameras=frozenset({"red"}))
        query = gallery.embedding(red.id)[None]
        assert gallery.search(query, run.embedder.spec, 1, others)[0][0].record.camera == "again"
    with Gallery.open(tmp_path / "g") as gallery:
        assert all(record.finished for record in gallery.tracklets())
        assert {source.status for source in gallery.sources()} == {"complete"}
        assert all(source.live and source.counts["tracklets"] for source in gallery.sources())


def test_a_broken_stream_comes_back_as_the_same_source_with_a_gap(
    tmp_path: Path, server: RtspServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = write_config(tmp_path, cameras(server, "red", "green"))
    with Gallery.open(tmp_path / "g", create=True) as gallery, running(gallery, config, monkeypatch) as run:
        until(lambda: all(c.frames_analysed > 5 for c in run.status.cameras), 20, "frames of both cameras")
        server.kill()
        (gap, *_) = until(gallery.gaps, 20, "a gap")
        assert gap.end is None
        server.start()
        until(
            lambda: all(g.end is not None for g in gallery.gaps()) and len(gallery.gaps()) == 2, 20, "its end"
        )
        assert all(g.end is not None and 2.0 < g.end - g.start < 25 for g in gallery.gaps())
        before = [c.frames_analysed for c in run.status.cameras]
        until(
            lambda: all(c.frames_analysed > n for c, n in zip(run.status.cameras, before, strict=True)),
            10, "frames afterwards",
        )  # fmt: skip
        assert all(c.connections == 2 for c in run.status.cameras)
    with Gallery.open(tmp_path / "g") as gallery:
        assert len(gallery.sources()) == 2


def test_a_webcam_whose_driver_hangs_shows_as_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulated: there is no device where tests run."""
    goes_on = threading.Event()
    webcam = Webcam(walk(tmp_path / "red.mp4", RED, BLUE), 20, lambda: goes_on.wait() and None)
    monkeypatch.setattr(av, "open", lambda *_, **__: webcam)
    config = write_config(tmp_path, [{"name": "desk", "uri": 0}])
    try:
        with (
            Gallery.open(tmp_path / "g", create=True) as gallery,
            running(gallery, config, monkeypatch) as run,
        ):
            status = run.status.cameras[0]
            until(lambda: status.frames_analysed > 5, 20, "frames")
            (gap,) = until(gallery.gaps, 20, "a gap")
            assert (gap.reason, gap.end) == ("no pictures", None)
            until(lambda: status.state == "waiting", 20, "that it is noticed")
            assert "reading it hangs" in status.detail
            assert status.failures == {"timeout": 1}
            begin = time.monotonic()
        assert time.monotonic() - begin < 10, "the run ends all the same"
    finally:
        goes_on.set()


def test_recordings_beside_live_cameras_lose_nothing_and_end(
    tmp_path: Path, server: RtspServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = walk(tmp_path / "recorded.mp4", BLUE, RED)
    recorded = {"name": "recorded", "uri": str(recording), "start": "2026-05-01T12:00:00+02:00"}
    config = write_config(tmp_path, [*cameras(server, "red"), recorded])
    with Gallery.open(tmp_path / "g", create=True) as gallery, running(gallery, config, monkeypatch) as run:
        status = run.status.cameras[1]
        until(lambda: status.state == "ended", 30, "the end of the recording")
        assert status.frames_analysed == WALK + PAUSE
        until(lambda: run.status.cameras[0].frames_analysed > 10, 20, "frames of the live camera")
        until(lambda: gallery.sources()[0].status == "complete", 10, "the recording's last word")
        (record,) = gallery.tracklets(GalleryFilter(cameras=frozenset({"recorded"})))
        assert record.num_frames >= WALK - 4
    with Gallery.open(tmp_path / "g", create=True) as gallery:  # a second run has nothing left to do with it
        config.write_text(config.read_text())
        with running(gallery, config, monkeypatch) as again:
            until(lambda: again.status.cameras[1].state == "ended", 20, "nothing to be left of it")


def test_a_recording_that_is_not_there_or_breaks_off_leaves_the_live_cameras(
    tmp_path: Path, server: RtspServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks_off(self: VideoFile, first_s: float) -> Iterator[Any]:
        yield from islice(pictures(self, first_s), 10)
        raise OSError("the disk of recordings is gone")

    pictures = VideoFile._pictures
    monkeypatch.setattr(VideoFile, "_pictures", breaks_off)
    recording = walk(tmp_path / "broken.mp4", BLUE, RED)
    told = [{"name": name, "uri": str(tmp_path / f"{name}.mp4")} for name in ("gone", "broken")]
    config = write_config(tmp_path, [*told, *cameras(server, "red")])
    with Gallery.open(tmp_path / "g", create=True) as gallery, running(gallery, config, monkeypatch) as run:
        gone, broken, red = run.status.cameras
        assert gone.state == "failed"
        assert gone.detail == f"camera 'gone': {tmp_path / 'gone.mp4'} does not exist"
        until(lambda: broken.state == "failed", 20, "the end of the broken one")
        assert (broken.detail, broken.frames_analysed > 0) == ("the disk of recordings is gone", True)
        seen = red.frames_analysed
        until(lambda: red.frames_analysed > seen + 5, 20, "frames of the live camera")
        until(
            lambda: {v.camera for v in gallery.camera_views() if v.state == "failed"} == {"gone", "broken"},
            5,
            "views",
        )
    monkeypatch.undo()
    config = write_config(tmp_path, [{"name": "broken", "uri": str(recording)}])
    with Gallery.open(tmp_path / "g") as gallery, running(gallery, config, monkeypatch) as run:
        until(lambda: run.status.cameras[0].state == "ended", 20, "the whole recording")
    with pytest.raises(VideoSourceError, match="does not exist"):
        Run(gallery, load_run_config(write_config(tmp_path, told)))


def test_a_picture_that_cannot_be_converted_is_left_out_and_counted(
    tmp_path: Path, server: RtspServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    rgb, calls = Picture.rgb, []

    def sometimes(self: Picture) -> Any:
        calls.append(1)
        if len(calls) % 10 == 0:
            raise ValueError("no such pixel format")
        return rgb(self)

    monkeypatch.setattr(Picture, "rgb", sometimes)
    config = write_config(tmp_path, cameras(server, "red", "green"))
    with Gallery.open(tmp_path / "g", create=True) as gallery, running(gallery, config, monkeypatch) as run:
        until(lambda: len(calls) > 40, 30, "pictures after it")
        lost = sum(camera.failures["picture"] for camera in run.status.cameras)
        assert lost in (len(calls) // 10, len(calls) // 10 - 1)


def test_one_run_takes_every_kind_of_source(
    tmp_path: Path, server: RtspServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shutil.which("ffmpeg") is None:
        pytest.skip("ffmpeg, which makes the HLS stream, is missing: apt-get install ffmpeg")
    recording = walk(tmp_path / "recorded.mp4", BLUE, RED)
    (segments := tmp_path / "segments").mkdir()
    with (
        mjpeg_server(walk_pictures(GREEN, YELLOW), FPS) as (address, _),
        live_hls(recording, segments) as playlist,
        Gallery.open(tmp_path / "g", create=True) as gallery,
    ):
        config = write_config(
            tmp_path,
            [
                {"name": "rtsp, h264", "uri": server.uri("red")},
                {"name": "rtsp, h265, udp", "uri": server.uri("again"), "transport": "udp"},
                {"name": "mjpeg", "uri": f"http://{address}/video"},
                {"name": "hls", "uri": playlist},
                {"name": "recorded", "uri": str(recording)},
            ],
        )
        with running(gallery, config, monkeypatch) as run:
            names = [camera.name for camera in run.status.cameras]
            until(
                lambda: {r.camera for r in gallery.tracklets() if r.finished} == set(names), 60, "all of them"
            )
            codecs = [camera.codec for camera in run.status.cameras]
            assert codecs[:4] == ["h264", "hevc", "mjpeg", "h264"]
            assert not any(camera.failures for camera in run.status.cameras)


def test_recordings_alone_end_the_run(tmp_path: Path, start: Start) -> None:
    recording = walk(tmp_path / "recorded.mp4", BLUE, RED)
    config = write_config(tmp_path, [{"name": "recorded", "uri": str(recording)}])
    process = start(config, tmp_path / "g")
    _, logged = process.communicate(timeout=60)
    assert process.returncode == 0, logged
    assert len(listed(tmp_path / "g")) == 1


def test_killed_at_any_moment_it_leaves_nothing_half_written(
    tmp_path: Path, server: RtspServer, start: Start
) -> None:
    config = write_config(tmp_path, cameras(server, "red", "green"))
    folder, seen = tmp_path / "g", 0
    for wait_s in (0.0, 1.3, 2.6):
        process = start(config, folder)
        until(lambda: len(listed(folder)) > seen, 40, "another tracklet")  # noqa: B023 - called at once
        time.sleep(wait_s)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        seen = len(listed(folder))
    process = start(config, folder)
    until(lambda: len(listed(folder)) > seen, 40, "another tracklet")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    assert process.returncode == 0
    with Gallery.open(folder) as gallery:
        gallery.sweep(grace_s=0)
        assert gallery.sweep(grace_s=0) == {"files_removed": 0, "tracklets_without_crops": 0}
        for record in gallery.tracklets():
            assert record.finished
            assert len(gallery.crops(record.id)) >= 8
            assert len(gallery.trajectory(record.id).frame_indices) == record.num_frames
        states = [source.status for source in gallery.sources()]
        assert states.count("interrupted") >= 4
        assert set(states[-2:]) == {"complete"}
        gaps = gallery.gaps()
        assert {gap.reason for gap in gaps} == {"the run was killed"}
        assert all(gap.end is not None and gap.end > gap.start for gap in gaps)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_stop_it_ends_within_ten_seconds_and_keeps_who_is_in_view(
    tmp_path: Path, server: RtspServer, start: Start, number: signal.Signals
) -> None:
    dead = {"name": "dead", "uri": f"rtsp://127.0.0.1:{free_port()}/nobody"}
    config = write_config(tmp_path, [*cameras(server, "red"), dead])
    process = start(config, tmp_path / "g")
    until(lambda: any(not record.finished for record in listed(tmp_path / "g")), 40, "somebody in view")
    begin = time.monotonic()
    process.send_signal(number)
    _, logged = process.communicate(timeout=20)
    assert time.monotonic() - begin < 10
    assert process.returncode == 0, logged
    assert all(record.finished for record in listed(tmp_path / "g"))


def test_a_full_disk_pauses_the_run_until_there_is_room(
    tmp_path: Path, server: RtspServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = write_config(tmp_path, cameras(server, "red"), retention={"min_free_mb": 50})
    with Gallery.open(tmp_path / "g", create=True) as gallery:
        free = [10**12]
        monkeypatch.setattr(gallery, "free_bytes", lambda: free[0])
        with running(gallery, config, monkeypatch) as run:
            until(lambda: gallery.counts()["tracklets"], 20, "a tracklet")
            free[0] = 10_000_000
            until(lambda: "disk full" in run.status.paused, 20, "the pause")
            count, analysed = gallery.counts()["tracklets"], run.status.cameras[0].frames_analysed
            time.sleep(3)
            assert gallery.counts()["tracklets"] == count
            assert run.status.cameras[0].frames_analysed <= analysed + 8  # the batch in hand
            assert run.status.cameras[0].frames_dropped > 0
            free[0] = 10**12
            until(lambda: gallery.counts()["tracklets"] > count, 20, "a tracklet")
            assert run.status.paused == ""
        (gap,) = gallery.gaps()
        assert gap.reason.startswith("paused: disk full")
        assert gap.end is not None
        assert 3 < gap.end - gap.start < 20
        for record in gallery.tracklets():
            assert not any(gap.start < at < gap.end for at in gallery.trajectory(record.id).timestamps)


def test_the_oldest_make_room_when_that_is_asked_for(
    tmp_path: Path, server: RtspServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    retention = {"min_free_mb": 50, "when_full": "delete_oldest"}
    config = write_config(tmp_path, cameras(server, "red"), retention=retention)
    with Gallery.open(tmp_path / "g", create=True) as gallery, running(gallery, config, monkeypatch):
        first = until(lambda: next((r.id for r in gallery.tracklets() if r.finished), None), 30, "a tracklet")
        monkeypatch.setattr(
            gallery, "free_bytes", lambda: 10**12 * (first not in {r.id for r in gallery.tracklets()})
        )
        until(lambda: first not in {r.id for r in gallery.tracklets()}, 30, "the deletion")
        monkeypatch.setattr(gallery, "free_bytes", lambda: 10**12)
        until(lambda: gallery.counts()["tracklets"], 30, "newer ones")


def test_a_disk_that_is_really_full_pauses_the_run(
    tmp_path: Path, server: RtspServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = write_config(tmp_path, cameras(server, "red", "green"), retention={"min_free_mb": 0})
    with (
        small_disk("30m") as disk,
        Gallery.open(disk / "g", create=True) as gallery,
        running(gallery, config, monkeypatch) as run,
    ):
        until(lambda: gallery.counts()["tracklets"], 30, "a tracklet")
        with suppress(OSError), (disk / "others").open("wb", buffering=0) as file:
            while True:
                file.write(b"x" * 4096)
        until(lambda: "disk full" in run.status.paused, 40, "the pause")
        time.sleep(6)
        assert time.monotonic() - run.status.beat < 2, "a paused run still turns"
        (disk / "others").unlink()
        count = gallery.counts()["tracklets"]
        until(lambda: gallery.counts()["tracklets"] > count and not run.status.paused, 30, "more of them")


@pytest.mark.parametrize("when_full", ["pause", "delete_oldest"])
def test_a_start_on_a_full_disk_waits_for_room_or_makes_it(
    tmp_path: Path, server: RtspServer, start: Start, when_full: str
) -> None:
    retention = {"min_free_mb": 0 if when_full == "delete_oldest" else 1, "when_full": when_full}
    config = write_config(tmp_path, cameras(server, "red"), retention=retention)
    with small_disk("20m") as disk:
        with Gallery.open(disk / "g", create=True) as gallery:
            spec = build_embedder(load_run_config(config).embedder).spec
            source = gallery.begin_source("red", "rtsp://red", "earlier", 1000.0, "s", live=True).id
            vectors = random_vectors(600, dimension=spec.dimension)
            gallery.add_tracklets(source, [tracklet(n, vector) for n, vector in enumerate(vectors)], spec)
        with suppress(OSError), (disk / "others").open("wb", buffering=0) as file:
            while True:
                file.write(b"x" * 4096)
        address = f"127.0.0.1:{free_port()}"
        process = start(config, disk / "g", address)

        def health() -> str:
            try:
                with urllib.request.urlopen(f"http://{address}/healthz", timeout=5) as answer:
                    return str(json.load(answer)["reason"])
            except urllib.error.HTTPError as error:
                return str(json.load(error)["reason"])
            except OSError as error:
                return f"not there yet: {error}"

        if when_full == "pause":
            until(lambda: health().startswith("paused: disk full"), 40, "the reason in /healthz")
            (disk / "others").unlink()
        until(lambda: health() == "", 40, "a run that is well")
        with Gallery.open(disk / "g", read_only=True) as gallery:
            assert (gallery.counts()["tracklets"] < 600) == (when_full == "delete_oldest")
        process.send_signal(signal.SIGTERM)
        _, logged = process.communicate(timeout=20)
        assert when_full == "delete_oldest" or (process.returncode, "run paused" in logged) == (0, True), (
            logged
        )


def test_what_is_deleted_while_in_view_stays_deleted(
    tmp_path: Path, server: RtspServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = write_config(tmp_path, cameras(server, "red"))
    with Gallery.open(tmp_path / "g", create=True) as gallery, running(gallery, config, monkeypatch):
        early = until(lambda: next((r for r in gallery.tracklets() if not r.finished), None), 20, "somebody")
        gallery.delete_tracklets([early.id])
        until(lambda: gallery.counts()["tracklets"], 20, "the next walk")
        assert min(record.start for record in gallery.tracklets()) > early.end


def test_zones_and_rate_hold_for_recordings_too(tmp_path: Path, start: Start) -> None:
    recording = walk(tmp_path / "recorded.mp4", BLUE, RED)
    left_half = [[0, 0], [0.5, 0], [0.5, 1], [0, 1]]
    looks = {"masked": {"masks": [left_half]}, "inside": {"region": left_half}, "slow": {"analysis_fps": 5}}
    told = [{"name": name, "uri": str(recording), **look} for name, look in looks.items()]
    config = write_config(tmp_path, told, tracker={"name": "bytetrack", "lost_buffer_s": 1.0})
    process = start(config, tmp_path / "g")
    _, logged = process.communicate(timeout=60)
    assert process.returncode == 0, logged
    with Gallery.open(tmp_path / "g") as gallery:
        boxes = {record.camera: gallery.trajectory(record.id).xyxy for record in gallery.tracklets()}
        frames = {record.camera: record.num_frames for record in gallery.tracklets()}
        assert {s.camera: s.masked for s in gallery.sources()} == {
            "masked": True,
            "inside": False,
            "slow": False,
        }
        assert {view.camera: view.state for view in gallery.camera_views()} == dict.fromkeys(
            looks, "recorded"
        )
        shown = {name: decode_jpeg(gallery.camera_frame(name) or b"") for name in looks}
    assert shown["masked"] is not None
    assert shown["inside"] is not None
    assert shown["masked"][:, :150].max() < 16 < shown["inside"][:, :150].min()
    assert boxes["masked"][:, 0].min() >= 159
    assert ((boxes["inside"][:, 0] + boxes["inside"][:, 2]) / 2).max() <= 160
    assert WALK // 2 - 4 <= frames["slow"] <= WALK // 2
    told[0]["hours"] = ["mon-fri 07:00-19:00"]
    process = start(write_config(tmp_path, told), tmp_path / "other")
    _, said = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "camera 'masked' is a recording: `hours` are of live cameras" in said


def test_an_outage_that_lasts_when_the_run_ends_is_one_gap(
    tmp_path: Path, server: RtspServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = [{"name": "red", "uri": server.uri("nobody")}]
    with Gallery.open(tmp_path / "g", create=True) as gallery:
        with running(gallery, write_config(tmp_path, dead), monkeypatch):
            (gap,) = until(gallery.gaps, 20, "a gap of a camera that never answered")
            assert (gap.camera, gap.end) == ("red", None)
        with running(gallery, write_config(tmp_path, cameras(server, "red")), monkeypatch) as run:
            until(lambda: run.status.cameras[0].frames_analysed, 20, "a frame")
            until(
                lambda: [gap.end is not None for gap in gallery.gaps()] == [True], 10, "its end, and no other"
            )


def test_a_database_that_goes_away_pauses_the_run_until_it_is_back(
    tmp_path: Path, server: RtspServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = write_config(tmp_path, cameras(server, "red"))
    with Gallery.open(tmp_path / "g", create=True) as gallery:
        away, add = threading.Event(), gallery.add_tracklets

        def add_if_there(*arguments: Any, **named: Any) -> list[int]:
            if away.is_set():
                raise DatabaseUnavailable("the database cannot be reached")
            return add(*arguments, **named)

        monkeypatch.setattr(gallery, "add_tracklets", add_if_there)
        with running(gallery, config, monkeypatch) as run:
            until(lambda: gallery.counts()["tracklets"], 20, "a tracklet")
            away.set()
            until(lambda: run.status.paused == "the database cannot be reached", 20, "the pause")
            for _ in range(60):
                time.sleep(0.05)
                assert run.status.paused, "the pause came and went while nothing could be written"
            count = gallery.counts()["tracklets"]
            away.clear()
            until(lambda: gallery.counts()["tracklets"] > count and not run.status.paused, 20, "more of them")


def test_a_gallery_switched_to_another_model_is_gone_on_with(
    tmp_path: Path, server: RtspServer, start: Start
) -> None:
    config, folder = write_config(tmp_path, cameras(server, "red")), tmp_path / "g"
    values = yaml.safe_load(config.read_text())
    del values["embedder"]  # then it is the gallery's
    config.write_text(yaml.safe_dump(values))
    process = start(config, folder)
    until(lambda: listed(folder), 60, "a tracklet")
    reindex = [
        sys.executable,
        str(PROGRAM),
        "reindex",
        "--gallery",
        str(folder),
        "--embedder",
        "colour_stripes",
    ]
    done = subprocess.run(reindex, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stderr
    before = {record.id for record in listed(folder)}
    until(lambda: {record.id for record in listed(folder)} - before, 60, "a tracklet by the new model")
    process.send_signal(signal.SIGTERM)
    _, logged = process.communicate(timeout=20)
    assert process.returncode == 0, logged
    assert "the gallery has another model now" in logged
    with Gallery.open(folder) as gallery:
        current = gallery.generations.current()
        assert current is not None
        assert current.spec.name == "colour_stripes"
        assert current.num_embeddings == gallery.counts()["tracklets"]


def test_a_camera_is_read_into_a_gallery_by_one_process(
    tmp_path: Path, server: RtspServer, start: Start
) -> None:
    config = write_config(tmp_path, cameras(server, "red"))
    first = start(config, tmp_path / "g")
    until(lambda: listed(tmp_path / "g"), 40, "a tracklet")
    second = start(config, tmp_path / "g")
    _, said = second.communicate(timeout=60)
    assert second.returncode == 2
    assert "camera 'red' is being read into" in said
    assert first.poll() is None


def test_no_password_is_seen_anywhere(tmp_path: Path, walks: list[Mount], start: Start) -> None:
    with RtspServer(walks, user="viewer", password="hunter2-secret") as server:
        good = {"name": "good", "uri": server.uri("red", "viewer:${RETRACE_TEST_PASSWORD}")}
        bad = {"name": "bad", "uri": server.uri("green", "viewer:wrong-secret") + "?token=query-secret"}
        config = write_config(tmp_path, [good, bad])
        address = f"127.0.0.1:{free_port()}"
        process = start(config, tmp_path / "g", address, RETRACE_TEST_PASSWORD="hunter2-secret")
        until(lambda: listed(tmp_path / "g"), 40, "a tracklet")
        pages = ""
        for page in ("metrics", "healthz"):
            with urllib.request.urlopen(f"http://{address}/{page}", timeout=10) as answer:
                pages += answer.read().decode()
        process.send_signal(signal.SIGTERM)
        _, logged = process.communicate(timeout=20)
    assert 'retrace_failures_total{camera="bad"' in pages
    assert "stream failed" in logged
    stored = b"".join(file.read_bytes() for file in (tmp_path / "g").rglob("*") if file.is_file())
    for secret in ("hunter2-secret", "wrong-secret", "query-secret"):
        assert secret not in pages + logged
        assert secret.encode() not in stored
    assert b"rtsp://***@127.0.0.1" in stored


def test_masks_and_regions_hold_for_all_that_is_kept(
    tmp_path: Path, server: RtspServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    left_half = [[0, 0], [0.5, 0], [0.5, 1], [0, 1]]
    red = {**cameras(server, "red")[0], "masks": [left_half]}
    again = {**cameras(server, "again")[0], "region": left_half}
    config = write_config(tmp_path, [red, again])
    with Gallery.open(tmp_path / "g", create=True) as gallery:
        with running(gallery, config, monkeypatch):
            until(
                lambda: {r.camera for r in gallery.tracklets() if r.finished} == {"red", "again"}, 40, "both"
            )
        for record in gallery.tracklets():
            boxes = gallery.trajectory(record.id).xyxy
            if record.camera == "red":
                assert boxes[:, 2].max() > 160
                assert boxes[:, 0].min() >= 159  # what is left of it is black
            else:
                assert ((boxes[:, 0] + boxes[:, 2]) / 2).max() <= 160


def test_logs_are_one_json_object_a_line(tmp_path: Path, start: Start) -> None:
    config = write_config(tmp_path, [{"name": "dead", "uri": f"rtsp://127.0.0.1:{free_port()}/nobody"}])
    process = start(config, tmp_path / "g")
    assert process.stderr is not None
    line = json.loads(process.stderr.readline())
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    assert re.match(r"\d{4}-\d\d-\d\dT", line["time"])
    assert {"level", "event"} <= line.keys()
