"""Accounts and the audit trail on the command line, as a user runs them."""

from __future__ import annotations

import json
import os
import pwd
import subprocess
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
import sqlalchemy as sa

import run_pipeline
from pipeline.embedding import build_embedder
from pipeline.plugins import PluginSettings
from storage.audit_records import AuditCrop, AuditEntry
from storage.gallery import Gallery
from tests.alerts.people import picture, store

Cli = Callable[..., subprocess.CompletedProcess[str]]
LINK = "http://127.0.0.1:8765/invitation/"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with Gallery.open(tmp_path / "g", create=True) as gallery:
        gallery.begin_source("door", "door.mp4", "fingerprint", 1000.0, "settings")
    return tmp_path / "g"


def done(result: subprocess.CompletedProcess[str]) -> str:
    assert result.returncode == 0, result.stderr
    return result.stdout


def token_of(output: str, start: str = LINK) -> str:
    link = output.splitlines()[-1]
    assert link.startswith(start)
    return link.removeprefix(start)


def test_a_user_from_adding_to_removing(run_cli: Cli, folder: Path) -> None:
    before = time.time()
    first = token_of(done(run_cli("user", "add", "boss", "--role", "admin", "--gallery", folder)))
    added = run_cli(
        "user", "add", "Jörg", "--role", "operator", "--camera", "door", "cellar", "--gallery", folder,
        "--url", "https://search.example.org/",
    )  # fmt: skip
    second = token_of(done(added), "https://search.example.org/invitation/")
    assert "jörg chooses a password, once, within 7 days" in added.stdout
    assert added.stderr == "note: the gallery has nothing of camera 'cellar' yet\n"
    assert len(second) >= 43
    assert first != second

    listed = json.loads(done(run_cli("user", "list", "--gallery", folder, "--json")))
    assert [user.pop("created")[-1] for user in listed] == ["Z", "Z"]
    assert listed == [
        {"user": "boss", "user_id": 1, "role": "admin", "cameras": None, "enabled": True,
         "has_password": False},
        {"user": "jörg", "user_id": 2, "role": "operator", "cameras": ["cellar", "door"], "enabled": True,
         "has_password": False},
    ]  # fmt: skip
    assert "every camera" in done(run_cli("user", "list", "--gallery", folder))

    again = done(run_cli("user", "invite", "JÖRG", "--gallery", folder))
    with Gallery.open(folder) as gallery:
        good = sha256(token_of(again).encode()).hexdigest()
        now = time.time()
        for when, found in ((before + 7 * 86400 - 1, True), (now + 7 * 86400 + 1, False)):
            assert (gallery.accounts.invitation(good, when) is not None) is found
        assert gallery.accounts.invitation(sha256(second.encode()).hexdigest(), now) is None

    changed = run_cli("user", "set", "jörg", "--role", "viewer", "--all-cameras", "--gallery", folder)
    assert done(changed) == "jörg: viewer, every camera, enabled\n"
    changed = run_cli("user", "set", "jörg", "--camera", "door", "--disable", "--gallery", folder)
    assert done(changed) == "jörg: viewer, door, disabled\n"
    assert done(run_cli("user", "set", "jörg", "--enable", "--gallery", folder)).endswith("enabled\n")
    done(run_cli("user", "remove", "Jörg", "--gallery", folder))

    written = done(run_cli("audit", "list", "--gallery", folder, "--json"))
    entries = json.loads(written)
    assert [entry["action"] for entry in entries] == [
        "user removed", "user changed", "user changed", "user changed", "user invited", "user added",
        "user added",
    ]  # fmt: skip
    me = f"command line ({pwd.getpwuid(os.getuid()).pw_name})"
    assert {(entry["actor"], entry["via"], entry["user_id"]) for entry in entries} == {
        (me, "command line", None)
    }
    rights = {"user": "jörg", "user_id": 2, "role": "viewer", "cameras": ["door"], "enabled": False}
    assert entries[1]["subject"] == {**rights, "enabled": True, "before": rights}
    for secret in (first, second, token_of(again)):
        assert secret not in written
        assert not any(secret.encode() in file.read_bytes() for file in folder.rglob("*") if file.is_file())
    done(run_cli("audit", "verify", "--gallery", folder))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["add", "boss", "--role", "viewer"], "there is a user 'boss' already"),
        (["add", "a\tb", "--role", "viewer"], "visible characters"),
        (["add", "anna", "--role", "root"], "--role"),
        (["add", "anna"], "--role"),
        (["invite", "anna"], "no user is called 'anna'"),
        (["remove", "anna"], "no user is called 'anna'"),
        (["remove", "boss"], "'boss' is the last admin"),
        (["set", "boss", "--disable"], "'boss' is the last admin"),
        (["set", "boss"], "what to change"),
        (["set", "boss", "--camera", "door"], "an admin sees every camera"),
        (["add", "anna", "--role", "admin", "--camera", "door"], "an admin sees every camera"),
        (["set", "boss", "--camera", "door", "--all-cameras"], "either --camera NAME or --all-cameras"),
    ],
)
def test_wrong_input_is_one_line_and_changes_nothing(
    capsys: pytest.CaptureFixture[str], folder: Path, arguments: list[str], words: str
) -> None:
    with Gallery.open(folder) as gallery:
        boss = gallery.accounts.add_user("boss", "admin")
    assert run_pipeline.main(["user", *arguments, "--gallery", str(folder)]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert len(said.splitlines()) == 1
    with Gallery.open(folder, read_only=True) as gallery:
        assert gallery.accounts.users() == [boss]
        assert gallery.audit.entries() == []


def test_the_trail_is_listed(run_cli: Cli, folder: Path) -> None:
    picture = b"\xff\xd8 picture"
    with Gallery.open(folder) as gallery:
        for number in range(5):
            gallery.audit.append(
                ("anna", "bob")[number % 2], ("search", "play")[number // 3],
                {"number": number, "text": "[red]x[/red]" + "y" * 1000}, origin="192.0.2.7",
                crops=[AuditCrop(picture)] if number == 0 else [], now=1000.0 + number,
            )  # fmt: skip

    def listed(*arguments: object) -> list[int]:
        rows = json.loads(done(run_cli("audit", "list", "--gallery", folder, "--json", *arguments)))
        return [row["seq"] for row in rows]

    rows = json.loads(done(run_cli("audit", "list", "--gallery", folder, "--json")))
    assert [row["seq"] for row in rows] == [5, 4, 3, 2, 1]
    assert rows[-1]["time"] == "1970-01-01T00:16:40.000Z"
    assert rows[-1]["crops"] == [sha256(picture).hexdigest()]
    assert rows[0]["previous"] == rows[1]["hash"]
    assert listed("--limit", 2) == [5, 4]
    assert listed("--actor", "bob", "--action", "play") == [4]
    assert listed("--from", "1970-01-01T00:16:41", "--to", "1970-01-01T01:16:42+01:00") == [3, 2]
    table = done(run_cli("audit", "list", "--gallery", folder))
    assert "192.0.2.7" in table
    assert "[red]x[/red]" in table
    assert max(map(len, table.splitlines())) < 400


def test_the_trail_is_verified(run_cli: Cli, folder: Path) -> None:
    assert done(run_cli("audit", "head", "--gallery", folder)).startswith("0:")
    with Gallery.open(folder) as gallery:
        for number in range(5):
            gallery.audit.append("anna", "search", {"number": number})
    head = done(run_cli("audit", "head", "--gallery", folder)).strip()
    whole = run_cli("audit", "verify", "--gallery", folder, "--head", head)
    assert done(whole).splitlines()[-1] == head
    assert "The trail is whole: 5 entries." in whole.stdout
    assert json.loads(done(run_cli("audit", "verify", "--gallery", folder, "--json"))) == {
        "ok": True, "entries": 5, "problems": [], "erased_crops": 0, "head": head,
    }  # fmt: skip

    other = run_cli("audit", "verify", "--gallery", folder, "--head", f"3:{'0' * 64}")
    assert (other.returncode, other.stderr) == (1, "")
    assert other.stdout == "entry 3 is not the one whose hash you noted: the trail was written anew\n"
    for wrong in ("5", "5:abc", f"x:{'0' * 64}"):
        refused = run_cli("audit", "verify", "--gallery", folder, "--head", wrong)
        assert refused.returncode == 2
        assert "--head takes SEQ:HASH" in refused.stderr

    engine = sa.create_engine(f"sqlite:///{folder / 'gallery.db'}")
    with engine.begin() as connection:
        connection.execute(sa.text("DROP TRIGGER audit_refuses_delete"))
        connection.execute(sa.text("DELETE FROM audit WHERE seq = 2"))
    engine.dispose()
    broken = run_cli("audit", "verify", "--gallery", folder)
    assert (broken.returncode, broken.stdout, broken.stderr) == (1, "entry 2 is missing\n", "")
    found = run_cli("audit", "verify", "--gallery", folder, "--json")
    assert found.returncode == 1
    assert json.loads(found.stdout)["problems"] == ["entry 2 is missing"]


# What the trail knows of commands that read


@pytest.fixture
def people(tmp_path: Path) -> Path:
    """Tracklets 1 to 3."""
    with Gallery.open(tmp_path / "p", create=True) as gallery:
        store(gallery, build_embedder(PluginSettings(name="colour_stripes")), "red", "blue", "red")
    return tmp_path / "p"


def trail(folder: Path) -> list[AuditEntry]:
    """Oldest first."""
    with Gallery.open(folder, read_only=True) as gallery:
        entries = gallery.audit.entries()[::-1]
    assert {entry.actor for entry in entries} <= {f"command line ({pwd.getpwuid(os.getuid()).pw_name})"}
    return entries


def test_every_query_is_in_the_trail(run_cli: Cli, people: Path, tmp_path: Path) -> None:
    where = ("--gallery", people)
    page = tmp_path / "answer.html"
    asked = run_cli("query", *where, "--tracklet", 1, "--exclude-camera", "door", "--html", page)
    assert asked.returncode == 0, asked.stderr
    assert page.is_file()
    (tmp_path / "secret folder").mkdir()
    named = tmp_path / "secret folder" / "red.jpg"
    named.write_bytes(picture("red", 5))
    done(run_cli("query", *where, "--image", named, "--box", "1,2,40,90", "--json"))
    by_tracklet, by_image = trail(people)
    assert (by_tracklet.action, by_image.action) == ("search", "search")
    assert by_tracklet.subject == {
        "kind": "tracklet", "tracklet": 1, "camera": "door", "html": True,
        "filter": {"cameras": [], "exclude_cameras": ["door"], "from": None, "to": None,
                   "left_out": by_tracklet.subject["filter"]["left_out"]},
    }  # fmt: skip
    assert by_tracklet.subject["filter"]["left_out"]["camera"] == "door"
    assert {name: by_image.subject[name] for name in ("kind", "images", "boxes", "html")} == {
        "kind": "image", "images": ["red.jpg"], "boxes": [[1, 2, 40, 90]], "html": False,
    }  # fmt: skip
    assert "secret folder" not in str(by_image.subject)
    with Gallery.open(people, read_only=True) as gallery:
        crops = gallery.crops(1)
        assert gallery.audit.crop(by_tracklet.seq, 0) == crops[len(crops) // 2]
        assert (gallery.audit.crop(by_image.seq, 0) or b"")[:2] == b"\xff\xd8"
        assert gallery.audit.verify().ok
    assert run_cli("query", *where, "--tracklet", 99).returncode == 2
    assert len(trail(people)) == 2, "nothing was searched"


def test_reindexing_and_exports_are_in_the_trail(run_cli: Cli, people: Path, tmp_path: Path) -> None:
    where = ("--gallery", people)
    done(run_cli("reindex", *where, "--embedder", "colour_stripes", "--set", "embedder.stripes=3"))
    done(run_cli("reindex", *where, "--status"))
    done(run_cli("reindex", *where, "--rollback"))
    done(run_cli("export", *where, "--format", "csv", "--out", tmp_path / "all.csv", "--camera", "door"))
    begun, ended, rolled_back, exported = trail(people)
    assert [entry.action for entry in (begun, ended, rolled_back, exported)] == [
        "re-index", "re-index done", "re-index rolled back", "export",
    ]  # fmt: skip
    assert begun.subject["embedder"].startswith("colour_stripes")
    assert ended.subject["embedded"] == 3
    assert rolled_back.subject["embedder"] != begun.subject["embedder"]
    assert exported.subject == {"format": "csv", "camera": "door", "tracklets": 3, "file": "all.csv"}
