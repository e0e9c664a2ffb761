"""Statements over tracklets and their trajectories."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from storage.database import encoding, hours
from storage.database.schema import (
    AnyRow,
    AnySelect,
    alerts,
    embeddings,
    erased_tracks,
    gallery,
    generations,
    sources,
    tracklets,
    trajectories,
)
from storage.errors import CropsExpired, TrackletNotFound
from storage.records import Int32Array, NewTracklet, TrackletRecord, Trajectory

PER_STATEMENT = 500
"""Ids in one IN (...): well below the variables that either database allows."""

Key = tuple[int, int]  # track_id, first frame: unique within a source

ThumbnailPath = Callable[[int, int], Path]
"""The thumbnail's file by tracklet id and media version."""

RECORD = sa.select(
    tracklets.c.id,
    tracklets.c.camera,
    # No join: whatever the planner thinks of it, a page is read along the index of its order.
    sa.select(sources.c.uri).where(sources.c.id == tracklets.c.source_id).scalar_subquery().label("source"),
    tracklets.c.start,
    tracklets.c.end,
    tracklets.c.num_frames,
    tracklets.c.quality,
    tracklets.c.track_id,
    tracklets.c.finished,
    tracklets.c.has_crops,
    tracklets.c.searchable,
    tracklets.c.media_version,
)
"""What `record` makes a `TrackletRecord` of: its fields in order, but for the thumbnail the media version."""

_VERSION = sa.select(tracklets.c.id, tracklets.c.media_version)


@dataclass(frozen=True)
class Stored:
    """What is stored under a key; see `NewTracklet.extent` and `media.py`.

    Attributes:
        whole: False once retention has taken its crops or embeddings.
    """

    id: int
    num_frames: int
    finished: bool
    media_version: int
    whole: bool = True


def chunks(ids: Iterable[int], size: int = PER_STATEMENT) -> list[list[int]]:
    """The distinct ids in lists of at most `size`, in rising order."""
    ordered = sorted({int(number) for number in ids})
    return [ordered[first : first + size] for first in range(0, len(ordered), size)]


def keys(
    connection: sa.Connection, source_id: int, track_ids: Iterable[int] | None = None
) -> dict[Key, Stored]:
    """A source's stored tracklets by key; `track_ids` narrows it to some tracks."""
    whole = sa.and_(tracklets.c.has_crops, tracklets.c.searchable).label("whole")
    columns = (tracklets.c.id, tracklets.c.num_frames, tracklets.c.finished, tracklets.c.media_version, whole)
    statement = sa.select(tracklets.c.track_id, tracklets.c.first_frame, *columns).where(
        tracklets.c.source_id == source_id
    )
    narrowed = (
        [statement]
        if track_ids is None
        else [statement.where(tracklets.c.track_id.in_(some)) for some in chunks(track_ids)]
    )
    return {
        (row[0], row[1]): Stored(row[2], row[3], row[4], row[5], bool(row[6]))
        for each in narrowed
        for row in connection.execute(each)
    }


def erased(connection: sa.Connection, source_id: int) -> set[Key]:
    """Keys of a running source that were erased: nothing is stored under them."""
    columns = (erased_tracks.c.track_id, erased_tracks.c.first_frame)
    rows = connection.execute(sa.select(*columns).where(erased_tracks.c.source_id == source_id))
    return {(row[0], row[1]) for row in rows}


def forget_erased(connection: sa.Connection, source_id: int) -> None:
    """For a source that gives none of its tracks again: it is done, or is begun anew with other numbers."""
    connection.execute(sa.delete(erased_tracks).where(erased_tracks.c.source_id == source_id))


def insert(connection: sa.Connection, source_id: int, tracklet: NewTracklet) -> int:
    """A new tracklet's row and trajectory; returns its id."""
    track_id, first_frame = tracklet.key
    camera = sa.select(sources.c.camera).where(sources.c.id == source_id).scalar_subquery()
    place = {"source_id": source_id, "camera": camera, "track_id": track_id, "first_frame": first_frame}
    values = _values(tracklet)
    added = sa.insert(tracklets).values(**place, **values)
    tracklet_id, name = connection.execute(added.returning(tracklets.c.id, tracklets.c.camera)).one()
    hours.add(connection, name, values["start"], values["end"])
    packed = encoding.pack_trajectory(tracklet.trajectory())
    connection.execute(sa.insert(trajectories), {"tracklet_id": tracklet_id, "packed": packed})
    return int(tracklet_id)


