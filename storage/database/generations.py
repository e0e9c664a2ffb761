"""Statements over generations: the embeddings of one model each, and which of them is the current one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import sqlalchemy as sa

from storage.database import cursors, encoding
from storage.database.schema import AnyRow, embeddings, generations, tracklets
from storage.database.tracklets import bump_revision, chunks, media_versions
from storage.errors import GenerationChanged, GenerationIncomplete, GenerationNotFound, TrackletNotFound
from storage.records import EmbedderSpec, Float32Array, Generation

_num_embeddings = (
    sa.select(sa.func.count())
    .where(embeddings.c.generation_id == generations.c.id)
    .correlate(generations)
    .scalar_subquery()
    .label("num_embeddings")
)


def every(connection: sa.Connection) -> list[Generation]:
    """All generations, oldest first."""
    statement = sa.select(generations, _num_embeddings).order_by(generations.c.id)
    return [_record(row) for row in connection.execute(statement)]


def get(connection: sa.Connection, generation_id: int) -> Generation:
    """One generation.

    Raises:
        GenerationNotFound: There is none with that id, perhaps because another one was switched to meanwhile.
    """
    statement = sa.select(generations, _num_embeddings).where(generations.c.id == generation_id)
    row = connection.execute(statement).one_or_none()
    if row is None:
        raise _not_found(generation_id)
    return _record(row)


def with_status(connection: sa.Connection, status: str) -> Generation | None:
    """The current or the previous generation, if there is one."""
    found = connection.scalar(sa.select(generations.c.id).where(generations.c.status == status))
    return None if found is None else get(connection, found)


def current(connection: sa.Connection) -> tuple[int, EmbedderSpec] | None:
    """Id and model of the current generation, whose embeddings are not counted: quick however many."""
    row = connection.execute(sa.select(generations).where(generations.c.status == "current")).one_or_none()
    return None if row is None else (int(row.id), _spec(row))


def spec(connection: sa.Connection, generation_id: int) -> EmbedderSpec:
    """A generation's model, without counting its embeddings: quick however many.

    Raises:
        GenerationNotFound: There is none with that id.
    """
    statement = sa.select(generations).where(generations.c.id == generation_id)
    row = connection.execute(statement).one_or_none()
    if row is None:
        raise _not_found(generation_id)
    return _spec(row)


def begin(connection: sa.Connection, spec: EmbedderSpec) -> Generation:
    """The generation of `spec`; a new one has the status building."""
    identity = {
        "name": spec.name,
        "weights_hash": spec.weights_hash,
        "preprocessing_hash": spec.preprocessing_hash,
        "dimension": spec.dimension,
    }
    same = [generations.c[name] == value for name, value in identity.items()]
    found = connection.scalar(sa.select(generations.c.id).where(*same))
    if found is None:
        statement = sa.insert(generations).values(**identity, config=dict(spec.config), status="building")
        found = connection.execute(statement.returning(generations.c.id)).scalar_one()
    return get(connection, found)


def for_new_tracklets(connection: sa.Connection, spec: EmbedderSpec) -> int:
    """The current generation's id, for tracklets embedded by `spec`. An empty gallery takes any model.

    Raises:
        GenerationChanged: The gallery's current embeddings are by another model.
    """
    found = current(connection)
    if found is not None and found[1] == spec:
        return found[0]
    if found is not None and connection.scalar(sa.select(tracklets.c.id).limit(1)) is not None:
        raise GenerationChanged(
            f"the gallery's embeddings are by {found[1]}, these by {spec}: "
            f"ingest with the embedder {found[1].name}, or re-index the gallery with {spec.name} first"
        )
    fresh = begin(connection, spec).id
    _set_status(connection, fresh, "current")
    _delete(connection, sa.and_(generations.c.id != fresh, generations.c.status != "building"))
    bump_revision(connection)
    return fresh


def missing(connection: sa.Connection, generation_id: int, after_id: int, limit: int) -> list[int]:
    """Tracklets behind `after_id` without an embedding in the generation, in rising order."""
    statement = sa.select(tracklets.c.id).where(tracklets.c.id > after_id, _lacks(generation_id))
    return list(connection.scalars(statement.order_by(tracklets.c.id).limit(limit)))


def num_missing(connection: sa.Connection, generation_id: int) -> int:
    """How many tracklets should have an embedding in the generation, and have none."""
    return _count(connection, _lacks(generation_id))


def num_without_crops(connection: sa.Connection) -> int:
    """How many tracklets have an embedding in the current generation and no crops left."""
    found = current(connection)
    return 0 if found is None else _count(connection, ~tracklets.c.has_crops, _has(found[0]))


def num_lost(connection: sa.Connection, former_id: int, generation_id: int) -> int:
    """How many tracklets have an embedding in the former generation and none in the other one."""
    return _count(connection, _has(former_id), _lacks(generation_id))


def _count(connection: sa.Connection, *which: sa.ColumnElement[bool]) -> int:
    """How many tracklets fulfil all conditions."""
    statement = sa.select(sa.func.count()).select_from(tracklets).where(*which)
    return int(connection.execute(statement).scalar_one())


def add(connection: sa.Connection, generation_id: int, ids: Sequence[int], vectors: Float32Array) -> int:
    """Adds embeddings (N, D), except to tracklets that are gone, expired or have one; returns how many."""
    there = media_versions(connection, ids, tracklets.c.searchable)
    wanted = there.keys() - _embedded(connection, generation_id, ids)
    packed = dict(zip((int(number) for number in ids), encoding.pack_vectors(vectors), strict=True))
    rows = [
        {"generation_id": generation_id, "tracklet_id": tracklet_id, "vector": vector}
        for tracklet_id, vector in packed.items()
        if tracklet_id in wanted
    ]
    if rows:
        connection.execute(sa.insert(embeddings), rows)
    return len(rows)


def _embedded(connection: sa.Connection, generation_id: int, ids: Sequence[int]) -> set[int]:
    found: set[int] = set()
    for some in chunks(ids):
        wanted = (embeddings.c.generation_id == generation_id, embeddings.c.tracklet_id.in_(some))
        found.update(connection.scalars(sa.select(embeddings.c.tracklet_id).where(*wanted)))
    return found


def vector(connection: sa.Connection, tracklet_id: int, generation: Generation) -> Float32Array:
    """(D,) float32, the stored embedding of a tracklet.

    Raises:
        TrackletNotFound: The tracklet is gone, or has no embedding in that generation.
    """
    wanted = (embeddings.c.tracklet_id == tracklet_id, embeddings.c.generation_id == generation.id)
    packed = connection.scalar(sa.select(embeddings.c.vector).where(*wanted))
    if packed is None and media_versions(connection, [tracklet_id], ~tracklets.c.searchable):
        raise TrackletNotFound(f"tracklet {tracklet_id} cannot be searched for: its retention is over")
    if packed is None:
        raise TrackletNotFound(
            f"no tracklet with an embedding by {generation.spec.name} has the id {tracklet_id}: "
            "list them with 'tracklets', or re-index"
        )
    vectors = encoding.unpack_vectors([packed], generation.spec.dimension)  # (1, D)
    return vectors.reshape(-1)


def vectors(
    connection: sa.Connection, ids: Iterable[int], generation_id: int
) -> tuple[list[int], Float32Array]:
    """Those of the tracklets `ids` that have an embedding in the generation, by rising id, and those (N, D).

    Raises:
        GenerationNotFound: There is none with that id.
    """
    dimension = spec(connection, generation_id).dimension
    rows: list[tuple[int, bytes]] = []
    for some in chunks(ids):
        wanted = (embeddings.c.tracklet_id.in_(some), embeddings.c.generation_id == generation_id)
        statement = sa.select(embeddings.c.tracklet_id, embeddings.c.vector).where(*wanted)
        found = connection.execute(statement.order_by(embeddings.c.tracklet_id))
        rows += [(row[0], row[1]) for row in found]
    return [row[0] for row in rows], encoding.unpack_vectors([row[1] for row in rows], dimension)


def stored(
    connection: sa.Connection, generation: Generation, after_seq: int, limit: int
) -> tuple[int, list[int], Float32Array]:
    """Up to `limit` embeddings in the order they were written: last number read, ids (N,), vectors (N, D)."""
    statement = (
        sa.select(embeddings.c.seq, embeddings.c.tracklet_id, embeddings.c.vector)
        .where(embeddings.c.generation_id == generation.id, embeddings.c.seq > after_seq)
        .order_by(embeddings.c.seq)
        .limit(limit)
    )
    rows = connection.execute(statement).all()
    if not rows:
        return after_seq, [], np.zeros((0, generation.spec.dimension), np.float32)
    seqs, ids, packed = zip(*rows, strict=True)
    return seqs[-1], list(ids), encoding.unpack_vectors(packed, generation.spec.dimension)


def switch(connection: sa.Connection, generation_id: int, allowed_missing: int) -> None:
    """Makes a generation the current one and the current one the previous; all others are deleted.

    Raises:
        GenerationIncomplete: More than `allowed_missing` tracklets have no embedding in it.
    """
    target = get(connection, generation_id)
    if target.status == "current":
        return
    lacking = num_missing(connection, generation_id)
    if lacking > allowed_missing:
        raise GenerationIncomplete(
            f"{lacking} tracklets have no embedding by {target.spec.name} yet ({allowed_missing} allowed): "
            "run the re-index again to embed them"
        )
    former = with_status(connection, "current")
    _exchange(connection, target, former)
    kept = [generation_id] if former is None else [generation_id, former.id]
    _delete(connection, generations.c.id.not_in(kept))


def roll_back(connection: sa.Connection) -> Generation:
    """Makes the previous generation the current one again, and the current one the previous.

    Raises:
        GenerationNotFound: There is no previous one.
    """
    previous = with_status(connection, "previous")
    if previous is None:
        raise GenerationNotFound("no previous generation to go back to: re-index with the model you want")
    _exchange(connection, previous, with_status(connection, "current"))
    return get(connection, previous.id)


def _not_found(generation_id: int) -> GenerationNotFound:
    return GenerationNotFound(f"no generation has the id {generation_id} (any more): begin the re-index anew")


def _exchange(connection: sa.Connection, target: Generation, former: Generation | None) -> None:
    if former is not None:
        cursors.carry_over(connection, target.id, former.id)
        _set_status(connection, former.id, "previous")
    _set_status(connection, target.id, "current")
    bump_revision(connection)


def _set_status(connection: sa.Connection, generation_id: int, status: str) -> None:
    connection.execute(sa.update(generations).where(generations.c.id == generation_id).values(status=status))


def _delete(connection: sa.Connection, which: sa.ColumnElement[bool]) -> None:
    connection.execute(sa.delete(generations).where(which))  # embeddings go with them


def _has(generation_id: int) -> sa.ColumnElement[bool]:
    row = sa.select(1).where(
        embeddings.c.tracklet_id == tracklets.c.id, embeddings.c.generation_id == generation_id
    )
    return row.correlate(tracklets).exists()


def _lacks(generation_id: int) -> sa.ColumnElement[bool]:
    return sa.and_(tracklets.c.searchable, ~_has(generation_id))


def _spec(row: AnyRow) -> EmbedderSpec:
    return EmbedderSpec(row.name, row.weights_hash, row.preprocessing_hash, row.dimension, row.config)


def _record(row: AnyRow) -> Generation:
    return Generation(row.id, _spec(row), row.status, row.num_embeddings)
