"""Statements over the erasure of persons: what else shows them, and its deletion."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import sqlalchemy as sa

from storage.database import audit, camera_views, encoding, tracklets
from storage.database.accountability import audit_crops, search_examples, searches
from storage.database.accountability import decisions as decision_rows
from storage.database.decisions import stands
from storage.database.schema import (
    alerts,
    embeddings,
    erased_tracks,
    metadata,
    sources,
    watch_examples,
    watches,
)
from storage.database.schema import camera_views as view_rows
from storage.database.schema import tracklets as tracklet_rows
from storage.database.tracklets import chunks
from storage.records import Trajectory

_NEAR_S = 1.0
_SAME_IOU = 0.3  # as much as makes a drawn box the detection that is meant (pipeline/pointing.py)

_Span = tuple[str, float, float]  # camera, start, end


@dataclass(frozen=True)
class Scope:
    """What an erasure is about.

    Attributes:
        ids: The tracklets, rising.
        searches: Searches for the same person: uploads among their examples, and what the audit trail keeps
            of their pictures, show that person.
        uploads: Those examples.
        left_empty: Those of the searches that keep no example.
        watch_pictures: Watch examples that are pictures, of the watches with one of the tracklets as another.
        empty_watches: Those of the watches that keep no example.
        spans: Camera, start and end of each tracklet: the camera's last frame may be of that time.
    """

    ids: tuple[int, ...]
    searches: tuple[int, ...]
    uploads: tuple[int, ...]
    left_empty: tuple[int, ...]
    watch_pictures: tuple[int, ...]
    empty_watches: tuple[int, ...]
    spans: tuple[_Span, ...]


def scope(connection: sa.Connection, ids: Iterable[int], also_searches: Iterable[int]) -> Scope:
    """What shows the persons of some tracklets; ids that do not exist are left out."""
    spans: dict[int, _Span] = {}
    columns = (tracklet_rows.c.id, tracklet_rows.c.camera, tracklet_rows.c.start, tracklet_rows.c.end)
    for some in chunks(ids):
        rows = connection.execute(sa.select(*columns).where(tracklet_rows.c.id.in_(some)))
        spans |= {row[0]: (row[1], row[2], row[3]) for row in rows}
    concerned = _searches_for(connection, spans, also_searches)
    watched = _with_example(connection, watch_examples.c.watch_id, spans)
    return Scope(
        tuple(sorted(spans)),
        tuple(sorted(concerned)),
        *_pictures_and_left_empty(connection, search_examples.c.search_id, concerned, spans),
        *_pictures_and_left_empty(connection, watch_examples.c.watch_id, watched, spans),
        tuple(spans[number] for number in sorted(spans)),
    )


def _searches_for(
    connection: sa.Connection, ids: Mapping[int, _Span], also_searches: Iterable[int]
) -> set[int]:
    """Searches with one of them as an example, a box around it, or decided the same; and those named."""
    found = _with_example(connection, search_examples.c.search_id, ids) | _pointed_at(connection, ids)
    for some in chunks(also_searches):
        found.update(connection.scalars(sa.select(searches.c.id).where(searches.c.id.in_(some))))
    for some in chunks(ids):
        same = (decision_rows.c.tracklet_id.in_(some), decision_rows.c.verdict == "same", stands())
        found.update(connection.scalars(sa.select(decision_rows.c.search_id).where(*same)))
    return found


def _pointed_at(connection: sa.Connection, spans: Mapping[int, _Span]) -> set[int]:
    """Searches with an example that is a box drawn in a recording around one of the tracklets."""
    found = set()
    drawn = sa.select(search_examples.c.search_id, search_examples.c.description)
    for search_id, told in connection.execute(drawn.where(search_examples.c.tracklet_id.is_(None))):
        moment = _moment(told)
        if moment is None:
            continue
        camera, seconds, box = moment
        for tracklet_id, (seen_by, start, end) in spans.items():
            near = seen_by == camera and start - _NEAR_S <= seconds <= end + _NEAR_S
            if near and _stands_in(tracklets.trajectory(connection, tracklet_id), seconds, box):
                found.add(search_id)
    return found


def _moment(told: Mapping[str, Any]) -> tuple[str, float, tuple[float, ...]] | None:
    """Camera, time (seconds UTC) and box that the description of an example names; None if it names none."""
    try:
        camera, start, _ = told["span"]
        box = tuple(float(edge) for edge in told["box"])
        return str(camera), float(start) - float(told["followed_s"][0]) + float(told["at"]), box
    except (KeyError, TypeError, ValueError, IndexError):
        return None


def _stands_in(seen: Trajectory, seconds: float, box: tuple[float, ...]) -> bool:
    """Whether somebody was in a box at about that time: by the overlap of the two over all they cover."""
    nearest = int(np.argmin(np.abs(seen.timestamps - seconds)))
    if abs(float(seen.timestamps[nearest]) - seconds) > _NEAR_S or len(box) != 4:
        return False
    low, high = np.maximum(seen.xyxy[nearest][:2], box[:2]), np.minimum(seen.xyxy[nearest][2:], box[2:])
    shared = float(np.prod(np.maximum(high - low, 0.0)))
    areas = [float(np.prod(np.subtract(each[2:], each[:2]))) for each in (seen.xyxy[nearest], box)]
    return shared >= _SAME_IOU * (sum(areas) - shared)


def _with_example(connection: sa.Connection, owner: sa.Column[Any], ids: Iterable[int]) -> set[int]:
    """Searches or watches, whose examples `owner` tells apart, with one of the tracklets as an example."""
    found: set[int] = set()
    for some in chunks(ids):
        shown = owner.table.c.tracklet_id.in_(some)
        found.update(connection.scalars(sa.select(owner).where(shown)))
    return found


def _pictures_and_left_empty(
    connection: sa.Connection, owner: sa.Column[Any], concerned: set[int], ids: Collection[int]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Of searches or watches for a person: the examples that are no tracklets, and which keep no example."""
    examples, given, kept = owner.table.c, [], set()
    for some in chunks(concerned):
        wanted = sa.select(owner.label("owner"), examples.id, examples.tracklet_id)
        for row in connection.execute(wanted.where(owner.in_(some))):
            if row.tracklet_id is None:
                given.append(row.id)
            elif row.tracklet_id not in ids:
                kept.add(row.owner)
    return tuple(sorted(given)), tuple(sorted(concerned - kept))


