"""Painters of what stands behind people. Each takes a generator and the pixels and metres of a side.

Walls repeat sideways without a seam; upwards they repeat as storeys do.
"""

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
    laid,
    masonry,
    mixed,
    noise,
    paint_colour,
    pebbles,
    plain,
    shaded,
    smoothed,
    stone_colour,
    write,
)
from synthetic.prints import poster

_Point = NDArray[np.int64]  # (x, y)


def _brick(rng: Rng, size: int, metres: float) -> Floats:
    rows = 2 * round(metres / rng.uniform(0.15, 0.22))
    stones = masonry(rng, size, rows, round(metres / 0.24), rng.uniform(1, 2.5), np.array([0, 0.5]))
    base = colour(rng.normal(0.04, 0.015), rng.uniform(0.1, 0.4), rng.uniform(0.3, 0.7))
    return laid(rng, stones, base, stone_colour(rng, 0.4, 0.75), rng.uniform(0.08, 0.2))


def _plaster(rng: Rng, size: int, metres: float) -> Floats:
    base = colour(rng.choice([0.09, 0.12, 0.55]), abs(rng.normal(0, 0.1)), rng.uniform(0.45, 0.9))
    image = plain(rng, size, base, 0.05)
    runs = np.clip(noise(rng, size, 8, 64), 0, 2)  # of rain, from the top down
    factors = np.exp(0.12 * clouds(rng, size, 3, 6, 0.75)) * (1 - 0.12 * runs)
    factors *= 1 - 0.4 * cracks(rng, size, int(rng.integers(0, 5)))
    factors[int(size * rng.uniform(0.75, 1.1)) :] *= np.float32(rng.uniform(0.45, 0.8))  # the skirting
    return shaded(image, factors)


def _panels(rng: Rng, size: int, metres: float) -> Floats:
    rows, columns = (max(1, round(metres / s)) for s in rng.choice([0.6, 0.9, 1.2, 1.8], 2))
    stones = masonry(rng, size, rows, columns, rng.uniform(2, 5), np.zeros(1))
    base = stone_colour(rng, 0.4, 0.85)
    return laid(rng, stones, base, base * rng.uniform(0.25, 0.6), rng.uniform(0.02, 0.12))


def _cladding(rng: Rng, size: int, metres: float) -> Floats:
    """Corrugated metal, boards, a roller shutter: parallel profiles."""
    count = round(metres / rng.uniform(0.06, 0.2))
    phase = (np.arange(size, dtype=np.float32) + 0.5) / size * count % 1
    boards = np.where(phase < 0.15, np.float32(-2), phase)
    relief = np.sin(2 * np.pi * phase) if rng.random() < 0.5 else boards
    factors = np.exp(np.float32(rng.uniform(0.1, 0.3)) * relief)
    lines = factors[:, None] if rng.random() < 0.5 else factors[None]
    base = paint_colour(rng, 0.4) if rng.random() < 0.5 else stone_colour(rng)
    return shaded(plain(rng, size, base, 0.04), np.ascontiguousarray(np.broadcast_to(lines, (size, size))))


def _fence(rng: Rng, size: int, metres: float) -> Floats:
    """Boards or bars with something behind."""
    behind = _hedge(rng, size, metres) if rng.random() < 0.5 else _clutter(rng, size, metres)
    count = round(metres / rng.uniform(0.1, 0.2))
    phase = (np.arange(size) + 0.5) / size * count
    tones = np.exp(rng.normal(0, 0.12, count)).astype(np.float32)[np.floor(phase).astype(int) % count]
    base = colour(0.08, rng.uniform(0, 0.35), rng.uniform(0.15, 0.7))
    boards = plain(rng, size, base, 0.08) * tones[None, :, None]
    gap = rng.uniform(0.05, 0.2) if rng.random() < 0.5 else rng.uniform(0.6, 0.85)
    rails = np.arange(size) / size * 2 % 1 < 0.06
    seen = (phase % 1 < gap)[None] & ~rails[:, None]
    return mixed(boards, behind * np.float32(0.7), seen.astype(np.float32))


def _hedge(rng: Rng, size: int, metres: float) -> Floats:
    leaves = pebbles(rng, size, round(metres / rng.uniform(0.05, 0.1)), 1)
    green = colour(rng.normal(0.23, 0.04), rng.uniform(0.12, 0.4), rng.uniform(0.3, 0.45))
    image = laid(rng, leaves, green, green * 0.3, 0.3)
    return shaded(image, np.exp(0.38 * clouds(rng, size, 12, 5, 0.7) - np.float32(0.1)))


