"""The whole story over the API: search, decide, collect in a case, export, erase; and its trail."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from fastapi.testclient import TestClient
from painted import BLUE, RED

from models import weights
from models.checkpoint import load_model, save_checkpoint
from pipeline.crops import encode_jpeg
from storage.needles import Needle, of_jpeg, search_files
from storage.retention_records import Rule
from tests.web.conftest import HERE, NUM_TRACKLETS, Server


def by_colour(server: Server) -> dict[tuple[str, str], int]:
    """Tracklet ids by camera and colour of the trousers and top, as painted."""
    names = {RED: "red"}
    found = {}
    for record in server.gallery.tracklets():
        crop = cv2.imdecode(np.frombuffer(server.gallery.crops(record.id)[0], np.uint8), cv2.IMREAD_COLOR)
        middle = crop[crop.shape[0] // 3, crop.shape[1] // 2][::-1].astype(int)
        top = min(
            {"red": (200, 30, 30), "green": (30, 160, 40), "yellow": (220, 210, 40)}.items(),
            key=lambda item: np.abs(middle - item[1]).sum(),
        )[0]
        found[record.camera, top] = record.id
    assert len(found) == NUM_TRACKLETS, names
    return found


def search(client: TestClient, **given: Any) -> dict[str, Any]:
    answer = client.post("/api/v1/searches", json=given)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_pages_of_tracklets_follow_each_other(server: Server) -> None:
    client = server.client("viewer")
    seen: list[int] = []
    after = None
    while True:
        params = {"limit": 2, **({"after": after} if after else {})}
        page = client.get("/api/v1/tracklets", params=params).json()
        seen += [each["id"] for each in page["tracklets"]]
        after = page["next"]
        if after is None:
            break
    everything = list(server.gallery.tracklets())
    assert seen == [each.id for each in reversed(everything)]
    line = client.get("/api/v1/timeline", params={"num_bins": 10}).json()
    assert {name: sum(counts) for name, counts in line["counts"].items()} == {"here": 2, "there": 3}


def test_time_lines_show_when_there_were_no_pictures(server: Server) -> None:
    client, gallery = server.client("operator"), server.gallery
    here, there = (source.id for source in gallery.sources())
    late = gallery.begin_source("late", "rtsp://late", "f", 1001.0, "s", live=True).id
    gallery.end_gap(gallery.begin_gap(here, 1001.5, "paused: disk full"), 1003.0)
    gallery.begin_gap(late, 1002.0, "refused")
    gallery.begin_gap(there, 5000.0, "refused")  # outside of all that is shown
    shown = {"camera": "here", "start": 1001.5, "end": 1003.0, "reason": "paused: disk full"}
    lasts = {"camera": "late", "start": 1002.0, "end": None, "reason": "refused"}
    line = client.get("/api/v1/timeline", params={"num_bins": 10, "start": 1000, "end": 1010}).json()
    assert line["gaps"] == [shown, lasts]
    assert line["counts"]["late"] == [0] * 10
    assert client.get("/api/v1/timeline", params={"start": 1004, "camera": "here"}).json()["gaps"] == []
    asked = {"examples": [{"tracklet": by_colour(server)["there", "red"]}]}
    found = client.post("/api/v1/searches", json=asked).json()
    assert found["gaps"] == [shown]
    gallery.end_gap(gallery.begin_gap(here, 1000.5, "many"), 1000.6)
    for _ in range(500):
        gallery.begin_gap(here, 1003.5, "many")
    line = client.get("/api/v1/timeline", params={"camera": "here", "start": 1000, "end": 1010}).json()
    assert [gap["start"] for gap in line["gaps"]] == [1003.5] * 500, "of too many the newest"


@pytest.mark.parametrize("after", ["x", "W10", "WzEsIDIsIDNd", "bnVsbA"])
def test_a_cursor_of_somebody_elses_making_is_refused(server: Server, after: str) -> None:
    answer = server.client("viewer").get("/api/v1/tracklets", params={"after": after})
    assert answer.status_code == 422
    assert "cursor" in answer.json()["detail"]


def test_a_tracklet_says_what_can_be_played_of_it(server: Server) -> None:
    client = server.client("viewer")
    tracklet = by_colour(server)["here", "red"]
    detail = client.get(f"/api/v1/tracklets/{tracklet}").json()
    assert detail["video"]
    assert detail["video_playable"]  # H.264 in MP4
    assert detail["num_crops"] == len(detail["crop_times"]) == len(server.gallery.crops(tracklet))
    assert detail["clip_offset_s"] == detail["offset_s"] < 2.0  # the clip begins with the recording
    path = client.get(f"/api/v1/tracklets/{tracklet}/trajectory").json()
    assert (path["width"], path["height"]) == (320, 192)
    whole = client.get(f"/api/v1/tracklets/{tracklet}/video")
    assert whole.headers["content-type"] == "video/mp4"
    part = client.get(f"/api/v1/tracklets/{tracklet}/video", headers={"Range": "bytes=10-19"})
    assert part.status_code == 206
    assert part.content == whole.content[10:20]
    assert part.headers["content-range"] == f"bytes 10-19/{len(whole.content)}"
    source = client.get(f"/api/v1/sources/{detail['source_id']}/video", headers={"Range": "bytes=0-99"})
    assert source.status_code == 206
    assert len(source.content) == 100
    frame = client.get(f"/api/v1/sources/{detail['source_id']}/frame", params={"at_s": 2.0})
    assert float(frame.headers["x-frame-time"]) == pytest.approx(2.0, abs=0.11)


def test_somebody_is_found_in_the_other_camera(server: Server) -> None:
    ids, client = by_colour(server), server.client("operator")
    found = search(client, examples=[{"tracklet": ids["here", "red"]}], reason="lost child")
    first = found["matches"][0]
    assert first["tracklet"]["id"] == ids["there", "red"]
    assert first["similarity"] > 0.9
    assert {match["match"] for match in found["matches"]} == {True, False} or found["matches"][-1]["match"]
    assert all(match["match"] == (match["similarity"] >= found["threshold"]) for match in found["matches"])
    assert client.get(f"/api/v1/searches/{found['id']}").json()["matches"] == found["matches"]
    assert client.get("/api/v1/searches").json()["searches"][0]["id"] == found["id"]


def test_with_a_threshold_above_everything_there_are_candidates_only(server: Server) -> None:
    ids, client = by_colour(server), server.client("operator")
    found = search(client, examples=[{"tracklet": ids["here", "red"]}], threshold=1.0)
    assert not any(match["match"] for match in found["matches"])
    assert found["matches"]
    changed = client.patch(f"/api/v1/searches/{found['id']}", json={"threshold": -1.0}).json()
    assert all(match["match"] for match in changed["matches"])


def test_decisions_rank_anew_and_can_be_undone(server: Server) -> None:
    ids, client = by_colour(server), server.client("operator")
    found = search(client, examples=[{"tracklet": ids["here", "red"]}])
    path = f"/api/v1/searches/{found['id']}/decisions"
    order = [match["tracklet"]["id"] for match in found["matches"]]
    rejected = client.post(path, json={"tracklet": order[0], "verdict": "different"}).json()
    assert rejected["matches"][-1]["tracklet"]["id"] == order[0]
    assert rejected["matches"][-1]["verdict"] == "different"
    accepted = client.post(path, json={"tracklet": order[1], "verdict": "same"}).json()
    assert accepted["matches"][0]["tracklet"]["id"] == order[1]
    assert accepted["decisions"] == {"different": 1, "same": 1}
    for tracklet in order[:2]:
        undone = client.delete(f"{path}/{tracklet}").json()
    assert [match["tracklet"]["id"] for match in undone["matches"]] == order
    assert undone["decisions"] == {}
    assert client.delete(f"{path}/{order[0]}").status_code == 404


def test_an_uploaded_picture_finds_the_person(server: Server) -> None:
    ids, client = by_colour(server), server.client("operator")
    crop = server.gallery.crops(ids["here", "red"])[3]
    upload = client.post("/api/v1/uploads", content=crop).json()
    assert upload["kind"] == "picture"
    found = search(client, examples=[{"upload": upload["id"]}])
    assert {match["tracklet"]["id"] for match in found["matches"][:2]} == {
        ids["here", "red"],
        ids["there", "red"],
    }
    example = found["examples"][0]
    shown = client.get(f"/api/v1/searches/{found['id']}/examples/{example['id']}/crops/0")
    assert shown.headers["content-type"] == "image/jpeg"
    server.user("other", "operator")
    other = server.logged_in("other")
    assert other.get(f"/api/v1/uploads/{upload['id']}/frame").status_code == 404
    assert client.delete(f"/api/v1/uploads/{upload['id']}").status_code == 204
    assert client.get(f"/api/v1/uploads/{upload['id']}/frame").status_code == 404


def test_a_box_in_a_recording_finds_the_person_elsewhere(server: Server) -> None:
    ids, client = by_colour(server), server.client("operator")
    source = next(
        each["id"] for each in client.get("/api/v1/sources").json()["sources"] if each["camera"] == "here"
    )
    persons = client.get(f"/api/v1/sources/{source}/persons", params={"at_s": 2.0}).json()
    assert len(persons["persons"]) == len(HERE)
    left = min(persons["persons"], key=lambda person: person["box"][0])["box"]
    found = search(client, examples=[{"source": source, "at_s": 2.0, "box": left}])
    assert found["matches"][0]["tracklet"]["id"] == ids["there", "red"]
    assert found["query_spans"][0][0] == "here"  # where the query itself is seen, it is left out


def test_two_examples_of_one_person_combine(server: Server) -> None:
    ids, client = by_colour(server), server.client("operator")
    examples = [{"tracklet": ids["here", "red"]}, {"tracklet": ids["there", "red"]}]
    found = search(client, examples=examples)
    assert len(found["examples"]) == 2
    assert not {match["tracklet"]["id"] for match in found["matches"]} & {
        each["tracklet"] for each in examples
    }


def test_what_is_no_picture_is_refused_in_words(server: Server) -> None:
    client = server.client("operator")
    answer = client.post("/api/v1/uploads", content=b"<svg xmlns='http://www.w3.org/2000/svg'/>")
    assert answer.status_code == 422
    assert "SVG" in answer.json()["detail"]


def test_a_case_is_exported_with_all_that_was_decided(server: Server) -> None:
    ids, client = by_colour(server), server.client("operator")
    case = client.post("/api/v1/cases", json={"name": "../<b>bag</b>", "description": "at the door"}).json()
    found = search(client, examples=[{"tracklet": ids["here", "red"]}], case_id=case["id"], reason="report 7")
    verdict = {"tracklet": ids["there", "red"], "verdict": "same"}
    client.post(f"/api/v1/searches/{found['id']}/decisions", json=verdict)
    client.post(f"/api/v1/cases/{case['id']}/notes", json={"text": "seen <script>alert(1)</script>"})
    answer = client.post(f"/api/v1/cases/{case['id']}/export")
    assert answer.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        names = archive.namelist()
        page = archive.read("report.html").decode()
        stored = json.loads(archive.read("case.json"))
        sums = dict(
            reversed(line.split("  ", 1)) for line in archive.read("SHA256SUMS").decode().splitlines()
        )
        for name, digest in sums.items():
            assert sha256(archive.read(name)).hexdigest() == digest
    assert set(sums) == set(names) - {"SHA256SUMS"}
    assert "<script>alert(1)" not in page
    assert "report 7" in page
    assert "report 7" in json.dumps(stored)
    assert any(name.startswith("crops/") for name in names)
    assert any(name.startswith("clips/") and name.endswith(".mp4") for name in names)
    assert not any(".." in name or name.startswith("/") for name in names)
    assert client.patch(f"/api/v1/cases/{case['id']}", json={"closed": True}).json()["closed"] is not None
    assert client.post(f"/api/v1/cases/{case['id']}/notes", json={"text": "late"}).status_code == 409
    left = [file for file in server.gallery.work_folder.rglob("*") if file.is_file()]
    assert left == []


def test_the_trail_tells_the_story_and_finds_who_changes_it(server: Server) -> None:
    ids, client, admin = by_colour(server), server.client("operator"), server.client("admin")
    found = search(client, examples=[{"tracklet": ids["here", "red"]}], reason="lost child")
    client.post(f"/api/v1/searches/{found['id']}/opened/{ids['there', 'red']}")
    verdict = {"tracklet": ids["there", "red"], "verdict": "same"}
    client.post(f"/api/v1/searches/{found['id']}/decisions", json=verdict)
    rows = admin.get("/api/v1/audit", params={"actor": "operator"}).json()["entries"]
    assert [row["action"] for row in rows] == ["decision", "result opened", "search", "log-in"]
    asked = rows[2]
    assert asked["subject"]["reason"] == "lost child"
    assert asked["subject"]["filter"]["cameras"] == []
    assert asked["origin"] == "192.0.2.7"
    assert asked["num_crops"] == 1
    crop = admin.get(f"/api/v1/audit/{asked['seq']}/crops/0")
    assert crop.content == server.gallery.thumbnail(ids["here", "red"])
    whole = admin.get("/api/v1/audit/verify").json()
    assert whole["ok"]
    later = admin.get("/api/v1/audit/verify", params={"head": whole["head"]}).json()
    assert later["ok"]
    assert later["entries"] == whole["entries"] + 1  # the check itself is noted
    wrong = whole["head"][:-1] + ("0" if whole["head"][-1] != "0" else "1")
    assert not admin.get("/api/v1/audit/verify", params={"head": wrong}).json()["ok"]


def test_an_erased_person_is_gone_and_the_trail_stays_whole(server: Server) -> None:
    ids, client, admin = by_colour(server), server.client("operator"), server.client("admin")
    search(client, examples=[{"tracklet": ids["there", "yellow"]}])  # for somebody else
    decided = search(client, examples=[{"tracklet": ids["here", "green"]}])
    verdict = {"tracklet": ids["there", "red"], "verdict": "different"}
    client.post(f"/api/v1/searches/{decided['id']}/decisions", json=verdict)
    found = search(client, examples=[{"tracklet": ids["here", "red"]}])
    assert client.get(f"/api/v1/tracklets/{ids['here', 'red']}/video").status_code == 200
    reds = [ids["here", "red"], ids["there", "red"]]
    wanted = {"tracklets": reds, "reason": "asked for on paper"}
    dry = admin.post("/api/v1/erasures", json=wanted).json()
    assert dry["tracklets"] == 2
    assert client.get(f"/api/v1/tracklets/{reds[0]}").status_code == 200
    done = admin.post("/api/v1/erasures", json={**wanted, "dry_run": False}).json()
    assert done["tracklets"] == 2
    assert done["remaining"] == [], "\n".join(done["remaining"])
    assert dry["searches"] == done["searches"] == [decided["id"], found["id"]]
    assert client.get(f"/api/v1/searches/{decided['id']}").json()["decisions"] == {}
    for tracklet in reds:
        for path in ("", "/thumbnail", "/crops/0", "/video"):
            assert client.get(f"/api/v1/tracklets/{tracklet}{path}").status_code == 404
    assert client.get(f"/api/v1/searches/{found['id']}").status_code == 404  # nothing of it was left
    left = client.get("/api/v1/tracklets").json()["tracklets"]
    assert not {each["id"] for each in left} & set(reds)
    assert admin.get("/api/v1/audit/verify").json()["ok"]
    rows = admin.get("/api/v1/audit", params={"action": "search"}).json()["entries"]
    assert admin.get(f"/api/v1/audit/{rows[0]['seq']}/crops/0").status_code == 404
    erased = admin.get("/api/v1/audit", params={"action": "erase"}).json()["entries"][0]
    assert erased["subject"]["reason"] == "asked for on paper"


def test_a_box_drawn_around_an_erased_person_is_erased_as_well(server: Server) -> None:
    ids, client, admin = by_colour(server), server.client("operator"), server.client("admin")
    source = next(each.id for each in server.gallery.sources() if each.camera == "here")
    for colour in ("red", "green"):
        seen = server.gallery.trajectory(ids["here", colour])
        assert seen.timestamps[20] == 1002.0
        box = (seen.xyxy[20] + [2, 1, 3, -2]).tolist()  # as somebody draws it
        search(client, examples=[{"source": source, "at_s": 2.0, "box": box}])
    trail = admin.get("/api/v1/audit", params={"action": "search"}).json()["entries"]
    wanted = {"tracklets": [ids["here", "red"]], "reason": "asked for on paper", "dry_run": False}
    assert admin.post("/api/v1/erasures", json=wanted).json()["remaining"] == []
    assert client.get("/api/v1/searches/1").status_code == 404  # nothing of it was left
    assert client.get("/api/v1/searches/2").status_code == 200  # somebody else's
    shown = {row["seq"]: admin.get(f"/api/v1/audit/{row['seq']}/crops/0").status_code for row in trail}
    assert sorted(shown.items()) == list(zip(sorted(shown), (404, 200), strict=True))
    verified = admin.get("/api/v1/audit/verify").json()
    assert (verified["ok"], verified["erased_crops"]) == (True, 1)


def test_somebody_searched_for_by_an_upload_alone_is_erased(server: Server) -> None:
    client, admin = server.client("operator"), server.client("admin")
    picture = encode_jpeg(np.random.default_rng(7).integers(0, 256, (96, 48, 3), np.uint8), 90)
    upload = client.post("/api/v1/uploads", content=picture).json()["id"]
    found = search(client, examples=[{"upload": upload}])
    example = found["examples"][0]["id"]
    shown = client.get(f"/api/v1/searches/{found['id']}/examples/{example}/crops/0").content
    [row] = admin.get("/api/v1/audit", params={"action": "search"}).json()["entries"]
    kept = admin.get(f"/api/v1/audit/{row['seq']}/crops/0").content
    needles = [needle for jpeg in (shown, kept) for needle in of_jpeg("it", jpeg)]
    folder = server.gallery.folder
    assert holding(folder, needles)
    assert [file for file in (server.gallery.work_folder / "uploads").rglob("*") if file.is_file()]
    page = admin.get("/admin/erasure", params={"search": found["id"]}).text
    assert "data-erasure" in page
    assert f"erase search {found['id']}" in page
    wanted = {"tracklets": [], "searches": [found["id"]], "reason": "asked for on paper"}
    assert admin.post("/api/v1/erasures", json={**wanted, "searches": []}).status_code == 422
    dry = admin.post("/api/v1/erasures", json=wanted).json()
    assert (dry["counts"]["search_examples"], dry["searches"]) == (1, [found["id"]])
    done = admin.post("/api/v1/erasures", json={**wanted, "dry_run": False}).json()
    assert (done["tracklets"], done["remaining"]) == (0, [])
    assert holding(folder, needles) == []
    assert not [file for file in (server.gallery.work_folder / "uploads").rglob("*") if file.is_file()]
    assert client.get(f"/api/v1/searches/{found['id']}").status_code == 404
    assert admin.get(f"/api/v1/audit/{row['seq']}/crops/0").status_code == 404
    assert admin.get("/api/v1/audit/verify").json()["ok"]
    assert len(list(server.gallery.tracklets())) == NUM_TRACKLETS


def holding(folder: Path, needles: list[Needle]) -> list[str]:
    """Files below a folder, the database and its log among them, that hold a piece of a picture."""
    files = [file for file in folder.rglob("*") if file.is_file()]
    return sorted(file.name for file in search_files(files, needles))


def test_a_picture_that_no_erasure_tells_of_is_missed(server: Server) -> None:
    ids, client, admin = by_colour(server), server.client("operator"), server.client("admin")
    search(client, examples=[{"tracklet": ids["here", "red"]}])
    assert admin.get("/api/v1/audit/verify").json()["ok"]
    with server.gallery._database.writing() as connection:
        connection.exec_driver_sql("DELETE FROM audit_crops")
    assert admin.get("/api/v1/audit/verify").json()["problems"] == [
        "1 pictures are gone that no erasure tells of"
    ]


def test_what_cannot_be_noted_is_not_done(server: Server) -> None:
    ids, client, admin = by_colour(server), server.client("operator"), server.client("admin")
    server.user("vic", "viewer")
    vic = server.gallery.accounts.user_named("vic")
    assert vic is not None
    made = search(client, examples=[{"tracklet": ids["here", "red"]}])
    verdict = {"tracklet": ids["there", "red"], "verdict": "same"}
    with server.gallery._database.writing() as connection:
        connection.exec_driver_sql(
            "CREATE TRIGGER refuses BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
    for doer, method, path, body in (
        (admin, "PATCH", f"/users/{vic.id}", {"role": "admin"}),
        (admin, "POST", "/users", {"name": "eve", "role": "admin"}),
        (admin, "PUT", "/retention", {"camera": "here", "metadata_days": 1}),
        (client, "POST", "/cases", {"name": "quiet"}),
        (client, "POST", "/searches", {"examples": [{"tracklet": ids["here", "red"]}]}),
        (client, "POST", f"/searches/{made['id']}/decisions", verdict),
        (client, "PATCH", f"/searches/{made['id']}", {"threshold": 0.1}),
        (admin, "POST", "/erasures", {"tracklets": [ids["here", "red"]], "reason": "x", "dry_run": False}),
    ):  # fmt: skip
        answer = doer.request(method, f"/api/v1{path}", json=body)
        assert answer.status_code == 500, f"{path}: {answer.text}"
    gallery = server.gallery
    assert {user.name: user.role for user in gallery.accounts.users()}["vic"] == "viewer"
    assert gallery.accounts.user_named("eve") is None
    assert gallery.retention.rules() == []
    assert gallery.cases.cases() == []
    [only] = gallery.cases.searches()
    assert only.decisions == ()
    assert only.threshold == made["threshold"]
    assert gallery.tracklet(ids["here", "red"]).id


def test_a_legal_hold_stops_an_erasure(server: Server) -> None:
    ids, client, admin = by_colour(server), server.client("operator"), server.client("admin")
    case = client.post("/api/v1/cases", json={"name": "bag"}).json()["id"]
    search(client, examples=[{"tracklet": ids["here", "red"]}], case_id=case)
    admin.patch(f"/api/v1/cases/{case}", json={"held": True})
    wanted = {"tracklets": [ids["here", "red"]], "reason": "x", "dry_run": False}
    answer = admin.post("/api/v1/erasures", json=wanted)
    assert answer.status_code == 409
    assert "bag" in answer.json()["detail"]
    assert client.get(f"/api/v1/tracklets/{ids['here', 'red']}/thumbnail").status_code == 200


def test_retention_rules_are_tried_before_they_are_applied(server: Server) -> None:
    admin = server.client("admin")
    assert admin.get("/api/v1/retention").json() == []
    rule = {"camera": "here", "crops_days": None, "embeddings_days": None, "metadata_days": 1}
    assert admin.put("/api/v1/retention", json=rule).json() == rule
    due = {each["camera"]: each["tracklets"] for each in admin.get("/api/v1/retention/due").json()}
    assert due == {"here": 2}
    assert admin.post("/api/v1/retention/apply").status_code == 202
    server.services.jobs.wait(30)
    cameras = {each["camera"] for each in admin.get("/api/v1/tracklets").json()["tracklets"]}
    assert cameras == {"there"}
    assert admin.delete("/api/v1/retention", params={"camera": "here"}).status_code == 204


def test_a_reindex_tells_how_far_it_is_and_can_be_taken_back(make_server: Callable[..., Server]) -> None:
    server = make_server()
    admin = server.client("admin")
    assert admin.post("/api/v1/reindex", json={"embedder": "nonsense"}).status_code == 422
    started = admin.post("/api/v1/reindex", json={"embedder": "colour_stripes"})
    assert started.status_code == 202
    server.services.jobs.wait(60)
    state = admin.get("/api/v1/index").json()
    assert state["job"]["state"] == "done", state["job"]
    assert state["counts"]["tracklets"] == NUM_TRACKLETS
    assert state["generations"][0]["missing"] == 0
    assert admin.post("/api/v1/reindex/rollback").status_code == 404


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of imported weights."""
    monkeypatch.setenv("RETRACE_CACHE", str(tmp_path / "cache"))
    return tmp_path


