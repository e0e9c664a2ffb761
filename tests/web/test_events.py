"""Server-sent events over a real socket: who is told what, and when the connection ends."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from rtsp_server import free_port

from pipeline.hooks import Hooks
from storage.account_records import Role, User
from tests.storage.making import tracklet, unit
from tests.web.conftest import NUM_TRACKLETS, Server, listening
from web.api import events
from web.guard import COOKIE

PATIENCE_S = 10.0
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server looks for news every few milliseconds."""
    monkeypatch.setattr(events, "_LOOK_EVERY_S", 0.02)


class Stream:
    """A connection that listens to the events; close it.

    Attributes:
        status: of the answer.
        last: the id of the last event.
    """

    def __init__(self, url: str, query: str = "", **headers: str) -> None:
        self._connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=PATIENCE_S)
        self._connection.request("GET", f"/api/v1/events{query}", headers=headers)
        self._answer = self._connection.getresponse()
        self.status = self._answer.status
        if self.status == 200:
            assert self._answer.headers["content-type"].startswith("text/event-stream")
            retry, number, *event = self._lines()
            assert [retry, *event] == ["retry: 5000", "event: begin", "data: {}"]
            self.last = number.removeprefix("id: ")

    def close(self) -> None:
        """Hang up."""
        self._answer.close()
        self._connection.close()

    def next(self) -> tuple[str, dict[str, Any]]:
        """The next event, which must come within some seconds."""
        while (lines := self._lines())[0].startswith(":"):
            pass
        [number, name, values] = lines
        self.last = number.removeprefix("id: ")
        return name.removeprefix("event: "), json.loads(values.removeprefix("data: "))

    def comment(self) -> str:
        """The next comment; no event may come before it."""
        [line] = self._lines()
        return line

    def ends(self) -> bool:
        """Wait for the server to end it; whether that happens, with no event before."""
        try:
            return self._answer.read() == b""
        except (http.client.HTTPException, ConnectionError):
            return True  # it ended in the middle

    def _lines(self) -> list[str]:
        lines = []
        while line := self._answer.readline().decode().strip():
            lines.append(line)
        assert lines, "the connection has ended"
        return lines


@pytest.fixture
def url(server: Server) -> Iterator[str]:
    with listening(server.app) as address:
        yield address


def bearer(server: Server, role: Role, cameras: list[str] | None = None) -> dict[str, str]:
    """The header of a new user called as the role is."""
    server.user(role, role, cameras)
    return {"Authorization": f"Bearer {server.token(role, role)}"}


def comes_in(server: Server, camera: str, count: int = 1) -> None:
    """New tracklets of a camera."""
    model = server.gallery.generations.current_model()
    assert model is not None
    vector = unit(np.ones((1, model.spec.dimension)))[0]
    number = server.gallery.counts()["tracklets"]
    source = server.gallery.begin_source(camera, camera, f"{camera} {number}", 5000.0, "settings")
    new = [tracklet(number + each, vector) for each in range(count)]
    server.gallery.add_tracklets(source.id, new, model.spec)


def test_head_opens_no_stream(server: Server, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[Any] = []
    monkeypatch.setattr(events, "_begin", lambda *of: begun.append(of))
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=PATIENCE_S)
    headers = bearer(server, "viewer")
    with closing(connection):
        for _ in range(2):  # the connection is free again
            connection.request("HEAD", "/api/v1/events", headers=headers)
            answer = connection.getresponse()
            assert (answer.status, answer.read()) == (200, b"")
            assert answer.headers["content-type"].startswith("text/event-stream")
        connection.request("GET", "/api/v1/tracklets", headers=headers)
        assert connection.getresponse().status == 200
    assert begun == []


def test_new_tracklets_are_told_and_old_ones_are_not(server: Server, url: str) -> None:
    with closing(Stream(url, **bearer(server, "viewer"))) as stream:
        comes_in(server, "here", 3)
        assert stream.next() == ("tracklets", {"count": 3})
        comes_in(server, "there")
        assert stream.next() == ("tracklets", {"count": 1})
    assert server.gallery.counts()["tracklets"] == NUM_TRACKLETS + 4


