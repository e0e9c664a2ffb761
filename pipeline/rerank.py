"""k-reciprocal re-ranking: who is near to the same people is likely the same person.

Zhong et al., "Re-ranking Person Re-identification with k-reciprocal Encoding", CVPR 2017. Two images that are
among each other's nearest are more alike than their distance says, and so are two whose sets of such
neighbours overlap. No labels and no training; every embedding given takes part in the neighbourhoods.

k1 = 20 suits sets with some twenty images a person. Where a person has about five tracklets, it asks
strangers, and a k1 of about that number does better.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_CHUNK_ELEMENTS = 1 << 22  # of the tables held at once; some 100 MB in all

_Floats = npt.NDArray[np.float32]
_Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class _Sparse:
    """(N, N) weights by row: row i has `columns` and `values` from starts[i] to starts[i + 1]."""

    starts: _Rows
    columns: _Rows
    values: _Floats

    def row(self, i: int) -> tuple[_Rows, _Floats]:
        part = slice(self.starts[i], self.starts[i + 1])
        return self.columns[part], self.values[part]

    def transposed(self) -> _Sparse:
        order = np.argsort(self.columns, kind="stable")
        rows = np.repeat(np.arange(len(self.starts) - 1), np.diff(self.starts))
        sizes = np.bincount(self.columns, minlength=len(self.starts) - 1)
        return _Sparse(_starts(sizes), rows[order], self.values[order])


def k_reciprocal_distances(
    embeddings: npt.ArrayLike,
    query_rows: npt.ArrayLike,
    gallery_rows: npt.ArrayLike,
    *,
    k1: int = 20,
    k2: int = 6,
    original_weight: float = 0.3,
) -> _Floats:
    """Re-ranked distances of queries to a gallery.

    As in the paper's own code, an image counts as a neighbour of itself beside its k, and the distance d is
    the squared Euclidean one of unit embeddings, divided by the query's distance to the farthest of all.
    Memory: 4 Q G bytes for the answer, 4 N D for the unit embeddings, 12 N m for the encodings twice,
    where m, the people in an expanded neighbourhood, is some hundreds at k1 = 20, and about 100 MB for
    tables worked on in parts; there is never an N x N table. 14,000 embeddings take some 300 MB.

    Args:
        embeddings: `(N, D)` of queries and gallery together, any length but 0.
        query_rows: `(Q,)` which of them are queries.
        gallery_rows: `(G,)` which of them are the gallery; a row may be both.
        k1: neighbours that are asked whether they are reciprocal, at least 1.
        k2: nearest images whose encodings are averaged (local query expansion), at least 1.
        original_weight: lambda of the paper in [0, 1]: share of d in the answer; 1 is no re-ranking.

    Returns:
        `(Q, G)` float32 in [0, 1]: (1 - lambda) Jaccard distance + lambda d.

    Raises:
        ValueError: a parameter is out of range, or an embedding is zero or not finite.
    """
    if k1 < 1 or k2 < 1 or not 0 <= original_weight <= 1:
        raise ValueError(
            f"k1 and k2 must be at least 1, lambda in [0, 1], not {k1}, {k2} and {original_weight}"
        )
    vectors = _unit(embeddings)
    neighbours, farthest = _neighbours(vectors, min(k1 + 1, len(vectors)))
    encoded = _encoded(vectors, neighbours, farthest, round(k1 / 2) + 1)
    expanded = _expanded(encoded, neighbours[:, :k2])
    inverted = expanded.transposed()
    queries, gallery = np.asarray(query_rows, np.int64), np.asarray(gallery_rows, np.int64)
    answer = np.empty((len(queries), len(gallery)), np.float32)
    for out, query in zip(answer, queries.tolist(), strict=True):
        overlap = _overlaps(expanded.row(query), inverted)[gallery]
        jaccard = 1 - overlap / (2 - overlap)  # every encoding sums to 1: max(a, b) = a + b - min(a, b)
        original = _squared_distances(vectors, query)[gallery] / farthest[query]
        out[:] = (1 - original_weight) * jaccard + original_weight * original
    return answer


def _unit(embeddings: npt.ArrayLike) -> _Floats:
    vectors = np.asarray(embeddings, np.float32)
    if vectors.ndim != 2:
        raise ValueError(f"embeddings must be (N, D), not {vectors.shape}")
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    wrong = np.flatnonzero(~(np.isfinite(norms) & (norms > 0)))
    if len(wrong):
        raise ValueError(f"embedding {wrong[0]} is zero or not finite and has no direction")
    return np.asarray(vectors / norms, np.float32)


def _squared_distances(vectors: _Floats, row: int) -> _Floats:
    """(N,) squared Euclidean distances of unit vectors to one of them."""
    return np.asarray(np.maximum(2 - 2 * (vectors @ vectors[row]), 0), np.float32)


def _neighbours(vectors: _Floats, k: int) -> tuple[_Rows, _Floats]:
    """(N, k) nearest of each, itself first, and (N,) its squared distance to the farthest."""
    count = len(vectors)
    nearest = np.empty((count, k), np.int64)
    farthest = np.empty(count, np.float32)
    step = max(1, _CHUNK_ELEMENTS // max(1, count))
    for start in range(0, count, step):
        part = np.arange(start, min(start + step, count))
        distances = 2 - 2 * (vectors[part] @ vectors.T)  # (q, N)
        farthest[part] = np.maximum(distances.max(1), np.finfo(np.float32).tiny)
        distances[np.arange(len(part)), part] = -np.inf  # a copy of an image must not come before itself
        found = np.argpartition(distances, k - 1, axis=1)[:, :k]
        order = np.argsort(np.take_along_axis(distances, found, 1), axis=1, kind="stable")
        nearest[part] = np.take_along_axis(found, order, 1)
    return nearest, farthest


def _mutual(neighbours: _Rows) -> npt.NDArray[np.bool_]:
    """(N, k) whether each neighbour has the row among its own k."""
    count, k = neighbours.shape
    mutual = np.empty((count, k), np.bool_)
    step = max(1, _CHUNK_ELEMENTS // (k * k))
    for start in range(0, count, step):
        part = np.arange(start, min(start + step, count))
        mutual[part] = (neighbours[neighbours[part]] == part[:, None, None]).any(-1)  # (q, k, k) -> (q, k)
    return mutual


def _encoded(vectors: _Floats, neighbours: _Rows, farthest: _Floats, half: int) -> _Sparse:
    """Each image as weights exp(-d) over its expanded k-reciprocal neighbours, of sum 1."""
    mutual = _mutual(neighbours)
    near, near_mutual = neighbours[:, :half], _mutual(neighbours[:, :half])
    inside = np.zeros(len(vectors), np.bool_)
    columns, values = [], []
    for i in range(len(vectors)):
        reciprocal = neighbours[i][mutual[i]]
        inside[reciprocal] = True
        common = (inside[near[reciprocal]] & near_mutual[reciprocal]).sum(1)
        # R(q, k1 / 2) of a member q joins when two thirds of it are members already.
        joins = reciprocal[3 * common >= 2 * near_mutual[reciprocal].sum(1)]
        inside[near[joins][near_mutual[joins]]] = True
        members = np.flatnonzero(inside)
        inside[members] = False
        distances = np.maximum(2 - 2 * (vectors[members] @ vectors[i]), 0)
        weights = np.exp(-distances / farthest[i])
        columns.append(members)
        values.append(weights / weights.sum())
    return _sparse(columns, values)


def _expanded(encoded: _Sparse, nearest: _Rows) -> _Sparse:
    """Each encoding as the mean of those of its nearest images (local query expansion)."""
    columns, values = [], []
    for group in nearest.tolist():
        rows = [encoded.row(i) for i in group]
        joint, position = np.unique(np.concatenate([row[0] for row in rows]), return_inverse=True)
        total = np.bincount(position, np.concatenate([row[1] for row in rows]), len(joint))
        columns.append(joint)
        values.append((total / len(group)).astype(np.float32))
    return _sparse(columns, values)


def _overlaps(row: tuple[_Rows, _Floats], inverted: _Sparse) -> npt.NDArray[np.float64]:
    """(N,) sum of the smaller of two weights, of one encoding with each."""
    columns, values = row
    begin = inverted.starts[columns]
    sizes = inverted.starts[columns + 1] - begin
    ends = np.cumsum(sizes)
    # The ranges of all columns, one after the other.
    positions = np.arange(ends[-1]) + np.repeat(begin - (ends - sizes), sizes)
    smaller = np.minimum(inverted.values[positions], np.repeat(values, sizes))
    return np.bincount(inverted.columns[positions], smaller, len(inverted.starts) - 1).astype(np.float64)


def _sparse(columns: list[_Rows], values: list[_Floats]) -> _Sparse:
    sizes = np.array([len(column) for column in columns], np.int64)
    if not columns:
        return _Sparse(_starts(sizes), np.empty(0, np.int64), np.empty(0, np.float32))
    return _Sparse(_starts(sizes), np.concatenate(columns), np.concatenate(values))


def _starts(sizes: npt.NDArray[np.integer]) -> _Rows:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
