"""The index as a view of the database: it reads new and refined rows, and drops those that are gone."""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from storage.columns import FilterColumns
from storage.database import encoding
from storage.database.engine import Database
from storage.database.schema import AnyRow, AnySelect, embeddings, gallery, generations, sources, tracklets
from storage.errors import WrongEmbedder
from storage.locks import ReadWriteLock
from storage.records import EmbedderSpec, Float32Array, GalleryFilter
from storage.snapshot import SnapshotFolder, SnapshotMark
from storage.vector_index import IdArray, Ranked, VectorIndex

_log = logging.getLogger(__name__)

_ROWS_AT_ONCE = 8192
_SAMPLE = 64  # vectors of a snapshot that are compared with the database
_SAVE_AFTER = 50_000  # changed rows after which a long-running process saves without being closed


@dataclass(frozen=True)
class _State:
    """What the database says now: the current generation, its last embedding, and the gallery's revision."""

    generation: int
    spec: EmbedderSpec
    last_seq: int
    revision: int


@dataclass
class _View:
    """The index of one generation, and how far it has read."""

    generation: int
    spec: EmbedderSpec
    index: VectorIndex
    columns: FilterColumns
    last_seq: int
    revision: int
    num_unsaved: int = 0


class GalleryIndex:
    """Search over the current generation, for any number of threads. Loads on first use."""

    def __init__(self, database: Database, snapshots: SnapshotFolder, uuid: str) -> None:
        self._database = database
        self._snapshots = snapshots
        self._uuid = uuid
        self._view: _View | None = None
        self._refreshing = threading.Lock()  # one thread reads the database at a time
        self._lock = ReadWriteLock()  # guards what searches look at

    def __len__(self) -> int:
        """How many tracklets the last search could have found; 0 before the first."""
        view = self._view
        return 0 if view is None else len(view.index)

    def num_of(self, cameras: Collection[str]) -> int:
        """As `len`, of these cameras."""
        with self._lock.reading():
            return 0 if self._view is None else self._view.columns.num_of(cameras)

    def search(
        self, queries: Float32Array, spec: EmbedderSpec, top_k: int, filter: GalleryFilter
    ) -> list[Ranked]:
        """Ranks the rows that were committed before the call; see `Gallery.search`."""
        self.refresh()
        with self._lock.reading():
            view = self._view
            if view is None:
                return [(np.zeros(0, np.int64), np.zeros(0)) for _ in queries]
            if view.spec != spec:
                raise WrongEmbedder(
                    f"the gallery's embeddings are by {view.spec}, the query's by {spec}: "
                    f"query with {view.spec.name}, or re-index the gallery with {spec.name}"
                )
            return view.index.search(queries, top_k, view.columns.matching(filter))

    def embeddings(self, ids: IdArray, generation: int) -> tuple[IdArray, Float32Array] | None:
        """Those of the ids (N,) that are committed and indexed, and their embeddings.

        None if they are not in memory: nobody has searched yet, or they are of another generation.
        """
        if self._view is None:
            return None
        self.refresh()
        with self._lock.reading():
            view = self._view
            if view is None or view.generation != generation:
                return None
            return view.index.find(ids)

    def refresh(self) -> None:
        """Brings the index to what the database says now."""
        with self._refreshing:
            with self._database.reading() as connection:
                state = _read_state(connection)
                if state is None:
                    self._show(None)
                elif self._view is None or not _continues(self._view, state):
                    self._show(self._load(connection, state))
                elif state.revision != self._view.revision or state.last_seq > self._view.last_seq:
                    self._catch_up(connection, self._view, state)
            if self._view is not None and self._view.num_unsaved > _SAVE_AFTER:
                self._save()

    def refresh_if_loaded(self) -> None:
        """As `refresh`, if anything was searched before."""
        if self._view is not None:
            self.refresh()

    @property
    def is_loaded(self) -> bool:
        """Whether anything was searched before."""
        return self._view is not None

    def close(self) -> None:
        """Saves a snapshot if that would spare the next start much."""
        with self._refreshing:
            view = self._view
            if view is not None and len(view.index):
                missing = not self._snapshots.exists(self._uuid, view.generation)
                if missing or view.num_unsaved > len(view.index) // 100:
                    self._save()

    def _show(self, view: _View | None) -> None:
        with self._lock.writing():
            self._view = view

    def _load(self, connection: sa.Connection, state: _State) -> _View:
        view = self._from_snapshot(connection, state)
        if view is None:
            empty = VectorIndex(state.spec.dimension)
            view = _View(state.generation, state.spec, empty, FilterColumns(), 0, state.revision)
        for part in _parts(connection, view):
            _append(view, part)
        return view

    def _from_snapshot(self, connection: sa.Connection, state: _State) -> _View | None:
        loaded = self._snapshots.load(self._uuid, state.generation, state.spec.dimension)
        if loaded is None:
            return None
        index, mark = loaded
        if mark.last_seq > state.last_seq or mark.revision > state.revision:
            return None  # of a later time than the database: that was restored from a backup
        columns = FilterColumns()
        known = _rows_of(state.generation).where(embeddings.c.seq <= mark.last_seq)
        for rows in _partitions(connection, known):
            columns.append(columns.rows(*_filter_columns(rows)))
        if not np.all(np.isin(columns.ids, index.ids)) or not _agrees(connection, state, index, columns.ids):
            return None
        gone = np.setdiff1d(index.ids, columns.ids)
        index.remove(gone)
        return _View(
            state.generation, state.spec, index, columns, mark.last_seq, state.revision, num_unsaved=len(gone)
        )

    def _catch_up(self, connection: sa.Connection, view: _View, state: _State) -> None:
        gone = _gone(connection, view) if view.revision != state.revision else np.zeros(0, np.int64)
        new = list(_parts(connection, view)) if state.last_seq > view.last_seq else []
        with self._lock.writing():
            view.index.remove(gone)
            view.columns.remove(gone)
            view.num_unsaved += len(gone)
            for part in new:
                _take_in(view, part)
            view.revision = state.revision

    def _save(self) -> None:
        view = self._view
        if view is None or self._database.read_only:
            return
        mark = SnapshotMark(
            self._uuid, view.generation, view.spec.dimension, view.last_seq, view.revision, len(view.index)
        )
        try:
            self._snapshots.save(view.index, mark)
            view.num_unsaved = 0
            # Whoever deletes removes the snapshots after committing; one being written then must go as well.
            with self._database.reading() as connection:
                revision = connection.execute(sa.select(gallery.c.revision)).scalar_one()
            self._snapshots.remove_outdated(revision)
        except OSError as error:  # the next start reads the database instead
            _log.warning("the index snapshot was not saved: %s", error)


