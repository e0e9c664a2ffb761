"""Brushes of the painted surfaces: noise, colours, stones, cracks and letters.

What is meant to tile is drawn on a torus: noise wraps around, courses of stones fit a whole number of times,
and shapes are drawn once more wherever they stick out. A picture is `(S, S, 3) float32` RGB of 0 to 255 while
it is painted, and S is its `size`; factors and shares are `(S, S) float32`.
"""

import colorsys
from collections.abc import Callable, Iterator

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float32]
Image = NDArray[np.uint8]
Rng = np.random.Generator
Painter = Callable[[Rng, int, float], Floats]  # of a generator and the pixels and metres of a side
Stones = tuple[Floats, Floats]  # a random number per stone, and how much of a pixel is stone

LETTERS = tuple("ABCDEFGHIKLMNOPRSTUVXZ")
_HUES = ((0.0, 0.025), (0.1, 0.04), (0.6, 0.05), (0.3, 0.3))  # red, yellow, blue and all the rest


def finished(image: Floats) -> Image:
    """Rounded and cut to `uint8`."""
    return np.asarray(np.clip(np.rint(image), 0, 255), np.uint8)


# ---- noise ----


def noise(rng: Rng, size: int, rows: int, columns: int | None = None) -> Floats:
    """Smooth noise that wraps around, mean 0 and deviation about 1.

    Args:
        rng: Randomness.
        size: Pixels of a side.
        rows: Bumps from top to bottom; the next lower divisor of `size` is taken.
        columns: Bumps from left to right; as many as rows unless given.
    """
    rows, columns = _divisor(size, rows), _divisor(size, columns or rows)
    grid = rng.standard_normal((rows, columns), np.float32)
    if rows == columns == size:
        return grid
    step_y, step_x = size // rows, size // columns
    padded = cv2.copyMakeBorder(grid, 2, 2, 2, 2, cv2.BORDER_WRAP)
    fine = cv2.resize(padded, None, fx=step_x, fy=step_y, interpolation=cv2.INTER_CUBIC)
    return np.asarray(fine[2 * step_y : -2 * step_y, 2 * step_x : -2 * step_x] * np.float32(1.3))


def _divisor(size: int, wanted: int) -> int:
    return max(k for k in range(1, min(wanted, size) + 1) if size % k == 0)


def clouds(rng: Rng, size: int, cells: int = 4, octaves: int = 5, fall: float = 0.6) -> Floats:
    """Noise of many scales, each `fall` times as strong as the one before; deviation 1."""
    total = np.zeros((size, size), np.float32)
    for k in range(octaves):
        total += noise(rng, size, cells << k) * np.float32(fall**k)
    return np.asarray(total / max(float(total.std()), 1e-6), np.float32)


def smoothed(image: Floats, width: int, height: int) -> Floats:
    """The mean of a window around each pixel, across the seam as well."""
    margin = max(width, height)
    wrapped = cv2.copyMakeBorder(image, margin, margin, margin, margin, cv2.BORDER_WRAP)
    return np.asarray(cv2.blur(wrapped, (width, height))[margin:-margin, margin:-margin])


def sigmoid(values: Floats) -> Floats:
    """0 to 1."""
    return np.asarray(1 / (1 + np.exp(-values)), np.float32)


# ---- colours ----


def colour(hue: float, saturation: float, value: float) -> Floats:
    """`(3,)` RGB of 255; hue in turns, the others in [0, 1]."""
    rgb = colorsys.hsv_to_rgb(hue % 1, min(max(saturation, 0), 1), min(max(value, 0), 1))
    return np.array(rgb, np.float32) * np.float32(255)


def stone_colour(rng: Rng, low: float = 0.3, high: float = 0.75) -> Floats:
    """A grey with a breath of sand, clay or slate."""
    hue = rng.normal(0.09, 0.03) if rng.random() < 0.7 else rng.normal(0.6, 0.05)
    return colour(hue, min(abs(rng.normal(0.05, 0.07)), 0.3), rng.uniform(low, high))


def paint_colour(rng: Rng, strength: float = 0.6) -> Floats:
    """Paint, goods and print: often black, grey or white, else any hue, saturated up to `strength`."""
    if rng.random() < 0.45:
        return colour(0, 0, rng.choice([0.08, 0.15, 0.35, 0.55, 0.85, 0.92]))
    hue, spread = _HUES[int(rng.integers(len(_HUES)))]
    return colour(rng.normal(hue, spread), strength * rng.beta(2, 1.6), rng.uniform(0.2, 0.85))


