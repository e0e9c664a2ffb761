import itertools
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from tiny_pack import file_hashes

from evaluation.datasets import load
from pipeline.hooks import Hooks
from synthetic.assets import read_cards
from synthetic.cameras import Camera
from synthetic.contact_sheet import tracklet_rows, write_contact_sheet
from synthetic.dressing import Wardrobe
from synthetic.mesh import box
from synthetic.optics import Optics
from synthetic.people import population
from synthetic.renderer import Light, Renderer, SceneryPart
from synthetic.sightings import visible_share
from synthetic.sites import Site
from synthetic.tracklets import LEAST_VISIBLE, TrackletPlan, render_tracklet, write_tracklets

pytestmark = pytest.mark.usefixtures("renderer")  # skips where there is no OpenGL
PLAN = TrackletPlan(people=3, cameras=3, seen_by=2, frames=8, seed=4)


class _Steps(Hooks):
    def __init__(self) -> None:
        self.steps: list[tuple[int, int | None]] = []

    def on_step(self, what: str, done: int, total: int | None) -> None:
        self.steps.append((done, total))


@pytest.fixture(scope="module")
def rendered(pack: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rendered") / "tracklets"
    steps = _Steps()
    assert write_tracklets(pack, folder, PLAN, steps, workers=1) == (48, 48, PLAN.num_crops)
    assert steps.steps == [(0, 48), (48, 48)]
    return folder


def test_the_layout_is_that_of_mars(rendered: Path) -> None:
    dataset = load("synthetic", rendered)
    assert {t.pid for t in dataset.train} == {1, 2, 3}
    assert len(dataset.train) == 6
    assert all(len(t.frames) == 8 for t in dataset.train)
    assert all(len({t.camid for t in dataset.train if t.pid == pid}) == 2 for pid in (1, 2, 3))
    first = dataset.train[0].frames[0]
    assert first.name.startswith("0001C")
    assert first.name.endswith("T0001F001.jpg")
    assert cv2.imread(str(first)).shape == (256, 128, 3)


def test_crops_show_somebody_who_moves(rendered: Path) -> None:
    for tracklet in load("synthetic", rendered).train:
        crops = [cv2.imread(str(path)).astype(np.float32) for path in tracklet.frames]
        assert all(crop.std() > 8 for crop in crops)
        changes = [np.abs(a - b).mean() for a, b in itertools.pairwise(crops)]
        assert min(changes) > 0.5


def test_any_number_of_processes_gives_the_same_files(pack: Path, tmp_path: Path) -> None:
    plan = TrackletPlan(people=41, cameras=2, seen_by=2, frames=1, seed=2)  # two shards
    write_tracklets(pack, tmp_path / "one", plan, Hooks(), workers=1)
    steps = _Steps()
    assert write_tracklets(pack, tmp_path / "two", plan, steps, workers=2, minutes=0) == (0, 0, 82)
    assert write_tracklets(pack, tmp_path / "two", plan, steps, workers=2) == (82, 82, 82)
    assert steps.steps[-1] == (82, 82)
    assert file_hashes(tmp_path / "one") == file_hashes(tmp_path / "two")


def test_the_same_seed_gives_the_same_files_and_a_stopped_rendering_goes_on(
    rendered: Path, pack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Two shards, as a test cannot wait for the usual 40 people.
    monkeypatch.setattr("synthetic.tracklets._SHARD_PEOPLE", 2)
    plan = TrackletPlan(people=3, cameras=2, seen_by=2, frames=2, seed=9)
    for name in ("one", "again"):
        write_tracklets(pack, tmp_path / name, plan, Hooks(), workers=1)
    assert file_hashes(tmp_path / "one") == file_hashes(tmp_path / "again")
    # Begun again after a stop in the second shard: the first is left alone, the rest is made good.
    lost = next((tmp_path / "again" / "shards").glob("*1"))
    lost.unlink()
    for crop in (tmp_path / "again" / "bbox_train" / "0003").iterdir():
        crop.unlink()
    assert write_tracklets(pack, tmp_path / "again", plan, Hooks(), workers=1).now == 4
    assert file_hashes(tmp_path / "one") == file_hashes(tmp_path / "again")
    other = file_hashes(rendered)
    assert other.keys() != file_hashes(tmp_path / "one").keys()


def test_another_plan_in_the_same_folder_is_refused(rendered: Path, pack: Path) -> None:
    with pytest.raises(ValueError, match="another plan"):
        write_tracklets(pack, rendered, TrackletPlan(people=4, cameras=3, seen_by=2), Hooks())


def test_faces_kept_for_testing_are_in_no_training_folder(pack: Path, tmp_path: Path) -> None:
    plan = TrackletPlan(people=6, cameras=2, seen_by=2, frames=1, seed=1, test_share=0.34)
    write_tracklets(pack, tmp_path / "split", plan, Hooks(), workers=1)
    rows = [line.split(",") for line in (tmp_path / "split" / "people.csv").read_text().splitlines()[1:]]
    bases = {split: {row[3] for row in rows if row[1] == split} for split in ("train", "test")}
    assert bases["train"]
    assert bases["test"]
    assert not bases["train"] & bases["test"]
    for row in rows:
        assert (tmp_path / "split" / f"bbox_{row[1]}" / f"{int(row[0]):04d}").is_dir()


def test_a_contact_sheet_has_a_row_for_each_person(rendered: Path, tmp_path: Path) -> None:
    write_contact_sheet(
        tracklet_rows(rendered / "bbox_train", people=5, per_camera=2), tmp_path / "sheet.png"
    )
    sheet = cv2.imread(str(tmp_path / "sheet.png"))
    assert sheet.shape[0] == 3 * (128 + 6)
    with pytest.raises(ValueError, match="nothing to show"):
        write_contact_sheet(tracklet_rows(tmp_path / "nothing"), tmp_path / "sheet.png")


def test_the_command_line_renders_and_explains(pack: Path, tmp_path: Path, run_cli: Any) -> None:
    arguments = ["synthesize", "tracklets", "--assets", str(pack), "--output", str(tmp_path / "out")]
    done = run_cli(*arguments, "--people", "2", "--cameras", "2", "--seen-by", "2", "--frames", "1")
    assert done.returncode == 0, done.stderr
    assert "4 of 4 crops of 2 people" in done.stdout
    assert (tmp_path / "out" / "contact-sheet.jpg").is_file()
    wrong = run_cli(*arguments[:3], str(tmp_path), *arguments[4:])
    assert wrong.returncode == 2
    assert "no people pack" in wrong.stderr
    wrong = run_cli(*arguments, "--people", "2", "--cameras", "2", "--seen-by", "3")
    assert wrong.returncode == 2
    assert "2 to 2 cameras" in wrong.stderr


def test_plans_out_of_range_are_refused() -> None:
    for wrong in ({"seen_by": 1}, {"cameras": 10}, {"frames": 0}, {"people": 0}):
        with pytest.raises(ValueError, match=r"camera|person"):
            TrackletPlan(**({"people": 5} | wrong))  # type: ignore[arg-type]


def test_the_real_renderer_is_named(renderer: Renderer) -> None:
    assert renderer.device


def test_nobody_is_labelled_who_cannot_be_seen(
    renderer: Renderer, pack: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wall = SceneryPart(box((4, 6, 0.1), (-2.2, 3, 1.5)), 0, np.full(3, 255, np.uint8))
    site = Site(
        Camera((0.0, 3.0, 9.0), (0.0, 1.0, 0.0), 500.0, 480, 270), Optics(),
        Light(np.ones((9, 3), np.float32), np.float32([0, 1, 0]), np.zeros(3, np.float32), 1.0), (wall,),
        np.full((1, 512, 512, 4), 255, np.uint8), np.zeros((2, 4, 3), np.uint8), 0.0, (0.0, 0.0, 0.0, 0.0),
    )  # fmt: skip
    cards = read_cards(pack)
    (person,) = population(cards, 1, np.random.default_rng(0))
    scenery, model = site.build(renderer), Wardrobe(renderer, cards).dress(person)
    shares: list[float] = []

    def watched(*arguments: Any) -> float:
        shares.append(visible_share(*arguments))
        return shares[-1]

    monkeypatch.setattr("synthetic.tracklets.visible_share", watched)
    rng, hidden = np.random.default_rng(1), 0
    for _ in range(12):
        render_tracklet(renderer, site, scenery, [(person, model)], 2, rng)
        assert shares[-1] >= LEAST_VISIBLE
        hidden += sum(share < 0.05 for share in shares)
        shares.clear()
    assert hidden >= 3, "the wall hides half of the place"
    scenery.release()
    model.release()
