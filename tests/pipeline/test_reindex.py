"""Re-indexing: beside the old generation, resumable, verified, switched at once, undone at once."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from painted import BLACK, BLUE, GREEN, RED, WHITE, YELLOW, Painted, make_scene

from pipeline import reindex as library
from pipeline.config import BatchSettings, load_config
from pipeline.embedding import build_embedder
from pipeline.hooks import Hooks
from pipeline.ingest import ingest
from pipeline.plugins import PluginSettings
from pipeline.query import query_by_tracklet, search
from pipeline.reindex import ReindexError, reindex
from pipeline.video import SourceSpec
from storage.database import retention
from storage.errors import GalleryError
from storage.gallery import Gallery
from storage.records import GalleryFilter

ROOT = Path(__file__).resolve().parent.parent.parent
PEOPLE = [
    Painted(top, trousers, 30 * i, 40, dx=1)
    for i, (top, trousers) in enumerate(
        [(RED, BLUE), (GREEN, BLACK), (BLUE, WHITE), (YELLOW, RED), (WHITE, GREEN)]
    )
]


def stripes(number: int) -> Any:
    return build_embedder(PluginSettings(name="colour_stripes", stripes=number))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    scene = make_scene(tmp_path, "a", PEOPLE, 40)
    config = load_config(
        overrides=["embedder.name=colour_stripes", "detector.name=mot_file", f"detector.path={scene.boxes}"]
    )
    with Gallery.open(tmp_path / "g", create=True) as gallery:
        ingest(gallery, [SourceSpec("cam", str(scene.video), 1000.0)], config)
    return tmp_path / "g"


def dimension(gallery: Gallery) -> int:
    current = gallery.generations.current()
    assert current is not None
    return current.spec.dimension


def test_every_tracklet_is_embedded_anew_then_one_switch_then_one_rollback(folder: Path) -> None:
    with Gallery.open(folder) as gallery:
        old, new = stripes(6), stripes(3)
        before = {r.id: gallery.embedding(r.id) for r in gallery.tracklets()}
        summary = reindex(gallery, new, BatchSettings())
        assert (summary.tracklets, summary.embedded, summary.not_embeddable, summary.sampled) == (5, 5, 0, 5)
        assert dimension(gallery) == new.spec.dimension
        for i in before:
            assert gallery.embedding(i).shape == (new.spec.dimension,)
            hits = gallery.search(gallery.embedding(i)[None], new.spec, 1)[0]
            assert hits[0].record.id == i
        with pytest.raises(GalleryError):  # vectors of two models are never compared
            gallery.search(before[next(iter(before))][None], old.spec, 1)
        assert [row["status"] for row in library.status(gallery)] == ["previous", "current"]
        gallery.generations.roll_back()
        assert dimension(gallery) == old.spec.dimension
        for i, vector in before.items():
            np.testing.assert_array_equal(gallery.embedding(i), vector)


def test_the_same_model_gives_the_same_vectors_from_the_archive_as_at_ingest(folder: Path) -> None:
    from pipeline.embedding import embed_tracklets

    with Gallery.open(folder, read_only=True) as gallery:
        ids = [record.id for record in gallery.tracklets()]
        again = embed_tracklets(stripes(6), [gallery.crops(i) for i in ids], 16)
        for i, vector in zip(ids, again, strict=True):
            assert vector is not None
            np.testing.assert_allclose(gallery.embedding(i), vector, atol=1e-3)  # float16 storage


def test_queries_use_the_old_generation_until_the_switch(folder: Path) -> None:
    seen = []

    class Asking(Hooks):
        def on_step(self, what: str, done: int, total: int | None) -> None:
            with Gallery.open(folder, read_only=True) as other:
                answer = search(other, query_by_tracklet(other, 1), 3, GalleryFilter())
                seen.append(answer.spec.dimension)

    with Gallery.open(folder) as gallery:
        old = dimension(gallery)
        reindex(gallery, stripes(3), BatchSettings(), Asking())
    assert seen == [old]


def test_tracklets_ingested_meanwhile_are_not_forgotten(folder: Path, tmp_path: Path) -> None:
    late = make_scene(tmp_path, "late", PEOPLE[:2], 30)
    config = load_config(
        overrides=["embedder.name=colour_stripes", "detector.name=mot_file", f"detector.path={late.boxes}"]
    )
    done = []

    class Ingesting(Hooks):
        def on_step(self, what: str, done_: int, total: int | None) -> None:
            if not done:
                done.append(True)
                with Gallery.open(folder) as other:
                    ingest(other, [SourceSpec("late", str(late.video), 2000.0)], config)

    with Gallery.open(folder) as gallery:
        summary = reindex(gallery, stripes(3), BatchSettings(), Ingesting())
        assert (summary.tracklets, summary.embedded) == (7, 7)


def test_a_model_that_does_not_match_itself_is_not_switched_to(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken, rng = stripes(3), np.random.default_rng(0)
    monkeypatch.setattr(broken, "embed", lambda clips: rng.normal(size=(len(clips), broken.spec.dimension)))
    with Gallery.open(folder) as gallery:
        old = dimension(gallery)
        with pytest.raises(ReindexError, match="does not match itself"):
            reindex(gallery, broken, BatchSettings())
        assert dimension(gallery) == old


def test_what_cannot_be_embedded_is_counted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    partial = stripes(3)
    real = partial.embed

    def without_the_first(clips: Any) -> Any:
        rows = real(clips)
        if len(clips) > 1:
            rows[0:2] = 0  # both clips of the first tracklet
        return rows

    monkeypatch.setattr(partial, "embed", without_the_first)
    with Gallery.open(folder) as gallery:
        summary = library.reindex.__wrapped__ if hasattr(library.reindex, "__wrapped__") else None
        assert summary is None
        with pytest.raises(ReindexError, match="second time"):  # the sample meets the same hole
            reindex(gallery, partial, BatchSettings())
        monkeypatch.setattr(partial, "embed", real)
        assert reindex(gallery, partial, BatchSettings()).embedded == 1  # only what was missing


KILLED = """
import sys, time
sys.path.insert(0, {root!r})
from pathlib import Path
from pipeline import reindex as library
from pipeline.config import BatchSettings
from pipeline.embedding import build_embedder
from pipeline.plugins import PluginSettings
from storage.gallery import Gallery

