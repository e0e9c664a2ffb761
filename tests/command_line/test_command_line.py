"""The command line as a contract: names, JSON, exit codes, one-line errors."""

from __future__ import annotations

import csv
import json
import subprocess
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from painted import BLACK, BLUE, GREEN, RED, Painted, Scene, make_scene

import run_pipeline
from pipeline.arguments import spread_values

Cli = Callable[..., "subprocess.CompletedProcess[str]"]
PEOPLE = (Painted(RED, BLUE, 10, 40), Painted(GREEN, BLACK, 250, 60, dx=-2))


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return make_scene(tmp_path, "a b", PEOPLE, 40)


def ingest(run_cli: Cli, gallery: Path, scene: Scene, *more: object) -> subprocess.CompletedProcess[str]:
    return run_cli(
        "ingest", "--gallery", gallery, "--source", f"Eingang Süd={scene.video}",
        "--start", "Eingang Süd=2024-05-01T14:00+02:00",
        "--set", "embedder.name=colour_stripes", "detector.name=mot_file",
        f"detector.path={scene.boxes}", *more,
    )  # fmt: skip


def test_the_whole_story(run_cli: Cli, scene: Scene, tmp_path: Path) -> None:
    gallery = tmp_path / "my gallery"
    done = ingest(run_cli, gallery, scene, "--json")
    assert done.returncode == 0, done.stderr
    counts = json.loads(done.stdout)
    assert (counts["frames"], counts["tracklets"], counts["rejected"]) == (40, 2, {})
    assert "note: colour_stripes compares clothing colours only" in done.stderr
    lines = done.stderr.splitlines()
    assert lines, "the notes are told"
    assert all(line.startswith("note: ") for line in lines), "no progress bars where there is no terminal"

    again = ingest(run_cli, gallery, scene)
    assert again.returncode == 0
    assert "already ingested" in again.stdout + again.stderr

    listed = json.loads(run_cli("tracklets", "--gallery", gallery, "--json").stdout)
    assert [set(row) for row in listed] == [
        {"id", "camera", "source", "start", "end", "num_frames", "quality", "track_id", "thumbnail"}
    ] * 2
    assert listed[0]["camera"] == "Eingang Süd"
    assert listed[0]["start"] == "2024-05-01T12:00:00.000Z"
    assert Path(listed[0]["thumbnail"]).is_file()

    other = run_cli(
        "ingest", "--gallery", gallery, "--source",
        f"yard={make_scene(tmp_path, 'yard', PEOPLE, 45).video}", "--start", "yard=2024-05-01T12:05",
        "--set", "embedder.name=colour_stripes", "detector.name=mot_file", f"detector.path={scene.boxes}",
    )  # fmt: skip
    assert other.returncode == 0, other.stderr
    page = tmp_path / "answer.html"
    query = run_cli(
        "query", "--gallery", gallery, "--tracklet", listed[0]["id"], "--json", "--html", page, "--top-k", 5
    )
    answer = json.loads(query.stdout)
    assert {match["camera"] for match in answer["matches"]} == {"yard"}
    assert answer["model"]["note"]
    assert page.is_file()
    table = run_cli("query", "--gallery", gallery, "--tracklet", listed[0]["id"])
    assert "yard" in table.stdout
    assert "stand-in" in table.stderr

    assert (
        run_cli("tracklets", "--gallery", gallery, "--camera", "yard", "--to", "2024-05-01T12:04")
        .stdout.strip()
        .endswith("0 tracklets")
    )

    reindexed = run_cli(
        "reindex",
        "--gallery",
        gallery,
        "--embedder",
        "colour_stripes",
        "--set",
        "embedder.stripes=3",
        "--json",
    )
    assert reindexed.returncode == 0, reindexed.stderr
    assert json.loads(reindexed.stdout)["embedded"] == 4
    status = json.loads(run_cli("reindex", "--gallery", gallery, "--status", "--json").stdout)
    assert [row["status"] for row in status] == ["previous", "current"]
    # A query, and an ingest that names no embedder, use the model the gallery has.
    assert (
        json.loads(run_cli("query", "--gallery", gallery, "--tracklet", 1, "--json").stdout)["model"][
            "dimension"
        ]
        == 132
    )
    third = make_scene(tmp_path, "third", PEOPLE, 42)
    more = run_cli(
        "ingest",
        "--gallery",
        gallery,
        "--source",
        f"third={third.video}",
        "--set",
        "detector.name=mot_file",
        f"detector.path={third.boxes}",
    )
    assert more.returncode == 0, more.stderr
    assert "no start time" in more.stderr
    rollback = run_cli("reindex", "--gallery", gallery, "--rollback")
    assert rollback.returncode == 0
    assert "2 tracklets have no embedding" in rollback.stderr

    information = json.loads(run_cli("info", "--gallery", gallery, "--json").stdout)["gallery"]
    assert information["tracklets"] == 6
    assert {row["camera"] for row in information["camera_list"]} == {"Eingang Süd", "yard", "third"}


