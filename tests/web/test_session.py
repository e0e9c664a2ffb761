"""Logging in and staying so: passwords, cookies, tokens, throttling, invitations."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.web.conftest import PASSWORD, Server
from web.guard import COOKIE
from web.tokens import new_token, token_hash


def test_the_cookie_is_for_this_server_and_no_script(server: Server) -> None:
    server.user("ada", "viewer")
    answer = server.anybody().post("/api/v1/session", json={"name": "ada", "password": PASSWORD})
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith(f"{COOKIE}=")
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= {part.strip() for part in cookie.split(";")}
    assert "Secure" not in cookie  # plain http on this machine
    assert answer.headers["cache-control"] == "no-store"


def test_over_https_the_cookie_is_secure(server: Server) -> None:
    server.user("ada", "viewer")
    client = server.anybody()
    client.base_url = "https://127.0.0.1:8765"
    answer = client.post("/api/v1/session", json={"name": "ada", "password": PASSWORD})
    assert "Secure" in answer.headers["set-cookie"]
    assert "Strict-Transport-Security" in answer.headers


def test_neither_token_nor_password_is_stored(server: Server) -> None:
    client = server.client("viewer")
    cookie, token = client.cookies[COOKIE], server.token("viewer", "viewer")
    stored = b"".join(file.read_bytes() for file in server.gallery.folder.rglob("*") if file.is_file())
    for secret in (cookie, token, PASSWORD):
        assert secret.encode() not in stored
    assert b"$argon2id$" in stored


@pytest.mark.parametrize(("name", "password"), [("ada", "wrong"), ("nobody", PASSWORD), ("ada", "")])
def test_a_wrong_password_and_an_unknown_user_sound_the_same(
    server: Server, name: str, password: str
) -> None:
    server.user("ada", "viewer")
    answer = server.anybody().post("/api/v1/session", json={"name": name, "password": password})
    assert answer.status_code == 401
    assert answer.json()["detail"] == "the name or the password is wrong"
    assert "set-cookie" not in answer.headers


def test_too_many_tries_have_to_wait_and_the_wait_grows(server: Server) -> None:
    server.user("ada", "viewer")

    def attempt(password: str) -> int:
        given = {"name": "ada", "password": password}
        return server.anybody().post("/api/v1/session", json=given).status_code

    assert [attempt("wrong") for _ in range(5)] == [401] * 5
    assert attempt(PASSWORD) == 429  # the right one has to wait, too, or waiting would tell which it is
    server.clock.now += 2
    assert attempt("wrong") == 401
    server.clock.now += 1.5
    assert attempt("wrong") == 429
    server.clock.now += 3600
    assert attempt(PASSWORD) == 200
    assert [attempt("wrong") for _ in range(5)] == [401] * 5  # the count began anew


def test_an_address_that_tries_many_names_has_to_wait(server: Server) -> None:
    client = server.anybody()
    tried = [
        client.post("/api/v1/session", json={"name": f"user{i}", "password": "wrong"}).status_code
        for i in range(22)
    ]
    assert tried[:20] == [401] * 20
    assert tried[20:] == [429] * 2


def test_a_session_ends_when_unused_and_after_half_a_day_in_any_case(server: Server) -> None:
    client = server.client("viewer")
    for _ in range(11):
        server.clock.now += 3500
        assert client.get("/api/v1/session").status_code == 200
    server.clock.now += 3590
    assert client.get("/api/v1/session").status_code == 200
    server.clock.now += 3601
    assert client.get("/api/v1/session").status_code == 401
    other = server.logged_in("viewer")
    for _ in range(13):
        server.clock.now += 3500
        last = other.get("/api/v1/session").status_code
    assert last == 401  # used all the time, but for more than twelve hours


def test_the_token_changes_while_the_session_lasts(server: Server) -> None:
    client = server.client("viewer")
    first = client.cookies[COOKIE]
    server.clock.now += 901
    answer = client.get("/api/v1/session")
    second = client.cookies[COOKIE]
    assert answer.status_code == 200
    assert second != first
    late = server.anybody()
    late.cookies.set(COOKIE, first)
    assert late.get("/api/v1/session").status_code == 200  # a request that was under way
    server.clock.now += 31
    assert client.get("/api/v1/session").status_code == 200  # the new one has arrived
    assert late.get("/api/v1/session").status_code == 401


def test_a_token_that_never_arrived_locks_nobody_out(server: Server) -> None:
    """A browser may break off the very request whose answer had it."""
    client = server.client("viewer")
    first = client.cookies[COOKIE]
    server.clock.now += 901
    client.get("/api/v1/session")
    lost = server.anybody()
    lost.cookies.set(COOKIE, first)
    server.clock.now += 300
    assert lost.get("/api/v1/session").status_code == 200


def test_logging_out_ends_it_at_once(server: Server) -> None:
    client = server.client("viewer")
    stolen = client.cookies[COOKIE]
    assert client.delete("/api/v1/session").status_code == 204
    thief = server.anybody()
    thief.cookies.set(COOKIE, stolen)
    assert thief.get("/api/v1/session").status_code == 401


def test_a_change_with_a_cookie_needs_the_csrf_token_and_our_own_page(server: Server) -> None:
    client = server.client("operator")
    good = client.headers.pop("X-CSRF-Token")
    case = {"name": "bag"}
    assert client.post("/api/v1/cases", json=case).status_code == 403
    assert client.post("/api/v1/cases", json=case, headers={"X-CSRF-Token": "x" + good}).status_code == 403
    theirs = {"X-CSRF-Token": good, "Origin": "https://evil.example"}
    assert client.post("/api/v1/cases", json=case, headers=theirs).status_code == 403
    theirs = {"X-CSRF-Token": good, "Sec-Fetch-Site": "cross-site"}
    assert client.post("/api/v1/cases", json=case, headers=theirs).status_code == 403
    ours = {"X-CSRF-Token": good, "Origin": "http://127.0.0.1:8765", "Sec-Fetch-Site": "same-origin"}
    assert client.post("/api/v1/cases", json=case, headers=ours).status_code == 201


def test_another_site_cannot_log_somebody_in(server: Server) -> None:
    server.user("ada", "viewer")
    answer = server.anybody().post(
        "/api/v1/session",
        json={"name": "ada", "password": PASSWORD},
        headers={"Origin": "https://evil.example"},
    )
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers


def test_an_invitation_chooses_a_password_once(server: Server) -> None:
    admin = server.client("admin")
    made = admin.post("/api/v1/users", json={"name": "Grace", "role": "operator", "cameras": ["here"]}).json()
    token = made["path"].removeprefix("/invitation/")
    assert made["user"] | {"id": 0, "created": 0} == {
        "id": 0, "name": "grace", "role": "operator", "cameras": ["here"], "enabled": True, "created": 0,
        "has_password": False,
    }  # fmt: skip
    client = server.anybody()
    weak = {"token": token, "password": "gracegracegrace"}
    assert client.post("/api/v1/invitation", json=weak).status_code == 422
    chosen = {"token": token, "password": PASSWORD}
    assert client.post("/api/v1/invitation", json=chosen).json()["name"] == "grace"
    assert client.get("/api/v1/session").json()["cameras"] == ["here"]
    assert server.anybody().post("/api/v1/invitation", json=chosen).status_code == 404
    server.logged_in("grace")


def test_an_admin_with_cameras_is_refused_in_words(server: Server) -> None:
    admin = server.client("admin")
    server.user("anna", "operator", ["here"])
    anna, boss = (server.gallery.accounts.user_named(name) for name in ("anna", "admin"))
    assert anna is not None
    assert boss is not None
    for method, path, body in (
        ("POST", "", {"name": "eve", "role": "admin", "cameras": ["here"]}),
        ("PATCH", f"/{anna.id}", {"role": "admin"}),
        ("PATCH", f"/{boss.id}", {"cameras": ["here"]}),
    ):
        answer = admin.request(method, f"/api/v1/users{path}", json=body)
        assert answer.status_code == 422, body
        assert "an admin sees every camera" in answer.json()["detail"]
    assert {user.name for user in server.gallery.accounts.users()} == {"admin", "anna"}
    raised = admin.patch(f"/api/v1/users/{anna.id}", json={"role": "admin", "all_cameras": True})
    assert (raised.json()["role"], raised.json()["cameras"]) == ("admin", None)


def test_an_invitation_expires(server: Server) -> None:
    admin = server.client("admin")
    made = admin.post("/api/v1/users", json={"name": "grace"}).json()
    server.clock.now += 7 * 86_400 + 1
    chosen = {"token": made["path"].removeprefix("/invitation/"), "password": PASSWORD}
    assert server.anybody().post("/api/v1/invitation", json=chosen).status_code == 404


def test_changing_the_password_needs_the_old_one_and_ends_other_sessions(server: Server) -> None:
    here, elsewhere = server.client("viewer"), server.logged_in("viewer")
    new = "quite another sentence"
    wrong = {"old": "wrong", "new": new}
    assert here.post("/api/v1/password", json=wrong).status_code == 403
    assert here.post("/api/v1/password", json={"old": PASSWORD, "new": new}).status_code == 200
    assert here.get("/api/v1/session").status_code == 200
    assert elsewhere.get("/api/v1/session").status_code == 401


def test_a_disabled_or_demoted_user_feels_it_at_once(server: Server) -> None:
    admin, operator = server.client("admin"), server.client("operator")
    user = server.gallery.accounts.user_named("operator")
    assert user is not None
    token = server.token("operator", "operator")
    headers = {"Authorization": f"Bearer {token}"}
    assert admin.patch(f"/api/v1/users/{user.id}", json={"role": "viewer"}).json()["role"] == "viewer"
    assert operator.get("/api/v1/cases").status_code in (401, 403)
    assert server.anybody().get("/api/v1/cases", headers=headers).status_code == 403
    assert admin.patch(f"/api/v1/users/{user.id}", json={"enabled": False}).status_code == 200
    assert operator.get("/api/v1/session").status_code == 401
    assert server.anybody().get("/api/v1/session", headers=headers).status_code == 401


def test_the_last_admin_cannot_be_removed(server: Server) -> None:
    admin = server.client("admin")
    user = server.gallery.accounts.user_named("admin")
    assert user is not None
    answer = admin.delete(f"/api/v1/users/{user.id}")
    assert answer.status_code == 409
    assert admin.patch(f"/api/v1/users/{user.id}", json={"role": "viewer"}).status_code == 409
    assert admin.get("/api/v1/session").status_code == 200


def test_a_token_may_do_no_more_than_its_role_and_its_user(server: Server) -> None:
    operator = server.client("operator")
    made = operator.post("/api/v1/tokens", json={"name": "report", "role": "viewer"}).json()
    headers = {"Authorization": f"Bearer {made['token']}"}
    program = server.anybody()
    assert program.get("/api/v1/session", headers=headers).json()["role"] == "viewer"
    assert program.get("/api/v1/session", headers=headers).json()["csrf_token"] is None
    assert program.get("/api/v1/cases", headers=headers).status_code == 403
    assert program.post("/api/v1/tokens", json={"name": "more"}, headers=headers).status_code == 403
    assert operator.post("/api/v1/tokens", json={"name": "x", "role": "admin"}).status_code == 403
    listed = operator.get("/api/v1/tokens").json()["tokens"]
    assert [each["hint"] for each in listed] == [made["token"][:8]]
    assert made["token"] not in operator.get("/api/v1/tokens").text
    assert operator.delete(f"/api/v1/tokens/{made['view']['id']}").status_code == 204
    assert program.get("/api/v1/session", headers=headers).status_code == 401


def test_a_token_of_others_cannot_be_revoked(server: Server) -> None:
    server.user("other", "operator")
    made = server.logged_in("other").post("/api/v1/tokens", json={"name": "x"}).json()
    assert server.client("operator").delete(f"/api/v1/tokens/{made['view']['id']}").status_code == 404
    assert server.client("admin").delete(f"/api/v1/tokens/{made['view']['id']}").status_code == 204


def test_a_token_expires_and_needs_no_csrf_token(server: Server) -> None:
    server.user("operator", "operator")
    token = server.token("operator", "operator", expires=server.clock() + 100)
    headers = {"Authorization": f"Bearer {token}"}
    program = server.anybody()
    assert program.post("/api/v1/cases", json={"name": "bag"}, headers=headers).status_code == 201
    server.clock.now += 101
    assert program.get("/api/v1/session", headers=headers).status_code == 401


@pytest.mark.parametrize("header", ["Bearer rt_unknown", "Bearer", "Basic YTpi", "Bearer " + "x" * 5000])
def test_a_wrong_token_is_refused_even_beside_a_good_cookie(server: Server, header: str) -> None:
    client = server.client("viewer")
    answer = client.get("/api/v1/session", headers={"Authorization": header})
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_page_sends_strangers_to_the_log_in_and_back_to_where_they_were(server: Server) -> None:
    answer = server.anybody().get("/browse?camera=here")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/login?next=%2Fbrowse%3Fcamera%3Dhere"


def test_log_ins_and_failures_are_in_the_audit_trail(server: Server) -> None:
    server.client("viewer")
    server.anybody().post("/api/v1/session", json={"name": "viewer", "password": "wrong"})
    rows = [(entry.action, entry.actor, entry.origin) for entry in server.gallery.audit.entries(limit=2)]
    assert rows == [("log-in failed", "nobody", "192.0.2.7"), ("log-in", "viewer", "192.0.2.7")]


def test_a_cookie_that_nobody_gave_is_taken_away(server: Server) -> None:
    client = server.anybody()
    client.cookies.set(COOKIE, new_token())
    answer = client.get("/api/v1/health")
    assert answer.status_code == 200
    assert "Max-Age=0" in answer.headers["set-cookie"]


def test_a_session_of_a_removed_user_is_gone(server: Server, make_server: Callable[..., Server]) -> None:
    admin, viewer = server.client("admin"), server.client("viewer")
    user = server.gallery.accounts.user_named("viewer")
    assert user is not None
    assert admin.delete(f"/api/v1/users/{user.id}").status_code == 204
    assert viewer.get("/api/v1/session").status_code == 401
    assert server.gallery.accounts.token(token_hash("rt_x"), server.clock()) is None
