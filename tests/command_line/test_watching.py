"""The watch list on the command line, as a user runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import pytest

import run_pipeline
from pipeline.embedding import build_embedder
from pipeline.plugins import PluginSettings
from storage.gallery import Gallery
from tests.alerts.people import picture, store

Cli = Callable[..., subprocess.CompletedProcess[str]]
TOKEN = "https://hooks.example.com/services/T0/s3cr3t-t0ken?key=s3cr3t"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with Gallery.open(tmp_path / "g", create=True) as gallery:
        store(gallery, build_embedder(PluginSettings(name="colour_stripes")), "red", "blue", "red")
    return tmp_path / "g"


def test_a_watch_from_adding_to_removing(run_cli: Cli, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "red.jpg").write_bytes(picture("red", 5))
    added = run_cli(
        "watch", "add", "--gallery", folder, "--name", "Jörg", "--tracklet", 1, 3,
        "--image", tmp_path / "red.jpg",
        "--threshold", 0.8, "--camera", "door", "--hours", "mon-fri 22:00-06:00", "--webhook", TOKEN,
        "--secret-env", "HOOK_KEY",
    )  # fmt: skip
    assert added.returncode == 0, added.stderr
    assert added.stdout == "Watch 1 looks out for Jörg.\n"

    listed = run_cli("watch", "list", "--gallery", folder, "--json")
    (watch,) = json.loads(listed.stdout)
    assert watch.pop("created").endswith("Z")
    assert watch == {
        "id": 1, "name": "Jörg", "enabled": True, "threshold": 0.8, "tracklets": [1, 3], "pictures": 1,
        "cameras": ["door"], "hours": ["mon-fri 22:00-06:00"], "webhook": "https://hooks.example.com/…",
        "secret_env": "HOOK_KEY",
    }  # fmt: skip
    table = run_cli("watch", "list", "--gallery", folder).stdout
    assert "https://hooks.example.com/…" in table
    assert "s3cr3t" not in table + added.stdout + added.stderr + listed.stdout

    with Gallery.open(folder) as gallery:
        (stored,) = gallery.watching.watches()
        assert cv2.imdecode(_bytes(stored.examples[-1].crop), cv2.IMREAD_COLOR).shape == (96, 48, 3)
        assert stored.webhook == TOKEN
        cursor, _, _ = gallery.watching.unmatched_embeddings(10)
        gallery.watching.record_alerts(cursor, [(1, 2, 0.91), (1, 3, 0.85)], 1000.0)

    alerts = json.loads(run_cli("alerts", "--gallery", folder, "--json").stdout)
    assert [(a["alert"], a["watch"], a["tracklet"], a["similarity"], a["status"]) for a in alerts] == [
        (1, "Jörg", 2, 0.91, "pending"),
        (2, "Jörg", 3, 0.85, "pending"),
    ]
    assert "s3cr3t" not in json.dumps(alerts)
    assert "0.850" in run_cli("alerts", "--gallery", folder, "--after", 1).stdout

    assert run_cli("watch", "disable", 1, "--gallery", folder).returncode == 0
    assert "False" in run_cli("watch", "list", "--gallery", folder).stdout
    assert run_cli("watch", "enable", 1, "--gallery", folder).returncode == 0
    assert run_cli("watch", "remove", 1, "--gallery", folder).returncode == 0
    with Gallery.open(folder, read_only=True) as gallery:
        removed, enabled, disabled, begun = gallery.audit.entries()
    assert [entry.action for entry in (begun, disabled, enabled, removed)] == [
        "watch added", "watch disabled", "watch enabled", "watch removed",
    ]  # fmt: skip
    assert begun.subject == {
        "watch": 1, "name": "Jörg", "threshold": 0.8, "tracklets": [1, 3], "images": ["red.jpg"],
        "cameras": ["door"], "hours": ["mon-fri 22:00-06:00"], "webhook": "https://hooks.example.com/…",
    }  # fmt: skip
    assert all(entry.subject["watch"] == 1 for entry in (disabled, enabled, removed))
    assert json.loads(run_cli("alerts", "--gallery", folder, "--json").stdout) == []


def _bytes(crop: bytes | None) -> cv2.typing.MatLike:
    import numpy as np

    assert crop is not None
    return np.frombuffer(crop, np.uint8)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--threshold", "0.5"], "--tracklet ID or --image FILE"),
        (["--threshold", "0.5", "--tracklet", "99"], "99"),
        (["--threshold", "2", "--tracklet", "1"], "threshold"),
        (
            ["--threshold", "0.5", "--tracklet", "1", "--webhook", "ftp://s3cr3t"],
            "a webhook must be an address",
        ),
        (
            ["--threshold", "0.5", "--tracklet", "1", "--webhook", "https://u:s3cr3t@h/"],
            "a webhook must not hold",
        ),
        (["--threshold", "0.5", "--tracklet", "1", "--hours", "noon"], "noon"),
        (["--threshold", "0.5", "--tracklet", "1", "--secret-env", "KEY"], "--webhook"),
        (["--threshold", "0.5", "--tracklet", "1", "--box", "1,2,3,4"], "--box belongs to --image"),
    ],
)
def test_wrong_input_is_one_line_and_adds_nothing(
    capsys: pytest.CaptureFixture[str], folder: Path, arguments: list[str], words: str
) -> None:
    assert run_pipeline.main(["watch", "add", "--gallery", str(folder), "--name", "x", *arguments]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert len(said.splitlines()) == 1
    assert "s3cr3t" not in said
    with Gallery.open(folder, read_only=True) as gallery:
        assert gallery.watching.watches() == []


def test_following_prints_new_alerts_as_they_come(folder: Path) -> None:
    from storage.watch_records import NewWatch

    root = Path(__file__).resolve().parents[2]
    with Gallery.open(folder) as gallery:
        watch = gallery.watching.add_watch(NewWatch("red", 0.9, tracklets=(1,)))
        process = subprocess.Popen(
            [sys.executable, str(root / "run_pipeline.py"), "alerts", "--gallery", str(folder), "--json",
             "--follow"],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stdout is not None
        try:
            cursor, _, _ = gallery.watching.unmatched_embeddings(10)
            gallery.watching.record_alerts(cursor, [(watch, 2, 0.91)], 1000.0)
            assert json.loads(process.stdout.readline())["tracklet"] == 2
            gallery.watching.record_alerts(cursor, [(watch, 3, 0.92)], 1000.0)
            assert json.loads(process.stdout.readline())["tracklet"] == 3
        finally:
            process.kill()
            process.wait(10)
            process.stdout.close()
