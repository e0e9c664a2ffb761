"""The motion gate: noise, light and compression leave it closed, the smallest person opens it."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from time import thread_time

import av
import cv2
import numpy as np
import pytest

from pipeline.live.motion import MotionGate

RATE = 10.0
Picture = np.ndarray


def scene(height: int, width: int, seed: int = 0) -> Picture:
    """An empty place: coarse and fine structure."""
    random = np.random.default_rng(seed)
    picture = np.full((height, width), 110, np.float32)
    for cells, strength in ((6, 40), (40, 15), (200, 6)):
        grid = random.normal(0, strength, (cells, cells)).astype(np.float32)
        picture += cv2.resize(grid, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.clip(picture, 20, 220)  # float32


@cache
def noise() -> Picture:
    return np.random.default_rng(0).standard_normal((1500, 2500)).astype(np.float32)


def noisy(picture: Picture, seed: int, sigma: float = 4.0) -> Picture:
    """With another part of one large field of noise each time."""
    height, width = picture.shape
    top, left = np.random.default_rng(seed).integers(0, (1500 - height, 2500 - width))
    noised = picture + sigma * noise()[top : top + height, left : left + width]
    return np.asarray(cv2.convertScaleAbs(np.maximum(noised, 0)), np.uint8)


def with_person(picture: Picture, x: float, y: float, height_px: int, contrast: float) -> Picture:
    """Somebody of a third as wide as high, by so many levels darker or lighter than what is behind."""
    picture = picture.copy()
    left, top, width = round(x), round(y), round(height_px / 3)
    picture[top : top + height_px, left : left + width] += contrast
    return picture


def settled(picture: Picture, frames: int = 30, masks: tuple = ()) -> tuple[MotionGate, float]:
    """A gate that knows this place, and the time of the next picture."""
    gate = MotionGate(masks)
    for i in range(frames):
        gate.moved(noisy(picture, 1000 + i), i / RATE)
    return gate, frames / RATE


SIZES = [(1080, 1920), (576, 720)]


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("contrast", [-35, 35])
def test_the_smallest_person_opens_it_within_a_step(height: int, width: int, contrast: int) -> None:
    place = scene(height, width)
    for x in (0.3, 0.52):
        gate, now = settled(place)
        assert not gate.moved(noisy(place, 1), now)
        steps = [with_person(place, x * width + 3 * i, 0.6 * height, 32, contrast) for i in range(5)]
        seen = [gate.moved(noisy(step, i), now + (i + 1) / RATE) for i, step in enumerate(steps)]
        assert seen[0], "not seen in the first picture"
        assert all(seen)


def test_it_stays_open_while_somebody_walks_and_closes_when_he_is_gone() -> None:
    place = scene(576, 720)
    gate, now = settled(place)
    for i in range(60):
        assert gate.moved(noisy(with_person(place, 100 + 5 * i, 300, 60, 40), i), now + i / RATE)
    later = now + 6
    closed = [not gate.moved(noisy(place, 100 + i), later + i / RATE) for i in range(50)]
    assert all(closed[30:])


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("sigma", [2.0, 10.0])
def test_noise_leaves_it_closed(height: int, width: int, sigma: float) -> None:
    place, gate = scene(height, width), MotionGate()
    opened = [gate.moved(noisy(place, i, sigma), i / RATE) for i in range(60)]
    assert opened[0], "the first picture is always new"
    assert sum(opened[10:]) == 0


def test_light_that_changes_everywhere_leaves_it_closed() -> None:
    place = scene(576, 720)
    gate, now = settled(place)
    for i in range(60):  # a cloud: darker by a third within three seconds, and back
        gain = 1 - 0.3 * min(i, 60 - i) / 30
        assert not gate.moved(noisy(place * gain + 2, i), now + i / RATE)
    assert not gate.moved(noisy(place * 0.85 + 10, 99), now + 6), "the camera's exposure jumps"


def test_a_person_is_seen_while_the_light_changes() -> None:
    place = scene(576, 720)
    gate, now = settled(place)
    for i in range(10):
        gain = 1 - 0.02 * i
        picture = with_person(place, 300 + 4 * i, 300, 40, 40) * gain
        assert gate.moved(noisy(picture, i), now + i / RATE)


def test_a_moved_camera_is_a_new_place() -> None:
    gate, now = settled(scene(576, 720))
    other = scene(576, 720, seed=7)[::-1]
    assert gate.moved(noisy(other, 0), now)
    assert not any(gate.moved(noisy(other, i), now + i / RATE) for i in range(1, 20))


def test_what_is_put_down_becomes_background() -> None:
    place = scene(576, 720)
    gate, now = settled(place)
    parked = with_person(place, 300, 300, 80, 50)
    opened = [gate.moved(noisy(parked, i), now + i / RATE) for i in range(600)]
    assert opened[0]
    assert not any(opened[500:])


def test_flicker_of_hard_compression_leaves_it_closed(tmp_path: Path) -> None:
    """H.264 at a low rate: the picture jumps with every key frame."""
    place, gate = scene(576, 720), MotionGate()
    with av.open(str(tmp_path / "still.mp4"), "w") as out:
        stream = out.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 720, 576, "yuv420p"
        stream.options = {"crf": "38", "g": "20", "preset": "veryfast", "bf": "0"}
        for i in range(150):
            grey = np.repeat(noisy(place, i, 6.0)[..., None], 3, axis=2)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")))
        out.mux(stream.encode())
    with av.open(str(tmp_path / "still.mp4")) as source:
        lumas = [frame.to_ndarray(format="gray") for frame in source.decode(video=0)]
    opened = [gate.moved(luma, i / RATE) for i, luma in enumerate(lumas)]
    assert sum(opened[50:]) <= 2


def test_behind_a_mask_nothing_is_seen() -> None:
    place = scene(576, 720)
    mask = [(0.5, 0.0), (1.0, 0.0), (1.0, 1.0), (0.5, 1.0)]
    gate, now = settled(place, masks=(mask,))
    behind = noisy(with_person(place, 500, 300, 100, 60), 0)
    before = behind.copy()
    assert not gate.moved(behind, now)
    np.testing.assert_array_equal(behind, before, "the picture itself must stay as it is")
    assert gate.moved(noisy(with_person(place, 200, 300, 100, 60), 1), now + 0.1)


def test_another_resolution_or_a_jump_in_time_begins_anew() -> None:
    place = scene(576, 720)
    gate, now = settled(place)
    assert gate.moved(noisy(scene(1080, 1920), 0), now)
    assert not gate.moved(noisy(scene(1080, 1920), 1), now + 0.1)
    assert gate.moved(noisy(scene(1080, 1920), 2), now - 5)
    assert not gate.moved(noisy(scene(1080, 1920), 3), now - 4.9)
    assert gate.moved(noisy(scene(1080, 1920), 4), now + 500)


def test_it_reads_a_plane_with_padded_lines_and_a_tiny_picture() -> None:
    place = noisy(scene(576, 720), 0)
    padded = np.zeros((576, 768), np.uint8)
    padded[:, :720] = place
    gate = MotionGate()
    gate.moved(padded[:, :720], 0.0)
    assert not gate.moved(place, 0.1)
    for turns in (1, 2, 3):  # a camera that hangs on its side
        turned = MotionGate()
        turned.moved(np.rot90(place, turns), 0.0)
        assert not turned.moved(np.rot90(place, turns), 0.1)
    tiny = MotionGate()
    tiny.moved(np.zeros((3, 5), np.uint8), 0.0)
    assert not tiny.moved(np.zeros((3, 5), np.uint8), 0.1)


def test_it_costs_well_under_a_millisecond() -> None:
    place = scene(1080, 1920)
    pictures = [noisy(place, i) for i in range(4)]
    gate, times = MotionGate(), []
    for i in range(40):
        begin = thread_time()
        gate.moved(pictures[i % 4], i / RATE)
        times.append(thread_time() - begin)
    assert min(times) < 1e-3
