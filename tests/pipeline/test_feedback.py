"""What people accept and reject changes the ranking, and nothing else does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from painted import BLUE, GREEN, RED, Painted, make_scene

from pipeline.config import BatchSettings, load_config
from pipeline.embedding import Embedder, build_embedder
from pipeline.feedback import Ranking, rank, ranking_direction, similarity
from pipeline.ingest import ingest
from pipeline.narrowing import narrowed
from pipeline.plugins import PluginSettings
from pipeline.pointing import QueryError
from pipeline.reindex import reindex
from pipeline.thresholds import threshold_of
from pipeline.video import SourceSpec
from storage.case_records import NewExample, SearchRecord
from storage.gallery import EVERYTHING, Gallery
from storage.records import EmbedderSpec, GalleryFilter
from tests.storage.making import JPEG, random_vectors, tracklet

SPEC = EmbedderSpec("colour_stripes", "", "none", 16)
PLACES = ("door", "hall", "yard", "roof")


@pytest.fixture
def gallery(tmp_path: Path) -> Iterator[Gallery]:
    with Gallery.open(tmp_path / "g", create=True) as opened:
        yield opened


def axis(*weights: float) -> np.ndarray:
    """A unit vector along the first axes."""
    vector = np.zeros(16, np.float32)
    vector[: len(weights)] = weights
    return vector / np.linalg.norm(vector)


def store(gallery: Gallery, vectors: Sequence[np.ndarray], camera: str = "hall", **changes: Any) -> list[int]:
    """One tracklet of a second for each vector, one behind the other."""
    source = gallery.begin_source(camera, f"{camera}.mp4", camera, 1000.0, "")
    first = len(gallery.stored_tracklets(source.id))
    made = [tracklet(first + i, vector, **changes) for i, vector in enumerate(vectors)]
    return gallery.add_tracklets(source.id, made, SPEC)


def searched(gallery: Gallery, *examples: int | np.ndarray, **changes: Any) -> SearchRecord:
    new = [
        NewExample(each) if isinstance(each, int) else NewExample(crops=(JPEG % (1, 1),), vector=each)
        for each in examples
    ]
    values = {"author": "ada", "filter": EVERYTHING, "threshold": 0.5, "reason": ""} | changes
    return gallery.cases.add_search(examples=new, **values)


def no_model() -> Embedder:
    raise AssertionError("every embedding is stored, no model is needed")


def ranked(gallery: Gallery, search: SearchRecord, top_k: int = 10, *more: GalleryFilter) -> Ranking:
    return rank(gallery, gallery.cases.search(search.id), no_model, top_k, *more)


def order(ranking: Ranking) -> list[int]:
    return [hit.record.id for hit in ranking.hits]


# The order


def test_without_decisions_it_is_the_plain_search(gallery: Gallery) -> None:
    ids = store(gallery, random_vectors(50))
    query = random_vectors(1, seed=7)[0]
    found = ranked(gallery, searched(gallery, query), 12)
    plain = gallery.search(query[None], SPEC, 12)[0]
    assert order(found) == [hit.record.id for hit in plain]
    np.testing.assert_allclose(
        [hit.similarity for hit in found.hits], [hit.similarity for hit in plain], atol=2e-3
    )
    np.testing.assert_allclose([hit.score for hit in found.hits], [hit.similarity for hit in found.hits])
    assert {hit.verdict for hit in found.hits} == {None}
    assert (found.spec, found.num_accepted, found.num_rejected, found.num_not_compared) == (SPEC, 0, 0, 0)
    assert found.fallback is not None
    assert len(ids) == 50


def test_what_is_accepted_shows_more_of_the_person(gallery: Gallery) -> None:
    accepted, other_side, stranger = store(gallery, [axis(0.8, 0.6), axis(0.2, 1), axis(0.5, 0, 1)])
    search = searched(gallery, axis(1))
    assert order(ranked(gallery, search)) == [accepted, stranger, other_side]
    gallery.cases.decide(search.id, accepted, "same", "ada")
    found = ranked(gallery, search)
    assert order(found) == [accepted, other_side, stranger]
    assert [hit.verdict for hit in found.hits] == ["same", None, None]
    np.testing.assert_allclose(found.hits[1].similarity, axis(0.8, 0.6) @ axis(0.2, 1), atol=1e-3)
    gallery.cases.undo(search.id, accepted, "ada")
    assert order(ranked(gallery, search)) == [accepted, stranger, other_side]


def test_an_accepted_one_is_not_compared_with_itself(gallery: Gallery) -> None:
    near, far, upload = axis(1, 0.5), axis(1, 2), axis(1)
    first, second = store(gallery, [near, far])
    search = searched(gallery, upload)
    gallery.cases.decide(search.id, second, "same", "ada")
    (only,) = [hit for hit in ranked(gallery, search).hits if hit.verdict == "same"]
    assert only.similarity == pytest.approx(far @ upload, abs=1e-3)  # nothing else was accepted
    gallery.cases.decide(search.id, first, "same", "ada")
    found = {hit.record.id: hit.similarity for hit in ranked(gallery, search).hits}
    assert found == pytest.approx({first: near @ upload, second: far @ near}, abs=1e-3)


def test_what_is_like_a_rejected_one_goes_down(gallery: Gallery) -> None:
    rejected, twin, other = store(gallery, [axis(1, 0.5), axis(1, 0.6), axis(1, 0, 0.7)])
    search = searched(gallery, axis(1))
    before = ranked(gallery, search)
    assert order(before) == [rejected, twin, other]
    gallery.cases.decide(search.id, rejected, "different", "ada")
    after = ranked(gallery, search)
    assert order(after) == [other, twin, rejected]
    assert [hit.verdict for hit in after.hits] == [None, None, "different"]
    known = {hit.record.id: hit.similarity for hit in before.hits}
    for hit in after.hits:  # the threshold applies to what a rejection does not change
        assert hit.similarity == pytest.approx(known[hit.record.id], abs=1e-6)
    assert after.hits[1].score < after.hits[1].similarity
    assert after.num_rejected == 1


def test_an_unsure_one_stays_where_it_is(gallery: Gallery) -> None:
    ids = store(gallery, [axis(1, 0.1), axis(1, 0.2), axis(1, 0.3)])
    search = searched(gallery, axis(1))
    gallery.cases.decide(search.id, ids[1], "unsure", "ada")
    found = ranked(gallery, search)
    assert order(found) == ids
    assert [hit.verdict for hit in found.hits] == [None, "unsure", None]


def test_decided_ones_are_shown_beside_the_top(gallery: Gallery) -> None:
    ids = store(gallery, [axis(1, 0.1 * i) for i in range(8)])
    search = searched(gallery, axis(1))
    for number, verdict in ((ids[7], "same"), (ids[0], "different"), (ids[3], "same")):
        gallery.cases.decide(search.id, number, verdict, "ada")
    found = ranked(gallery, search, 2)
    assert len(found.hits) == 5
    assert {hit.record.id for hit in found.hits[:2]} == {ids[3], ids[7]}
    assert found.hits[0].similarity >= found.hits[1].similarity
    assert order(found)[-1] == ids[0]
    assert {ids[0], ids[3], ids[7]}.isdisjoint(order(found)[2:4])


def test_it_is_exact_by_one_search_whatever_was_decided(
    gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = random_vectors(400, seed=3)
    vectors[:, 0] += 0.5
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    ids = store(gallery, vectors)
    search = searched(gallery, ids[0], ids[1])
    for number in ids[2:22]:
        gallery.cases.decide(search.id, number, "same", "ada")
    for number in ids[22:52]:
        gallery.cases.decide(search.id, number, "different", "ada")
    calls = []
    original = Gallery.search

    def counted(self: Gallery, *arguments: Any, **options: Any) -> Any:
        calls.append(arguments)
        return original(self, *arguments, **options)

    monkeypatch.setattr(Gallery, "search", counted)
    found = ranked(gallery, search, 30)
    stored = np.stack([gallery.embedding(number) for number in ids])
    scores = stored @ ranking_direction(stored[:22], stored[22:52])
    spans = [(gallery.tracklet(n).start, gallery.tracklet(n).end) for n in ids[:2]]
    seen = [gallery.tracklet(number) for number in ids]
    free = [
        i
        for i in range(52, 400)
        if not any(seen[i].start <= end and seen[i].end >= start for start, end in spans)
    ]
    expected = sorted(free, key=lambda i: -scores[i])[:30]
    assert order(found)[20:50] == [ids[i] for i in expected]
    np.testing.assert_allclose(
        [hit.similarity for hit in found.hits[20:50]], similarity(stored[expected], stored[:22]), atol=1e-6
    )
    assert len(calls) == 1


# What is left out


def test_the_examples_and_their_own_appearances_are_left_out(gallery: Gallery) -> None:
    (door,) = store(gallery, [axis(1)], "door", start=1000.0)
    (hall,) = store(gallery, [axis(1, 0.1)], "hall", start=2000.0)
    beside = store(gallery, [axis(1)] * 30, "hall", start=2000.5)  # in the same picture: others for certain
    later = store(gallery, [axis(1, 0.5)], "hall", start=3000.0)
    elsewhere = store(gallery, [axis(1, 0.9)], "yard", start=2000.0)
    search = searched(gallery, door, hall)
    found = ranked(gallery, search, 2)
    assert order(found) == later + elsewhere
    assert found.left_out == (("door", 1000.0, 1000.9), ("hall", 2000.0, 2000.9))
    other = searched(gallery, door, hall, filter=GalleryFilter(exclude_span=("yard", 0.0, 9000.0)))
    assert order(ranked(gallery, other, 50)) == beside + later  # the filter says what is left out instead


def test_an_uploaded_example_may_say_where_it_was_seen(gallery: Gallery) -> None:
    ids = store(gallery, [axis(1)], "door", start=1000.0) + store(gallery, [axis(1)], "hall", start=1000.0)
    example = NewExample(None, {"span": ["door", 999.0, 1001.0]}, (JPEG % (1, 1),), axis(1))
    search = gallery.cases.add_search("ada", [example], EVERYTHING, 0.5, "")
    assert order(ranked(gallery, search)) == ids[1:]


def test_filters_narrow_one_another(gallery: Gallery) -> None:
    ids = [store(gallery, [axis(1, 0.1 * i)], camera)[0] for i, camera in enumerate(PLACES)]
    search = searched(gallery, axis(1), filter=GalleryFilter(cameras=frozenset(PLACES[:3])))
    for number, verdict in ((ids[0], "same"), (ids[1], "different")):
        gallery.cases.decide(search.id, number, verdict, "ada")
    assert order(ranked(gallery, search)) == [ids[0], ids[2], ids[1]]
    only = GalleryFilter(cameras=frozenset(["hall", "roof"]))
    found = ranked(gallery, search, 10, only)
    assert order(found) == [ids[1]]  # what was decided elsewhere counts, but is not shown
    assert (found.num_accepted, found.num_rejected) == (1, 1)
    nothing = ranked(gallery, search, 10, GalleryFilter(cameras=frozenset(["roof"])))
    assert (nothing.filter, nothing.hits) == (None, [])


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        (GalleryFilter(), GalleryFilter(), GalleryFilter()),
        (GalleryFilter(frozenset("ab")), GalleryFilter(frozenset("bc")), GalleryFilter(frozenset("b"))),
        (GalleryFilter(frozenset("ab")), GalleryFilter(), GalleryFilter(frozenset("ab"))),
        (GalleryFilter(frozenset("a")), GalleryFilter(frozenset("b")), None),
        (
            GalleryFilter(exclude_cameras=frozenset("a")),
            GalleryFilter(exclude_cameras=frozenset("b")),
            GalleryFilter(exclude_cameras=frozenset("ab")),
        ),
        (
            GalleryFilter(start=1, end=9),
            GalleryFilter(start=3, min_quality=0.2),
            GalleryFilter(start=3, end=9, min_quality=0.2),
        ),
        (GalleryFilter(end=2), GalleryFilter(start=3), None),
    ],
)
def test_two_filters_as_one(one: GalleryFilter, other: GalleryFilter, both: GalleryFilter | None) -> None:
    assert narrowed(one, other) == both
    assert narrowed(other, one) == both


def test_wrong_searches_are_named(gallery: Gallery) -> None:
    search = searched(gallery, axis(1))
    with pytest.raises(QueryError, match="run ingest first"):
        ranked(gallery, search)
    (number,) = store(gallery, [axis(1)])
    lost = searched(gallery, number)
    gallery.delete_tracklets([number])
    with pytest.raises(QueryError, match=f"search {lost.id} has nothing left to compare with"):
        ranked(gallery, lost)


# After a re-index


def stripes(number: int) -> PluginSettings:
    return PluginSettings.model_validate({"name": "colour_stripes", "stripes": number})


def test_examples_are_embedded_again_after_a_reindex(gallery: Gallery, tmp_path: Path) -> None:
    people = (Painted(RED, BLUE, 10, 40), Painted(GREEN, BLUE, 250, 60, dx=-2))
    for camera, start in (("here", 1000.0), ("there", 2000.0)):
        scene = make_scene(tmp_path, camera, people, 40 if camera == "here" else 44)
        detector = ["detector.name=mot_file", f"detector.path={scene.boxes}"]
        config = load_config(overrides=["embedder.name=colour_stripes", *detector])
        ingest(gallery, [SourceSpec(camera, str(scene.video), start)], config)
    here = list(gallery.tracklets(GalleryFilter(cameras=frozenset(["here"]))))
    current = gallery.generations.current()
    assert current is not None
    pictures = tuple(gallery.crops(here[0].id))
    examples = [
        NewExample(here[0].id),
        NewExample(None, {}, pictures, gallery.embedding(here[0].id), current.spec),
        NewExample(None, {}, (JPEG % (0, 0),)),  # no picture: cannot be embedded
    ]
    search = gallery.cases.add_search("ada", examples, GalleryFilter(cameras=frozenset(["there"])), 0.5, "")
    loads: list[int] = []
    before = rank(gallery, search, counting(6, loads), 5)
    assert (loads, before.num_not_compared) == ([6], 1)
    model = build_embedder(stripes(4))
    reindex(gallery, model, BatchSettings())
    found = rank(gallery, search, counting(4, loads), 5)
    assert found.spec == model.spec
    assert order(found) == order(before)
    assert loads == [6, 4]
    now = gallery.generations.current()
    assert now is not None
    known, vectors = gallery.cases.vectors(search.id, now.id)
    assert known == [example.id for example in search.examples[:2]]
    np.testing.assert_allclose(vectors[1] @ vectors[0], 1, atol=1e-3)  # the same pictures
    with pytest.raises(QueryError, match="the gallery's embeddings are of"):
        rank(gallery, search, counting(6, loads), 5)


def test_a_threshold_of_another_model_does_not_apply(gallery: Gallery) -> None:
    ids = store(gallery, [axis(1), axis(1, 0.1)])
    search = searched(gallery, axis(1), threshold=0.3)
    own = ranked(gallery, search)
    assert (own.threshold, own.threshold_note) == (0.3, None)
    spec = replace(SPEC, preprocessing_hash="another")
    later = gallery.generations.begin(spec)
    gallery.generations.add(later.id, ids, np.stack([axis(1), axis(1, 0.1)]), gallery.num_frames(ids))
    gallery.generations.switch(later.id)
    gallery.cases.set_vector(search.examples[0].id, later.id, axis(1))
    exchanged = ranked(gallery, search)
    assert exchanged.threshold == threshold_of(spec) != 0.3
    assert exchanged.threshold_note is not None
    assert "threshold of 0.300 was chosen for colour_stripes" in exchanged.threshold_note
    gallery.cases.update_search(search.id, threshold=0.4)
    chosen = ranked(gallery, search)
    assert (chosen.threshold, chosen.threshold_note) == (0.4, None)


def counting(number: int, loads: list[int]) -> Callable[[], Embedder]:
    def load() -> Embedder:
        loads.append(number)
        return build_embedder(stripes(number))

    return load