def counts(connection: sa.Connection, scope: Scope) -> dict[str, int]:
    """How many rows an erasure deletes, by table; frames of cameras among them."""
    found = {"tracklets": len(scope.ids)}
    for table in _referring():
        found[table.name] = _count(connection, table, table.c.tracklet_id, scope.ids)
    found["search_examples"] += len(scope.uploads)
    found["searches"] = len(scope.left_empty)
    found["watch_examples"] += len(scope.watch_pictures)
    found["watches"] = len(scope.empty_watches)
    found["camera_frames"] = len(_frames(connection, scope))
    for table, other, numbers in (
        (audit_crops, "search_id", scope.searches),
        (decision_rows, "search_id", scope.left_empty),
        (alerts, "watch_id", scope.empty_watches),
    ):
        concerned = {"tracklet_id": scope.ids, other: numbers}
        found[table.name] = len(set(_of_either(connection, table.c.id, concerned)))
    return found


def searches_changed(connection: sa.Connection, scope: Scope) -> tuple[int, ...]:
    """Searches that an erasure deletes, or takes examples or decisions from; rising."""
    found = set(scope.left_empty)
    for column, concerned in (
        (search_examples.c.search_id, {"tracklet_id": scope.ids, "id": scope.uploads}),
        (decision_rows.c.search_id, {"tracklet_id": scope.ids}),
    ):
        found.update(_of_either(connection, column, concerned))
    return tuple(sorted(found))


def _referring() -> list[sa.Table]:
    """Every table that names tracklets."""
    return [table for table in metadata.sorted_tables if "tracklet_id" in table.c]


def _count(connection: sa.Connection, table: sa.Table, column: sa.Column[Any], ids: Iterable[int]) -> int:
    number = 0
    for some in chunks(ids):
        statement = sa.select(sa.func.count()).select_from(table).where(column.in_(some))
        number += connection.execute(statement).scalar_one()
    return number


def _of_either(
    connection: sa.Connection, wanted: sa.Column[Any], concerned: Mapping[str, Iterable[int]]
) -> Iterator[Any]:
    """A column of the rows that have one of the ids in one of the columns; perhaps twice."""
    for name, ids in concerned.items():
        for some in chunks(ids):
            yield from connection.scalars(sa.select(wanted).where(wanted.table.c[name].in_(some)))


def pictures(connection: sa.Connection, scope: Scope) -> Iterator[tuple[str, bytes]]:
    """Every JPEG file in the tables that an erasure deletes, and what to call it."""
    for some in chunks(scope.uploads):
        uploaded = search_examples.c.id.in_(some)
        for row in connection.execute(sa.select(search_examples).where(uploaded)):
            first = 0
            for length in encoding.unpack_ints(row.crop_lengths or b"").tolist():
                yield f"a picture of search {row.search_id}", row.crops[first : first + length]
                first += length
    for some in chunks(scope.watch_pictures):
        for row in connection.execute(sa.select(watch_examples).where(watch_examples.c.id.in_(some))):
            yield f"a picture of watch {row.watch_id}", row.crop
    shown = {"tracklet_id": scope.ids, "search_id": scope.searches}
    for jpeg in _of_either(connection, audit_crops.c.crop, shown):
        yield "a picture of the audit trail", jpeg
    for camera, jpeg in _frames(connection, scope).items():
        yield f"the last frame of camera {camera}", jpeg


