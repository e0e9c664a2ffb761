"""One run, told by what is in the gallery afterwards."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from painted import BLACK, BLUE, GREEN, RED, WHITE, YELLOW, Painted, Scene, make_scene, paint, write_video

from pipeline import plugins
from pipeline.config import Config, load_config
from pipeline.crops import decode_jpeg
from pipeline.hooks import Hooks, SourceProgress
from pipeline.ingest import IngestSummary, SourceError, begin_sources, ingest, open_sources
from pipeline.types import Detections, Frame
from pipeline.video import SourceSpec, VideoSourceError
from pipeline.zones import Zones
from storage.errors import GalleryError
from storage.gallery import Gallery

ROOT = Path(__file__).resolve().parent.parent.parent
CROWD = (
    Painted(RED, BLUE, 10, 40),
    Painted(GREEN, BLACK, 250, 60, dx=-2),
    Painted(YELLOW, WHITE, 120, 80, dx=0.5, last=30),
)


def settings(boxes: Path, *overrides: str) -> Config:
    return load_config(
        overrides=[
            "embedder.name=colour_stripes",
            "detector.name=mot_file",
            f"detector.path={boxes}",
            *overrides,
        ]
    )


def spec(scene: Scene, camera: str = "cam", start: float = 1000.0) -> SourceSpec:
    return SourceSpec(camera, str(scene.video), start)


def contents(folder: Path) -> dict[Any, Any]:
    """Everything a gallery says about its tracklets but their ids, and that nothing else lies about."""
    with Gallery.open(folder, read_only=True) as gallery:
        found = {}
        for record in gallery.tracklets():
            trajectory = gallery.trajectory(record.id)
            crops = gallery.crops(record.id)
            assert record.thumbnail.is_file()
            found[record.camera, record.track_id, int(trajectory.frame_indices[0])] = (
                record.start, record.end, record.num_frames, record.quality,
                trajectory.xyxy.tolist(), crops, gallery.embedding(record.id).tolist(),
            )  # fmt: skip
        return found


class Recorder(Hooks):
    def __init__(self) -> None:
        self.notes: list[str] = []
        self.progress: list[SourceProgress] = []

    def on_note(self, text: str) -> None:
        self.notes.append(text)

    def on_source(self, progress: SourceProgress) -> None:
        self.progress.append(progress)


def run(folder: Path, specs: list[SourceSpec], config: Config, hooks: Hooks | None = None) -> IngestSummary:
    with Gallery.open(folder, create=True) as gallery:
        return ingest(gallery, specs, config, hooks)


def test_every_person_becomes_one_tracklet_with_the_right_frames(tmp_path: Path) -> None:
    scene = make_scene(tmp_path, "a", CROWD, 50)
    summary = run(tmp_path / "g", [spec(scene)], settings(scene.boxes))
    assert (summary.frames, summary.detections, summary.tracklets) == (50, 131, 3)
    assert summary.seconds.keys() >= {"decode", "detect", "track", "embed", "write", "total"}
    with Gallery.open(tmp_path / "g", read_only=True) as gallery:
        records = list(gallery.tracklets())
        assert sorted((r.num_frames, round(r.start, 3), round(r.end, 3)) for r in records) == [
            (31, 1000.0, 1003.0), (50, 1000.0, 1004.9), (50, 1000.0, 1004.9),
        ]  # fmt: skip
        source = gallery.sources()[0]
        assert source.status == "complete"
        assert source.counts["frames"] == 50
    assert not list((tmp_path / "g").rglob("*.boxes"))


def test_a_recording_that_is_done_is_shown_by_its_last_picture(tmp_path: Path) -> None:
    scene = make_scene(tmp_path, "a", CROWD, 50)
    run(tmp_path / "g", [spec(scene)], settings(scene.boxes))
    with Gallery.open(tmp_path / "g", read_only=True) as gallery:
        (view,) = gallery.camera_views()
        assert (view.camera, view.state, view.detail) == ("cam", "recorded", "")
        assert view.frame_time == pytest.approx(1004.9)
        assert view.per_hour == (*[0] * 23, 3)
        shown = decode_jpeg(gallery.camera_frame("cam") or b"")
    assert shown is not None
    painted = paint(CROWD, 49, 320, 192)
    assert np.abs(shown.astype(int) - painted).mean() < 8
    assert np.abs(shown.astype(int) - paint(CROWD, 0, 320, 192)).mean() > 8


def test_a_source_knows_whether_it_is_masked(tmp_path: Path) -> None:
    scene = make_scene(tmp_path, "a", CROWD, 20)
    config = settings(scene.boxes)
    detector = plugins.build("detectors", config.detector)
    corner = Zones(None, [[(0.0, 0.0), (0.1, 0.0), (0.0, 0.1)]])
    with Gallery.open(tmp_path / "g", create=True) as gallery:
        for zones, masked in (({}, False), ({"cam": corner}, True), ({"cam": corner}, True), ({}, False)):
            sources = open_sources([spec(scene)], config)
            (begun,), _ = begin_sources(gallery, sources, detector, config, Hooks(), zones)
            assert begun.record.masked == gallery.sources()[0].masked == masked
            begun.close()


def test_several_cameras_in_one_run_equal_one_run_each(tmp_path: Path) -> None:
    first = make_scene(tmp_path, "a", CROWD, 40)
    second = make_scene(tmp_path, "b", CROWD[::-1], 55, width=400, height=240)
    # One box file for one camera only: a second detector is not needed, the other camera has none.
    config = settings(first.boxes, "batch.frames=5", "video.open_sources=2")
    run(
        tmp_path / "both",
        [spec(first, "one"), spec(second, "two"), spec(make_scene(tmp_path, "c", CROWD, 20), "three")],
        config,
    )
    for camera, scene in (("one", first), ("two", second)):
        run(tmp_path / camera, [spec(scene, camera)], config)
        alone = contents(tmp_path / camera)
        assert alone
        assert {key: value for key, value in contents(tmp_path / "both").items() if key[0] == camera} == alone


def test_running_again_adds_nothing_and_says_so(tmp_path: Path) -> None:
    scene = make_scene(tmp_path, "a", CROWD, 40)
    run(tmp_path / "g", [spec(scene)], settings(scene.boxes))
    before = contents(tmp_path / "g")
    hooks = Recorder()
    again = run(tmp_path / "g", [spec(scene)], settings(scene.boxes), hooks)
    assert (again.frames, again.tracklets) == (0, 0)
    assert again.sources[0].status == "already ingested"
    assert any("already ingested; nothing is added" in note for note in hooks.notes)
    moved = scene.video.rename(tmp_path / "moved elsewhere.mp4")
    run(tmp_path / "g", [SourceSpec("cam", str(moved), 1000.0)], settings(scene.boxes))
    assert contents(tmp_path / "g") == before


SLOWLY = """
import os, sys, time
sys.path.insert(0, {root!r})
from pathlib import Path
from pipeline import plugins
from pipeline.config import load_config
from pipeline.detectors import mot_file
from pipeline.hooks import Hooks
from pipeline.ingest import ingest
from pipeline.video import SourceSpec
from storage.gallery import Gallery

