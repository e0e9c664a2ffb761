"""Alerts on their way to real receivers that fail, hang and come back."""

from __future__ import annotations

import base64
import hashlib
import hmac
import io
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from pipeline.alerts import Deliverer, deliverer
from pipeline.alerts.lanes import Patience
from pipeline.embedding import Embedder
from pipeline.live.logs import json_handler, logging_to
from pipeline.live.status import RunStatus
from storage.errors import GalleryFull
from storage.gallery import Gallery
from storage.watch_records import NewWatch
from tests.alerts.people import NOON, store
from tests.alerts.receiver import Receiver

QUICK = Patience(first_s=0.2, max_s=0.4)
ROOT = Path(__file__).resolve().parents[2]


def _raise(
    gallery: Gallery, embedder: Embedder, webhook: str | None, count: int = 1, secret_env: str | None = None
) -> list[int]:
    """A watch for that webhook, and alerts of it."""
    number = len(gallery.watching.watches()) * 100
    ids = store(gallery, embedder, *["red"] * (count + 1), first=number)
    watch = gallery.watching.add_watch(
        NewWatch(f"watch {number}", 0.9, tracklets=ids[:1], webhook=webhook, secret_env=secret_env)
    )
    cursor, _, _ = gallery.watching.unmatched_embeddings(0)
    return gallery.watching.record_alerts(
        cursor, [(watch, tracklet, 0.95) for tracklet in ids[1:]], time.time()
    )


