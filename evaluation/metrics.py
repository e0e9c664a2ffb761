"""Retrieval metrics of person re-identification: CMC and mAP."""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

_CHUNK_ELEMENTS = 1 << 22  # of the (queries, gallery) tables held at once; about 150 MB in all

_Floats = NDArray[np.float64]
_Bools = NDArray[np.bool_]


def cmc_map(
    query_embeddings: ArrayLike,
    query_pids: ArrayLike,
    query_camids: ArrayLike,
    gallery_embeddings: ArrayLike,
    gallery_pids: ArrayLike,
    gallery_camids: ArrayLike,
    *,
    max_rank: int = 20,
) -> tuple[_Floats, float]:
    """Cumulative matching characteristic and mean average precision, by the protocol of Market-1501 and MARS.

    Zheng et al., "MARS: A Video Benchmark for Large-Scale Person Re-identification" (ECCV 2016). Cosine
    similarity. For each query, gallery entries of its own person in its own camera and those of person -1
    are junk and leave the ranking; person 0 is a distractor, which is never right. Average precision is the
    area under the precision-recall curve by the trapezoid rule, over the whole ranking. Equal similarities
    rank in gallery order. Queries whose person no other camera saw have no right answer and are left out.

    Args:
        query_embeddings: `(Q, D)`, any length but 0; Q at least 1.
        query_pids: `(Q,)` person numbers, 1 or more.
        query_camids: `(Q,)` camera numbers.
        gallery_embeddings: `(G, D)`; may hold the queries as well, they are junk to themselves.
        gallery_pids: `(G,)` person numbers, -1 for junk, 0 for distractors.
        gallery_camids: `(G,)` camera numbers.
        max_rank: Ranks of the CMC to give, at least 1.

    Returns:
        `(max_rank,)` share of queries whose first right answer is at rank k + 1 or better, and the mean
        average precision, both in [0, 1].

    Raises:
        ValueError: Shapes do not agree, an embedding is zero or not finite, a query has no person number
            above 0, or no query at all has a right answer.
    """
    queries, pids, camids = _checked(query_embeddings, query_pids, query_camids, "query")
    gallery, gallery_pids, gallery_camids = _checked(
        gallery_embeddings, gallery_pids, gallery_camids, "gallery"
    )
    if queries.shape[1] != gallery.shape[1]:
        raise ValueError(f"query embeddings have {queries.shape[1]} numbers, gallery {gallery.shape[1]}")
    return _cmc_map(
        lambda part: -(queries[part] @ gallery.T), pids, camids, gallery_pids, gallery_camids, max_rank
    )


def cmc_map_from_distances(
    distances: ArrayLike,
    query_pids: ArrayLike,
    query_camids: ArrayLike,
    gallery_pids: ArrayLike,
    gallery_camids: ArrayLike,
    *,
    max_rank: int = 20,
) -> tuple[_Floats, float]:
    """`cmc_map` of distances that no embeddings give, for instance re-ranked ones.

    Args:
        distances: `(Q, G)`, smaller is more alike.
        query_pids: `(Q,)` as in `cmc_map`, and so are the others.
        query_camids: `(Q,)`.
        gallery_pids: `(G,)`.
        gallery_camids: `(G,)`.
        max_rank: Ranks of the CMC to give, at least 1.

    Raises:
        ValueError: As `cmc_map`; a distance is not a number.
    """
    table, pids, camids = np.asarray(distances), np.asarray(query_pids), np.asarray(query_camids)
    others, other_camids = np.asarray(gallery_pids), np.asarray(gallery_camids)
    sizes = (*pids.shape, *others.shape)
    if table.shape != sizes or camids.shape != pids.shape or other_camids.shape != others.shape:
        raise ValueError(f"distances of {pids.shape} queries and {others.shape} gallery pids: {table.shape}")
    if np.isnan(table).any():
        raise ValueError("a distance is not a number")
    return _cmc_map(lambda part: table[part], pids, camids, others, other_camids, max_rank)


def _cmc_map(
    distances_of: Callable[[slice], NDArray[np.floating]],
    pids: NDArray[np.integer],
    camids: NDArray[np.integer],
    gallery_pids: NDArray[np.integer],
    gallery_camids: NDArray[np.integer],
    max_rank: int,
) -> tuple[_Floats, float]:
    """CMC and mAP, some queries at a time; `distances_of` gives `(q, G)` of a part of the queries."""
    if len(pids) and pids.min() < 1:
        raise ValueError(f"query pid {pids.min()}: -1 and 0 mean junk and distractor, number people from 1")
    if max_rank < 1:
        raise ValueError(f"max_rank must be at least 1, not {max_rank}")

    first_ranks, precisions = [], []
    step = max(1, _CHUNK_ELEMENTS // max(1, len(gallery_pids)))
    for start in range(0, len(pids) if len(gallery_pids) else 0, step):
        part = slice(start, start + step)
        same = gallery_pids == pids[part, None]  # (q, G)
        junk = (same & (gallery_camids == camids[part, None])) | (gallery_pids == -1)
        right = _in_ranking_order(distances_of(part), same & ~junk, junk)
        right = right[right.any(1)]
        first_ranks.append(right.argmax(1))
        precisions.append(_average_precision(right))
    firsts, aps = (np.concatenate(x) if x else np.empty(0) for x in (first_ranks, precisions))
    if not len(aps):
        raise ValueError("no query has a right answer: its person must be in the gallery in another camera")
    cmc = (firsts[:, None] <= np.arange(max_rank)).mean(0)
    return cmc, float(aps.mean())


def _checked(
    embeddings: ArrayLike, pids: ArrayLike, camids: ArrayLike, side: str
) -> tuple[NDArray[np.floating], NDArray[np.integer], NDArray[np.integer]]:
    """Unit embeddings and numbers of one side; ValueError naming the side."""
    vectors = np.asarray(embeddings)
    vectors = vectors if vectors.dtype == np.float64 else vectors.astype(np.float32)
    people, cameras = np.asarray(pids), np.asarray(camids)
    if vectors.ndim != 2 or people.shape != vectors.shape[:1] or cameras.shape != people.shape:
        raise ValueError(
            f"{side} embeddings (N, D), pids (N,) and camids (N,) expected, "
            f"not {vectors.shape}, {people.shape} and {cameras.shape}"
        )
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    wrong = np.flatnonzero(~(np.isfinite(norms) & (norms > 0)))
    if len(wrong):
        raise ValueError(f"{side} embedding {wrong[0]} is zero or not finite and has no direction")
    return vectors / norms, people, cameras


def _in_ranking_order(distances: NDArray[np.floating], right: _Bools, junk: _Bools) -> _Bools:
    """`(q, G)` whether each rank holds a right answer; junk is moved behind all others."""
    order = np.argsort(np.where(junk, np.inf, distances), axis=1, kind="stable")
    return np.take_along_axis(right, order, axis=1)


def _average_precision(right: _Bools) -> _Floats:
    """`(q, G)` right answers by rank to `(q,)` areas; each row has at least one."""
    queries, ranks = np.nonzero(right)  # row by row, ranks increasing
    totals = right.sum(1)
    starts = np.cumsum(totals) - totals
    before = np.arange(len(ranks)) - starts[queries]  # right answers ahead of each
    precision = (before + 1) / (ranks + 1)
    previous = np.where(ranks > 0, before / np.maximum(ranks, 1), 1.0)
    return np.asarray(np.bincount(queries, (precision + previous) / 2, len(right)) / totals)
