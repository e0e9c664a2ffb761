"""Where people can walk in front of a camera, and walks that enter the picture, cross it and leave it.

A walk begins and ends where the camera does not see: beyond the border of its picture or behind something.
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from synthetic.cameras import Camera
from synthetic.figures import Path
from synthetic.sites import Site

Floats = NDArray[np.float64]

_HEAD = 2.0  # what begins above it is walked under
_STEP = 0.25  # what ends below it is stepped over
_SHOULDERS = 0.42  # distance kept from things
_NEAREST = 1.4  # to the plane of the camera
_TICK = 0.02  # seconds between the points of a walk
_FARTHEST = 8.5  # of a door from the place that is crossed
_EASE = 0.3  # standard deviation in seconds of the blur that rounds corners and starts
RUN_UP = 1.5  # seconds walked before the first and after the last point


@dataclass(frozen=True)
class Grounds:
    """A map of a site's ground; row and column are z and x from -reach in steps of one cell.

    Attributes:
        reach: Metres from the middle of the site to each side of the map.
        cell: Metres.
        free: (N, N) bool: room for a person.
        seen: (N, N) bool: a person's middle would be in the picture, nothing before it.
        doors: (K, 2) x and z of free places out of sight, a step from where one is seen.
    """

    reach: float
    cell: float
    free: NDArray[np.bool_]
    seen: NDArray[np.bool_]
    doors: Floats

    def all_free(self, points: Floats) -> bool:
        """Whether there is room at each of (N, 2) x and z."""
        return bool(self.free[self._cells(points)].all())

    def are_seen(self, points: Floats) -> NDArray[np.bool_]:
        """(N,) which of (N, 2) x and z are seen."""
        return np.asarray(self.seen[self._cells(points)])

    def places(self, mask: NDArray[np.bool_]) -> Floats:
        """(K, 2) x and z of the cells that are set."""
        rows, columns = np.nonzero(mask)
        return np.asarray(np.stack([columns, rows], 1) * self.cell - self.reach, np.float64)

    def _cells(self, points: Floats) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        return _cells(points, self.reach, self.cell, len(self.free))


@dataclass(frozen=True)
class Walk:
    """A person's way through one site, in small steps.

    Attributes:
        times: (T,) seconds of the world's clock.
        path: Where, in the site's coordinates.
        gait_times: (T,) seconds of walking at the usual speed that the way so far amounts to.
        pace: (T,) share of the usual speed, in [0, 1].
    """

    times: Floats
    path: Path
    gait_times: Floats
    pace: Floats

    def at(self, times: Floats) -> "Walk":
        """The walk at other times, which lie within it."""
        x, z, heading, gait, pace = (
            np.interp(times, self.times, column)
            for column in (*self.path.places.T, self.path.headings, self.gait_times, self.pace)
        )
        return Walk(times, Path(np.stack([x, z], 1), heading), gait, pace)


def survey(site: Site, reach: float = 15.0, cell: float = 0.15) -> Grounds:
    """Map a site's ground.

    Args:
        site: The place and its camera.
        reach: Metres from its middle to each side of the map.
        cell: Metres; coarser is quicker.
    """
    side = round(2 * reach / cell) + 1
    row = np.linspace(-reach, reach, side)
    x, z = np.meshgrid(row, row)
    places, camera = np.stack([x.ravel(), z.ravel()], 1), site.camera
    heights = _heights(site, reach, cell, side)
    matrix = camera.world_to_camera
    before = (_lifted(places, 1.0) @ matrix[2, :3] + matrix[2, 3] > _NEAREST).reshape(x.shape)
    free = (cv2.dilate((heights > _STEP).astype(np.uint8), _disc(_SHOULDERS / cell)) == 0) & before
    hidden = _hidden(places, heights, camera, reach, cell).reshape(x.shape)
    middle, touched = (shown.reshape(x.shape) for shown in _in_picture(places, camera))
    seen = middle & before & ~hidden
    near = cv2.dilate((seen & free).astype(np.uint8), _disc(1.2 / cell)) > 0
    grounds = Grounds(reach, cell, free, seen, np.zeros((0, 2)))
    return replace(grounds, doors=grounds.places(free & (~touched | hidden) & near))


def sample_walk(
    grounds: Grounds, speed: float, rng: np.random.Generator, pause_s: float = 0.0
) -> Walk | None:
    """A walk from a door over a place that is seen to a door, starting at time 0; None where it met things.

    Args:
        grounds: The site's map.
        speed: Usual speed, metres a second.
        rng: Source of everything.
        pause_s: How long the person stands still half-way.
    """
    if len(grounds.doors) < 2:
        return None
    start, end = grounds.doors[rng.integers(len(grounds.doors), size=2)]
    middle = rng.normal([0, -0.3], [1.6, 1.3])
    corners = np.stack([start, middle, end])
    gaps = np.linalg.norm(np.diff(corners, axis=0), axis=1)
    if not (gaps > 2).all() or not (gaps < _FARTHEST).all() or not grounds.are_seen(corners[1:2])[0]:
        return None
    if not all(grounds.all_free(_between(corners[i], corners[i + 1])) for i in range(2)):
        return None
    return _walk(corners, gaps / speed, speed, pause_s)


def _walk(corners: Floats, seconds: Floats, speed: float, pause_s: float) -> Walk:
    moments = np.cumsum([0, seconds[0], pause_s + 1e-6, seconds[1]])
    points = corners[[0, 1, 1, 2]]
    away = np.diff(corners, axis=0) / seconds[:, None] * RUN_UP
    moments = np.concatenate([[-RUN_UP], moments, [moments[-1] + RUN_UP]])
    points = np.concatenate([points[:1] - away[0], points, points[-1:] + away[1]])
    times = np.arange(moments[0] - 4 * _EASE, moments[-1] + 4 * _EASE, _TICK)
    places = _eased(np.stack([np.interp(times, moments, points[:, axis]) for axis in range(2)], 1))
    inner = slice(round(5 * _EASE / _TICK), -round(5 * _EASE / _TICK))  # the blur starts from a standstill
    velocity = np.gradient(places, _TICK, axis=0)
    speeds = np.linalg.norm(velocity, axis=1)
    moving = speeds > 0.15 * speed
    turned = np.unwrap(np.arctan2(velocity[moving, 0], velocity[moving, 1]))
    headings = _eased(np.interp(times, times[moving], turned)[:, None])[:, 0]
    path = Path(places[inner], headings[inner])
    gait = np.cumsum(speeds) * _TICK / speed
    return Walk(times[inner], path, gait[inner], np.clip(speeds / speed, 0, 1)[inner])


def _eased(values: Floats) -> Floats:
    """(T, D) blurred over time."""
    width = 2 * round(4 * _EASE / _TICK) + 1
    kernel = np.asarray(cv2.getGaussianKernel(width, _EASE / _TICK))[:, 0]
    padded = np.pad(values, ((width // 2, width // 2), (0, 0)), mode="edge")
    return np.stack([np.convolve(column, kernel, "valid") for column in padded.T], 1)


def _between(start: Floats, end: Floats) -> Floats:
    steps = max(2, round(float(np.linalg.norm(end - start)) / 0.1))
    return np.linspace(start, end, steps)


def _heights(site: Site, reach: float, cell: float, side: int) -> NDArray[np.float32]:
    """(N, N) metres: the highest thing at each cell that begins below a person's head."""
    triangles = np.concatenate([part.mesh.positions[part.mesh.indices.reshape(-1, 3)] for part in site.parts])
    low, high = triangles[:, :, 1].min(1), triangles[:, :, 1].max(1)
    solid = (low < _HEAD) & (high > _STEP)
    triangles, high = triangles[solid], high[solid]
    corners = np.rint((triangles[:, :, [0, 2]] + reach) / cell).clip(-30000, 30000).astype(np.int32)
    heights = np.zeros((side, side), np.float32)
    for number in np.argsort(high, kind="stable").tolist():  # the highest last
        cv2.fillConvexPoly(heights, corners[number], float(high[number]))
        cv2.polylines(heights, [corners[number]], True, float(high[number]))
    return heights


