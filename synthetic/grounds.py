"""Painters of what people walk on. Each takes a generator and the pixels and metres of a side."""

from collections.abc import Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

from synthetic.painting import (
    Floats,
    Painter,
    Rng,
    around,
    clouds,
    colour,
    coloured,
    cracks,
    herringbone,
    laid,
    masonry,
    mixed,
    noise,
    pebbles,
    plain,
    shaded,
    sigmoid,
    smoothed,
    stone_colour,
)


def _asphalt(rng: Rng, size: int, metres: float) -> Floats:
    image = plain(rng, size, stone_colour(rng, 0.25, 0.55), rng.uniform(0.07, 0.16))
    for _ in range(int(rng.integers(0, 3))):  # patches after road works
        _rectangle(rng, image, rng.uniform(0.2, 0.7, 2), rng.uniform(0.75, 1.2))
    if rng.random() < 0.5:
        image = _painted_lines(rng, image, metres)
    return shaded(image, 1 - np.float32(rng.uniform(0.3, 0.7)) * cracks(rng, size, int(rng.integers(0, 7))))


def _rectangle(rng: Rng, image: Floats, share: NDArray[np.float64], factor: float) -> None:
    """Brightens an upright rectangle that may wrap around, in place."""
    size = len(image)
    rows, columns = ((rng.integers(size) + np.arange(int(s * size))) % size for s in share)
    image[np.ix_(rows, columns)] *= np.float32(factor)


def _painted_lines(rng: Rng, image: Floats, metres: float) -> Floats:
    """White or yellow road paint, worn through: one line or a crossing."""
    size = len(image)
    paint = colour(0.13, rng.choice([0, 0, 0.5]), rng.uniform(0.7, 0.92))
    stripes = max(1, round(metres)) if rng.random() < 0.4 else 1
    width = (0.5 if stripes > 1 else rng.uniform(0.1, 0.2)) * size / metres
    across = (np.arange(size) + rng.integers(size)) % (size / stripes) < width
    mask = np.broadcast_to(across if rng.random() < 0.5 else across[:, None], (size, size))
    worn = sigmoid(4 * (clouds(rng, size, 16, 4, 0.8) + np.float32(rng.uniform(0, 1.5))))
    return mixed(image, paint, mask * worn * np.float32(0.9))


def _paving(rng: Rng, size: int, metres: float) -> Floats:
    stone_m = rng.choice([0.2, 0.3, 0.4, 0.5, 0.6])
    columns = max(2, round(metres / stone_m))
    rows = 2 * max(1, round(metres / (2 * stone_m * rng.choice([0.5, 1.0, 1.0]))))
    shifts = [np.zeros(1), np.array([0, 0.5]), rng.random(rows)][int(rng.integers(3))]
    stones = masonry(rng, size, rows, columns, rng.uniform(1.5, 4), shifts)
    base = stone_colour(rng)
    image = laid(rng, stones, base, base * rng.uniform(0.3, 0.75), rng.uniform(0.03, 0.16))
    if rng.random() < 0.4:  # bands of another stone
        every, tone = int(rng.integers(2, 6)), np.float32(rng.uniform(0.55, 0.8))
        row = np.arange(size) * rows // size
        image *= np.where(row % every == 0, tone, np.float32(1))[:, None, None]
    return image