@dataclass(frozen=True)
class _Part:
    """Some new rows, ready to be taken in."""

    last_seq: int
    columns: tuple[Any, ...]
    ids: IdArray
    vectors: Float32Array


def _read_state(connection: sa.Connection) -> _State | None:
    last = sa.select(sa.func.max(embeddings.c.seq)).where(embeddings.c.generation_id == generations.c.id)
    last_seq = last.correlate(generations).scalar_subquery().label("last_seq")
    statement = (
        sa.select(gallery.c.revision, last_seq, generations)
        .select_from(gallery)
        .join(generations, generations.c.status == "current")
    )
    row = connection.execute(statement).one_or_none()
    if row is None:
        return None
    spec = EmbedderSpec(row.name, row.weights_hash, row.preprocessing_hash, row.dimension, row.config)
    return _State(row._mapping[generations.c.id], spec, row.last_seq or 0, row.revision)


def _continues(view: _View, state: _State) -> bool:
    """Whether the view is an earlier state of what the database says now."""
    return view.generation == state.generation and view.revision <= state.revision


def _rows_of(generation: int, *more: sa.ColumnElement[Any]) -> AnySelect:
    filtered_by = (sources.c.camera, tracklets.c.start, tracklets.c.end, tracklets.c.quality)
    return (
        sa.select(embeddings.c.seq, embeddings.c.tracklet_id, *filtered_by, *more)
        .select_from(embeddings.join(tracklets).join(sources))
        .where(embeddings.c.generation_id == generation)
        .order_by(embeddings.c.seq)
    )


def _partitions(connection: sa.Connection, statement: AnySelect) -> Iterator[Sequence[AnyRow]]:
    return connection.execute(statement, execution_options={"yield_per": _ROWS_AT_ONCE}).partitions()


def _filter_columns(rows: Sequence[AnyRow]) -> tuple[Any, ...]:
    """ids, cameras, starts, ends, qualities of rows of `_rows_of`."""
    return tuple(zip(*(row[1:6] for row in rows), strict=True))


def _parts(connection: sa.Connection, view: _View) -> Iterator[_Part]:
    statement = _rows_of(view.generation, embeddings.c.vector).where(embeddings.c.seq > view.last_seq)
    for rows in _partitions(connection, statement):
        columns = _filter_columns(rows)
        vectors = encoding.unpack_vectors([row[6] for row in rows], view.spec.dimension)
        yield _Part(rows[-1][0], columns, np.array(columns[0], np.int64), vectors)


def _append(view: _View, part: _Part) -> None:
    """Adds rows of tracklets that the view does not have."""
    view.index.add(part.ids, part.vectors)
    view.columns.append(view.columns.rows(*part.columns))
    view.last_seq = part.last_seq
    view.num_unsaved += len(part.ids)


def _take_in(view: _View, part: _Part) -> None:
    """Adds what is new; a tracklet that comes again was refined: its new row takes the place of the old."""
    again, rows = view.columns.known(part.ids), view.columns.rows(*part.columns)
    view.index.replace(part.ids[again], part.vectors[again])
    view.columns.replace(rows[again])
    view.index.add(part.ids[~again], part.vectors[~again])
    view.columns.append(rows[~again])
    view.last_seq = part.last_seq
    view.num_unsaved += len(part.ids)


def _gone(connection: sa.Connection, view: _View) -> npt.NDArray[np.int64]:
    known = (embeddings.c.generation_id == view.generation, embeddings.c.seq <= view.last_seq)
    kept = connection.scalars(sa.select(embeddings.c.tracklet_id).where(*known)).all()
    return np.setdiff1d(view.columns.ids, np.array(kept, np.int64))


def _agrees(connection: sa.Connection, state: _State, index: VectorIndex, ids: IdArray) -> bool:
    """Whether some evenly spread vectors of a snapshot are those of the database."""
    if len(ids) == 0:
        return True
    sample = np.unique(ids[np.linspace(0, len(ids) - 1, min(_SAMPLE, len(ids))).astype(int)])
    wanted = (embeddings.c.generation_id == state.generation, embeddings.c.tracklet_id.in_(sample.tolist()))
    statement = sa.select(embeddings.c.vector).where(*wanted).order_by(embeddings.c.tracklet_id)
    stored = encoding.unpack_vectors(connection.scalars(statement).all(), state.spec.dimension)
    return np.array_equal(stored, index.vectors(sample))
