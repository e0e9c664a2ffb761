"""What a camera looks at: ground, walls, street furniture, light. One site for each camera.

The middle of a site is where people walk; behind it, seen from the camera, stand walls, and posts,
bushes, parked cars and railings stand around, now and then in front.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from synthetic import mesh as shapes
from synthetic import surfaces
from synthetic.assets import read_panorama
from synthetic.cameras import Camera, sample_camera
from synthetic.mesh import Mesh
from synthetic.optics import Optics, sample_optics
from synthetic.renderer import SURFACE_SIZE, Light, Renderer, SceneryModel, SceneryPart

_WHITE = np.array([255, 255, 255], np.uint8)


@dataclass(frozen=True)
class Site:
    """A camera and its place, without anything on the GPU.

    Attributes:
        camera: Where it stands.
        optics: How it images.
        light: Sky and sun.
        parts: Things of the place.
        surfaces: (layers, 512, 512, 4) uint8 RGBA.
        panorama: (H, W, 3) uint8 RGB.
        turn: Of the panorama, in turns.
        box_margin: (4,) how the camera's boxes differ from tight ones: shares of the height added at left,
            top, right, bottom, as a detector of its own would.
    """

    camera: Camera
    optics: Optics
    light: Light
    parts: tuple[SceneryPart, ...]
    surfaces: NDArray[np.uint8]
    panorama: NDArray[np.uint8]
    turn: float
    box_margin: tuple[float, float, float, float]

    def build(self, renderer: Renderer) -> SceneryModel:
        """The place on the GPU; the caller releases it."""
        return renderer.build_scenery(self.parts, self.surfaces, self.panorama, self.turn)


def sample_site(rng: np.random.Generator, panoramas: list[Path], camera: Camera | None = None) -> Site:
    """A site for a camera (None: one is drawn too).

    Args:
        rng: Source of everything.
        panoramas: Pictures to take the surroundings from, at least one.
        camera: Where it stands.
    """
    camera = camera or sample_camera(rng)
    panorama = read_panorama(panoramas[int(rng.integers(len(panoramas)))])
    builder = _Builder(rng, camera)
    builder.ground()
    builder.walls()
    builder.furniture()
    builder.shade()
    turn = float(rng.random())
    margin = np.clip(rng.normal([0.02, 0.02, 0.02, 0.02], [0.025, 0.02, 0.025, 0.025]), -0.03, 0.12)
    return Site(
        camera,
        sample_optics(rng),
        _light(rng, panorama, turn),
        tuple(builder.parts),
        np.stack(builder.layers),
        panorama,
        turn,
        tuple(margin.tolist()),
    )


def _light(rng: np.random.Generator, panorama: NDArray[np.uint8], turn: float) -> Light:
    harmonics = spherical_harmonics(panorama, turn)
    level = float(harmonics[0].mean())
    # Walls and canopies make the light of a place less blue or green than that of the open panorama.
    harmonics = (0.6 * harmonics.mean(1, keepdims=True) + 0.4 * harmonics) / max(level, 0.05)
    azimuth, elevation = rng.uniform(0, 2 * np.pi), np.radians(rng.uniform(22, 75))
    direction = [np.cos(elevation) * np.cos(azimuth), np.sin(elevation), np.cos(elevation) * np.sin(azimuth)]
    strength = rng.uniform(0.7, 3.2) if rng.random() < 0.55 else 0.0
    colour = strength * np.array([1.0, rng.uniform(0.9, 1), rng.uniform(0.78, 0.98)])
    exposure = float(np.exp(rng.normal(0.08, 0.2))) / (1 + 0.32 * strength)
    return Light(
        harmonics.astype(np.float32) * np.float32(0.9),
        np.asarray(direction, np.float32),
        colour.astype(np.float32),
        exposure,
    )


def spherical_harmonics(panorama: NDArray[np.uint8], turn: float) -> NDArray[np.float64]:
    """(9, 3) irradiance / pi of an equirectangular picture, in the order the shaders take.

    Ramamoorthi and Hanrahan, "An Efficient Representation for Irradiance Environment Maps" (2001).
    """
    small = (panorama[::4, ::4].astype(np.float64) / 255) ** 2.2
    rows, columns = small.shape[:2]
    polar = (np.arange(rows) + 0.5) / rows * np.pi
    around = ((np.arange(columns) + 0.5) / columns - turn) * 2 * np.pi
    theta, phi = np.meshgrid(polar, around, indexing="ij")
    x, y, z = np.sin(theta) * np.cos(phi), np.cos(theta), np.sin(theta) * np.sin(phi)
    area = np.sin(theta) * (np.pi / rows) * (2 * np.pi / columns)
    basis = [np.ones_like(x), y, z, x, x * y, y * z, 3 * z * z - 1, x * z, x * x - y * y]
    norms = [0.282095, *[0.488603] * 3, 1.092548, 1.092548, 0.315392, 1.092548, 0.546274]
    falloff = [1.0, *[2 / 3] * 3, *[1 / 4] * 5]  # of the cosine lobe, over pi
    return np.array(
        [
            (small * (b * area)[..., None]).sum((0, 1)) * n * n * f
            for b, n, f in zip(basis, norms, falloff, strict=True)
        ]
    )


class _Builder:
    """Collects the things of a site and their textures."""

    def __init__(self, rng: np.random.Generator, camera: Camera) -> None:
        self._rng = rng
        self._away = camera.position[2]
        self.parts: list[SceneryPart] = []
        self.layers: list[NDArray[np.uint8]] = []
        self._plain = self._layer(np.full((SURFACE_SIZE, SURFACE_SIZE, 3), 255, np.uint8))

    def _layer(self, image: NDArray[np.uint8]) -> int:
        if image.shape[:2] != (SURFACE_SIZE, SURFACE_SIZE):
            import cv2

            image = np.asarray(cv2.resize(image, (SURFACE_SIZE, SURFACE_SIZE)), np.uint8)
        if image.shape[2] == 3:
            image = np.dstack([image, np.full(image.shape[:2], 255, np.uint8)])
        self.layers.append(image)
        return len(self.layers) - 1

    def _add(
        self, mesh: Mesh, layer: int, place: ArrayLike, turn: float = 0.0, tint: ArrayLike = _WHITE
    ) -> None:
        c, s = np.cos(turn), np.sin(turn)
        rotation = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
        self.parts.append(SceneryPart(mesh.moved(rotation, place), layer, np.asarray(tint, np.uint8)))

    def _grey(self, low: float, high: float, colourful: float = 12) -> NDArray[np.uint8]:
        grey = self._rng.uniform(low, high)
        return np.clip(grey + self._rng.normal(0, colourful, 3), 0, 255).astype(np.uint8)

    def ground(self) -> None:
        """A first ground everywhere, often a strip of another one with a kerb, often painted lines."""
        rng = self._rng
        first = surfaces.ground(rng)
        self._add(
            _floor(120, 120, first.metres), self._layer(first.image), (0, 0, 0), rng.uniform(0, 2 * np.pi)
        )
        if rng.random() < 0.6:
            second = surfaces.ground(rng)
            turn, wide = rng.uniform(0, np.pi), rng.uniform(1.2, 5)
            side = rng.uniform(-3, 3)
            across = np.array([np.cos(turn), 0, -np.sin(turn)])
            strip = _floor(wide, 80, second.metres)
            self._add(strip, self._layer(second.image), across * side + [0, 0.012, 0], turn)
            if rng.random() < 0.6:
                kerb = shapes.box((0.14, 0.1, 80))
                self._add(kerb, self._plain, across * (side + wide / 2), turn, self._grey(110, 200, 4))
        paint = ((235, 235, 230), (225, 180, 50))[int(rng.random() < 0.2)]
        for _ in range(int(rng.choice([0, 1, 2, 6], p=[0.5, 0.2, 0.2, 0.1]))):
            line = _floor(rng.uniform(0.08, 0.4), rng.choice([2.5, 8, 60]), 1.0)
            place = (rng.uniform(-4, 4), 0.02, rng.uniform(-6, 3))
            self._add(line, self._plain, place, rng.choice([0.3, 1.1, 1.57, 2.2]) + rng.normal(0, 0.1), paint)

    def walls(self) -> None:
        """One to three walls behind and beside the middle, some with posters and doors."""
        rng = self._rng
        behind = -float(np.exp(rng.uniform(np.log(3.4), np.log(22))))
        if rng.random() < 0.85:
            self._wall(60, rng.uniform(2.6, 9), (rng.uniform(-4, 4), 0, behind), rng.normal(0, 0.25))
        for side in (-1, 1):
            if rng.random() < 0.4:
                far = side * rng.uniform(3.8, 10)
                self._wall(
                    rng.uniform(6, 30),
                    rng.uniform(2.4, 8),
                    (far, 0, -6),
                    -side * (np.pi / 2 + rng.normal(0, 0.2)),
                )
        if rng.random() < 0.35:  # a second row, seen over the first
            self._wall(90, rng.uniform(8, 20), (0, 0, behind - rng.uniform(6, 25)), 0.0)

    def _wall(self, length: float, height: float, place: tuple[float, float, float], turn: float) -> None:
        rng = self._rng
        surface = surfaces.wall(rng)
        front = shapes.quad(length, height)
        uv = front.uv * np.array([length / surface.metres, height / surface.metres], np.float32)
        uv[:, 1] -= height / surface.metres  # whole tiles from the ground up
        middle = np.add(place, (0.0, height / 2, 0.0))
        self._add(replace(front, uv=uv), self._layer(surface.image), middle, turn, self._grey(190, 255, 5))
        for _ in range(int(rng.choice([0, 1, 3], p=[0.5, 0.3, 0.2]))):
            wide = rng.uniform(0.5, 2.4)
            poster = shapes.quad(wide, wide * rng.uniform(0.5, 1.5))
            along = np.array([np.cos(turn), 0, -np.sin(turn)]) * rng.uniform(-4, 4)
            out = np.array([np.sin(turn), 0, np.cos(turn)]) * 0.03
            spot = np.array(place) + along + out + [0, rng.uniform(0.9, 2.4), 0]
            self._add(poster, self._layer(surfaces.poster(rng)), spot, turn)

    def furniture(self) -> None:
        """Posts, bins, boxes, bushes, cars, railings; a few of them in front of people."""
        rng = self._rng
        leaves: int | None = None
        for _ in range(int(rng.integers(1, 8))):
            in_front = rng.random() < 0.12
            depth = (
                rng.uniform(1.4, max(0.55 * self._away, 1.6)) if in_front else -abs(rng.normal(0, 3)) - 0.7
            )
            aside = rng.uniform(-1.2, 1.2) if in_front else rng.uniform(-4.5, 4.5)
            place, turn = (aside, 0.0, depth), rng.uniform(0, 2 * np.pi)
            kind = int(rng.choice(6, p=[0.3, 0.12, 0.2, 0.18, 0.1, 0.1]))
            if kind == 0:
                radius = rng.uniform(0.03, 0.12)
                post = shapes.cylinder(radius, radius, rng.choice([0.9, 1.1, 3.5, 6]), 10)
                self._add(post, self._plain, place, 0, self._grey(30, 200, 10))
            elif kind == 1:
                self._add(
                    shapes.cylinder(0.22, 0.28, rng.uniform(0.6, 1.0), 14),
                    self._plain,
                    place,
                    0,
                    self._grey(30, 130, 18),
                )
            elif kind == 2:
                size = rng.uniform([0.4, 0.35, 0.3], [1.9, 1.4 if not in_front else 0.8, 0.9])
                block = shapes.box(size, (0, size[1] / 2, 0))
                self._add(block, self._plain, place, turn, self._grey(40, 220, 18))
            elif kind == 3:
                if leaves is None:
                    leaves = self._layer(surfaces.foliage(rng))
                radii = rng.uniform([0.4, 0.35, 0.4], [1.3, 0.9 if not in_front else 0.5, 1.2])
                bush = shapes.foliage(rng, radii, 140)
                self._add(bush, leaves, (place[0], radii[1] * 0.8, place[2]), turn, self._grey(150, 255, 8))
            elif kind == 4 and not in_front:
                self._car((place[0], 0, place[2] - 1.5), turn)
            else:
                self._railing(place, turn if not in_front else rng.normal(0, 0.3))

    def _car(self, place: tuple[float, float, float], turn: float) -> None:
        colour = self._grey(20, 235, 25)
        self._add(
            shapes.rounded_box((1.75, 0.75, 4.3), 0.2), self._plain, np.add(place, (0, 0.6, 0)), turn, colour
        )
        self._add(
            shapes.rounded_box((1.5, 0.6, 2.2), 0.2),
            self._plain,
            np.add(place, (0, 1.15, 0)),
            turn,
            self._grey(15, 60, 4),
        )

    def _railing(self, place: tuple[float, float, float], turn: float) -> None:
        tint = self._grey(40, 210, 8)
        bars = [shapes.box((0.03, 1.0, 0.03), (x, 0.5, 0)) for x in np.arange(-1.5, 1.51, 0.3)]
        bars += [shapes.box((3.0, 0.04, 0.04), (0, y, 0)) for y in (0.15, 1.0)]
        self._add(shapes.join(bars), self._plain, place, turn, tint)

    def shade(self) -> None:
        """Things beyond the picture whose shadows fall into it."""
        rng = self._rng
        for _ in range(int(rng.integers(0, 4))):
            angle = rng.uniform(0.3, np.pi - 0.3)  # beside or behind the camera
            away = rng.uniform(self._away * 0.4 + 6, self._away + 14)
            place = (away * np.cos(angle) * 1.3, 0.0, away * np.sin(angle))
            if place[2] > 0.5 and abs(place[0]) < 3 + 0.35 * place[2]:
                continue  # it would stand in the view
            tree = shapes.ellipsoid(rng.uniform([1, 1.5, 1], [4, 5, 4]))
            self._add(tree, self._plain, (place[0], rng.uniform(3, 8), place[2]), 0, (60, 75, 50))


def _floor(width: float, depth: float, metres: float) -> Mesh:
    """A rectangle on y = 0, facing up, with the texture in tiles of `metres`."""
    x, z = width / 2, depth / 2
    positions = np.array([[-x, 0, -z], [x, 0, -z], [x, 0, z], [-x, 0, z]], np.float32)
    normals = np.tile(np.array([0, 1, 0], np.float32), (4, 1))
    indices = np.array([[0, 2, 1], [0, 3, 2]], np.uint32)
    return Mesh(positions, normals, positions[:, [0, 2]] / np.float32(metres), indices)
