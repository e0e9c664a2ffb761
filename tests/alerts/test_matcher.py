"""New tracklets meet the watch list in a real gallery."""

from __future__ import annotations

import io
import json
import time

import numpy as np
import pytest

from pipeline.alerts import Matcher, matcher
from pipeline.embedding import Embedder
from pipeline.live.logs import json_handler, logging_to
from pipeline.live.settings import RunConfig
from pipeline.live.status import RunStatus
from storage.errors import GalleryFull
from storage.gallery import Gallery
from storage.records import EmbedderSpec
from storage.watch_records import AlertCursor, NewWatch, Watch, WatchExample
from tests.alerts.people import CONFIG, NOON, picture, store


def _settle(matcher: Matcher) -> None:
    while matcher.turn():
        pass


def _alerts(gallery: Gallery) -> list[tuple[str, int]]:
    return [(alert.watch, alert.record.id) for alert in gallery.watching.alerts()]


def test_who_looks_alike_is_reported_once_and_others_are_not(gallery: Gallery, embedder: Embedder) -> None:
    before = store(gallery, embedder, "red", "blue")
    gallery.watching.add_watch(NewWatch("by tracklet", 0.97, tracklets=(before[0],)))
    gallery.watching.add_watch(NewWatch("by picture", 0.97, crops=(picture("green", 99),)))
    gallery.watching.add_watch(
        NewWatch("by both", 0.97, tracklets=(before[1],), crops=(picture("white", 98),))
    )
    status = RunStatus(0.0, [])
    match = Matcher(gallery, embedder, CONFIG, status)
    _settle(match)
    assert _alerts(gallery) == [], "a watch looks forward, and its own examples are no news"
    red, green, blue, white = store(gallery, embedder, "red", "green", "blue", "white", first=10)
    _settle(match)
    _settle(match)
    assert sorted(_alerts(gallery)) == sorted(
        [("by tracklet", red), ("by picture", green), ("by both", blue), ("by both", white)]
    )
    assert status.alerts["raised"] == 4
    similarities = [alert.similarity for alert in gallery.watching.alerts()]
    assert min(similarities) >= 0.97
    assert max(similarities) <= 1.0


def test_the_threshold_is_kept(gallery: Gallery, embedder: Embedder) -> None:
    (red,) = store(gallery, embedder, "red")
    for threshold in (-1.0, 0.5, 0.9, 0.99, 1.0):
        gallery.watching.add_watch(NewWatch(f"at {threshold}", threshold, tracklets=(red,)))
    others = store(gallery, embedder, "red", "green", "blue", "white", first=10)
    _settle(Matcher(gallery, embedder, CONFIG))
    reported = set(_alerts(gallery))
    similarity = {other: float(gallery.embedding(red) @ gallery.embedding(other)) for other in others}
    for threshold in (-1.0, 0.5, 0.9, 0.99, 1.0):
        for other in others:
            assert ((f"at {threshold}", other) in reported) == (similarity[other] >= threshold)
    assert 0 < len(reported) < 20, "the case tells thresholds apart"


def test_cameras_are_kept(gallery: Gallery, embedder: Embedder) -> None:
    (red,) = store(gallery, embedder, "red")
    gallery.watching.add_watch(NewWatch("yard only", 0.97, tracklets=(red,), cameras=("yard", "roof")))
    store(gallery, embedder, "red", first=10)
    (in_yard,) = store(gallery, embedder, "red", camera="yard")
    _settle(Matcher(gallery, embedder, CONFIG))
    assert _alerts(gallery) == [("yard only", in_yard)]


def test_hours_are_kept_in_the_time_zone_of_the_run(gallery: Gallery, embedder: Embedder) -> None:
    (red,) = store(gallery, embedder, "red")
    gallery.watching.add_watch(NewWatch("night", 0.97, tracklets=(red,), hours=("22:00-06:00",)))
    store(gallery, embedder, "red", first=10, start=NOON)
    (night,) = store(gallery, embedder, "red", first=11, start=NOON + 11 * 3600)
    (edge,) = store(gallery, embedder, "red", first=12, start=NOON + 10 * 3600 - 1)  # walks on past 22:00
    tokyo = RunConfig.model_validate({**CONFIG.model_dump(), "live": {"timezone": "Asia/Tokyo"}})
    _settle(Matcher(gallery, embedder, CONFIG))
    assert _alerts(gallery) == [("night", night), ("night", edge)]
    (in_tokyo,) = store(gallery, embedder, "red", first=13, start=NOON + 2 * 3600)  # 23:00 there
    _settle(Matcher(gallery, embedder, tokyo))
    assert _alerts(gallery)[2:] == [("night", in_tokyo)]


def test_switched_off_and_removed_watches_are_silent(gallery: Gallery, embedder: Embedder) -> None:
    (red,) = store(gallery, embedder, "red")
    first = gallery.watching.add_watch(NewWatch("first", 0.97, tracklets=(red,)))
    second = gallery.watching.add_watch(NewWatch("second", 0.97, tracklets=(red,)))
    match = Matcher(gallery, embedder, CONFIG)
    gallery.watching.set_watch_enabled(first, False)
    (seen,) = store(gallery, embedder, "red", first=10)
    _settle(match)
    assert _alerts(gallery) == [("second", seen)]
    gallery.watching.remove_watch(second)
    store(gallery, embedder, "red", first=11)
    _settle(match)
    gallery.watching.set_watch_enabled(first, True)
    (later,) = store(gallery, embedder, "red", first=12)
    _settle(match)
    assert _alerts(gallery) == [("first", later)]


