"""A person is erased from every table and file, and the check would say if anything were left."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import sqlalchemy as sa

from storage.audit_records import AuditCrop
from storage.case_records import NewExample
from storage.erasure import ErasurePlan
from storage.errors import HeldByCase, SearchNotFound, TrackletNotFound
from storage.gallery import EVERYTHING, Gallery
from storage.needles import Needle, of_jpeg, of_vector, search_files
from storage.records import EmbedderSpec, NewTracklet
from storage.watch_records import NewWatch
from tests.storage.conftest import ROOT, Start
from tests.storage.making import OTHER, SPEC, Place, fill, random_vectors, tracklet, unit, version

WIDE = EmbedderSpec("network", "cd" * 32, "crop-1", 512, {})
WHO = {"actor": "root", "reason": "asked for by letter"}


def jpeg(seed: int) -> bytes:
    """A picture that no other one resembles."""
    pixels = np.random.default_rng(seed).integers(0, 255, (48, 24, 3), np.uint8)
    return bytes(cv2.imencode(".jpg", pixels)[1])


def wide(seed: int) -> np.ndarray:
    return unit(np.random.default_rng(seed).normal(size=512))


def real(track_id: int, **changes: Any) -> NewTracklet:
    """A tracklet with pictures and a vector of its own."""
    crops = tuple(jpeg(100 * track_id + number) for number in range(3))
    return tracklet(track_id, wide(track_id), crops=crops, **changes)


def fill_real(gallery: Gallery, count: int, camera: str = "door", first: int = 0) -> list[int]:
    source = gallery.begin_source(camera, f"{camera}.mp4", f"of {camera}", 1000.0, "settings").id
    return gallery.add_tracklets(source, [real(first + number) for number in range(count)], WIDE)


def everywhere(gallery: Gallery) -> dict[str, Any]:
    """A gallery that shows tracklet "erased" in every table that can; what belongs to others, too."""
    ids = fill_real(gallery, 8)
    erased, same, other = ids[2], ids[3], ids[5]
    more = gallery.generations.begin(OTHER).id
    gallery.generations.add(more, ids, random_vectors(8, dimension=8))
    watch = gallery.watching.add_watch(NewWatch("someone", 0.5, tracklets=(erased, other)))
    cursor, _, _ = gallery.watching.unmatched_embeddings(10)
    wanted = gallery.watching.add_watch(
        NewWatch("wanted", 0.5, tracklets=(erased,), crops=(jpeg(9301), jpeg(9302)))
    )
    both = gallery.watching.add_watch(NewWatch("both", 0.5, (erased, same), (jpeg(9303),)))
    gallery.watching.add_watch(NewWatch("another", 0.5, crops=(jpeg(9304),)))
    matches = [(watch, erased, 0.9), (watch, other, 0.8), (wanted, other, 0.7), (both, same, 0.7)]
    gallery.watching.record_alerts(cursor, matches, 1.0)
    upload = NewExample(description={"file": "a.jpg"}, crops=(jpeg(9001), jpeg(9002)), vector=wide(9001))
    searches = {
        "of it": gallery.cases.add_search("anna", [NewExample(erased)], EVERYTHING, 0.5, "x").id,
        "of both": gallery.cases.add_search(
            "anna", [NewExample(erased), NewExample(other)], EVERYTHING, 0.5, "x"
        ).id,
        "upload": gallery.cases.add_search("anna", [upload], EVERYTHING, 0.5, "x").id,
        "others": gallery.cases.add_search(
            "anna", [NewExample(other), NewExample(crops=(jpeg(9003),))], EVERYTHING, 0.5, "x"
        ).id,
    }
    gallery.cases.decide(searches["upload"], erased, "same", "anna")
    gallery.cases.decide(searches["upload"], other, "different", "anna")
    gallery.cases.decide(searches["others"], erased, "different", "anna")
    gallery.cases.decide(searches["others"], same, "same", "anna")
    for name, pictures in (
        ("of it", [AuditCrop(jpeg(9101), erased)]),
        ("upload", [AuditCrop(jpeg(9102), None)]),
        ("others", [AuditCrop(jpeg(9103), other)]),
    ):
        gallery.audit.append("anna", "search", {"search_id": searches[name]}, crops=pictures)
    record = gallery.tracklet(erased)
    gallery.set_camera_view("door", "recorded", "", jpeg(9201), record.start + 0.2, 2000.0)
    gallery.set_camera_view("yard", "recorded", "", jpeg(9202), record.start + 0.2, 2000.0)
    gallery.search(wide(2)[None], WIDE, 3)
    return {"ids": ids, "erased": erased, "same": same, "other": other, "searches": searches}


def test_all_that_shows_the_person_is_gone_and_nothing_else(place: Place) -> None:
    with place.create() as gallery:
        made = everywhere(gallery)
    erased, others = made["erased"], [number for number in made["ids"] if number != made["erased"]]
    with place.open() as gallery, place.open() as beside:
        beside.search(wide(2)[None], WIDE, 3)
        gallery.search(wide(2)[None], WIDE, 3)
        expected = {
            "tracklets": 1,
            "trajectories": 1,
            "embeddings": 2,
            "watch_examples": 6,
            "watches": 1,
            "alerts": 2,
            "search_examples": 3,
            "searches": 2,
            "decisions": 3,
            "audit_crops": 2,
            "camera_frames": 1,
        }
        touched = tuple(made["searches"].values())
        assert gallery.would_erase([erased]) == ErasurePlan(expected, touched)
        assert gallery.counts()["tracklets"] == 8
        done = gallery.erase([erased], **WHO, origin="10.0.0.1", now=5000.0)
        assert (done.ids, done.counts, done.searches) == ((erased,), expected, touched)
        assert done.at == 5000.0
        assert gallery.check_erased(done) == []
        assert [record.id for record in gallery.tracklets()] == others
        for each in (gallery, beside):
            assert erased not in {hit.record.id for hit in each.search(wide(2)[None], WIDE, 8)[0]}
        assert not list(gallery.folder.glob(f"media/*/{erased}.*"))
        left = {search.id: search for search in gallery.cases.searches()}
        assert set(left) == {made["searches"]["of both"], made["searches"]["others"]}
        assert [e.tracklet_id for e in left[made["searches"]["of both"]].examples] == [made["other"]]
        assert [bool(e.crops) for e in left[made["searches"]["others"]].examples] == [False, True]
        assert [d.verdict for d in left[made["searches"]["others"]].decisions] == ["same"]
        assert [gallery.audit.crop(seq, 0) for seq in (1, 2, 3)] == [None, None, jpeg(9103)]
        assert gallery.camera_frame("door") is None
        assert gallery.camera_frame("yard") == jpeg(9202)
        watches = {watch.name: watch.examples for watch in gallery.watching.watches()}
        assert {name: [e.tracklet_id for e in examples] for name, examples in watches.items()} == {
            "someone": [made["other"]],
            "both": [made["same"]],
            "another": [None],
        }
        assert watches["another"][0].crop == jpeg(9304)
        alerts = [(alert.watch, alert.record.id) for alert in gallery.watching.alerts()]
        assert alerts == [("someone", made["other"]), ("both", made["same"])]
        (entry,) = gallery.audit.entries(action="erase")
        assert (entry.actor, entry.origin, entry.seq) == ("root", "10.0.0.1", done.entry)
        assert entry.subject["tracklets"] == [erased]
        assert entry.subject["reason"] == "asked for by letter"
        assert entry.subject["counts"] == expected
        assert entry.crops == ()
        assert gallery.audit.verify().ok
    with place.open() as gallery:
        assert gallery.check_erased(done) == []


def test_before_the_erasure_every_needle_is_found_and_after_it_none(sqlite_place: Place) -> None:
    """What the check looks for does lie in the files as long as it should."""
    with sqlite_place.create() as gallery:
        made = everywhere(gallery)
    (sqlite_place.folder / "work" / "scratch").write_bytes(b"nothing of interest")
    with sqlite_place.open() as gallery:
        scope, needles = traces(gallery, made["erased"])
        assert len({needle.whose for needle in needles}) == 8, sorted({n.whose for n in needles})
        files = [file for file in sqlite_place.folder.rglob("*") if file.is_file()]
        found = search_files(files, needles)
        missing = set(needles) - set().union(*found.values())
        assert len(missing) == 2, "an index holds the current generation's tracklets only"
        assert all(needle.vector not in (None, needle.content) for needle in missing)
        names = {file.suffix or file.name for file in found}
        assert names >= {".db", ".faiss", ".mjpeg"}
        done = gallery.erase([made["erased"]], **WHO)
        assert set(done.needles) == set(needles)
        files = [file for file in sqlite_place.folder.rglob("*") if file.is_file()]
        assert search_files(files, needles) == {}
    files = [file for file in sqlite_place.folder.rglob("*") if file.is_file()]
    assert search_files(files, needles) == {}
    assert scope == (made["erased"],)


def traces(gallery: Gallery, *ids: int) -> tuple[tuple[int, ...], tuple[Needle, ...]]:
    from storage.erasure import _scope

    with gallery._database.reading() as connection:
        scope = _scope(connection, ids, [])
        return scope.ids, gallery._eraser._traces(connection, scope)[2]


def test_the_check_finds_what_was_left(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    with place.create() as gallery:
        made = everywhere(gallery)
    erased = made["erased"]
    with place.open() as gallery:
        gallery.search(wide(2)[None], WIDE, 3)
        (snapshot,) = place.folder.glob("index/*.faiss")
        kept = {file: file.read_bytes() for file in (snapshot, snapshot.with_suffix(".json"))}
        record, crops = gallery.tracklet(erased), gallery.crops(erased)
        with gallery._database.reading() as connection:
            packed = connection.execute(
                sa.text(f"SELECT vector FROM embeddings WHERE tracklet_id = {erased} AND generation_id = 1")
            ).scalar_one()
        with monkeypatch.context() as patched:  # an index that does not follow
            patched.setattr(gallery._index, "refresh", lambda: None)
            done = gallery.erase([erased], **WHO)
            found = gallery.check_erased(done)
        assert found == [f"a search in this process's index finds tracklet {erased}"]
        assert gallery.check_erased(done) == []

        record.thumbnail.with_name(f"{erased}.7.mjpeg").write_bytes(b"x")
        for file, content in kept.items():
            file.write_bytes(content)
        scratch = gallery.work_folder / "run" / "half.bin"
        scratch.parent.mkdir()
        scratch.write_bytes(b"y" * 5_000_001 + bytes(packed) + b"".join(crops))
        found = gallery.check_erased(done)
        assert any(f"{erased}.7.mjpeg is a file of an erased tracklet" in line for line in found)
        assert any("is an index of before the erasure" in line for line in found)
        assert any(f"half.bin holds a piece of the embedding of tracklet {erased}" in line for line in found)
        assert any(f"half.bin holds a piece of a picture of tracklet {erased}" in line for line in found)
        assert any(f"{snapshot} holds a piece of the embedding" in line for line in found)
        with gallery._database.writing() as connection:
            connection.execute(
                sa.text(
                    "INSERT INTO audit_crops (seq, sha256, crop, tracklet_id) VALUES (1, 'x', :crop, :id)"
                ),
                {"crop": crops[0], "id": erased},
            )
        watch = gallery.watching.watches()[-1]  # as if it had been erased
        scope = replace(done.scope, watch_pictures=(watch.examples[0].id,), empty_watches=(watch.id,))
        found = gallery.check_erased(replace(done, scope=scope))
        assert "1 rows of the table audit_crops have a tracklet_id that was erased" in found
        assert "1 rows of the table watches have a id that was erased" in found
        assert "1 rows of the table watch_examples have a id that was erased" in found
        assert "1 rows of the table watch_examples have a watch_id that was erased" in found
        if gallery.backend == "sqlite":
            assert any(line.startswith(f"{gallery.folder / 'gallery.db'}") for line in found)


def test_the_same_numbers_of_another_tracklet_are_no_trace(sqlite_place: Place) -> None:
    """Two copies of one video give equal embeddings; one of them is erased."""
    with sqlite_place.create() as gallery:
        first, second = (
            gallery.add_tracklets(
                gallery.begin_source(camera, camera, camera, 0.0, "s").id, [real(1, start=begin)], WIDE
            )[0]
            for camera, begin in (("a", 0.0), ("b", 50.0))
        )
        gallery.search(wide(1)[None], WIDE, 2)
        done = gallery.erase([first], **WHO)
        assert done.needles
        assert gallery.check_erased(done) == []
        assert gallery.search(wide(1)[None], WIDE, 2)[0][0].record.id == second


def test_searches_can_be_erased_with_their_uploads(gallery: Gallery) -> None:
    made = everywhere(gallery)
    others = made["searches"]["others"]
    assert gallery.would_erase([], also_searches=[others]).searches == (others,)
    assert gallery.would_erase([], also_searches=[made["searches"]["of it"]]).searches == ()
    done = gallery.erase([], **WHO, also_searches=[others])
    assert done.counts["search_examples"] == 1
    assert done.counts["searches"] == done.counts["tracklets"] == 0
    assert [e.crops for e in gallery.cases.search(others).examples] == [()]
    assert gallery.audit.crop(3, 0) is None
    assert gallery.check_erased(done) == []
    done = gallery.erase([made["other"]], **WHO, also_searches=[made["searches"]["upload"]])
    assert {search.id for search in gallery.cases.searches()} == {
        made["searches"]["of it"],
        made["searches"]["of both"],
    }
    assert gallery.check_erased(done) == []


def test_an_erasure_tells_which_searches_it_changes(gallery: Gallery) -> None:
    gone, kept, other = fill_real(gallery, 3)

    def asked(*examples: NewExample, **verdicts: int) -> int:
        made = gallery.cases.add_search("anna", examples, EVERYTHING, 0.5, "x").id
        for verdict, number in verdicts.items():
            gallery.cases.decide(made, number, verdict, "anna")
        return made

    changed = [
        asked(NewExample(gone)),
        asked(NewExample(kept), NewExample(gone)),
        asked(NewExample(kept), different=gone),
        asked(NewExample(crops=(jpeg(9001),)), same=gone),
        asked(NewExample(kept), unsure=gone),
    ]
    gallery.cases.undo(changed[-1], gone, "anna")
    asked(NewExample(kept), same=other)
    asked(NewExample(crops=(jpeg(9002),)), different=kept)
    assert gallery.would_erase([gone]).searches == tuple(changed)
    assert gallery.erase([gone], **WHO).searches == tuple(changed)
    assert gallery.would_erase([other]).searches == (changed[-1] + 1,)


def test_what_does_not_exist_or_is_held_is_refused_as_a_whole(gallery: Gallery) -> None:
    ids = fill_real(gallery, 4)
    before = gallery.counts()
    case = gallery.cases.add_case("Robbery", "", "anna").id
    search = gallery.cases.add_search("anna", [NewExample(crops=(jpeg(1),))], EVERYTHING, 0.5, "x", case).id
    gallery.cases.decide(search, ids[1], "same", "anna")
    gallery.cases.update_case(case, held=True)
    for ask in (gallery.would_erase, lambda ids, **more: gallery.erase(ids, **WHO, **more)):
        with pytest.raises(TrackletNotFound, match="999"):
            ask([ids[0], 999])
        with pytest.raises(SearchNotFound, match="77"):
            ask([ids[0]], also_searches=[77])
        with pytest.raises(HeldByCase, match=f"tracklet {ids[1]} .*'Robbery'"):
            ask([ids[0], ids[1]])
        with pytest.raises(HeldByCase, match="'Robbery'"):
            ask([ids[0]], also_searches=[search])
        with pytest.raises(ValueError, match="nothing to erase"):
            ask([])
    with pytest.raises(ValueError, match="needs a reason"):
        gallery.erase(ids[:1], actor="root", reason=" ")
    assert gallery.counts() == before
    assert gallery.audit.entries(action="erase") == []
    gallery.cases.update_case(case, held=False)
    assert gallery.erase([ids[1]], **WHO).counts["searches"] == 1


def test_a_track_still_in_view_does_not_come_back(gallery: Gallery) -> None:
    source = gallery.begin_source("door", "door", "of door", 1000.0, "settings", live=True).id
    first, second = gallery.add_tracklets(source, [version(0, 20), version(1, 20)], SPEC)
    key = version(0, 20).key
    done = gallery.erase([first], **WHO)
    longer = [version(0, 30), version(1, 30), version(0, 40, finished=True)]
    refining = {key, version(1, 20).key}
    assert gallery.add_tracklets(source, longer, SPEC, refining=refining) == [second]
    assert [record.id for record in gallery.tracklets()] == [second]
    assert gallery.check_erased(done) == []


def test_a_source_that_is_read_again_does_not_bring_it_back(gallery: Gallery) -> None:
    """A half-done ingest knows what is stored, and gives all else again."""
    source = gallery.begin_source("door", "door", "of door", 1000.0, "settings").id
    first, second = gallery.add_tracklets(source, [version(0, 20), version(1, 20)], SPEC)
    done = gallery.erase([first], **WHO)
    again = [version(0, 20, finished=True), tracklet(0, first_frame=99), version(2, 20)]
    ids = gallery.add_tracklets(source, again, SPEC)
    assert len(ids) == 2, "another tracklet of that track is another tracklet"
    assert {record.id for record in gallery.tracklets()} == {second, *ids}
    assert gallery.check_erased(done) == []
    gallery.erase([second], **WHO)
    gallery.restart_source(source, settings_hash="others")  # then its tracks have other numbers
    assert len(gallery.add_tracklets(source, [version(1, 20)], SPEC)) == 1
    gallery.erase([record.id for record in gallery.tracklets()], **WHO)
    gallery.finish_source(source, {})
    with gallery._database.reading() as connection:
        assert connection.execute(sa.text("SELECT COUNT(*) FROM erased_tracks")).scalar_one() == 0


def test_an_erasure_that_was_killed_is_finished_by_the_sweep(place: Place, start_process: Start) -> None:
    with place.create() as gallery:
        made = everywhere(gallery)
    erased = made["erased"]
    with place.open(read_only=True) as gallery:
        _, needles = traces(gallery, erased)
    process = start_process(
        f"""
        import os, signal
        from storage import upkeep

        def die(*_):
            os.kill(os.getpid(), signal.SIGKILL)

        upkeep.remove_traces = die
        gallery = place.open()
        gallery.search(random_vectors(1, dimension=512), gallery.generations.current().spec, 1)
        gallery.erase([{erased}], actor="root", reason="r")
        """
    )
    assert process.wait(60) == -9
    assert list(place.folder.glob(f"media/*/{erased}.*"))
    assert list(place.folder.glob("index/*.faiss"))
    with place.open() as gallery:
        assert [entry.subject["tracklets"] for entry in gallery.audit.entries(action="erase")] == [[erased]]
        assert gallery.sweep() == {"files_removed": 2, "tracklets_without_crops": 0}
        assert not list(place.folder.glob(f"media/*/{erased}.*"))
        assert not list(place.folder.glob("index/*.faiss"))
        files = [file for file in place.folder.rglob("*") if file.is_file()]
        assert search_files(files, needles) == {}
        assert erased not in {hit.record.id for hit in gallery.search(wide(2)[None], WIDE, 8)[0]}


@pytest.mark.parametrize("seed", [1, 2])
def test_pages_that_were_filled_and_emptied_keep_no_old_bytes(sqlite_place: Place, seed: int) -> None:
    """SQLite moves rows between pages as others come and go; copies must not stay where they were."""
    rng = np.random.default_rng(seed)
    narrow = EmbedderSpec("narrow", "ef" * 32, "crop-1", 64, {})
    with sqlite_place.create() as gallery:
        source = gallery.begin_source("door", "door", "of door", 0.0, "settings", live=True).id
        alive: list[int] = []
        number = 0
        for _ in range(20):
            given = [tracklet(number + i, unit(rng.normal(size=64))) for i in range(int(rng.integers(1, 30)))]
            number += len(given)
            alive += gallery.add_tracklets(source, given, narrow)
            if len(alive) > 20:
                chosen = rng.choice(alive, int(rng.integers(1, len(alive) // 3)), replace=False)
                gone = {int(each) for each in chosen}
                assert gallery.check_erased(gallery.erase(gone, **WHO)) == []
                alive = [each for each in alive if each not in gone]


def test_needles_are_not_cut_from_what_repeats() -> None:
    sparse = np.zeros(512, np.float32)
    assert of_vector("sparse", sparse.astype("<f2").tobytes(), sparse) == []
    sparse[300:400] = wide(0)[300:400]
    (narrow, broad) = of_vector("part", sparse.astype("<f2").tobytes(), sparse)
    assert len(narrow.content) == len(broad.content) == 64
    assert broad.content in sparse.tobytes()
    assert of_jpeg("flat", bytes(cv2.imencode(".jpg", np.full((48, 24, 3), 90, np.uint8))[1])) == []
    (needle,) = of_jpeg("noise", jpeg(5))
    assert needle.content in jpeg(5)
    assert needle.content not in jpeg(6)


def test_needles_are_found_wherever_a_block_ends(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    needles = [Needle(f"{i}", rng.bytes(64 if i % 2 else 16)) for i in range(40)]
    hay = bytearray(rng.bytes(9 << 20))
    size = 4 << 20
    places = [0, 100, size - 71, size - 7, 2 * size - 64, 2 * size, len(hay) - 16]
    for place, needle in zip(places, needles, strict=False):
        hay[place : place + len(needle.content)] = needle.content
    file = tmp_path / "hay"
    file.write_bytes(hay)
    expected = {needle for needle in needles if needle.content in hay}
    assert len(expected) == 7
    assert search_files([file, tmp_path / "gone"], needles) == {file: expected}


def test_filled_galleries_of_the_other_tests_can_be_erased(gallery: Gallery) -> None:
    """Embeddings and pictures too short for needles."""
    ids = fill(gallery, 3)
    assert gallery.check_erased(gallery.erase(ids, **WHO)) == []
    assert gallery.counts()["tracklets"] == 0


def test_an_erasure_takes_no_lock_away_from_those_who_write(sqlite_place: Place) -> None:
    """Who closes a file gives up all locks of its process on it, SQLite's too: others then drop its log."""
    look = f"""
from pathlib import Path
from storage.gallery import Gallery
with Gallery.open(Path({str(sqlite_place.folder)!r}), read_only=True) as gallery:
    print(*(case.name for case in gallery.cases.cases()), gallery.audit.verify().ok)
"""

    def seen_by_another_process() -> str:
        done = subprocess.run(
            [sys.executable, "-c", look], cwd=ROOT, capture_output=True, text=True, check=True
        )
        return done.stdout

    with sqlite_place.create() as gallery:
        done = gallery.erase([everywhere(gallery)["erased"]], **WHO)
        assert done.needles
        assert gallery.check_erased(done) == []
        seen_by_another_process()
        for name in ("written-after", "and-again"):
            gallery.cases.add_case(name, "", "ada")
            assert f"{name}" in seen_by_another_process()
        assert seen_by_another_process().endswith("True\n")
