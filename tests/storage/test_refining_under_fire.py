"""Refinement beside readers, beside other processes, and in processes that are killed."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from subprocess import Popen

import numpy as np
import pytest

from storage.gallery import Gallery
from storage.watch_records import NewWatch
from tests.storage.making import SPEC, Place, fill, random_vectors, version

Start = Callable[[str], "Popen[str]"]


def line(process: Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def ranking(gallery: Gallery) -> list[tuple[int, float]]:
    (hits,) = gallery.search(random_vectors(1, seed=77), SPEC, 10_000)
    return [(hit.record.id, hit.similarity) for hit in hits]


def assert_whole(gallery: Gallery) -> dict[int, int]:
    """Every row is one version with all its parts, and no other; returns frames by track."""
    counts = gallery.counts()
    assert counts["tracklets"] == counts["embeddings"]
    found = {}
    for record in gallery.tracklets():
        expected = version(record.track_id, record.num_frames)
        assert gallery.crops(record.id) == list(expected.crops)
        assert record.thumbnail.read_bytes() == expected.crops[expected.thumbnail]
        assert (record.end, record.quality) == (expected.timestamps[-1], expected.quality)
        np.testing.assert_array_equal(gallery.trajectory(record.id).xyxy, expected.xyxy)
        np.testing.assert_allclose(gallery.embedding(record.id), expected.embedding, atol=1e-3)
        found[record.track_id] = record.num_frames
    return found


def assert_swept(place: Place, gallery: Gallery) -> None:
    gallery.sweep(grace_s=-1.0)
    assert gallery.sweep(grace_s=-1.0) == {"files_removed": 0, "tracklets_without_crops": 0}
    files = [file for file in (place.folder / "media").rglob("*") if file.is_file()]
    kept = {record.thumbnail for record in gallery.tracklets()}
    assert sorted(files) == sorted(kept | {file.with_suffix(".mjpeg") for file in kept})


def assert_index_is_fresh(place: Place, gallery: Gallery) -> None:
    """The index that tailed answers as one that read everything anew."""
    with place.open(read_only=True) as fresh:
        fresh._snapshots.load = lambda *_: None  # type: ignore[method-assign]
        assert ranking(gallery) == ranking(fresh)


REFINER = """
    with place.open() as gallery:
        source = gallery.begin_source("door", "door.mp4", "fingerprint", 1000.0, "settings", live=True).id
        print("ready", flush=True)
        for frames in range(FIRST, LAST):
            some = [version(number, frames) for number in range(frames % 3, 12, 3)]
            gallery.add_tracklets(source, some, SPEC)
        sys.stdout.flush()
    print("done", flush=True)
    """


def test_a_killed_refiner_leaves_a_whole_gallery(place: Place, start_process: Start) -> None:
    rng = random.Random(8)
    with place.create() as gallery:
        fill(gallery, 3, camera="yard", first=100)
        gallery.delete_tracklets([record.id for record in gallery.tracklets()])
        reached, num_kills = 1, 0
        while num_kills < 5 or reached < 6:  # a busy machine may not come to its first write
            num_kills += 1
            refiner = start_process(REFINER.replace("FIRST", str(reached)).replace("LAST", "10**6"))
            assert line(refiner) == "ready"
            time.sleep(rng.uniform(0.05, 0.4))
            refiner.kill()
            refiner.wait()
            found = assert_whole(gallery)
            assert_index_is_fresh(place, gallery)
            assert_swept(place, gallery)
            assert assert_whole(gallery) == found
            reached = max([reached, *found.values()])
        assert len(found) == 12


STEPS = {
    "stage": ("storage.media.MediaFolder.stage", 2),
    "replace": ("storage.database.tracklets.replace", 2),
    "keep": ("storage.media.MediaFolder.keep", 2),
    "half kept": ("pathlib.Path.replace", 2),
    "embeddings": ("storage.database.generations.add", 1),
    "before commit": ("sqlalchemy.engine.base.RootTransaction.commit", 2),  # 1: the first look
    "after commit": ("storage.media.MediaFolder.discard", 1),
    "remove": ("storage.media.MediaFolder.remove_version", 2),
    "half removed": ("pathlib.Path.unlink", 8),
}


@pytest.mark.parametrize("step", STEPS)
def test_killed_at_every_step_of_a_refinement(place: Place, start_process: Start, step: str) -> None:
    with place.create() as gallery:
        source = gallery.begin_source("door", "a", "f", 0.0, "s").id
        ids = gallery.add_tracklets(source, [version(number, 20) for number in range(3)], SPEC)
        gallery.add_tracklets(source, [version(1, 21)], SPEC)
        before = ranking(gallery)
    target, call = STEPS[step]
    victim = start_process(
        f"""
        import os, pkgutil, signal
        owner, name = {target!r}.rsplit(".", 1)
        owner = pkgutil.resolve_name(owner)
        original, calls = getattr(owner, name), []
        def deadly(*arguments, **options):
            calls.append(1)
            if armed and len(calls) == {call}:
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*arguments, **options)
        armed = False
        with place.open() as gallery:
            source = gallery.sources()[0].id
            setattr(owner, name, deadly)
            armed = True
            gallery.add_tracklets(source, [version(number, 30) for number in range(3)], SPEC)
        """
    )
    assert victim.wait(timeout=60) == -9
    with place.open() as gallery:
        committed = step in ("after commit", "remove", "half removed")
        assert assert_whole(gallery) == ({0: 30, 1: 30, 2: 30} if committed else {0: 20, 1: 21, 2: 20})
        assert committed or ranking(gallery) == before
        assert_index_is_fresh(place, gallery)
        assert_swept(place, gallery)
        longer = [version(number, 30) for number in range(3)]
        assert gallery.add_tracklets(source, longer, SPEC) == ids  # run again: as if never killed
        assert assert_whole(gallery) == {0: 30, 1: 30, 2: 30}
        assert_index_is_fresh(place, gallery)
        assert_swept(place, gallery)


def test_searches_and_readers_beside_a_refiner_in_another_process(place: Place, start_process: Start) -> None:
    """Nothing is found twice or missed, and no reader stumbles over files that were just replaced."""
    with place.create() as gallery:
        fill(gallery, 5, camera="yard", first=100)
        source = gallery.begin_source("door", "door.mp4", "fingerprint", 1000.0, "settings", live=True).id
        ids = gallery.add_tracklets(source, [version(number, 1) for number in range(12)], SPEC)
        refiner = start_process(REFINER.replace("FIRST", "2").replace("LAST", "60"))
        assert line(refiner) == "ready"
        failures: list[BaseException] = []
        done = threading.Event()

        def read(seed: int) -> None:
            rng = random.Random(seed)
            try:
                while not done.is_set():
                    (hits,) = gallery.search(random_vectors(1, seed=seed), SPEC, 100)
                    assert len({hit.record.id for hit in hits}) == len(hits) == 17
                    scores = [hit.similarity for hit in hits]
                    assert scores == sorted(scores, reverse=True)
                    chosen = rng.choice(ids)
                    track = ids.index(chosen)
                    crops = gallery.crops(chosen)
                    sizes = [len(version(track, frames).crops) for frames in (int(crops[0].split()[2]),)]
                    assert sizes == [len(crops)]  # all of one version
                    gallery.trajectory(chosen)
            except BaseException as error:
                failures.append(error)
                raise

        readers = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
        for thread in readers:
            thread.start()
        assert line(refiner) == "done"
        done.set()
        for thread in readers:
            thread.join()
        assert not failures
        assert gallery.stored_tracklets(source) == {(track, 5): 59 - (59 - track) % 3 for track in range(12)}
        assert_index_is_fresh(place, gallery)
        assert gallery.sweep(grace_s=0.0) == {"files_removed": 0, "tracklets_without_crops": 0}


def test_two_processes_refine_the_same_tracklets(place: Place, start_process: Start) -> None:
    """The longest version wins, whoever wrote it last."""
    with place.create() as gallery:
        refiners = [
            start_process(REFINER.replace("FIRST", str(first)).replace("LAST", "30")) for first in (1, 2)
        ]
        assert [line(refiner) for refiner in refiners] == ["ready", "ready"]
        while any(refiner.poll() is None for refiner in refiners):
            ranking(gallery)
            gallery.sweep(grace_s=60.0)
        assert [line(refiner) for refiner in refiners] == ["done", "done"]
        assert assert_whole(gallery) == {track: 29 - (29 - track) % 3 for track in range(12)}
        assert_index_is_fresh(place, gallery)
        assert_swept(place, gallery)


def test_killed_matchers_lose_no_alert_and_make_none_twice(place: Place, start_process: Start) -> None:
    """Two processes compare and are killed, over and over, while tracklets come in and are refined."""
    matcher = """
        with place.open() as gallery:
            print("ready", flush=True)
            while True:
                cursor, arrivals, vectors = gallery.watching.unmatched_embeddings(3)
                matches = [(1, arrival.tracklet_id, 0.5) for arrival in arrivals]
                gallery.watching.record_alerts(cursor, matches, 0.0)
        """
    with place.create() as gallery:
        crop = version(0, 1).crops[0]
        assert gallery.watching.add_watch(NewWatch("all", 0.1, crops=(crop,), webhook="http://host/")) == 1
        source = gallery.begin_source("door", "a", "f", 0.0, "s", live=True).id
        rng = random.Random(3)
        for attempt in range(2):
            matchers = [start_process(matcher) for _ in range(2)]
            assert [line(each) for each in matchers] == ["ready", "ready"]
            for frames in range(1, 8):
                some = [version(10 * attempt + number, frames) for number in range(5)]
                gallery.add_tracklets(source, some, SPEC)
            time.sleep(rng.uniform(0.0, 0.2))
            for each in matchers:
                each.kill()
                each.wait()
        while (cursor := gallery.watching.unmatched_embeddings(3))[1]:
            matches = [(1, arrival.tracklet_id, 0.5) for arrival in cursor[1]]
            gallery.watching.record_alerts(cursor[0], matches, 0.0)
        alerted = [alert.record.id for alert in gallery.watching.due_alerts(1.0, 1000)]
        assert sorted(alerted) == sorted(record.id for record in gallery.tracklets())
        assert len(alerted) == 10
