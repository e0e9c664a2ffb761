"""How finished tracklets come in: files first, then rows and embeddings in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import numpy as np
import sqlalchemy as sa

from storage import errors
from storage.database import generations, sources, tracklets
from storage.database.engine import Database
from storage.media import MediaFolder, StagedCrops
from storage.records import EmbedderSpec, NewTracklet, unit_vectors

_Staged = dict[tracklets.Key, StagedCrops]


def add_tracklets(
    database: Database, media: MediaFolder, source_id: int, given: Sequence[NewTracklet], spec: EmbedderSpec
) -> list[int]:
    """All of the tracklets or none; see `Gallery.add_tracklets`."""
    if database.read_only:
        raise errors.read_only(database.place)
    wanted: dict[tracklets.Key, NewTracklet] = {}
    for tracklet in given:
        unit_vectors(tracklet.embedding[None], spec.dimension)
        wanted.setdefault(tracklet.key, tracklet)
    with database.reading() as connection:
        known = _known(connection, source_id, given)
    staged: _Staged = {}
    added: dict[tracklets.Key, int] = {}
    try:
        for key, tracklet in wanted.items():
            if key not in known:
                staged[key] = media.stage(tracklet.crops, tracklet.thumbnail)
        with database.writing() as connection:
            known = _known(connection, source_id, given)  # another process may have been quicker
            generation_id = generations.for_new_tracklets(connection, spec)
            for key in staged:
                if key not in known:
                    added[key] = tracklets.insert(connection, source_id, wanted[key])
                    media.keep(staged[key], added[key])
            _add_embeddings(connection, generation_id, added, wanted)
    except BaseException:
        _remove_unrecorded(database, media, list(added.values()))
        raise
    finally:
        for files in staged.values():
            media.discard(files)
    return [(known | added)[tracklet.key] for tracklet in given]


def _known(
    connection: sa.Connection, source_id: int, given: Sequence[NewTracklet]
) -> dict[tracklets.Key, int]:
    sources.get(connection, source_id)
    return tracklets.keys(connection, source_id, {tracklet.track_id for tracklet in given})


def _add_embeddings(
    connection: sa.Connection,
    generation_id: int,
    added: dict[tracklets.Key, int],
    wanted: dict[tracklets.Key, NewTracklet],
) -> None:
    if added:
        vectors = np.stack([wanted[key].embedding for key in added])
        generations.add(connection, generation_id, list(added.values()), vectors)


def _remove_unrecorded(database: Database, media: MediaFolder, ids: list[int]) -> None:
    """After a failure: removes files that got their names although their rows were not kept."""
    # If the database does not answer at all, the files stay until the next sweep.
    with suppress(errors.GalleryError, OSError), database.writing() as connection:
        media.remove(set(ids) - tracklets.existing(connection, ids))
