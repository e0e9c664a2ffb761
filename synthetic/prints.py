"""Pictures with a meaning, or nearly: cloth prints, posters, and sprays of leaves."""

from collections.abc import Callable, Mapping

import cv2
import numpy as np

from synthetic.painting import (
    LETTERS,
    Floats,
    Image,
    Rng,
    clouds,
    colour,
    finished,
    noise,
    paint_colour,
    random_word,
    word,
    write,
)


def poster(rng: Rng, size: int = 128) -> Image:
    """Paints an advertisement: colour or photograph, shapes, words. `(size, size, 3) uint8` RGB."""
    if rng.random() < 0.6:
        image = _photo(rng, size)
    else:
        image = np.full((size, size, 3), paint_colour(rng, 0.8), np.float32)
    for _ in range(int(rng.integers(1, 6))):
        at, reach = rng.integers(0, size, 2).tolist(), rng.integers(size // 12, size // 3, 2).tolist()
        cv2.ellipse(image, at, reach, float(rng.uniform(0, 180)), 0, 360, paint_colour(rng, 0.8).tolist(), -1)
    for _ in range(int(rng.integers(1, 5))):
        y0 = int(rng.integers(0, size * 3 // 4))
        y1 = min(size, y0 + int(rng.integers(size // 12, size // 4)))
        write(rng, image, (size // 16, y0, size - size // 16, y1), paint_colour(rng, 0.8))
    return finished(image)


def cloth_print(rng: Rng, size: int = 128) -> Image:
    """Paints what is printed on a shirt: `(size, size, 4) uint8` RGBA, alpha 0 where the cloth shows."""
    kind = str(rng.choice(list(_PRINTS)))
    share = _PRINTS[kind](rng, size)
    base = np.full((size, size, 3), paint_colour(rng, 0.95), np.float32)
    if kind == "photo" or rng.random() < 0.15:
        base = _photo(rng, size)
    elif rng.random() < 0.3:  # two colours
        base[int(rng.uniform(0.3, 0.7) * size) :] = paint_colour(rng, 0.95)
    worn = np.clip(1 - 0.12 * np.abs(noise(rng, size, size // 2)), 0, 1)
    return finished(np.dstack([base, 255 * share * worn]))


def foliage(rng: Rng, size: int = 128) -> Image:
    """Paints a spray of leaves for the cards of a bush: `(size, size, 4) uint8` RGBA, alpha 0 or 255."""
    green = colour(rng.normal(0.22, 0.04), rng.uniform(0.15, 0.4), rng.uniform(0.3, 0.55))
    image = np.zeros((size, size, 4), np.float32)
    image[..., :3] = green * 0.6
    for _ in range(130):
        angle, far = rng.uniform(0, 2 * np.pi), size * 0.44 * np.sqrt(rng.random())
        at = (size / 2 + far * np.array([np.cos(angle), np.sin(angle)])).astype(int).tolist()
        axes = (rng.uniform(0.015, 0.055, 2) * size + 1).astype(int).tolist()
        leaf = (*(green * np.exp(rng.normal(0, 0.3))).tolist(), 255.0)
        cv2.ellipse(image, at, axes, float(rng.uniform(0, 180)), 0, 360, leaf, -1)
    return finished(image)


def _photo(rng: Rng, size: int) -> Floats:
    """Something like a printed photograph: patches of few colours and fine detail, `(S, S, 3)`."""
    stops = np.stack([paint_colour(rng, 0.8) for _ in range(5)])
    height = np.clip(clouds(rng, size, 3, 5, 0.55) * 1.1 + 2, 0, 3.999)
    low = height.astype(int)
    part = (height - low)[..., None]
    return np.asarray(stops[low] * (1 - part) + stops[low + 1] * part, np.float32)


def _word(rng: Rng, size: int) -> Floats:
    return word(rng, random_word(rng, 2, 6), size, size)


def _number(rng: Rng, size: int) -> Floats:
    return word(rng, str(rng.integers(1, 100)), size, size)


def _logo(rng: Rng, size: int) -> Floats:
    """A disc, star or polygon, perhaps hollow, perhaps with a letter cut out."""
    corners, middle = int(rng.choice([3, 4, 5, 6, 40])), size / 2
    angles = np.arange(2 * corners) * np.pi / corners + rng.uniform(0, np.pi)
    reach = np.where(np.arange(2 * corners) % 2, rng.uniform(0.45, 1), 1) * size * 0.46
    outline = np.stack([np.cos(angles), np.sin(angles)], 1) * reach[:, None] + middle
    page = np.zeros((size, size), np.float32)
    cv2.fillPoly(page, [np.rint(outline).astype(np.int32)], 1.0, cv2.LINE_AA)
    if rng.random() < 0.5:
        inner = (outline - middle) * rng.uniform(0.5, 0.8) + middle
        cv2.fillPoly(page, [np.rint(inner).astype(np.int32)], 0.0, cv2.LINE_AA)
    if rng.random() < 0.5:
        page = np.abs(page - word(rng, str(rng.choice(LETTERS)), size, size))
    return page


def _bands(rng: Rng, size: int) -> Floats:
    rows = np.zeros(size, np.float32)
    for _ in range(int(rng.integers(1, 4))):
        start, width = int(rng.integers(0, size - size // 16)), int(rng.integers(size // 16, size // 4))
        rows[start : start + width] = 1
    return np.ascontiguousarray(np.broadcast_to(rows[:, None], (size, size)))


def _picture(rng: Rng, size: int) -> Floats:
    page = np.zeros((size, size), np.float32)
    width, height = (int(s) for s in rng.uniform(0.6, 1, 2) * size)
    x, y = (size - width) // 2, (size - height) // 2
    if rng.random() < 0.5:
        page[y : y + height, x : x + width] = 1
    else:
        cv2.ellipse(page, (size // 2, size // 2), (width // 2, height // 2), 0, 0, 360, 1.0, -1, cv2.LINE_AA)
    return page


def _lines(rng: Rng, size: int) -> Floats:
    """Lines of small writing."""
    page, rows = np.zeros((size, size), np.float32), int(rng.integers(2, 6))
    height = size // rows
    for row in range(rows):
        page[row * height : (row + 1) * height] = word(rng, random_word(rng, 4, 11), height, size)
    return page


_PRINTS: Mapping[str, Callable[[Rng, int], Floats]] = {
    "word": _word, "number": _number, "logo": _logo, "bands": _bands, "photo": _picture, "lines": _lines,
}  # fmt: skip
