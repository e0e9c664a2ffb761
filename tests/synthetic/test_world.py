import csv
import json
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from evaluation.tracking import read_mot
from pipeline.config import VideoSettings
from pipeline.hooks import Hooks
from pipeline.video import SourceSpec, open_source
from synthetic.assets import panoramas, read_cards
from synthetic.dressing import Wardrobe
from synthetic.filming import Film, changed_windows
from synthetic.renderer import Renderer
from synthetic.sightings import sight
from synthetic.world import LEAST_VISIBLE, World, WorldPlan, plan_world, write_world

pytestmark = pytest.mark.usefixtures("renderer")  # skips where there is no OpenGL
PLAN = WorldPlan(people=3, cameras=2, seconds=26, rate=1, width=256, height=144, seed=5)


@pytest.fixture(scope="module")
def written(pack: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("worlds") / "one"
    assert write_world(pack, folder, PLAN, Hooks()) == 52
    return folder


@pytest.fixture(scope="module")
def world(pack: Path) -> World:
    return plan_world(read_cards(pack), panoramas(pack), PLAN)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def tracks(folder: Path) -> dict[tuple[str, int], int]:
    with (folder / "people.csv").open() as file:
        return {(row["camera"], int(row["track"])): int(row["person"]) for row in csv.DictReader(file)}


def test_the_same_seed_gives_the_same_bytes_and_an_interrupted_run_goes_on(
    written: Path, pack: Path, tmp_path: Path
) -> None:
    again = tmp_path / "again"
    again.mkdir()
    for name, content in contents(written).items():
        if not name.startswith("camera-2") and name != "people.csv":
            (again / name).write_bytes(content)
    assert write_world(pack, again, PLAN, Hooks()) == 26, "camera 1 is there, camera 2 is not"
    assert contents(again) == contents(written)
    assert write_world(pack, again, PLAN, Hooks()) == 0
    with pytest.raises(ValueError, match="another plan"):
        write_world(pack, again, replace(PLAN, seed=6), Hooks())


def test_everybody_is_in_two_cameras_and_never_in_both_at_once(written: Path) -> None:
    seen_by, moments = defaultdict(set), defaultdict(list)
    for (camera, track), person in tracks(written).items():
        seen_by[person].add(camera)
        truth = read_mot(written / f"{camera}.gt.txt")
        moments[person] += [frame for frame, (ids, _) in truth.items() if track in ids]
    assert set(seen_by) == {1, 2, 3}
    assert all(len(cameras) == 2 for cameras in seen_by.values())
    assert all(len(frames) == len(set(frames)) for frames in moments.values())


def test_ground_truth_is_cut_to_the_frame_and_names_every_track(written: Path) -> None:
    for camera in ("camera-1", "camera-2"):
        rows = np.loadtxt(written / f"{camera}.gt.txt", delimiter=",", ndmin=2)
        assert ((rows[:, 0] >= 1) & (rows[:, 0] <= 26)).all()
        assert (rows[:, 2:4] >= 0).all()
        assert (rows[:, 2:4] + rows[:, 4:6] <= [256, 144]).all()
        assert ((rows[:, 8] >= LEAST_VISIBLE) & (rows[:, 8] <= 1)).all()
        whole = rows[(rows[:, 8] > 0.95) & (rows[:, 3] > 0)]
        assert 20 < np.median(whole[:, 5]) < 80, "a fourth to a third of the picture"
        assert {track for name, track in tracks(written) if name == camera} == set(rows[:, 1].astype(int))


def test_the_videos_are_on_one_clock_and_show_the_people_where_the_boxes_are(written: Path) -> None:
    for camera in ("camera-1", "camera-2"):
        source = open_source(
            SourceSpec(camera, str(written / f"{camera}.mp4")), VideoSettings(analysis_fps=None)
        )
        assert (source.start, source.start_from) == (PLAN.start_time, "container")
        frames = [frame.image.astype(np.float32) for frame in source.frames()]
        assert len(frames) == 26
        assert frames[0].shape == (144, 256, 3)
        empty = np.median(frames, axis=0)
        truth = read_mot(written / f"{camera}.gt.txt")
        inside, outside = [], []
        for number, image in enumerate(frames):
            change, covered = np.abs(image - empty).mean(2), np.zeros((144, 256), bool)
            for left, top, right, bottom in truth.get(number, ((), np.zeros((0, 4))))[1].astype(int):
                covered[top:bottom, left:right] = True
            inside += change[covered].tolist()
            outside += change[~covered].tolist()
        assert np.mean(inside) > 4 * np.mean(outside)


def test_cameras_are_told_so_that_what_one_sees_can_be_placed(written: Path, world: World) -> None:
    listed = json.loads((written / "cameras.json").read_text())["cameras"]
    assert [camera["name"] for camera in listed] == ["camera-1", "camera-2"]
    for number, camera in enumerate(listed):
        matrix, lens = np.array(camera["world_to_camera"]), np.array(camera["intrinsics"])
        np.testing.assert_allclose(matrix[:, :3] @ matrix[:, :3].T, np.eye(3), atol=1e-4)
        np.testing.assert_allclose(-matrix[:, :3].T @ matrix[:, 3], camera["position"], atol=1e-3)
        origin = world.placed[number][0]  # of the site: in the middle of the picture, below
        pixel = lens @ matrix @ [origin[0], 0, origin[1], 1]
        x, y = pixel[:2] / pixel[2]
        assert 80 < x < 176
        assert 72 < y < 144
        assert (camera["video"], camera["ground_truth"]) == (
            f"{camera['name']}.mp4",
            f"{camera['name']}.gt.txt",
        )


def test_drawing_only_what_changed_gives_the_whole_picture(pack: Path, world: World) -> None:
    with Renderer(2048) as renderer:
        film, model, site, figures, scenery = _film(renderer, pack, world)
        windows = changed_windows(site.camera, site.light, figures)
        area = sum((right - left) * (bottom - top) for left, top, right, bottom in windows)
        assert 0 < area < 0.6 * 256 * 144
        sun = film._sun(figures)
        whole = renderer.draw(site.camera.view(), site.light, scenery, figures, sun)
        difference = np.abs(film.frame(figures).astype(int) - whole)
        assert difference.mean() < 0.05
        assert (difference > 3).mean() < 0.002
        assert np.abs(film.frame([]).astype(int) - whole).max() > 30, "somebody is there"
        model.release()


def test_a_hidden_person_is_seen_in_part(pack: Path, world: World) -> None:
    with Renderer(64) as renderer:
        _, model, site, (behind, before), scenery = _film(renderer, pack, world)
        alone = sight(renderer, site.camera, scenery, [before])[0]
        assert alone is not None
        assert alone.visibility == 1.0
        assert alone.full == alone.seen
        nearer, farther = sight(renderer, site.camera, scenery, [before, behind])
        assert nearer == alone
        assert farther is not None
        assert farther.visibility < 0.9
        assert farther.full[0] <= farther.seen[0]
        assert farther.full[3] >= farther.seen[3]
        model.release()


def _film(renderer: Renderer, pack: Path, world: World) -> Any:
    """Two figures on a walk of the first camera, one close behind the other as the camera sees them."""
    from synthetic.figures import poses, straight_path
    from synthetic.renderer import Figure

    site, person = world.sites[0], world.people[0]
    site = replace(
        site, light=replace(site.light, sun_colour=np.array([2, 2, 1.8], np.float32)), parts=site.parts[:1]
    )
    scenery = site.build(renderer)
    model = Wardrobe(renderer, read_cards(pack)).dress(person)
    bearing = person.bearing(np.random.default_rng(0))
    figures = []
    for z in (-0.8, 0.6):
        path = straight_path((0.0, z), 0.4, 0.0, np.zeros(1))
        figures.append(Figure(model, poses(person, model.character, bearing, path, np.zeros(1))[0]))
    return Film(renderer, site, scenery), model, site, figures, scenery


@pytest.mark.parametrize(
    "wrong",
    [
        {"cameras": 1},
        {"people": 0},
        {"width": 255},
        {"rate": 0},
        {"seconds": 0},
        {"crf": 60},
        {"start": "soon"},
    ],
)
def test_plans_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"world|sides|video|crf|ISO"):
        replace(PLAN, **wrong)


def test_the_command_line_renders_a_world_and_a_sheet_of_it(pack: Path, tmp_path: Path, run_cli: Any) -> None:
    arguments = ["synthesize", "world", "--assets", str(pack), "--output", str(tmp_path / "out")]
    sizes = ["--people", "2", "--cameras", "2", "--seconds", "20", "--rate", "0.5", "--width", "128"]
    done = run_cli(*arguments, *sizes, "--height", "72")
    assert done.returncode == 0, done.stderr
    assert "20 rendered now" in done.stdout
    sheet = cv2.imread(str(tmp_path / "out" / "contact-sheet.jpg"))
    assert sheet.shape[:2] == (2 * (270 + 6), 4 * (480 + 6))  # a row a camera, four moments
    wrong = run_cli(*arguments, *sizes, "--height", "73")
    assert wrong.returncode == 2
    assert "even sides" in wrong.stderr
