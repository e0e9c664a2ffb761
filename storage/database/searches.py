"""Statements over searches and their examples."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import sqlalchemy as sa

from storage.case_records import Example, NewExample, SearchRecord, model_identity
from storage.database import cases, decisions, encoding, generations, schema, tracklets
from storage.database.accountability import search_examples, searches
from storage.database.schema import AnyRow, AnySelect, embeddings
from storage.errors import SearchNotFound, TrackletNotFound
from storage.records import EmbedderSpec, Float32Array, GalleryFilter, unit_vectors

_OF_TRACKLET = (schema.tracklets.c.camera, schema.tracklets.c.start, schema.tracklets.c.end)
_EXAMPLE = sa.select(search_examples, *_OF_TRACKLET).select_from(search_examples.outerjoin(schema.tracklets))


def filter_json(filter: GalleryFilter) -> dict[str, Any]:
    """A filter as JSON values; `filter_from` gives an equal one."""
    values = {each.name: getattr(filter, each.name) for each in fields(filter)}
    sets = {name: sorted(value) for name, value in values.items() if isinstance(value, frozenset)}
    return values | sets


def filter_from(values: Mapping[str, Any]) -> GalleryFilter:
    """The reverse of `filter_json`."""
    span = values.get("exclude_span")
    return GalleryFilter(**{**values, "exclude_span": None if span is None else tuple(span)})


def insert(
    connection: sa.Connection, values: dict[str, Any], filter: GalleryFilter, examples: Sequence[NewExample]
) -> SearchRecord:
    """A new search.

    Args:
        values: Columns but the filter. Without a model, or with None, it is the gallery's current one.

    Raises:
        CaseNotFound: Its case does not exist (any more).
        TrackletNotFound: One of its examples does not exist (any more).
    """
    if values["case_id"] is not None:
        cases.get(connection, values["case_id"])
    row = {**_with_model(connection, values), "filter": filter_json(filter)}
    search_id = connection.execute(sa.insert(searches).returning(searches.c.id), row).scalar_one()
    add_examples(connection, search_id, examples)
    return get(connection, search_id)


def _with_model(connection: sa.Connection, values: Mapping[str, Any]) -> dict[str, Any]:
    """`values`, where those with a threshold say which model it belongs to."""
    if "threshold" not in values or values.get("model") is not None:
        return dict(values)
    current = generations.current(connection)
    return {**values, "model": model_identity(None if current is None else current[1])}


def get(connection: sa.Connection, search_id: int) -> SearchRecord:
    """One search.

    Raises:
        SearchNotFound: It does not exist (any more).
    """
    found = _records(connection, sa.select(searches).where(searches.c.id == search_id))
    if not found:
        raise SearchNotFound(f"no search has the id {search_id}: list them to see which there are")
    return found[0]


def listed(
    connection: sa.Connection, author: str | None, case_id: int | None, before: int | None, limit: int
) -> list[SearchRecord]:
    """Searches, newest first; None does not narrow."""
    statement = sa.select(searches).order_by(searches.c.id.desc()).limit(limit)
    if author is not None:
        statement = statement.where(searches.c.author == author)
    if case_id is not None:
        statement = statement.where(searches.c.case_id == case_id)
    if before is not None:
        statement = statement.where(searches.c.id < before)
    return _records(connection, statement)


def _records(connection: sa.Connection, statement: AnySelect) -> list[SearchRecord]:
    rows = connection.execute(statement).all()
    ids = [row.id for row in rows]
    examples, decided = _examples(connection, ids), decisions.standing(connection, ids)
    return [
        SearchRecord(
            **{
                **row._mapping,
                "filter": filter_from(row._mapping["filter"]),
                "examples": tuple(examples.get(row.id, ())),
                "decisions": tuple(decided.get(row.id, ())),
            }
        )
        for row in rows
    ]


def _examples(connection: sa.Connection, search_ids: Iterable[int]) -> dict[int, list[Example]]:
    found: dict[int, list[Example]] = {}
    for some in tracklets.chunks(search_ids):
        wanted = _EXAMPLE.where(search_examples.c.search_id.in_(some))
        for row in connection.execute(wanted.order_by(search_examples.c.id)):
            example = Example(row.id, row.tracklet_id, row.description, _crops(row), *_seen(row))
            found.setdefault(row.search_id, []).append(example)
    return found


def _seen(row: AnyRow) -> tuple[str | None, tuple[str, float, float] | None]:
    """Camera and span of a row of `_EXAMPLE`."""
    if row.tracklet_id is not None:
        return row.camera, (row.camera, row.start, row.end)
    span = row.description.get("span")
    camera = row.description.get("camera") or (span[0] if span else None)
    return camera, None if span is None else (str(span[0]), float(span[1]), float(span[2]))


def _crops(row: AnyRow) -> tuple[bytes, ...]:
    if row.crops is None:
        return ()
    ends = np.cumsum(encoding.unpack_ints(row.crop_lengths)).tolist()
    return tuple(row.crops[begin:end] for begin, end in zip([0, *ends], ends, strict=False))


def add_examples(connection: sa.Connection, search_id: int, examples: Sequence[NewExample]) -> None:
    """More examples of a search that is there.

    Raises:
        TrackletNotFound: A tracklet among them does not exist (any more).
    """
    stored = [example.tracklet_id for example in examples if example.tracklet_id is not None]
    gone = set(stored) - tracklets.media_versions(connection, stored).keys()
    if gone:
        raise TrackletNotFound(f"no tracklet has the id {min(gone)}: list them with 'tracklets'")
    rows = [_example_row(connection, search_id, example) for example in examples]
    if rows:
        connection.execute(sa.insert(search_examples), rows)


def _example_row(connection: sa.Connection, search_id: int, example: NewExample) -> dict[str, Any]:
    row: dict[str, Any] = {
        "search_id": search_id,
        "tracklet_id": example.tracklet_id,
        "description": dict(example.description),
        "crops": b"".join(example.crops) or None,
        "crop_lengths": encoding.pack_lengths(example.crops) if example.crops else None,
        "generation_id": None,
        "vector": None,
    }
    if example.vector is not None:
        generation_id = _generation(connection, example.spec, len(example.vector))
        if generation_id is not None:  # else it is of a model that the gallery does not have (any more)
            row["generation_id"] = generation_id
            row["vector"] = encoding.pack_vectors(example.vector[None])[0]
    return row


def _generation(connection: sa.Connection, spec: EmbedderSpec | None, dimension: int) -> int | None:
    """Id of the generation that `spec` made, or of the current one."""
    if spec is not None:
        return next((each.id for each in generations.every(connection) if each.spec == spec), None)
    current = generations.current(connection)
    if current is None:
        return None
    if current[1].dimension != dimension:
        raise ValueError(f"the vector has {dimension} numbers, those of {current[1]} have another length")
    return current[0]


def vectors(connection: sa.Connection, search_id: int, generation_id: int) -> tuple[list[int], Float32Array]:
    """Ids (N,) of the examples that have an embedding of the generation, and those, (N, D) of norm 1.

    Raises:
        GenerationNotFound: The generation does not exist (any more).
    """
    dimension = generations.spec(connection, generation_id).dimension
    of_tracklet = sa.and_(
        embeddings.c.tracklet_id == search_examples.c.tracklet_id,
        embeddings.c.generation_id == generation_id,
    )
    own = sa.case((search_examples.c.generation_id == generation_id, search_examples.c.vector))
    statement = (
        sa.select(search_examples.c.id, sa.func.coalesce(embeddings.c.vector, own))
        .select_from(search_examples.outerjoin(embeddings, of_tracklet))
        .where(search_examples.c.search_id == search_id)
        .order_by(search_examples.c.id)
    )
    rows = [(row[0], row[1]) for row in connection.execute(statement) if row[1] is not None]
    return [row[0] for row in rows], encoding.unpack_vectors([row[1] for row in rows], dimension)


def set_vector(connection: sa.Connection, example_id: int, generation_id: int, vector: Float32Array) -> None:
    """Stores the embedding (D,) of an example's crops; an example that is gone is ignored.

    Raises:
        GenerationNotFound: The generation does not exist (any more).
    """
    checked = unit_vectors(vector[None], generations.spec(connection, generation_id).dimension)
    values = {"generation_id": generation_id, "vector": encoding.pack_vectors(checked)[0]}
    connection.execute(sa.update(search_examples).where(search_examples.c.id == example_id).values(**values))


def update(connection: sa.Connection, search_id: int, values: dict[str, Any]) -> SearchRecord:
    """Changes columns of a search; a threshold without a model is the gallery's current one's.

    Raises:
        SearchNotFound: It does not exist (any more).
        CaseNotFound: The case it is put into does not exist (any more).
        CaseHeld: The case it would be taken out of is under legal hold.
    """
    search = get(connection, search_id)
    if "case_id" in values and values["case_id"] != search.case_id:
        cases.refuse_held(connection, search.case_id, "moved")
        if values["case_id"] is not None:
            cases.get(connection, values["case_id"])
    changed = _with_model(connection, values)
    if changed:
        connection.execute(sa.update(searches).where(searches.c.id == search_id).values(**changed))
    return get(connection, search_id)


def delete(connection: sa.Connection, search_id: int) -> None:
    """Deletes a search with its examples and decisions.

    Raises:
        SearchNotFound: It does not exist (any more).
        CaseHeld: Its case is under legal hold.
    """
    cases.refuse_held(connection, get(connection, search_id).case_id, "deleted")
    connection.execute(sa.delete(searches).where(searches.c.id == search_id))
