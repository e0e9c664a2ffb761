"""What is too old leaves by the rules, and what a case under legal hold is about stays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

from storage.case_records import NewExample
from storage.database import retention
from storage.errors import CropsExpired, HeldByCase, RuleNotFound, TrackletNotFound
from storage.gallery import EVERYTHING, Gallery
from storage.retention import Due, Rule
from tests.storage.making import OTHER, SPEC, Place, fill, random_vectors, tracklet, version

DAY = 86_400.0
NOW = 100 * DAY


def aged(gallery: Gallery, *days: float, camera: str = "door", first: int = 0) -> list[int]:
    """Finished tracklets that ended so many days before `NOW`."""
    source = gallery.begin_source(camera, f"{camera}.mp4", f"of {camera}", 0.0, "settings").id
    given = [
        tracklet(first + number, random_vectors(1, seed=first + number)[0], start=NOW - age * DAY - 0.9)
        for number, age in enumerate(days)
    ]
    return gallery.add_tracklets(source, given, SPEC)


def hold(gallery: Gallery, *examples: int, same: tuple[int, ...] = (), name: str = "Robbery") -> int:
    """A case under legal hold with one search; returns the case's id."""
    case = gallery.cases.add_case(name, "", "anna").id
    search = gallery.cases.add_search(
        "anna", [NewExample(number) for number in examples], EVERYTHING, 0.5, "seen there", case
    )
    for number in same:
        gallery.cases.decide(search.id, number, "same", "anna")
    gallery.cases.update_case(case, held=True)
    return case


def media_names(gallery: Gallery) -> set[str]:
    return {file.name for file in gallery.folder.glob("media/*/*")}


def left(gallery: Gallery) -> list[int]:
    return [record.id for record in gallery.tracklets()]


def test_rules_are_set_changed_and_removed(gallery: Gallery) -> None:
    keep = gallery.retention
    keep.set_rule(Rule("", 30, 60, 90.5))
    keep.set_rule(Rule("yard", embeddings_days=5))
    keep.set_rule(Rule("yard", crops_days=7))
    assert keep.rules() == [Rule("", 30.0, 60.0, 90.5), Rule("yard", 7.0, None, None)]
    keep.remove_rule("yard")
    with pytest.raises(RuleNotFound, match="camera 'yard' has no rule of its own"):
        keep.remove_rule("yard")
    keep.remove_rule("")
    with pytest.raises(RuleNotFound, match="no default rule"):
        keep.remove_rule("")
    for days in (0, -1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="crops_days"):
            Rule("", crops_days=days)


def test_nothing_leaves_without_a_rule(gallery: Gallery) -> None:
    ids = aged(gallery, 5000)
    assert gallery.retention.due() == gallery.retention.apply() == []
    assert left(gallery) == ids


def test_each_part_leaves_in_its_time(gallery: Gallery) -> None:
    ids = aged(gallery, 50, 35, 25, 15, 5)
    other = gallery.generations.begin(OTHER).id
    gallery.generations.add(other, ids, random_vectors(5, dimension=8))
    gallery.retention.set_rule(Rule("", crops_days=10, embeddings_days=20, metadata_days=40))
    expected = [Due("door", crops=3, embeddings=2, tracklets=1, held=0)]
    assert gallery.retention.due(NOW) == expected
    assert left(gallery) == ids, "a dry run changes nothing"
    steps: list[int] = []
    assert gallery.retention.apply(NOW, progress=steps.append) == expected
    assert steps == [1, 4, 6]
    records = list(gallery.tracklets())
    assert [(r.id, r.has_crops, r.searchable) for r in records] == [
        (ids[1], False, False),
        (ids[2], False, False),
        (ids[3], False, True),
        (ids[4], True, True),
    ]
    assert media_names(gallery) == {f"{ids[4]}.jpg", f"{ids[4]}.mjpeg"}
    assert [generation.num_embeddings for generation in gallery.generations.all()] == [2, 2]
    assert gallery.retention.due(NOW) == gallery.retention.apply(NOW) == [Due("door", 0, 0, 0, 0)]
    assert len(gallery.trajectory(ids[1]).xyxy) == 10


def test_age_counts_from_the_end_and_only_of_what_is_finished(gallery: Gallery) -> None:
    (short,) = aged(gallery, 10.001)
    (late,) = aged(gallery, 9.999, first=1)
    source = gallery.begin_source("yard", "yard", "of yard", 0.0, "settings", live=True).id
    (open_one,) = gallery.add_tracklets(source, [version(0, 20)], SPEC)
    gallery.retention.set_rule(Rule("", metadata_days=10))
    gallery.retention.apply(NOW)
    assert set(left(gallery)) == {late, open_one}
    assert short not in left(gallery)


