"""Time lines: how many tracklets began when, from the hours where that is fine enough."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from storage.browse_records import TimeLine
from storage.database import hours
from storage.database.browsing import passing
from storage.database.hours import HOUR_S, Extent, hour_of
from storage.database.schema import tracklets
from storage.records import GalleryFilter

MOST_ROWS = 50_000
"""So many tracklets are looked at one by one at most, which takes some hundredths of a second."""


def time_line(
    connection: sa.Connection, filter: GalleryFilter, start: float | None, end: float | None, num_bins: int
) -> TimeLine:
    """Tracklets per camera and bin; see `Gallery.time_line`."""
    wanted = passing(filter, hours.extents(connection))
    first = max((t for t in (start, filter.start) if t is not None), default=None)
    last = min((t for t in (end, filter.end) if t is not None), default=None)
    first = min((extent.first for extent in wanted), default=0.0) if first is None else first
    last = max((extent.last for extent in wanted), default=first) if last is None else last
    bin_s = max(last - first, 1.0) / num_bins
    if last < first or not wanted:
        empty = np.zeros(num_bins, np.int64)
        return TimeLine(first, bin_s, {extent.camera: empty.copy() for extent in wanted})
    picky = filter.min_quality > 0.0 or filter.exclude_span is not None
    if (picky or bin_s < HOUR_S) and _num_rows(connection, wanted, first, last) <= MOST_ROWS:
        names = [extent.camera for extent in wanted]
        return TimeLine(first, bin_s, _from_rows(connection, names, filter, (first, last), num_bins))
    return _from_hours(connection, wanted, hour_of(first), hour_of(last), num_bins, exact=not picky)


def _num_rows(connection: sa.Connection, wanted: Sequence[Extent], first: float, last: float) -> int:
    """Tracklets that began in the hours from `first` to `last`."""
    span = hour_of(last) - hour_of(first) + 1
    names = [extent.camera for extent in wanted]
    found = hours.per_bin(connection, names, hour_of(first), hour_of(last), span)
    return sum(sum(bins.values()) for bins in found.values())


def _from_rows(
    connection: sa.Connection,
    cameras: Sequence[str],
    filter: GalleryFilter,
    bounds: tuple[float, float],
    num_bins: int,
) -> dict[str, npt.NDArray[np.int64]]:
    """(B,) int64 of each camera: its tracklets that began within `bounds`, both included."""
    first, last = bounds
    place = sa.func.floor((tracklets.c.start - first) * (num_bins / max(last - first, 1.0))).label("bin")
    statement = sa.select(tracklets.c.camera, place, sa.func.count()).where(
        tracklets.c.camera.in_(cameras), tracklets.c.start >= first, tracklets.c.start <= last
    )
    if filter.min_quality > 0.0:
        statement = statement.where(tracklets.c.quality >= filter.min_quality)
    if filter.exclude_span is not None:
        camera, start, end = filter.exclude_span
        inside = sa.and_(tracklets.c.camera == camera, tracklets.c.end >= start, tracklets.c.start <= end)
        statement = statement.where(sa.not_(inside))
    counts = {camera: np.zeros(num_bins, np.int64) for camera in cameras}
    for camera, number, count in connection.execute(statement.group_by(tracklets.c.camera, "bin")):
        counts[camera][min(int(number), num_bins - 1)] += count  # the last moment is in the last bin
    return counts


def _from_hours(
    connection: sa.Connection, wanted: Sequence[Extent], first: int, last: int, num_bins: int, *, exact: bool
) -> TimeLine:
    """Bins of whole hours, from the hour `first` to the hour `last`, both included."""
    num_hours = last - first + 1
    width = -(-num_hours // num_bins)
    num_bins = -(-num_hours // width)
    found = hours.per_bin(connection, [extent.camera for extent in wanted], first, last, width)
    counts = {extent.camera: np.zeros(num_bins, np.int64) for extent in wanted}
    for camera, bins in found.items():
        counts[camera][list(bins)] = list(bins.values())
    return TimeLine(first * HOUR_S, width * HOUR_S, counts, exact)
