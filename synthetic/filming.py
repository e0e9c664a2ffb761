"""Frames of a camera that stands still: the empty place is drawn once, then only what people change."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from synthetic.cameras import Camera
from synthetic.renderer import Figure, Light, Renderer, SceneryModel
from synthetic.sites import Site

Image = NDArray[np.uint8]
_Window = tuple[int, int, int, int]

_SHADOW_CENTRE = np.array([0.0, 0.5, -1.0])
_SHADOW_REACH = 11.0
_MARGIN = 0.55  # metres around the joints: hair, bags, and the darker ground at the feet


class Film:
    """A site in front of its camera.

    Args:
        renderer: Draws; give it a shadow map of 2048 texels or more, as one has to do for the whole place.
        site: The place.
        scenery: The same on the GPU.
    """

    def __init__(self, renderer: Renderer, site: Site, scenery: SceneryModel) -> None:
        self._renderer, self._site, self._scenery = renderer, site, scenery
        self._empty = self._draw([], self._sun([]))

    def frame(self, figures: Sequence[Figure]) -> Image:
        """(height, width, 3) uint8 RGB of the place with these people, as clean as it is drawn."""
        picture = self._empty.copy()
        if figures:
            sun = self._sun(figures)
            for window in changed_windows(self._site.camera, self._site.light, figures):
                left, top, right, bottom = window
                picture[top:bottom, left:right] = self._draw(figures, sun, window)
        return picture

    def _sun(self, figures: Sequence[Figure]) -> NDArray[np.float64]:
        site = self._site
        return self._renderer.cast_shadows(site.light, self._scenery, figures, _SHADOW_CENTRE, _SHADOW_REACH)

    def _draw(
        self, figures: Sequence[Figure], sun: NDArray[np.float64], window: _Window | None = None
    ) -> Image:
        view = self._site.camera.view(window)
        return self._renderer.draw(view, self._site.light, self._scenery, figures, sun)


def changed_windows(camera: Camera, light: Light, figures: Sequence[Figure]) -> list[_Window]:
    """Parts of the picture, xyxy in even pixels, that hold all people and their shadows."""
    windows = [_window(camera, light, figure) for figure in figures]
    return _joined([window for window in windows if window[0] < window[2] and window[1] < window[3]])


def _window(camera: Camera, light: Light, figure: Figure) -> _Window:
    joints = figure.model.character.joints
    points = np.einsum("rij,rj->ri", figure.pose[:, :, :3], joints) + figure.pose[:, :, 3]
    low, high = points.min(0) - _MARGIN, points.max(0) + _MARGIN
    low[1] = 0.0
    body = _corners(low, high)
    reached = [body]
    if light.sun_colour.any():
        sun = light.sun_direction.astype(np.float64)
        reached.append(body - sun * (body[:, 1:2] / sun[1]))
    pixels = camera.project(np.concatenate(reached))
    size = np.array([camera.width, camera.height])
    if not np.isfinite(pixels).all():
        return 0, 0, camera.width, camera.height
    # Even numbers keep the raster of a picture that is drawn larger and shrunk.
    first = np.clip(np.floor(pixels.min(0) / 2) * 2, 0, size).astype(int)
    last = np.clip(np.ceil(pixels.max(0) / 2) * 2, 0, size).astype(int)
    return int(first[0]), int(first[1]), int(last[0]), int(last[1])


def _corners(low: NDArray[np.floating], high: NDArray[np.floating]) -> NDArray[np.float64]:
    """(8, 3) of a box."""
    ends = np.stack([low, high]).astype(np.float64)
    return np.stack(np.meshgrid(*ends.T, indexing="ij"), -1).reshape(-1, 3)


def _joined(windows: list[_Window]) -> list[_Window]:
    """Windows merged wherever one is no larger than the two."""
    for i, one in enumerate(windows):
        for j in range(i):
            other = windows[j]
            left, top = min(one[0], other[0]), min(one[1], other[1])
            both = (left, top, max(one[2], other[2]), max(one[3], other[3]))
            if _area(both) <= _area(one) + _area(other):
                return _joined([*windows[:j], *windows[j + 1 : i], *windows[i + 1 :], both])
    return windows


def _area(window: _Window) -> int:
    return (window[2] - window[0]) * (window[3] - window[1])
