"""Capture times against simulated cameras whose true times are known."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.random import Generator, default_rng

from pipeline.live.clock import STEP_S, StreamClock, WallAnchor

UTC_0 = 1_800_000_000.0  # UTC where the monotonic clock shows 0


def new_clock() -> StreamClock:
    clock = StreamClock(WallAnchor(0.0, UTC_0))
    clock.connected()
    return clock


def jittered(
    rng: Generator, delays_s: float, count: int, ppm: float = 0.0, begin: float = 0.0, fps: float = 10.0
) -> Iterator[tuple[float, float, float]]:
    """True capture time (monotonic), stamp, arrival; arrivals keep their order, as on a TCP connection."""
    arrival = 0.0
    for n in range(count):
        taken = begin + n / fps
        arrival = max(arrival, taken + 0.02 + rng.uniform(0, delays_s))
        yield taken, 4242.0 + (taken - begin) * (1 + ppm * 1e-6), arrival


def errors_of(clock: StreamClock, pictures: Iterator[tuple[float, float, float]]) -> np.ndarray:
    """Capture time less the truth of each picture, in seconds; checks that times rise."""
    times, truth = [], []
    for taken, stamp, arrival in pictures:
        times.append(clock.capture_time(stamp, arrival))
        truth.append(UTC_0 + taken)
    assert (np.diff(times) >= STEP_S * 0.999).all()
    return np.array(times) - np.array(truth)


@pytest.mark.parametrize("ppm", [-100.0, 0.0, 100.0])
def test_jitter_of_200_ms_and_drift_leave_an_error_below_50_ms(ppm: float) -> None:
    clock = new_clock()
    errors = errors_of(clock, jittered(default_rng(1), 0.2, 12_000, ppm=ppm))  # 20 minutes
    settled = errors[100:]
    assert np.median(np.abs(settled)) < 0.05
    assert np.quantile(np.abs(settled), 0.99) < 0.06
    assert clock.drift_ppm == pytest.approx(ppm, abs=5)
    assert clock.jumps == 0


def test_drift_is_not_told_before_enough_minutes() -> None:
    clock = new_clock()
    errors_of(clock, jittered(default_rng(2), 0.2, 2_400, ppm=50))
    assert clock.drift_ppm is None


def test_a_burst_at_connect_does_not_shift_the_anchor() -> None:
    """Five seconds of old pictures come at once; what comes live afterwards must not carry their delay."""
    clock = new_clock()
    burst = [(n / 10, n / 10, 5.0) for n in range(50)]
    live = [(5 + n / 10, 5 + n / 10, 5.02 + n / 10) for n in range(1, 50)]
    errors = errors_of(clock, iter(burst + live))
    assert np.abs(errors[50:]).max() < 0.08
    assert clock.jumps == 0


def test_a_stall_whose_pictures_come_late_in_a_burst_keeps_the_anchor() -> None:
    clock = new_clock()
    pictures = [(n / 10, n / 10, n / 10 + 0.02) for n in range(100)]
    pictures += [(10 + n / 10, 10 + n / 10, max(16.0, 10 + n / 10) + 0.02) for n in range(100)]
    errors = errors_of(clock, iter(pictures))
    assert np.abs(errors).max() < 0.03
    assert clock.jumps == 0


@pytest.mark.parametrize("bits", [32, 33])
def test_a_wrap_of_the_stamps_is_no_jump(bits: int) -> None:
    clock, period = new_clock(), 2**bits / 90_000
    pictures = ((n / 10, (period - 5 + n / 10) % period, n / 10 + 0.02) for n in range(200))
    errors = errors_of(clock, pictures)
    assert np.abs(errors).max() < 0.03
    assert clock.jumps == 0


@pytest.mark.parametrize(
    ("shift", "jumps"), [(-30.0, 1), (-5000.0, 1), (30.0, 1), (5000.0, 1), (0.3, 0), (1.5, 0)]
)
def test_a_clock_that_is_set_in_mid_stream_is_anchored_anew(shift: float, jumps: int) -> None:
    clock = new_clock()
    pictures = [(n / 10, 6000 + n / 10 + (shift if n >= 200 else 0), n / 10 + 0.02) for n in range(400)]
    errors = errors_of(clock, iter(pictures))
    assert np.abs(errors).max() < 0.03
    assert clock.jumps == jumps


def test_a_clock_that_stood_still_while_the_stream_did_is_noticed_within_seconds() -> None:
    clock = new_clock()
    pictures = [(n / 10, n / 10, n / 10 + 0.02) for n in range(100)]
    pictures += [(15 + n / 10, 10 + n / 10, 15.02 + n / 10) for n in range(300)]  # 5 s are missing
    errors = errors_of(clock, iter(pictures))
    assert np.abs(errors[250:]).max() < 0.03
    assert clock.jumps == 1


def test_a_new_connection_begins_anew_and_never_before_the_old_one() -> None:
    clock = new_clock()
    first = errors_of(clock, jittered(default_rng(3), 0.2, 300))
    before = clock.capture_time(None, 31.0)
    clock.connected()
    errors = errors_of(clock, jittered(default_rng(4), 0.2, 300, begin=40))
    assert clock.jumps == 0
    assert np.abs(np.concatenate([first[100:], errors[100:]])).max() < 0.06
    assert before < UTC_0 + 40


def test_stamps_that_stand_still_or_are_missing_fall_back_to_arrivals() -> None:
    clock = new_clock()
    assert clock.capture_time(None, 1.0) == UTC_0 + 1.0
    assert clock.capture_time(None, 1.1) == UTC_0 + 1.1
    assert clock.capture_time(None, 1.1) == pytest.approx(UTC_0 + 1.1 + STEP_S, abs=1e-6)


def test_a_sender_clock_that_can_be_right_is_believed() -> None:
    """The network always takes 0.4 s, which arrivals alone cannot show."""
    clock, errors = new_clock(), []
    for n in range(200):
        sender = UTC_0 + n / 10 if n >= 30 else None  # the first report comes after three seconds
        errors.append(clock.capture_time(7 + n / 10, n / 10 + 0.4, sender) - UTC_0 - n / 10)
    assert np.abs(errors[40:]).max() < 0.01
    assert clock.sender_offset_s is None
    clock.connected()
    assert clock.capture_time(900.0, 30.4) == pytest.approx(UTC_0 + 30, abs=0.01)  # the delay is known now


@pytest.mark.parametrize("wrong_s", [-86_400.0, -20.0, 5.0, 3_600.0])
def test_a_sender_clock_that_is_wrong_is_corrected_and_noted(wrong_s: float) -> None:
    clock, rng = new_clock(), default_rng(5)
    for n in range(300):
        arrival = n / 10 + 0.02 + rng.uniform(0, 0.05)
        taken = clock.capture_time(7 + n / 10, arrival, UTC_0 + n / 10 + wrong_s)
    assert taken == pytest.approx(UTC_0 + 29.9, abs=0.05)
    assert clock.sender_offset_s == pytest.approx(wrong_s, abs=0.1)


def test_a_sender_clock_that_is_set_to_rights_is_believed_then() -> None:
    clock = new_clock()
    for n in range(400):
        wrong = 7200.0 if n < 200 else 0.0
        taken = clock.capture_time(7 + n / 10, n / 10 + 0.3, UTC_0 + n / 10 + wrong)
    assert taken == pytest.approx(UTC_0 + 39.9, abs=0.01)
    assert clock.sender_offset_s is None


def test_no_picture_is_taken_after_it_arrived() -> None:
    clock = new_clock()
    for n in range(100):
        taken = clock.capture_time(n / 10, n / 10 + 0.02, UTC_0 + n / 10 + 0.08)  # 60 ms ahead
        assert taken <= UTC_0 + n / 10 + 0.0201


def observed(steps: list[tuple[float, float]], until: float) -> WallAnchor:
    """Clocks read every 0.1 s; (when, by how much) the machine's clock is set."""
    wall = WallAnchor(0.0, UTC_0)
    for n in range(int(until * 10) + 1):
        now = n / 10
        wall.observe(now, UTC_0 + now + sum(by for when, by in steps if now >= when))
    return wall


