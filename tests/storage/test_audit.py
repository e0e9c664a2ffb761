"""The audit trail: what is appended stays, and whatever is done to it behind its back is found."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from hashlib import sha256
from subprocess import Popen
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.audit_records import AuditCrop, AuditEntry
from storage.case_records import NewExample
from storage.database import audit as statements
from storage.errors import GalleryDamaged, GalleryReadOnly
from storage.gallery import EVERYTHING, Gallery
from tests.storage.making import JPEG, Place, fill

Start = Callable[[str], "Popen[str]"]
PICTURES = [JPEG % (number, 1) for number in range(4)]


def digest(text: str | bytes) -> str:
    return sha256(text.encode() if isinstance(text, str) else text).hexdigest()


def filled(gallery: Gallery, number: int = 6) -> list[AuditEntry]:
    """Entries 1 to `number`; the second has pictures."""
    assert fill(gallery, 7)[-1] == 7
    assert searched(gallery) == 1
    return [
        gallery.audit.append(
            "anna",
            "search",
            {"number": place, "search_id": place},
            crops=[AuditCrop(PICTURES[0], 7), AuditCrop(PICTURES[1])] if place == 1 else (),
            now=1000.0 + place,
        )
        for place in range(number)
    ]


def searched(gallery: Gallery, *tracklets: int) -> int:
    """Id of a new search, with an uploaded picture and these as examples."""
    examples = [NewExample(crops=(PICTURES[3],)), *map(NewExample, tracklets)]
    return gallery.cases.add_search("anna", examples, EVERYTHING, 0.5, "x").id


def forced(gallery: Gallery, *texts: str, **values: Any) -> None:
    """Does what the database's owner can do: takes the triggers away first, and puts nothing back."""
    triggers = {
        "sqlite": [f"DROP TRIGGER IF EXISTS audit_refuses_{what}" for what in ("update", "delete")],
        "postgresql": ["DROP TRIGGER IF EXISTS audit_refuses_changes ON audit"],
    }
    with gallery._database.writing() as connection:
        for text in (*triggers[gallery.backend], *texts):
            used = {name: value for name, value in values.items() if f":{name}" in text}
            connection.execute(sa.text(text), used)


def problems(gallery: Gallery, expected: tuple[int, str] | None = None) -> list[str]:
    found = gallery.audit.verify(expected)
    assert found.ok is (not found.problems)
    return found.problems


# What is appended


def test_an_entry_comes_back_as_appended(gallery: Gallery) -> None:
    assert gallery.audit.entries() == []
    genesis = digest(gallery.uuid)
    assert gallery.audit.head() == (0, genesis)
    shown, search = fill(gallery, 5)[-1], searched(gallery)
    first = gallery.audit.append(
        "zo\u00eb",
        "search",
        {"reason": "lost child", "search_id": search},
        user_id=3,
        origin="192.0.2.7",
        via="session",
        crops=[AuditCrop(PICTURES[0], shown), AuditCrop(PICTURES[1])],
        now=1000.25,
    )
    assert first == AuditEntry(
        seq=1,
        time=1000.25,
        actor="zo\u00eb",
        user_id=3,
        origin="192.0.2.7",
        via="session",
        action="search",
        subject={"reason": "lost child", "search_id": search},
        crops=(digest(PICTURES[0]), digest(PICTURES[1])),
        previous=genesis,
        hash=first.hash,
    )
    second = gallery.audit.append("command line (root)", "user.add", {}, now=1001.0)
    assert (second.seq, second.user_id, second.origin, second.via) == (2, None, "", "")
    assert (second.crops, second.previous) == ((), first.hash)
    assert gallery.audit.entries() == [second, first]
    assert gallery.audit.head() == (2, second.hash)
    with gallery._database.reading() as connection:
        rows = connection.execute(sa.text("SELECT tracklet_id, search_id FROM audit_crops ORDER BY id")).all()
        assert [tuple(row) for row in rows] == [(shown, search), (None, search)]