def test_cameras_that_the_caller_may_not_see_are_not_told_of(
    server: Server, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "_KEEP_ALIVE_S", 0.2)
    with closing(Stream(url, **bearer(server, "viewer", ["here"]))) as stream:
        comes_in(server, "there", 2)
        assert stream.comment() == ": still here"
        comes_in(server, "there")
        comes_in(server, "here")
        assert stream.next() == ("tracklets", {"count": 1})


def test_admins_follow_a_job_and_others_hear_nothing_of_it(server: Server, url: str) -> None:
    go_on = threading.Event()

    def work(hooks: Hooks) -> str:
        hooks.on_step("counting", 1, 2)
        assert go_on.wait(PATIENCE_S)
        return "both counted"

    server.services.jobs.start("test", work)
    with (
        closing(Stream(url, **bearer(server, "admin"))) as admin,
        closing(Stream(url, **bearer(server, "operator"))) as operator,
    ):
        name, job = admin.next()
        while job["step"] == "starting":
            name, job = admin.next()
        assert name == "job"
        assert (job["kind"], job["step"], job["done"], job["total"]) == ("test", "counting", 1, 2)
        assert job["state"] == "running"
        go_on.set()
        name, job = admin.next()
        assert (name, job["state"], job["message"]) == ("job", "done", "both counted")
        comes_in(server, "here")
        assert admin.next()[0] == operator.next()[0] == "tracklets"


def test_a_connection_ends_after_a_while(server: Server, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "_LONGEST_S", 0.3)
    with closing(Stream(url, **bearer(server, "viewer"))) as stream:
        assert stream.ends()


def _log_out(server: Server, client: TestClient) -> None:
    assert client.delete("/api/v1/session").status_code == 204


def _disable(server: Server, client: TestClient) -> None:
    server.gallery.accounts.update_user(_viewer(server).id, enabled=False)


def _narrow(server: Server, client: TestClient) -> None:
    server.gallery.accounts.update_user(_viewer(server).id, cameras=["there"])


def _remove(server: Server, client: TestClient) -> None:
    server.gallery.accounts.remove_user(_viewer(server).id)


def _revoke(server: Server, client: TestClient) -> None:
    [token] = server.gallery.accounts.tokens()
    server.gallery.accounts.remove_token(token.id)


def _wait(server: Server, client: TestClient) -> None:
    server.clock.now += 100.0


def _viewer(server: Server) -> User:
    user = server.gallery.accounts.user_named("viewer")
    assert user is not None
    return user


@pytest.mark.parametrize(
    ("end", "by_token", "after"),
    [
        (_log_out, False, 401),
        (_disable, False, 401),
        (_narrow, False, 401),
        (_remove, False, 401),
        (_disable, True, 401),
        (_narrow, True, 200),
        (_remove, True, 401),
        (_revoke, True, 401),
        (_wait, True, 401),
    ],
)
def test_a_connection_ends_with_the_right_to_it(
    server: Server, url: str, end: Callable[[Server, TestClient], None], by_token: bool, after: int
) -> None:
    client = server.client("viewer")
    shown = {"Cookie": f"{COOKIE}={client.cookies[COOKIE]}"}
    if by_token:
        expires = server.clock() + 50.0
        shown = {"Authorization": f"Bearer {server.token('viewer', 'viewer', expires)}"}
    with closing(Stream(url, **shown)) as stream:
        comes_in(server, "here")
        assert stream.next() == ("tracklets", {"count": 1})
        end(server, client)
        comes_in(server, "here")  # too late to be told
        begin = monotonic()
        assert stream.ends()
        assert monotonic() - begin < 2.0
    with closing(Stream(url, **shown)) as again:
        assert again.status == after


