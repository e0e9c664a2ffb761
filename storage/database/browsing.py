"""Pages of tracklets in the order of time, as quick among millions as among few.

A page is read along an index, from the place where it begins, and never through what the filter leaves out:
of each camera that passes it there is a walk of its own, and the walks are merged.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import sqlalchemy as sa

from storage.database import hours
from storage.database.hours import Extent
from storage.database.schema import AnyRow, AnySelect, tracklets
from storage.database.tracklets import RECORD, ThumbnailPath, record
from storage.records import GalleryFilter, TrackletRecord

Place = tuple[float, int]
"""(start, id): where a tracklet stands in the order of time."""

_LEAST_ROWS = 4
_LAST_ID = 2**63 - 1


@dataclass(frozen=True)
class _Walk:
    """Tracklets of one camera (None: of all) that began from `first` to `last`, and what else must hold."""

    camera: str | None
    first: float
    last: float
    others: tuple[sa.ColumnElement[bool], ...]


def page(
    connection: sa.Connection,
    thumbnail: ThumbnailPath,
    filter: GalleryFilter,
    after: Place | None,
    limit: int,
    *,
    newest_first: bool = False,
) -> list[TrackletRecord]:
    """Up to `limit` matching tracklets by (start, id), rising or falling, behind the place `after`."""
    walks = _walks(connection, filter)
    # Of many cameras each gives a few; one that gives more is asked again.
    size = limit if len(walks) < 2 else min(limit, max(_LEAST_ROWS, 2 * limit // len(walks)))
    streams = [_rows(connection, walk, after, size, newest_first) for walk in walks]
    merged = heapq.merge(*streams, key=lambda row: (row.start, row.id), reverse=newest_first)
    return [record(row, thumbnail) for row in islice(merged, limit)]


def passing(filter: GalleryFilter, extents: Sequence[Extent]) -> list[Extent]:
    """The cameras that the filter lets pass."""
    return [
        extent
        for extent in extents
        if (not filter.cameras or extent.camera in filter.cameras)
        and extent.camera not in filter.exclude_cameras
    ]


def _walks(connection: sa.Connection, filter: GalleryFilter) -> list[_Walk]:
    last = math.inf if filter.end is None else filter.end
    others = () if filter.min_quality <= 0.0 else (tracklets.c.quality >= filter.min_quality,)
    if filter == GalleryFilter(end=filter.end, min_quality=filter.min_quality):
        return [_Walk(None, -math.inf, last, others)]
    extents = hours.extents(connection)
    wanted = passing(filter, extents)
    if filter.start is not None:
        others += (tracklets.c.end >= filter.start,)
        wanted = [extent for extent in wanted if extent.end >= filter.start]
    if len(wanted) == len(extents) and filter.exclude_span is None:
        longest_s = max((extent.longest_s for extent in extents), default=0.0)
        return [_Walk(None, _first(filter, longest_s), last, others)]
    walks = [
        _Walk(extent.camera, _first(filter, extent.longest_s), last, others)
        for extent in wanted
        if extent.first <= last
    ]
    return [part for walk in walks for part in _without_span(walk, filter.exclude_span)]


def _first(filter: GalleryFilter, longest_s: float) -> float:
    """No tracklet that began before it lasts into the filter's range."""
    return -math.inf if filter.start is None else filter.start - longest_s


def _without_span(walk: _Walk, span: tuple[str, float, float] | None) -> list[_Walk]:
    """What ended before the span, and what began after it."""
    if span is None or walk.camera != span[0]:
        return [walk]
    _, start, end = span
    before = replace(walk, last=min(walk.last, start), others=(*walk.others, tracklets.c.end < start))
    return [before, replace(walk, first=max(walk.first, math.nextafter(end, math.inf)))]


def _rows(
    connection: sa.Connection, walk: _Walk, after: Place | None, size: int, newest_first: bool
) -> Iterator[AnyRow]:
    """The rows of a walk, read as they are asked for."""
    while True:
        rows = connection.execute(_statement(walk, after, size, newest_first)).all()
        yield from rows
        if len(rows) < size:
            return
        after, size = (rows[-1].start, rows[-1].id), 2 * size


def _statement(walk: _Walk, after: Place | None, size: int, newest_first: bool) -> AnySelect:
    start, number = tracklets.c.start, tracklets.c.id
    place = sa.tuple_(start, number)
    # One bound on either side: of two on the same one, SQLite would begin at whichever comes first.
    if newest_first:
        begin = (walk.last, _LAST_ID) if after is None else min(after, (walk.last, _LAST_ID))
        statement = RECORD.where(place < sa.tuple_(*begin), start >= walk.first)
        statement = statement.order_by(start.desc(), number.desc())
    else:
        begin = (walk.first, 0) if after is None else max(after, (walk.first, 0))
        statement = RECORD.where(place > sa.tuple_(*begin), start <= walk.last).order_by(start, number)
    if walk.camera is not None:
        statement = statement.where(tracklets.c.camera == walk.camera)
    return statement.where(*walk.others).limit(size)
