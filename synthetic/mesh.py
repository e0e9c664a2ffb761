"""Triangle meshes of simple solids, from which accessories and street furniture are put together.

Metres, Y up, right-handed. Texture rows run downwards and columns to the right as seen from outside.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Mesh:
    """Triangles with what a renderer needs at their corners.

    Attributes:
        positions: `(N, 3) float32`, metres.
        normals: `(N, 3) float32`, unit length, outwards.
        uv: `(N, 2) float32`, texture units; v = 0 is the top row of the image. Beyond 0 to 1 it repeats.
        indices: `(M, 3) uint32`, corners counter-clockwise as seen from outside.
    """

    positions: Floats
    normals: Floats
    uv: Floats
    indices: NDArray[np.uint32]

    def moved(self, rotation: ArrayLike, translation: ArrayLike) -> "Mesh":
        """Turned by a `(3, 3)` rotation, then shifted by `(3,)` metres."""
        turn = np.asarray(rotation, np.float32)
        shift = np.asarray(translation, np.float32)
        return replace(self, positions=self.positions @ turn.T + shift, normals=self.normals @ turn.T)

    def scaled(self, factors: ArrayLike) -> "Mesh":
        """Stretched from the origin by `(3,)` factors above 0."""
        stretch = np.broadcast_to(np.asarray(factors, np.float32), (3,))
        if not (stretch > 0).all():
            raise ValueError(f"a mesh is scaled by factors above 0, not {stretch.tolist()}")
        return replace(self, positions=self.positions * stretch, normals=_unit(self.normals / stretch))

    @property
    def volume(self) -> float:
        """Cubic metres inside a closed mesh; below 0 where its triangles face inwards."""
        a, b, c = self.positions[self.indices].astype(np.float64).transpose(1, 0, 2)
        return float((a * np.cross(b, c)).sum() / 6)


def join(meshes: Sequence[Mesh]) -> Mesh:
    """All triangles of at least one mesh in one."""
    if not meshes:
        raise ValueError("join needs at least one mesh")
    starts = np.cumsum([0] + [len(m.positions) for m in meshes])
    return Mesh(
        np.concatenate([m.positions for m in meshes]),
        np.concatenate([m.normals for m in meshes]),
        np.concatenate([m.uv for m in meshes]),
        np.concatenate([m.indices + np.uint32(s) for m, s in zip(meshes, starts, strict=False)]),
    )


def quad(width: float, height: float) -> Mesh:
    """An upright rectangle around the origin that faces +Z; the texture fills it once."""
    x, y = width / 2, height / 2
    corners = np.array([[[-x, y, 0], [x, y, 0]], [[-x, -y, 0], [x, -y, 0]]])
    return _grid(corners, [0, 1], [0, 1])


def box(size: ArrayLike, centre: ArrayLike = (0, 0, 0), *, uv_metres: float | None = None) -> Mesh:
    """A box with hard edges.

    Args:
        size: `(3,)` metres along X, Y and Z.
        centre: `(3,)` metres.
        uv_metres: Side of one tile of the texture, for surfaces of true scale; without, the texture fills
            each face once.
    """
    full = np.asarray(size, np.float64)
    faces = []
    for across, up, towards in _BOX_FACES:
        width, height, depth = (float(abs(full @ np.array(axis))) for axis in (across, up, towards))
        face = quad(width, height)
        if uv_metres is not None:
            face = replace(face, uv=face.uv * np.array([width / uv_metres, height / uv_metres], np.float32))
        turn = np.array([across, up, towards]).T
        faces.append(face.moved(turn, np.array(towards) * depth / 2 + np.asarray(centre)))
    return join(faces)


_BOX_FACES = (  # to the right, up and outwards, as seen from outside
    ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    ((-1, 0, 0), (0, 1, 0), (0, 0, -1)),
    ((0, 0, -1), (0, 1, 0), (1, 0, 0)),
    ((0, 0, 1), (0, 1, 0), (-1, 0, 0)),
    ((1, 0, 0), (0, 0, -1), (0, 1, 0)),
    ((1, 0, 0), (0, 0, 1), (0, -1, 0)),
)


def rounded_box(size: ArrayLike, radius: float, segments: int = 2) -> Mesh:
    """A closed box around the origin whose edges and corners are rounded.

    Args:
        size: `(3,)` metres along X, Y and Z, the rounding included.
        radius: Of the rounding in metres; cut to half of the shortest side.
        segments: Steps of each rounded edge, at least 1; 2 make 112 triangles.
    """
    half = np.asarray(size, np.float64) / 2
    radius = min(radius, float(half.min()))
    quarter = np.linspace(0, np.pi / 2, segments + 1)
    polar = np.concatenate([quarter, quarter + np.pi / 2])
    around = np.concatenate([quarter + k * np.pi / 2 for k in (-2, -1, 0, 1)] + [[np.pi]])
    corner = np.append(np.repeat((-0.75, -0.25, 0.25, 0.75), segments + 1), 1.25) * np.pi  # its quarter
    out = np.stack(_spherical(polar, around), -1)  # (rows, columns, 3) directions of the rounding
    signs = np.broadcast_arrays(
        np.sign(np.sin(corner))[None],
        np.repeat((1.0, -1.0), segments + 1)[:, None],
        np.sign(np.cos(corner))[None],
    )
    points = np.stack(signs, -1) * (half - radius) + radius * out
    top = np.zeros_like(points[:1])
    top[..., 1] = half[1]
    points = np.concatenate([top, points, -top])
    return _grid(points, _arc_lengths(points[:, 0]), _arc_lengths(points[len(points) // 2]))


def ellipsoid(radii: ArrayLike, rings: int = 8, segments: int = 12) -> Mesh:
    """A closed ellipsoid around the origin; the middle column of the texture looks along +Z."""
    return _round(radii, np.pi, rings, segments)


def dome(radii: ArrayLike, extent: float = np.pi / 2, rings: int = 5, segments: int = 12) -> Mesh:
    """The top of an ellipsoid around the origin, open below.

    Args:
        radii: `(3,)` metres of the whole ellipsoid.
        extent: Angle from the top down to the rim, radians; pi / 2 is the upper half.
        rings: Steps from the top to the rim.
        segments: Steps around.
    """
    return _round(radii, extent, rings, segments)


def _round(radii: ArrayLike, extent: float, rings: int, segments: int) -> Mesh:
    polar = np.linspace(0, extent, rings + 1)
    around = np.linspace(-np.pi, np.pi, segments + 1)
    unit = np.stack(_spherical(polar, around), -1)
    return _grid(unit * np.asarray(radii, np.float64), polar / extent, around / (2 * np.pi) + 0.5)


def _spherical(polar: ArrayLike, around: ArrayLike) -> tuple[NDArray[np.float64], ...]:
    """x, y and z of unit directions, `(rows, columns)` each; around = 0 looks along +Z, growing to +X."""
    p, a = np.asarray(polar, np.float64)[:, None], np.asarray(around, np.float64)[None]
    return np.sin(p) * np.sin(a), np.cos(p) + 0 * a, np.sin(p) * np.cos(a)


def cylinder(
    radius_bottom: float, radius_top: float, height: float, segments: int = 12, capped: bool = True
) -> Mesh:
    """A cylinder or cone along +Y that stands on the origin; closed when capped."""
    around = np.linspace(-np.pi, np.pi, segments + 1)
    x, _, z = _spherical([np.pi / 2], around)
    rows = [(radius_top, height), (radius_bottom, 0.0)]
    side = np.stack([np.stack([r * x[0], np.full(segments + 1, y), r * z[0]], -1) for r, y in rows])
    parts = [_grid(side, [0, 1], around / (2 * np.pi) + 0.5)]
    if capped and radius_top > 0:
        parts.append(_disc(side[0]))
    if capped and radius_bottom > 0:
        parts.append(_disc(side[1][::-1]))
    return join(parts)


def _disc(rim: NDArray[np.float64]) -> Mesh:
    """A fan over a closed planar rim `(K + 1, 3)`, whose last point is its first; counter-clockwise."""
    centre = np.broadcast_to(rim[:-1].mean(0), rim.shape)
    spread = np.linspace(0, 1, len(rim))
    return _grid(np.stack([centre, rim]), [0, 1], spread)


def tube(path: ArrayLike, radius: ArrayLike, segments: int = 6, capped: bool = True) -> Mesh:
    """A round bar that follows a path.

    Args:
        path: `(K, 3)` metres, K at least 2, no two neighbours equal.
        radius: Metres, one number or `(K,)`.
        segments: Corners of the cross-section.
        capped: Whether its ends are closed.
    """
    points = np.asarray(path, np.float64)
    across, up = _frames(points)
    around = np.linspace(0, 2 * np.pi, segments + 1)
    reach = np.broadcast_to(np.asarray(radius, np.float64), len(points))[:, None, None]
    spokes = across[:, None] * np.cos(around)[:, None] + up[:, None] * np.sin(around)[:, None]
    wall = points[:, None] + reach * spokes  # (K, segments + 1, 3)
    side = _grid(wall[:, ::-1], _arc_lengths(points), around / (2 * np.pi))
    return join([side, _disc(wall[0, ::-1]), _disc(wall[-1])]) if capped else side


def _frames(points: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Two unit directions `(K, 3)` square to the path, carried along it without twisting."""
    along = _unit(np.gradient(points, axis=0))
    across = np.empty_like(points)
    start = np.eye(3)[np.abs(along[0]).argmin()]
    for k, direction in enumerate(along):
        start = start - direction * (start @ direction)
        start /= np.linalg.norm(start)
        across[k] = start
    return across, np.cross(along, across)