def uploaded_vectors(connection: sa.Connection, scope: Scope) -> Iterator[tuple[int, int, bytes]]:
    """Search, generation and vector (float16) of every uploaded example that has one."""
    columns = (search_examples.c.search_id, search_examples.c.generation_id, search_examples.c.vector)
    for some in chunks(scope.uploads):
        embedded = (search_examples.c.id.in_(some), search_examples.c.generation_id.is_not(None))
        for row in connection.execute(sa.select(*columns).where(*embedded)):
            if row[2] is not None:
                yield row[0], row[1], row[2]


def _frames(connection: sa.Connection, scope: Scope) -> dict[str, bytes]:
    """By camera, the last frames of a time at which an erased tracklet was seen there."""
    rows = connection.execute(sa.select(view_rows).where(view_rows.c.frame.is_not(None)))
    taken = {row.camera: (row.frame_time, row.frame) for row in rows if row.frame_time is not None}
    return {
        camera: taken[camera][1]
        for camera, start, end in scope.spans
        if camera in taken and start <= taken[camera][0] <= end
    }


def embeddings_of(connection: sa.Connection, ids: Iterable[int]) -> Iterator[tuple[int, int, bytes]]:
    """Tracklet, generation and vector (float16) of every embedding of some tracklets."""
    columns = (embeddings.c.tracklet_id, embeddings.c.generation_id, embeddings.c.vector)
    for some in chunks(ids):
        for row in connection.execute(sa.select(*columns).where(embeddings.c.tracklet_id.in_(some))):
            yield row[0], row[1], row[2]


def delete(connection: sa.Connection, scope: Scope) -> None:
    """Deletes all that an erasure is about."""
    _bar_return(connection, scope.ids)
    audit.erase_crops(connection, scope.ids, scope.searches)
    for camera, start, end in scope.spans:
        camera_views.forget_frames(connection, camera, start, end)
    for table, ids in (
        (search_examples, scope.uploads),
        (searches, scope.left_empty),
        (watch_examples, scope.watch_pictures),
        (watches, scope.empty_watches),
    ):
        for some in chunks(ids):
            connection.execute(sa.delete(table).where(table.c.id.in_(some)))
    tracklets.delete(connection, scope.ids)


def _bar_return(connection: sa.Connection, ids: Iterable[int]) -> None:
    """Notes the tracks of sources that are still being read, which would give them again."""
    key = (tracklet_rows.c.source_id, tracklet_rows.c.track_id, tracklet_rows.c.first_frame)
    for some in chunks(ids):
        running = (tracklet_rows.c.id.in_(some), sources.c.status == "running")
        statement = sa.select(*key).select_from(tracklet_rows.join(sources)).where(*running)
        noted = [dict(row._mapping) for row in connection.execute(statement)]
        if noted:
            connection.execute(sa.insert(erased_tracks), noted)


def remains(connection: sa.Connection, scope: Scope) -> list[str]:
    """Rows of any table that still refer to what was erased, in words."""
    gone: list[tuple[sa.Table, sa.Column[Any], tuple[int, ...]]] = [
        (tracklet_rows, tracklet_rows.c.id, scope.ids),
        (searches, searches.c.id, scope.left_empty),
        (search_examples, search_examples.c.id, scope.uploads),
        (audit_crops, audit_crops.c.search_id, scope.searches),
        (watches, watches.c.id, scope.empty_watches),
        (watch_examples, watch_examples.c.id, scope.watch_pictures),
    ]
    gone += [(table, table.c.tracklet_id, scope.ids) for table in _referring()]
    for name, empty in (("search_id", scope.left_empty), ("watch_id", scope.empty_watches)):
        gone += [(table, table.c[name], empty) for table in metadata.sorted_tables if name in table.c]
    found = []
    for table, column, ids in gone:
        number = _count(connection, table, column, ids)
        if number:
            found.append(f"{number} rows of the table {table.name} have a {column.name} that was erased")
    return found


def has_vector_with(connection: sa.Connection, piece: bytes) -> bool:
    """Whether a stored embedding holds those bytes; reads every embedding."""
    sqlite = connection.dialect.name == "sqlite"
    find = sa.func.instr if sqlite else sa.func.pg_catalog.position
    holds = find(embeddings.c.vector, piece) > 0
    return connection.scalar(sa.select(embeddings.c.seq).where(holds).limit(1)) is not None
