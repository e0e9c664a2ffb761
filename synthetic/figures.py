"""People placed in the world: poses along a path, and the boxes they fill in a camera's picture."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from synthetic.assets import Character
from synthetic.cameras import Camera
from synthetic.motion import Bearing, skin_matrices
from synthetic.people import Person
from synthetic.renderer import Figure

Floats = NDArray[np.float64]
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Path:
    """Where somebody is over time: (T, 2) x and z in metres, and (T,) heading in radians, 0 along +Z."""

    places: Floats
    headings: Floats


def straight_path(
    middle: tuple[float, float], heading: float, speed: float, times: Floats, bend: float = 0.0
) -> Path:
    """A walk through `middle` half-way, at `speed` metres a second, turning by `bend` radians a second."""
    away = times - times.mean()
    headings = heading + bend * away
    steps = np.stack([np.sin(headings), np.cos(headings)], 1)
    gaps = np.diff(times, prepend=times[:1])[:, None]
    places = np.cumsum(steps * speed * gaps, 0)
    return Path(places - places.mean(0) + middle, headings)


def poses(
    person: Person, character: Character, bearing: Bearing, path: Path, times: Floats
) -> NDArray[np.float32]:
    """(T, 19, 3, 4) float32 matrices from the rest pose to the world."""
    return _placed(person, skin_matrices(character.joints, person.gait, bearing, times), path)


def strolling_poses(
    person: Person,
    character: Character,
    bearing: Bearing,
    path: Path,
    times: Floats,
    gait_times: Floats,
    pace: Floats,
) -> NDArray[np.float32]:
    """Poses of somebody who walks, slows down and stands in turn.

    Args:
        person: Who.
        character: The person's body.
        bearing: What the arms and the head do.
        path: Where the person is at each time.
        times: (T,) seconds.
        gait_times: (T,) seconds of walking at the usual speed that the way so far amounts to.
        pace: (T,) share of the usual speed, in [0, 1].

    Returns:
        (T, 19, 3, 4) float32 matrices from the rest pose to the world.
    """
    walking = skin_matrices(character.joints, person.gait, replace(bearing, activity="walk"), gait_times)
    standing = skin_matrices(character.joints, person.gait, replace(bearing, activity="stand"), times)
    share = (pace * pace * (3 - 2 * pace))[:, None, None, None]
    return _placed(person, share * walking + (1 - share) * standing, path)


def _placed(person: Person, matrices: NDArray[np.floating], path: Path) -> NDArray[np.float32]:
    """Matrices in model space to the world."""
    c, s = np.cos(path.headings), np.sin(path.headings)
    turn = np.zeros((len(path.headings), 3, 3))
    turn[:, 0, 0], turn[:, 0, 2], turn[:, 1, 1], turn[:, 2, 0], turn[:, 2, 2] = c, s, 1, -s, c
    turn *= person.scale * np.array([person.girth, 1, person.girth])  # columns: model axes
    world = turn[:, None] @ matrices.astype(np.float64)
    world[:, :, [0, 2], 3] += path.places[:, None]
    return world.astype(np.float32)


def outline(character: Character, count: int = 320) -> NDArray[np.int64]:
    """Vertices that together reach as far as all of them: evenly spread ones and the outermost."""
    every = np.linspace(0, len(character.positions) - 1, count).astype(np.int64)
    ends = [f(character.positions[:, axis]) for axis in range(3) for f in (np.argmin, np.argmax)]
    return np.unique(np.concatenate([every, np.asarray(ends, np.int64)]))


def box_of(camera: Camera, figure: Figure, vertices: NDArray[np.int64]) -> Box | None:
    """xyxy pixels around a person as if nothing stood in front; None when some of it is behind the camera."""
    body = figure.model.character
    weights = body.weights[vertices].astype(np.float32) / 255
    blended = np.einsum("vk,vkij->vij", weights, figure.pose[body.roles[vertices]])  # (V, 3, 4)
    points = np.einsum("vij,vj->vi", blended[:, :, :3], body.positions[vertices]) + blended[:, :, 3]
    pixels = camera.project(points)
    if not np.isfinite(pixels).all():
        return None
    (left, top), (right, bottom) = pixels.min(0), pixels.max(0)
    return float(left), float(top), float(right), float(bottom)
