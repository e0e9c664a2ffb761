"""Who may call what: every route, for every role, one by one."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute, iter_route_contexts
from fastapi.testclient import TestClient

from pipeline.thresholds import ErrorRate
from storage.account_records import ROLES, Role
from tests.web.conftest import NUM_TRACKLETS, THERE, Server
from web.access import check_rules, handlers
from web.app import create_app

Rule = tuple[str, str, Role | None]

API_RULES: tuple[Rule, ...] = (
    ("GET", "/health", None),
    ("GET", "/session", "viewer"),
    ("POST", "/session", None),
    ("DELETE", "/session", "viewer"),
    ("POST", "/invitation", None),
    ("POST", "/password", "viewer"),
    ("GET", "/cameras", "viewer"),
    ("GET", "/cameras/{camera}/frame", "viewer"),
    ("GET", "/tracklets", "viewer"),
    ("GET", "/timeline", "viewer"),
    ("GET", "/tracklets/{tracklet_id}", "viewer"),
    ("GET", "/tracklets/{tracklet_id}/thumbnail", "viewer"),
    ("GET", "/tracklets/{tracklet_id}/crops/{number}", "viewer"),
    ("GET", "/tracklets/{tracklet_id}/trajectory", "viewer"),
    ("GET", "/tracklets/{tracklet_id}/video", "viewer"),
    ("GET", "/sources", "viewer"),
    ("GET", "/sources/{source_id}", "viewer"),
    ("GET", "/sources/{source_id}/video", "viewer"),
    ("GET", "/sources/{source_id}/frame", "viewer"),
    ("GET", "/sources/{source_id}/persons", "operator"),
    ("POST", "/uploads", "operator"),
    ("GET", "/uploads/{upload_id}/frame", "operator"),
    ("GET", "/uploads/{upload_id}/persons", "operator"),
    ("DELETE", "/uploads/{upload_id}", "operator"),
    ("POST", "/searches", "operator"),
    ("GET", "/searches", "operator"),
    ("GET", "/searches/{search_id}", "operator"),
    ("PATCH", "/searches/{search_id}", "operator"),
    ("DELETE", "/searches/{search_id}", "operator"),
    ("POST", "/searches/{search_id}/decisions", "operator"),
    ("DELETE", "/searches/{search_id}/decisions/{tracklet_id}", "operator"),
    ("POST", "/searches/{search_id}/opened/{tracklet_id}", "operator"),
    ("GET", "/searches/{search_id}/examples/{example_id}/crops/{number}", "operator"),
    ("GET", "/cases", "operator"),
    ("POST", "/cases", "operator"),
    ("GET", "/cases/{case_id}", "operator"),
    ("PATCH", "/cases/{case_id}", "operator"),
    ("DELETE", "/cases/{case_id}", "operator"),
    ("GET", "/cases/{case_id}/notes", "operator"),
    ("POST", "/cases/{case_id}/notes", "operator"),
    ("POST", "/cases/{case_id}/export", "operator"),
    ("GET", "/users", "admin"),
    ("POST", "/users", "admin"),
    ("PATCH", "/users/{user_id}", "admin"),
    ("DELETE", "/users/{user_id}", "admin"),
    ("POST", "/users/{user_id}/invitation", "admin"),
    ("GET", "/tokens", "viewer"),
    ("POST", "/tokens", "viewer"),
    ("DELETE", "/tokens/{token_id}", "viewer"),
    ("GET", "/retention", "admin"),
    ("PUT", "/retention", "admin"),
    ("DELETE", "/retention", "admin"),
    ("GET", "/retention/due", "admin"),
    ("POST", "/retention/apply", "admin"),
    ("POST", "/erasures", "admin"),
    ("GET", "/audit", "admin"),
    ("GET", "/audit/verify", "admin"),
    ("GET", "/audit/{seq}/crops/{number}", "admin"),
    ("GET", "/weights", "admin"),
    ("GET", "/embedders", "admin"),
    ("GET", "/index", "admin"),
    ("POST", "/reindex", "admin"),
    ("POST", "/reindex/rollback", "admin"),
    ("GET", "/events", "viewer"),
)
PAGE_RULES: tuple[Rule, ...] = (
    ("GET", "/", "viewer"),
    ("GET", "/login", None),
    ("GET", "/invitation/{token}", None),
    ("GET", "/cameras", "viewer"),
    ("GET", "/browse", "viewer"),
    ("GET", "/tracklets/{tracklet_id}", "viewer"),
    ("GET", "/compare", "viewer"),
    ("GET", "/account", "viewer"),
    ("GET", "/video/{source_id}", "viewer"),
    ("GET", "/search", "operator"),
    ("GET", "/searches/{search_id}", "operator"),
    ("GET", "/cases", "operator"),
    ("GET", "/cases/{case_id}", "operator"),
    ("GET", "/admin", "admin"),
    ("GET", "/admin/users", "admin"),
    ("GET", "/admin/retention", "admin"),
    ("GET", "/admin/erasure", "admin"),
    ("GET", "/admin/audit", "admin"),
    ("GET", "/admin/index", "admin"),
)
RULES = tuple((method, f"/api/v1{path}", role) for method, path, role in API_RULES) + PAGE_RULES

PAGES = {path for _, path, _ in PAGE_RULES}
BY_RULE = re.compile("log in first|this needs the role")
# They would end the session of the client that asks, or wait for events.
LAST = ("DELETE", "/api/v1/session"), ("GET", "/api/v1/events")


def routes(app: FastAPI) -> list[Rule]:
    """Every handler with the rule that it states."""
    found: list[Rule] = []
    for route in handlers(app):
        assert route.rule is not None
        path = route.path.replace("{camera:path}", "{camera}")
        found += [(method, path, route.rule.role) for method in sorted(route.methods)]
    return found


def test_every_route_has_the_rule_that_is_written_here(server: Server) -> None:
    """A new route fails here until somebody has decided, in this table, who may call it."""
    assert sorted(routes(server.app), key=str) == sorted(RULES, key=str)


def test_nothing_but_static_files_and_the_api_description_is_outside_of_the_rules(server: Server) -> None:
    every = iter_route_contexts(server.app.routes)
    others = {each.path for each in every if not isinstance(each.original_route, APIRoute)}
    assert others == {"/static", "/api/v1/openapi.json"}


def test_a_route_that_states_no_rule_keeps_the_server_from_starting(server: Server) -> None:
    app = create_app(server.services)  # the server's own shares its routes with other tests

    @app.get("/api/v1/forgotten")
    def forgotten() -> str:
        return "anybody reads this"

    with pytest.raises(RuntimeError, match="/api/v1/forgotten states no rule"):
        check_rules(app)


@pytest.mark.parametrize("role", [None, *ROLES])
def test_what_each_role_may_call(server: Server, role: Role | None) -> None:
    """Refused by the rule, and only by it: what is let in may still be wrong (404, 422) or go well."""
    server.user("root", "admin")  # so that the admin asking is not the last one
    client = server.anybody() if role is None else server.client(role)
    for method, path, least in RULES:
        if (method, path) in LAST:
            continue
        answer = call(client, method, path)
        refused = answer.status_code in (401, 403) and (path in PAGES or bool(BY_RULE.search(answer.text)))
        to_log_in = answer.status_code == 303 and answer.headers["location"].startswith("/login")
        allowed = least is None or (role is not None and ROLES.index(role) >= ROLES.index(least))
        assert (refused or to_log_in) != allowed, (
            f"{role} {method} {path}: {answer.status_code} {answer.text[:200]}"
        )


@pytest.mark.parametrize("role", [None, "viewer", "admin"])
def test_head_tells_nobody_more_than_get(server: Server, role: Role | None) -> None:
    client = server.anybody() if role is None else server.client(role)
    for path in sorted({path for method, path, _ in RULES if method == "GET"} - {"/api/v1/events"}):
        whole, head = call(client, "GET", path), call(client, "HEAD", path)
        assert (head.status_code, head.content) == (whole.status_code, b""), path
        for name in ("content-type", "location", "www-authenticate", "cache-control", "allow"):
            assert head.headers.get(name) == whole.headers.get(name), f"{path}: {name}"
        assert ("content-length" in head.headers) == ("content-length" in whole.headers), path


@pytest.mark.parametrize("path", ["/api/v1/events", "/api/v1/session"])
def test_the_routes_left_out_above_refuse_strangers(server: Server, path: str) -> None:
    method = "DELETE" if path.endswith("session") else "GET"
    assert call(server.anybody(), method, path).status_code == 401


def call(client: TestClient, method: str, path: str) -> Any:
    """The route with ids that do not exist, and a body that fits none of them."""
    filled = re.sub(r"\{camera\}", "nowhere", path)
    filled = re.sub(r"\{(upload_id|token)\}", "0" * 32, filled)
    filled = re.sub(r"\{[a-z_]+\}", "999999", filled)
    body = {} if method in ("POST", "PUT", "PATCH") else None
    return client.request(method, filled, json=body)


def test_a_viewer_of_one_camera_sees_nothing_of_another(make_server: Callable[..., Server]) -> None:
    server = make_server()
    everything = server.client("admin").get("/api/v1/tracklets").json()["tracklets"]
    elsewhere = [each["id"] for each in everything if each["camera"] == "there"]
    assert elsewhere
    client = server.client("operator", ["here"])
    seen = client.get("/api/v1/tracklets").json()["tracklets"]
    assert {each["camera"] for each in seen} == {"here"}
    assert client.get("/api/v1/tracklets", params={"camera": "there"}).json()["tracklets"] == []
    assert [each["camera"] for each in client.get("/api/v1/cameras").json()] == ["here"]
    for source in server.gallery.sources():
        server.gallery.begin_gap(source.id, source.start + 1, "no answer")
    line = client.get("/api/v1/timeline").json()
    assert set(line["counts"]) == {gap["camera"] for gap in line["gaps"]} == {"here"}
    line = client.get("/api/v1/timeline", params={"camera": "there", "start": 1000, "end": 2000}).json()
    assert line["counts"] == {}
    assert line["gaps"] == []
    assert {each["camera"] for each in client.get("/api/v1/sources").json()["sources"]} == {"here"}
    source = next(each.id for each in server.gallery.sources() if each.camera == "there")
    for path in ("", "/thumbnail", "/crops/0", "/trajectory", "/video"):
        assert client.get(f"/api/v1/tracklets/{elsewhere[0]}{path}").status_code == 404, path
    for path in ("", "/video", "/frame", "/persons"):
        assert client.get(f"/api/v1/sources/{source}{path}").status_code == 404, path
    assert client.get("/api/v1/cameras/there/frame").status_code == 404


def test_a_search_of_somebody_limited_to_a_camera_finds_and_decides_there_only(server: Server) -> None:
    tracklets = list(server.gallery.tracklets())
    red_there = next(each.id for each in tracklets if each.camera == "there")
    here = next(each.id for each in tracklets if each.camera == "here")
    client = server.client("operator", ["here"])
    asked = {"examples": [{"tracklet": red_there}]}
    assert client.post("/api/v1/searches", json=asked).status_code == 404
    asked = {"examples": [{"tracklet": here}], "filter": {"cameras": ["there"]}}
    assert client.post("/api/v1/searches", json=asked).status_code == 403
    made = client.post("/api/v1/searches", json={"examples": [{"tracklet": here}]}).json()
    assert {match["tracklet"]["camera"] for match in made["matches"]} <= {"here"}
    verdict = {"tracklet": red_there, "verdict": "same"}
    assert client.post(f"/api/v1/searches/{made['id']}/decisions", json=verdict).status_code == 404


def test_a_shared_search_tells_nothing_of_cameras_that_are_not_ones_own(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates = (ErrorRate(0.9, 0.001, 0.5),)
    monkeypatch.setattr("pipeline.thresholds.error_rates", lambda spec: rates)
    wide = server.client("operator")
    server.user("narrow", "operator", ["there"])
    narrow = server.logged_in("narrow")
    case = wide.post("/api/v1/cases", json={"name": "bag"}).json()["id"]
    wide.patch(f"/api/v1/cases/{case}", json={"members": ["narrow"]})
    example = next(each.id for each in server.gallery.tracklets() if each.camera == "there")
    asked = {"examples": [{"tracklet": example}], "case_id": case}
    filters = ({"cameras": ["here"]}, {"cameras": ["here", "there"]}, {"exclude_cameras": ["here"]})
    for number, filter in enumerate(filters, start=1):
        made = wide.post("/api/v1/searches", json={**asked, "filter": filter}).json()
        assert (made["filter"] | filter, made["hidden_cameras"]) == (made["filter"], 0)
        assert f"{NUM_TRACKLETS} tracklets in this gallery" in made["errors"]
        seen = narrow.get(f"/api/v1/searches/{number}").json()
        assert "here" not in seen["filter"]["cameras"] + seen["filter"]["exclude_cameras"]
        assert seen["hidden_cameras"] == 1
        assert f"{len(THERE)} tracklets in the cameras that you may see" in seen["errors"]
        page = narrow.get(f"/searches/{number}").text
        assert "1 camera named in the search that you may not see" in page
        assert "you may see</dd>" not in page
        listed = narrow.get(f"/api/v1/cases/{case}").json()["searches"]
        assert {each["hidden_cameras"] for each in listed} == {1}
    assert narrow.get("/api/v1/searches/2").json()["filter"]["cameras"] == ["there"]


def test_a_user_without_any_camera_sees_nothing(server: Server) -> None:
    client = server.client("viewer", [])
    assert client.get("/api/v1/tracklets").json() == {"tracklets": [], "next": None}
    assert client.get("/api/v1/cameras").json() == []
    assert client.get("/api/v1/timeline").json()["counts"] == {}


def test_searches_and_cases_of_others_do_not_exist(server: Server) -> None:
    mine, theirs = server.client("operator"), None
    server.user("other", "operator")
    theirs = server.logged_in("other")
    tracklet = next(iter(server.gallery.tracklets())).id
    case = mine.post("/api/v1/cases", json={"name": "bag"}).json()["id"]
    search = mine.post(
        "/api/v1/searches", json={"examples": [{"tracklet": tracklet}], "case_id": case}
    ).json()["id"]
    for path in (f"/searches/{search}", f"/cases/{case}"):
        assert theirs.get(f"/api/v1{path}").status_code == 404
    assert theirs.delete(f"/api/v1/searches/{search}").status_code == 404
    assert theirs.post(f"/api/v1/cases/{case}/notes", json={"text": "x"}).status_code == 404
    assert mine.patch(f"/api/v1/cases/{case}", json={"members": ["other"]}).status_code == 200
    assert theirs.get(f"/api/v1/searches/{search}").status_code == 200
    assert theirs.get(f"/api/v1/cases/{case}").status_code == 200
    assert theirs.delete(f"/api/v1/cases/{case}").status_code == 403
    for change in ({"name": "theirs"}, {"description": "theirs"}, {"members": []}, {"held": True}):
        assert theirs.patch(f"/api/v1/cases/{case}", json=change).status_code == 403, change
    assert theirs.post(f"/api/v1/cases/{case}/notes", json={"text": "x"}).status_code == 201
    for closed in (True, False):
        assert theirs.patch(f"/api/v1/cases/{case}", json={"closed": closed}).status_code == 200
    assert mine.patch(f"/api/v1/cases/{case}", json={"name": "new"}).json()["name"] == "new"
    assert server.client("admin").get(f"/api/v1/cases/{case}").status_code == 200


def test_a_member_sees_no_example_of_a_camera_that_is_not_theirs(server: Server) -> None:
    wide = server.client("operator")
    server.user("narrow", "operator", ["there"])
    narrow = server.logged_in("narrow")
    here = next(each.id for each in server.gallery.tracklets() if each.camera == "here")
    source = next(each.id for each in server.gallery.sources() if each.camera == "here")
    [box, *_] = [
        person["box"]
        for person in wide.get(f"/api/v1/sources/{source}/persons", params={"at_s": 2.0}).json()["persons"]
    ]
    case = wide.post("/api/v1/cases", json={"name": "bag"}).json()["id"]
    examples = [{"tracklet": here}, {"source": source, "at_s": 2.0, "box": box}]
    made = wide.post("/api/v1/searches", json={"examples": examples, "case_id": case}).json()
    wide.patch(f"/api/v1/cases/{case}", json={"members": ["narrow"]})
    crop = f"/api/v1/searches/{made['id']}/examples/{made['examples'][1]['id']}/crops/0"
    assert wide.get(crop).status_code == 200
    assert narrow.get(crop).status_code == 404
    for path in (f"/api/v1/searches/{made['id']}", f"/api/v1/cases/{case}"):
        seen = narrow.get(path)
        assert seen.status_code == 200
        assert "here" not in {*_cameras(seen.json())}, path
    assert narrow.get(f"/api/v1/searches/{made['id']}").json()["hidden_examples"] == 2
    compare = f"/compare?search={made['id']}&example={made['examples'][1]['id']}&b={here}"
    assert narrow.get(compare).status_code == 404
    other = narrow.post("/api/v1/cases", json={"name": "mine"}).json()["id"]
    taken = narrow.patch(f"/api/v1/searches/{made['id']}", json={"case_id": other})
    assert taken.status_code == 403


def test_a_search_leaves_its_case_by_its_author_the_cases_owner_or_an_admin(server: Server) -> None:
    owner, admin = server.client("operator"), server.client("admin")
    for name in ("author", "member"):
        server.user(name, "operator")
    author, member = server.logged_in("author"), server.logged_in("member")
    case = owner.post("/api/v1/cases", json={"name": "bag"}).json()["id"]
    owner.patch(f"/api/v1/cases/{case}", json={"members": ["author", "member"]})
    made = author.post("/api/v1/searches", json={"examples": [{"tracklet": 1}], "case_id": case}).json()
    path, out, back = f"/api/v1/searches/{made['id']}", {"case_id": None}, {"case_id": case}
    assert member.patch(path, json={"threshold": 0.4}).json()["case_id"] == case, "not named: it stays"
    assert member.patch(path, json=out).status_code == 403
    assert owner.patch(path, json=out).json()["case_id"] is None
    [entry] = server.gallery.audit.entries(action="search changed", limit=1)
    assert (entry.actor, entry.subject["case"], entry.subject["case_before"]) == ("operator", None, case)
    assert owner.get(path).status_code == member.patch(path, json=back).status_code == 404
    assert owner.get(f"/api/v1/cases/{case}").json()["searches"] == []
    for client in (author, admin):
        assert author.patch(path, json=back).json()["case_id"] == case
        assert client.patch(path, json=out).json()["case_id"] is None
    assert author.patch(path, json=out).json()["case_id"] is None, "it is out already"


@pytest.mark.parametrize("state", ["held", "closed"])
def test_nothing_leaves_a_case_that_is_held_or_closed(server: Server, state: str) -> None:
    admin = server.client("admin")
    case = admin.post("/api/v1/cases", json={"name": "bag"}).json()["id"]
    made = admin.post("/api/v1/searches", json={"examples": [{"tracklet": 1}], "case_id": case}).json()
    admin.patch(f"/api/v1/cases/{case}", json={state: True})
    answer = admin.patch(f"/api/v1/searches/{made['id']}", json={"case_id": None})
    assert answer.status_code == 409
    assert "'bag'" in answer.json()["detail"]
    assert server.gallery.cases.search(made["id"]).case_id == case


def _cameras(found: object) -> list[str]:
    """Every camera that an answer names."""
    if isinstance(found, dict):
        own = [found["camera"]] if isinstance(found.get("camera"), str) else []
        return own + [name for value in found.values() for name in _cameras(value)]
    return [name for value in found for name in _cameras(value)] if isinstance(found, list) else []


def test_legal_hold_is_for_admins(server: Server) -> None:
    client = server.client("operator")
    case = client.post("/api/v1/cases", json={"name": "bag"}).json()["id"]
    assert client.patch(f"/api/v1/cases/{case}", json={"held": True}).status_code == 403
    assert server.client("admin").patch(f"/api/v1/cases/{case}", json={"held": True}).json()["held"]
    assert client.delete(f"/api/v1/cases/{case}").status_code == 409
