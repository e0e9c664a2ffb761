"""What the server does by itself: rounds of a clock that the test sets."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from storage.errors import DatabaseUnavailable
from storage.retention_records import Rule
from tests.web.conftest import NUM_TRACKLETS, Server
from web.housekeeping import keep_house

HOUR_S = 3600.0


class Rounds(threading.Event):
    """A stop that comes after some rounds, and a clock that waits for nobody.

    Attributes:
        now: seconds; each wait lets them pass.
    """

    def __init__(self, count: int, between: Callable[[int], None] = lambda number: None) -> None:
        super().__init__()
        self.now, self._number, self._count, self._between = 0.0, 0, count, between

    def __call__(self) -> float:
        return self.now

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self.now += timeout
        self._number += 1
        self._between(self._number)
        return self._number > self._count


def keep(server: Server, rounds: Rounds) -> None:
    keep_house(server.services, rounds, rounds)


def old(file: Path, age_s: float) -> Path:
    moment = file.stat().st_mtime - age_s
    os.utime(file, (moment, moment))
    return file


def upload(server: Server) -> Path:
    """The folder of an upload."""
    picture = cv2.imencode(".png", np.full((64, 32, 3), 90, np.uint8))[1].tobytes()
    made = server.services.uploads.add(io.BytesIO(picture), None, "anna")
    return server.gallery.work_folder / "uploads" / made.id


def test_a_round_applies_the_rules_and_notes_what_they_took(server: Server) -> None:
    server.gallery.retention.set_rule(Rule("here", metadata_days=1))
    keep(server, Rounds(2))
    assert {record.camera for record in server.gallery.tracklets()} == {"there"}
    entries = server.gallery.audit.entries(action="retention applied")
    assert [(each.actor, each.subject["tracklets"]) for each in entries] == [("nobody", 2)]


def test_nothing_is_done_before_the_first_round_is_due(server: Server) -> None:
    server.gallery.retention.set_rule(Rule("here", metadata_days=1))
    keep(server, Rounds(0))
    assert server.gallery.counts()["tracklets"] == NUM_TRACKLETS


def test_expired_uploads_leave_and_others_stay(server: Server) -> None:
    expired, fresh = upload(server), upload(server)
    old(expired, 2 * HOUR_S)
    keep(server, Rounds(1))
    assert not expired.exists()
    assert fresh.exists()


def test_what_a_killed_process_left_goes_once_a_day(server: Server) -> None:
    left = server.gallery.work_folder / "tmp-half-made.zip"
    left.write_bytes(b"x")
    old(left, 2 * HOUR_S)
    day = int(24 * HOUR_S / 600)
    keep(server, Rounds(day))
    assert left.exists()
    again = []

    def between(number: int) -> None:
        if number == day + 2:
            again.append(left.exists())
            left.write_bytes(b"x")
            old(left, 2 * HOUR_S)

    keep(server, Rounds(2 * day, between))
    assert again == [False]
    assert left.exists(), "the second sweep is due a day after the first"


def test_the_log_says_where_the_audit_trail_ends_at_the_start_and_once_a_day(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    audit = server.gallery.audit
    heads = ["{}:{}".format(*audit.head())]

    def between(number: int) -> None:
        if number in (1, 145):
            audit.append("ada", "search", {"number": number, "reason": "secret"})
            heads.append("{}:{}".format(*audit.head()))

    head, tries = audit.head, []

    def away_at_first() -> tuple[int, str]:
        tries.append(len(tries))
        if len(tries) == 1:
            raise DatabaseUnavailable("away")
        return head()

    keep(server, Rounds(145, between))
    told = [each.getMessage() for each in caplog.records if "audit" in each.getMessage()]
    assert told == [f"the audit trail's head is {each}" for each in (heads[0], heads[2])]
    assert "secret" not in caplog.text
    monkeypatch.setattr(audit, "head", away_at_first)
    caplog.clear()
    keep(server, Rounds(2))
    assert caplog.text.count("the audit trail's head is 2:") == 1, "the next round tries again"


def test_an_error_is_logged_and_stops_neither_the_rest_nor_the_next_round(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    server.gallery.retention.set_rule(Rule("here", metadata_days=1))
    expired = old(upload(server), 2 * HOUR_S)
    apply, tries = server.gallery.retention.apply, []

    def unavailable_at_first(*given: object) -> object:
        tries.append(len(tries))
        if len(tries) == 1:
            assert expired.exists()
            raise DatabaseUnavailable("nobody answers at 10.0.0.5")
        assert not expired.exists()
        return apply(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(server.gallery.retention, "apply", unavailable_at_first)
    keep(server, Rounds(2))
    assert len(tries) == 2
    assert "retention is put off" in caplog.text
    assert "nobody answers at 10.0.0.5" in caplog.text
    assert {record.camera for record in server.gallery.tracklets()} == {"there"}


def test_a_server_keeps_house_until_it_stops(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a thread of its own, which ends with the server."""
    monkeypatch.setattr("web.housekeeping._EVERY_S", 0.01)
    server.gallery.retention.set_rule(Rule("here", metadata_days=1))
    with server.anybody() as client:
        assert client.get("/api/v1/health").status_code == 200
        [keeper] = [each for each in threading.enumerate() if each.name == "housekeeping"]
        for _ in range(500):
            if server.gallery.audit.entries(action="retention applied"):
                break
            keeper.join(0.02)
    assert not keeper.is_alive()
    assert {record.camera for record in server.gallery.tracklets()} == {"there"}