def _until(condition: Callable[[], bool], timeout_s: float = 15.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def _states(gallery: Gallery) -> list[tuple[str, int]]:
    return [(alert.status, alert.attempts) for alert in gallery.watching.alerts()]


def test_a_message_tells_who_where_and_when_and_is_signed(
    gallery: Gallery, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOOK_KEY", "a key of ours")
    status = RunStatus(0.0, [])
    with Receiver() as receiver:
        (alert,) = _raise(gallery, embedder, receiver.url, secret_env="HOOK_KEY")
        with Deliverer(gallery, status):
            (message,) = receiver.wait_for(1)
            _until(lambda: _states(gallery) == [("delivered", 1)])
    told = message.json
    picture = base64.b64decode(told.pop("thumbnail"))
    assert picture[:2] == b"\xff\xd8"
    record = gallery.watching.alerts()[0].record
    assert told.pop("created").endswith("Z")
    assert told == {
        "alert": alert, "watch": "watch 0", "camera": "door", "tracklet": record.id, "similarity": 0.95,
        "start": "2025-10-09T12:00:00.000Z", "end": "2025-10-09T12:00:02.000Z", "attempt": 1,
    }  # fmt: skip
    assert NOON == 1_760_011_200.0
    headers = message.headers
    assert headers["Retrace-Delivery"] == str(alert)
    assert abs(int(headers["Retrace-Timestamp"]) - time.time()) < 60
    signed = headers["Retrace-Timestamp"].encode() + b"." + message.body
    expected = hmac.new(b"a key of ours", signed, hashlib.sha256).hexdigest()
    assert headers["Retrace-Signature"] == f"sha256={expected}"
    assert status.alerts == {"delivered": 1}


def test_it_is_tried_again_until_it_is_accepted(gallery: Gallery, embedder: Embedder) -> None:
    status = RunStatus(0.0, [])
    with Receiver([500, "close", "http://127.0.0.1:1/", 200]) as receiver:
        _raise(gallery, embedder, receiver.url)
        with Deliverer(gallery, status, QUICK, Random(1)):
            messages = receiver.wait_for(4)
            _until(lambda: _states(gallery) == [("delivered", 4)])
            time.sleep(1.2)
    assert len(receiver.received) == 4, "what has arrived is not sent again"
    assert [message.json["attempt"] for message in messages] == [1, 2, 3, 4]
    assert {message.headers["Retrace-Delivery"] for message in messages} == {"1"}
    assert status.alerts == {"retried": 3, "delivered": 1}


def test_waits_double_up_to_a_limit_and_end(gallery: Gallery, embedder: Embedder) -> None:
    _raise(gallery, embedder, "https://h.example")
    (alert,) = gallery.watching.alerts()
    patience = Patience(first_s=2.0, max_s=60.0, tries=8, jitter=0.0)
    waits = []
    for attempts in range(8):
        moment = patience.next_attempt(replace(alert, attempts=attempts), alert.created, Random(0))
        waits.append(None if moment is None else moment - alert.created)
    assert waits == [2, 4, 8, 16, 32, 60, 60, None]
    assert patience.next_attempt(alert, alert.created + 86_399, Random(0)) is None
    spread = {Patience().next_attempt(alert, alert.created, Random(seed)) for seed in range(20)}
    assert len(spread) == 20
    assert all(moment and 1.6 <= moment - alert.created <= 2.4 for moment in spread)


def test_it_is_given_up_after_so_many_tries_or_when_it_is_old(gallery: Gallery, embedder: Embedder) -> None:
    status, stream = RunStatus(0.0, []), io.StringIO()
    with Receiver([503]) as receiver, logging_to(json_handler(stream)):
        _raise(gallery, embedder, receiver.url, secret_env=None)
        with Deliverer(gallery, status, Patience(first_s=0.1, max_s=0.2, tries=3)):
            _until(lambda: _states(gallery) == [("failed", 3)])
    assert gallery.watching.alerts()[0].last_error == "it answered 503"
    assert status.alerts == {"retried": 2, "failed": 1}
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert lines[-1]["event"] == "alert given up"
    assert lines[-1]["webhook"].endswith("/…")
    assert "t0ken" not in stream.getvalue()

    with Receiver() as receiver:
        _raise(gallery, embedder, receiver.url)
        time.sleep(0.3)
        with Deliverer(gallery, status, Patience(give_up_s=0.2)):
            _until(lambda: _states(gallery)[1][0] == "failed")
        assert receiver.received == []


def test_a_missing_key_sends_nothing_unsigned(
    gallery: Gallery, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    with Receiver() as receiver:
        _raise(gallery, embedder, receiver.url, secret_env="NO_SUCH_KEY")
        with Deliverer(gallery, None, QUICK):
            _until(lambda: _states(gallery)[0][1] >= 1)
        assert receiver.received == []
        assert "NO_SUCH_KEY" in str(gallery.watching.alerts()[0].last_error)
        monkeypatch.setenv("NO_SUCH_KEY", "now there is one")
        with Deliverer(gallery, None, QUICK):
            receiver.wait_for(1)


def test_one_that_hangs_does_not_delay_another(gallery: Gallery, embedder: Embedder) -> None:
    """200 alerts wait for a receiver that never answers; those of others arrive at once."""
    with Receiver(["hang"]) as slow, Receiver() as quick:
        _raise(gallery, embedder, slow.url, count=200)
        with Deliverer(gallery):
            slow.wait_for(1)
            _raise(gallery, embedder, quick.url, count=3)
            begin = time.monotonic()
            quick.wait_for(3)
            assert time.monotonic() - begin < 2.5
            assert len(slow.received) == 1, "one that does not answer is not given everything at once"


def test_one_that_is_away_is_probed_by_single_messages_and_gets_all_when_it_is_back(
    gallery: Gallery, embedder: Embedder
) -> None:
    with Receiver([500] * 4 + [200]) as receiver:
        _raise(gallery, embedder, receiver.url, count=30)
        with Deliverer(gallery, None, QUICK):
            receiver.wait_for(34, timeout_s=30)
            _until(lambda: {state for state, _ in _states(gallery)} == {"delivered"})
    assert len(receiver.received) == 34
    assert len({message.headers["Retrace-Delivery"] for message in receiver.received}) == 30


def test_what_arrived_is_not_sent_again_while_it_cannot_be_noted(
    gallery: Gallery, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliverer, "_AFTER_ERROR_S", 0.2)
    delivered, failures = gallery.watching.alert_delivered, []

    def full(alert_id: int, now: float) -> None:
        if len(failures) < 4:
            failures.append(alert_id)
            raise GalleryFull(28, "no space left", "/disk")
        delivered(alert_id, now)

    monkeypatch.setattr(gallery.watching, "alert_delivered", full)
    with Receiver() as receiver:
        _raise(gallery, embedder, receiver.url)
        with Deliverer(gallery):
            _until(lambda: _states(gallery) == [("delivered", 1)])
        assert len(receiver.received) == 1
    assert len(failures) == 4


def test_alerts_without_a_webhook_are_kept_and_not_sent(gallery: Gallery, embedder: Embedder) -> None:
    _raise(gallery, embedder, None)
    status = RunStatus(0.0, [])
    with Deliverer(gallery, status):
        _until(lambda: status.queued.get("alerts") == 0)
    assert _states(gallery) == [("none", 0)]


RUN = """
    import sys, time
    from pathlib import Path
    from pipeline.alerts import Deliverer, Matcher
    from pipeline.alerts.lanes import Patience
    from pipeline.embedding import build_embedder
    from pipeline.plugins import PluginSettings
    from storage.gallery import Gallery
    from tests.alerts.people import CONFIG, store
    embedder = build_embedder(PluginSettings(name="colour_stripes"))
    with Gallery.open(Path(sys.argv[1])) as gallery:
        with Matcher(gallery, embedder, CONFIG), Deliverer(gallery, None, Patience(first_s=0.3, max_s=0.5)):
            if len(sys.argv) > 2:
                store(gallery, embedder, *["red", "blue"] * 5, first=int(sys.argv[2]))
            print("running", flush=True)
            time.sleep(60)
"""


def _start(gallery: Gallery, *arguments: object) -> subprocess.Popen[str]:
    code = textwrap.dedent(RUN)
    return subprocess.Popen(
        [sys.executable, "-c", code, str(gallery.folder), *map(str, arguments)],
        cwd=ROOT, text=True, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip


def _kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    assert process.stdout is not None
    process.stdout.close()


@pytest.mark.parametrize("answer", [500, "hang"])
def test_killed_between_match_and_delivery_everything_arrives_after_the_restart(
    gallery: Gallery, embedder: Embedder, answer: int | str
) -> None:
    """hang: the message had arrived, and the process died before it could note that: at least once."""
    (red,) = store(gallery, embedder, "red")
    with Receiver([answer]) as receiver:
        gallery.watching.add_watch(NewWatch("red", 0.97, tracklets=(red,), webhook=receiver.url))
        first = _start(gallery, 10)
        receiver.wait_for(1, timeout_s=60)
        _kill(first)
        _until(lambda: len(gallery.watching.alerts()) == 5)
        assert "delivered" not in {state for state, _ in _states(gallery)}
        receiver.script[:] = [200]
        before = {message.headers["Retrace-Delivery"] for message in receiver.received}
        second = _start(gallery)
        _until(lambda: {state for state, _ in _states(gallery)} == {"delivered"}, timeout_s=60)
        _kill(second)
    ids = [message.headers["Retrace-Delivery"] for message in receiver.received]
    assert set(ids) == {str(alert.id) for alert in gallery.watching.alerts()}
    assert before <= set(ids)
    assert len(gallery.watching.alerts()) == 5, "repeats are messages, not alerts"


def test_killed_at_random_moments_no_match_is_lost(gallery: Gallery, embedder: Embedder) -> None:
    (red,) = store(gallery, embedder, "red")
    rng = Random(5)
    with Receiver() as receiver:
        gallery.watching.add_watch(NewWatch("red", 0.97, tracklets=(red,), webhook=receiver.url))
        for number in range(3):
            process = _start(gallery, 10 + 10 * number)
            assert process.stdout is not None
            assert process.stdout.readline() == "running\n"
            time.sleep(rng.uniform(0, 0.8))
            _kill(process)
        last = _start(gallery)
        expected = {record.id for record in gallery.tracklets() if record.track_id % 2 == 0} - {red}
        assert len(expected) == 15
        _until(lambda: {alert.record.id for alert in gallery.watching.alerts()} == expected, timeout_s=60)
        _until(lambda: {state for state, _ in _states(gallery)} == {"delivered"}, timeout_s=60)
        _kill(last)
    assert {message.json["tracklet"] for message in receiver.received} == expected
