"""Generations of embeddings are never mixed, and exactly one is the current one."""

from __future__ import annotations

import numpy as np
import pytest

from storage.errors import (
    GenerationChanged,
    GenerationIncomplete,
    GenerationNotFound,
    TrackletNotFound,
    WrongEmbedder,
)
from storage.gallery import Gallery
from storage.records import EmbedderSpec
from tests.storage.making import OTHER, SPEC, fill, random_vectors, tracklet

THIRD = EmbedderSpec("third", "cd" * 32, "crop-2", 4)


def statuses(gallery: Gallery) -> dict[str, str]:
    return {generation.spec.name: generation.status for generation in gallery.generations.all()}


def reindex(gallery: Gallery, spec: EmbedderSpec, seed: int = 50) -> int:
    """All missing embeddings, in small batches as a re-index makes them."""
    generation = gallery.generations.begin(spec).id
    last = 0
    while ids := gallery.generations.missing(generation, after_id=last, limit=4):
        vectors = np.vstack([random_vectors(1, seed + number, spec.dimension) for number in ids])
        assert gallery.generations.add(generation, ids, vectors) == len(ids)
        last = ids[-1]
    return generation


def test_a_reindex_from_beginning_to_rollback(gallery: Gallery) -> None:
    ids = fill(gallery, 10)
    old = gallery.generations.current()
    assert old is not None
    new = gallery.generations.begin(OTHER)
    assert (new.status, new.num_embeddings, new.spec.config) == ("building", 0, {"variant": "ste_nvan"})
    assert gallery.generations.missing(new.id, limit=4) == ids[:4]
    reindex(gallery, OTHER)
    before = gallery.search(random_vectors(1), SPEC, 5)  # queries go on with the old one
    assert len(before[0]) == 5
    gallery.generations.switch(new.id)
    assert statuses(gallery) == {"colours": "previous", "network": "current"}
    with pytest.raises(WrongEmbedder, match="query with network"):
        gallery.search(random_vectors(1), SPEC, 5)
    query = gallery.embedding(ids[3])
    assert query.shape == (8,)
    (hits,) = gallery.search(query[None], OTHER, 3)
    assert (hits[0].record.id, hits[0].similarity) == (ids[3], 1.0)
    assert gallery.embedding(ids[3], old.id).shape == (16,)
    assert gallery.generations.roll_back().id == old.id
    assert gallery.search(random_vectors(1), SPEC, 5) == before
    assert statuses(gallery) == {"colours": "current", "network": "previous"}
    assert gallery.generations.roll_back().id == new.id


def test_a_reindex_goes_on_where_it_stopped(gallery: Gallery) -> None:
    ids = fill(gallery, 6)
    first = gallery.generations.begin(OTHER)
    assert gallery.generations.add(first.id, ids[:2], random_vectors(2, dimension=8)) == 2
    assert gallery.generations.begin(OTHER).id == first.id
    assert gallery.generations.begin(OTHER).num_embeddings == 2
    assert gallery.generations.missing(first.id) == ids[2:]
    assert (
        gallery.generations.add(first.id, ids[:3], random_vectors(3, 9, dimension=8)) == 1
    )  # repeats are ignored
    np.testing.assert_allclose(
        gallery.embedding(ids[0], first.id), random_vectors(2, dimension=8)[0], atol=1e-3
    )


def test_a_switch_wants_every_tracklet(gallery: Gallery) -> None:
    ids = fill(gallery, 5)
    new = gallery.generations.begin(OTHER).id
    gallery.generations.add(new, ids[:3], random_vectors(3, dimension=8))
    with pytest.raises(
        GenerationIncomplete, match=r"2 tracklets have no embedding by network yet \(1 allowed\)"
    ):
        gallery.generations.switch(new, allowed_missing=1)
    assert statuses(gallery) == {"colours": "current", "network": "building"}
    gallery.generations.switch(new, allowed_missing=2)
    assert {hit.record.id for hit in gallery.search(random_vectors(1, dimension=8), OTHER, 9)[0]} == set(
        ids[:3]
    )
    with pytest.raises(TrackletNotFound, match="embedding by network"):
        gallery.embedding(ids[4])


def test_an_ingest_beside_a_reindex_is_not_lost(gallery: Gallery) -> None:
    ids = fill(gallery, 3)
    new = reindex(gallery, OTHER)
    ids += fill(gallery, 2, first=3)  # still by the old model, which is current
    assert gallery.generations.missing(new) == ids[3:]
    with pytest.raises(GenerationIncomplete):
        gallery.generations.switch(new)
    reindex(gallery, OTHER)
    gallery.generations.switch(new)
    with pytest.raises(GenerationChanged, match="re-index the gallery with colours first"):
        fill(gallery, 1, first=9)
    assert gallery.counts()["tracklets"] == gallery.counts()["embeddings"] == 5
    assert len(list(gallery.folder.glob("media/*/*"))) == 10  # the refused tracklet left no files


