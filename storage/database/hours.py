"""Statements over the hours: how many tracklets began in each, kept with every change of the tracklets."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import sqlalchemy as sa

from storage.database.schema import AnySelect, tracklet_hours, tracklets

HOUR_S = 3600.0

_SLACK_S = 1.0
"""Added to the longest duration: a difference of two times is rounded."""


class Extent(NamedTuple):
    """A camera's tracklets: when the first and the last one began, when the last one ended (seconds UTC)."""

    camera: str
    first: float
    last: float
    end: float
    longest_s: float  # none lasts longer


def hour_of(start: float) -> int:
    """Whole hours since 1970."""
    return math.floor(start / HOUR_S)


def add(connection: sa.Connection, camera: str, start: float, end: float) -> None:
    """Counts a new tracklet."""
    lasts, longest = end - start, tracklet_hours.c.longest_s
    values = {
        "num_tracklets": tracklet_hours.c.num_tracklets + 1,
        "longest_s": sa.case((longest < lasts, lasts), else_=longest),
    }
    mine = sa.and_(tracklet_hours.c.camera == camera, tracklet_hours.c.hour == hour_of(start))
    # Writers take turns, so nobody else inserts the row in between.
    if connection.execute(sa.update(tracklet_hours).where(mine).values(**values)).rowcount == 0:
        new = {"camera": camera, "hour": hour_of(start), "num_tracklets": 1, "longest_s": lasts}
        connection.execute(sa.insert(tracklet_hours), new)


def remove(connection: sa.Connection, ids: Sequence[int]) -> None:
    """Takes tracklets off, of which those that exist must still have their rows; few enough for one IN."""
    there = sa.select(tracklets.c.camera, tracklets.c.start).where(tracklets.c.id.in_(ids))
    gone = Counter((row[0], hour_of(row[1])) for row in connection.execute(there))
    if not gone:
        return
    mine = sa.and_(
        tracklet_hours.c.camera == sa.bindparam("of_camera"), tracklet_hours.c.hour == sa.bindparam("of_hour")
    )
    left = tracklet_hours.c.num_tracklets - sa.bindparam("number")
    places = [{"of_camera": camera, "of_hour": hour} for camera, hour in gone]
    numbers = [{**place, "number": number} for place, number in zip(places, gone.values(), strict=True)]
    connection.execute(sa.update(tracklet_hours).where(mine).values(num_tracklets=left), numbers)
    connection.execute(sa.delete(tracklet_hours).where(mine, tracklet_hours.c.num_tracklets <= 0), places)


def extents(connection: sa.Connection) -> list[Extent]:
    """Of each camera that has tracklets, by name; some look-ups in indexes for each, however many it has."""
    return [Extent(*row) for row in connection.execute(_EXTENTS) if row[1] is not None]


def _extents() -> AnySelect:
    """From each camera's name the index leads to the next one's; DISTINCT would read every row."""
    hours, rows = tracklet_hours.c, tracklets.c
    names = sa.select(sa.func.min(hours.camera).label("camera")).cte("names", recursive=True)
    following = sa.select(sa.func.min(hours.camera)).where(hours.camera > names.c.camera)
    names = names.union_all(
        sa.select(following.correlate(names).scalar_subquery()).where(names.c.camera.is_not(None))
    )
    bounds = {
        "first": sa.select(sa.func.min(rows.start)).where(rows.camera == names.c.camera),
        "last": sa.select(sa.func.max(rows.start)).where(rows.camera == names.c.camera),
        "longest_s": sa.select(sa.func.max(hours.longest_s)).where(hours.camera == names.c.camera),
    }
    found = (
        sa.select(
            names.c.camera,
            *(each.correlate(names).scalar_subquery().label(name) for name, each in bounds.items()),
        )
        .where(names.c.camera.is_not(None))
        .cte("found")
    )
    # What ended last began within the longest duration of what began last. The sum keeps PostgreSQL and
    # SQLite from walking down the index of all ends in search of this camera.
    end = sa.select(sa.func.max(rows.end + 0.0)).where(
        rows.camera == found.c.camera, rows.start >= found.c.last - found.c.longest_s - _SLACK_S
    )
    return sa.select(
        found.c.camera,
        found.c.first,
        found.c.last,
        end.correlate(found).scalar_subquery(),
        found.c.longest_s + _SLACK_S,
    ).order_by(found.c.camera)


_EXTENTS = _extents()


def totals(connection: sa.Connection) -> dict[str, int]:
    """The number of tracklets of each camera that has any."""
    statement = sa.select(tracklet_hours.c.camera, sa.func.sum(tracklet_hours.c.num_tracklets))
    rows = connection.execute(statement.group_by(tracklet_hours.c.camera))
    return {row[0]: int(row[1]) for row in rows}


def total(connection: sa.Connection) -> int:
    """The number of all tracklets."""
    return int(connection.scalar(sa.select(sa.func.sum(tracklet_hours.c.num_tracklets))) or 0)


def per_bin(
    connection: sa.Connection, cameras: Iterable[str], first: int, last: int, width: int = 1
) -> dict[str, dict[int, int]]:
    """Tracklets by camera and bin of `width` hours, from hour `first` to hour `last`; without empty bins."""
    number = ((tracklet_hours.c.hour - first) // width).label("bin")
    statement = (
        sa.select(tracklet_hours.c.camera, number, sa.func.sum(tracklet_hours.c.num_tracklets))
        .where(tracklet_hours.c.camera.in_(sorted(cameras)), tracklet_hours.c.hour.between(first, last))
        .group_by(tracklet_hours.c.camera, "bin")
    )
    found: dict[str, dict[int, int]] = {}
    for camera, place, count in connection.execute(statement):
        found.setdefault(camera, {})[int(place)] = int(count)
    return found