@pytest.mark.parametrize(
    ("steps", "until", "error", "count"),
    [
        ([], 60, 0.0, 0),
        ([(10, 0.02)], 60, 0.0, 0),  # followed at 1 ms a second
        ([(10, 0.2)], 60, -0.15, 0),  # still on its way
        ([(10, 3600)], 11, 0.0, 1),  # forwards: at once
        ([(10, -2)], 30, 1.0, 1),  # backwards: 5 %
        ([(10, -2)], 90, 0.0, 1),
    ],
)
def test_the_wall_clock_is_followed_and_never_runs_back(
    steps: list[tuple[float, float]], until: float, error: float, count: int
) -> None:
    wall = observed(steps, until)
    shown = UTC_0 + until + sum(by for _, by in steps)
    assert wall.utc(until) - shown == pytest.approx(error, abs=0.06)
    assert wall.steps == count


def test_capture_times_rise_while_the_wall_clock_is_set_back() -> None:
    clock, times = new_clock(), []
    for n in range(600):
        clock.wall.observe(n / 10, UTC_0 + n / 10 - (2 if n > 100 else 0))
        times.append(clock.capture_time(n / 10, n / 10 + 0.02))
    intervals = np.diff(times)
    assert intervals.min() > 0.09
    assert times[-1] == pytest.approx(UTC_0 + 59.9 - 2, abs=0.03)
