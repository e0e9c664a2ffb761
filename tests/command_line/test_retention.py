"""Retention and erasure on the command line, as a user runs them."""

from __future__ import annotations

import getpass
import io
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import run_pipeline
from pipeline.embedding import build_embedder
from pipeline.plugins import PluginSettings
from pipeline.uploads import Uploads
from storage.case_records import NewExample
from storage.gallery import EVERYTHING, Gallery
from storage.retention import Rule
from tests.alerts.people import picture, store

Cli = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Tracklets 1 to 3, from 1970."""
    with Gallery.open(tmp_path / "g", create=True) as gallery:
        store(gallery, build_embedder(PluginSettings(name="colour_stripes")), "red", "blue", "red")
    return tmp_path / "g"


def actions(folder: Path) -> list[str]:
    with Gallery.open(folder, read_only=True) as gallery:
        entries = gallery.audit.entries()
    assert {entry.actor for entry in entries} <= {f"command line ({getpass.getuser()})"}
    return [entry.action for entry in entries][::-1]


def test_rules_from_setting_to_applying(run_cli: Cli, folder: Path) -> None:
    where = ("--gallery", folder)
    made = run_cli("retention", "set", "door", *where, "--crops-days", 30, "--metadata-days", 365.5)
    assert made.returncode == 0, made.stderr
    assert made.stdout == "door: crops 30 days, embeddings for ever, metadata 365.5 days\n"
    assert run_cli("retention", "set", "--default", *where, "--crops-days", 1).returncode == 0
    beware = run_cli("retention", "set", "yard", *where)
    assert beware.stderr == "note: the gallery has nothing of camera 'yard' yet\n"
    assert json.loads(run_cli("retention", "list", *where, "--json").stdout) == [
        {"camera": "", "crops_days": 1.0, "embeddings_days": None, "metadata_days": None},
        {"camera": "door", "crops_days": 30.0, "embeddings_days": None, "metadata_days": 365.5},
        {"camera": "yard", "crops_days": None, "embeddings_days": None, "metadata_days": None},
    ]
    assert "every other camera" in run_cli("retention", "list", *where).stdout
    assert run_cli("retention", "remove", "yard", *where).stdout == "The rule of yard is removed.\n"
    with Gallery.open(folder) as gallery:
        gallery.retention.set_rule(Rule("door", crops_days=1))
    due = json.loads(run_cli("retention", "apply", *where, "--dry-run", "--json").stdout)
    assert due == [{"camera": "door", "crops": 3, "embeddings": 0, "tracklets": 0, "held": 0}]
    with Gallery.open(folder) as gallery:
        assert all(record.has_crops for record in gallery.tracklets())
    applied = run_cli("retention", "apply", *where)
    assert applied.returncode == 0, applied.stderr
    assert applied.stdout.split()[:2] == ["camera", "tracklets"]
    with Gallery.open(folder) as gallery:
        assert not any(record.has_crops for record in gallery.tracklets())
    assert actions(folder) == [*["retention rule set"] * 3, "retention rule removed", "retention applied"]
    shown = json.loads(run_cli("tracklets", *where, "--json").stdout)
    assert [row["thumbnail"] for row in shown] == [None] * 3
    assert run_cli("query", *where, "--tracklet", 1, "--json").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["set"], "name one camera, or give --default"),
        (["set", "door", "--default"], "name one camera, or give --default"),
        (["set", "door", "--crops-days", "0"], "crops_days must be a number of days above 0"),
        (["remove", "door"], "camera 'door' has no rule of its own"),
        (["remove", "--default"], "there is no default rule"),
    ],
)
def test_wrong_rules_are_one_line(
    capsys: pytest.CaptureFixture[str], folder: Path, arguments: list[str], words: str
) -> None:
    assert run_pipeline.main(["retention", *arguments, "--gallery", str(folder)]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert len(said.splitlines()) == 1


def test_tracklets_are_erased_and_the_check_runs(run_cli: Cli, folder: Path) -> None:
    erase = ("erase", "--gallery", folder, "--tracklet", 1, 3, "--reason", "letter of 3 May")
    planned = json.loads(run_cli(*erase, "--dry-run", "--json").stdout)
    assert planned["tracklets"] == [1, 3]
    assert planned["counts"]["embeddings"] == 2
    refused = subprocess.run(
        [str(part) for part in run_cli(*erase).args], input="n\n", capture_output=True, text=True, check=False
    )
    assert refused.returncode == 1
    assert "Delete this for ever?" in refused.stdout
    with Gallery.open(folder) as gallery:
        assert gallery.counts()["tracklets"] == 3
    uploads = Uploads(folder / "work" / "uploads")
    uploads.add(io.BytesIO(picture("red", 5)), None, "anna")
    done = run_cli(*erase, "--yes")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "Erased. Nothing is left in the gallery."
    assert not list((folder / "work").rglob("*.mjpeg"))
    with Gallery.open(folder) as gallery:
        assert [record.id for record in gallery.tracklets()] == [2]
        (entry,) = gallery.audit.entries()
    assert entry.subject["reason"] == "letter of 3 May"
    assert actions(folder) == ["erase"]
    again = run_cli(*erase, "--yes")
    assert again.returncode == 2
    assert "no tracklet has the id 1" in again.stderr


def test_all_that_a_case_confirmed_is_erased(run_cli: Cli, folder: Path) -> None:
    with Gallery.open(folder) as gallery:
        case = gallery.cases.add_case("Lost child", "", "anna").id
        upload = NewExample(crops=(picture("red", 7),))
        first = gallery.cases.add_search("anna", [NewExample(1)], EVERYTHING, 0.5, "x", case).id
        gallery.cases.add_search("anna", [upload], EVERYTHING, 0.5, "x", case)
        gallery.cases.decide(first, 3, "same", "anna")
        gallery.cases.decide(first, 2, "different", "anna")
        gallery.cases.update_case(case, held=True)
    erase = ("erase", "--gallery", folder, "--case", "Lost child", "--reason", "closed", "--yes")
    held = run_cli(*erase)
    assert held.returncode == 2
    assert "'Lost child'" in held.stderr
    with Gallery.open(folder) as gallery:
        gallery.cases.update_case(case, held=False)
    done = run_cli(*erase, "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["tracklets"], told["left"]) == ([1, 3], [])
    assert told["counts"]["searches"] == 2
    with Gallery.open(folder) as gallery:
        assert gallery.cases.searches() == []
        assert [record.id for record in gallery.tracklets()] == [2]
    nothing = run_cli(*erase)
    assert nothing.returncode == 2
    assert "has no searches" in nothing.stderr


def test_one_search_is_erased(run_cli: Cli, folder: Path) -> None:
    with Gallery.open(folder) as gallery:
        search = gallery.cases.add_search("anna", [NewExample(1)], EVERYTHING, 0.5, "x").id
        other = gallery.cases.add_search("anna", [NewExample(2)], EVERYTHING, 0.5, "x").id
    done = run_cli("erase", "--gallery", folder, "--search", search, "--reason", "r", "--yes", "--json")
    assert done.returncode == 0, done.stderr
    with Gallery.open(folder) as gallery:
        assert [each.id for each in gallery.cases.searches()] == [other]
        assert [record.id for record in gallery.tracklets()] == [2, 3]


def test_what_is_left_fails_the_command(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from typer.testing import CliRunner

    monkeypatch.setattr("storage.media.MediaFolder.remove", lambda *_: None)
    erase = ["erase", "--gallery", str(folder), "--tracklet", "1", "--reason", "r", "--yes"]
    result = CliRunner().invoke(run_pipeline.app, erase)
    assert result.exit_code == 1
    assert "1.jpg is a file of an erased tracklet" in result.stdout
    assert "Erased, but not everything is gone." in result.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--reason", "r"], "one of --tracklet ID, --case NAME and --search ID"),
        (["--reason", "r", "--tracklet", "1", "--case", "x"], "one of --tracklet ID"),
        (["--reason", "r", "--tracklet", "9", "--yes"], "no tracklet has the id 9"),
        (["--reason", "r", "--case", "x", "--yes"], "no case is named 'x'"),
        (["--reason", "r", "--search", "5", "--yes"], "no search has the id 5"),
        (["--tracklet", "1", "--yes"], "--reason"),
        (["--reason", "r", "--tracklet", "1", "--json"], "--json does not ask"),
    ],
)
def test_wrong_erasures_are_one_line_and_delete_nothing(
    capsys: pytest.CaptureFixture[str], folder: Path, arguments: list[str], words: str
) -> None:
    assert run_pipeline.main(["erase", "--gallery", str(folder), *arguments]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert len(said.splitlines()) == 1
    with Gallery.open(folder, read_only=True) as gallery:
        assert gallery.counts()["tracklets"] == 3
