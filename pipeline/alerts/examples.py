"""What watched people look like to the model in use: the vectors of a watch's tracklets and pictures."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from time import monotonic

import numpy as np
import numpy.typing as npt

from pipeline.embedding import Embedder, Embedding, embed_tracklets
from pipeline.live.logs import log_event
from storage.errors import GalleryError
from storage.gallery import Gallery
from storage.watch_records import AlertCursor, Watch, WatchExample

# A tracklet that is still in view is refined, and its vector with it.
_TRACKLET_FRESH_S = 30.0


class ExampleVectors:
    """Vectors of examples in the current generation, kept as long as their watches are asked for.

    Args:
        gallery: holds the tracklets.
        embedder: embeds the pictures, if it is the model of the generation.
        batch_clips: clips that go through it together.
    """

    def __init__(self, gallery: Gallery, embedder: Embedder, batch_clips: int) -> None:
        self._gallery, self._embedder, self._batch_clips = gallery, embedder, batch_clips
        self._pictures: dict[tuple[int, int], Embedding | None] = {}
        self._tracklets: dict[tuple[int, int], tuple[float, Embedding | None]] = {}
        self._told: set[int] = set()

    def of(self, watches: Sequence[Watch], cursor: AlertCursor) -> list[npt.NDArray[np.float32]]:
        """(M, D) unit vectors of each watch; M is 0 where none of its examples can be had."""
        assert cursor.spec is not None
        examples = [example for watch in watches for example in watch.examples]
        self._forget({(cursor.generation_id, example.id) for example in examples})
        self._embed([example for example in examples if example.crop is not None], cursor)
        found = []
        for watch in watches:
            rows = [self._vector(example, cursor) for example in watch.examples]
            kept = [row for row in rows if row is not None]
            found.append(np.stack(kept) if kept else np.zeros((0, cursor.spec.dimension), np.float32))
        return found

    def _vector(self, example: WatchExample, cursor: AlertCursor) -> Embedding | None:
        key = (cursor.generation_id, example.id)
        if example.tracklet_id is None:
            return self._pictures.get(key)
        read, vector = self._tracklets.get(key, (-np.inf, None))
        if monotonic() - read > _TRACKLET_FRESH_S:
            try:
                vector = self._gallery.embedding(example.tracklet_id, cursor.generation_id)
            except GalleryError:  # deleted in this moment, or not embeddable by this model
                vector = None
            self._tracklets[key] = (monotonic(), vector)
        return vector

    def _embed(self, examples: Sequence[WatchExample], cursor: AlertCursor) -> None:
        """Embed the pictures that are new."""
        new = [e for e in examples if (cursor.generation_id, e.id) not in self._pictures]
        if not new:
            return
        if cursor.spec is None or not cursor.spec.same_as(self._embedder.spec):
            if cursor.generation_id not in self._told:
                self._told.add(cursor.generation_id)
                log_event(
                    logging.WARNING,
                    "pictures of the watch list are left out: the gallery has another model now; start anew",
                )
            return
        crops = [[example.crop or b""] for example in new]
        rows = embed_tracklets(self._embedder, crops, self._batch_clips)
        for example, row in zip(new, rows, strict=True):
            self._pictures[cursor.generation_id, example.id] = row
            if row is None:
                log_event(
                    logging.WARNING, "a picture of the watch list cannot be embedded", example=example.id
                )

    def _forget(self, wanted: set[tuple[int, int]]) -> None:
        self._pictures = {key: row for key, row in self._pictures.items() if key in wanted}
        self._tracklets = {key: row for key, row in self._tracklets.items() if key in wanted}
