"""A person is erased: everything that shows them, in every file, with a proof that nothing is left."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import sqlalchemy as sa

from storage import errors, upkeep
from storage.database import audit, encoding, erasure, generations, holds, tracklets
from storage.database.engine import Database
from storage.database.erasure import Scope
from storage.database.schema import gallery
from storage.folder import FolderMark, GalleryFolder
from storage.media import MediaFolder
from storage.needles import Needle, of_jpeg, of_vector, search_files_apart
from storage.records import EmbedderSpec, Float32Array, GalleryFilter
from storage.search import GalleryIndex
from storage.snapshot import SnapshotFolder

_MERGES = 20  # tries, half a second each, to empty a log that somebody is reading
_MANY = 500  # of more tracklets one picture each is looked for
_TOP_K = 10

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class AuditNote:
    """What the audit trail says of an erasure beside what was erased; `now` in seconds UTC."""

    actor: str
    reason: str
    origin: str
    via: str
    user_id: int | None
    now: float

    def __post_init__(self) -> None:
        if not self.reason.strip():
            raise ValueError("an erasure needs a reason: say who asked for it, or why it must be")


@dataclass(frozen=True)
class ErasurePlan:
    """What an erasure deletes.

    Attributes:
        counts: How many rows, by table, and of how many cameras the last frame.
        searches: Ids of the searches that go, or lose examples or decisions; rising.
    """

    counts: dict[str, int]
    searches: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Erasure:
    """What was erased, and how to tell that it is gone.

    Attributes:
        ids: The tracklets.
        counts, searches: What was deleted, as `ErasurePlan` has it.
        at: When, seconds UTC.
        entry: Number of its audit entry.
        revision: The gallery's from then on.
        scope: What else was concerned.
        spec: What made `vectors`; None if there are none.
        vectors: (N, D) float32, the tracklets' embeddings of the current generation.
        needles: Pieces of embeddings and pictures, to be looked for in files.
    """

    ids: tuple[int, ...]
    counts: dict[str, int]
    searches: tuple[int, ...]
    at: float
    entry: int
    revision: int
    scope: Scope = field(repr=False)
    spec: EmbedderSpec | None = field(repr=False)
    vectors: Float32Array = field(repr=False)
    needles: tuple[Needle, ...] = field(repr=False)


class Eraser:
    """Erases from one gallery, and checks it; see `Gallery.erase`."""

    def __init__(
        self,
        folder: GalleryFolder,
        mark: FolderMark,
        database: Database,
        media: MediaFolder,
        snapshots: SnapshotFolder,
        index: GalleryIndex,
    ) -> None:
        self._folder, self._mark, self._database = folder, mark, database
        self._media, self._snapshots, self._index = media, snapshots, index

    def preview(self, ids: Iterable[int], also_searches: Iterable[int]) -> ErasurePlan:
        """What `erase` would delete."""
        with self._database.reading() as connection:
            return _plan(connection, _scope(connection, ids, also_searches))

    def erase(self, ids: Iterable[int], also_searches: Iterable[int], note: AuditNote) -> Erasure:
        """Rows and audit entry in one transaction, then files; see `Gallery.erase`."""
        with self._database.writing() as connection:
            scope = _scope(connection, ids, also_searches)
            plan = _plan(connection, scope)
            spec, vectors, needles = self._traces(connection, scope)
            entry = _note(connection, scope, plan.counts, note)
            erasure.delete(connection, scope)
            revision = connection.execute(sa.select(gallery.c.revision)).scalar_one()
        upkeep.remove_traces(self._database, self._media, self._snapshots, scope.ids)
        self._empty_log()
        self._remove_copies(needles)
        self._index.refresh_if_loaded()
        return Erasure(
            scope.ids, plan.counts, plan.searches, note.now, entry, revision, scope, spec, vectors, needles
        )

    def _empty_log(self) -> None:
        for _ in range(_MERGES):
            if self._database.merge_log():
                return
        _log.warning("%s: erased rows stay in the database's log until the sweep", self._database.place)

    def _remove_copies(self, needles: tuple[Needle, ...]) -> None:
        """SQLite leaves copies of rows where it moved them from, which no deletion overwrites."""
        if not self._pieces(self._database_files(), needles):
            return
        try:
            self._database.rewrite()
        except (errors.GalleryFull, errors.DatabaseUnavailable) as error:
            _log.warning("copies of erased rows stay in the database file: %s", error)
        self._empty_log()

    def _traces(
        self, connection: sa.Connection, scope: Scope
    ) -> tuple[EmbedderSpec | None, Float32Array, tuple[Needle, ...]]:
        """Model and vectors (N, D) of the current generation, and needles of all that is to be deleted."""
        current = generations.current(connection)
        dimensions = {each.id: each.spec.dimension for each in generations.every(connection)}
        vectors, needles = [], []
        for tracklet_id, generation, packed in erasure.embeddings_of(connection, scope.ids):
            vector = encoding.unpack_vectors([packed], dimensions[generation])[0]
            needles += of_vector(f"the embedding of tracklet {tracklet_id}", packed, vector)
            if current is not None and generation == current[0]:
                vectors.append(vector)
        for search_id, generation, packed in erasure.uploaded_vectors(connection, scope):
            vector = encoding.unpack_vectors([packed], dimensions[generation])[0]
            needles += of_vector(f"an embedding of search {search_id}", packed, vector)
        for whose, jpeg in self._pictures(connection, scope):
            needles += of_jpeg(whose, jpeg)
        if current is None or not vectors:
            return None, np.zeros((0, 0), np.float32), tuple(needles)
        return current[1], np.stack(vectors), tuple(needles)

    def _pictures(self, connection: sa.Connection, scope: Scope) -> Iterator[tuple[str, bytes]]:
        yield from erasure.pictures(connection, scope)
        which = None if len(scope.ids) <= _MANY else [0]
        for tracklet_id in scope.ids:
            with suppress(errors.CropsExpired, errors.GalleryDamaged):  # those are gone already
                version, lengths = tracklets.crops(connection, tracklet_id)
                for jpeg in self._media.read(tracklet_id, version, lengths, which):
                    yield f"a picture of tracklet {tracklet_id}", jpeg

    def check(self, erased: Erasure) -> list[str]:
        """What is left of an erasure, in words; see `Gallery.check_erased`."""
        with self._database.reading() as connection:
            found = erasure.remains(connection, erased.scope)
        found += [f"{file} is a file of an erased tracklet" for file in self._media.files(erased.ids)]
        found += [
            f"{file} is an index of before the erasure" for file in self._snapshots.outdated(erased.revision)
        ]
        return found + self._found_by_search(erased) + self._found_in_files(erased)

    def _found_by_search(self, erased: Erasure) -> list[str]:
        """Asks this process's index, and one that reads everything anew, for each erased embedding."""
        if erased.spec is None:
            return []
        indexes = {"a new": GalleryIndex(self._database, self._snapshots, self._mark.uuid)}
        if self._index.is_loaded:
            indexes["this process's"] = self._index
        found = []
        for whose, index in indexes.items():
            with suppress(errors.WrongEmbedder):  # the gallery was switched to another model since
                ranked = index.search(erased.vectors, erased.spec, _TOP_K, GalleryFilter())
                hits = sorted({int(n) for ids, _ in ranked for n in ids} & set(erased.ids))
                found += [f"a search in {whose} index finds tracklet {number}" for number in hits]
        return found

    def _found_in_files(self, erased: Erasure) -> list[str]:
        files = [file for place in (self._folder.index, self._folder.work) for file in _files(place)]
        found = self._pieces([*files, *self._database_files()], erased.needles)
        return sorted({f"{file} holds a piece of {needle.whose}" for file, needle in found})

    def _database_files(self) -> list[Path]:
        if self._database.backend != "sqlite":
            return []
        database = self._folder.database_file
        return [database.with_name(database.name + suffix) for suffix in ("", "-wal", "-shm")]

    def _pieces(self, files: list[Path], needles: tuple[Needle, ...]) -> list[tuple[Path, Needle]]:
        """What lies in the files and should not."""
        found = search_files_apart(files, needles)
        return [
            (file, needle) for file, those in found.items() for needle in those if not self._stays(needle)
        ]

    def _stays(self, needle: Needle) -> bool:
        """Whether a tracklet that was not erased has the same numbers, as two of the same video have."""
        if needle.vector is None:
            return False
        with self._database.reading() as connection:
            return erasure.has_vector_with(connection, needle.vector)