def test_a_session_that_is_rotated_keeps_its_connection(server: Server, url: str) -> None:
    client = server.client("viewer")
    cookie = f"{COOKIE}={client.cookies[COOKIE]}"
    with closing(Stream(url, Cookie=cookie)) as stream:
        server.clock.now += server.services.settings.rotate_s + 1.0
        assert client.get("/api/v1/cameras").status_code == 200
        assert f"{COOKIE}={client.cookies[COOKIE]}" != cookie
        comes_in(server, "here")
        assert stream.next() == ("tracklets", {"count": 1})


def test_who_connects_again_is_told_what_came_in_between(server: Server, url: str) -> None:
    viewer = bearer(server, "viewer")
    with closing(Stream(url, **viewer)) as stream:
        at_first = stream.last
        comes_in(server, "here")
        assert stream.next() == ("tracklets", {"count": 1})
        assert int(stream.last) == int(at_first) + 1
    comes_in(server, "there", 2)
    with closing(Stream(url, **viewer, **{"Last-Event-ID": stream.last})) as again:
        assert again.next() == ("tracklets", {"count": 2})
        comes_in(server, "here")
        assert again.next() == ("tracklets", {"count": 1})
    with closing(Stream(url, f"?after={at_first}", **viewer)) as anew:
        assert anew.next() == ("tracklets", {"count": 4})
    header = {"Last-Event-ID": again.last}  # newer than the address, which a browser keeps
    with closing(Stream(url, f"?after={at_first}", **viewer, **header)) as up_to_date:
        comes_in(server, "here")
        assert up_to_date.next() == ("tracklets", {"count": 1})


def test_who_was_told_nothing_before_the_gap_is_told_of_it_as_well(server: Server, url: str) -> None:
    viewer = bearer(server, "viewer", ["here"])
    with closing(Stream(url, **viewer)) as stream:
        pass
    comes_in(server, "there", 3)
    comes_in(server, "here", 2)
    comes_in(server, "there")
    with closing(Stream(url, **viewer, **{"Last-Event-ID": stream.last})) as again:
        assert again.next() == ("tracklets", {"count": 2})


def test_an_id_tells_nothing_of_cameras_that_the_caller_may_not_see(server: Server, url: str) -> None:
    viewer = bearer(server, "viewer", ["here"])
    theirs = max(each.id for each in server.gallery.tracklets() if each.camera == "here")
    comes_in(server, "there", 3)
    for last in ({}, {"Last-Event-ID": str(2**62)}):
        with closing(Stream(url, **viewer, **last)) as stream:
            assert stream.last == str(theirs)
            comes_in(server, "there")
    nobody = {"Authorization": f"Bearer {_of_no_camera(server)}"}
    with closing(Stream(url, **nobody)) as stream:
        assert stream.last == "0"


def _of_no_camera(server: Server) -> str:
    server.user("new", "viewer", [])
    return server.token("new", "viewer")


@pytest.mark.parametrize("number", ["-1", "x", str(2**63)])
def test_an_id_that_cannot_be_is_refused(server: Server, url: str, number: str) -> None:
    with closing(Stream(url, **bearer(server, "viewer"), **{"Last-Event-ID": number})) as stream:
        assert stream.status == 422


def test_a_connection_does_not_keep_a_server_from_stopping(server: Server) -> None:
    """Of the command `serve`, which is told to stop as its owner does."""
    headers, port = bearer(server, "viewer"), free_port()
    server.user("admin", "admin")
    where = ["--gallery", str(server.gallery.folder), "--listen", f"127.0.0.1:{port}"]
    command = [sys.executable, str(ROOT / "run_pipeline.py"), "serve", *where]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline().startswith("Retrace is at")
            with closing(_when_it_answers(f"http://127.0.0.1:{port}", headers)) as stream:
                process.terminate()
                assert stream.ends()
            assert process.wait(PATIENCE_S) == 0
        finally:
            process.kill()


def _when_it_answers(url: str, headers: dict[str, str]) -> Stream:
    begin = monotonic()
    while monotonic() - begin < PATIENCE_S:
        with suppress(ConnectionError):
            return Stream(url, **headers)
    raise AssertionError("the server does not answer")
