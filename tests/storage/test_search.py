"""Search answers as a plain comparison of everything with everything would."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from storage.errors import WrongEmbedder
from storage.gallery import Gallery
from storage.records import GalleryFilter, TrackletRecord
from storage.search import GalleryIndex
from tests.storage.making import OTHER, SPEC, Place, fill, random_vectors, tracklet, unit, version

CAMERAS = ("door", "yard", "Küche", "roof")


def stored_vectors(gallery: Gallery) -> dict[int, np.ndarray]:
    return {record.id: gallery.embedding(record.id).astype(float) for record in gallery.tracklets()}


def passes(record: TrackletRecord, filter: GalleryFilter) -> bool:
    """The filter's definition, in words of its own."""
    overlaps = (filter.start is None or record.end >= filter.start) and (
        filter.end is None or record.start <= filter.end
    )
    spanned = False
    if filter.exclude_span is not None:
        camera, start, end = filter.exclude_span
        spanned = record.camera == camera and record.end >= start and record.start <= end
    return (
        overlaps
        and not spanned
        and (not filter.cameras or record.camera in filter.cameras)
        and record.camera not in filter.exclude_cameras
        and record.quality >= filter.min_quality
    )


def brute_force(
    records: list[TrackletRecord],
    vectors: dict[int, np.ndarray],
    query: np.ndarray,
    top_k: int,
    filter: GalleryFilter,
) -> list[tuple[int, float]]:
    kept = [record.id for record in records if passes(record, filter)]
    scored = [(number, round(float(vectors[number] @ query.astype(float)), 6)) for number in kept]
    return sorted(scored, key=lambda pair: (-pair[1], pair[0]))[:top_k]


def fill_varied(gallery: Gallery, count: int, rng: np.random.Generator) -> None:
    """Tracklets all over cameras, times and qualities; one in ten has the embedding of another one."""
    vectors = random_vectors(count, seed=1)
    vectors[9::10] = vectors[0]
    for part, camera in enumerate(CAMERAS):
        source = gallery.begin_source(camera, "a", "f", 0.0, "s")
        mine = range(part, count, len(CAMERAS))
        batch = [
            tracklet(
                i, vectors[i], start=float(rng.integers(0, 400)) / 4, quality=float(rng.integers(0, 5)) / 4
            )
            for i in mine
        ]
        gallery.add_tracklets(source.id, batch, SPEC)


def random_filter(rng: np.random.Generator) -> GalleryFilter:
    some: Any = lambda: frozenset(rng.choice([*CAMERAS, "nowhere"], rng.integers(1, 4)).tolist())  # noqa: E731
    span = (np.sort(rng.integers(-20, 420, 2)) / 4).tolist()
    values: dict[str, Any] = {
        "cameras": some(),
        "exclude_cameras": some(),
        "start": span[0],
        "end": span[1],
        "min_quality": float(rng.integers(0, 5)) / 4,
        "exclude_span": (str(rng.choice(CAMERAS)), *(np.sort(rng.integers(0, 400, 2)) / 4).tolist()),
    }
    return GalleryFilter(**{name: value for name, value in values.items() if rng.random() < 0.4})


def test_filters_equal_brute_force(gallery: Gallery) -> None:
    rng = np.random.default_rng(3)
    fill_varied(gallery, 240, rng)
    records, vectors = list(gallery.tracklets()), stored_vectors(gallery)
    for trial in range(60):
        filter, top_k = random_filter(rng), int(rng.integers(1, 60))
        queries = np.vstack([random_vectors(2, seed=trial), random_vectors(1, seed=1)])
        answers = gallery.search(queries, SPEC, top_k, filter)
        for query, hits in zip(queries, answers, strict=True):
            expected = brute_force(records, vectors, query, top_k, filter)
            assert [hit.record.id for hit in hits] == [number for number, _ in expected]
            np.testing.assert_allclose(
                [hit.similarity for hit in hits], [score for _, score in expected], atol=2e-6
            )
        listed = [record.id for record in gallery.tracklets(filter)]
        assert listed == [record.id for record in records if passes(record, filter)]


