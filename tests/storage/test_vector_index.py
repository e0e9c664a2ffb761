"""The index alone: large enough for FAISS to take its usual roads."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from storage.vector_index import VectorIndex
from tests.storage.making import random_vectors, unit


def ranked(vectors: np.ndarray, ids: np.ndarray, query: np.ndarray, top_k: int) -> list[int]:
    scores = np.round(vectors.astype(float) @ query.astype(float), 6)
    return ids[np.lexsort((ids, -scores))[:top_k]].tolist()


@pytest.fixture(scope="module")
def large() -> tuple[VectorIndex, np.ndarray, np.ndarray]:
    vectors = random_vectors(20_000, seed=5, dimension=32)
    vectors[15_000:15_100] = vectors[0]
    ids = np.random.default_rng(6).permutation(np.arange(1, 60_001, 3)).astype(np.int64)
    index = VectorIndex(32)
    index.add(ids, vectors)
    return index, ids, vectors


@pytest.mark.parametrize("num_kept", [None, 0, 1, 7, 2048, 2049, 10_000, 20_000])
@pytest.mark.parametrize("top_k", [1, 10, 50, 1500])
def test_search_is_exact(
    large: tuple[VectorIndex, np.ndarray, np.ndarray], num_kept: int | None, top_k: int
) -> None:
    index, ids, vectors = large
    queries = np.vstack([random_vectors(3, seed=9, dimension=32), vectors[:1]])
    rows = (
        np.arange(len(ids)) if num_kept is None else np.random.default_rng(2).permutation(len(ids))[:num_kept]
    )
    answers = index.search(queries, top_k, None if num_kept is None else ids[rows])
    for query, (found, scores) in zip(queries, answers, strict=True):
        assert found.tolist() == ranked(vectors[rows], ids[rows], query, top_k)
        assert (np.diff(scores) <= 0).all()
        assert len(found) == min(top_k, len(rows))


def test_many_queries_at_once_answer_as_one_by_one(large: tuple[VectorIndex, np.ndarray, np.ndarray]) -> None:
    index, _, _ = large
    queries = random_vectors(70, seed=11, dimension=32)
    together = index.search(queries, 5)
    for query, (ids, scores) in zip(queries, together, strict=True):
        ((alone, alone_scores),) = index.search(query[None], 5)
        np.testing.assert_array_equal(ids, alone)
        np.testing.assert_array_equal(scores, alone_scores)


def test_removing_and_reading_back(tmp_path: Path) -> None:
    vectors = random_vectors(50, dimension=8)
    index = VectorIndex(8)
    index.add(np.arange(50) + 100, vectors)
    index.remove(np.array([100, 149, 7]))
    index.write(tmp_path / "ä b.faiss")
    again = VectorIndex.read(tmp_path / "ä b.faiss", 8)
    assert again.ids.tolist() == index.ids.tolist() == list(range(101, 149))
    np.testing.assert_array_equal(again.vectors(np.array([148, 101])), vectors[[48, 1]])
    assert len(again) == 48
    again.add(np.array([149]), vectors[:1])
    again.remove(np.array([101]))
    assert again.search(vectors[:1], 1)[0][0].tolist() == [149]
    with pytest.raises(ValueError, match="9 dimensions"):
        VectorIndex.read(tmp_path / "ä b.faiss", 9)
    with pytest.raises(OSError, match="cannot be written"):
        index.write(tmp_path / "none" / "x.faiss")


def test_vectors_are_exchanged_where_they_lie(tmp_path: Path) -> None:
    vectors = random_vectors(60, dimension=8)
    ids = np.random.default_rng(1).permutation(np.arange(50)) + 100
    index = VectorIndex(8)
    index.add(ids, vectors[:50])
    changed = np.array([149, 100, 120])
    index.replace(changed, vectors[50:53])
    index.replace(np.zeros(0, np.int64), vectors[:0])
    expected = {int(number): vector for number, vector in zip(ids, vectors[:50], strict=True)}
    expected |= dict(zip(changed.tolist(), vectors[50:53], strict=True))
    index.write(tmp_path / "a.faiss")
    for each in (index, VectorIndex.read(tmp_path / "a.faiss", 8)):
        assert each.ids.tolist() == ids.tolist()
        np.testing.assert_array_equal(each.vectors(ids), [expected[int(number)] for number in ids])
        assert each.search(vectors[50:53], 1)[1][0].tolist() == [100]
        each.replace(changed[:1], vectors[53:54])
        assert each.search(vectors[53:54], 1)[0][0].tolist() == [149]
        each.remove(np.array([149]))
        assert each.search(vectors[53:54], 1)[0][0].tolist() != [149]
        assert len(each) == 49


def test_an_empty_index_finds_nothing() -> None:
    index = VectorIndex(4)
    assert [ids.tolist() for ids, _ in index.search(unit(np.ones((2, 4))), 3)] == [[], []]
    index.remove(np.array([1]))
    assert index.vectors(np.zeros(0, np.int64)).shape == (0, 4)


def test_a_filtered_search_over_many_rows_is_quick() -> None:
    vectors = random_vectors(100_000, dimension=64)
    index = VectorIndex(64)
    index.add(np.arange(100_000) + 1, vectors)
    keep = np.arange(1, 100_001, 2)
    began = time.perf_counter()
    for _ in range(5):
        index.search(vectors[:1], 20, keep)
    assert time.perf_counter() - began < 2.5  # about 0.03 s each; a slow machine may take its time


def test_a_look_at_bytes_first_changes_no_answer() -> None:
    """Many vectors of many numbers, one query: also after some were exchanged and others removed."""
    rng = np.random.default_rng(4)
    people = random_vectors(2_000, seed=5, dimension=256)
    vectors = unit(people[rng.integers(0, 2_000, 24_000)] + 0.02 * rng.normal(size=(24_000, 256)))
    ids = rng.permutation(np.arange(1, 24_001)).astype(np.int64)
    index = VectorIndex(256)
    index.add(ids[:9_000], vectors[:9_000])
    index.add(ids[9_000:], vectors[9_000:])
    vectors[:50] = unit(people[rng.integers(0, 2_000, 50)] + 0.02 * rng.normal(size=(50, 256)))
    index.replace(ids[:50], vectors[:50])
    index.remove(ids[-500:])
    ids, vectors = ids[:-500], vectors[:-500]
    assert index._coarse is not None
    quick = 0
    for query in vectors[[0, 7, 20_000]]:
        for keep in (None, ids[:22_000]):
            rows = slice(None) if keep is None else slice(22_000)
            ((found, _),) = index.search(query[None], 5, keep)
            assert found.tolist() == ranked(vectors[rows], ids[rows], query, 5)
            quick += index._search_coarsely(index._coarse, query[None], 5, keep) is not None
    assert quick == 6, "the bytes alone should have sufficed"