def _clutter(rng: Rng, size: int, metres: float) -> Floats:
    """A yard: bicycles, crates, posts and people further off, one before the other, before a wall."""
    image = _WALL_BASES[int(rng.integers(len(_WALL_BASES)))](rng, size, metres) * np.float32(0.7)
    scale, low = size / metres, int(rng.uniform(0.55, 0.8) * size)
    image[low:] = plain(rng, size, stone_colour(rng, 0.25, 0.6), 0.1)[low:]
    for foot in np.sort(rng.uniform(0.5, 1.05, int(rng.integers(12, 28)))) * size:
        draw = _THINGS[int(rng.integers(len(_THINGS)))]
        near = scale * (0.5 + 0.5 * foot / size)
        at = np.array([int(rng.integers(size)), int(foot)])
        pen = np.random.default_rng(int(rng.integers(2**31)))
        state = pen.bit_generator.state
        for shift in around(size, (at[0], size // 2), size):
            if shift[1] == 0:
                pen.bit_generator.state = state  # its copy beyond the edge is the same thing
                draw(pen, image, at + shift, near)
    return image


def _bicycle(rng: Rng, image: Floats, foot: _Point, scale: float) -> None:
    """Two wheels and a frame that stand at `foot` (x, y), in place; `scale` is pixels per metre."""
    wheel, base = 0.33 * scale, paint_colour(rng, 0.7).tolist()
    long, width = rng.uniform(0.5, 1.05) * scale, max(1, round(0.03 * scale))
    rear, front = ((int(foot[0] + x), int(foot[1] - wheel)) for x in (-long / 2, long / 2))
    saddle = (int(rear[0] + 0.35 * long), int(rear[1] - 0.6 * scale))
    bar = (int(front[0] - 0.2 * long), int(front[1] - 0.65 * scale))
    pedal = (int(foot[0]), rear[1])
    axes = (max(1, int(wheel * min(1, long / scale))), max(1, int(wheel)))
    for hub in (rear, front):
        cv2.ellipse(image, hub, axes, 0, 0, 360, (25, 25, 28), width, cv2.LINE_AA)
    for path in ((pedal, rear, saddle, bar, pedal, saddle), (bar, front)):
        cv2.polylines(image, [np.array(path, np.int32)], False, base, width, cv2.LINE_AA)


def _crate(rng: Rng, image: Floats, foot: _Point, scale: float) -> None:
    base = paint_colour(rng, 0.5)
    size = (rng.uniform(0.2, 0.9, 2) * scale).astype(int)
    left, top = int(foot[0] - size[0] // 2), int(foot[1] - size[1])
    cv2.rectangle(image, (left, top), (left + int(size[0]), int(foot[1])), base.tolist(), -1)
    for k in range(1, int(rng.integers(1, 5))):  # slats
        y = top + int(size[1] * k / 5)
        cv2.line(image, (left, y), (left + int(size[0]), y), (base * 0.6).tolist(), max(1, int(0.02 * scale)))


def _post(rng: Rng, image: Floats, foot: _Point, scale: float) -> None:
    width = max(1, int(rng.uniform(0.03, 0.12) * scale))
    top = int(foot[1] - rng.uniform(0.7, 4) * scale)
    x, y = foot.tolist()
    cv2.line(image, (x, y), (x, top), paint_colour(rng, 0.4).tolist(), width, cv2.LINE_AA)
    if rng.random() < 0.4:  # with a sign
        reach = int(0.25 * scale)
        cv2.rectangle(image, (x - reach, top), (x + reach, top + reach), paint_colour(rng, 0.8).tolist(), -1)


def _passer_by(rng: Rng, image: Floats, foot: _Point, scale: float) -> None:
    """Somebody far away: two legs, a trunk, a head."""
    scale *= rng.uniform(0.5, 0.8)
    trousers, coat = paint_colour(rng, 0.4).tolist(), paint_colour(rng, 0.6).tolist()
    x, y = foot.tolist()
    hip, middle, head = ((x, int(y - up * scale)) for up in (0.85, 1.15, 1.55))
    for stride in rng.uniform(-0.25, 0.25, 2):
        cv2.line(image, hip, (int(x + stride * scale), y), trousers, max(1, int(0.15 * scale)))
    axes = (max(1, int(0.2 * scale)), max(1, int(0.34 * scale)))
    cv2.ellipse(image, middle, axes, 0, 0, 360, coat, -1, cv2.LINE_AA)
    skin = colour(0.06, 0.4, rng.uniform(0.1, 0.7)).tolist()
    cv2.circle(image, head, max(1, int(0.11 * scale)), skin, -1, cv2.LINE_AA)


_THINGS = (_bicycle, _bicycle, _crate, _post, _passer_by)


def _glass(rng: Rng, size: int, metres: float) -> Floats:
    """Window panes that mirror sky and houses, in frames."""
    rows, columns = int(rng.integers(1, 4)), int(rng.integers(2, 5))
    tone, pane = masonry(rng, size, rows, columns, rng.uniform(0.04, 0.09) * size / metres, np.zeros(1))
    mirrored = _clutter(rng, size, metres * 1.5) if rng.random() < 0.6 else _panels(rng, size, metres * 2)
    mirrored = smoothed(mirrored, 5, 5) - 90
    tint = colour(rng.normal(0.55, 0.05), rng.uniform(0, 0.25), rng.uniform(0.15, 0.7))
    image = coloured(np.ones_like(tone), tint) + np.float32(0.6) * mirrored
    image = shaded(np.maximum(image, 8), (1 + 0.12 * tone) * (1 + 0.12 * clouds(rng, size, 4, 3, 0.6)))
    return mixed(image, paint_colour(rng, 0.2), (pane < 0.5).astype(np.float32))


def _shop(rng: Rng, size: int, metres: float) -> Floats:
    """Shelves of goods behind glass, under a sign with letters."""
    scale = size / metres
    image = plain(rng, size, stone_colour(rng, 0.15, 0.7), 0.05)
    top, bottom, shelves = int(size * rng.uniform(0.12, 0.25)), int(size * 0.92), int(rng.integers(3, 7))
    height, crowded = (bottom - top) // shelves, rng.uniform(0.02, 0.15)
    for row in range(top, bottom - height + 1, height):
        x = 0
        while x < size:
            width = int(rng.uniform(0.04, 0.3) * scale) + 2
            goods = paint_colour(rng, 0.7)
            for _ in range(int(rng.integers(1, 4))):  # a good is seldom alone on its shelf
                low = row + int(rng.uniform(0.1, 0.6) * height)
                end = (min(x + width, size - 1), row + height - 3)
                cv2.rectangle(image, (x, low), end, (goods * rng.uniform(0.7, 1.2)).tolist(), -1)
                x += width + 1
            x += int(rng.exponential(crowded) * scale)
    write(rng, image, (0, 0, size, top), paint_colour(rng, 0.7))
    posts = np.arange(size) % (size // int(rng.integers(1, 4))) < 0.06 * scale
    image[:, posts] = paint_colour(rng, 0.2)
    glare = np.maximum(clouds(rng, size, 4, 3, 0.6), 0) * np.float32(25)
    return np.asarray(image + glare[..., None] * np.float32(1), np.float32)


def _hoarding(rng: Rng, size: int, metres: float) -> Floats:
    """A wall with posters and perhaps a door."""
    image = _WALL_BASES[int(rng.integers(len(_WALL_BASES)))](rng, size, metres)
    for _ in range(int(rng.integers(1, 5))):
        height = int(rng.uniform(0.3, 0.65) * size)
        width = min(int(height * rng.uniform(0.6, 1.4)), size - 4)
        x, y = (int(rng.integers(2, size - side)) for side in (width, height))
        sheet = cv2.resize(poster(rng, 128), (width, height), interpolation=cv2.INTER_AREA)
        image[y : y + height, x : x + width] = sheet
    if rng.random() < 0.5:
        width, height = (int(s * size / metres) for s in (rng.uniform(0.8, 1.1), min(2.1, metres * 0.9)))
        x = int(rng.integers(0, size - width))
        door = plain(rng, size, paint_colour(rng, 0.4), 0.05)[:height, :width]
        image[size - height :, x : x + width] = door
        cv2.rectangle(image, (x, size - height), (x + width, size + 9), (door.mean((0, 1)) * 0.5).tolist(), 4)
    return image


_WALL_BASES: tuple[Painter, ...] = (_brick, _plaster, _panels, _cladding)
WALLS: Mapping[str, Painter] = {
    "brick": _brick, "plaster": _plaster, "panels": _panels, "cladding": _cladding, "fence": _fence,
    "hedge": _hedge, "clutter": _clutter, "glass": _glass, "shop": _shop, "hoarding": _hoarding,
}  # fmt: skip