def test_a_camera_s_own_rule_replaces_the_default_one(gallery: Gallery) -> None:
    door, yard, hall = (
        aged(gallery, 50, camera=name, first=10 * i)[0] for i, name in enumerate(("door", "yard", "hall"))
    )
    gallery.retention.set_rule(Rule("", metadata_days=40))
    gallery.retention.set_rule(Rule("yard"))
    gallery.retention.set_rule(Rule("hall", crops_days=1))
    assert [due.camera for due in gallery.retention.apply(NOW)] == ["door", "hall", "yard"]
    assert set(left(gallery)) == {yard, hall}
    assert not gallery.tracklet(hall).has_crops
    assert gallery.tracklet(hall).searchable
    assert door not in left(gallery)


def test_a_shorter_time_for_the_whole_takes_its_parts_along(gallery: Gallery) -> None:
    (number,) = aged(gallery, 20)
    gallery.retention.set_rule(Rule("door", crops_days=100, embeddings_days=100, metadata_days=10))
    assert gallery.retention.due(NOW) == [Due("door", 0, 0, 1, 0)]
    gallery.retention.apply(NOW)
    assert number not in left(gallery)
    assert media_names(gallery) == set()


def test_expired_crops_are_said_to_be_expired(gallery: Gallery) -> None:
    old, young = aged(gallery, 20, 5)
    gallery.retention.set_rule(Rule("", crops_days=10))
    gallery.retention.apply(NOW)
    for ask in (gallery.crops, gallery.thumbnail):
        with pytest.raises(CropsExpired, match=f"the pictures of tracklet {old} are deleted"):
            ask(old)
    assert len(gallery.crop_positions(old)) == 0
    assert len(gallery.crops(young)) == 3
    assert gallery.sweep(grace_s=0) == {"files_removed": 0, "tracklets_without_crops": 0}
    np.testing.assert_allclose(gallery.embedding(old), random_vectors(1, seed=0)[0], atol=1e-3)


def test_expired_embeddings_are_not_found_and_not_made_again(place: Place) -> None:
    with place.create() as gallery:
        old, young = aged(gallery, 20, 5)
        asked = random_vectors(1, seed=0)
        gallery.search(asked, SPEC, 5)
    with place.open() as gallery, place.open() as beside:
        assert [hit.record.id for hit in gallery.search(asked, SPEC, 5)[0]] == [old, young]
        assert [hit.record.id for hit in beside.search(asked, SPEC, 5)[0]] == [old, young]
        gallery.retention.set_rule(Rule("", embeddings_days=10))
        gallery.retention.apply(NOW)
        assert not list(place.folder.glob("index/*"))
        for each in (gallery, beside):
            assert [hit.record.id for hit in each.search(asked, SPEC, 5)[0]] == [young]
        with pytest.raises(TrackletNotFound, match=f"tracklet {old} cannot be searched for"):
            gallery.embedding(old)
        for spec in (SPEC, OTHER):
            generation = gallery.generations.begin(spec).id
            assert gallery.generations.missing(generation) == ([] if spec == SPEC else [young])
            assert gallery.generations.num_missing(generation) == (spec != SPEC)
            vectors = random_vectors(2, dimension=spec.dimension)
            assert gallery.generations.add(generation, [old, young], vectors) == (spec != SPEC)
        gallery.generations.switch(generation)
        assert gallery.generations.current().num_embeddings == 1  # type: ignore[union-attr]


def test_no_byte_of_an_expired_embedding_stays(sqlite_place: Place) -> None:
    with sqlite_place.create() as gallery:
        ids = aged(gallery, *([20] * 5), 1)
        gallery.search(random_vectors(1), SPEC, 5)
    patterns = [random_vectors(1, seed=number)[0].astype("<f2").tobytes() for number in range(6)]
    with sqlite_place.open() as gallery:
        assert found_in(sqlite_place.folder, patterns) == {0, 1, 2, 3, 4, 5}
        gallery.retention.set_rule(Rule("", embeddings_days=10))
        gallery.retention.apply(NOW)
        assert found_in(sqlite_place.folder, patterns) == {5}
        assert left(gallery) == ids


def found_in(folder: Path, patterns: list[bytes]) -> set[int]:
    content = b"".join(file.read_bytes() for file in folder.rglob("*") if file.is_file())
    return {number for number, pattern in enumerate(patterns) if pattern in content}


def test_what_lost_a_part_is_not_brought_back_by_a_longer_version(gallery: Gallery) -> None:
    source = gallery.begin_source("door", "door", "of door", 0.0, "settings", live=True).id
    given = [version(number, 20, finished=True) for number in range(3)]
    ids = gallery.add_tracklets(source, given, SPEC)
    gallery.retention.set_rule(Rule("", crops_days=1))
    gallery.retention.apply(NOW)
    assert gallery.add_tracklets(source, [version(0, 30, finished=True)], SPEC) == [ids[0]]
    assert not gallery.tracklet(ids[0]).has_crops
    assert media_names(gallery) == set()