def test_a_reindex_takes_imported_weights_by_name(server: Server, cache: Path) -> None:
    name, file = "ste_nvan_r50_synthetic", cache / "again.safetensors"
    save_checkpoint(load_model(weights.resolve(name, "embedder").path), file, {"by": "us"}, storage="int8")
    digest = weights.import_weights(file, name="ours", kind="embedder").sha256
    admin = server.client("admin")
    assert {"embedder": "ste_nvan", "weights": "ours"} in admin.get("/api/v1/embedders").json()
    for chosen in ({}, {"weights": "ours"}):
        asked = {"embedder": "ste_nvan", **chosen}
        assert admin.post("/api/v1/reindex", json=asked).status_code == 202
        server.services.jobs.wait(120)
    state = admin.get("/api/v1/index").json()
    assert state["job"]["state"] == "done", state["job"]
    hashes = {each["status"]: each["embedder"]["weights_sha256"] for each in state["generations"]}
    assert hashes == {"previous": weights.card(name).sha256, "current": digest}
    page = admin.get("/admin/index").text
    assert all(f">{each[:10]}</code>" in page for each in hashes.values())


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"embedder": "nonsense"}, "no embedder named 'nonsense'"),
        ({"embedder": "nvan"}, "nvan without weights cannot run on this machine; what can: "),
        ({"embedder": "openvino_reid"}, "cannot run"),
        ({"embedder": "nvan", "weights": "ste_nvan_r50_synthetic"}, "cannot run"),
        ({"embedder": "ste_nvan", "weights": "yolo11n"}, "cannot run"),
        ({"embedder": "ste_nvan", "weights": "{path}"}, "cannot run"),
        ({"embedder": "ste_nvan", "weights": "odd"}, "cannot be loaded"),
    ],
)
def test_what_cannot_embed_is_refused_before_the_work_begins(
    server: Server, cache: Path, asked: dict[str, str], words: str
) -> None:
    torch.save({"a": torch.zeros(1)}, cache / "odd.pth")
    weights.import_weights(cache / "odd.pth", kind="embedder")
    admin = server.client("admin")
    given = {key: value.format(path="/odd.pth") for key, value in asked.items()}
    answer = admin.post("/api/v1/reindex", json=given)
    assert answer.status_code == 422
    assert words in answer.json()["detail"]
    assert "--" not in answer.json()["detail"]
    assert admin.get("/api/v1/index").json()["job"] is None


def test_a_reindex_says_before_and_after_whom_it_loses(make_server: Callable[..., Server]) -> None:
    server = make_server()
    gallery, admin = server.gallery, server.client("admin")
    gallery.retention.set_rule(Rule("here", crops_days=1))
    gallery.retention.apply(server.clock())
    assert admin.get("/api/v1/index").json()["without_crops"] == len(HERE)
    page = admin.get("/admin/index").text
    assert page.count(f"{len(HERE)} tracklets have no crops left.") == 2, "in the text and before the start"
    assert admin.post("/api/v1/reindex", json={"embedder": "ste_nvan"}).status_code == 202
    server.services.jobs.wait(120)
    job = admin.get("/api/v1/index").json()["job"]
    assert job["state"] == "done"
    assert f"{len(HERE)} tracklets can no longer be found" in job["message"]
    assert "going back to the previous embeddings" in job["message"]
    assert admin.post("/api/v1/reindex/rollback").json()["without_crops"] == len(HERE)


def test_blue_trousers_are_of_the_person_with_the_red_top() -> None:
    """The painted people tell each other apart: what the tests above rest on."""
    assert HERE[0].trousers == BLUE
