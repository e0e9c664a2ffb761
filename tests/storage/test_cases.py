"""Cases, searches and decisions: what goes in comes back, the newest decision counts, holds hold."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from storage.case_records import NewExample, SearchRecord, model_identity
from storage.errors import (
    CaseExists,
    CaseHeld,
    CaseNotFound,
    GalleryReadOnly,
    GenerationNotFound,
    HeldByCase,
    SearchNotFound,
    TrackletNotFound,
)
from storage.gallery import Gallery
from storage.records import GalleryFilter
from tests.storage.making import DIMENSION, JPEG, OTHER, SPEC, Place, fill, random_vectors

CROPS = (JPEG % (1, 2), JPEG % (3, 4) + b"longer", JPEG % (5, 6))
EVERYTHING = GalleryFilter()


def search(gallery: Gallery, *examples: NewExample, **changes: Any) -> SearchRecord:
    values = {"author": "ada", "filter": EVERYTHING, "threshold": 0.5, "reason": "theft"} | changes
    return gallery.cases.add_search(examples=examples or (NewExample(crops=CROPS),), **values)


# Cases


def test_a_case_comes_back_as_it_went_in(gallery: Gallery) -> None:
    made = gallery.cases.add_case("  Harbour 7 ", "two\nlines", "ada", now=5.0)
    assert (made.name, made.description, made.owner) == ("Harbour 7", "two\nlines", "ada")
    assert (made.created, made.closed, made.held, made.members) == (5.0, None, False, frozenset())
    assert (made.num_searches, made.num_notes) == (0, 0)
    changed = gallery.cases.update_case(
        made.id, name="Harbour 8", description="", members=["bo", "cy", "bo"], closed=True, held=True, now=9.0
    )
    assert (changed.name, changed.description, changed.members) == ("Harbour 8", "", {"bo", "cy"})
    assert (changed.closed, changed.held, changed.created) == (9.0, True, 5.0)
    assert gallery.cases.case(made.id) == changed
    reopened = gallery.cases.update_case(made.id, closed=False, members=[])
    assert (reopened.closed, reopened.members, reopened.held) == (None, frozenset(), True)


def test_whose_cases(gallery: Gallery) -> None:
    mine, shared, foreign = (
        gallery.cases.add_case(name, "", owner)
        for name, owner in (("mine", "ada"), ("shared", "bo"), ("foreign", "bo"))
    )
    gallery.cases.update_case(shared.id, members=["ada"])
    assert [case.id for case in gallery.cases.cases()] == [foreign.id, shared.id, mine.id]
    assert [case.id for case in gallery.cases.cases("ada")] == [shared.id, mine.id]
    assert [case.id for case in gallery.cases.cases("bo")] == [foreign.id, shared.id]
    assert gallery.cases.cases("cy") == []


def test_lists_of_cases_go_on_where_they_ended(gallery: Gallery) -> None:
    ids = [gallery.cases.add_case(f"case {number}", "", "ada").id for number in range(5)]
    for number in (ids[1], ids[3]):
        gallery.cases.update_case(number, members=["bo", "cy"], closed=number == ids[1])

    def listed(user: str | None = None, **how: Any) -> list[int]:
        return [case.id for case in gallery.cases.cases(user, **how)]

    assert listed(limit=2) == [ids[4], ids[3]]
    assert listed(before=ids[3], limit=2) == [ids[2], ids[1]]
    assert listed(before=ids[1], limit=2) == [ids[0]]
    assert listed("bo", limit=1) == [ids[3]]
    assert listed("bo", before=ids[3], limit=1) == [ids[1]]
    assert listed(is_open=True, before=ids[3]) == [ids[2], ids[0]]
    assert listed("bo", is_open=False) == [ids[1]]
    assert [case.members for case in gallery.cases.cases(limit=2)] == [frozenset(), {"bo", "cy"}]
    named = gallery.cases.case_named("case 3")
    assert named == gallery.cases.case(ids[3])
    assert gallery.cases.case_named("case 9") is None


def test_wrong_cases_are_refused(gallery: Gallery) -> None:
    first, second = gallery.cases.add_case("first", "", "ada"), gallery.cases.add_case("second", "", "ada")
    with pytest.raises(CaseExists, match="'first' already"):
        gallery.cases.add_case("first", "", "bo")
    with pytest.raises(CaseExists, match="'first' already"):
        gallery.cases.update_case(second.id, name="first")
    assert gallery.cases.update_case(first.id, name="first").name == "first"
    for name in (" ", "a\nb"):
        with pytest.raises(ValueError, match="readable name"):
            gallery.cases.add_case(name, "", "ada")
    with pytest.raises(ValueError, match="needs a text"):
        gallery.cases.add_note(first.id, "ada", " \n")
    for ask in (
        lambda: gallery.cases.case(99),
        lambda: gallery.cases.update_case(99, held=True),
        lambda: gallery.cases.remove_case(99),
        lambda: gallery.cases.add_note(99, "ada", "x"),
        lambda: search(gallery, case_id=99),
    ):
        with pytest.raises(CaseNotFound, match="no case has the id 99"):
            ask()


def test_notes(gallery: Gallery) -> None:
    case = gallery.cases.add_case("a", "", "ada")
    first = gallery.cases.add_note(case.id, "bo", "seen <b>twice</b>", now=7.0)
    second = gallery.cases.add_note(case.id, "ada", "a\0b")
    assert gallery.cases.notes(case.id) == [second, first]
    assert gallery.cases.notes(case.id, limit=1) == [second]
    assert gallery.cases.notes(case.id, before=second.id, limit=1) == [first]
    assert gallery.cases.notes(case.id, before=first.id) == []
    assert (first.author, first.created, first.text) == ("bo", 7.0, "seen <b>twice</b>")
    assert second.text == "a\\x00b"
    assert gallery.cases.case(case.id).num_notes == 2


def test_a_removed_case_takes_all_of_it_along(gallery: Gallery) -> None:
    (number,) = fill(gallery, 1)
    case = gallery.cases.add_case("a", "", "ada")
    inside, outside = search(gallery, case_id=case.id), search(gallery)
    gallery.cases.decide(inside.id, number, "same", "ada")
    gallery.cases.add_note(case.id, "ada", "x")
    gallery.cases.update_case(case.id, held=True)
    with pytest.raises(CaseHeld, match="'a' is under legal hold"):
        gallery.cases.remove_case(case.id)
    assert gallery.cases.case(case.id).num_searches == 1
    gallery.cases.update_case(case.id, held=False)
    gallery.cases.remove_case(case.id)
    assert gallery.cases.cases() == []
    assert [each.id for each in gallery.cases.searches()] == [outside.id]
    assert gallery.cases.notes(case.id) == []


# Searches


@pytest.mark.parametrize(
    "filter",
    [
        EVERYTHING,
        GalleryFilter(
            cameras=frozenset(["door", "Küche"]), start=1.1, end=1700000000.123456, min_quality=0.1
        ),
        GalleryFilter(exclude_cameras=frozenset(["a"]), exclude_span=("Küche", 0.1, 1 / 3)),
    ],
)
def test_a_search_comes_back_as_it_went_in(gallery: Gallery, filter: GalleryFilter) -> None:
    ids = fill(gallery, 2)
    case = gallery.cases.add_case("a", "", "ada")
    made = search(
        gallery,
        NewExample(ids[1], {"camera": "door"}),
        NewExample(description={"file": "face é.png", "box": [1, 2.5]}, crops=CROPS),
        filter=filter, threshold=np.float32(0.25), reason="lost child", case_id=case.id, now=12.5,
    )  # fmt: skip
    assert gallery.cases.search(made.id) == made
    assert (made.case_id, made.author, made.created) == (case.id, "ada", 12.5)
    assert (made.reason, made.threshold, made.filter, made.decisions) == ("lost child", 0.25, filter, ())
    tracklet, pictures = made.examples
    assert (tracklet.tracklet_id, tracklet.crops, tracklet.description) == (ids[1], (), {"camera": "door"})
    assert (pictures.tracklet_id, pictures.crops) == (None, CROPS)
    assert pictures.description == {"file": "face é.png", "box": [1, 2.5]}
    assert gallery.cases.case(case.id).num_searches == 1


def test_lists_of_searches(gallery: Gallery) -> None:
    case = gallery.cases.add_case("a", "", "ada")
    ids = [search(gallery, author=author).id for author in ("ada", "bo", "ada", "bo", "ada")]
    assert gallery.cases.update_search(ids[1], case_id=case.id, threshold=-0.5).threshold == -0.5
    listed = [each.id for each in gallery.cases.searches()]
    assert listed == ids[::-1]
    assert [each.id for each in gallery.cases.searches(before=ids[3], limit=2)] == [ids[2], ids[1]]
    assert [each.id for each in gallery.cases.searches(author="ada")] == [ids[4], ids[2], ids[0]]
    assert [each.id for each in gallery.cases.searches(case_id=case.id)] == [ids[1]]
    assert gallery.cases.update_search(ids[1], threshold=0.1).case_id == case.id
    assert gallery.cases.update_search(ids[1], case_id=None).case_id is None
    assert gallery.cases.searches(case_id=case.id) == []
    gallery.cases.remove_search(ids[4])
    with pytest.raises(SearchNotFound, match=f"no search has the id {ids[4]}"):
        gallery.cases.search(ids[4])
    assert search(gallery).id not in ids  # ids are never given twice


def test_a_threshold_is_of_the_model_it_was_chosen_for(gallery: Gallery) -> None:
    assert search(gallery).model == ""  # no tracklet, no model
    ids = fill(gallery, 2)
    made, said = search(gallery), search(gallery, model=model_identity(OTHER))
    assert (made.model, said.model) == (model_identity(SPEC), model_identity(OTHER))
    later = gallery.generations.begin(OTHER)
    vectors = random_vectors(2, dimension=OTHER.dimension)
    gallery.generations.add(later.id, ids, vectors, gallery.num_frames(ids))
    gallery.generations.switch(later.id)
    case = gallery.cases.add_case("a", "", "ada")
    assert gallery.cases.update_search(made.id, case_id=case.id).model == model_identity(SPEC)
    assert gallery.cases.update_search(made.id, threshold=0.4).model == model_identity(OTHER)
    back = gallery.cases.update_search(made.id, threshold=0.4, model=model_identity(SPEC))
    assert (back.model, back.threshold) == (model_identity(SPEC), 0.4)
    assert gallery.cases.search(made.id) == back
    with pytest.raises(ValueError, match="give the threshold, too"):
        gallery.cases.update_search(made.id, model=model_identity(OTHER))


@pytest.mark.parametrize("field", ["name", "weights_hash", "preprocessing_hash", "dimension"])
def test_other_models_have_other_identities(field: str) -> None:
    other = replace(SPEC, **{field: 99 if field == "dimension" else "another"})
    assert model_identity(other) != model_identity(SPEC)
    assert model_identity(replace(SPEC, config={"x": 1})) == model_identity(SPEC)


def test_wrong_searches_are_refused(gallery: Gallery) -> None:
    made = search(gallery)
    for call, expected in (
        (lambda: gallery.cases.add_search("ada", [], EVERYTHING, 0.5, "x"), "needs a tracklet or a picture"),
        (lambda: search(gallery, threshold=1.5), "cosine"),
        (lambda: search(gallery, threshold=float("nan")), "cosine"),
        (lambda: gallery.cases.update_search(made.id, threshold=-2), "cosine"),
        (lambda: NewExample(), "one of the two"),
        (lambda: NewExample(1, crops=CROPS), "one of the two"),
        (lambda: NewExample(crops=(b"PNG",)), "JPEG"),
        (lambda: NewExample(1, vector=random_vectors(1)[0]), "own embedding"),
        (lambda: NewExample(crops=CROPS, vector=np.ones(4, np.float32)), "norm 1"),
        (lambda: NewExample(crops=CROPS, description={"x": float("nan")}), "JSON"),
        (lambda: gallery.cases.decide(made.id, 1, "perhaps", "ada"), "same, different, unsure"),
    ):
        with pytest.raises(ValueError, match=expected):
            call()
    for ask in (
        lambda: search(gallery, NewExample(41)),
        lambda: gallery.cases.add_examples(made.id, [NewExample(41)]),
        lambda: gallery.cases.decide(made.id, 41, "same", "ada"),
    ):
        with pytest.raises(TrackletNotFound, match="no tracklet has the id 41"):
            ask()
    for ask in (
        lambda: gallery.cases.update_search(99, threshold=0.1),
        lambda: gallery.cases.add_examples(99, [NewExample(crops=CROPS)]),
        lambda: gallery.cases.remove_search(99),
        lambda: gallery.cases.decide(99, 1, "same", "ada"),
        lambda: gallery.cases.undo(99, 1, "ada"),
        lambda: gallery.cases.history(99),
    ):
        with pytest.raises(SearchNotFound, match="no search has the id 99"):
            ask()
    assert len(gallery.cases.searches()) == 1


# What is compared


def test_the_vectors_of_a_search_are_of_one_generation(gallery: Gallery) -> None:
    ids = fill(gallery, 3)
    own = random_vectors(3, seed=9)
    made = search(
        gallery,
        NewExample(ids[2]),
        NewExample(crops=CROPS, vector=own[0]),
        NewExample(crops=CROPS),
        NewExample(crops=CROPS, vector=own[1], spec=SPEC),
        NewExample(crops=CROPS, vector=random_vectors(1, dimension=8)[0], spec=OTHER),  # not known here
    )
    now = gallery.generations.current()
    assert now is not None
    numbers = [example.id for example in made.examples]
    found, vectors = gallery.cases.vectors(made.id, now.id)
    assert found == [numbers[0], numbers[1], numbers[3]]
    np.testing.assert_allclose(vectors, [gallery.embedding(ids[2]), *own[:2]], atol=1e-3)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    gallery.cases.set_vector(numbers[2], now.id, own[2])
    gallery.cases.set_vector(987, now.id, own[2])
    assert gallery.cases.vectors(made.id, now.id)[0] == numbers[:4]
    later = gallery.generations.begin(OTHER)
    found, vectors = gallery.cases.vectors(made.id, later.id)
    assert (found, vectors.shape) == ([], (0, 8))
    gallery.cases.set_vector(numbers[1], later.id, random_vectors(1, dimension=8)[0])
    assert gallery.cases.vectors(made.id, later.id)[0] == [numbers[1]]
    assert gallery.cases.vectors(made.id, now.id)[0] == [numbers[0], numbers[2], numbers[3]]
    with pytest.raises(ValueError, match="expected shape"):
        gallery.cases.set_vector(numbers[1], now.id, random_vectors(1, dimension=8)[0])
    with pytest.raises(GenerationNotFound):
        gallery.cases.vectors(made.id, 99)


def test_a_vector_of_another_length_is_not_taken_for_the_current_models(gallery: Gallery) -> None:
    example = NewExample(crops=CROPS, vector=random_vectors(1, dimension=DIMENSION + 1)[0])
    empty = search(gallery, example)  # no model yet
    assert len(empty.examples) == 1
    fill(gallery, 1)
    with pytest.raises(ValueError, match="another length"):
        search(gallery, example)
    more = gallery.cases.add_examples(empty.id, [NewExample(crops=CROPS[:1])])
    assert [example.crops for example in more.examples] == [CROPS, CROPS[:1]]


# Decisions


def test_the_newest_decision_counts_and_can_be_taken_back(gallery: Gallery) -> None:
    ids = fill(gallery, 3)
    made = search(gallery)
    first = gallery.cases.decide(made.id, ids[0], "different", "ada", now=1.0)
    second = gallery.cases.decide(made.id, ids[0], "same", "bo", now=2.0)
    other = gallery.cases.decide(made.id, ids[1], "unsure", "ada", now=3.0)
    assert gallery.cases.search(made.id).decisions == (second, other)
    assert gallery.cases.decide(made.id, ids[0], "same", "bo", now=4.0) == second
    assert gallery.cases.history(made.id) == [first, second, other]
    taken = gallery.cases.undo(made.id, ids[0], "cy", now=5.0)
    assert taken is not None
    assert (taken.id, taken.author, taken.undone, taken.undone_by) == (second.id, "bo", 5.0, "cy")
    assert gallery.cases.search(made.id).decisions == (first, other)
    assert gallery.cases.history(made.id) == [first, taken, other]
    third = gallery.cases.decide(made.id, ids[0], "unsure", "ada", now=6.0)
    assert gallery.cases.search(made.id).decisions == (other, third)
    assert [gallery.cases.undo(made.id, ids[0], "ada") is None for _ in range(3)] == [False, False, True]
    assert gallery.cases.search(made.id).decisions == (other,)
    assert gallery.cases.undo(made.id, ids[2], "ada") is None


def test_a_deleted_tracklet_takes_examples_and_decisions_along(gallery: Gallery) -> None:
    ids = fill(gallery, 3)
    made = search(gallery, NewExample(ids[0]), NewExample(crops=CROPS))
    for number in ids:
        gallery.cases.decide(made.id, number, "same", "ada")
    gallery.delete_tracklets(ids[:2])
    left = gallery.cases.search(made.id)
    assert [example.tracklet_id for example in left.examples] == [None]
    assert [decision.tracklet_id for decision in left.decisions] == [ids[2]]
    assert len(gallery.cases.history(made.id)) == 1


def test_what_a_legal_hold_keeps(gallery: Gallery) -> None:
    ids = fill(gallery, 6)
    case, free = gallery.cases.add_case("held", "", "ada"), gallery.cases.add_case("free", "", "ada")
    made = search(gallery, NewExample(ids[0]), NewExample(crops=CROPS), case_id=case.id)
    elsewhere = search(gallery, NewExample(ids[5]), case_id=free.id)
    gallery.cases.decide(elsewhere.id, ids[4], "same", "ada")
    for number, verdict in zip(ids[1:4], ("same", "different", "same"), strict=True):
        gallery.cases.decide(made.id, number, verdict, "ada")
    gallery.cases.decide(made.id, ids[3], "different", "bo")
    assert gallery.cases.held_tracklets() == set()
    gallery.cases.update_case(case.id, held=True)
    assert gallery.cases.held_tracklets() == {ids[0], ids[1], ids[3]}
    assert gallery.cases.held_tracklets([ids[1], ids[2], 999]) == {ids[1]}
    assert gallery.cases.held_tracklets([]) == set()
    with pytest.raises(CaseHeld, match="nothing of it is deleted"):
        gallery.cases.remove_search(made.id)
    with pytest.raises(CaseHeld, match="nothing of it is moved"):
        gallery.cases.update_search(made.id, case_id=free.id)
    with pytest.raises(CaseHeld, match="nothing of it is moved"):
        gallery.cases.update_search(made.id, case_id=None)
    assert gallery.cases.update_search(made.id, case_id=case.id, threshold=0.1).threshold == 0.1
    gallery.cases.update_search(elsewhere.id, case_id=case.id)
    assert gallery.cases.held_tracklets() == {ids[0], ids[1], ids[3], ids[4], ids[5]}
    gallery.cases.update_case(case.id, held=False)
    assert gallery.cases.held_tracklets() == set()


def test_no_decision_lifts_a_legal_hold(gallery: Gallery) -> None:
    """Else whoever may decide could let evidence go, one undone "same" at a time."""
    undone, overruled, decided = ids = fill(gallery, 3)
    case = gallery.cases.add_case("Robbery", "", "ada")
    made = search(gallery, case_id=case.id)
    for number in ids:
        gallery.cases.decide(made.id, number, "same", "ada")
    gallery.cases.update_case(case.id, held=True)
    gallery.cases.undo(made.id, undone, "bo")
    gallery.cases.decide(made.id, overruled, "different", "bo")
    assert [each.tracklet_id for each in gallery.cases.search(made.id).decisions] == [decided, overruled]
    assert gallery.cases.held_tracklets() == set(ids)
    assert gallery.delete_tracklets(ids) == 0
    for number in ids:
        with pytest.raises(HeldByCase, match=f"tracklet {number} .*'Robbery'"):
            gallery.erase([number], actor="root", reason="asked for")
    gallery.cases.update_case(case.id, held=False)
    assert gallery.delete_tracklets(ids) == 3


def test_reading_cases_needs_no_writing(place: Place) -> None:
    with place.create() as gallery:
        case = gallery.cases.add_case("a", "", "ada")
        made = search(gallery, case_id=case.id)
    with place.open(read_only=True) as gallery:
        assert gallery.cases.case(case.id).num_searches == 1
        assert gallery.cases.search(made.id) == made
        assert gallery.cases.held_tracklets([1]) == set()
        for write in (
            lambda: gallery.cases.add_case("b", "", "ada"),
            lambda: gallery.cases.add_note(case.id, "ada", "x"),
            lambda: search(gallery),
            lambda: gallery.cases.decide(made.id, 1, "same", "ada"),
        ):
            with pytest.raises(GalleryReadOnly):
                write()
