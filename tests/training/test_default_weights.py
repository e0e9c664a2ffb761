"""`make_default_weights.sh` as it runs on a machine lent by the hour: in slices, from a pack in pieces."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from tiny_pack import write_tiny_pack

from models.checkpoint import load_model, read_metadata
from synthetic.renderer import Renderer
from training.recipe import Recipe

ROOT = Path(__file__).resolve().parents[2]
TEACHER = ROOT.parent.joinpath(
    "shared", "weights", "reid_openvino", "person-reidentification-retail-0277",
    "person-reidentification-retail-0277.xml",
)  # fmt: skip


def run_script(*options: str, **settings: object) -> subprocess.CompletedProcess[str]:
    """The script with settings as environment variables."""
    return subprocess.run(
        ["bash", ROOT / "training" / "make_default_weights.sh", *options],
        capture_output=True, text=True, check=False, timeout=280,
        env={**os.environ, "OMP_NUM_THREADS": "1", **{key: str(value) for key, value in settings.items()}},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("code", "results", "calls"),
    [
        (0, False, "synthesize train weights"),
        (75, False, "synthesize train"),
        (75, True, "synthesize train weights"),
        (2, True, "synthesize train"),
    ],
)
def test_what_follows_training_by_its_exit_code(tmp_path: Path, code: int, results: bool, calls: str) -> None:
    python, work = tmp_path / "python", tmp_path / "work"
    (work / "synthetic").mkdir(parents=True)
    for name in ("synthetic.safetensors", "synthetic/log.csv"):
        (work / name).write_text("abcdef")
    python.write_text(f'#!/bin/sh\necho "$2" >> {tmp_path}/calls\n[ "$2" != train ] || exit {code}\n')
    python.chmod(0o755)
    place = {"RESULTS": tmp_path / "results"} if results else {}
    done = run_script(ASSETS="pack", WORK=work, PYTHON=python, **place)
    assert done.returncode == code
    assert (tmp_path / "calls").read_text().split() == calls.split()
    assert ("done: " in done.stdout) == (code == 0)
    halves = sorted((tmp_path / "results").glob("synthetic.safetensors.*"))
    assert "".join(half.read_text() for half in halves) == ("abcdef" if code == 75 and results else "")


@pytest.fixture
def pieces(tmp_path: Path) -> Path:
    """What the names of three pieces of a people pack begin with."""
    pack = write_tiny_pack(tmp_path / "pack")
    subprocess.run(["tar", "-czf", "pack.tar.gz", "-C", pack, "."], cwd=tmp_path, check=True)
    subprocess.run(["split", "-n", "3", "-d", "pack.tar.gz", "piece."], cwd=tmp_path, check=True)
    return tmp_path / "piece."


@pytest.fixture
def opengl() -> None:
    """A skip that says what is missing, where nothing can be rendered."""
    try:
        with Renderer():
            pass
    except RuntimeError as error:
        pytest.skip(str(error))


@pytest.fixture
def market(tmp_path: Path) -> Path:
    """Two people of noise, each in two cameras, as crops with an `index.csv`."""
    folder = tmp_path / "market"
    folder.mkdir()
    rng = np.random.default_rng(0)
    with (folder / "index.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["file", "pid", "cam", "frame", "tracklet"])
        for pid in (1, 2):
            for camera in (1, 2):
                name = f"{pid}_{camera}.jpg"
                cv2.imwrite(str(folder / name), rng.integers(0, 256, (64, 32, 3), np.uint8))
                rows.writerow([name, pid, camera, 1, f"{pid}_{camera}"])
    return folder


@pytest.mark.parametrize("taught", [False, True], ids=["alone", "with a teacher"])
def test_renders_trains_in_slices_evaluates_and_leaves_the_weights_in_halves(
    taught: bool, opengl: None, pieces: Path, market: Path, recipe: Recipe, tmp_path: Path
) -> None:
    values = recipe.model_dump(mode="json")
    extra: dict[str, object] = {}
    if taught:
        if not TEACHER.exists():
            pytest.skip(f"the teacher {TEACHER} is not on this machine")
        values["losses"] |= {"relational": 1, "direct": 1}
        extra["TEACHER"] = TEACHER
    config = tmp_path / "tiny.yaml"
    config.write_text(yaml.safe_dump(values))
    name, work, results = ("distilled" if taught else "synthetic"), tmp_path / "work", tmp_path / "results"
    settings = {
        "ASSETS": tmp_path / "unpacked", "PIECES": pieces, "WORK": work, "RESULTS": results, "MARKET": market,
        "CONFIG": config, "PEOPLE": 4, "SEEN_BY": 2, "FRAMES": 2, "PYTHON": sys.executable, **extra,
    }  # fmt: skip
    options = ("--device", "cpu", "--no-tensorboard", "--set", "stages.0.steps=5")
    if not taught:  # it ends before a teacher is asked for
        waiting = run_script(*options, **settings, RENDER_MINUTES=0)
        assert waiting.returncode == 75, waiting.stderr
        assert "0 of 16 crops" in waiting.stdout
    stopped = run_script(*options, **settings, MINUTES=0)
    assert stopped.returncode == 75, stopped.stderr
    assert "16 of 16 crops" in stopped.stdout
    assert "1 of 9 steps" in stopped.stdout
    assert sorted(path.name for path in results.iterdir()) == [
        f"{name}.log.csv", f"{name}.safetensors.00", f"{name}.safetensors.01",
    ]  # fmt: skip
    done = run_script(*options, **settings)
    assert done.returncode == 0, done.stderr
    assert f"done: {work / name}.safetensors" in done.stdout
    assert 0 <= json.loads((results / f"{name}.market1501.json").read_text())["rank1"] <= 1
    whole = tmp_path / "whole.safetensors"
    whole.write_bytes(b"".join(path.read_bytes() for path in sorted(results.glob("*.safetensors.*"))))
    metadata = read_metadata(whole)
    assert metadata["storage"] == "int8"
    assert metadata["training"]["steps"] == metadata["training"]["of_steps"] == 9
    assert (metadata["training"]["teacher"] is not None) == taught
    assert load_model(whole).dimension == 128
