"""k-reciprocal re-ranking against the definitions of the paper, written down one by one."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline import rerank
from pipeline.rerank import k_reciprocal_distances


def clustered(seed: int, count: int = 60, noise: float = 0.7) -> np.ndarray:
    """Embeddings of some people, several of each, in random order."""
    rng = np.random.default_rng(seed)
    people = rng.normal(size=(count // 6, 8))
    return people[rng.integers(0, len(people), count)] + noise * rng.normal(size=(count, 8))


class Paper:
    """Zhong et al., CVPR 2017, section 3, by sets and loops; `d` is normalised as their code does."""

    def __init__(self, embeddings: np.ndarray, k1: int, k2: int) -> None:
        x = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
        self.d = ((x[:, None] - x[None]) ** 2).sum(-1)
        self.d /= self.d.max(1, keepdims=True)
        self.everyone = range(len(x))
        self.k1, self.k2 = k1, k2
        self.encodings = [self.v(p) for p in self.everyone]
        self.expanded = [self.mean_of_nearest(p) for p in self.everyone]

    def n(self, p: int, k: int) -> set[int]:
        """N(p, k) of equation 1, and p itself."""
        others = sorted((g for g in self.everyone if g != p), key=lambda g: self.d[p, g])
        return {p, *others[:k]}

    def r(self, p: int, k: int) -> set[int]:
        """R(p, k) of equation 2: neighbours that have p as a neighbour."""
        return {g for g in self.n(p, k) if p in self.n(g, k)}

    def r_star(self, p: int) -> set[int]:
        """R*(p, k1) of equation 3."""
        members = self.r(p, self.k1)
        expanded = set(members)
        for q in members:
            candidates = self.r(q, round(self.k1 / 2))
            if len(members & candidates) >= 2 / 3 * len(candidates):
                expanded |= candidates
        return expanded

    def v(self, p: int) -> np.ndarray:
        """Equation 7, scaled to sum 1."""
        members = self.r_star(p)
        weights = np.array([np.exp(-self.d[p, g]) if g in members else 0 for g in self.everyone])
        return weights / weights.sum()

    def mean_of_nearest(self, p: int) -> np.ndarray:
        """Equation 11: the k2 nearest, p among them."""
        return np.mean([self.encodings[g] for g in self.n(p, self.k2 - 1)], axis=0)

    def distance(self, p: int, g: int, weight: float) -> float:
        """Equations 10 and 12."""
        smaller = np.minimum(self.expanded[p], self.expanded[g]).sum()
        larger = np.maximum(self.expanded[p], self.expanded[g]).sum()
        return float((1 - weight) * (1 - smaller / larger) + weight * self.d[p, g])


@pytest.mark.parametrize(("k1", "k2", "weight"), [(20, 6, 0.3), (6, 3, 0.3), (7, 1, 0.0), (5, 2, 0.9)])
def test_the_definitions_of_the_paper(k1: int, k2: int, weight: float) -> None:
    embeddings = clustered(k1)
    paper = Paper(embeddings, k1, k2)
    queries, gallery = [3, 50, 0, 17], [0, 1, 2, 17, 40, 59]
    got = k_reciprocal_distances(embeddings, queries, gallery, k1=k1, k2=k2, original_weight=weight)
    want = [[paper.distance(p, g, weight) for g in gallery] for p in queries]
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, want, atol=2e-6)


def test_neighbours_that_are_shared_outweigh_distance() -> None:
    """A chain: the query's far friends are friends of its friends; the near stranger has others."""
    degrees = np.deg2rad([0, 8, 16, 24, 30, -20, -28, -29, -30, -31, -32])
    embeddings = np.stack([np.cos(degrees), np.sin(degrees)], 1)
    distances = k_reciprocal_distances(embeddings, [0], range(1, 11), k1=4, k2=2, original_weight=0.0)[0]
    assert np.argmin(np.abs(degrees[1:])) == 0
    assert distances[2] < distances[4], "24 degrees through friends before -20 degrees among strangers"


def test_in_parts_and_in_one_go(monkeypatch: pytest.MonkeyPatch) -> None:
    embeddings = clustered(1)
    whole = k_reciprocal_distances(embeddings, range(10), range(60))
    monkeypatch.setattr(rerank, "_CHUNK_ELEMENTS", 700)
    np.testing.assert_allclose(k_reciprocal_distances(embeddings, range(10), range(60)), whole, atol=1e-6)


def test_weight_1_is_the_original_order() -> None:
    embeddings = clustered(2)
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    distances = k_reciprocal_distances(embeddings * 7, [5], range(60), original_weight=1.0)[0]
    assert np.array_equal(np.argsort(distances)[1:], np.argsort(-(unit @ unit[5]))[1:])


def test_fewer_than_k1_and_copies() -> None:
    embeddings = np.repeat(clustered(3, 6), 2, axis=0)  # every vector twice
    distances = k_reciprocal_distances(embeddings, range(12), range(12))
    assert np.isfinite(distances).all()
    assert (distances >= -1e-6).all()
    assert (distances <= 1 + 1e-6).all()
    one = k_reciprocal_distances([[1.0, 0.0]], [0], [0])
    assert one.tolist() == [[0.0]]
    assert k_reciprocal_distances(embeddings, [], [1]).shape == (0, 1)


@pytest.mark.parametrize(
    ("embeddings", "options", "complaint"),
    [
        ([[1.0, 0.0]], {"k1": 0}, "k1 and k2 must be at least 1"),
        ([[1.0, 0.0]], {"original_weight": 1.5}, "lambda in"),
        ([[0.0, 0.0]], {}, "embedding 0 is zero or not finite"),
        ([1.0, 0.0], {}, r"embeddings must be \(N, D\)"),
    ],
)
def test_wrong_input_is_named(embeddings: list[object], options: dict[str, float], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        k_reciprocal_distances(embeddings, [0], [0], **options)
