"""CMC and mAP: cases worked by hand, then the numbers of the released code."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from evaluation import metrics
from evaluation.metrics import cmc_map, cmc_map_from_distances

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared" / "golden" / "evaluation.npz"


def at(*degrees: float) -> np.ndarray:
    """Unit vectors; the query looks along 0 degrees, so the order of degrees is the ranking."""
    radians = np.deg2rad(degrees)
    return np.stack([np.cos(radians), np.sin(radians)], 1)


@pytest.mark.parametrize(
    ("pids", "camids", "first", "average_precision"),
    [
        # query: person 1, camera 1; the gallery is ranked as written
        ([1, 2, 3], [2, 2, 2], 0, 1.0),
        ([2, 1, 3], [2, 2, 2], 1, (0 + 1 / 2) / 2),
        ([1, 2, 1], [2, 2, 3], 0, (1 + (1 / 2 + 2 / 3) / 2) / 2),
        ([2, 3, 1], [1, 1, 2], 2, (0 + 1 / 3) / 2),
        ([1, 2, 1], [1, 2, 2], 1, (0 + 1 / 2) / 2),  # the first is junk: own camera
        ([-1, 1, 2], [2, 2, 2], 0, 1.0),  # junk: person -1
        ([0, 1, 2], [2, 2, 2], 1, (0 + 1 / 2) / 2),  # a distractor is wrong, not junk
        ([-1, 1, 1, 2, -1, 1], [2, 1, 3, 2, 2, 2], 0, (1 + (1 / 2 + 2 / 3) / 2) / 2),
    ],
)
def test_hand_worked(pids: list[int], camids: list[int], first: int, average_precision: float) -> None:
    gallery = at(*range(10, 10 + len(pids)))
    cmc, mean_ap = cmc_map(at(0), [1], [1], gallery, pids, camids, max_rank=4)
    assert cmc.tolist() == [float(rank >= first) for rank in range(4)]
    assert mean_ap == pytest.approx(average_precision, abs=1e-12)


def test_averages_over_queries_that_have_an_answer() -> None:
    queries = at(0, 0, 0)
    cmc, mean_ap = cmc_map(queries, [1, 2, 9], [1, 1, 1], at(10, 20), [1, 2], [2, 2], max_rank=2)
    assert cmc.tolist() == [0.5, 1.0]
    assert mean_ap == pytest.approx((1 + 1 / 4) / 2)


def test_length_of_embeddings_and_whole_numbers_do_not_matter() -> None:
    gallery = at(10, 20, 30) * [[3], [100], [0.01]]
    want = cmc_map(at(0), [1], [1], at(10, 20, 30), [2, 1, 1], [2, 2, 2])
    got = cmc_map(at(0) * 50, [1], [1], gallery, [2, 1, 1], [2, 2, 2])
    assert got[1] == want[1]
    ints = cmc_map([[1, 0]], [1], [1], [[9, 1], [8, 3]], [2, 1], [2, 2])
    assert ints[0][:2].tolist() == [0, 1]


def test_ties_rank_in_gallery_order() -> None:
    assert cmc_map(at(0), [1], [1], at(5, 5), [2, 1], [2, 2])[0][0] == 0
    assert cmc_map(at(0), [1], [1], at(5, 5), [1, 2], [2, 2])[0][0] == 1


def test_numbers_of_the_released_code(monkeypatch: pytest.MonkeyPatch) -> None:
    path = SHARED if SHARED.exists() else ROOT / "tests" / "data" / "golden_evaluation.npz"
    table = np.load(path)
    features, ids, cams, rows = (table[key] for key in ("features", "ids", "cams", "query_index"))
    arguments = (features[rows], ids[rows], cams[rows], features, ids, cams)
    cmc, mean_ap = cmc_map(*arguments)
    np.testing.assert_allclose(cmc, table["cmc"], atol=1e-6)
    assert mean_ap == pytest.approx(float(table["mAP"]), abs=1e-6)
    monkeypatch.setattr(metrics, "_CHUNK_ELEMENTS", 4000)  # six queries at a time
    chunked, chunked_ap = cmc_map(*arguments)
    assert np.array_equal(chunked, cmc)
    assert chunked_ap == pytest.approx(mean_ap, abs=1e-12)


def test_from_distances() -> None:
    gallery, pids, camids = at(10, 20, 30, 5), [2, 1, 1, -1], [2, 2, 3, 2]
    want = cmc_map(at(0, 25), [1, 2], [1, 1], gallery, pids, camids)
    got = cmc_map_from_distances(1 - at(0, 25) @ gallery.T, [1, 2], [1, 1], pids, camids)
    assert np.array_equal(got[0], want[0])
    assert got[1] == want[1]
    with pytest.raises(ValueError, match="a distance is not a number"):
        cmc_map_from_distances([[np.nan]], [1], [1], [1], [2])
    with pytest.raises(ValueError, match=r"distances of \(1,\) queries and \(2,\) gallery pids: \(1, 1\)"):
        cmc_map_from_distances([[0.5]], [1], [1], [1, 2], [2, 2])


def test_the_small_copy_agrees() -> None:
    table = np.load(ROOT / "tests" / "data" / "golden_evaluation.npz")
    features, ids, cams, rows = (table[key] for key in ("features", "ids", "cams", "query_index"))
    cmc, mean_ap = cmc_map(features[rows], ids[rows], cams[rows], features, ids, cams)
    np.testing.assert_allclose(cmc, table["cmc"], atol=1e-6)
    assert mean_ap == pytest.approx(float(table["mAP"]), abs=1e-6)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"query_pids": [1, 1]}, "query embeddings"),
        ({"gallery_camids": [[2]]}, "gallery embeddings"),
        ({"gallery_embeddings": [[0.0, 0.0]]}, "gallery embedding 0 is zero or not finite"),
        ({"query_embeddings": [[np.nan, 1.0]]}, "query embedding 0 is zero or not finite"),
        ({"query_embeddings": [[1.0, 0.0, 0.0]]}, "have 3 numbers, gallery 2"),
        ({"query_pids": [0]}, "query pid 0"),
        ({"gallery_pids": [5]}, "no query has a right answer"),
        ({"max_rank": 0}, "max_rank"),
        (
            {"gallery_embeddings": np.empty((0, 2)), "gallery_pids": [], "gallery_camids": []},
            "no query has a right answer",
        ),
    ],
)
def test_wrong_input_is_named(change: dict[str, object], complaint: str) -> None:
    arguments = {
        "query_embeddings": at(0), "query_pids": [1], "query_camids": [1],
        "gallery_embeddings": at(9), "gallery_pids": [1], "gallery_camids": [2],
    } | change  # fmt: skip
    with pytest.raises(ValueError, match=complaint):
        cmc_map(**arguments)