def test_export_formats_agree_with_the_truth(run_cli: Cli, scene: Scene, tmp_path: Path) -> None:
    assert ingest(run_cli, tmp_path / "g", scene).returncode == 0
    for form in ("mot", "json", "csv"):
        done = run_cli(
            "export", "--gallery", tmp_path / "g", "--format", form, "--out", tmp_path / f"out.{form}"
        )
        assert done.returncode == 0, done.stderr
    ours = np.loadtxt(tmp_path / "out.mot", delimiter=",")
    truth = np.loadtxt(scene.boxes, delimiter=",")
    order = np.lexsort((truth[:, 2], truth[:, 0]))
    np.testing.assert_allclose(
        ours[np.lexsort((ours[:, 2], ours[:, 0]))][:, [0, 2, 3, 4, 5]],
        truth[order][:, [0, 2, 3, 4, 5]],
        atol=0.02,
    )
    objects = json.loads((tmp_path / "out.json").read_text())
    assert [len(o["xyxy"]) for o in objects] == [40, 40]
    with (tmp_path / "out.csv").open(newline="") as file:
        assert [row["num_frames"] for row in csv.DictReader(file)] == ["40", "40"]


def test_mot_of_several_sources_is_refused(run_cli: Cli, scene: Scene, tmp_path: Path) -> None:
    ingest(run_cli, tmp_path / "g", scene)
    other = make_scene(tmp_path, "other", PEOPLE, 30)
    run_cli(
        "ingest",
        "--gallery",
        tmp_path / "g",
        "--source",
        f"b={other.video}",
        "--set",
        "embedder.name=colour_stripes",
        "detector.name=mot_file",
        f"detector.path={other.boxes}",
    )
    out = tmp_path / "o.txt"
    refused = run_cli("export", "--gallery", tmp_path / "g", "--format", "mot", "--out", out)
    assert refused.returncode == 2
    assert "choose one with --camera" in refused.stderr
    assert not out.exists()
    assert (
        run_cli(
            "export", "--gallery", tmp_path / "g", "--format", "mot", "--out", out, "--camera", "b"
        ).returncode
        == 0
    )


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["tracklets", "--gallery", "nowhere"], "nowhere"),
        (["query", "--gallery", "nowhere", "--tracklet", "1"], "nowhere"),
        (["query", "--gallery", "nowhere"], "one of --tracklet, --image and --video"),
        (
            ["query", "--gallery", "nowhere", "--tracklet", "1", "--image", "a.jpg"],
            "one of --tracklet, --image and --video",
        ),
        (["query", "--gallery", "nowhere", "--image", "a.jpg", "--box", "1,2,3"], "x1,y1,x2,y2"),
        (["query", "--gallery", "nowhere", "--image", "a.jpg", "--box", "9,9,1,1"], "is empty"),
        (
            ["query", "--gallery", "nowhere", "--video", "a.mp4", "--box", "1,1,9,9"],
            "--at belongs to --video",
        ),
        (["ingest", "--gallery", "g", "--source", "no-equals-sign"], "NAME=URI"),
        (["ingest", "--gallery", "g", "--source", "a=absent.mp4"], "absent.mp4 does not exist"),
        (["ingest", "--gallery", "g", "--source", "a=x.mp4", "--start", "b=2024-01-01"], "camera 'b'"),
        (
            ["ingest", "--gallery", "g", "--source", "a=x.mp4", "--start", "a=yesterday"],
            "not an ISO 8601 time",
        ),
        (
            ["ingest", "--gallery", "g", "--source", "a=x.mp4", "--set", "tracklets.colour=blue"],
            "unknown key",
        ),
        (
            ["ingest", "--gallery", "g", "--source", "a=x.mp4", "--embedder", "magic"],
            "no embedder named 'magic'",
        ),
        (["reindex", "--gallery", "nowhere"], "one of --embedder NAME, --status and --rollback"),
        (["info", "--model", "resnet18"], "ste_nvan"),
        (["weights", "show", "unheard-of"], "unheard-of"),
        (["export", "--gallery", "nowhere", "--format", "xml", "--out", "o"], "xml"),
        (["nonsense"], "nonsense"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(
    arguments: list[str],
    expected: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_pipeline.main(arguments) == 2
    error = capsys.readouterr().err.strip()
    assert expected in error
    assert len(error.splitlines()) == 1
    assert error.startswith("retrace: ")


def test_debug_shows_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_pipeline.main(["--debug", "tracklets", "--gallery", "/nowhere"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_info_counts_the_multiply_adds(run_cli: Cli) -> None:
    facts = json.loads(run_cli("info", "--model", "ste_nvan", "--json").stdout)["model"]
    assert facts["multiply_adds"] == pytest.approx(17.67e9, rel=5e-4)
    assert "17672699904" in run_cli("info", "--model", "ste_nvan").stdout


def test_values_after_one_flag_are_values_of_that_flag() -> None:
    assert spread_values(["query", "--image", "a", "b", "--top-k", "3", "--camera", "x", "y"]) == [
        "query", "--image", "a", "--image", "b", "--top-k", "3", "--camera", "x", "--camera", "y",
    ]  # fmt: skip


def test_help_names_every_command() -> None:
    import io
    from contextlib import redirect_stdout

    text = io.StringIO()
    with redirect_stdout(text):
        run_pipeline.main(["--help"])
    for command in ("ingest", "query", "tracklets", "reindex", "export", "weights", "info", "demo"):
        assert command in text.getvalue()


def test_a_terminal_sees_progress_per_source(scene: Scene, tmp_path: Path) -> None:
    """Standard error is a pseudo-terminal here."""
    import os
    import pty
    import sys

    terminal, end = pty.openpty()
    arguments = [
        sys.executable, str(Path(run_pipeline.__file__)), "ingest", "--gallery", str(tmp_path / "g"),
        "--source", f"lobby={scene.video}", "--start", "lobby=2024-05-01",
        "--set", "embedder.name=colour_stripes", "detector.name=mot_file",
        f"detector.path={scene.boxes}",
    ]  # fmt: skip
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=end, env=environment)
    os.close(end)
    shown = b""
    try:
        while chunk := os.read(terminal, 65536):
            shown += chunk
    except OSError:  # the other end of a pseudo-terminal is closed
        pass
    assert process.stdout is not None
    assert b"2 tracklets added" in process.stdout.read()
    process.stdout.close()
    assert process.wait() == 0
    os.close(terminal)
    for text in ("lobby", "frames/s", "x real time", "tracklets"):
        assert text in shown.decode()


def test_the_authors_checkpoint_of_every_variant_loads_by_its_name(
    run_cli: Cli, scene: Scene, tmp_path: Path
) -> None:
    """As the authors publish it: a pickle of tensors with `module.` before every key and a classifier."""
    import torch

    from models.checkpoint import to_official
    from models.ste_nvan import build

    assert ingest(run_cli, tmp_path / "g", scene).returncode == 0
    model = build("ste_nvan", generator=torch.Generator().manual_seed(0))
    state = {f"module.{key}": value for key, value in to_official(model).items()}
    torch.save({**state, "module.classifier.weight": torch.zeros(625, 2048)}, tmp_path / "ckpt.pth")
    done = run_cli(
        "reindex", "--gallery", tmp_path / "g", "--embedder", "ste_nvan",
        "--embedder-weights", tmp_path / "ckpt.pth",
        "--set", "embedder.half=false", "--device", "cpu", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    status = json.loads(run_cli("reindex", "--gallery", tmp_path / "g", "--status", "--json").stdout)
    current = next(row for row in status if row["status"] == "current")
    assert current["embedder"]["name"] == "ste_nvan"
    assert current["embedder"]["weights_sha256"] == sha256((tmp_path / "ckpt.pth").read_bytes()).hexdigest()
    answer = json.loads(run_cli("query", "--gallery", tmp_path / "g", "--tracklet", 1, "--json").stdout)
    assert answer["model"]["note"] is None
    assert (
        run_cli(
            "reindex", "--gallery", tmp_path / "g", "--embedder", "nvan", "--device", "cuda:93"
        ).returncode
        == 2
    )
