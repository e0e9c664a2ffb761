"""What every request passes: hosts, sizes, headers; and what is refused in words that a program reads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.web.conftest import Server
from web.app import create_app
from web.settings import ListenError, ServerSettings, check


def test_every_answer_has_the_headers_that_protect_a_browser(server: Server) -> None:
    viewer = server.client("viewer")
    for answer in (
        server.anybody().get("/login"),
        server.anybody().get("/api/v1/session"),
        viewer.get("/api/v1/tracklets"),
        viewer.get("/nothing"),
        viewer.get("/static/nothing"),
        server.anybody().get("/login", headers={"Host": "evil.example"}),
    ):
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert "server" not in answer.headers


def test_people_stay_in_no_cache(server: Server) -> None:
    viewer = server.client("viewer")
    tracklet = viewer.get("/api/v1/tracklets").json()["tracklets"][0]["id"]
    for path in ("/api/v1/tracklets", f"/api/v1/tracklets/{tracklet}/thumbnail", "/api/v1/cameras"):
        assert viewer.get(path).headers["cache-control"] == "no-store", path


def test_another_name_for_this_server_is_refused_unless_it_was_named(
    make_server: Callable[..., Server],
) -> None:
    server = make_server(allowed_hosts=frozenset({"retrace.example.org"}))
    for host, status in (
        ("127.0.0.1:8765", 200),
        ("localhost", 200),
        ("[::1]:8765", 200),
        ("retrace.example.org", 200),
        ("evil.example", 421),
        ("", 421),
        ("127.0.0.1.evil.example", 421),
        ("[::1", 421),
    ):
        assert server.anybody().get("/api/v1/health", headers={"Host": host}).status_code == status, host


def test_a_body_that_is_too_large_is_not_read(make_server: Callable[..., Server]) -> None:
    client = make_server(max_body_bytes=1000).client("operator")
    answer = client.post("/api/v1/cases", json={"name": "x", "description": "y" * 2000})
    assert answer.status_code == 413
    assert answer.headers["content-type"] == "application/problem+json"

    def in_pieces() -> object:
        yield b'{"name": "'
        for _ in range(100):
            yield b"x" * 100
        yield b'"}'

    headers = {"Content-Type": "application/json"}
    answer = client.post("/api/v1/cases", content=in_pieces(), headers=headers)  # type: ignore[arg-type]
    assert answer.status_code == 413


def test_head_has_the_headers_of_get_and_no_body(server: Server) -> None:
    viewer = server.client("viewer")
    for path, status in (
        ("/api/v1/tracklets", 200),
        ("/api/v1/tracklets/1/thumbnail", 200),
        ("/api/v1/tracklets/1/video", 200),
        ("/api/v1/sources/1/video", 200),
        ("/api/v1/openapi.json", 200),
        ("/browse", 200),
        ("/static/retrace.js", 200),
        ("/api/v1/tracklets/999", 404),
        ("/static/nothing", 404),
        ("/api/v1/index", 403),
    ):
        whole, head = viewer.get(path), viewer.head(path)
        assert (head.status_code, head.content) == (status, b""), path
        told = [{**each.headers, "date": ""} for each in (whole, head)]
        assert told[0] == told[1], path
        assert head.headers["content-length"] == str(len(whole.content)), path


def test_head_is_part_of_get_alone(server: Server) -> None:
    viewer = server.client("viewer")
    head = viewer.head("/api/v1/sources/1/video", headers={"Range": "bytes=0-1"})
    assert head.status_code == 200  # a range is for GET
    refused = viewer.head("/api/v1/reindex")
    assert (refused.status_code, refused.headers["allow"]) == (405, "POST")
    assert viewer.put("/api/v1/tracklets").headers["allow"] == "GET, HEAD"
    assert viewer.put("/static/retrace.js").headers["allow"] == "GET, HEAD"
    viewer.head("/api/v1/tracklets/1")
    assert next(each.action for each in server.gallery.audit.entries()) == "tracklet opened"


@pytest.mark.parametrize("change", [{"enabled": 0}, {"enabled": "false"}, {"all_cameras": 1}], ids=str)
def test_a_body_must_have_the_kinds_of_values_that_are_described(
    server: Server, change: dict[str, object]
) -> None:
    admin = server.client("admin")
    server.user("grace", "viewer", ["here"])
    user = server.gallery.accounts.user_named("grace")
    assert user is not None
    answer = admin.patch(f"/api/v1/users/{user.id}", json=change)
    assert answer.status_code == 422
    assert server.gallery.accounts.user(user.id) == user


@pytest.mark.parametrize("path", ["/api/v1/nothing", "/api/v1/tracklets/999999", "/api/v1/tracklets/x"])
def test_errors_of_the_api_are_problems(server: Server, path: str) -> None:
    answer = server.client("viewer").get(path)
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == answer.status_code
    assert problem["title"]
    assert problem["detail"]
    assert "Traceback" not in answer.text


def test_what_goes_wrong_inside_is_not_told(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    viewer = server.client("viewer")
    tracklet = viewer.get("/api/v1/tracklets").json()["tracklets"][0]["id"]
    server.app = create_app(server.services)  # the one it has shares its routes with other tests

    @server.app.get("/api/v1/broken")
    def broken() -> str:
        raise RuntimeError("the secret of /etc/shadow")

    client = server.anybody()
    client._transport.raise_server_exceptions = False  # type: ignore[attr-defined]
    answer = client.get("/api/v1/broken")
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert "the secret of /etc/shadow" in caplog.text  # the owner's log has it
    assert viewer.get(f"/api/v1/tracklets/{tracklet}").status_code == 200


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.8.9.1"])
def test_listening_on_this_machine_needs_nothing(host: str) -> None:
    check(ServerSettings(host=host))


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.2", "::", "retrace.example.org"])
def test_listening_to_others_in_the_clear_is_refused(host: str) -> None:
    with pytest.raises(ListenError, match="--tls-cert and --tls-key, or --trusted-proxy"):
        check(ServerSettings(host=host))
    check(ServerSettings(host=host, trusted_proxies=("10.0.0.2",)))


def test_tls_needs_both_files_and_they_must_be_there(tmp_path: Path) -> None:
    there = tmp_path / "cert.pem"
    there.write_text("x")
    with pytest.raises(ListenError, match="belong together"):
        check(ServerSettings(tls_cert=there))
    with pytest.raises(ListenError, match="there is no file"):
        check(ServerSettings(tls_cert=there, tls_key=tmp_path / "none.pem"))
    check(ServerSettings(host="0.0.0.0", tls_cert=there, tls_key=there))


def test_a_proxy_is_an_address(tmp_path: Path) -> None:
    with pytest.raises(ListenError, match="an address or a network"):
        check(ServerSettings(trusted_proxies=("proxy.example.org",)))
