"""Several processes and threads on one gallery, and processes that die."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import Popen

import numpy as np
import pytest

from storage.gallery import Gallery
from storage.records import GalleryFilter
from tests.storage.making import SPEC, Place, fill, random_vectors, tracklet

Start = Callable[[str], "Popen[str]"]


def line(process: Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def tell(process: Popen[str], text: str) -> None:
    assert process.stdin is not None
    process.stdin.write(text + "\n")
    process.stdin.flush()


def test_what_one_process_adds_another_finds_within_a_second(place: Place, start_process: Start) -> None:
    with place.create() as gallery:
        fill(gallery, 3)
        assert len(gallery.search(random_vectors(1), SPEC, 10)[0]) == 3
        writer = start_process(
            """
            with place.open() as gallery:
                for number in range(100, 105):
                    sys.stdin.readline()
                    (added,) = fill(gallery, 1, first=number)
                    print(added, flush=True)
                sys.stdin.readline()
                gallery.delete_tracklets([added])
                print("deleted", flush=True)
            """
        )
        for number in range(100, 105):
            tell(writer, "go on")
            added = int(line(writer))
            asked = time.perf_counter()
            (hits,) = gallery.search(random_vectors(1, seed=number), SPEC, 1)
            assert time.perf_counter() - asked < 1.0
            assert (hits[0].record.id, hits[0].record.track_id) == (added, number)
            assert hits[0].record.thumbnail.exists()
        tell(writer, "delete the last one")
        assert line(writer) == "deleted"
        assert gallery.search(random_vectors(1, seed=104), SPEC, 1)[0][0].record.id != added


def test_a_search_under_steady_writing_and_deleting_stays_right(place: Place, start_process: Start) -> None:
    with place.create() as gallery:
        fill(gallery, 1)
        writer = start_process(
            """
            with place.open() as gallery:
                print("ready", flush=True)
                ids = []
                for number in range(1, 60):
                    ids += fill(gallery, 2, first=2 * number)
                    if number % 5 == 0:
                        gallery.delete_tracklets(ids[-5:-2])
            print("done", flush=True)
            """
        )
        assert line(writer) == "ready"
        failures: list[BaseException] = []
        done = threading.Event()

        def ask(seed: int) -> None:
            try:
                seen = 0
                while not done.is_set():
                    (hits,) = gallery.search(random_vectors(1, seed=seed), SPEC, 500)
                    ids = [hit.record.id for hit in hits]
                    assert len(set(ids)) == len(ids)
                    assert max(ids) >= seen or len(ids) < 500  # never back in time
                    seen = max(seen, *ids) - 10
                    scores = [hit.similarity for hit in hits]
                    assert scores == sorted(scores, reverse=True)
                    time.sleep(0.005)
            except BaseException as error:
                failures.append(error)
                raise

        threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(3)]
        for thread in threads:
            thread.start()
        assert line(writer) == "done"
        done.set()
        for thread in threads:
            thread.join()
        assert not failures
        (hits,) = gallery.search(random_vectors(1), SPEC, 500)
        assert {hit.record.id for hit in hits} == {record.id for record in gallery.tracklets()}
        assert len(hits) == 1 + 2 * 59 - 3 * 11


def test_two_processes_and_two_threads_write_at_once(place: Place, start_process: Start) -> None:
    body = """
        with place.create() as gallery:
            for number in range(15):
                fill(gallery, 2, camera=CAMERA, first=2 * number)
                fill(gallery, 2, camera="shared", first=2 * number)
        print(gallery.uuid, flush=True)
        """
    processes = [start_process(body.replace("CAMERA", f"'camera {number}'")) for number in range(3)]
    identities = {line(process) for process in processes}
    assert len(identities) == 1  # of several that created it, one won
    with place.open() as gallery:
        threads = [
            threading.Thread(target=fill, args=(gallery, 20), kwargs={"camera": f"t{i}"}) for i in range(2)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        counts = gallery.counts()
        assert (counts["tracklets"], counts["sources"], counts["generations"]) == (3 * 30 + 30 + 2 * 20, 6, 1)
        assert counts["embeddings"] == len(gallery.search(random_vectors(1), SPEC, 1000)[0]) == 160
        assert gallery.sweep(grace_s=0.0) == {"files_removed": 0, "tracklets_without_crops": 0}


def whole(gallery: Gallery) -> list[tuple[int, int]]:
    """Checks that every tracklet has all its parts; returns (first frame, track) of each."""
    found = []
    counts = gallery.counts()
    assert counts["tracklets"] == counts["embeddings"]
    for record in gallery.tracklets():
        given = tracklet(record.track_id)
        assert gallery.crops(record.id) == list(given.crops)
        assert record.thumbnail.read_bytes() == given.crops[given.thumbnail]
        np.testing.assert_array_equal(gallery.trajectory(record.id).xyxy, given.xyxy)
        np.testing.assert_allclose(gallery.embedding(record.id), given.embedding, atol=1e-3)
        found.append((record.track_id, record.id))
    (hits,) = gallery.search(random_vectors(1), SPEC, 10_000)
    assert sorted(hit.record.id for hit in hits) == sorted(number for _, number in found)
    return sorted(found)


def test_a_killed_writer_leaves_a_whole_gallery(place: Place, start_process: Start) -> None:
    with place.create() as gallery:
        rng = random.Random(4)
        found: list[tuple[int, int]] = []
        attempt = -1
        while attempt < 3 or not found:  # a busy machine may not come to its first write
            attempt += 1
            writer = start_process(
                f"""
                with place.open() as gallery:
                    source = gallery.begin_source("door", "door.mp4", "fingerprint", 1000.0, "settings")
                    print("ready", flush=True)
                    for number in range({attempt} * 1000, 10**9, 5):
                        gallery.add_tracklets(source.id, [tracklet(number + i) for i in range(5)], SPEC)
                """
            )
            assert line(writer) == "ready"
            time.sleep(rng.uniform(0.02, 0.25))
            writer.kill()
            writer.wait()
            found = whole(gallery)
            per_attempt = [track for track, _ in found if track // 1000 == attempt]
            assert len(per_attempt) % 5 == 0  # batches are stored as a whole
            assert len({number for _, number in found}) == len(found)
    with place.open() as gallery:
        gallery.sweep(grace_s=0.0)
        assert gallery.sweep(grace_s=0.0) == {"files_removed": 0, "tracklets_without_crops": 0}
        files = [file for file in (place.folder / "media").rglob("*") if file.is_file()]
        assert len(files) == 2 * len(whole(gallery))
        assert {int(file.stem) for file in files} == {number for _, number in found}


@pytest.mark.parametrize("moment", ["stage", "keep", "insert", "embeddings", "before commit", "after commit"])
def test_killed_at_every_step_of_one_write(place: Place, start_process: Start, moment: str) -> None:
    with place.create() as gallery:
        kept = fill(gallery, 2)
    where = {
        "stage": ("storage.media.MediaFolder.stage", 2),
        "keep": ("storage.media.MediaFolder.keep", 2),
        "insert": ("storage.database.tracklets.insert", 2),
        "embeddings": ("storage.database.generations.add", 1),
        "before commit": ("sqlalchemy.engine.base.RootTransaction.commit", 2),  # 1: the first look
        "after commit": ("storage.media.MediaFolder.discard", 1),
    }
    target, call = where[moment]
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
            gallery.add_tracklets(source, [tracklet(number) for number in range(2, 6)], SPEC)
        """
    )
    assert victim.wait(timeout=60) == -9
    with place.open() as gallery:
        expected = 6 if moment == "after commit" else 2
        assert len(whole(gallery)) == expected
        gallery.sweep(grace_s=-1.0)
        assert len([file for file in Path(place.folder).glob("media/**/*") if file.is_file()]) == 2 * expected
        assert len(set(fill(gallery, 6)) | set(kept)) == 6  # run again: as if it had never been killed
        assert len(whole(gallery)) == 6


def test_readers_and_a_writer_in_threads_of_one_process(gallery: Gallery) -> None:
    fill(gallery, 20)
    failures: list[BaseException] = []
    done = threading.Event()

    def read(seed: int) -> None:
        try:
            while not done.is_set():
                (hits,) = gallery.search(
                    random_vectors(1, seed=seed), SPEC, 30, GalleryFilter(min_quality=0.1)
                )
                assert len(hits) >= 10
                for hit in hits[:2]:
                    gallery.trajectory(hit.record.id)
                time.sleep(0.002)
        except BaseException as error:
            failures.append(error)
            raise

    readers = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
    for thread in readers:
        thread.start()
    for number in range(20, 80, 4):
        fill(gallery, 4, first=number)
        time.sleep(0.002)
    done.set()
    for thread in readers:
        thread.join()
    assert not failures
    assert len(gallery.search(random_vectors(1), SPEC, 1000)[0]) == 80
