"""A run keeps house: what is too old leaves, and what a case under legal hold is about stays."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline.live import room as module
from pipeline.live.logs import Persistent
from pipeline.live.room import Room
from pipeline.live.settings import RetentionSettings
from pipeline.live.status import RunStatus
from storage.case_records import NewExample
from storage.errors import GalleryFull
from storage.gallery import EVERYTHING, Gallery
from storage.retention import Rule
from tests.live.running import until
from tests.storage.making import fill

ALL_AGES = 1e-6  # days


@pytest.fixture
def gallery(tmp_path: Path) -> Iterator[Gallery]:
    with Gallery.open(tmp_path / "g", create=True) as made:
        yield made


@contextmanager
def keeping(gallery: Gallery, **settings: object) -> Iterator[tuple[Room, threading.Event]]:
    stop = threading.Event()
    status = RunStatus(time.time(), [])
    room = Room(gallery, RetentionSettings.model_validate(settings), status, stop)
    room.start()
    try:
        yield room, stop
    finally:
        stop.set()
        room._thread.join(30)
        assert not room._thread.is_alive()


def hold(gallery: Gallery, *ids: int) -> None:
    case = gallery.cases.add_case("Robbery", "", "anna").id
    gallery.cases.add_search("anna", [NewExample(number) for number in ids], EVERYTHING, 0.5, "x", case)
    gallery.cases.update_case(case, held=True)


def left(gallery: Gallery) -> list[int]:
    return [record.id for record in gallery.tracklets()]


def test_the_stored_rules_are_applied_from_the_start_and_again(
    gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_KEEP_EVERY_S", 0.05)
    ids = fill(gallery, 3)
    hold(gallery, ids[1])
    gallery.retention.set_rule(Rule("", crops_days=ALL_AGES))
    with keeping(gallery):
        until(lambda: [r.has_crops for r in gallery.tracklets()] == [False, True, False], 20, "no crops")
        gallery.retention.set_rule(Rule("door", metadata_days=ALL_AGES))
        until(lambda: left(gallery) == [ids[1]], 20, "the deletion by the new rule")


def test_what_is_held_outlives_max_days(gallery: Gallery) -> None:
    ids = fill(gallery, 4)
    hold(gallery, ids[0], ids[2])
    with keeping(gallery, max_days=ALL_AGES):
        until(lambda: left(gallery) == [ids[0], ids[2]], 20, "the deletion of the others")


def test_what_is_held_does_not_make_room(gallery: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = fill(gallery, 4)
    hold(gallery, *ids[:2])
    monkeypatch.setattr(gallery, "free_bytes", lambda: 0)
    with keeping(gallery, when_full="delete_oldest", min_free_mb=1) as (room, stop):
        waited: list[bool] = []
        waiting = threading.Thread(target=lambda: waited.append(room.wait(GalleryFull("full"))))
        waiting.start()
        until(lambda: left(gallery) == ids[:2], 20, "the deletion of the others")
        assert waiting.is_alive(), "the disk is still full: it waits"
        stop.set()
        waiting.join(20)
        assert waited == [False]
        assert left(gallery) == ids[:2]


def test_a_clock_that_leapt_deletes_nothing(gallery: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = fill(gallery, 2)
    gallery.retention.set_rule(Rule("", metadata_days=ALL_AGES))
    stop = threading.Event()
    room = Room(gallery, RetentionSettings(), RunStatus(time.time(), []), stop)
    monkeypatch.setattr(module, "time", lambda: time.time() + 2 * 3600)
    room._retain()
    assert left(gallery) == ids
    monkeypatch.undo()
    room._retain()
    assert left(gallery) == []


def test_an_unexpected_error_is_logged_and_house_is_kept_on(
    gallery: Gallery, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "_KEEP_EVERY_S", 0.05)
    ids = fill(gallery, 1)
    gallery.retention.set_rule(Rule("", metadata_days=ALL_AGES))
    apply, errors = gallery.retention.apply, iter([KeyError("never thought of"), RuntimeError("nor of that")])

    def failing(**options: object) -> object:
        for error in errors:
            raise error
        return apply(**options)  # type: ignore[arg-type]

    monkeypatch.setattr(gallery.retention, "apply", failing)
    assert left(gallery) == ids
    with keeping(gallery):
        until(lambda: left(gallery) == [], 20, "the deletion after the errors")
    told = [record for record in caplog.records if record.message == "housekeeping failed"]
    assert [record.fields for record in told] == [{"failures": 1}, {"failures": 2}]  # type: ignore[attr-defined]
    assert all(record.exc_info for record in told)


def test_errors_in_a_row_are_thinned_and_what_ends_a_process_goes_through(
    caplog: pytest.LogCaptureFixture,
) -> None:
    turn = Persistent("it failed")
    for fails in (True, True, True, False, True):
        with turn:
            assert not fails
    assert [record.fields["failures"] for record in caplog.records] == [1, 2, 1]  # type: ignore[attr-defined]
    with pytest.raises(KeyboardInterrupt), turn:
        raise KeyboardInterrupt
