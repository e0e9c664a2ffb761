"""Boxes survive a kill, torn records do not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.detection_log import DetectionLog
from pipeline.types import Detections


def some(count: int, seed: int) -> Detections:
    rng = np.random.default_rng(seed)
    return Detections(rng.random((count, 4), np.float32), rng.random(count, np.float32))


def write(path: Path, frames: int) -> None:
    with DetectionLog(path, "settings") as log:
        for i in range(frames):
            assert log.replay(3 * i) is None
            log.append(3 * i, some(i % 4, i))


def test_a_log_replays_exactly_and_then_goes_on(tmp_path: Path) -> None:
    write(tmp_path / "log", 6)
    with DetectionLog(tmp_path / "log", "settings") as log:
        for i in range(6):
            replayed = log.replay(3 * i)
            assert replayed is not None
            np.testing.assert_array_equal(replayed.xyxy, some(i % 4, i).xyxy)
            np.testing.assert_array_equal(replayed.confidence, some(i % 4, i).confidence)
        assert log.replay(18) is None
        log.append(18, some(2, 18))
    with DetectionLog(tmp_path / "log", "settings") as log:
        assert sum(log.replay(3 * i) is not None for i in range(8)) == 7


@pytest.mark.parametrize("lost", range(1, 60, 7))
def test_a_torn_record_is_dropped_wherever_it_is_torn(tmp_path: Path, lost: int) -> None:
    path = tmp_path / "log"
    write(path, 4)  # the last record: 8 bytes and 3 boxes of 20
    path.write_bytes(path.read_bytes()[:-lost])
    with DetectionLog(path, "settings") as log:
        assert [log.replay(3 * i) is not None for i in range(4)] == [True, True, True, False]
        log.append(9, some(1, 9))
    with DetectionLog(path, "settings") as log:
        assert [len(found) for i in range(4) if (found := log.replay(3 * i)) is not None] == [0, 1, 2, 1]


def test_other_settings_or_another_file_begin_anew(tmp_path: Path) -> None:
    write(tmp_path / "log", 3)
    with DetectionLog(tmp_path / "log", "others") as log:
        assert log.replay(0) is None
    (tmp_path / "junk").write_bytes(b"something else entirely")
    with DetectionLog(tmp_path / "junk", "settings") as log:
        assert log.replay(0) is None


def test_a_frame_that_no_longer_comes_next_ends_the_replay(tmp_path: Path) -> None:
    write(tmp_path / "log", 5)
    with DetectionLog(tmp_path / "log", "settings") as log:
        assert log.replay(0) is not None
        assert log.replay(4) is None
        assert log.replay(6) is None


def test_removing_the_log_of_a_finished_source(tmp_path: Path) -> None:
    with DetectionLog(tmp_path / "log", "settings") as log:
        log.remove()
    assert not (tmp_path / "log").exists()