def _scope(connection: sa.Connection, ids: Iterable[int], also_searches: Iterable[int]) -> Scope:
    """What is to be erased.

    Raises:
        TrackletNotFound, SearchNotFound, HeldByCase, ValueError: See `Gallery.erase`.
    """
    wanted, named = {int(number) for number in ids}, {int(number) for number in also_searches}
    if not wanted and not named:
        raise ValueError("nothing to erase: name tracklets or searches")
    scope = erasure.scope(connection, wanted, named)
    if missing := wanted - set(scope.ids):
        raise errors.TrackletNotFound(f"no tracklet has the id {min(missing)}: list them with 'tracklets'")
    if unknown := named - set(scope.searches):
        raise errors.SearchNotFound(f"no search has the id {min(unknown)}: list them to see which there are")
    changed = set(scope.left_empty) | named
    holds.refuse_held(connection, scope.ids, "nothing was erased", changed)
    return scope


def _plan(connection: sa.Connection, scope: Scope) -> ErasurePlan:
    return ErasurePlan(erasure.counts(connection, scope), erasure.searches_changed(connection, scope))


def _note(connection: sa.Connection, scope: Scope, counts: dict[str, int], note: AuditNote) -> int:
    """The audit entry's number. It tells what was erased, and shows nothing of it."""
    subject = {
        "tracklets": list(scope.ids),
        "searches": list(scope.searches),
        "reason": note.reason,
        "counts": counts,
    }
    about = {"user_id": note.user_id, "origin": note.origin, "via": note.via, "now": note.now}
    return audit.append(connection, note.actor, "erase", subject, **about).seq  # type: ignore[arg-type]


def _files(place: Path) -> list[Path]:
    return [file for file in place.rglob("*") if file.is_file()]