def test_deleted_examples_no_longer_match(gallery: Gallery, embedder: Embedder) -> None:
    red, blue = store(gallery, embedder, "red", "blue")
    gallery.watching.add_watch(NewWatch("two", 0.97, tracklets=(red, blue)))
    match = Matcher(gallery, embedder, CONFIG)
    gallery.delete_tracklets([red])
    ids = store(gallery, embedder, "red", "blue", first=10)
    _settle(match)
    assert _alerts(gallery) == [("two", ids[1])]
    gallery.delete_tracklets([blue])
    store(gallery, embedder, "red", "blue", first=20)
    _settle(match)
    assert len(_alerts(gallery)) == 1


def test_pages_of_any_size_give_the_same(
    gallery: Gallery, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matcher, "_AT_ONCE", 3)
    (red,) = store(gallery, embedder, "red")
    gallery.watching.add_watch(NewWatch("red", 0.97, tracklets=(red,)))
    ids = store(gallery, embedder, *["red", "blue"] * 5, first=10)
    _settle(Matcher(gallery, embedder, CONFIG))
    assert _alerts(gallery) == [("red", number) for number in ids[::2]]


def test_many_watches_at_once_equal_one_by_one(gallery: Gallery, embedder: Embedder) -> None:
    """The vectorised comparison against a plain loop, on random vectors."""
    rng = np.random.default_rng(3)
    vectors = rng.normal(size=(60, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    spec = EmbedderSpec("colours", "", "p", 16)
    match = Matcher(gallery, embedder, CONFIG)
    known = {number: vectors[number] for number in range(20)}
    match._vectors.of = lambda watches, cursor: [  # type: ignore[method-assign]
        np.array([known[e.tracklet_id] for e in w.examples], np.float32).reshape(-1, 16) for w in watches
    ]
    watches = []
    for number in range(12):
        chosen = rng.choice(20, rng.integers(0, 4), replace=False).tolist()
        examples = tuple(WatchExample(i, tracklet, None) for i, tracklet in enumerate(chosen))
        watches.append(
            Watch(number, f"w{number}", float(rng.uniform(0, 0.6)), (), (), None, None, True, 0.0, examples)
        )
    arrivals = [(number, "door", 0.0, 1.0) for number in range(60)]
    found = match.match(watches, AlertCursor(1, 60, spec), arrivals, vectors)
    expected = set()
    for watch in watches:
        own = {example.tracklet_id for example in watch.examples}
        for number in range(60):
            best = max(
                (float(vectors[number] @ known[other]) for other in own if other is not None), default=-2
            )
            if best >= watch.threshold and number not in own:
                expected.add((watch.id, number, round(best, 4)))
    assert {(watch, tracklet, round(value, 4)) for watch, tracklet, value in found} == expected
    assert len(expected) > 20


def test_pictures_wait_when_the_gallery_has_another_model(gallery: Gallery, embedder: Embedder) -> None:
    class Other:
        spec = EmbedderSpec("other", "", "p", 8)
        fallback, of_clips = None, False

        def embed(self, clips: object) -> np.ndarray:
            raise AssertionError("vectors of two models must not be compared")

    (red,) = store(gallery, embedder, "red")
    gallery.watching.add_watch(NewWatch("picture", 0.5, crops=(picture("red"),)))
    gallery.watching.add_watch(NewWatch("tracklet", 0.97, tracklets=(red,)))
    (seen,) = store(gallery, embedder, "red", first=10)
    stream = io.StringIO()
    with logging_to(json_handler(stream)):
        _settle(Matcher(gallery, Other(), CONFIG))
    assert _alerts(gallery) == [("tracklet", seen)]
    assert "another model" in stream.getvalue()


def test_the_thread_follows_within_seconds_and_outlives_errors(
    gallery: Gallery, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matcher, "_AFTER_ERROR_S", 0.2)
    (red,) = store(gallery, embedder, "red")
    gallery.watching.add_watch(NewWatch("red", 0.97, tracklets=(red,)))
    record, failures = gallery.watching.record_alerts, []

    def full(*arguments: object) -> list[int]:
        if len(failures) < 5:
            failures.append(1)
            raise GalleryFull(28, "no space left", "rtsp://user:s3cr3t@h/")
        return record(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(gallery.watching, "record_alerts", full)
    stream = io.StringIO()
    with logging_to(json_handler(stream)), Matcher(gallery, embedder, CONFIG):
        (seen,) = store(gallery, embedder, "red", first=10)
        deadline = time.monotonic() + 10
        while not _alerts(gallery) and time.monotonic() < deadline:
            time.sleep(0.05)
    assert _alerts(gallery) == [("red", seen)], "what could not be noted is compared again"
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line.get("failures") for line in lines] == [1, 2, 4, None], "1, 2, 4: not every failure is told"
    assert "s3cr3t" not in stream.getvalue()