def replace(connection: sa.Connection, tracklet_id: int, tracklet: NewTracklet, media_version: int) -> None:
    """Puts more of the same tracklet in the place of what is stored; its embeddings go, of every model."""
    mine = tracklets.c.id == tracklet_id
    values = {**_values(tracklet), "media_version": media_version}
    hours.remove(connection, [tracklet_id])  # it may last longer now, and may have begun in another hour
    changed = sa.update(tracklets).where(mine).values(**values).returning(tracklets.c.camera)
    camera = connection.execute(changed).scalar_one()
    hours.add(connection, camera, values["start"], values["end"])
    packed = encoding.pack_trajectory(tracklet.trajectory())
    mine = trajectories.c.tracklet_id == tracklet_id
    connection.execute(sa.update(trajectories).where(mine).values(packed=packed))
    connection.execute(sa.delete(embeddings).where(embeddings.c.tracklet_id == tracklet_id))


def finish(connection: sa.Connection, ids: Iterable[int]) -> None:
    """Marks tracklets as finished."""
    for some in chunks(ids):
        connection.execute(sa.update(tracklets).where(tracklets.c.id.in_(some)).values(finished=True))


def finish_source(connection: sa.Connection, source_id: int) -> None:
    """Marks all tracklets of a source as finished."""
    open_ones = sa.and_(tracklets.c.source_id == source_id, ~tracklets.c.finished)
    connection.execute(sa.update(tracklets).where(open_ones).values(finished=True))


def _values(tracklet: NewTracklet) -> dict[str, Any]:
    return {
        "num_frames": len(tracklet.frame_indices),
        "start": float(tracklet.timestamps[0]),
        "end": float(tracklet.timestamps[-1]),
        "quality": tracklet.quality,
        "thumbnail": tracklet.thumbnail,
        "crop_lengths": encoding.pack_lengths(tracklet.crops),
        "crop_positions": encoding.pack_ints(tracklet.crop_positions),
        "finished": tracklet.finished,
    }


def records(
    connection: sa.Connection, thumbnail: ThumbnailPath, ids: Iterable[int]
) -> dict[int, TrackletRecord]:
    """The tracklets among `ids` that exist."""
    found = {}
    for some in chunks(ids):
        for row in connection.execute(RECORD.where(tracklets.c.id.in_(some))):
            found[row[0]] = record(row, thumbnail)
    return found


def newest_id(connection: sa.Connection, cameras: Iterable[str] | None = None) -> int:
    """The highest id of a tracklet of these cameras (None: of all); 0 where there is none."""
    statement = sa.select(sa.func.max(tracklets.c.id))
    if cameras is not None:
        statement = statement.where(tracklets.c.camera.in_(sorted(cameras)))
    return int(connection.scalar(statement) or 0)


def arrived(connection: sa.Connection, after_id: int, cameras: Iterable[str] | None) -> tuple[int, int]:
    """The newest id, and how many rows came in behind `after_id`; see `Gallery.arrived`."""
    newest = newest_id(connection)
    if newest <= after_id:
        return after_id, 0
    statement = sa.select(sa.func.count()).select_from(tracklets).where(tracklets.c.id > after_id)
    if cameras is not None:
        statement = statement.where(tracklets.c.camera.in_(sorted(cameras)))
    return newest, int(connection.execute(statement).scalar_one())


def crops(connection: sa.Connection, tracklet_id: int) -> tuple[int, Int32Array]:
    """Media version, and (K,) bytes of each crop.

    Raises:
        CropsExpired: Retention has taken them.
    """
    columns = (tracklets.c.media_version, tracklets.c.crop_lengths, tracklets.c.has_crops)
    row = _one(connection, tracklet_id, sa.select(*columns))
    if not row[2]:
        raise CropsExpired(f"the pictures of tracklet {tracklet_id} are deleted: their retention is over")
    return row[0], encoding.unpack_ints(row[1])


def crop_positions(connection: sa.Connection, tracklet_id: int) -> Int32Array:
    """(K,) position of each crop among the frames."""
    return encoding.unpack_ints(_one(connection, tracklet_id, sa.select(tracklets.c.crop_positions))[0])


def trajectory(connection: sa.Connection, tracklet_id: int) -> Trajectory:
    """A tracklet's boxes."""
    statement = sa.select(trajectories.c.packed).select_from(tracklets.join(trajectories))
    return encoding.unpack_trajectory(_one(connection, tracklet_id, statement)[0])


def media_versions(
    connection: sa.Connection, ids: Iterable[int], *more: sa.ColumnElement[bool]
) -> dict[int, int]:
    """The media version of those of `ids` that have a row, and of which `more` holds."""
    found: dict[int, int] = {}
    for some in chunks(ids):
        rows = connection.execute(_VERSION.where(tracklets.c.id.in_(some), *more))
        found.update((row[0], row[1]) for row in rows)
    return found


