"""What a camera sees of each person: the box of all of the person, the box of what shows, and its share."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synthetic.cameras import Camera
from synthetic.figures import Box, box_of, outline
from synthetic.renderer import Figure, Renderer, SceneryModel

_COARSE = (32, 64)  # width and height in pixels that tell roughly how much of somebody is hidden


@dataclass(frozen=True)
class Sighting:
    """One person in one picture.

    Attributes:
        full: xyxy pixels around all of the person, hidden or beyond the border or not.
        seen: xyxy pixels around what shows, within the picture.
        visibility: Pixels that show over pixels of all of the person, in (0, 1].
    """

    full: Box
    seen: Box
    visibility: float


def sight(
    renderer: Renderer, camera: Camera, scenery: SceneryModel, figures: Sequence[Figure]
) -> list[Sighting | None]:
    """What shows of each figure; None for those of whom nothing does."""
    if not figures:
        return []
    shown = renderer.identify(camera.view(), scenery, figures)
    return [
        _sighting(renderer, camera, figure, shown == number) for number, figure in enumerate(figures, start=1)
    ]


def _sighting(
    renderer: Renderer, camera: Camera, figure: Figure, shown: NDArray[np.bool_]
) -> Sighting | None:
    seen = extent(shown)
    near = box_of(camera, figure, outline(figure.model.character))
    if seen is None or near is None:
        return None
    # What is worn and carried reaches beyond the body.
    margin = 4 + 0.15 * (near[3] - near[1])
    left, top = (max(np.floor(v - margin), -float(s)) for v, s in zip(near[:2], camera.size, strict=True))
    right, bottom = (min(np.ceil(v + margin), 2.0 * s) for v, s in zip(near[2:], camera.size, strict=True))
    alone = renderer.identify(camera.view((left, top, right, bottom)), None, [figure]) > 0
    full = extent(alone)
    if full is None:
        return None
    placed = (full[0] + left, full[1] + top, full[2] + left, full[3] + top)
    return Sighting(placed, seen, min(1.0, float(shown.sum() / alone.sum())))


def visible_share(
    renderer: Renderer, camera: Camera, scenery: SceneryModel, figures: Sequence[Figure]
) -> float:
    """How much of the first figure neither things nor the other figures hide, in [0, 1]; within 2 %.

    Pixels beyond the border of the picture count as those within.
    """
    near = box_of(camera, figures[0], outline(figures[0].model.character))
    if near is None:
        return 0.0
    view = camera.view(near, _COARSE)
    alone = renderer.identify(view, None, figures[:1]) > 0
    shown = renderer.identify(view, scenery, figures) == 1
    return min(1.0, float(shown.sum() / max(1, alone.sum())))


def extent(mask: NDArray[np.bool_]) -> Box | None:
    """xyxy around the pixels that are set; None where there are none."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return None
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)
