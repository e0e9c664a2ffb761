"""How tracklets come in, and are refined: files first, then rows and embeddings in one transaction."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress

import numpy as np
import sqlalchemy as sa

from storage import errors
from storage.database import generations, sources, tracklets
from storage.database.engine import Database
from storage.database.tracklets import Key, Stored
from storage.media import MediaFolder, StagedCrops
from storage.records import EmbedderSpec, NewTracklet, unit_vectors


def add_tracklets(
    database: Database,
    media: MediaFolder,
    source_id: int,
    given: Sequence[NewTracklet],
    spec: EmbedderSpec,
    refining: Collection[Key] = (),
) -> list[int]:
    """All of the tracklets or none; see `Gallery.add_tracklets`."""
    if database.read_only:
        raise errors.read_only(database.place)
    wanted = _largest(given, spec)
    with database.reading() as connection:
        known = _known(connection, source_id, wanted)
        gone = {*refining, *tracklets.erased(connection, source_id)}
    wanted = _not_deleted(wanted, known, gone)
    intake = _Intake(media, source_id)
    try:
        for key, tracklet in wanted.items():
            if _adds(tracklet, known.get(key)):
                intake.stage(key, tracklet)
        with database.writing() as connection:
            known = _known(connection, source_id, wanted)  # another process may have been quicker
            gone |= tracklets.erased(connection, source_id)
            wanted = _not_deleted(wanted, known, gone)
            generation_id = generations.for_new_tracklets(connection, spec)
            for key, tracklet in wanted.items():
                if _adds(tracklet, known.get(key)):
                    known[key] = intake.write(connection, key, tracklet, known.get(key))
            tracklets.finish(connection, _ended(wanted, known))
            _add_embeddings(connection, generation_id, {known[key].id: wanted[key] for key in intake.written})
    except BaseException:
        _remove_unrecorded(database, media, intake.named)
        raise
    finally:
        intake.discard()
    for tracklet_id, version in intake.outdated:
        media.remove_version(tracklet_id, version)
    return [known[tracklet.key].id for tracklet in given if tracklet.key in known]


class _Intake:
    """The files of one call on their way to their names.

    Attributes:
        written: Keys of the tracklets that were added or replaced.
        named: (id, media version) of the files that have their names.
        outdated: (id, media version) of the files that these replace.
    """

    def __init__(self, media: MediaFolder, source_id: int) -> None:
        self._media, self._source_id = media, source_id
        self._staged: dict[Key, StagedCrops] = {}
        self.written: list[Key] = []
        self.named: list[tuple[int, int]] = []
        self.outdated: list[tuple[int, int]] = []

    def stage(self, key: Key, tracklet: NewTracklet) -> None:
        self._staged[key] = self._media.stage(tracklet.crops, tracklet.thumbnail)

    def write(
        self, connection: sa.Connection, key: Key, tracklet: NewTracklet, stored: Stored | None
    ) -> Stored:
        """Row, trajectory and files of one tracklet."""
        if key not in self._staged:  # it was there at the first look, and was deleted since
            self.stage(key, tracklet)
        if stored is None:
            tracklet_id, version = tracklets.insert(connection, self._source_id, tracklet), 0
        else:
            tracklet_id, version = stored.id, stored.media_version + 1
            tracklets.replace(connection, tracklet_id, tracklet, version)
            self.outdated.append((tracklet_id, stored.media_version))
        self.written.append(key)
        self.named.append((tracklet_id, version))
        self._media.keep(self._staged[key], tracklet_id, version)
        return Stored(tracklet_id, *tracklet.extent, version)

    def discard(self) -> None:
        for files in self._staged.values():
            self._media.discard(files)


def _largest(given: Sequence[NewTracklet], spec: EmbedderSpec) -> dict[Key, NewTracklet]:
    """The tracklets by key; of several versions of one, that with most frames."""
    wanted: dict[Key, NewTracklet] = {}
    for tracklet in given:
        unit_vectors(tracklet.embedding[None], spec.dimension)
        other = wanted.setdefault(tracklet.key, tracklet)
        if tracklet.extent > other.extent:
            wanted[tracklet.key] = tracklet
    return wanted


def _not_deleted(
    wanted: dict[Key, NewTracklet], known: dict[Key, Stored], once_stored: Collection[Key]
) -> dict[Key, NewTracklet]:
    return {key: tracklet for key, tracklet in wanted.items() if key in known or key not in once_stored}


def _adds(tracklet: NewTracklet, stored: Stored | None) -> bool:
    """Whether it is more than what is stored. What retention has taken a part of stays as it is."""
    return stored is None or (stored.whole and len(tracklet.frame_indices) > stored.num_frames)


def _ended(wanted: dict[Key, NewTracklet], known: dict[Key, Stored]) -> list[int]:
    """Stored tracklets that are known by now to be finished as they are."""
    return [
        known[key].id
        for key, tracklet in wanted.items()
        if tracklet.extent > (known[key].num_frames, known[key].finished)
    ]


def _known(connection: sa.Connection, source_id: int, wanted: dict[Key, NewTracklet]) -> dict[Key, Stored]:
    sources.get(connection, source_id)
    return tracklets.keys(connection, source_id, {track_id for track_id, _ in wanted})


def _add_embeddings(connection: sa.Connection, generation_id: int, written: dict[int, NewTracklet]) -> None:
    if written:
        vectors = np.stack([tracklet.embedding for tracklet in written.values()])
        generations.add(connection, generation_id, list(written), vectors)


def _remove_unrecorded(database: Database, media: MediaFolder, named: list[tuple[int, int]]) -> None:
    """After a failure: removes files that got their names although their rows were not kept."""
    # If the database does not answer at all, the files stay until the next sweep.
    with suppress(errors.GalleryError, OSError), database.writing() as connection:
        versions = tracklets.media_versions(connection, [tracklet_id for tracklet_id, _ in named])
        for tracklet_id, version in named:
            if versions.get(tracklet_id) != version:
                media.remove_version(tracklet_id, version)