def test_the_hash_is_as_it_is_written_down(gallery: Gallery) -> None:
    """Anybody can check the trail with what the documents say, without this program."""
    entry = gallery.audit.append("zo\u00eb", "play", {"b": [1, None], "a": 0.1}, now=1000.0)
    text = (
        '{"action":"play","actor":"zo\\u00eb","crops":[],"origin":"","seq":1,'
        '"subject":{"a":0.1,"b":[1,null]},"time":1000.0,"user_id":null,"via":""}'
    )
    with gallery._database.reading() as connection:
        assert connection.execute(sa.text("SELECT entry FROM audit")).scalar_one() == text
    assert entry.hash == digest(digest(gallery.uuid) + "\n" + text)


def test_entries_are_found_newest_first(gallery: Gallery) -> None:
    for number in range(10):
        actor, action = ("anna", "bob")[number % 2], ("search", "play", "export")[number % 3]
        gallery.audit.append(actor, action, {"number": number}, now=1000.0 + number)

    def asked(**options: Any) -> list[int]:
        return [entry.seq for entry in gallery.audit.entries(**options)]

    assert asked() == list(range(10, 0, -1))
    assert asked(limit=3) == [10, 9, 8]
    assert asked(limit=3, before=8) == [7, 6, 5]
    assert asked(actor="bob") == [10, 8, 6, 4, 2]
    assert asked(actor="bob", action="play") == [8, 2]
    assert asked(actor="Bob") == []
    assert asked(start=1002.0, end=1004.0) == [5, 4, 3]
    assert asked(action="search", end=1005.9, before=4, limit=1) == [1]
    assert asked(before=1) == []
    with pytest.raises(ValueError, match="limit"):
        asked(limit=0)


WRONG_ENTRIES: list[tuple[str, str, dict[str, Any]]] = [
    ("", "search", {}),
    (" ", "search", {}),
    ("anna", "", {}),
    ("anna", "x" * 65, {}),
    ("anna", "search", {"similarity": float("nan")}),
    ("anna", "search", {"similarity": [float("inf")]}),
    ("anna", "search", {"crop": b"bytes"}),
]


def test_every_action_of_the_trail_is_told_by_its_index(gallery: Gallery) -> None:
    assert gallery.audit.actions() == []
    for action in ("search", "log-in", "search", "Zeta", "user added", "log-in"):
        gallery.audit.append("anna", action, {})
    assert gallery.audit.actions() == ["Zeta", "log-in", "search", "user added"]


def test_an_entry_is_checked(gallery: Gallery) -> None:
    for actor, action, subject in WRONG_ENTRIES:
        with pytest.raises(ValueError, match=r"actor and an action|must be JSON"):
            gallery.audit.append(actor, action, subject)
    with pytest.raises(ValueError, match="JSON compliant"):
        gallery.audit.append("anna", "search", {}, now=float("nan"))
    assert gallery.audit.head()[0] == 0


def test_a_crop_is_a_jpeg() -> None:
    with pytest.raises(ValueError, match="JPEG"):
        AuditCrop(b"PNG")


def test_names_may_hold_anything(gallery: Gallery) -> None:
    gallery.audit.append("a\0b\ud800", "log\0in", {"name\0": "\ud800"}, origin="\0", via="\udfff")
    (entry,) = gallery.audit.entries()
    assert (entry.actor, entry.action, entry.origin) == ("a\\x00b\\ud800", "log\\x00in", "\\x00")
    assert entry.subject == {"name\0": "\ud800"}
    assert gallery.audit.entries(actor="a\0b\ud800") == [entry]
    assert problems(gallery) == []


TEXTS = st.text(st.characters(codec=None, exclude_categories=()), max_size=20)
ODD = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**200), 2**200)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