def ribbon(path: ArrayLike, width_directions: ArrayLike, width: float, thickness: float = 0.004) -> Mesh:
    """A flat band, such as a strap, seen from both sides.

    Args:
        path: `(K, 3)` metres along its middle, K at least 2.
        width_directions: `(K, 3)` or `(3,)`, across the band; made square to nothing, only unit.
        width: Metres.
        thickness: Metres between its two faces, which keeps them from flickering through each other.
    """
    points = np.asarray(path, np.float64)
    across = np.broadcast_to(_unit(np.asarray(width_directions, np.float64)), points.shape)
    out = _unit(np.cross(across, np.gradient(points, axis=0))) * thickness / 2
    left, right = points - across * width / 2, points + across * width / 2
    v = _arc_lengths(points)
    face = _grid(np.stack([right + out, left + out], 1), v, [1, 0])
    back = _grid(np.stack([left - out, right - out], 1), v, [0, 1])
    return join([face, back])


def foliage(rng: np.random.Generator, radii: ArrayLike, num_leaves: int = 100) -> Mesh:
    """A bush or tree top: upright cards strewn in an ellipsoid, for a leaf picture with alpha.

    Args:
        rng: Randomness of the cards' places, sizes and turns.
        radii: `(3,)` metres.
        num_leaves: Cards of two triangles each.

    Returns:
        A mesh whose normals point away from the middle, so that it is lit as one round body; each card
        shows the whole texture. Seen from behind a card is as good as from the front.
    """
    size = np.asarray(radii, np.float64)
    outward = _unit(rng.normal(size=(num_leaves, 3)))
    centres = outward * size * rng.uniform(0.55, 1, (num_leaves, 1))
    spread = size.mean() * rng.uniform(0.3, 0.55, num_leaves)
    turns = np.arctan2(outward[:, 0], outward[:, 2]) + rng.normal(0, 0.7, num_leaves)
    tilts = rng.normal(0, 0.35, num_leaves)
    cards = []
    for centre, out, side, turn, tilt in zip(centres, outward, spread, turns, tilts, strict=True):
        c, s, ct, st = np.cos(turn), np.sin(turn), np.cos(tilt), np.sin(tilt)
        card = quad(side, side).moved([[c, s * st, s * ct], [0, ct, -st], [-s, c * st, c * ct]], centre)
        shading = np.broadcast_to(_unit(out + np.array([0, 0.3, 0])), (4, 3))
        cards.append(replace(card, normals=shading.astype(np.float32)))
    return join(cards)


