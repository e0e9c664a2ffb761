from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from tiny_pack import file_hashes

from pipeline.hooks import Hooks
from synthetic.frames import LEAST_VISIBLE, SMALLEST_PX, FramePlan, write_frames

pytestmark = pytest.mark.usefixtures("renderer")  # skips where there is no OpenGL
PLAN = FramePlan(frames=6, fewest=2, most=4, sizes=((320, 180), (200, 160)), seed=3)


@pytest.fixture(scope="module")
def rendered(pack: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("frames") / "set"
    assert write_frames(pack, folder, PLAN, Hooks(), workers=1) == (6, 6, 6)
    return folder


def test_the_layout_is_what_yolo_trainers_read(rendered: Path) -> None:
    assert (
        rendered / "data.yaml"
    ).read_text() == "train: images/train\nval: images/val\nnames:\n  0: person\n"
    images = sorted((rendered / "images").rglob("*.jpg"))
    assert len(images) == 6
    boxes = 0
    for image in images:
        height, width = cv2.imread(str(image)).shape[:2]
        assert (width, height) in PLAN.sizes
        label = rendered / "labels" / image.parent.name / f"{image.stem}.txt"
        rows = np.array([line.split() for line in label.read_text().splitlines()], float).reshape(-1, 5)
        boxes += len(rows)
        assert len(rows) <= 4
        assert (rows[:, 0] == 0).all()
        low, high = rows[:, 1:3] - rows[:, 3:5] / 2, rows[:, 1:3] + rows[:, 3:5] / 2
        assert (low > -1e-6).all()
        assert (high < 1 + 1e-6).all()
        assert (rows[:, 4] * height > SMALLEST_PX - 0.01).all()
    assert boxes >= 6
    assert 0 < LEAST_VISIBLE < 1


def test_the_same_seed_gives_the_same_files_and_shards_are_kept(
    rendered: Path, pack: Path, tmp_path: Path
) -> None:
    write_frames(pack, tmp_path / "again", PLAN, Hooks(), workers=1)
    assert file_hashes(tmp_path / "again") == file_hashes(rendered)
    assert write_frames(pack, tmp_path / "again", PLAN, Hooks(), workers=1) == (0, 6, 6)
    with pytest.raises(ValueError, match="another plan"):
        write_frames(pack, tmp_path / "again", FramePlan(frames=7), Hooks())


def test_validation_is_of_other_sites_and_people() -> None:
    plan = FramePlan(frames=410, val_share=0.2)
    splits = [plan.split(shard) for shard in range(len(plan.shard_frames))]
    assert splits == ["train"] * 9 + ["val"] * 2
    assert sum(plan.shard_frames) == 410
    assert {FramePlan(frames=80, val_share=0).split(shard) for shard in range(2)} == {"train"}
    assert FramePlan(frames=9).split(0) == "train", "with one shard there is nothing to hold out"


@pytest.mark.parametrize(
    "wrong",
    [
        {"frames": 0},
        {"frames": 1, "most": 99},
        {"frames": 1, "sizes": ((33, 20),)},
        {"frames": 1, "val_share": 1},
    ],
)
def test_plans_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"frame|people|sides|val_share"):
        FramePlan(**wrong)


def test_the_command_line_renders_frames_and_a_sheet_of_them(
    pack: Path, tmp_path: Path, run_cli: Any
) -> None:
    arguments = ["synthesize", "frames", "--assets", str(pack), "--output", str(tmp_path / "out")]
    done = run_cli(*arguments, "--frames", "4", "--most", "3", "--workers", "1")
    assert done.returncode == 0, done.stderr
    assert "4 rendered now" in done.stdout
    sheet = cv2.imread(str(tmp_path / "out" / "contact-sheet.jpg"))
    assert sheet.shape[1] == 3 * (480 + 6)
    wrong = run_cli(*arguments, "--fewest", "4", "--most", "3")
    assert wrong.returncode == 2
    assert "0 to 24" in wrong.stderr