@pytest.fixture(scope="module")
def one_gallery(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with Gallery.open(tmp_path_factory.mktemp("odd") / "g", create=True) as made:
        yield made


@settings(max_examples=60, deadline=None)
@given(subject=st.dictionaries(TEXTS, ODD, max_size=4), now=st.floats(-1e12, 1e12))
def test_odd_subjects_come_back_and_hold(one_gallery: Gallery, subject: dict[str, Any], now: float) -> None:
    appended = one_gallery.audit.append("anna", "search", subject, now=now)
    (read,) = one_gallery.audit.entries(limit=1)
    assert read == appended
    assert read.subject == json.loads(json.dumps(subject))
    assert read.time == now
    assert problems(one_gallery) == []


def test_odd_subjects_hold_on_either_back_end(gallery: Gallery) -> None:
    subject = {
        "": 2**200,
        "\U0001f600": ["\ud83d\ude00", "\0", 1e-320, -0.0, 0.1 + 0.2],
        "z": {"b": [{}], "a": []},
    }
    gallery.audit.append("anna", "search", subject, now=1764187200.1234567)
    (entry,) = gallery.audit.entries()
    assert entry.subject == json.loads(json.dumps(subject))
    assert entry.time == 1764187200.1234567
    assert problems(gallery) == []


# The chain


def test_an_untouched_trail_is_whole(gallery: Gallery) -> None:
    found = gallery.audit.verify()
    assert (found.ok, found.entries, found.head) == (True, 0, (0, digest(gallery.uuid)))
    assert gallery.audit.verify(found.head).ok
    written = filled(gallery)
    told: list[tuple[int, int]] = []
    found = gallery.audit.verify(progress=lambda done, total: told.append((done, total)))
    assert (found.ok, found.entries, found.head) == (True, 6, (6, written[-1].hash))
    assert (found.problems, found.erased_crops) == ([], 0)
    assert told[-1] == (6, 6)
    for head in [(0, digest(gallery.uuid)), *((entry.seq, entry.hash) for entry in written)]:
        assert gallery.audit.verify(head).ok


def test_more_entries_than_fit_one_page(gallery: Gallery) -> None:
    with gallery._database.writing() as connection:
        for number in range(1203):
            crops = [AuditCrop(PICTURES[number % 4])] if number % 100 == 99 else []
            statements.append(
                connection, "anna", "search", {"number": number}, crops=crops, now=float(number)
            )
    told: list[tuple[int, int]] = []
    found = gallery.audit.verify(
        (700, gallery.audit.entries(before=701, limit=1)[0].hash), lambda *n: told.append(n)
    )
    assert (found.ok, found.entries, found.erased_crops) == (True, 1203, 0)
    assert len(told) > 1
    assert told[-1] == (1203, 1203)
    forced(gallery, "UPDATE audit SET actor = 'bob' WHERE seq > 3")
    found = gallery.audit.verify()
    assert len(found.problems) == 101
    assert found.problems[-1] == "and 1100 more problems"


def test_the_database_refuses_changes(gallery: Gallery) -> None:
    written = filled(gallery)
    forbidden = [
        "UPDATE audit SET actor = 'bob'",
        "UPDATE audit SET entry = entry WHERE seq = 1",
        "DELETE FROM audit WHERE seq = 3",
        "DELETE FROM audit",
        *(["TRUNCATE audit"] if gallery.backend == "postgresql" else []),
    ]
    for statement in forbidden:
        with (
            pytest.raises(sa.exc.DBAPIError, match="append-only"),
            gallery._database.writing() as connection,
        ):
            connection.execute(sa.text(statement))
        assert gallery.audit.entries() == written[::-1]
    assert problems(gallery) == []


def test_an_entry_is_kept_or_lost_with_its_transaction(gallery: Gallery) -> None:
    filled(gallery, 2)

    def fail() -> None:
        with gallery._database.writing() as connection:
            statements.append(connection, "anna", "erase", {}, crops=[AuditCrop(PICTURES[0])])
            raise RuntimeError("power of the test")

    with pytest.raises(RuntimeError):
        fail()
    assert gallery.audit.head()[0] == 2
    assert gallery.audit.append("anna", "erase", {}).seq == 3
    assert problems(gallery) == []


def test_processes_and_threads_append_one_chain(place: Place, start_process: Start) -> None:
    with place.create() as gallery:
        body = """
            with place.open() as gallery:
                for number in range(25):
                    gallery.audit.append(WHO, "search", {"number": number})
            """
        processes = [start_process(body.replace("WHO", f"'process {number}'")) for number in range(2)]

        def append(name: str) -> None:
            for number in range(25):
                gallery.audit.append(name, "search", {"number": number})

        threads = [threading.Thread(target=append, args=(f"thread {number}",)) for number in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for process in processes:
            assert process.wait(120) == 0
        found = gallery.audit.verify()
        assert (found.problems, found.entries, found.head[0]) == ([], 100, 100)
        for name in ("process 0", "process 1", "thread 0", "thread 1"):
            numbers = [entry.subject["number"] for entry in gallery.audit.entries(actor=name)]
            assert numbers == list(range(24, -1, -1))


# What the database's owner can do


@pytest.mark.parametrize(
    ("statements_", "found"),
    [
        (["UPDATE audit SET actor = 'bob' WHERE seq = 3"], ["entry 3 does not say itself that its actor"]),
        (["UPDATE audit SET time = 7 WHERE seq = 3"], ["entry 3 does not say itself that its time is 7.0"]),
        (["UPDATE audit SET action = 'x' WHERE seq = 6"], ["entry 6 does not say itself that its action"]),
        (
            ["UPDATE audit SET entry = replace(entry, '2,\"search_id\"', '9,\"search_id\"') WHERE seq = 3"],
            ["entry 3 was changed: it does not match its hash"],
        ),
        (
            ["UPDATE audit SET entry = '[]' WHERE seq = 3"],
            ["entry 3 was changed", "entry 3 cannot be read"],
        ),
        (
            ["UPDATE audit SET entry = '{' WHERE seq = 3"],
            ["entry 3 was changed", "entry 3 cannot be read"],
        ),
        (
            ["UPDATE audit SET previous = hash WHERE seq = 3"],
            ["entry 3 does not follow from entry 2", "entry 3 was changed"],
        ),
        (
            ["UPDATE audit SET previous = hash WHERE seq = 1"],
            ["entry 1 does not follow from the gallery's identity", "entry 1 was changed"],
        ),
        (["DELETE FROM audit WHERE seq = 3"], ["entry 3 is missing"]),
        (["DELETE FROM audit WHERE seq IN (1, 3, 4)"], ["entry 1 is missing", "entries 3 to 4 are missing"]),
        (["DELETE FROM audit WHERE seq = 6"], ["the trail ends with entry 5", "up to 6"]),
        (["DELETE FROM audit"], ["the trail ends with entry 0", "up to 6"]),
        (["DELETE FROM audit_head"], ["the note of where the trail ends is gone", "its last entry is 6"]),
        (["UPDATE audit_head SET seq = 5"], ["noted to end with entry 5", "goes on to 6"]),
        (["UPDATE audit_head SET hash = 'x'"], ["the last entry, 6, has another hash than was noted"]),
        (
            ["UPDATE audit SET seq = 9 WHERE seq = 3"],
            ["entry 3 is missing", "entries 7 to 8 are missing", "entry 9 does not say itself"],
        ),
        (["UPDATE audit_crops SET crop = 'x'"], ["entry 2: the picture", "was changed"]),
        (["UPDATE audit_crops SET seq = 1"], ["entry 1 has a picture that it does not name"]),
        (["UPDATE audit_crops SET sha256 = 'x'"], ["entry 2 has a picture that it does not name"]),
    ],
)  # fmt: skip
def test_what_was_tampered_with_is_found(gallery: Gallery, statements_: list[str], found: list[str]) -> None:
    filled(gallery)
    forced(gallery, *statements_)
    lines = problems(gallery)
    assert lines
    for words in found:
        assert any(words in line for line in lines), lines
    assert all("\n" not in line for line in lines)
    named = {word.strip(":,") for line in lines for word in line.split()} & set("123456789")
    assert named  # each says which entry


def test_a_number_that_occurs_twice_is_found(sqlite_place: Place) -> None:
    with sqlite_place.create() as gallery:
        filled(gallery)
        forced(
            gallery,
            "CREATE TABLE other AS SELECT * FROM audit",
            "DROP TABLE audit",
            "ALTER TABLE other RENAME TO audit",
            "INSERT INTO audit SELECT * FROM audit WHERE seq = 3",
        )
        assert problems(gallery) == ["entry 3 comes after entry 3: its number was given before"]


def rewritten(gallery: Gallery, entry: AuditEntry, subject: dict[str, Any], previous: str) -> str:
    """Writes an entry anew with all that belongs to it; returns its hash."""
    with gallery._database.reading() as connection:
        row = connection.execute(sa.text("SELECT entry FROM audit WHERE seq = :seq"), {"seq": entry.seq})
        values = json.loads(row.scalar_one())
    text = json.dumps({**values, "subject": subject}, sort_keys=True, separators=(",", ":"))
    hash = digest(f"{previous}\n{text}")
    forced(
        gallery,
        "UPDATE audit SET entry = :text, previous = :previous, hash = :hash WHERE seq = :seq",
        text=text,
        previous=previous,
        hash=hash,
        seq=entry.seq,
    )
    return hash


def test_an_entry_with_a_new_hash_breaks_the_link_behind_it(gallery: Gallery) -> None:
    written = filled(gallery)
    rewritten(gallery, written[2], {}, written[1].hash)
    assert problems(gallery) == ["entry 4 does not follow from entry 3: what it is linked to was changed"]
    assert gallery.audit.verify((3, written[2].hash)).problems[-1].startswith("entry 3 is not the one")


def test_a_last_entry_with_a_new_hash_is_found(gallery: Gallery) -> None:
    written = filled(gallery)
    rewritten(gallery, written[5], {}, written[4].hash)
    assert problems(gallery) == ["the last entry, 6, has another hash than was noted (table audit_head)"]


def test_a_trail_cut_off_with_its_head_is_found_by_a_head_noted_earlier(gallery: Gallery) -> None:
    written = filled(gallery)
    noted = gallery.audit.head()
    forced(
        gallery,
        "DELETE FROM audit WHERE seq = 6",
        "UPDATE audit_head SET seq = 5, hash = :hash",
        hash=written[4].hash,
    )
    assert problems(gallery) == []
    assert problems(gallery, (5, written[4].hash)) == []
    assert problems(gallery, noted) == [
        "entry 6, the head you noted, is not there: the trail ends with entry 5"
    ]
    gallery.audit.append("mallory", "search", {})  # fills the place
    assert problems(gallery) == []
    assert problems(gallery, noted) == [
        "entry 6 is not the one whose hash you noted: the trail was written anew"
    ]


def test_a_trail_cut_off_with_its_head_is_found_by_the_pictures_of_what_is_gone(gallery: Gallery) -> None:
    written = filled(gallery)
    forced(
        gallery,
        "DELETE FROM audit WHERE seq >= 2",
        "UPDATE audit_head SET seq = 1, hash = :hash",
        hash=written[0].hash,
    )
    [line] = problems(gallery)
    assert re.fullmatch(r"the trail ends with entry 1, but \d pictures are of entry 2 or later ones", line), (
        line
    )


def test_a_trail_written_anew_is_found_by_a_head_noted_earlier(gallery: Gallery) -> None:
    written = filled(gallery)
    noted = gallery.audit.head()
    previous = written[1].hash
    for entry in written[2:]:
        previous = rewritten(gallery, entry, {"number": 99}, previous)
    forced(gallery, "UPDATE audit_head SET hash = :hash", hash=previous)
    assert problems(gallery) == []
    assert problems(gallery, (2, written[1].hash)) == []
    for entry in (written[2], written[5]):
        assert problems(gallery, (entry.seq, entry.hash)) == [
            f"entry {entry.seq} is not the one whose hash you noted: the trail was written anew"
        ]
    assert noted == (6, written[5].hash)


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM audit_head",
        "UPDATE audit_head SET seq = 3, hash = 'x'",
        "DELETE FROM audit WHERE seq > 3",
        "DELETE FROM audit WHERE seq IN (2, 6)",
    ],
)
def test_going_on_hides_no_break(gallery: Gallery, statement: str) -> None:
    filled(gallery)
    forced(gallery, statement)
    for number in range(3):
        assert gallery.audit.append("anna", "search", {"number": number}).seq == 7 + number
    assert problems(gallery)


