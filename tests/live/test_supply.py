"""Fair turns: who was served longest ago comes first, and nobody waits for anybody's stream."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from painted import BLUE, RED, Painted, make_scene

from pipeline.config import VideoSettings
from pipeline.live.supply import Supply
from pipeline.types import Frame
from pipeline.video import Source, SourceSpec, open_source
from pipeline.zones import Zones

IMAGE = np.zeros((4, 4, 3), np.uint8)


@dataclass(eq=False)
class Still:
    """A live camera of which a frame always waits, or none."""

    name: str
    ready: bool = True
    camera: Still = field(init=False)

    def __post_init__(self) -> None:
        self.camera = self

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def join(self, timeout: float) -> None: ...

    def take(self):
        return (lambda: Frame(self.name, 0, 0.0, IMAGE)) if self.ready else None


@dataclass(eq=False)
class Recorded:
    source: Source
    zones: Zones = field(default_factory=lambda: Zones(None))


def names(supply: Supply, size: int) -> list[str]:
    return [frame.camera for _, frame in supply.take(size, 0.0)[0]]


def test_every_camera_gets_the_same_share_when_batches_are_too_small() -> None:
    served: Counter[str] = Counter()
    with Supply([Still(name) for name in "abcde"], [], 1, threading.Event()) as supply:
        for _ in range(50):
            batch = names(supply, 3)
            assert len(batch) == len(set(batch)) == 3
            served.update(batch)
    assert set(served.values()) == {30}


def test_a_camera_without_a_frame_costs_the_others_nothing_and_comes_first_afterwards() -> None:
    late = Still("late", ready=False)
    with Supply([late, Still("a"), Still("b")], [], 1, threading.Event()) as supply:
        assert [names(supply, 2) for _ in range(3)] == [["a", "b"]] * 3
        late.ready = True
        assert names(supply, 2) == ["late", "a"]


def test_with_nothing_to_do_it_waits_and_says_so() -> None:
    with Supply([Still("late", ready=False)], [], 1, threading.Event()) as supply:
        assert supply.take(8, 0.01) == ([], [])
        assert not supply.exhausted


@pytest.fixture
def recordings(tmp_path: Path) -> list[Recorded]:
    """Two videos of 5 and 9 frames."""
    person = Painted(RED, BLUE, 10, 40)
    scenes = [make_scene(tmp_path, name, [person], n) for name, n in (("short", 5), ("long", 9))]
    return [
        Recorded(open_source(SourceSpec(scene.video.stem, str(scene.video), 0.0), VideoSettings()))
        for scene in scenes
    ]


def everything(supply: Supply, size: int) -> tuple[list[tuple[str, int]], list[str]]:
    """All frames and ends of a supply of recordings."""
    frames, ends = [], []
    while not supply.exhausted:
        taken, ended = supply.take(size, 0.5)
        frames += [(frame.camera, frame.index) for _, frame in taken]
        ends += [run.source.camera for run in ended]
    return frames, ends


@pytest.mark.parametrize("num_open", [1, 2])
def test_recordings_alone_lose_nothing_and_end(recordings: list[Recorded], num_open: int) -> None:
    with Supply([], recordings, num_open, threading.Event()) as supply:
        frames, ends = everything(supply, 4)
    for camera, count in (("short", 5), ("long", 9)):
        assert [index for name, index in frames if name == camera] == list(range(count))
    assert sorted(ends) == ["long", "short"]


@dataclass(eq=False)
class Spoilt(Still):
    """A live camera of which no frame can be converted."""

    errors: list[Exception] = field(default_factory=list)

    def take(self):
        def raises() -> Frame:
            raise ValueError("no such pixel format")

        return raises

    def lost(self, error: Exception) -> None:
        self.errors.append(error)


def test_a_frame_that_cannot_be_converted_costs_the_others_nothing() -> None:
    spoilt = Spoilt("spoilt")
    with Supply([spoilt, Still("a")], [], 1, threading.Event()) as supply:
        assert [names(supply, 2) for _ in range(3)] == [["a"]] * 3
    assert [str(error) for error in spoilt.errors] == ["no such pixel format"] * 3


@pytest.mark.parametrize("beside", ["live cameras", "nobody"])
def test_a_recording_that_breaks_off_makes_room_for_the_next_one(
    recordings: list[Recorded], monkeypatch: pytest.MonkeyPatch, beside: str
) -> None:
    def breaks_off():
        yield Frame("short", 0, 0.0, IMAGE)
        raise OSError("gone")

    monkeypatch.setattr(recordings[0].source, "frames", breaks_off)
    failed: list[tuple[str, str]] = []
    served: Counter[str] = Counter()
    live = beside == "live cameras"
    told = (lambda run, error: failed.append((run.source.camera, str(error)))) if live else None
    with Supply([Still("a")] if live else [], recordings, 1, threading.Event(), told) as supply:
        if not live:
            with pytest.raises(OSError, match="gone"):
                everything(supply, 4)
            return
        while served["long"] < 9:
            served.update(names(supply, 8))
    assert failed == [("short", "gone")]
    assert served["short"] == 1


def test_a_recording_takes_one_turn_beside_live_cameras(recordings: list[Recorded]) -> None:
    served: Counter[str] = Counter()
    with Supply([Still("a"), Still("b")], recordings[1:], 1, threading.Event()) as supply:
        while not served["ended"]:
            taken, ended = supply.take(8, 0.1)
            batch = [frame.camera for _, frame in taken]
            assert batch.count("long") <= 1
            served.update(batch)
            served["ended"] += len(ended)
        assert names(supply, 8) == ["a", "b"]
    assert served["long"] == 9