@pytest.fixture
def small_scans(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sends small galleries down the road of large ones: FAISS with a selector, then the exact order."""
    monkeypatch.setattr("storage.vector_index._SCAN_ROWS", 3)
    monkeypatch.setattr("storage.vector_index._SPARE", 2)


@pytest.mark.usefixtures("small_scans")
def test_filters_equal_brute_force_through_faiss(gallery: Gallery) -> None:
    test_filters_equal_brute_force(gallery)


@pytest.mark.usefixtures("small_scans")
def test_equal_similarities_come_by_id(gallery: Gallery) -> None:
    source = gallery.begin_source("door", "a", "f", 0.0, "s")
    twin, far = random_vectors(2)
    ids = gallery.add_tracklets(source.id, [tracklet(i, far if i == 20 else twin) for i in range(40)], SPEC)
    (hits,) = gallery.search(twin[None], SPEC, 7)
    assert [hit.record.id for hit in hits] == ids[:7]
    assert {hit.similarity for hit in hits} == {1.0}
    (every,) = gallery.search(twin[None], SPEC, 1000)
    assert [hit.record.id for hit in every] == [*ids[:20], *ids[21:], ids[20]]


def test_similarity_is_the_cosine(gallery: Gallery) -> None:
    first = np.eye(16, dtype=np.float32)[0]
    third = unit(np.eye(16)[0] + np.sqrt(3) * np.eye(16)[1])  # 60 degrees away
    source = gallery.begin_source("door", "a", "f", 0.0, "s")
    gallery.add_tracklets(source.id, [tracklet(i, v) for i, v in enumerate([first, third, -first])], SPEC)
    (hits,) = gallery.search(first[None], SPEC, 9)
    assert [hit.record.track_id for hit in hits] == [0, 1, 2]
    np.testing.assert_allclose([hit.similarity for hit in hits], [1.0, 0.5, -1.0], atol=3e-4)  # float16
    assert all(-1.0 <= hit.similarity <= 1.0 for hit in hits)


def test_queries_are_checked(gallery: Gallery) -> None:
    fill(gallery, 2)
    good = random_vectors(1)
    with pytest.raises(WrongEmbedder, match=r"by colours .*, the query's by network"):
        gallery.search(random_vectors(1, dimension=8), OTHER, 5)
    for bad in (good[0], good[:, :8], good * 2, good * np.nan, np.zeros_like(good)):
        with pytest.raises(ValueError, match="embeddings"):
            gallery.search(bad, SPEC, 5)
    with pytest.raises(ValueError, match="top_k"):
        gallery.search(good, SPEC, 0)
    assert gallery.search(np.zeros((0, 16), np.float32), SPEC, 5) == []


def test_new_rows_alone_are_read(gallery: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    from storage.database import encoding

    decoded: list[int] = []
    decode = encoding.unpack_vectors

    def count(packed: Any, dimension: int) -> np.ndarray:
        decoded.append(len(packed))
        return decode(packed, dimension)

    fill(gallery, 30)
    gallery.search(random_vectors(1), SPEC, 3)
    monkeypatch.setattr(encoding, "unpack_vectors", count)
    fill(gallery, 4, first=30)
    assert len(gallery.search(random_vectors(1), SPEC, 99)[0]) == 34
    gallery.search(random_vectors(1), SPEC, 3)
    gallery.delete_tracklets([1, 2])
    assert len(gallery.search(random_vectors(1), SPEC, 99)[0]) == 32
    assert decoded == [4]


def test_embeddings_are_those_of_the_database_wherever_they_are_read(place: Place) -> None:
    with place.create() as gallery, place.open() as other:
        fill(gallery, 6)
        source = gallery.begin_source("yard", "yard.mp4", "of the yard", 1000.0, "settings")
        (open_id,) = gallery.add_tracklets(source.id, [version(7, 10)], SPEC)
        current = gallery.generations.current_model()
        assert current is not None
        wanted = [open_id, 2, 1, 99, 2]

        def check() -> list[int]:
            ids, vectors = gallery.embeddings(wanted, current.id)
            with place.open() as fresh:  # has searched for nothing: reads the tables
                again, stored = fresh.embeddings(wanted, current.id)
            assert ids == again
            assert np.array_equal(vectors, stored)
            return ids

        assert check() == [1, 2, open_id]
        gallery.search(random_vectors(1), SPEC, 1)
        assert check() == [1, 2, open_id]
        other.add_tracklets(source.id, [version(7, 20)], SPEC)
        other.delete_tracklets([1])
        assert check() == [2, open_id]
        (refined,) = gallery.embeddings([open_id], current.id)[1]
        assert refined @ version(7, 20).embedding > 0.999
        generation = other.generations.begin(OTHER)
        other.generations.add(generation.id, [2], random_vectors(1, dimension=8))
        assert gallery.embeddings(wanted, generation.id)[0] == [2]
        assert gallery.embeddings([], current.id)[1].shape == (0, 16)


# Snapshots


def snapshot_files(place: Place) -> list[Path]:
    return sorted(place.folder.glob("index/*"))


def answer(gallery: Gallery) -> list[tuple[int, float]]:
    hits = gallery.search(random_vectors(1, seed=77), SPEC, 100)[0]
    return [(hit.record.id, hit.similarity) for hit in hits]


@pytest.fixture
def vectors_read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many embeddings each tailing of the database has brought."""
    counts: list[int] = []
    append = GalleryIndex._load

    def load(self: GalleryIndex, connection: Any, state: Any) -> Any:
        view = append(self, connection, state)
        counts.append(view.num_unsaved)
        return view

    monkeypatch.setattr(GalleryIndex, "_load", load)
    return counts


def made_snapshot(place: Place) -> list[tuple[int, float]]:
    with place.create() as gallery:
        fill(gallery, 20)
        expected = answer(gallery)
    assert [file.suffix for file in snapshot_files(place)] == [".faiss", ".json"]
    return expected


def test_a_snapshot_spares_the_reading(place: Place, vectors_read: list[int]) -> None:
    expected = made_snapshot(place)
    with place.open() as gallery:
        assert answer(gallery) == expected
        fill(gallery, 3, first=20)
    with place.open() as gallery:
        assert len(answer(gallery)) == 23
    with place.open() as gallery:  # the last one saved what it had read
        assert len(answer(gallery)) == 23
    assert vectors_read == [20, 0, 3, 0]


@pytest.mark.parametrize(
    "damage", ["bit", "cut", "empty", "text", "json", "json gone", "uuid", "count", "format", "mix"]
)
def test_a_damaged_snapshot_is_rebuilt(sqlite_place: Place, vectors_read: list[int], damage: str) -> None:
    expected = made_snapshot(sqlite_place)
    vectors, description = snapshot_files(sqlite_place)
    content, mark = bytearray(vectors.read_bytes()), json.loads(description.read_text())
    if damage == "bit":
        content[len(content) // 2] ^= 1
        vectors.write_bytes(content)
    elif damage in ("cut", "empty", "text", "mix"):
        new = {"cut": content[:-100], "empty": b"", "text": b"not an index", "mix": content + b"0"}
        vectors.write_bytes(new[damage])
    elif damage == "json":
        description.write_text("{")
    elif damage == "json gone":
        description.unlink()
    else:
        wrong = {"uuid": {"gallery": "another"}, "count": {"count": 19}, "format": {"format": 99}}
        description.write_text(json.dumps(mark | wrong[damage]))
    with sqlite_place.open() as gallery:
        assert answer(gallery) == expected
    with sqlite_place.open() as gallery:
        assert answer(gallery) == expected
    assert vectors_read == [20, 20, 0]


def test_a_snapshot_of_other_vectors_is_rebuilt(sqlite_place: Place, vectors_read: list[int]) -> None:
    """As after restoring a backup of the database: numbers agree, vectors do not."""
    import sqlite3

    made_snapshot(sqlite_place)
    with sqlite3.connect(sqlite_place.folder / "gallery.db") as connection:
        connection.execute("UPDATE embeddings SET vector = (SELECT vector FROM embeddings WHERE seq = 1)")
    connection.close()
    with sqlite_place.open() as gallery:
        assert len({score for _, score in answer(gallery)}) == 1
    assert vectors_read == [20, 20]


def test_an_older_database_under_a_snapshot_and_a_running_search(
    sqlite_place: Place, vectors_read: list[int]
) -> None:
    with sqlite_place.create() as gallery:
        fill(gallery, 10)
    backup = (sqlite_place.folder / "gallery.db").read_bytes()
    with sqlite_place.open() as gallery:
        fill(gallery, 10, first=10)
        gallery.delete_tracklets([20])
        assert len(answer(gallery)) == 19
    (sqlite_place.folder / "gallery.db").write_bytes(backup)
    with sqlite_place.open() as gallery:
        assert len(answer(gallery)) == 10
        fill(gallery, 3, first=30)  # numbered as rows that the snapshot had
        assert len(answer(gallery)) == 13
    assert vectors_read == [19, 10]


def test_a_snapshot_from_before_a_deletion_forgets_it(place: Place, vectors_read: list[int]) -> None:
    """Somebody puts an old index folder back after a deletion."""
    made_snapshot(place)
    kept = {file: file.read_bytes() for file in snapshot_files(place)}
    with place.open() as gallery:
        gallery.delete_tracklets([3, 20])
        fill(gallery, 2, first=30)
    assert snapshot_files(place) == []
    for file, content in kept.items():
        file.write_bytes(content)
    with place.open() as gallery:
        assert {number for number, _ in answer(gallery)} == {*range(1, 23)} - {3, 20}
    assert vectors_read == [20, 4]  # two dropped, two read


def test_a_snapshot_that_cannot_be_saved_is_only_a_warning(
    sqlite_place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    with sqlite_place.create() as gallery:
        fill(gallery, 5)
        answer(gallery)
        (sqlite_place.folder / "index").rmdir()
        (sqlite_place.folder / "index").write_text("in the way")
        with caplog.at_level(logging.WARNING):
            gallery.close()
    assert "index snapshot was not saved" in caplog.text
