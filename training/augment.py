"""What happens to a clip's pictures in training: one draw for all frames, as one camera sees one person.

Rendered crops are blurrier, flatter and more colourful than real ones; colour, sharpening and resolution are
drawn wide enough to cover both. Erasing after Zhong et al., "Random Erasing Data Augmentation" (AAAI 2020).
All on uint8 in OpenCV, well under a millisecond for a 256 x 128 frame.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from training.recipe import Augmentation, Range

Clip = NDArray[np.uint8]
Rng = np.random.Generator
Change = Callable[[Clip, Clip], object]

_LUMINANCE = np.array([0.299, 0.587, 0.114])  # BT.601, as OpenCV's grey
_FULL_HEIGHT = 256  # what sizes in pixels refer to


def augment(clip: Clip, settings: Augmentation, rng: Rng) -> Clip:
    """A changed copy of a clip.

    Args:
        clip: `(T, H, W, 3) uint8` RGB.
        settings: What may happen and how strongly.
        rng: Source of all draws.

    Returns:
        `(T, H, W, 3) uint8`, contiguous.
    """
    if rng.random() < settings.flip_p:
        clip = clip[:, :, ::-1]
    clip = np.ascontiguousarray(clip)
    clip = _shift_and_zoom(clip, settings, rng)
    if rng.random() < settings.colour_p:
        clip = _tones(clip, settings, rng)
        clip = _mixed(clip, _colour_matrix(_draw(settings.saturation, rng), settings.hue * _sign(rng)))
    if rng.random() < settings.greyscale_p:
        clip = _mixed(clip, _colour_matrix(0, 0))
    if rng.random() < settings.low_resolution_p:
        clip = _low_resolution(clip, _draw(settings.low_resolution, rng))
    sigma = clip.shape[1] / _FULL_HEIGHT
    if rng.random() < settings.blur_p:
        clip = _blurred(clip, sigma * _draw(settings.blur_sigma_px, rng))
    if rng.random() < settings.sharpen_p:
        clip = _sharpened(clip, max(sigma, 0.5), _draw(settings.sharpen, rng))
    if rng.random() < settings.erase_p:
        clip = _erased(clip, settings, rng)
    return clip


def _draw(bounds: Range, rng: Rng) -> float:
    return float(rng.uniform(*bounds))


def _sign(rng: Rng) -> float:
    return float(rng.uniform(-1, 1))


def _shift_and_zoom(clip: Clip, settings: Augmentation, rng: Rng) -> Clip:
    """Enlarges about the centre and moves; what comes in from outside repeats the border."""
    if settings.shift == 0 and settings.zoom == (1, 1):
        return clip
    height, width = clip.shape[1:3]
    scale = _draw(settings.zoom, rng)
    right, down = (settings.shift * side * _sign(rng) for side in (width, height))
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    matrix = np.column_stack([np.eye(2) * scale, (1 - scale) * centre + [right, down]])
    return _each(clip, lambda frame, out: cv2.warpAffine(
        frame, matrix, (width, height), out, cv2.INTER_LINEAR, cv2.BORDER_REPLICATE
    ))  # fmt: skip


def _tones(clip: Clip, settings: Augmentation, rng: Rng) -> Clip:
    """Gamma, brightness, contrast and tint by one table per channel."""
    gamma, brightness, contrast = (
        _draw(bounds, rng) for bounds in (settings.gamma, settings.brightness, settings.contrast)
    )
    tint = 1 + settings.tint * rng.uniform(-1, 1, 3)
    bent = np.linspace(0, 1, 256) ** gamma * brightness
    middle = bent[int(clip[:, ::4, ::4].mean())]
    table = ((bent - middle) * contrast + middle)[:, None] * tint * 255  # (256, 3)
    table = np.clip(table.round(), 0, 255).astype(np.uint8)[None]
    return np.asarray(cv2.LUT(_as_picture(clip), table), np.uint8).reshape(clip.shape)


def _colour_matrix(saturation: float, turn: float) -> NDArray[np.float64]:
    """`(3, 3)` of RGB: scales the distance from grey, then turns by `turn` circles about the grey axis."""
    towards_grey = saturation * np.eye(3) + (1 - saturation) * np.tile(_LUMINANCE, (3, 1))
    angle, axis = 2 * np.pi * turn, 1 / np.sqrt(3)
    cross = axis * np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]])
    rotation = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross  # Rodrigues
    return np.asarray(rotation @ towards_grey)


def _mixed(clip: Clip, matrix: NDArray[np.float64]) -> Clip:
    if np.allclose(matrix, np.eye(3), atol=1e-6):
        return clip
    return np.asarray(cv2.transform(_as_picture(clip), matrix), np.uint8).reshape(clip.shape)


def _low_resolution(clip: Clip, share: float) -> Clip:
    height, width = clip.shape[1:3]
    small = (max(1, round(width * share)), max(1, round(height * share)))
    return _each(clip, lambda frame, out: cv2.resize(
        cv2.resize(frame, small, interpolation=cv2.INTER_AREA), (width, height), out
    ))  # fmt: skip


def _blurred(clip: Clip, sigma_px: float) -> Clip:
    return _each(clip, lambda frame, out: cv2.GaussianBlur(frame, (0, 0), sigma_px, out))


def _sharpened(clip: Clip, sigma_px: float, amount: float) -> Clip:
    return _each(clip, lambda frame, out: cv2.addWeighted(
        frame, 1 + amount, cv2.GaussianBlur(frame, (0, 0), sigma_px), -amount, 0, out
    ))  # fmt: skip


def _erased(clip: Clip, settings: Augmentation, rng: Rng) -> Clip:
    clip = clip.copy()
    if rng.random() < settings.erase_same_p:
        left, top, width, height = _rectangle(clip, settings.erase_area, rng)
        noise = rng.integers(0, 256, (height, width, 3), np.uint8)
        clip[:, top : top + height, left : left + width] = noise
        return clip
    for frame in clip:
        left, top, width, height = _rectangle(clip, settings.erase_area, rng)
        frame[top : top + height, left : left + width] = rng.integers(0, 256, (height, width, 3), np.uint8)
    return clip


def _rectangle(clip: Clip, area: Range, rng: Rng) -> tuple[int, int, int, int]:
    """Left, top, width, height inside the picture, of a drawn area and shape."""
    full_height, full_width = clip.shape[1:3]
    pixels = _draw(area, rng) * full_height * full_width
    ratio = np.exp(rng.uniform(np.log(0.3), np.log(1 / 0.3)))  # height to width
    height = int(np.clip(round(np.sqrt(pixels * ratio)), 1, full_height))
    width = int(np.clip(round(np.sqrt(pixels / ratio)), 1, full_width))
    left, top = rng.integers(0, full_width - width + 1), rng.integers(0, full_height - height + 1)
    return int(left), int(top), width, height


def _each(clip: Clip, change: Change) -> Clip:
    """Applies an OpenCV call that takes where to write, frame by frame."""
    changed = np.empty_like(clip)
    for frame, out in zip(clip, changed, strict=True):
        change(frame, out)
    return changed


def _as_picture(clip: Clip) -> Clip:
    """The frames below each other, for what treats every pixel alike."""
    return clip.reshape(-1, *clip.shape[2:])
