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
from typing import Any

import sqlalchemy as sa

from storage.database import hours
from storage.database.hours import Extent
from storage.database.schema import AnyRow, AnySelect, Key, tracklets
from storage.database.tracklets import RECORD, ThumbnailPath, record
from storage.records import GalleryFilter, TrackletRecord

Place = tuple[float, int]
"""(start, id): where a tracklet stands in the order of time."""

_LEAST_ROWS = 4
_LAST_ID = 2**63 - 1


@dataclass(frozen=True)
class _Walk:
    """Tracklets of one camera (None: of all) that began from `first` to `last`, seconds UTC.

    Attributes:
        ended_before: Only those that ended before it, seconds UTC; None: all of them.
    """

    camera: str | None
    first: float
    last: float
    ended_before: float | None = None

    @property
    def kind(self) -> tuple[bool, bool]:
        """What its statement must ask."""
        return self.camera is not None, self.ended_before is not None


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
    # To build a statement takes longer than to run it.
    statements = {kind: _statement(filter, newest_first, *kind) for kind in {walk.kind for walk in walks}}
    # Of many cameras each gives a few; one that gives more is asked again.
    size = limit if len(walks) < 2 else min(limit, max(_LEAST_ROWS, 2 * limit // len(walks)))
    streams = [
        _rows(connection, statements[walk.kind], _parameters(walk, after, newest_first), size)
        for walk in walks
    ]
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
    if filter == GalleryFilter(end=filter.end, min_quality=filter.min_quality):
        return [_Walk(None, -math.inf, last)]
    extents = hours.extents(connection)
    wanted = passing(filter, extents)
    if len(wanted) == len(extents) and filter.exclude_span is None:
        longest_s = max((extent.longest_s for extent in extents), default=0.0)
        return [_Walk(None, _first(filter, longest_s), last)]
    walks = [
        _Walk(extent.camera, _first(filter, extent.longest_s), last)
        for extent in wanted
        if extent.first <= last and (filter.start is None or extent.end >= filter.start)
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
    before = replace(walk, last=min(walk.last, start), ended_before=start)
    return [before, replace(walk, first=max(walk.first, math.nextafter(end, math.inf)))]


def _statement(filter: GalleryFilter, newest_first: bool, of_camera: bool, ended_before: bool) -> AnySelect:
    start, end, number = tracklets.c.start, tracklets.c.end, tracklets.c.id
    place, seconds = sa.tuple_(start, number), sa.Double
    begin = sa.tuple_(sa.bindparam("begin", type_=seconds), sa.bindparam("begin_id", type_=Key()))
    bound = sa.bindparam("bound", type_=seconds)
    # One bound on either side: of two on the same one, SQLite would begin at whichever comes first.
    if newest_first:
        statement = RECORD.where(place < begin, start >= bound).order_by(start.desc(), number.desc())
    else:
        statement = RECORD.where(place > begin, start <= bound).order_by(start, number)
    if of_camera:
        statement = statement.where(tracklets.c.camera == sa.bindparam("of_camera"))
    if ended_before:
        statement = statement.where(end < sa.bindparam("ended_before", type_=seconds))
    if filter.start is not None:
        statement = statement.where(end >= filter.start)
    if filter.min_quality > 0.0:
        statement = statement.where(tracklets.c.quality >= filter.min_quality)
    return statement.limit(sa.bindparam("size", type_=sa.Integer()))


def _parameters(walk: _Walk, after: Place | None, newest_first: bool) -> dict[str, Any]:
    """Of the walk's statement, but for the size."""
    if newest_first:
        end = (walk.last, _LAST_ID)
        place, bound = end if after is None else min(after, end), walk.first
    else:
        begin = (walk.first, 0)
        place, bound = begin if after is None else max(after, begin), walk.last
    named: dict[str, Any] = {"begin": place[0], "begin_id": place[1], "bound": bound}
    if walk.camera is not None:
        named["of_camera"] = walk.camera
    if walk.ended_before is not None:
        named["ended_before"] = walk.ended_before
    return named


def _rows(
    connection: sa.Connection, statement: AnySelect, parameters: dict[str, Any], size: int
) -> Iterator[AnyRow]:
    """The rows of a walk, read as they are asked for."""
    while True:
        rows = connection.execute(statement, {**parameters, "size": size}).all()
        yield from rows
        if len(rows) < size:
            return
        parameters = {**parameters, "begin": rows[-1].start, "begin_id": rows[-1].id}
        size *= 2
