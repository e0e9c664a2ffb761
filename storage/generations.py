"""Generations of a gallery: the embeddings of one model each, and which of them searches use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from storage.database import generations
from storage.database import tracklets as rows
from storage.database.engine import Database
from storage.records import CurrentModel, EmbedderSpec, Float32Array, Generation, unit_vectors


class Generations:
    """Makes, fills and exchanges generations; reached as `Gallery.generations`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def current(self) -> Generation | None:
        """The generation that searches use; None before the first tracklet."""
        with self._database.reading() as connection:
            return generations.with_status(connection, "current")

    def current_model(self) -> CurrentModel | None:
        """As `current`, without counting its embeddings: quick however many."""
        with self._database.reading() as connection:
            found = generations.current(connection)
        return None if found is None else CurrentModel(*found)

    def all(self) -> list[Generation]:
        """All generations, oldest first."""
        with self._database.reading() as connection:
            return generations.every(connection)

    def begin(self, spec: EmbedderSpec) -> Generation:
        """The generation of `spec`, made (status building) if there is none: begins or resumes a re-index."""
        with self._database.writing() as connection:
            return generations.begin(connection, spec)

    def num_missing(self, generation_id: int) -> int:
        """How many tracklets have no embedding in a generation and could have one.

        Raises:
            GenerationNotFound: It does not exist (any more); likewise below.
        """
        with self._database.reading() as connection:
            generations.get(connection, generation_id)
            return generations.num_missing(connection, generation_id)

    def num_without_crops(self) -> int:
        """How many tracklets searches find that no other model can embed, because their crops are gone."""
        with self._database.reading() as connection:
            return generations.num_without_crops(connection)

    def num_lost(self, former_id: int, generation_id: int) -> int:
        """How many tracklets have an embedding in the former generation and none in the other one."""
        with self._database.reading() as connection:
            return generations.num_lost(connection, former_id, generation_id)

    def missing(self, generation_id: int, *, after_id: int = 0, limit: int = 256) -> list[int]:
        """Up to `limit` ids above `after_id` of tracklets without an embedding in a generation, rising.

        Those whose embeddings retention has taken are not among them.
        """
        with self._database.reading() as connection:
            generations.get(connection, generation_id)
            return generations.missing(connection, generation_id, after_id, limit)

    def add(
        self,
        generation_id: int,
        ids: Sequence[int],
        embeddings: npt.NDArray[np.float32],
        num_frames: Mapping[int, int] | None = None,
    ) -> int:
        """Adds embeddings (N, D), norm 1, to a generation.

        Args:
            num_frames: What `Gallery.num_frames` said before the crops were read: tracklets that were refined
                since are left out, and stay missing. None takes them all.

        Returns:
            How many were added: not those of tracklets that have one already or were deleted meanwhile, nor
            of those whose embeddings retention has taken.
        """
        if len(ids) != len(embeddings):
            raise ValueError(f"expected one embedding per id, got {len(embeddings)} for {len(ids)} ids")
        with self._database.writing() as connection:
            checked = unit_vectors(embeddings, generations.get(connection, generation_id).spec.dimension)
            if num_frames is not None:
                now = rows.num_frames(connection, ids)
                same = [
                    place for place, number in enumerate(ids) if num_frames.get(number) == now.get(number)
                ]
                ids, checked = [ids[place] for place in same], checked[same]
            return generations.add(connection, generation_id, ids, checked)

    def stored(
        self, generation_id: int, *, batch_size: int = 8192
    ) -> Iterator[tuple[npt.NDArray[np.int64], Float32Array]]:
        """All embeddings of a generation in batches: ids (N,), vectors (N, D) of norm 1."""
        last_seq = 0
        while True:
            with self._database.reading() as connection:
                generation = generations.get(connection, generation_id)
                last_seq, ids, batch = generations.stored(connection, generation, last_seq, batch_size)
            if ids:
                yield np.array(ids, np.int64), batch
            if len(ids) < batch_size:
                return

    def switch(self, generation_id: int, *, allowed_missing: int = 0) -> None:
        """Makes a generation the current one, in one transaction; the one before stays for a rollback.

        Args:
            allowed_missing: How many tracklets may lack an embedding in it; those are not found any more.

        Raises:
            GenerationIncomplete: More tracklets lack one.
        """
        with self._database.writing() as connection:
            generations.switch(connection, generation_id, allowed_missing)

    def roll_back(self) -> Generation:
        """Exchanges the current and the previous generation in one transaction; returns the new current.

        Tracklets that came in since the switch are not found until a re-index with that model adds them.

        Raises:
            GenerationNotFound: There is no previous one.
        """
        with self._database.writing() as connection:
            return generations.roll_back(connection)
