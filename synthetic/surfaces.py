"""Pictures of grounds and walls that tile, and of prints, posters and leaves, painted from random numbers.

Real places are grey and full of structure: joints, cracks, stains, letters, reflections. The painters are in
`grounds`, `walls` and `prints`, their brushes in `painting`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from synthetic.grounds import GROUNDS, INDOORS, leaf_shadows, litter
from synthetic.painting import Floats, Image, Painter, Rng, clouds, finished, noise, shaded
from synthetic.prints import cloth_print, foliage, poster
from synthetic.walls import WALLS

__all__ = ["GROUNDS", "WALLS", "Surface", "cloth_print", "foliage", "ground", "poster", "wall"]


@dataclass(frozen=True)
class Surface:
    """A texture that tiles: a ground in both directions, a wall sideways.

    Attributes:
        image: `(S, S, 3) uint8` RGB.
        metres: Side of one tile.
    """

    image: Image
    metres: float


def ground(rng: Rng, size: int = 512, kind: str | None = None) -> Surface:
    """Paints something to walk on, worn and dirty.

    Args:
        rng: All randomness.
        size: Pixels of a side; a power of two suits best.
        kind: One of `GROUNDS`; without, one is drawn.
    """
    kind = str(rng.choice(list(GROUNDS))) if kind is None else kind
    metres = float(rng.uniform(2.0, 3.6))
    image = _painter(GROUNDS, kind, "ground")(rng, size, metres)
    if kind not in INDOORS:
        image = litter(rng, image, metres)
        if rng.random() < 0.3:
            image = shaded(image, leaf_shadows(rng, size))
    return Surface(_weathered(rng, image, 0.09), metres)


def wall(rng: Rng, size: int = 512, kind: str | None = None) -> Surface:
    """Paints something that stands behind people; the bottom row of the image stands on the ground.

    Args:
        rng: All randomness.
        size: Pixels of a side; a power of two suits best.
        kind: One of `WALLS`; without, one is drawn.
    """
    kind = str(rng.choice(list(WALLS))) if kind is None else kind
    metres = float(rng.uniform(2.6, 4.5))
    image = _painter(WALLS, kind, "wall")(rng, size, metres)
    return Surface(_weathered(rng, image, 0.08), metres)


def _painter(painters: Mapping[str, Painter], kind: str, noun: str) -> Painter:
    if kind not in painters:
        raise ValueError(f"there is no {noun} {kind!r}; there are {', '.join(painters)}")
    return painters[kind]


def _weathered(rng: Rng, image: Floats, strength: float) -> Image:
    """Broad stains and fine grain over everything."""
    size = len(image)
    stains = np.float32(strength) * clouds(rng, size, 4, 5, 0.7) + np.float32(0.035) * noise(rng, size, size)
    return finished(shaded(image, np.exp(stains)))
