"""Due pictures, waits between tries, and gaps."""

from __future__ import annotations

import random

import numpy as np
import pytest

from pipeline.live.schedule import Backoff, Gap, Schedule


@pytest.mark.parametrize(
    ("camera_fps", "rate", "expected"),
    [(25, 5, 5), (10, 5, 5), (5, 5, 5), (12, 5, 5), (4, 5, 4), (30, None, 30)],
)
@pytest.mark.parametrize("jitter_s", [0.0, 0.01])
def test_the_rate_is_kept_whatever_the_camera_sends(
    camera_fps: float, rate: float | None, expected: float, jitter_s: float
) -> None:
    schedule, rng = Schedule(rate), np.random.default_rng(0)
    times = 1.8e9 + np.arange(0, 60, 1 / camera_fps) + rng.uniform(0, jitter_s, int(60 * camera_fps))
    due = [at for at in times if schedule.due(at)]
    assert len(due) == pytest.approx(60 * expected, abs=2)
    assert np.diff(due).max() <= 1.5 / expected + 1 / camera_fps


def test_after_a_pause_it_goes_on_at_its_rate_and_does_not_catch_up() -> None:
    schedule = Schedule(5)
    assert [at for at in (0.0, 0.1, 0.2, 60.0, 60.1, 60.2, 60.3) if schedule.due(at)] == [
        0.0,
        0.2,
        60.0,
        60.2,
    ]


def test_a_restart_counts_from_there() -> None:
    schedule = Schedule(0.5)
    for n in range(50):
        schedule.restart(n / 5)
    assert not schedule.due(11.0)
    assert schedule.due(11.8)


def test_waits_double_up_to_the_cap_and_begin_again_after_a_reset() -> None:
    backoff = Backoff(0.5, 4.0, random.Random(0))
    waits = [backoff.next_s() for _ in range(8)]
    for wait_s, whole in zip(waits, [0.5, 1, 2, 4, 4, 4, 4, 4], strict=True):
        assert whole / 2 <= wait_s <= whole
    assert len(set(waits)) == len(waits)  # jitter
    backoff.reset()
    assert backoff.next_s() <= 0.5
    backoff.to_longest()
    assert backoff.next_s() >= 2


def test_a_gap_is_told_once_with_the_last_picture_and_ended_with_the_next() -> None:
    told: list[tuple[object, ...]] = []
    gap = Gap(5.0, lambda at, why: told.append((at, why)), lambda at: told.append((at,)))
    gap.begin(100.0, 1000.0)
    gap.look(104.0, "refused")
    gap.picture(104.5, 1004.4)
    gap.look(109.0, "refused")
    assert told == []
    gap.look(110.0, "refused")
    gap.look(120.0, "timeout")
    assert told == [(1004.4, "refused")]
    gap.picture(130.0, 1029.9)
    assert told[1:] == [(1029.9,)]
    gap.picture(136.0, 1035.9)  # nobody looked meanwhile
    assert told[2:] == [(1029.9, "no pictures"), (1035.9,)]


def test_a_gap_since_another_moment_begins_after_the_gap_before() -> None:
    told: list[object] = []
    gap = Gap(5.0, lambda at, why: told.append((at, why)), told.append)
    gap.begin(100.0, 1000.0)
    gap.look(110.0, "paused", 998.0)
    gap.look(120.0, "refused")
    gap.picture(130.0, 1030.0)
    gap.picture(134.0, 1034.0)
    gap.look(140.0, "paused", 1029.0)
    gap.picture(150.0, 1050.0)
    gap.picture(154.0, 1054.0)
    gap.look(160.0, "paused", 1053.0)
    assert told == [(1000.0, "paused"), 1030.0, (1030.0, "paused"), 1050.0, (1053.0, "paused")]


def test_what_is_not_expected_is_not_missing() -> None:
    told: list[object] = []
    gap = Gap(5.0, lambda at, why: told.append(at), told.append)
    gap.begin(0.0, 1000.0)
    gap.look(6.0, "refused")
    gap.end(1007.0)
    gap.begin(100.0, 1100.0)
    gap.look(104.0, "refused")
    assert told == [1000.0, 1007.0]
