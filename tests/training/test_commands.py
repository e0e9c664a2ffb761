"""`train` as a user runs it: a tiny network on tiny crops, stopped, resumed, evaluated, and used."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from models.checkpoint import read_metadata
from training.recipe import Recipe

ROOT = Path(__file__).resolve().parents[2]
Cli = Callable[..., subprocess.CompletedProcess[str]]


ONE_THREAD = {"OMP_NUM_THREADS": "1"}  # more cost a tiny network more than they save


@pytest.fixture
def config(recipe: Recipe, tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(recipe.model_dump(mode="json")))
    return path


def test_trains_evaluates_resumes_and_leaves_weights_that_embed(
    run_cli: Cli, config: Path, crops_folder: Path, tmp_path: Path
) -> None:
    tested = tmp_path / "tested"
    tested.mkdir()
    for name in ("bbox_train", "bbox_test"):
        (tested / name).symlink_to(crops_folder / "bbox_train")
    command = (
        "train", "--data", f"synthetic={crops_folder}", "--output", tmp_path / "run", "--config", config,
        "--set", "evaluate_every=4", "--evaluate", f"synthetic={tested}", "--cache", tmp_path / "cache",
        "--device", "cpu",
    )  # fmt: skip
    stopped = run_cli(*command, "--minutes", 0, env=ONE_THREAD)
    assert stopped.returncode == 75, stopped.stderr
    assert stopped.stdout.startswith("1 of 8 steps")
    assert "run the same command again to go on" in stopped.stdout
    done = run_cli(*command, env=ONE_THREAD)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("8 of 8 steps")
    assert "6 identities, 3 cameras, 18 tracklets, 90 crops" in done.stderr
    run = tmp_path / "run"
    with (run / "evaluations.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["step"], row["height"]) for row in rows] == [("4", "32"), ("8", "48")]
    assert all(0 <= float(row["mAP"]) <= 1 for row in rows)
    assert list((run / "tensorboard").glob("events*"))
    assert len(list((tmp_path / "cache").glob("crops_48x16_*.npy"))) == 1
    assert read_metadata(run / "model.safetensors")["training"]["steps"] == 8
    measured = run_cli(
        "evaluate", "--dataset", "synthetic", "--root", tested, "--weights", run / "model.safetensors",
        "--device", "cpu", "--json", env=ONE_THREAD,
    )  # fmt: skip
    assert measured.returncode == 0, measured.stderr
    assert 0 <= json.loads(measured.stdout)["rank1"] <= 1


def test_a_teacher_network_and_several_data_sets(
    run_cli: Cli, config: Path, crops_folder: Path, tmp_path: Path
) -> None:
    done = run_cli(
        "train", "--data", f"synthetic={crops_folder}", "--data", f"synthetic={crops_folder}", "--output",
        tmp_path / "run", "--config", config, "--set", "losses.relational=1", "--set", "losses.direct=1",
        "--teacher", "colour_stripes", "--device", "cpu", "--no-tensorboard", env=ONE_THREAD,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "12 identities, 6 cameras" in done.stderr
    assert len(list((tmp_path / "run").glob("teacher_colour_stripes_*.npy"))) == 1
    assert not (tmp_path / "run" / "tensorboard").exists()


def test_an_interrupt_saves_and_says_how_to_go_on(config: Path, crops_folder: Path, tmp_path: Path) -> None:
    command = [
        sys.executable, str(ROOT / "run_pipeline.py"), "train", "--data", f"synthetic={crops_folder}",
        "--output", str(tmp_path / "run"), "--config", str(config), "--set", "stages.0.steps=100000",
        "--set", "log_every=1", "--set", "workers=1", "--device", "cpu", "--no-tensorboard",
    ]  # fmt: skip
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, process_group=0, env={**os.environ, **ONE_THREAD}
    )
    log = tmp_path / "run" / "log.csv"
    try:
        for _ in range(1200):
            if process.poll() is not None or (log.exists() and len(log.read_text().splitlines()) > 3):
                break
            time.sleep(0.1)
        assert process.poll() is None
        os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C in a terminal: the loading process gets it, too
        _, stderr = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 1
    assert stderr.strip().splitlines()[-1] == "retrace: interrupted; run the same command again to go on"
    assert "Traceback" not in stderr
    assert (tmp_path / "run" / "checkpoint.pt").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--data", "synthetic"), "--data takes NAME=ROOT or NAME=ROOT?split=2&holdout=50, got 'synthetic'"),
        (("--data", "nothing=."), "no data set named 'nothing'"),
        (("--init", "a.pth", "--init-from", "b.safetensors"), "not with both"),
        (("--teacher-weights", "a.xml"), "--teacher-weights belongs to --teacher NAME"),
        (("--init", "absent.pth"), "no weights at absent.pth"),
        (("--set", "losses.direct=1"), "give --teacher"),
        (("--teacher", "colour_stripes"), "use no teacher"),
        (("--set", "stages.0.identities=7"), "a batch takes 7 identities and the training data has 6"),
        (("--set", "rate=1"), "rate: unknown key"),
        (("--config", "absent.yaml"), "cannot read the configuration absent.yaml"),
    ],
)
def test_wrong_input_is_one_line(
    arguments: tuple[str, ...], message: str, config: Path, crops_folder: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    from run_pipeline import main

    given = {"--data": f"synthetic={crops_folder}", "--config": str(config)}
    given = {flag: value for flag, value in given.items() if flag not in arguments}
    flat = [part for pair in given.items() for part in pair]
    code = main(
        ["train", "--output", str(tmp_path / "run"), *flat, *arguments, "--device", "cpu", "--no-tensorboard"]
    )
    error = capsys.readouterr().err.strip().splitlines()
    assert code == 2
    assert error[-1].startswith("retrace: ")
    assert message in error[-1]