def test_a_trail_belongs_to_its_gallery(gallery: Gallery) -> None:
    filled(gallery)
    forced(gallery, "UPDATE gallery SET uuid = 'another'")
    assert problems(gallery) == [
        "entry 1 does not follow from the gallery's identity: what it is linked to was changed"
    ]


def test_an_unreadable_entry_is_named(gallery: Gallery) -> None:
    filled(gallery)
    forced(gallery, "UPDATE audit SET entry = '{}' WHERE seq = 3")
    with pytest.raises(GalleryDamaged, match="entry 3 of the audit trail cannot be read"):
        gallery.audit.entries()
    assert [entry.seq for entry in gallery.audit.entries(before=3)] == [2, 1]


# Pictures


def test_pictures_are_read_by_their_place(gallery: Gallery) -> None:
    filled(gallery)
    assert [gallery.audit.crop(2, number) for number in range(3)] == [*PICTURES[:2], None]
    assert gallery.audit.crop(1, 0) is None
    assert gallery.audit.crop(99, 0) is None
    assert gallery.audit.crop(2, -1) is None


def test_pictures_can_be_erased_and_the_trail_stays_whole(gallery: Gallery) -> None:
    ids = fill(gallery, 3)
    searches = [searched(gallery) for _ in ids]
    for place in range(3):
        crops = [AuditCrop(PICTURES[place], ids[place]), AuditCrop(PICTURES[3], None)]
        gallery.audit.append("anna", "search", {"search_id": searches[place]}, crops=crops)

    def erase(tracklets: list[int], searches: list[int]) -> int:
        with gallery._database.writing() as connection:
            erased = statements.erase_crops(connection, tracklets, searches)
            statements.append(connection, "root", "erase", {"counts": {"audit_crops": erased}})
            return erased

    assert erase([], []) == 0
    assert erase([99], [99]) == 0
    assert erase([ids[0], 5], []) == 1
    assert [gallery.audit.crop(1, number) for number in range(2)] == [None, PICTURES[3]]
    assert erase([], [searches[1]]) == 2
    found = gallery.audit.verify()
    assert (found.problems, found.erased_crops) == ([], 3)
    assert gallery.audit.crop(3, 0) == PICTURES[2]
    assert [len(entry.crops) for entry in gallery.audit.entries(action="search")] == [2, 2, 2]
    assert erase(list(range(2000)), [searches[2], *range(1000, 3000)]) == 2
    assert gallery.audit.verify().erased_crops == 5