def coloured(factors: Floats, base: ArrayLike) -> Floats:
    """One colour `(3,)`, lighter and darker by the factors."""
    return np.asarray(cv2.merge([factors * np.float32(c) for c in np.asarray(base)]))


def shaded(image: Floats, factors: Floats) -> Floats:
    """A picture, lighter and darker by the factors."""
    return np.asarray(cv2.multiply(image, cv2.merge([factors, factors, factors])))


def mixed(image: Floats, over: ArrayLike, share: Floats) -> Floats:
    """A picture, with `share` of it covered by a colour `(3,)` or another picture."""
    cover = np.asarray(over, np.float32)
    if cover.ndim == 1:
        cover = np.ascontiguousarray(np.broadcast_to(cover, image.shape))
    return np.asarray(cv2.add(shaded(image, 1 - share), shaded(cover, share)))


def plain(rng: Rng, size: int, base: Floats, rough: float) -> Floats:
    """One colour with grain of all scales."""
    return coloured(1 + np.float32(rough) * clouds(rng, size, 32, 5, 0.9), base)


# ---- shapes ----


def around(size: int, at: ArrayLike, reach: float) -> Iterator[NDArray[np.int64]]:
    """The shifts in pixels at which a shape within `reach` of `at` (x, y) must be drawn to wrap around."""
    x, y = np.asarray(at)
    for dx in (-size, 0, size):
        for dy in (-size, 0, size):
            if -reach <= x + dx < size + reach and -reach <= y + dy < size + reach:
                yield np.array([dx, dy])


def cracks(rng: Rng, size: int, num_cracks: int, width: int = 1) -> Floats:
    """How much of a pixel belongs to wandering lines."""
    dark = np.zeros((size, size), np.float32)
    for _ in range(num_cracks):
        heading = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0, 0.45, 24))
        steps = np.stack([np.cos(heading), np.sin(heading)], 1) * size / 40
        start = rng.integers(0, size, 2)
        path = np.rint(start + np.cumsum(steps, 0)).astype(np.int32)
        for shift in around(size, start, size):
            cv2.polylines(dark, [(path + shift).astype(np.int32)], False, 1.0, width, cv2.LINE_AA)
    return dark


def masonry(rng: Rng, size: int, rows: int, columns: int, joint_px: float, shifts: ArrayLike) -> Stones:
    """Courses of equal stones; course k is moved by `shifts[k % len(shifts)]` stones."""
    along = (np.arange(size, dtype=np.float32) + 0.5) / size
    row = np.floor(along * rows).astype(int)
    y = along * rows - row
    moves = np.asarray(shifts, np.float32)
    x = along[None] * columns + moves[row % len(moves), None]
    column = np.floor(x)
    edge = np.minimum(_to_edge(x - column) * (size / columns), (_to_edge(y) * (size / rows))[:, None])
    tones = rng.standard_normal((rows, columns), np.float32)
    return tones[row[:, None], column.astype(int) % columns], _stone_share(edge, joint_px)


def herringbone(rng: Rng, size: int, cells: int, joint_px: float) -> Stones:
    """Stones two cells long laid crosswise; `cells` along a side, a multiple of 4."""
    at = (np.arange(size, dtype=np.float32) + 0.5) / size * cells
    x, y = np.meshgrid(at, at)
    column, row = np.floor(x).astype(int), np.floor(y).astype(int)
    part = (column - row) % 4  # 0, 1: left and right of a lying stone; 3, 2: top and bottom of a standing one
    inside_x = np.where(part < 2, (x - column + (part == 1)) / 2, x - column)
    inside_y = np.where(part < 2, y - row, (y - row + (part == 2)) / 2)
    long = size / cells
    reach_x, reach_y = np.where(part < 2, 2 * long, long), np.where(part < 2, long, 2 * long)
    edge = np.minimum(_to_edge(inside_x) * reach_x, _to_edge(inside_y) * reach_y)
    tones = rng.standard_normal((cells, cells), np.float32)
    tone = tones[(row - (part == 2)) % cells, (column - (part == 1)) % cells]
    return tone, _stone_share(edge.astype(np.float32), joint_px)


