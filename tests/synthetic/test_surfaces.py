"""Painted grounds, walls and prints: the same from one seed, without seams, grey and full of structure."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from synthetic.painting import clouds, herringbone, masonry, noise, pebbles
from synthetic.surfaces import GROUNDS, WALLS, Surface, cloth_print, foliage, ground, poster, wall

SIZE = 256


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def wraps(picture: np.ndarray, axis: int) -> bool:
    """Whether the step from the last line to the first is no larger than those inside the picture."""
    lines = np.moveaxis(picture.astype(np.float64), axis, 0)
    steps = np.abs(lines - np.roll(lines, 1, 0)).mean(axis=tuple(range(1, lines.ndim)))
    return bool(steps[0] <= 1.05 * steps[1:].max())


@pytest.mark.parametrize("kind", GROUNDS)
def test_a_ground_tiles_both_ways_and_has_structure(kind: str) -> None:
    for seed in range(3):
        surface = ground(rng(seed), SIZE, kind)
        assert_painted(surface)
        assert wraps(surface.image, 0), seed
        assert wraps(surface.image, 1), seed


@pytest.mark.parametrize("kind", WALLS)
def test_a_wall_tiles_sideways_and_has_structure(kind: str) -> None:
    for seed in range(3):
        surface = wall(rng(seed), SIZE, kind)
        assert_painted(surface)
        if kind != "hoarding":  # whose posters and doors have edges of their own
            assert wraps(surface.image, 1), seed


def assert_painted(surface: Surface) -> None:
    assert surface.image.shape == (SIZE, SIZE, 3)
    assert surface.image.dtype == np.uint8
    assert 1.5 < surface.metres < 6
    grey = cv2.cvtColor(surface.image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    pixel_m = surface.metres / SIZE
    fine = cv2.GaussianBlur(grey, (0, 0), 0.01 / pixel_m) - cv2.GaussianBlur(grey, (0, 0), 0.2 / pixel_m)
    assert fine.std() > 4  # structure between 1 and 20 cm


def test_places_are_mostly_grey() -> None:
    surfaces = [paint(rng(k), 128).image for k in range(40) for paint in (ground, wall)]
    saturation = [np.median(cv2.cvtColor(image, cv2.COLOR_RGB2HSV)[..., 1]) for image in surfaces]
    assert 10 < np.median(saturation) < 60


@pytest.mark.parametrize("paint", [ground, wall, poster, cloth_print, foliage])
def test_one_seed_one_picture(paint) -> None:  # type: ignore[no-untyped-def]
    def pixels(seed: int) -> np.ndarray:
        painted = paint(rng(seed), 128)
        return painted.image if isinstance(painted, Surface) else painted

    for seed in range(4):
        np.testing.assert_array_equal(pixels(seed), pixels(seed))
    assert not np.array_equal(pixels(0), pixels(1))


def test_an_unknown_kind_names_those_there_are() -> None:
    with pytest.raises(ValueError, match="no ground 'lava'; there are asphalt, "):
        ground(rng(), kind="lava")
    with pytest.raises(ValueError, match="no wall 'ice'; there are brick, "):
        wall(rng(), kind="ice")


def test_prints_show_the_cloth_around_them() -> None:
    for seed in range(30):
        image = cloth_print(rng(seed))
        assert image.shape == (128, 128, 4)
        assert image.dtype == np.uint8
        share = (image[..., 3] > 127).mean()
        assert 0.02 < share < 0.98, seed


def test_posters_and_leaves() -> None:
    for seed in range(10):
        sheet = poster(rng(seed))
        assert sheet.shape == (128, 128, 3)
        assert sheet.std() > 5
        leaves = foliage(rng(seed))
        assert leaves.shape == (128, 128, 4)
        assert set(np.unique(leaves[..., 3])) == {0, 255}
        assert leaves[0, :, 3].max() == 0  # a card's edge cuts no leaf


@pytest.mark.parametrize("cells", [2, 3, 8, 64])
def test_noise_wraps_around_and_is_about_one_high(cells: int) -> None:
    drawn = noise(rng(), 64, cells)
    assert drawn.shape == (64, 64)
    assert drawn.dtype == np.float32
    assert wraps(drawn, 0)
    assert wraps(drawn, 1)
    many = np.stack([noise(rng(k), 64, cells) for k in range(40)])
    assert abs(many.mean()) < 0.4
    assert 0.6 < many.std() < 1.5
    assert clouds(rng(), 64).std() == pytest.approx(1, abs=1e-3)


def test_stones_fit_a_whole_number_of_times() -> None:
    for tone, share in (
        masonry(rng(), 96, 6, 4, 2, [0, 0.5]),
        herringbone(rng(), 96, 8, 2),
        pebbles(rng(), 96, 7, 2),
    ):
        assert tone.shape == share.shape == (96, 96)
        assert share.min() < 0.6  # joints
        assert share.max() == 1
        assert wraps(share, 0)
        assert wraps(share, 1)
    tone, _ = masonry(rng(), 96, 6, 4, 2, [0])
    assert len(np.unique(tone)) == 24
    tone, _ = herringbone(rng(), 96, 8, 2)
    assert len(np.unique(tone)) == 32  # of two cells each
    tone, _ = pebbles(rng(), 96, 7, 2)
    assert len(np.unique(tone)) == 49
