"""One draw for all frames of a clip, and what each change does to a picture that can be checked by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from training.augment import augment
from training.recipe import Augmentation

STRONG = Augmentation(
    flip_p=0.5, shift=0.1, zoom=(0.9, 1.2), colour_p=1, brightness=(0.6, 1.5), contrast=(0.7, 1.6),
    gamma=(0.7, 1.4), tint=0.1, saturation=(0.2, 1.2), hue=0.05, greyscale_p=0.2, low_resolution_p=0.5,
    blur_p=0.3, sharpen_p=0.5,
)  # fmt: skip


def picture(height: int = 64, width: int = 32) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)


def changed(clip: np.ndarray, seed: int = 0, **settings: Any) -> np.ndarray:
    return augment(clip, Augmentation(**settings), np.random.default_rng(seed))


def test_defaults_leave_a_clip_as_it_is() -> None:
    clip = picture()[None]
    assert (changed(clip) == clip).all()


@pytest.mark.parametrize("seed", range(8))
def test_equal_frames_stay_equal(seed: int) -> None:
    clip = np.repeat(picture()[None], 4, 0)
    original = clip.copy()
    out = augment(clip, STRONG, np.random.default_rng(seed))
    assert out.shape == clip.shape
    assert out.dtype == np.uint8
    assert (out == out[:1]).all()
    assert not (out == clip).all()
    assert (clip == original).all()  # the argument is not touched


def test_the_generator_alone_decides() -> None:
    clip = np.stack([picture(), picture()[::-1]])
    first, again, other = (augment(clip, STRONG, np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert (first == again).all()
    assert not (first == other).all()


def test_flip_is_of_the_whole_clip_and_happens_half_the_time() -> None:
    clip = np.stack([picture(), picture()[::-1]])
    flips = 0
    for seed in range(200):
        out = changed(clip, seed, flip_p=0.5)
        assert (out == clip).all() or (out == clip[:, :, ::-1]).all()
        flips += bool((out == clip[:, :, ::-1]).all())
    assert 70 < flips < 130


def test_brightness_and_gamma() -> None:
    grey = np.full((1, 8, 8, 3), 100, np.uint8)
    assert (changed(grey, colour_p=1, brightness=(1.5, 1.5)) == 150).all()
    assert (changed(grey, colour_p=1, brightness=(4, 4)) == 255).all()
    assert (changed(grey, colour_p=1, gamma=(2, 2)) == round(100 * 100 / 255)).all()


def test_contrast_is_about_the_clip_s_mean() -> None:
    clip = np.concatenate([np.full((1, 8, 8, 3), 80, np.uint8), np.full((1, 8, 8, 3), 120, np.uint8)])
    out = changed(clip, colour_p=1, contrast=(2, 2))
    assert (out[0] == 60).all()
    assert (out[1] == 140).all()


def test_saturation_hue_and_greyscale() -> None:
    red = np.zeros((1, 8, 8, 3), np.uint8)
    red[..., 0] = 200
    grey = round(0.299 * 200)
    assert (changed(red, greyscale_p=1) == grey).all()
    assert changed(red, colour_p=1, saturation=(0.5, 0.5))[0, 0, 0].tolist() == [130, 30, 30]
    turned = [changed(red, seed, colour_p=1, hue=0.5)[0, 0, 0].astype(int) for seed in range(20)]
    assert len({int(colour.argmax()) for colour in turned}) == 3  # red becomes green and blue, too


def test_shift_moves_all_frames_alike_and_repeats_the_border() -> None:
    clip = np.zeros((3, 64, 32, 3), np.uint8)
    clip[:, 20:30, 10:20] = 255
    centres = set()
    for seed in range(10):
        out = changed(clip, seed, shift=0.2)
        rows, columns = np.nonzero(out[0, :, :, 0] > 127)
        centres.add((round(rows.mean()), round(columns.mean())))
        assert (out == out[:1]).all()
    assert len(centres) > 5
    assert (changed(np.full((1, 64, 32, 3), 9, np.uint8), shift=0.3, zoom=(0.7, 0.7)) == 9).all()


def test_blur_smooths_sharpening_roughens_and_low_resolution_loses_detail() -> None:
    clip = picture(256, 128)[None] // 2 + 64
    rough = clip.astype(float).std()
    assert changed(clip, blur_p=1).astype(float).std() < rough
    assert changed(clip, low_resolution_p=1, low_resolution=(0.3, 0.3)).astype(float).std() < 0.7 * rough
    assert changed(clip, sharpen_p=1).astype(float).std() > rough


@pytest.mark.parametrize("same", [0.0, 1.0])
def test_erasing_one_rectangle_for_all_frames_or_one_each(same: float) -> None:
    clip = np.full((4, 64, 32, 3), 128, np.uint8)
    different = 0
    for seed in range(10):
        gone = (changed(clip, seed, erase_p=1, erase_same_p=same) != 128).any(3)  # (T, H, W)
        shares = gone.mean((1, 2))
        assert (shares > 0.01).all()
        assert (shares < 0.35).all()
        different += not (gone == gone[:1]).all()
    assert different == (0 if same else 10)


def test_ranges_are_checked() -> None:
    with pytest.raises(ValueError, match="low <= high"):
        Augmentation(brightness=(1.2, 0.8))