library._BATCH = 1
embedder = build_embedder(PluginSettings(name="colour_stripes", stripes=3))
real = embedder.embed
def slow(clips):
    print("embedding", flush=True)
    time.sleep(0.3)
    return real(clips)
embedder.embed = slow
with Gallery.open(Path({folder!r})) as gallery:
    library.reindex(gallery, embedder, BatchSettings())
"""


def test_what_retention_has_taken_is_not_made_again(folder: Path) -> None:
    """Without crops it cannot be embedded; without embeddings it should not be, and is not missed."""
    with Gallery.open(folder) as gallery:
        ids = [record.id for record in gallery.tracklets()]
        with gallery._database.writing() as connection:
            retention.take(connection, "crops", ids[:1])
            retention.take(connection, "embeddings", ids[1:3])
        assert [row["missing"] for row in library.status(gallery)] == [0]
        answer = search(gallery, query_by_tracklet(gallery, ids[0]), 5, GalleryFilter())
        assert answer.query.crops == ()
        with pytest.raises(GalleryError, match="cannot be searched for"):
            query_by_tracklet(gallery, ids[1])
        summary = reindex(gallery, stripes(3), BatchSettings())
        assert (summary.tracklets, summary.embedded, summary.not_embeddable) == (5, 2, 1)
        assert [row["missing"] for row in library.status(gallery)] == [0, 1]
        hits = gallery.search(gallery.embedding(ids[4])[None], stripes(3).spec, 5)[0]
        assert {hit.record.id for hit in hits} == set(ids[3:])


def test_those_that_a_switch_loses_are_counted_and_going_back_finds_them(folder: Path) -> None:
    with Gallery.open(folder) as gallery:
        ids = [record.id for record in gallery.tracklets()]
        assert gallery.generations.num_without_crops() == 0
        with gallery._database.writing() as connection:
            retention.take(connection, "crops", ids[:2])
            retention.take(connection, "embeddings", ids[1:2])  # this one is not found any more as it is
        assert gallery.generations.num_without_crops() == 1
        summary = reindex(gallery, stripes(3), BatchSettings())
        assert (summary.not_embeddable, summary.lost) == (1, 1)
        assert summary.lost_words("X").startswith("1 tracklet can no longer be found")
        assert reindex(gallery, stripes(3), BatchSettings()).lost == 0  # the same model: nothing changes
        assert gallery.generations.num_without_crops() == 0
        gallery.generations.roll_back()
        assert gallery.embedding(ids[0]).any()
        assert gallery.generations.num_without_crops() == 1


def test_a_killed_reindex_goes_on_where_it_was(folder: Path) -> None:
    script = KILLED.format(root=str(ROOT), folder=str(folder))
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for _ in range(3):  # two tracklets are stored when the third begins
        assert process.stdout.readline() == "embedding\n"
    time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    with Gallery.open(folder) as gallery:
        rows = library.status(gallery)
        assert [(row["status"], row["embeddings"]) for row in rows] == [("current", 5), ("building", 2)]
        assert reindex(gallery, stripes(3), BatchSettings()).embedded == 3
        assert [row["status"] for row in library.status(gallery)] == ["previous", "current"]
