"""Server-sent events over a real socket: who is told what, and when the connection ends."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import pytest
from rtsp_server import free_port

from pipeline.hooks import Hooks
from storage.account_records import Role
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
    """

    def __init__(self, url: str, **headers: str) -> None:
        self._connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=PATIENCE_S)
        self._connection.request("GET", "/api/v1/events", headers=headers)
        self._answer = self._connection.getresponse()
        self.status = self._answer.status
        if self.status == 200:
            assert self._answer.headers["content-type"].startswith("text/event-stream")
            assert self._lines() == ["retry: 5000"]

    def close(self) -> None:
        """Hang up."""
        self._answer.close()
        self._connection.close()

    def next(self) -> tuple[str, dict[str, Any]]:
        """The next event, which must come within some seconds."""
        while (lines := self._lines())[0].startswith(":"):
            pass
        [name, values] = lines
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


def test_who_has_logged_out_is_told_nothing_after_a_while(
    server: Server, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection ends after a minute; the browser's next one must show again that it may."""
    monkeypatch.setattr(events, "_LONGEST_S", 0.3)
    client = server.client("viewer")
    cookie = f"{COOKIE}={client.cookies[COOKIE]}"
    with closing(Stream(url, Cookie=cookie)) as stream:
        assert client.delete("/api/v1/session").status_code == 204
        assert stream.ends()
    with closing(Stream(url, Cookie=cookie)) as again:
        assert again.status == 401


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
