"""Pinhole cameras of synthetic worlds, and the windows of their pictures that are drawn.

A camera stands on the +Z side of its site and looks down the -Z axis at the middle, where people walk.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from synthetic.renderer import View

Floats = NDArray[np.float64]
_NEAR, _FAR = 0.2, 150.0


@dataclass(frozen=True)
class Camera:
    """Where a camera stands and how it sees.

    Attributes:
        position: (3,) metres, in the site's coordinates.
        target: (3,) the point in the middle of its picture.
        focal_px: Focal length in pixels.
        width: Of the picture, pixels.
        height: Of the picture, pixels.
        roll: Degrees.
    """

    position: tuple[float, float, float]
    target: tuple[float, float, float]
    focal_px: float
    width: int
    height: int
    roll: float = 0.0

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the picture."""
        return self.width, self.height

    @property
    def world_to_camera(self) -> Floats:
        """(3, 4): x right, y down, z forward."""
        forward = np.subtract(self.target, self.position)
        forward = forward / np.linalg.norm(forward)
        right = np.cross(forward, [0.0, 1.0, 0.0])
        right /= np.linalg.norm(right)
        down = np.cross(forward, right)
        c, s = np.cos(np.radians(self.roll)), np.sin(np.radians(self.roll))
        turn = np.stack([c * right + s * down, c * down - s * right, forward])
        return np.column_stack([turn, -turn @ np.asarray(self.position)])

    def placed(self, origin: tuple[float, float], heading: float) -> "Camera":
        """The camera in coordinates in which its site's origin is at `origin` (x, z), turned by `heading`."""
        c, s = np.cos(heading), np.sin(heading)

        def moved(point: tuple[float, float, float]) -> tuple[float, float, float]:
            x, y, z = point
            return float(c * x + s * z + origin[0]), y, float(c * z - s * x + origin[1])

        return replace(self, position=moved(self.position), target=moved(self.target))

    def project(self, points: NDArray[np.floating]) -> Floats:
        """(N, 3) world points to (N, 2) pixels; those behind the camera become NaN."""
        matrix = self.world_to_camera
        seen = points @ matrix[:, :3].T + matrix[:, 3]
        depth = np.where(seen[:, 2:] > _NEAR, seen[:, 2:], np.nan)
        return np.asarray(self.focal_px * seen[:, :2] / depth + [self.width / 2, self.height / 2])

    def view(
        self, box: tuple[float, float, float, float] | None = None, size: tuple[int, int] | None = None
    ) -> View:
        """The window `box` (xyxy pixels, may pass the border; None: all) drawn at `size` (width, height)."""
        left, top, right, bottom = box or (0.0, 0.0, float(self.width), float(self.height))
        width, height = size or (round(right - left), round(bottom - top))
        pinhole = np.zeros((4, 4))
        # Clip coordinates of the window, y downward, so that rows come out from top to bottom.
        pinhole[0, 0] = 2 * self.focal_px / (right - left)
        pinhole[0, 2] = (self.width - left - right) / (right - left)
        pinhole[1, 1] = 2 * self.focal_px / (bottom - top)
        pinhole[1, 2] = (self.height - top - bottom) / (bottom - top)
        pinhole[2, 2] = (_FAR + _NEAR) / (_FAR - _NEAR)
        pinhole[2, 3] = -2 * _FAR * _NEAR / (_FAR - _NEAR)
        pinhole[3, 2] = 1
        rigid = np.vstack([self.world_to_camera, [0, 0, 0, 1]])
        return View(pinhole @ rigid, np.asarray(self.position, np.float64), width, height)


def sample_camera(rng: np.random.Generator) -> Camera:
    """A surveillance camera: 1.4 to 7 m high, its people 40 to 400 px."""
    sizes = ((640, 480), (720, 576), (1280, 720), (1920, 1080))
    width, height = sizes[int(rng.choice(4, p=[0.15, 0.2, 0.35, 0.3]))]
    shortest = 40 if rng.random() < 0.2 else 90
    tall = float(np.exp(rng.uniform(np.log(shortest), np.log(min(400, 0.7 * height)))))
    aboves = [rng.uniform(1.4, 2.4), rng.uniform(2.4, 4.5), rng.uniform(4.5, 7)]
    above = float(rng.choice(aboves, p=[0.2, 0.6, 0.2]))
    away = rng.uniform(max(3.5, 1.3 * above), 18)
    aim = rng.uniform(0.7, 1.2)
    focal = _focal(tall, above, away, aim)
    return Camera((rng.normal(0, 0.5), above, away), (0, aim, 0), focal, width, height, rng.normal(0, 1.2))


def sample_watching_camera(rng: np.random.Generator, width: int, height: int) -> Camera:
    """A camera that follows people through its picture: each is a fourth to a third of the picture high."""
    above, away, aim = rng.uniform(2.6, 4.2), rng.uniform(7.5, 11), rng.uniform(0.75, 1.05)
    focal = _focal(height * rng.uniform(0.26, 0.36), above, away, aim)
    return Camera((rng.normal(0, 0.5), above, away), (0, aim, 0), focal, width, height, rng.normal(0, 0.7))


def sample_surveying_camera(rng: np.random.Generator, width: int, height: int) -> Camera:
    """A camera that overlooks a place: those in its middle are a tenth to a half of the picture high."""
    aboves = [rng.uniform(1.5, 2.4), rng.uniform(2.4, 4.5), rng.uniform(4.5, 8)]
    above = float(rng.choice(aboves, p=[0.2, 0.5, 0.3]))
    away, aim = rng.uniform(max(4, 1.2 * above), 18), rng.uniform(0.4, 1.3)
    tall = height * float(np.exp(rng.uniform(np.log(0.1), np.log(0.5))))
    focal = max(_focal(tall, above, away, aim), 0.55 * width)
    return Camera((rng.normal(0, 0.5), above, away), (0, aim, 0), focal, width, height, rng.normal(0, 1.2))


def _focal(tall: float, above: float, away: float, aim: float) -> float:
    """Pixels of focal length that make a person of 1.72 m in the middle `tall` pixels high."""
    distance = float(np.hypot(away, above - aim))
    return tall * distance / (1.72 * away / distance + 0.25 * (above - aim) / distance)