def _bricks(rng: Rng, size: int, metres: float) -> Floats:
    cells = 4 * max(2, round(metres / 0.42))
    if rng.random() < 0.5:
        stones = herringbone(rng, size, cells, rng.uniform(1, 2.5))
    else:
        stones = masonry(rng, size, cells, cells // 2, rng.uniform(1, 2.5), np.array([0, 0.5]))
    red = colour(rng.normal(0.03, 0.015), rng.uniform(0.12, 0.35), rng.uniform(0.4, 0.65))
    base = red if rng.random() < 0.5 else stone_colour(rng)
    return laid(rng, stones, base, base * rng.uniform(0.35, 0.7), rng.uniform(0.06, 0.18))


def _cobbles(rng: Rng, size: int, metres: float) -> Floats:
    stones = pebbles(rng, size, round(metres / rng.uniform(0.1, 0.2)), rng.uniform(2, 5))
    base = stone_colour(rng, 0.35, 0.65)
    return laid(rng, stones, base, base * rng.uniform(0.3, 0.6), rng.uniform(0.1, 0.25))


def _gravel(rng: Rng, size: int, metres: float) -> Floats:
    stones = pebbles(rng, size, round(metres / rng.uniform(0.04, 0.07)), 1)
    base = stone_colour(rng, 0.4, 0.7)
    return laid(rng, stones, base, base * 0.5, rng.uniform(0.15, 0.3))


def _concrete(rng: Rng, size: int, metres: float) -> Floats:
    image = plain(rng, size, stone_colour(rng, 0.45, 0.8), rng.uniform(0.04, 0.09))
    slabs = int(rng.integers(1, 3))
    _, share = masonry(rng, size, slabs, slabs, rng.uniform(2, 5), np.zeros(1))
    stains = np.exp(clouds(rng, size, 4, 6, 0.75) * np.float32(0.1))
    split = cracks(rng, size, int(rng.integers(0, 5)))
    return shaded(image, stains * (0.45 + 0.55 * share) * (1 - 0.5 * split))


def _grass(rng: Rng, size: int, metres: float) -> Floats:
    green = colour(rng.normal(0.21, 0.03), rng.uniform(0.2, 0.4), rng.uniform(0.35, 0.55))
    blades = smoothed(noise(rng, size, size), 1, 5) * 2
    tufts = np.exp(0.2 * (blades + clouds(rng, size, 16, 5, 0.85)))
    bare = sigmoid(3 * (clouds(rng, size, 3, 5, 0.6) - np.float32(rng.uniform(0.3, 2.5))))
    earth = colour(0.09, rng.uniform(0.12, 0.28), rng.uniform(0.4, 0.6))
    return shaded(mixed(coloured(np.ones_like(bare), green), earth, bare), tufts)


def _tiles(rng: Rng, size: int, metres: float) -> Floats:
    count = 2 * max(1, round(metres / rng.choice([0.3, 0.4, 0.6]) / 2))
    stones = masonry(rng, size, count, count, rng.uniform(1, 2.5), np.zeros(1))
    base = stone_colour(rng, 0.5, 0.88)
    image = laid(rng, stones, base, base * rng.uniform(0.5, 0.8), 0.03)
    if rng.random() < 0.35:  # a chequerboard
        at, dark = np.arange(size) * count // size, np.float32(rng.uniform(0.4, 0.75))
        image = shaded(image, np.where((at[:, None] + at) % 2 == 0, dark, np.float32(1)))
    lamps = np.maximum(clouds(rng, size, 3, 3, 0.5) - 0.6, 0) * np.float32(rng.uniform(0, 0.35))
    return shaded(image, 1 + lamps)  # mirrored in the polish


def _carpet(rng: Rng, size: int, metres: float) -> Floats:
    image = plain(rng, size, colour(rng.random(), rng.uniform(0, 0.3), rng.uniform(0.2, 0.6)), 0.12)
    if rng.random() < 0.6:
        count = 2 * int(rng.integers(4, 20))
        wave = np.sin((np.arange(size, dtype=np.float32) + 0.5) / size * 2 * np.pi * count)
        weave = wave[None] * (wave[:, None] if rng.random() < 0.5 else np.ones((size, 1), np.float32))
        image = shaded(image, 1 + np.float32(rng.uniform(0.05, 0.25)) * np.sign(weave))
    return image


def _wood(rng: Rng, size: int, metres: float) -> Floats:
    rows = round(metres / rng.uniform(0.09, 0.18))
    stones = masonry(rng, size, rows, max(1, round(metres / 1.5)), rng.uniform(1, 3), rng.random(rows))
    brown = colour(rng.normal(0.08, 0.015), rng.uniform(0.1, 0.4), rng.uniform(0.35, 0.7))
    image = laid(rng, stones, brown, brown * 0.35, rng.uniform(0.06, 0.16))
    return shaded(image, np.exp(0.08 * noise(rng, size, 256, 16)))


def _tactile(rng: Rng, size: int, metres: float) -> Floats:
    image = _paving(rng, size, metres)
    band = np.broadcast_to((np.arange(size) + rng.integers(size)) % size < 0.4 * size / metres, (size, size))
    count = round(metres / 0.06)
    wave = np.sin((np.arange(size, dtype=np.float32) + 0.5) / size * 2 * np.pi * count)
    ridges = np.clip(wave * 2, -1, 1)
    relief = ridges[:, None] * (ridges if rng.random() < 0.5 else np.ones_like(ridges))
    yellow = colour(0.12, rng.uniform(0.15, 0.5), rng.uniform(0.5, 0.78))
    return mixed(image, coloured(1 + 0.25 * relief, yellow), band.astype(np.float32))


def litter(rng: Rng, image: Floats, metres: float) -> Floats:
    """Gum, leaves and scraps, now and then the cover of a drain."""
    size, image = len(image), np.ascontiguousarray(image)
    scale, usual = size / metres, image.mean((0, 1))
    if rng.random() < 0.2:
        image = _drain(rng, image, scale)
    for _ in range(int(rng.exponential(25))):
        shade = usual * rng.choice([0.35, 0.55, 0.7, 1.4])
        if rng.random() < 0.35:
            shade = colour(rng.normal(0.1, 0.04), rng.uniform(0.15, 0.45), rng.uniform(0.3, 0.7))
        axes = np.maximum(1, np.rint(rng.uniform(0.008, 0.035, 2) * scale)).astype(int)
        at, turn = rng.integers(0, size, 2), float(rng.uniform(0, 180))
        for shift in around(size, at, float(axes.max())):
            cv2.ellipse(image, (at + shift).tolist(), axes.tolist(), turn, 0, 360, shade.tolist(), -1)
    return image


def _drain(rng: Rng, image: Floats, scale: float) -> Floats:
    """A round cover with a raised pattern."""
    size, radius = len(image), int(rng.uniform(0.22, 0.36) * scale)
    iron = plain(rng, size, stone_colour(rng, 0.2, 0.4), 0.1)
    wave = np.sign(np.sin(np.arange(size, dtype=np.float32) / (0.03 * scale) * np.pi))
    iron = shaded(iron, 1 + 0.25 * wave[:, None] * wave)
    at, mask = rng.integers(0, size, 2), np.zeros((size, size), np.float32)
    for shift in around(size, at, radius):
        cv2.circle(mask, (at + shift).tolist(), radius, 1.0, -1, cv2.LINE_AA)
        cv2.circle(iron, (at + shift).tolist(), radius, (iron.mean((0, 1)) * 0.5).tolist(), 4, cv2.LINE_AA)
    return mixed(image, iron, mask)


def leaf_shadows(rng: Rng, size: int) -> Floats:
    """Factors of light under trees, `(S, S)`."""
    canopy = clouds(rng, size, int(rng.choice([2, 4, 8])), 4, 0.55) + np.float32(rng.uniform(-0.8, 0.8))
    return 1 - np.float32(rng.uniform(0.3, 0.6)) * (1 - sigmoid(np.float32(rng.uniform(2, 9)) * canopy))


INDOORS = ("tiles", "carpet", "wood")  # where nothing grows and nothing falls
GROUNDS: Mapping[str, Painter] = {
    "asphalt": _asphalt, "paving": _paving, "bricks": _bricks, "cobbles": _cobbles, "gravel": _gravel,
    "concrete": _concrete, "grass": _grass, "tiles": _tiles, "carpet": _carpet, "wood": _wood,
    "tactile": _tactile,
}  # fmt: skip