def num_frames(connection: sa.Connection, ids: Iterable[int]) -> dict[int, int]:
    """The number of frames of those of `ids` that have a row."""
    found: dict[int, int] = {}
    for some in chunks(ids):
        statement = sa.select(tracklets.c.id, tracklets.c.num_frames).where(tracklets.c.id.in_(some))
        found.update((row[0], row[1]) for row in connection.execute(statement))
    return found


def between(connection: sa.Connection, shelf: range) -> dict[int, int]:
    """The media versions of the rows within a range of ids that have crops."""
    inside = sa.and_(tracklets.c.id >= shelf.start, tracklets.c.id < shelf.stop, tracklets.c.has_crops)
    return {row[0]: row[1] for row in connection.execute(_VERSION.where(inside))}


def all_media_versions(connection: sa.Connection) -> Iterator[tuple[int, int]]:
    """(id, media version) of every row that has crops, by rising id, streamed."""
    statement = _VERSION.where(tracklets.c.has_crops).order_by(tracklets.c.id)
    for row in connection.execute(statement, execution_options={"yield_per": 10_000}):
        yield row[0], row[1]


def oldest(
    connection: sa.Connection,
    limit: int,
    before: float | None,
    cameras: Iterable[str] | None,
    after: tuple[float, int] | None = None,
) -> list[tuple[float, int]]:
    """(end, id) of finished tracklets in that order, behind `after` in it; see `Gallery.oldest_tracklets`."""
    untold = sa.select(1).where(alerts.c.tracklet_id == tracklets.c.id, alerts.c.status == "pending")
    wanted = (tracklets.c.finished, ~untold.correlate(tracklets).exists())
    statement = sa.select(tracklets.c.end, tracklets.c.id).where(*wanted)
    if before is not None:
        statement = statement.where(tracklets.c.end < before)
    if after is not None:
        statement = statement.where(sa.tuple_(tracklets.c.end, tracklets.c.id) > sa.tuple_(*after))
    if cameras is not None:
        of_cameras = sa.select(sources.c.id).where(sources.c.camera.in_(sorted(cameras)))
        statement = statement.where(tracklets.c.source_id.in_(of_cameras))
    rows = connection.execute(statement.order_by(tracklets.c.end, tracklets.c.id).limit(limit))
    return [(row[0], row[1]) for row in rows]


def of_source(connection: sa.Connection, source_id: int) -> list[int]:
    """The ids of one source's tracklets."""
    return list(connection.scalars(sa.select(tracklets.c.id).where(tracklets.c.source_id == source_id)))


def delete(connection: sa.Connection, ids: Sequence[int]) -> int:
    """Deletes rows with their trajectories and all embeddings; returns how many there were."""
    deleted = 0
    for some in chunks(ids):
        hours.remove(connection, some)
        deleted += connection.execute(sa.delete(tracklets).where(tracklets.c.id.in_(some))).rowcount
    if deleted:
        bump_revision(connection)
    return deleted


def bump_revision(connection: sa.Connection) -> None:
    """Tells every index that reading new rows alone is not enough."""
    connection.execute(sa.update(gallery).values(revision=gallery.c.revision + 1))


def counts(connection: sa.Connection) -> dict[str, int]:
    """How much the gallery holds; embeddings are those of the current generation."""
    current = sa.select(generations.c.id).where(generations.c.status == "current").scalar_subquery()
    statements = {
        "sources": sa.select(sa.func.count()).select_from(sources),
        "cameras": sa.select(sa.func.count(sources.c.camera.distinct())),
        "embeddings": sa.select(sa.func.count(embeddings.c.seq)).where(embeddings.c.generation_id == current),
        "generations": sa.select(sa.func.count()).select_from(generations),
    }
    found = {name: connection.execute(statement).scalar_one() for name, statement in statements.items()}
    return {"tracklets": hours.total(connection), **found}


def _one(connection: sa.Connection, tracklet_id: int, statement: AnySelect) -> AnyRow:
    row = connection.execute(statement.where(tracklets.c.id == tracklet_id)).one_or_none()
    if row is None:
        raise TrackletNotFound(f"no tracklet has the id {tracklet_id}: list them with 'tracklets'")
    return row


def record(row: AnyRow, thumbnail: ThumbnailPath) -> TrackletRecord:
    """A row of `RECORD`."""
    fields: tuple[Any, ...] = (*row[:-1], thumbnail(row[0], row[-1]))
    return TrackletRecord(*fields)