def _arc_lengths(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of a path's length up to each of its points, `(K,)` from 0 to 1."""
    steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
    return np.asarray(np.concatenate([[0.0], np.cumsum(steps)]) / max(steps.sum(), 1e-9))


def _grid(points: NDArray[np.float64], v: ArrayLike, u: ArrayLike) -> Mesh:
    """A smooth skin over `(R, C, 3)` points, rows downwards and columns to the right as seen from outside."""
    rows, columns = points.shape[:2]
    corner = np.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = corner[:-1, :-1], corner[1:, :-1], corner[1:, 1:], corner[:-1, 1:]
    triangles = np.stack([np.stack([a, b, c], -1), np.stack([a, c, d], -1)], 2).reshape(-1, 3)
    flat = points.reshape(-1, 3)
    p, q, r = flat[triangles].transpose(1, 0, 2)
    facing = np.cross(q - p, r - p)  # twice the area long
    kept = np.linalg.norm(facing, axis=1) > 1e-12
    normals = _shared_normals(flat, triangles[kept], facing[kept])
    uv = np.stack(np.meshgrid(np.asarray(u, np.float64), np.asarray(v, np.float64)), -1).reshape(-1, 2)
    return Mesh(flat.astype(np.float32), normals, uv.astype(np.float32), triangles[kept].astype(np.uint32))


def _shared_normals(
    points: NDArray[np.float64], triangles: NDArray[np.intp], facing: NDArray[np.float64]
) -> Floats:
    """Area-weighted mean of the faces around each place, so that seams and poles shade smoothly."""
    _, place = np.unique(np.round(points, 6), axis=0, return_inverse=True)
    place = place.reshape(-1)
    sums = np.zeros((place.max() + 1, 3))
    for k in range(3):
        np.add.at(sums, place[triangles[:, k]], facing)
    return _unit(sums)[place].astype(np.float32)


def _unit(vectors: NDArray[Any]) -> NDArray[Any]:
    """The same type, each last axis of length 1."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-12), vectors.dtype)
