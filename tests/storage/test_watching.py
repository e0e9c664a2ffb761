"""The watch list: what is compared once, alerts that are made once and delivered at least once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from storage.errors import GalleryReadOnly, TrackletNotFound, WatchExists, WatchNotFound
from storage.gallery import Gallery
from storage.watch_records import NewWatch, WatchExample
from tests.storage.making import JPEG, OTHER, SPEC, Place, fill, random_vectors, tracklet

PICTURE = JPEG % (1, 2)
HOOK = "https://example.org/hook?site=7"


def watch(name: str = "lost child", **changes: Any) -> NewWatch:
    return NewWatch(**({"name": name, "threshold": 0.5, "crops": (PICTURE,), "webhook": HOOK} | changes))


def arrivals(gallery: Gallery, limit: int = 100) -> list[int]:
    """Ids of what is to be compared, noted as compared without a match."""
    cursor, found, _ = gallery.watching.unmatched_embeddings(limit)
    assert gallery.watching.record_alerts(cursor, [], 0.0) == []
    return [arrival.tracklet_id for arrival in found]


def match(gallery: Gallery, *matches: tuple[int, int, float], now: float = 50.0) -> list[int]:
    cursor, _, _ = gallery.watching.unmatched_embeddings(100)
    return gallery.watching.record_alerts(cursor, matches, now)


def test_a_watch_comes_back_as_it_went_in(gallery: Gallery) -> None:
    ids = fill(gallery, 2)
    given = watch(
        tracklets=(ids[1], ids[0], ids[1]),
        cameras=("Ku\u0308che", "door"),
        hours=("22:00-06:00",),
        secret_env="RETRACE_HOOK_KEY",
    )
    number = gallery.watching.add_watch(given, now=7.5)
    (stored,) = gallery.watching.watches()
    assert (stored.id, stored.name, stored.threshold, stored.created) == (number, "lost child", 0.5, 7.5)
    assert (stored.cameras, stored.hours) == (("K\u00fcche", "door"), ("22:00-06:00",))
    assert (stored.webhook, stored.secret_env, stored.enabled) == (HOOK, "RETRACE_HOOK_KEY", True)
    assert [(example.tracklet_id, example.crop) for example in stored.examples] == [
        (ids[1], None),
        (ids[0], None),
        (None, PICTURE),
    ]
    assert isinstance(stored.examples[0], WatchExample)


def test_the_watch_list(gallery: Gallery) -> None:
    first = gallery.watching.add_watch(watch("first"))
    second = gallery.watching.add_watch(watch("second", enabled=False))
    with pytest.raises(WatchExists, match="'first' already"):
        gallery.watching.add_watch(watch("first"))
    with pytest.raises(TrackletNotFound, match="no tracklet has the id 41"):
        gallery.watching.add_watch(watch("third", tracklets=(41,)))
    assert [each.name for each in gallery.watching.watches()] == ["first", "second"]
    assert [each.id for each in gallery.watching.watches(enabled_only=True)] == [first]
    gallery.watching.set_watch_enabled(second, True)
    gallery.watching.set_watch_enabled(first, False)
    assert [each.id for each in gallery.watching.watches(enabled_only=True)] == [second]
    gallery.watching.remove_watch(first)
    assert [each.id for each in gallery.watching.watches()] == [second]
    for ask in (
        gallery.watching.remove_watch,
        lambda number: gallery.watching.set_watch_enabled(number, True),
    ):
        with pytest.raises(WatchNotFound, match=f"no watch has the id {first}"):
            ask(first)
    assert gallery.watching.add_watch(watch("first")) not in (first, second)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": " "}, "readable name"),
        ({"name": "a\nb"}, "readable name"),
        ({"threshold": 1.5}, "threshold"),
        ({"threshold": float("nan")}, "threshold"),
        ({"crops": ()}, "needs a tracklet or a picture"),
        ({"crops": (b"PNG",)}, "JPEG"),
        ({"cameras": ("",)}, "camera name"),
        ({"cameras": "door"}, "list of texts"),
        ({"hours": "22:00-06:00"}, "list of texts"),
        ({"webhook": "ftp://host/x"}, r"http\(s\) address"),
        ({"webhook": "https:///x"}, r"http\(s\) address"),
        ({"webhook": "http://[::1/x"}, r"http\(s\) address"),
        ({"webhook": "https://me:hidden-word@host/x"}, "must not hold a password"),
        ({"secret_env": "hidden-word!"}, "name of an environment variable"),
    ],
)
def test_a_watch_is_checked(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        watch(**change)
    assert "hidden-word" not in str(caught.value)


def test_every_embedding_is_compared_once_and_in_order(gallery: Gallery) -> None:
    cursor, found, vectors = gallery.watching.unmatched_embeddings(5)
    assert (cursor.spec, found, vectors.shape[0]) == (None, [], 0)
    gallery.watching.record_alerts(cursor, [], 0.0)
    gallery.watching.add_watch(watch())
    ids = fill(gallery, 5)
    cursor, found, vectors = gallery.watching.unmatched_embeddings(3)
    assert cursor.spec == SPEC
    assert found == [(ids[i], "door", 1000.0 + i, 1000.9 + i) for i in range(3)]
    np.testing.assert_allclose(vectors, [gallery.embedding(number) for number in ids[:3]], atol=1e-7)
    assert gallery.watching.unmatched_embeddings(3)[1] == found  # until they were recorded
    assert arrivals(gallery, 3) == ids[:3]
    assert arrivals(gallery, 3) == ids[3:]
    assert arrivals(gallery) == []
    gallery.watching.record_alerts(cursor, [], 0.0)  # late: nothing is compared twice
    assert arrivals(gallery) == []


def test_a_refined_tracklet_is_compared_again(gallery: Gallery) -> None:
    number = gallery.watching.add_watch(watch())
    ids = fill(gallery, 3)
    assert len(match(gallery, (number, ids[1], 0.6))) == 1
    longer = tracklet(1, crop_positions=np.int32([0, 1, 2]), **frames(12))
    source = gallery.sources()[0].id
    assert gallery.add_tracklets(source, [longer], SPEC) == [ids[1]]
    assert [arrival.tracklet_id for arrival in gallery.watching.unmatched_embeddings(9)[1]] == [ids[1]]
    assert match(gallery, (number, ids[1], 0.8)) == []
    (alert,) = gallery.watching.alerts()
    assert (alert.similarity, alert.record.num_frames) == (0.8, 12)


def frames(count: int) -> dict[str, Any]:
    boxes = np.tile(np.float32([1, 2, 30, 80]), (count, 1))
    return {
        "frame_indices": 5 + np.arange(count, dtype=np.int32),
        "timestamps": 1001.0 + np.arange(count) / 10,
        "xyxy": boxes,
        "confidence": np.full(count, 0.5, np.float32),
    }


def test_one_alert_per_watch_and_tracklet(gallery: Gallery) -> None:
    first = gallery.watching.add_watch(watch("first"))
    second = gallery.watching.add_watch(watch("second", webhook=None))
    ids = fill(gallery, 3)
    matches = [
        (first, ids[0], 0.6),
        (second, ids[0], 0.7),
        (first, ids[0], 0.65),
        (first, 999, 0.9),
        (999, ids[1], 0.9),
    ]
    made = match(gallery, *matches, now=50.0)
    assert [(a.id, a.watch_id, a.watch, a.similarity, a.status) for a in gallery.watching.alerts()] == [
        (made[0], first, "first", 0.65, "pending"),
        (made[1], second, "second", 0.7, "none"),
    ]
    assert match(gallery, (first, ids[0], 0.5), (second, ids[0], 0.75)) == []
    assert [alert.similarity for alert in gallery.watching.alerts()] == [0.65, 0.75]
    gallery.watching.alert_delivered(made[0], 60.0)
    assert match(gallery, (first, ids[0], np.float32(0.9))) == []
    assert gallery.watching.alerts()[0].similarity == 0.65  # as it was told
    (third,) = match(gallery, (first, ids[2], 0.5))
    assert [alert.id for alert in gallery.watching.alerts(after_id=made[0], limit=1)] == [made[1]]
    assert [alert.id for alert in gallery.watching.alerts(watch=first)] == [made[0], third]


def test_alerts_are_due_until_they_are_delivered_or_given_up(gallery: Gallery) -> None:
    number = gallery.watching.add_watch(watch(secret_env="KEY"))
    ids = fill(gallery, 3)
    made = match(gallery, *((number, tracklet_id, 0.6) for tracklet_id in ids), now=50.0)
    assert gallery.watching.due_alerts(49.9, 9) == []
    due = gallery.watching.due_alerts(50.0, 2)
    assert [alert.id for alert in due] == made[:2]
    assert (due[0].webhook, due[0].secret_env, due[0].created) == (HOOK, "KEY", 50.0)
    assert due[0].record == gallery.tracklet(ids[0])
    assert gallery.watching.due_alerts(50.0, 9, except_watches=[number]) == []
    assert len(gallery.watching.due_alerts(50.0, 9, except_watches={number + 1})) == 3
    assert gallery.watching.num_pending_alerts() == 3
    gallery.watching.alert_failed(made[0], "503\x00", 80.0)
    gallery.watching.alert_failed(made[1], "no such host", None)
    gallery.watching.alert_delivered(made[2], 51.0)
    assert gallery.watching.num_pending_alerts() == 1
    assert gallery.watching.due_alerts(79.0, 9) == []
    (again,) = gallery.watching.due_alerts(80.0, 9)
    assert (again.id, again.attempts, again.last_error, again.next_attempt) == (made[0], 1, "503\\x00", 80.0)
    gallery.watching.alert_delivered(made[0], 81.0)
    states = [
        (a.status, a.attempts, a.delivered, a.next_attempt, a.last_error) for a in gallery.watching.alerts()
    ]
    assert states == [
        ("delivered", 2, 81.0, None, None),
        ("failed", 1, None, None, "no such host"),
        ("delivered", 1, 51.0, None, None),
    ]
    gallery.watching.alert_delivered(999, 1.0)


def test_a_deleted_tracklet_takes_its_alerts_and_examples_along(gallery: Gallery) -> None:
    ids = fill(gallery, 3)
    number = gallery.watching.add_watch(watch(crops=(), tracklets=(ids[0], ids[1])))
    match(gallery, (number, ids[1], 0.9), (number, ids[2], 0.9))
    gallery.delete_tracklets(ids[1:2])
    assert [alert.record.id for alert in gallery.watching.alerts()] == [ids[2]]
    assert [example.tracklet_id for example in gallery.watching.watches()[0].examples] == ids[:1]
    gallery.restart_source(gallery.sources()[0].id)
    assert gallery.watching.alerts() == []
    assert gallery.watching.watches()[0].examples == ()
    gallery.watching.remove_watch(number)
    assert gallery.watching.watches() == []


# What is not compared


def test_what_makes_room_leaves_those_that_are_still_to_be_told_of(gallery: Gallery) -> None:
    number = gallery.watching.add_watch(watch())
    ids = fill(gallery, 4)
    told, given_up, waiting = match(gallery, *((number, each, 0.6) for each in ids[:3]))
    assert gallery.oldest_tracklets(9) == ids[3:]
    gallery.watching.alert_delivered(told, 60.0)
    gallery.watching.alert_failed(given_up, "refused", None)
    gallery.watching.alert_failed(waiting, "refused", 99.0)
    assert gallery.oldest_tracklets(9) == [ids[0], ids[1], ids[3]]


def test_what_was_stored_before_the_first_watch_raises_no_alert(gallery: Gallery) -> None:
    fill(gallery, 3)
    number = gallery.watching.add_watch(watch())
    assert arrivals(gallery) == []
    later = fill(gallery, 2, first=10)
    gallery.watching.add_watch(watch("another"))  # which takes nothing from the first
    assert arrivals(gallery) == later
    for each in gallery.watching.watches():
        gallery.watching.set_watch_enabled(each.id, False)
    fill(gallery, 2, first=20)
    gallery.watching.set_watch_enabled(number, True)
    assert arrivals(gallery) == []


def reindexed(gallery: Gallery) -> int:
    generation = gallery.generations.begin(OTHER).id
    missing = gallery.generations.missing(generation)
    gallery.generations.add(generation, missing, random_vectors(len(missing), dimension=8))
    return generation


def test_a_reindex_raises_no_alerts_for_the_archive(gallery: Gallery) -> None:
    gallery.watching.add_watch(watch())
    fill(gallery, 4)
    assert len(arrivals(gallery)) == 4
    waiting = fill(gallery, 2, first=10)
    gallery.generations.switch(reindexed(gallery))
    cursor, found, vectors = gallery.watching.unmatched_embeddings(9)
    assert (cursor.spec, vectors.shape) == (OTHER, (2, 8))
    assert [arrival.tracklet_id for arrival in found] == waiting  # those are still to be compared
    gallery.generations.roll_back()
    assert [arrival.tracklet_id for arrival in gallery.watching.unmatched_embeddings(9)[1]] == waiting
    gallery.watching.record_alerts(cursor, [], 0.0)  # of the generation before: moves nothing here
    assert arrivals(gallery) == waiting
    gallery.generations.roll_back()
    assert arrivals(gallery) == []


def test_a_reindex_without_watches_compares_nothing(gallery: Gallery) -> None:
    fill(gallery, 4)
    gallery.generations.switch(reindexed(gallery))
    assert arrivals(gallery) == []


def test_a_generation_that_is_gone_has_no_cursor(gallery: Gallery) -> None:
    gallery.watching.add_watch(watch())
    fill(gallery, 4)
    cursor, _, _ = gallery.watching.unmatched_embeddings(9)
    gallery.delete_tracklets([record.id for record in gallery.tracklets()])
    source = gallery.sources()[0].id
    ids = gallery.add_tracklets(source, [tracklet(0, random_vectors(1, dimension=8)[0])], OTHER)
    gallery.watching.record_alerts(cursor, [], 0.0)
    assert arrivals(gallery) == ids


def test_a_failure_while_recording_moves_no_cursor(gallery: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    number = gallery.watching.add_watch(watch())
    ids = fill(gallery, 2)

    def fail(*_: object) -> None:
        raise RuntimeError("power of the test")

    with monkeypatch.context() as patched:
        patched.setattr("storage.database.cursors.advance", fail)
        with pytest.raises(RuntimeError):
            match(gallery, (number, ids[0], 0.9))
    assert gallery.watching.alerts() == []
    assert arrivals(gallery) == ids


def test_reading_the_watch_list_needs_no_writing(place: Place) -> None:
    with place.create() as gallery:
        number = gallery.watching.add_watch(watch())
        match(gallery, (number, fill(gallery, 1)[0], 0.9))
    with place.open(read_only=True) as gallery:
        assert len(gallery.watching.watches()) == len(gallery.watching.alerts()) == 1
        for write in (
            lambda: gallery.watching.add_watch(watch("b")),
            lambda: gallery.watching.remove_watch(number),
            lambda: match(gallery),
            lambda: gallery.watching.alert_delivered(1, 0.0),
        ):
            with pytest.raises(GalleryReadOnly):
                write()