def test_work_goes_in_batches_and_may_be_stopped(gallery: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.retention._AT_ONCE", 2)
    ids = aged(gallery, *([20] * 7))
    gallery.retention.set_rule(Rule("", crops_days=10, embeddings_days=10))
    asked = iter([False, False, False, True])
    (taken,) = gallery.retention.apply(NOW, should_stop=lambda: next(asked, True))
    assert taken == Due("door", crops=4, embeddings=0, tracklets=0, held=0)
    (taken,) = gallery.retention.apply(NOW)
    assert taken == Due("door", crops=3, embeddings=7, tracklets=0, held=0)
    assert not any(gallery.tracklet(number).has_crops for number in ids)


def test_a_batch_cut_off_after_its_commit_is_finished_by_the_sweep(
    gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = aged(gallery, 20, 20, 5)
    gallery.retention.set_rule(Rule("", crops_days=10))

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(gallery._media, "remove", die)
        with pytest.raises(KeyboardInterrupt):
            gallery.retention.apply(NOW)
    assert len(media_names(gallery)) == 6
    with pytest.raises(CropsExpired):
        gallery.crops(ids[0])
    assert gallery.sweep() == {"files_removed": 4, "tracklets_without_crops": 0}
    assert media_names(gallery) == {f"{ids[2]}.jpg", f"{ids[2]}.mjpeg"}


def test_a_legal_hold_keeps_examples_and_confirmed_tracklets(gallery: Gallery) -> None:
    example, same, unsure, different, undecided = aged(gallery, *([50] * 5))
    case = hold(gallery, example, same=(same,))
    search = gallery.cases.searches()[0].id
    gallery.cases.decide(search, unsure, "unsure", "anna")
    gallery.cases.decide(search, different, "different", "anna")
    gallery.retention.set_rule(Rule("", crops_days=10, embeddings_days=10, metadata_days=40))
    expected = [Due("door", crops=0, embeddings=0, tracklets=3, held=2)]
    assert gallery.retention.due(NOW) == gallery.retention.apply(NOW) == expected
    assert left(gallery) == [example, same]
    assert all(record.has_crops and record.searchable for record in gallery.tracklets())
    assert gallery.oldest_tracklets(10) == []
    assert gallery.delete_tracklets([example, same]) == 0
    assert len(gallery.crops(same)) == 3
    assert undecided not in left(gallery)
    gallery.cases.update_case(case, held=False)
    assert gallery.retention.apply(NOW) == [Due("door", 0, 0, 2, 0)]
    assert left(gallery) == []


def test_the_oldest_that_no_case_holds_are_found_behind_those_that_one_holds(
    gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.gallery._PAGE", 3)
    ids = fill(gallery, 10)
    hold(gallery, *ids[:4], same=(ids[6],))
    assert gallery.oldest_tracklets(3) == [ids[4], ids[5], ids[7]]
    assert gallery.oldest_tracklets(99) == [ids[4], ids[5], *ids[7:]]


def test_a_hold_that_comes_between_reading_and_taking_is_respected(gallery: Gallery) -> None:
    ids = aged(gallery, 50, 50)
    gallery.retention.set_rule(Rule("", crops_days=10))
    with gallery._database.reading() as connection:
        limits = retention.limits(connection, NOW)["door"]
        page = retention.page(connection, "crops", "door", limits, None, 10)
    assert [number for _, number in page] == ids
    hold(gallery, ids[0])
    with gallery._database.writing() as connection:
        assert retention.take(connection, "crops", ids) == [ids[1]]
    assert gallery.tracklet(ids[0]).has_crops


def test_a_source_with_held_tracklets_is_not_begun_anew(gallery: Gallery) -> None:
    ids = fill(gallery, 2)
    case = hold(gallery, ids[1])
    source = gallery.sources()[0].id
    with pytest.raises(HeldByCase, match=f"source {source} .* tracklet {ids[1]} .* 'Robbery'"):
        gallery.restart_source(source)
    assert left(gallery) == ids
    assert gallery.sources()[0].status == "running"
    gallery.cases.update_case(case, held=False)
    gallery.restart_source(source)
    assert left(gallery) == []


def test_a_camera_s_last_frame_leaves_with_its_crops(gallery: Gallery) -> None:
    aged(gallery, 1)
    gallery.set_camera_view("door", "recorded", "", b"\xff\xd8 old", NOW - 11 * DAY, NOW)
    gallery.set_camera_view("yard", "recorded", "", b"\xff\xd8 new", NOW - 9 * DAY, NOW)
    gallery.retention.set_rule(Rule("", crops_days=10))
    gallery.retention.apply(NOW)
    assert gallery.camera_frame("door") is None
    assert gallery.camera_frame("yard") == b"\xff\xd8 new"
    gallery.retention.set_rule(Rule("", metadata_days=8))
    gallery.retention.apply(NOW)
    assert gallery.camera_frame("yard") is None


def test_the_count_of_each_hour_follows_whole_tracklets_only(gallery: Gallery) -> None:
    aged(gallery, 50, 20)
    gallery.retention.set_rule(Rule("", crops_days=10, embeddings_days=10, metadata_days=40))
    gallery.retention.apply(NOW)
    with gallery._database.reading() as connection:
        counted = connection.execute(sa.text("SELECT SUM(num_tracklets) FROM tracklet_hours")).scalar_one()
    assert counted == gallery.counts()["tracklets"] == 1