real = mot_file.MotFileDetector.detect
def slow(self, frames):
    time.sleep(0.004 * len(frames))
    return real(self, frames)
mot_file.MotFileDetector.detect = slow
config = load_config(overrides={overrides!r})

def work():
    with Gallery.open(Path({gallery!r}), create=True) as gallery:
        print("begun", os.getpid(), flush=True)
        ingest(gallery, [SourceSpec(name, uri, 1000.0) for name, uri in {sources!r}], config)
    print("done", flush=True)
"""

# A process for each line it reads. They have imported everything: kills hit the work, not the imports.
AGAIN_AND_AGAIN = """
plugins.build("trackers", config.tracker, frame_rate=10)
for _ in sys.stdin:
    child = os.fork()
    if not child:
        work()
        os._exit(0)
    os.waitpid(child, 0)
    print("ended", flush=True)
"""


def test_a_run_killed_again_and_again_ends_with_the_same_gallery(tmp_path: Path) -> None:
    clothes = [(RED, BLUE), (GREEN, BLACK), (BLUE, WHITE), (YELLOW, BLACK), (WHITE, RED), (BLACK, GREEN)] * 2
    people = [
        Painted(top, trousers, 20 * i, 40, dx=1, first=25 * i, last=25 * i + 60)
        for i, (top, trousers) in enumerate(clothes)
    ]
    one, two = make_scene(tmp_path, "a", people, 340), make_scene(tmp_path, "b", people[::-1], 300)
    overrides = [
        "embedder.name=colour_stripes", "detector.name=mot_file", f"detector.path={one.boxes}",
        "tracker.lost_buffer_s=0.5", "batch.max_wait_s=0.05",
    ]  # fmt: skip
    sources = [("one", str(one.video)), ("two", str(two.video))]
    run(tmp_path / "whole", [SourceSpec(n, u, 1000.0) for n, u in sources], load_config(overrides=overrides))
    expected = contents(tmp_path / "whole")
    assert len(expected) >= 12
    script = (SLOWLY + AGAIN_AND_AGAIN).format(
        root=str(ROOT), overrides=overrides, gallery=str(tmp_path / "killed"), sources=sources
    )
    kills, rng, pipes = 0, np.random.default_rng(7), {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", script], text=True, bufsize=1, **pipes) as runs:
        assert runs.stdin is not None
        assert runs.stdout is not None
        for _ in range(12):
            print(file=runs.stdin)
            begun, pid = runs.stdout.readline().split()
            assert begun == "begun"
            time.sleep(float(rng.uniform(0.2, 1.6)))
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
            if runs.stdout.readline() == "done\n":
                break
            kills += 1
    assert kills >= 2, "the run must have been killed in its midst"
    run(tmp_path / "killed", [SourceSpec(n, u, 1000.0) for n, u in sources], load_config(overrides=overrides))
    assert contents(tmp_path / "killed") == expected
    with Gallery.open(tmp_path / "killed") as gallery:
        # What a kill left half-written is swept; nothing else is.
        gallery.sweep(grace_s=0)
        assert gallery.sweep(grace_s=0)["files_removed"] == 0
    assert contents(tmp_path / "killed") == expected


def test_a_half_done_source_with_other_settings_is_begun_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = make_scene(tmp_path, "a", CROWD, 60)
    from pipeline.detectors import mot_file

    real, calls = mot_file.MotFileDetector.detect, [0]

    def failing(self: Any, frames: list[Frame]) -> list[Detections]:
        calls[0] += len(frames)
        if calls[0] > 50:
            raise RuntimeError("the machine caught fire")
        return real(self, frames)

    monkeypatch.setattr(mot_file.MotFileDetector, "detect", failing)
    fast = ("tracker.lost_buffer_s=0.3", "batch.max_wait_s=0.01")
    with pytest.raises(RuntimeError, match="caught fire"):
        run(tmp_path / "g", [spec(scene)], settings(scene.boxes, *fast))
    monkeypatch.setattr(mot_file.MotFileDetector, "detect", real)
    hooks = Recorder()
    other = settings(scene.boxes, *fast, "tracklets.max_duration_s=1")
    run(tmp_path / "g", [spec(scene)], other, hooks)
    assert any("begun anew" in note for note in hooks.notes)
    run(tmp_path / "fresh", [spec(scene)], other)
    assert contents(tmp_path / "g") == contents(tmp_path / "fresh")


def test_a_wrong_source_stops_the_run_before_anything_is_stored(tmp_path: Path) -> None:
    scene = make_scene(tmp_path, "a", CROWD, 20)
    with pytest.raises(VideoSourceError, match="camera 'two'"):
        run(
            tmp_path / "g",
            [spec(scene, "one"), SourceSpec("two", str(tmp_path / "absent.mp4"))],
            settings(scene.boxes),
        )
    with Gallery.open(tmp_path / "g") as gallery:
        assert gallery.sources() == []


def test_the_same_camera_twice_is_refused(tmp_path: Path) -> None:
    scene = make_scene(tmp_path, "a", CROWD, 20)
    with pytest.raises(SourceError, match="camera 'cam' is given 2 times"):
        run(tmp_path / "g", [spec(scene), spec(scene)], settings(scene.boxes))


def test_nobody_and_one_body(tmp_path: Path) -> None:
    empty = make_scene(tmp_path, "empty", [], 20)
    alone = make_scene(tmp_path, "alone", CROWD[:1], 20)
    assert run(tmp_path / "g", [spec(empty)], settings(empty.boxes)).tracklets == 0
    assert run(tmp_path / "g", [spec(alone, "other")], settings(alone.boxes)).tracklets == 1


def test_a_recording_with_damage_keeps_what_was_good(tmp_path: Path) -> None:
    pictures = [paint(CROWD, i, 320, 192) for i in range(60)]
    whole = write_video(tmp_path / "v.mkv", pictures, codec="mpeg4")
    broken = tmp_path / "broken.mkv"
    broken.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
    scene = make_scene(tmp_path, "a", CROWD, 60)
    summary = run(tmp_path / "g", [SourceSpec("cam", str(broken), 0.0)], settings(scene.boxes))
    assert summary.sources[0].status == "complete"
    assert 20 < summary.frames < 60
    assert summary.tracklets >= 2


def test_an_error_in_the_embedder_ends_the_run_with_that_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline.embedders.colour_stripes import ColourStripes

    def failing(self: Any, clips: Any) -> Any:
        raise RuntimeError("no memory")

    monkeypatch.setattr(ColourStripes, "embed", failing)
    scene = make_scene(tmp_path, "a", CROWD, 40)
    with pytest.raises(RuntimeError, match="no memory"):
        run(tmp_path / "g", [spec(scene)], settings(scene.boxes))
    assert [t.name for t in threading.enumerate() if t.name.startswith(("decode", "embed"))] == []


def test_what_has_no_embedding_is_dropped_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline.embedders.colour_stripes import ColourStripes

    real = ColourStripes.embed

    def holes(self: Any, clips: Any) -> Any:
        rows = real(self, clips)
        rows[0] = np.nan
        return rows

    monkeypatch.setattr(ColourStripes, "embed", holes)
    scene = make_scene(tmp_path, "a", CROWD, 50)
    summary = run(tmp_path / "g", [spec(scene)], settings(scene.boxes))
    assert summary.rejected["not_embeddable"] >= 1
    assert summary.tracklets + summary.rejected["not_embeddable"] == 3


def test_another_model_is_refused_before_work_begins(tmp_path: Path) -> None:
    scene = make_scene(tmp_path, "a", CROWD, 40)
    run(tmp_path / "g", [spec(scene)], settings(scene.boxes))
    with pytest.raises(GalleryError, match="reindex"):
        run(tmp_path / "g", [spec(scene, "new")], settings(scene.boxes, "embedder.stripes=4"))


def test_progress_tells_rates_and_what_is_left(tmp_path: Path) -> None:
    scene = make_scene(tmp_path, "a", CROWD, 60)
    hooks = Recorder()
    run(tmp_path / "g", [spec(scene)], settings(scene.boxes), hooks)
    assert hooks.progress[-1].finished
    for progress in hooks.progress:
        assert progress.seconds_total == pytest.approx(6.0, abs=0.2)
        assert progress.frames_per_s > 0
        if progress.seconds_done > 0:
            assert progress.seconds_left is not None
            assert progress.seconds_left >= 0
    assert sum(progress.seconds_done > 0 for progress in hooks.progress) >= 1


def test_another_process_sees_new_tracklets_within_a_second_of_asking(tmp_path: Path) -> None:
    """One process ingests, this one searches meanwhile."""
    people = [
        Painted(RED, BLUE, 10, 40, dx=1, first=0, last=30),
        Painted(GREEN, BLACK, 200, 40, dx=0, first=60, last=399),
    ]
    scene = make_scene(tmp_path, "a", people, 400)
    overrides = [
        "detector.name=mot_file",
        f"detector.path={scene.boxes}",
        "tracker.lost_buffer_s=0.3",
        "batch.max_wait_s=0.05",
    ]
    script = (SLOWLY + "work()").format(
        root=str(ROOT), overrides=overrides, gallery=str(tmp_path / "g"), sources=[("cam", str(scene.video))]
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("begun ")
        deadline = time.monotonic() + 60
        with Gallery.open(tmp_path / "g", read_only=True) as gallery:
            while not list(gallery.tracklets()):
                assert time.monotonic() < deadline
                time.sleep(0.02)
            assert process.poll() is None, "the first tracklet must be visible while the run goes on"
            current = gallery.generations.current()
            assert current is not None
            record = next(iter(gallery.tracklets()))
            begin = time.monotonic()
            hits = gallery.search(gallery.embedding(record.id)[None], current.spec, 5)[0]
            assert time.monotonic() - begin < 1.0
            assert hits[0].record.id == record.id
            assert process.wait(60) == 0
            assert len(gallery.search(gallery.embedding(record.id)[None], current.spec, 5)[0]) == 2
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a POSIX system")
def test_memory_of_the_queues_is_bounded(tmp_path: Path) -> None:
    """A slow consumer must not let decoded frames pile up."""
    from pipeline.reading import ReaderPool
    from pipeline.video import open_source

    scene = make_scene(tmp_path, "a", CROWD, 120)
    config = settings(scene.boxes, "video.queue_frames=4")
    pool = ReaderPool([open_source(spec(scene, name), config.video) for name in ("one", "two")], 2)
    with pool:
        batches = pool.batches(2)
        next(batches)
        time.sleep(0.5)
        assert all(reader._queue.qsize() <= 4 for reader in pool._open)


def test_the_start_of_a_finished_source_stays_and_is_said(tmp_path: Path) -> None:
    scene = make_scene(tmp_path, "a", CROWD, 30)
    run(tmp_path / "g", [spec(scene, start=1000.0)], settings(scene.boxes))
    hooks = Recorder()
    again = run(tmp_path / "g", [spec(scene, start=5000.0)], settings(scene.boxes), hooks)
    assert again.sources[0].start == 1000.0
    assert again.as_json()["sources"][0]["start"] == "1970-01-01T00:16:40.000Z"
    assert any("1970-01-01T01:23:20.000Z is ignored" in note for note in hooks.notes)
    hooks = Recorder()
    run(tmp_path / "g", [SourceSpec("cam", str(scene.video))], settings(scene.boxes), hooks)
    assert not any("other settings" in note or "ignored" in note for note in hooks.notes)


@pytest.mark.parametrize(("enabled", "expected"), [("true", 2), ("false", 3)])
def test_who_was_hidden_longer_than_the_tracker_remembers_is_one_tracklet(
    tmp_path: Path, enabled: str, expected: int
) -> None:
    before, after = Painted(RED, BLUE, 10, 40, dx=2, last=19), Painted(RED, BLUE, 90, 40, dx=2, first=40)
    other = Painted(GREEN, BLACK, 250, 60, dx=0)
    scene = make_scene(tmp_path, "hidden", (before, after, other), 70)
    config = settings(scene.boxes, f"stitch.enabled={enabled}", "tracker.lost_buffer_s=0.5")
    with Gallery.open(tmp_path / "g", create=True) as gallery:
        ingest(gallery, [spec(scene)], config)
        frames = sorted(record.num_frames for record in gallery.tracklets())
        assert len(frames) == expected
        if enabled == "true":
            assert (
                frames[0] == 49
            )  # 20 before, and 29 after: trackers believe a new track with its second box
            (joined,) = (record for record in gallery.tracklets() if record.num_frames == 49)
            times = gallery.trajectory(joined.id).timestamps
            assert np.diff(times).max() == pytest.approx(2.2, abs=0.01)