def test_after_a_rollback_missing_rows_can_be_filled(gallery: Gallery) -> None:
    fill(gallery, 3)
    gallery.generations.switch(reindex(gallery, OTHER))
    source = gallery.sources()[0].id
    (late,) = gallery.add_tracklets(source, [tracklet(8, random_vectors(1, dimension=8)[0])], OTHER)
    gallery.generations.roll_back()
    assert late not in {hit.record.id for hit in gallery.search(random_vectors(1), SPEC, 9)[0]}
    old = gallery.generations.begin(SPEC)
    assert old.status == "current"
    assert gallery.generations.missing(old.id) == [late]
    gallery.generations.add(old.id, [late], random_vectors(1))
    assert late in {hit.record.id for hit in gallery.search(random_vectors(1), SPEC, 9)[0]}
    gallery.generations.switch(old.id)  # to where it is already
    assert statuses(gallery) == {"colours": "current", "network": "previous"}


def test_current_and_previous_are_kept_and_no_more(gallery: Gallery) -> None:
    fill(gallery, 3)
    gallery.generations.switch(reindex(gallery, OTHER))
    unfinished = gallery.generations.begin(EmbedderSpec("fourth", "", "x", 4)).id
    gallery.generations.switch(reindex(gallery, THIRD))
    assert statuses(gallery) == {"network": "previous", "third": "current"}
    for ask in (gallery.generations.missing, gallery.generations.switch):
        with pytest.raises(GenerationNotFound, match=f"the id {unfinished}"):
            ask(unfinished)
    assert gallery.generations.begin(SPEC).id not in (1, 2, 3, 4)


def test_one_previous_generation_only(gallery: Gallery) -> None:
    with pytest.raises(GenerationNotFound, match="no previous generation"):
        gallery.generations.roll_back()
    fill(gallery, 1)
    with pytest.raises(GenerationNotFound, match="no previous generation"):
        gallery.generations.roll_back()


def test_an_emptied_gallery_takes_another_model(gallery: Gallery) -> None:
    gallery.delete_tracklets(fill(gallery, 2))
    source = gallery.sources()[0].id
    gallery.add_tracklets(source, [tracklet(0, random_vectors(1, dimension=8)[0])], OTHER)
    assert statuses(gallery) == {"network": "current"}
    assert len(gallery.search(random_vectors(1, dimension=8), OTHER, 3)[0]) == 1


def test_a_building_generation_of_an_empty_gallery_becomes_the_current_one(gallery: Gallery) -> None:
    building = gallery.generations.begin(SPEC).id
    fill(gallery, 2)
    current = gallery.generations.current()
    assert current is not None
    assert (current.id, current.num_embeddings) == (building, 2)


def test_embeddings_of_the_wrong_kind_are_refused(gallery: Gallery) -> None:
    ids = fill(gallery, 2)
    new = gallery.generations.begin(OTHER).id
    with pytest.raises(ValueError, match=r"shape \(-1, 8\)"):
        gallery.generations.add(new, ids, random_vectors(2))
    with pytest.raises(ValueError, match="norm"):
        gallery.generations.add(new, ids, random_vectors(2, dimension=8) * 1.1)
    with pytest.raises(ValueError, match="3 for 2 ids"):
        gallery.generations.add(new, ids, random_vectors(3, dimension=8))
    assert gallery.generations.begin(OTHER).num_embeddings == 0


def test_embeddings_of_deleted_tracklets_are_left_out(gallery: Gallery) -> None:
    ids = fill(gallery, 3)
    new = gallery.generations.begin(OTHER).id
    gallery.delete_tracklets(ids[1:2])
    assert gallery.generations.add(new, ids, random_vectors(3, dimension=8)) == 2
    gallery.generations.switch(new)


def test_stored_embeddings_come_in_batches(gallery: Gallery) -> None:
    ids = fill(gallery, 7)
    generation = gallery.generations.all()[0].id
    batches = list(gallery.generations.stored(generation, batch_size=3))
    assert [len(part) for part, _ in batches] == [3, 3, 1]
    assert np.concatenate([part for part, _ in batches]).tolist() == ids
    np.testing.assert_allclose(
        np.vstack([vectors for _, vectors in batches]),
        [gallery.embedding(number) for number in ids],
        atol=1e-7,
    )
