"""Who is where when: people who walk through one camera's site, leave it, and turn up in another one's.

All sites share one clock and one ground. Their cameras hang around a building and look outward, so that what
one sees no other does.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from synthetic.routes import RUN_UP, Floats, Grounds, Walk, sample_walk

_TRIES = 300  # for each person
_APART = 0.7  # metres between the middles of two people
_CROWD = 6  # people at a time in one site
_DETOUR = 1.15  # between sites nobody walks straight
_LOOK = 0.2  # seconds between the moments at which people are kept apart
_VIEW = np.radians(75)  # between neighbouring cameras, a little more than they see
_STANDING = 0.25  # share of walks with a stop


@dataclass(frozen=True)
class Place:
    """Where a site is: its map, and the coordinates x, z and the heading of its origin in the world."""

    grounds: Grounds
    origin: tuple[float, float]
    heading: float

    def in_world(self, points: Floats) -> Floats:
        """(N, 2) x and z of the site to those of the world."""
        c, s = np.cos(self.heading), np.sin(self.heading)
        return np.asarray(points @ np.array([[c, -s], [s, c]]) + self.origin)


@dataclass(frozen=True)
class Visit:
    """One person's way through one site.

    Attributes:
        person: Index of the person.
        camera: Index of the site.
        walk: On the world's clock, in the site's coordinates.
    """

    person: int
    camera: int
    walk: Walk


def around_building(distances: Sequence[float]) -> list[tuple[tuple[float, float], float]]:
    """Origin and heading of sites whose cameras hang on one round building and look away from it.

    Args:
        distances: Of each camera from the middle of its site, metres.
    """
    radius = max(2.5, 0.5 * len(distances))
    apart = min(_VIEW, 2 * np.pi / len(distances))
    placed = []
    for number, distance in enumerate(distances):
        angle = apart * number
        reach = radius + distance
        placed.append(((float(reach * np.sin(angle)), float(reach * np.cos(angle))), float(angle + np.pi)))
    return placed


def plan_visits(
    places: Sequence[Place], speeds: Sequence[float], seconds: float, rng: np.random.Generator
) -> list[Visit]:
    """Journeys of everybody; each person is seen in at least two sites and nobody walks through another.

    Args:
        places: At least two sites.
        speeds: Of each person, metres a second.
        seconds: Length of the world.
        rng: Source of everything.

    Raises:
        ValueError: so many people cannot all be seen twice in that time.
    """
    visits: list[Visit] = []
    for person, speed in enumerate(speeds):
        for _ in range(_TRIES):
            journey = _journey(person, person % len(places), places, speed, seconds, rng)
            if journey and not any(_meets(visit, visits) for visit in journey):
                visits += journey
                break
        else:
            raise ValueError(
                f"{len(speeds)} people cannot all walk through two of {len(places)} cameras in "
                f"{seconds:g} seconds: take fewer people, more seconds, or another seed"
            )
    return visits


def _journey(
    person: int, camera: int, places: Sequence[Place], speed: float, seconds: float, rng: np.random.Generator
) -> list[Visit]:
    """A person's visits; none where they come to less than two sites."""
    clock = rng.uniform(-5, 0.3 * seconds)
    leaving: NDArray[np.float64] | None = None
    visits: list[Visit] = []
    while clock < seconds - 3:
        walk = _next_walk(places[camera], leaving, speed, rng)
        if walk is None:
            return []
        ends = places[camera].in_world(walk.path.places[[0, -1]])
        if leaving is not None:
            clock += _DETOUR * float(np.linalg.norm(ends[0] - leaving)) / speed
        walk = replace(walk, times=walk.times + clock)
        visits.append(Visit(person, camera, walk))
        leaving, clock = ends[1], walk.times[-1] - RUN_UP
        others = [other for other in range(len(places)) if other != camera]
        camera = others[rng.integers(len(others))]
    long = {v.camera for v in visits if _seconds_seen(v, places[v.camera].grounds, seconds) >= 2.5}
    return visits if len(long) > 1 else []


def _next_walk(
    place: Place, leaving: NDArray[np.float64] | None, speed: float, rng: np.random.Generator
) -> Walk | None:
    """A walk; of several, that which begins nearest to where the person comes from."""
    pause = rng.uniform(1.5, 4) if rng.random() < _STANDING else 0.0
    tried = (sample_walk(place.grounds, speed, rng, pause) for _ in range(80))
    walks = list(islice((walk for walk in tried if walk is not None), 1 if leaving is None else 4))
    if leaving is None or not walks:
        return walks[0] if walks else None
    return min(walks, key=lambda walk: float(np.linalg.norm(place.in_world(walk.path.places[:1]) - leaving)))


def _seconds_seen(visit: Visit, grounds: Grounds, seconds: float) -> float:
    times = np.arange(0, seconds, _LOOK)
    times = times[(times > visit.walk.times[0]) & (times < visit.walk.times[-1])]
    return float(grounds.are_seen(visit.walk.at(times).path.places).sum() * _LOOK)


def _meets(visit: Visit, others: Sequence[Visit]) -> bool:
    """Whether somebody would walk through somebody, or a crowd form."""
    times = np.arange(visit.walk.times[0], visit.walk.times[-1], _LOOK)
    places = visit.walk.at(times).path.places
    present = np.zeros(len(times), int)
    for other in others:
        if other.camera != visit.camera:
            continue
        together = (times >= other.walk.times[0]) & (times <= other.walk.times[-1])
        gaps = np.linalg.norm(other.walk.at(times[together]).path.places - places[together], axis=1)
        if (gaps < _APART).any():
            return True
        present += together
    return bool((present >= _CROWD).any())