def test_one_picture_twice_in_an_entry(gallery: Gallery) -> None:
    first, second = fill(gallery, 2)
    crops = [AuditCrop(PICTURES[0], first), AuditCrop(PICTURES[0], second)]
    gallery.audit.append("anna", "search", {}, crops=crops)
    assert gallery.audit.verify().erased_crops == 0
    with gallery._database.writing() as connection:
        assert statements.erase_crops(connection, [first], []) == 1
    missed = gallery.audit.verify()
    assert missed.problems == ["1 pictures are gone that no erasure tells of"]
    gallery.audit.append("root", "erase", {"counts": {"audit_crops": 1}})
    found = gallery.audit.verify()
    assert (found.ok, found.erased_crops) == (True, 1)


def test_a_picture_that_was_erased_meanwhile_does_not_come_back(gallery: Gallery) -> None:
    """It was read before the erasure, and its entry is written after it."""
    erased, kept = fill(gallery, 2)
    both, lost = searched(gallery, erased, kept), searched(gallery, erased)
    crops = [AuditCrop(PICTURES[0], erased), AuditCrop(PICTURES[1], kept), AuditCrop(PICTURES[3])]
    done = gallery.erase([erased], actor="root", reason="asked for")
    for subject, left in (
        ({}, [None, PICTURES[1], PICTURES[3]]),
        ({"search_id": lost}, [None, None, None]),
        ({"search_id": both}, [None, PICTURES[1], None]),  # its upload was erased, the search was not
    ):
        assert gallery.check_erased(done) == []
        entry = gallery.audit.append("anna", "search", subject, crops=crops)
        assert entry.crops == tuple(digest(crop.jpeg) for crop in crops)
        assert [gallery.audit.crop(entry.seq, number) for number in range(3)] == left
    assert gallery.audit.verify().erased_crops == 6


def test_reading_the_trail_needs_no_writing(place: Place) -> None:
    with place.create() as gallery:
        written = filled(gallery)
    with place.open(read_only=True) as gallery:
        assert gallery.audit.entries() == written[::-1]
        assert gallery.audit.verify().ok
        with pytest.raises(GalleryReadOnly):
            gallery.audit.append("anna", "search", {})