def pebbles(rng: Rng, size: int, count: int, joint_px: float) -> Stones:
    """Stones of no order, `count` along a side: each pixel belongs to the nearest of jittered middles."""
    cell = size / count
    middles = (np.indices((count, count)).reshape(2, -1).T + rng.uniform(0.1, 0.9, (count * count, 2))) * cell
    rows, columns = np.minimum(middles.astype(int), size - 1).T
    seeds = np.ones((size, size), np.uint8)
    seeds[rows, columns] = 0
    margin = int(2 * cell) + 1
    seeds = np.pad(seeds, margin, mode="wrap")
    _, nearest = cv2.distanceTransformWithLabels(
        seeds, cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    places = np.flatnonzero(seeds.ravel() == 0)
    owner = np.zeros(len(places) + 1, np.float32)
    own_row, own_column = ((p - margin) % size for p in np.unravel_index(places, seeds.shape))
    tones = rng.standard_normal((size, size), np.float32)
    owner[nearest.ravel()[places]] = tones[own_row, own_column]  # copies of a stone have its tone
    inner = np.ones_like(seeds)
    inner[:-1] &= nearest[1:] == nearest[:-1]
    inner[:, :-1] &= nearest[:, 1:] == nearest[:, :-1]
    edge = cv2.distanceTransform(inner, cv2.DIST_L2, cv2.DIST_MASK_3)
    inside = (slice(margin, -margin), slice(margin, -margin))
    return owner[nearest[inside]], _stone_share(np.asarray(edge[inside], np.float32), joint_px)


def _to_edge(inside: NDArray[np.floating]) -> Floats:
    return np.asarray(np.minimum(inside, 1 - inside), np.float32)


def _stone_share(edge_px: Floats, joint_px: float) -> Floats:
    return np.asarray(np.clip(edge_px - joint_px / 2 + 0.5, 0, 1), np.float32)


def laid(rng: Rng, stones: Stones, base: Floats, joint: ArrayLike, spread: float) -> Floats:
    """Paints stones: tones differ by `spread`, edges catch light above and shade below, joints between."""
    tone, share = stones
    size = len(tone)
    factors = np.exp(tone * spread + clouds(rng, size, 16, 4, 0.8) * np.float32(rng.uniform(0.04, 0.12)))
    lean = np.roll(share, -2, 0) - np.roll(share, 2, 0) + np.roll(share, -2, 1) - np.roll(share, 2, 1)
    factors *= 1 + 0.12 * lean
    warmer = rng.normal(0, 0.03) * np.array([1, 0.1, -1], np.float32)  # stones also differ a little in tint
    light, tilt = share * factors, np.clip(tone, -2, 2)
    planes = [
        light * (c * (1 + w * tilt)) + (1 - share) * j
        for c, w, j in zip(base, warmer, np.asarray(joint, np.float32), strict=True)
    ]
    return np.asarray(cv2.merge(planes), np.float32)


# ---- letters ----


def random_word(rng: Rng, shortest: int, longest: int) -> str:
    """Capitals, `shortest` to `longest` of them."""
    return "".join(rng.choice(LETTERS, int(rng.integers(shortest, longest + 1))))


def word(rng: Rng, text: str, height: int, width: int) -> Floats:
    """Letters that fill an area: how much of each pixel is ink, `(height, width)`."""
    thick = int(rng.integers(4, 10))
    (wide, high), below = cv2.getTextSize(text, cv2.FONT_HERSHEY_DUPLEX, 3, thick)
    drawn = np.zeros((high + below + thick, wide + thick), np.uint8)
    start = (thick // 2, high + thick // 2)
    cv2.putText(drawn, text, start, cv2.FONT_HERSHEY_DUPLEX, 3, 255, thick, cv2.LINE_AA)
    fit = min(height / drawn.shape[0], width / drawn.shape[1]) * 0.9
    fitted = (max(1, int(drawn.shape[1] * fit)), max(1, int(drawn.shape[0] * fit)))
    small = cv2.resize(drawn, fitted, interpolation=cv2.INTER_AREA)
    page = np.zeros((height, width), np.float32)
    y, x = (height - small.shape[0]) // 2, (width - small.shape[1]) // 2
    page[y : y + small.shape[0], x : x + small.shape[1]] = small / np.float32(255)
    return page


def write(rng: Rng, image: Floats, area: tuple[int, int, int, int], paper: Floats) -> None:
    """Fills the area (x0, y0, x1, y1) of a picture, in place, with a word on coloured paper."""
    x0, y0, x1, y1 = area
    ink = colour(0, 0, 0.94 if paper.mean() < 120 else 0.08)
    share = word(rng, random_word(rng, 3, 8), y1 - y0, x1 - x0)[..., None]
    image[y0:y1, x0:x1] = paper + share * (ink - paper)