def _hidden(
    places: Floats, heights: NDArray[np.float32], camera: Camera, reach: float, cell: float
) -> NDArray[np.bool_]:
    """(M,) whether something hides a whole person there from the camera."""
    above, eye = camera.position[1], np.asarray(camera.position)[[0, 2]]
    thick = cv2.dilate(heights, np.ones((3, 3), np.uint8))  # so that no ray slips through a thin wall
    hidden = np.zeros(len(places), bool)
    for way in np.linspace(0.02, 0.9, 80):
        ray = 1.75 + way * (above - 1.75)  # from the top of the head to the camera
        at = places + way * (eye - places)
        hidden |= (thick[_cells(at, reach, cell, len(thick))] > ray) & (np.abs(at).max(1) < reach)
    return hidden


def _in_picture(places: Floats, camera: Camera) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(M,) whether a person's middle, and whether any part of a person there, falls into the picture."""
    size = np.array([camera.width, camera.height])
    middle = camera.project(_lifted(places, 1.0))
    within = np.asarray(((middle > 0) & (middle < size)).all(1))
    away = 0.5 * np.array([[1, 0], [-1, 0], [0, 1], [0, -1]])
    pixels = np.stack([camera.project(_lifted(places + step, y)) for step in away for y in (0.0, 1.95)])
    low, high = pixels.min(0), pixels.max(0)
    return within, np.asarray(((high > 0) & (low < size)).all(1))


def _lifted(places: Floats, height: float) -> Floats:
    return np.stack([places[:, 0], np.full(len(places), height), places[:, 1]], 1)


def _cells(
    points: Floats, reach: float, cell: float, side: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows and columns of (N, 2) x and z; those beyond the map fall on its border."""
    at = np.rint((points + reach) / cell).astype(np.int64).clip(0, side - 1)
    return at[:, 1], at[:, 0]


def _disc(radius: float) -> NDArray[np.uint8]:
    side = 2 * round(radius) + 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)), np.uint8)
