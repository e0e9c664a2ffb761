"""Where else did this person appear? On painted people, whose colours say who is who."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from painted import BLACK, BLUE, GREEN, RED, WHITE, YELLOW, Painted, Scene, make_scene, paint

from pipeline import plugins, report
from pipeline.config import Config, load_config
from pipeline.hooks import Hooks
from pipeline.ingest import ingest
from pipeline.pointing import QueryError, UnclearPerson, people_in
from pipeline.query import (
    Query,
    load_embedder,
    query_by_frames,
    query_by_images,
    query_by_pictures,
    query_by_tracklet,
    query_by_video,
    search,
)
from pipeline.types import box_iou
from pipeline.uploads import Uploads
from pipeline.video import SourceSpec
from storage.gallery import Gallery
from storage.records import GalleryFilter

RED_ONE, GREEN_ONE = Painted(RED, BLUE, 10, 40), Painted(GREEN, BLACK, 250, 60, dx=-2)
HERE = (RED_ONE, GREEN_ONE)
THERE = (
    Painted(RED, BLUE, 200, 50, dx=-1),
    Painted(YELLOW, WHITE, 20, 60),
    Painted(GREEN, BLACK, 100, 80, dx=0.5),
)


@pytest.fixture
def scenes(tmp_path: Path) -> tuple[Scene, Scene]:
    return make_scene(tmp_path, "here", HERE, 60), make_scene(tmp_path, "there", THERE, 60)


@pytest.fixture
def gallery(tmp_path: Path, scenes: tuple[Scene, Scene]) -> Any:
    with Gallery.open(tmp_path / "g", create=True) as opened:
        for camera, scene, start in (("here", scenes[0], 1000.0), ("there", scenes[1], 1100.0)):
            ingest(opened, [SourceSpec(camera, str(scene.video), start)], settings(scene))
        yield opened


class Notes(Hooks):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def on_note(self, text: str) -> None:
        self.notes.append(text)


def settings(scene: Scene) -> Config:
    return load_config(
        overrides=["embedder.name=colour_stripes", "detector.name=mot_file", f"detector.path={scene.boxes}"]
    )


def colour_of(gallery: Gallery, tracklet_id: int) -> str:
    """Which painted person a tracklet shows, by its top."""
    picture = cv2.imread(str(gallery.tracklet(tracklet_id).thumbnail))
    top = picture[int(picture.shape[0] * 0.35), picture.shape[1] // 2, ::-1].astype(int)
    tops = {"red": RED, "green": GREEN, "yellow": YELLOW}
    return min(tops, key=lambda name: int(np.abs(top - tops[name]).sum()))


def find(gallery: Gallery, camera: str, colour: str) -> int:
    return next(
        r.id
        for r in gallery.tracklets(GalleryFilter(cameras=frozenset([camera])))
        if colour_of(gallery, r.id) == colour
    )


@pytest.mark.parametrize("colour", ["red", "green"])
def test_a_tracklet_finds_its_person_in_the_other_camera_first(gallery: Gallery, colour: str) -> None:
    answer = search(gallery, query_by_tracklet(gallery, find(gallery, "here", colour)), 5, GalleryFilter())
    assert answer.matches[0].record.camera == "there"
    assert colour_of(gallery, answer.matches[0].record.id) == colour
    assert [m.similarity for m in answer.matches] == sorted(
        (m.similarity for m in answer.matches), reverse=True
    )
    assert answer.fallback is not None


def test_the_querys_own_camera_is_left_out_within_its_own_time_only(
    gallery: Gallery, tmp_path: Path, scenes: Any
) -> None:
    query = query_by_tracklet(gallery, find(gallery, "here", "red"))
    assert {m.record.camera for m in search(gallery, query, 10, GalleryFilter()).matches} == {"there"}
    later = make_scene(tmp_path, "later", HERE, 55)
    ingest(gallery, [SourceSpec("here", str(later.video), 5000.0)], settings(later))
    cameras = [(m.record.camera, m.record.start) for m in search(gallery, query, 10, GalleryFilter()).matches]
    assert any(camera == "here" and start >= 5000 for camera, start in cameras)
    assert not any(camera == "here" and start < 5000 for camera, start in cameras)


def test_filters_narrow_the_answer(gallery: Gallery) -> None:
    query = query_by_tracklet(gallery, find(gallery, "here", "red"))
    assert search(gallery, query, 10, GalleryFilter(cameras=frozenset(["here"]))).matches == []
    assert search(gallery, query, 10, GalleryFilter(exclude_cameras=frozenset(["there"]))).matches == []
    assert search(gallery, query, 10, GalleryFilter(end=1050.0)).matches == []
    assert len(search(gallery, query, 10, GalleryFilter(start=1100.0)).matches) == 3
    assert len(search(gallery, query, 1, GalleryFilter()).matches) == 1


def test_a_picture_of_a_person_finds_that_person(gallery: Gallery, tmp_path: Path, scenes: Any) -> None:
    frame = paint(HERE, 20, 320, 192)
    left, top, width, height = (round(v) for v in RED_ONE.box(20) or ())
    crop, whole = tmp_path / "crop.png", tmp_path / "whole frame é.png"
    cv2.imwrite(str(crop), frame[top : top + height, left : left + width, ::-1])
    cv2.imencode(".png", frame[:, :, ::-1])[1].tofile(whole)
    box = (left, top, left + width, top + height)
    config, embedder = settings(scenes[0]), load_embedder(gallery)
    for query in (
        query_by_images([crop], [], embedder, config),
        query_by_images([whole], [box], embedder, config),
        query_by_images([crop, whole], [(0, 0, 40, 96), box], embedder, config),
    ):
        answer = search(gallery, query, 5, GalleryFilter())
        assert {colour_of(gallery, m.record.id) for m in answer.matches[:2]} == {"red"}
        assert (
            len({m.record.camera for m in answer.matches[:2]}) == 2
        )  # pictures have no camera: nothing is left out


def test_a_box_in_a_video_is_followed_forward_and_back(gallery: Gallery, scenes: Any) -> None:
    box = RED_ONE.box(30)
    assert box is not None
    left, top, width, height = box
    around = (left - 4, top - 6, left + width + 5, top + height + 3)  # drawn by hand, not exact
    query = query_by_video(gallery, scenes[0].video, 3.0, around, load_embedder(gallery), settings(scenes[0]))
    assert query.description["camera"] == "here"
    assert query.description["frames"] == 60
    assert query.description["followed_s"] == [0.0, 5.9]
    assert query.span == ("here", pytest.approx(1000.0), pytest.approx(1005.9))
    answer = search(gallery, query, 5, GalleryFilter())
    assert colour_of(gallery, answer.matches[0].record.id) == "red"
    assert all(m.record.camera == "there" for m in answer.matches)


def test_a_person_the_detector_misses_is_taken_from_the_box_itself(
    gallery: Gallery, tmp_path: Path, scenes: Any
) -> None:
    blind = tmp_path / "blind.txt"
    blind.write_text("")
    config = load_config(
        overrides=["embedder.name=colour_stripes", "detector.name=mot_file", f"detector.path={blind}"]
    )
    left, top, width, height = GREEN_ONE.box(30) or (0, 0, 0, 0)
    box, hooks = (left, top, left + width, top + height), Notes()
    query = query_by_video(gallery, scenes[0].video, 3.0, box, load_embedder(gallery), config, hooks)
    assert [note.split(";")[0] for note in hooks.notes] == [
        f"no person is detected at the box {','.join(f'{v:g}' for v in box)}",
        "the person could be followed for 1 frames only",
    ]
    assert query.description["frames"] == 1
    assert colour_of(gallery, search(gallery, query, 5, GalleryFilter()).matches[0].record.id) == "green"


def test_an_uploaded_picture_answers_like_its_file(gallery: Gallery, tmp_path: Path, scenes: Any) -> None:
    file, uploads = tmp_path / "whole.png", Uploads(tmp_path / "uploads")
    cv2.imwrite(str(file), paint(HERE, 20, 320, 192)[:, :, ::-1])
    left, top, width, height = (round(v) for v in RED_ONE.box(20) or ())
    box = (left, top, left + width, top + height)
    config, embedder = settings(scenes[0]), load_embedder(gallery)
    upload = uploads.add(io.BytesIO(file.read_bytes()), None, "ann")
    image, _ = uploads.frame(upload.id, "ann")
    by_file = query_by_images([file], [box], embedder, config)
    by_upload = query_by_pictures([(image, box)], embedder, config, ["the picture"])
    assert by_upload.description == by_file.description | {"images": ["the picture"]}
    assert_same_answer(gallery, by_upload, by_file)


def test_an_uploaded_clip_answers_like_its_file(gallery: Gallery, tmp_path: Path, scenes: Any) -> None:
    left, top, width, height = RED_ONE.box(30) or (0, 0, 0, 0)
    box = (left, top, left + width, top + height)
    config, embedder, uploads = settings(scenes[0]), load_embedder(gallery), Uploads(tmp_path / "uploads")
    with scenes[0].video.open("rb") as stream:
        upload = uploads.add(stream, None, "ann")
    frames = uploads.frames(upload.id, "ann", 0.0, 7.0)
    by_upload = query_by_frames(
        frames, 3.0, box, embedder, config, name="the clip", frame_rate=upload.frame_rate
    )
    by_file = query_by_video(gallery, scenes[0].video, 3.0, box, embedder, config)
    assert by_upload.description == by_file.description | {"video": "the clip", "camera": None}
    assert by_upload.span is None
    everything = GalleryFilter(exclude_span=by_file.span)
    assert_same_answer(gallery, by_upload, by_file, everything)


def assert_same_answer(
    gallery: Gallery, first: Query, second: Query, wanted: GalleryFilter | None = None
) -> None:
    answers = [search(gallery, query, 9, wanted or GalleryFilter()).matches for query in (first, second)]
    assert [match.record.id for match in answers[0]] == [match.record.id for match in answers[1]]
    similarities = [[match.similarity for match in answer] for answer in answers]
    np.testing.assert_allclose(*similarities, atol=0.01)


def test_people_are_offered_where_it_is_not_clear_who_is_meant(gallery: Gallery, scenes: Any) -> None:
    image, config = paint(HERE, 0, 320, 192), settings(scenes[0])
    offered = people_in(image, plugins.build("detectors", config.detector))
    assert len(offered) == 2
    for (box, confidence), person in zip(sorted(offered), HERE, strict=True):
        left, top, width, height = person.box(0) or (0, 0, 0, 0)
        np.testing.assert_allclose(box, (left, top, left + width, top + height), atol=0.1)
        assert confidence == pytest.approx(0.9)
    assert people_in(image, plugins.build("detectors", config.detector), min_confidence=0.95) == []
    with pytest.raises(UnclearPerson, match="2 persons are in it") as caught:
        query_by_pictures([(image, None)], load_embedder(gallery), config, ["it"])
    assert list(caught.value.people) == offered


def test_wrong_queries_are_named(gallery: Gallery, tmp_path: Path, scenes: Any) -> None:
    config, embedder = settings(scenes[0]), load_embedder(gallery)
    wide, text = tmp_path / "wide.png", tmp_path / "text.png"
    cv2.imwrite(str(wide), paint(HERE, 0, 320, 192))
    text.write_text("no picture")
    box = (10.0, 10.0, 60.0, 120.0)
    for call, expected in (
        (lambda: query_by_images([tmp_path / "absent.png"], [], embedder, config), "there is no picture"),
        (lambda: query_by_images([text], [], embedder, config), "not a picture"),
        (lambda: query_by_images([wide, wide], [box], embedder, config), "2 pictures and 1 boxes"),
        (lambda: query_by_images([wide], [(900, 900, 950, 990)], embedder, config), "outside"),
        (lambda: query_by_images([wide], [], embedder, config), "2 persons are in .*choose one with --box"),
        (lambda: query_by_video(gallery, scenes[0].video, 99, box, embedder, config), "outside"),
        (
            lambda: query_by_video(gallery, scenes[0].video, 1, (900, 0, 950, 90), embedder, config),
            "outside the frame",
        ),
    ):
        with pytest.raises(QueryError, match=expected):
            call()
    with (
        Gallery.open(tmp_path / "empty", create=True) as empty,
        pytest.raises(QueryError, match="run ingest first"),
    ):
        load_embedder(empty)


def test_json_has_the_documented_shape(gallery: Gallery) -> None:
    query = query_by_tracklet(gallery, find(gallery, "here", "red"))
    values = json.loads(json.dumps(report.answer_json(search(gallery, query, 2, GalleryFilter()))))
    assert values.keys() == {"query", "model", "matches"}
    assert values["model"]["name"] == "colour_stripes"
    assert "stand-in" in values["model"]["note"]
    assert values["query"]["filter"]["left_out"]["camera"] == "here"
    for rank, match in enumerate(values["matches"], start=1):
        assert match.keys() == {"rank", "tracklet", "camera", "start", "end", "similarity", "thumbnail"}
        assert match["rank"] == rank
        assert re.fullmatch(r"1970-01-01T00:18:\d\d\.\d{3}Z", match["start"])
        assert Path(match["thumbnail"]).is_file()


def test_the_page_is_self_contained_and_escapes_names(gallery: Gallery, tmp_path: Path, scenes: Any) -> None:
    evil = "<script>alert(1)</script>"
    other = make_scene(tmp_path, "evil", THERE, 45)
    ingest(gallery, [SourceSpec(evil, str(other.video), 2000.0)], settings(other))
    out = tmp_path / "page.html"
    report.write_html(
        search(gallery, query_by_tracklet(gallery, find(gallery, "here", "red")), 6, GalleryFilter()), out
    )
    page = out.read_text(encoding="utf-8")
    assert evil not in page
    assert "&lt;script&gt;" in page
    assert not re.search(r"(src|href)=\"(?!data:|#)", page)
    assert page.count('<li id="match-') == 6
    assert "Fallback model" in page
    assert 'class="mark query"' in page


def test_an_empty_answer_is_a_page_too(gallery: Gallery, tmp_path: Path) -> None:
    query = query_by_tracklet(gallery, find(gallery, "here", "red"))
    report.write_html(search(gallery, query, 6, GalleryFilter(end=10.0)), tmp_path / "page.html")
    assert "No tracklet in the gallery passes" in (tmp_path / "page.html").read_text()


def test_iou() -> None:
    boxes = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30]], np.float32)
    np.testing.assert_allclose(box_iou(boxes[:1], boxes), [[1, 1 / 3, 0]], atol=1e-6)
