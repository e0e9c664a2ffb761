"""The demo on a painted video."""

from __future__ import annotations

from pathlib import Path

import pytest
from painted import BLACK, BLUE, GREEN, RED, Painted, make_scene

from pipeline.config import load_config
from pipeline.demo import EXAMPLE, cut_in_two, example_cameras, run_demo
from pipeline.hooks import Hooks
from pipeline.video import SourceSpec, VideoSourceError, open_source
from storage.gallery import Gallery

PEOPLE = (Painted(RED, BLUE, 10, 40, dx=1), Painted(GREEN, BLACK, 250, 60, dx=-1))


def test_each_video_has_an_answer_of_its_own(tmp_path: Path) -> None:
    pages = []
    for name, people in (("one", PEOPLE), ("two", PEOPLE[:1])):
        scene = make_scene(tmp_path, name, people, 60)
        config = load_config(
            overrides=[
                "embedder.name=colour_stripes",
                "detector.name=mot_file",
                f"detector.path={scene.boxes}",
            ]
        )
        for _ in range(2):  # again: what is there is used
            page = run_demo(tmp_path / "demo", scene.video, config, Hooks())
        pages.append(page)
        with Gallery.open(page.parent / "gallery", read_only=True) as gallery:
            assert {record.camera for record in gallery.tracklets()} == {"camera-1", "camera-2"}
            assert len(list(gallery.tracklets())) == 2 * len(people)
            assert gallery.cameras()[1].start == pytest.approx(gallery.cameras()[0].start + 3.0)  # type: ignore[operator]
    assert pages[0] != pages[1]
    assert "Where else did tracklet" in pages[0].read_text()


def test_the_halves_together_are_the_whole(tmp_path: Path) -> None:
    scene = make_scene(tmp_path, "a", PEOPLE, 41)
    halves = [tmp_path / "1.mp4", tmp_path / "2.mp4"]
    assert cut_in_two(scene.video, halves, Hooks()) == [0.0, pytest.approx(2.0)]
    settings = load_config().video
    assert [len(list(open_source(SourceSpec("c", str(p), 0.0), settings).frames())) for p in halves] == [
        20,
        21,
    ]


def test_what_cannot_be_cut_is_refused(tmp_path: Path) -> None:
    with pytest.raises(VideoSourceError, match="there is no video"):
        run_demo(
            tmp_path / "d",
            tmp_path / "absent.mp4",
            load_config(
                overrides=["embedder.name=colour_stripes", "detector.name=mot_file", "detector.path=x"]
            ),
            Hooks(),
        )
    scene = make_scene(tmp_path, "a", PEOPLE, 3)
    with pytest.raises(VideoSourceError, match="too short to be cut"):
        cut_in_two(scene.video, [tmp_path / "1.mp4", tmp_path / "2.mp4"], Hooks())


def test_the_example_is_the_default_input(tmp_path: Path) -> None:
    boxes = tmp_path / "all.txt"  # the same boxes in all three cameras do, as nobody looks at who is who
    boxes.write_text((EXAMPLE / "camera-1.gt.txt").read_text())
    replayed = ["detector.name=mot_file", f"detector.path={boxes}", "video.analysis_fps=2"]
    config = load_config(overrides=["embedder.name=colour_stripes", *replayed])
    page = run_demo(tmp_path / "demo", None, config, Hooks())
    assert page.parent.name.startswith("three_cameras-")
    assert "Where else did tracklet" in page.read_text()
    with Gallery.open(page.parent / "gallery", read_only=True) as gallery:
        cameras = gallery.cameras()
    assert [camera.camera for camera in cameras] == [spec.camera for spec in example_cameras()]
    assert {spec.start for spec in example_cameras()} == {1_714_989_600.0}, "all on one clock"


def test_without_the_example_the_mend_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="pass --video FILE"):
        example_cameras(tmp_path)
