"""Exact cosine search over vectors by id: FAISS finds candidates, float64 scores decide, ids break ties."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

from storage.records import Float32Array, Float64Array

_faiss: Any = faiss  # its stubs describe the constructors of C++, not those of Python

_COARSE_ROWS = 20_000  # from so many on, a look at bytes first is quicker
_COARSE_CANDIDATES = 1024
_DEVIATIONS = 8.0
_FEW_PRODUCTS = 4096  # a matrix library's threads would cost more than they spare

IdArray = npt.NDArray[np.int64]
Ranked = tuple[IdArray, Float64Array]
"""Ids and similarities of one query, best first."""

_SCAN_ROWS = 2048  # so few are scored one by one: quicker than a selector
_SCAN_TOP_K = 1024  # FAISS keeps a heap per query, slow for long lists
_BLOCK_ROWS = 8192
_BLOCK_QUERIES = 16
_SPARE = 16  # candidates beyond top_k, so that float32 rounding cannot push one out
_FLOAT32_SLACK = 4e-6  # of a float32 inner product of unit vectors, generously
_DECIMALS = 6  # float16 vectors mean nothing beyond; equal vectors score equal


class VectorIndex:
    """Unit vectors in memory, found by inner product.

    Not locked: one thread may write while no other reads; any number may read at once.
    """

    def __init__(self, dimension: int) -> None:
        self.dimension = dimension
        self._index: Any = faiss.IndexIDMap2(faiss.IndexFlatIP(dimension))
        self._coarse: _Coarse | None = None

    def __len__(self) -> int:
        return int(self._index.ntotal)

    @property
    def ids(self) -> IdArray:
        """(N,) int64, a copy."""
        return np.asarray(faiss.vector_to_array(self._index.id_map), np.int64)

    def add(self, ids: IdArray, vectors: Float32Array) -> None:
        """Adds vectors (N, D) of norm 1 under ids (N,) that the index does not have."""
        if len(ids):
            self._index.add_with_ids(np.ascontiguousarray(vectors), ids)
            if self._coarse is not None:
                self._coarse.add(ids, vectors)
            elif len(self) >= _COARSE_ROWS:
                self._make_coarse()

    def replace(self, ids: IdArray, vectors: Float32Array) -> None:
        """Exchanges the vectors (N, D) of ids (N,) that the index has, where they lie: nothing is moved."""
        if len(ids):
            flat: Any = faiss.downcast_index(self._index.index)
            lying = faiss.rev_swig_ptr(flat.get_xb(), len(self) * self.dimension)
            lying.reshape(-1, self.dimension)[places(self.ids, ids)] = vectors
            if self._coarse is not None:
                self._coarse.remove(ids)
                self._coarse.add(ids, vectors)

    def remove(self, ids: IdArray) -> None:
        """Removes vectors; ids that the index does not have are ignored."""
        if len(ids):
            self._index.remove_ids(ids)
            if self._coarse is not None:
                self._coarse.remove(ids)

    def vectors(self, ids: IdArray) -> Float32Array:
        """(N, D) float32; every id must be in the index."""
        if not len(ids):
            return np.zeros((0, self.dimension), np.float32)
        return np.asarray(self._index.reconstruct_batch(ids))

    def find(self, ids: IdArray) -> tuple[IdArray, Float32Array]:
        """Those of the ids (N,) that are there, and their vectors (M, D) float32."""
        try:
            return ids, self.vectors(ids)
        except RuntimeError:  # what FAISS raises for an id that it does not have
            there = ids[np.isin(ids, self.ids)]
            return there, self.vectors(there)

    def search(self, queries: Float32Array, top_k: int, keep: IdArray | None = None) -> list[Ranked]:
        """The most similar vectors.

        Args:
            queries: (Q, D) float32, norm 1.
            top_k: How many per query, at least 1.
            keep: Look only at these ids, all in the index; None looks at all.

        Returns:
            For each query at most `top_k` ids with their cosine in [-1, 1]: falling cosine, then rising id.
        """
        num_rows = len(self) if keep is None else len(keep)
        top_k = min(top_k, num_rows)
        if top_k == 0 or not len(queries):
            return [(np.zeros(0, np.int64), np.zeros(0)) for _ in queries]
        if num_rows <= _SCAN_ROWS or top_k > _SCAN_TOP_K:
            return self._scan(queries, top_k, keep)
        if len(queries) == 1 and self._coarse is not None and num_rows >= _COARSE_ROWS:
            found = self._search_coarsely(self._coarse, queries, top_k, keep)
            if found is not None:
                return [found]
        num_candidates = min(top_k + _SPARE, num_rows)
        with _threads_for(len(queries)):
            scores, ids = self._index.search(queries, num_candidates, params=_selection(keep))
        ranked = []
        for query, row_scores, row_ids in zip(queries, scores, ids, strict=True):
            found = row_ids[row_ids >= 0]
            best = _best(found, self._score(query[None], found)[0], top_k)
            # Rows left out score at most as the last candidate. If one may belong in, look at every row.
            if num_candidates < num_rows and best[1][-1] <= float(row_scores[-1]) + _FLOAT32_SLACK:
                best = self._scan(query[None], top_k, keep)[0]
            ranked.append(best)
        return ranked

    def _search_coarsely(
        self, coarse: _Coarse, query: Float32Array, top_k: int, keep: IdArray | None
    ) -> Ranked | None:
        """The best of those that look best in bytes; None if another row may belong among them."""
        scores, ids, slack = coarse.search(query, _COARSE_CANDIDATES, keep)
        if top_k >= len(ids):
            return None
        near = ids[scores >= scores[top_k - 1] - 2.0 * slack]  # no other can be among the best top_k
        best = _best(near, self._score(query, near)[0], top_k)
        return best if best[1][-1] > float(scores[-1]) + slack else None

    def _make_coarse(self) -> None:
        ids = self.ids
        self._coarse = _Coarse(self.dimension, self.vectors(ids[:_COARSE_ROWS]))
        for first in range(0, len(ids), _BLOCK_ROWS):
            some = ids[first : first + _BLOCK_ROWS]
            self._coarse.add(some, self.vectors(some))

    def write(self, file: Path) -> None:
        """Writes the index to a file.

        Raises:
            OSError: It cannot be written.
        """
        try:
            faiss.write_index(self._index, str(file))
        except RuntimeError as error:  # what FAISS raises for every failure
            raise OSError(f"{file} cannot be written: {error}") from error

    @classmethod
    def read(cls, file: Path, dimension: int) -> VectorIndex:
        """An index from a file that `write` made.

        Raises:
            ValueError: The file holds something else.
        """
        try:
            stored = faiss.read_index(str(file))
        except RuntimeError as error:
            raise ValueError(f"{file} is not an index") from error
        if not isinstance(stored, faiss.IndexIDMap2) or stored.d != dimension:
            raise ValueError(f"{file} is not an index of {dimension} dimensions")
        index = cls(dimension)
        index._index = stored
        if len(index) >= _COARSE_ROWS:
            index._make_coarse()
        return index

    def _scan(self, queries: Float32Array, top_k: int, keep: IdArray | None) -> list[Ranked]:
        ids = self.ids if keep is None else keep
        ranked: list[Ranked] = []
        for first in range(0, len(queries), _BLOCK_QUERIES):
            scores = self._score(queries[first : first + _BLOCK_QUERIES], ids)
            ranked.extend(_best(ids, row, top_k) for row in scores)
        return ranked

    def _score(self, queries: Float32Array, ids: IdArray) -> Float64Array:
        """(Q, N) cosines, rounded, computed so that they do not depend on how the candidates were found."""
        if len(queries) * len(ids) <= _FEW_PRODUCTS:
            rows = self.vectors(ids).astype(np.float64)
            few = np.einsum("nd,qd->qn", rows, queries.astype(np.float64))
            return np.asarray(np.clip(np.round(few, _DECIMALS), -1.0, 1.0))
        scores = np.empty((len(queries), len(ids)))
        columns = queries.astype(np.float64).T  # (D, Q)
        for first in range(0, len(ids), _BLOCK_ROWS):
            rows = self.vectors(ids[first : first + _BLOCK_ROWS]).astype(np.float64)  # (N, D)
            scores[:, first : first + _BLOCK_ROWS] = (rows @ columns).T
        return np.clip(np.round(scores, _DECIMALS), -1.0, 1.0)


class _Coarse:
    """The same vectors as whole numbers of one byte: a third of the time to look at all of them.

    What rounding takes from a vector x and a query q changes their product by at most |x - x'| + |q - q'|.
    As that points anywhere in D dimensions, no matter where the vectors point, it changes it by more than
    t / sqrt(D) times as much with a chance below 2 exp(-t^2 / 2), which for t = 8 is none.
    """

    def __init__(self, dimension: int, sample: Float32Array) -> None:
        self._root = float(np.sqrt(dimension))
        self._scale = 127.0 / (1.25 * float(np.abs(sample).max()))
        self._worst = 0.0  # |x - x'| of any vector so far
        quantised = _faiss.IndexScalarQuantizer(
            dimension, faiss.ScalarQuantizer.QT_8bit_direct_signed, faiss.METRIC_INNER_PRODUCT
        )
        self._index: Any = faiss.IndexIDMap2(quantised)

    def add(self, ids: IdArray, vectors: Float32Array) -> None:
        rounded = self._rounded(vectors)
        lost = np.linalg.norm(vectors - rounded / self._scale, axis=1)
        self._worst = max(self._worst, float(lost.max()))
        self._index.add_with_ids(rounded, ids)

    def remove(self, ids: IdArray) -> None:
        self._index.remove_ids(ids)

    def search(
        self, query: Float32Array, top_k: int, keep: IdArray | None
    ) -> tuple[Float32Array, IdArray, float]:
        """Scores (K,) and ids (K,) of the best, and by how much any score may be off."""
        rounded = self._rounded(query)
        with _threads_for(1):
            scores, ids = self._index.search(rounded, top_k, params=_selection(keep))
        lost = float(np.linalg.norm(query - rounded / self._scale))
        slack = (self._worst + lost) * min(1.0, _DEVIATIONS / self._root) + _FLOAT32_SLACK
        there = ids[0] >= 0
        return scores[0][there] / self._scale**2, ids[0][there], slack

    def _rounded(self, vectors: Float32Array) -> Float32Array:
        rounded = np.clip(np.rint(vectors * np.float32(self._scale)), -127, 127)
        return np.asarray(rounded, np.float32)


@contextmanager
def _threads_for(num_queries: int) -> Iterator[None]:
    """FAISS shares queries out among threads; for one query the other threads would only spin."""
    before = _faiss.omp_get_max_threads()  # of this thread: others keep theirs
    _faiss.omp_set_num_threads(min(before, num_queries))
    try:
        yield
    finally:
        _faiss.omp_set_num_threads(before)


def places(among: IdArray, ids: IdArray) -> IdArray:
    """(N,) where each of ids (N,) lies among (M,) distinct ids, all of them being there."""
    found = np.flatnonzero(np.isin(among, ids))
    return np.asarray(found[np.argsort(among[found])][np.argsort(np.argsort(ids))], np.int64)


def _best(ids: IdArray, scores: Float64Array, top_k: int) -> Ranked:
    if len(ids) > top_k:
        threshold = np.partition(scores, len(scores) - top_k)[len(scores) - top_k]
        in_question = scores >= threshold
        ids, scores = ids[in_question], scores[in_question]
    order = np.lexsort((ids, -scores))[:top_k]
    return ids[order], scores[order]


def _selection(keep: IdArray | None) -> Any:
    if keep is None:
        return None
    wanted = np.zeros(int(keep.max()) + 1, bool)
    wanted[keep] = True
    return _faiss.SearchParameters(sel=_faiss.IDSelectorBitmap(np.packbits(wanted, bitorder="little")))
