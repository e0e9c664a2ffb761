"""Embed an archive anew with another model: a new generation beside the old, verified, then switched.

Everything is resumable: rows already written are not made again, and queries go on with the old
generation until one transaction switches.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.config import BatchSettings
from pipeline.embedding import Embedder, embed_tracklets
from pipeline.hooks import Hooks
from storage.errors import CropsExpired, GalleryDamaged
from storage.gallery import Gallery
from storage.records import EmbedderSpec, Generation

_BATCH = 64
_SAMPLE = 64
_SELF_SIMILARITY = 0.99


class ReindexError(RuntimeError):
    """The new generation failed its check; the old one is still in use."""


@dataclass(frozen=True)
class ReindexSummary:
    """What a re-indexing did.

    Attributes:
        generation: id of the generation now in use.
        embedder: the model that made it.
        tracklets: tracklets in the gallery.
        embedded: rows written by this run.
        not_embeddable: tracklets the model or their crops give no embedding of.
        lost: those of them that were found until the switch; going back finds them again.
        sampled: tracklets whose fresh embedding was compared with the stored one, and searched for.
        seconds: wall time.
    """

    generation: int
    embedder: str
    tracklets: int
    embedded: int
    not_embeddable: int
    lost: int
    sampled: int
    seconds: float

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def lost_words(self, back: str) -> str:
        """How many are lost, as a sentence; `back` says how to go back. Empty when none is."""
        if not self.lost:
            return ""
        words = "tracklet" if self.lost == 1 else "tracklets"
        return (
            f"{self.lost} {words} can no longer be found, having no crops that could be embedded anew: "
            f"{back} brings that back."
        )


def reindex(
    gallery: Gallery, embedder: Embedder, settings: BatchSettings, hooks: Hooks | None = None
) -> ReindexSummary:
    """Embed every stored tracklet from its crops, verify, and switch.

    Args:
        gallery: open for writing; others may use it meanwhile.
        embedder: the model to change to. The one in use already: what is missing of it is filled in.
        settings: batch sizes.
        hooks: told about progress.

    Raises:
        ReindexError: counts or self-matches of the new generation are not as they must be.
    """
    hooks = hooks or Hooks()
    begin = perf_counter()
    former = gallery.generations.current_model()
    generation = gallery.generations.begin(embedder.spec)
    embedded, failed = _fill(gallery, generation, embedder, settings, hooks)
    sampled = _verify(gallery, generation, embedder, settings)
    if failed and not sampled:
        raise ReindexError(
            f"none of {failed} tracklets can be embedded, as if the crops in {gallery.folder / 'media'} were "
            "gone: bring them back; the old generation stays in use"
        )
    gallery.generations.switch(generation.id, allowed_missing=failed)
    return ReindexSummary(
        generation=generation.id,
        embedder=str(embedder.spec),
        tracklets=gallery.counts()["tracklets"],
        embedded=embedded,
        not_embeddable=failed,
        lost=0 if former is None else gallery.generations.num_lost(former.id, generation.id),
        sampled=sampled,
        seconds=round(perf_counter() - begin, 3),
    )


def status(gallery: Gallery) -> list[dict[str, Any]]:
    """Each generation: its model, its state, how many embeddings it has and how many it lacks."""
    return [
        {
            "generation": generation.id,
            "status": generation.status,
            "embedder": describe(generation.spec),
            "embeddings": generation.num_embeddings,
            "missing": gallery.generations.num_missing(generation.id),
        }
        for generation in gallery.generations.all()
    ]


def describe(spec: EmbedderSpec) -> dict[str, Any]:
    """An embedder's identity as JSON values."""
    return {
        "name": spec.name,
        "weights_sha256": spec.weights_hash,
        "preprocessing": spec.preprocessing_hash,
        "dimension": spec.dimension,
    }


def _fill(
    gallery: Gallery, generation: Generation, embedder: Embedder, settings: BatchSettings, hooks: Hooks
) -> tuple[int, int]:
    """Write the missing rows, those of tracklets ingested meanwhile included."""
    total, embedded, failed, last = gallery.counts()["tracklets"], 0, 0, 0
    done = generation.num_embeddings
    while ids := gallery.generations.missing(generation.id, after_id=last, limit=_BATCH):
        frames = gallery.num_frames(ids)
        vectors = embed_tracklets(embedder, [_crops(gallery, i) for i in ids], settings.clips)
        rows = [(i, vector) for i, vector in zip(ids, vectors, strict=True) if vector is not None]
        if rows:
            embedded += gallery.generations.add(
                generation.id, [i for i, _ in rows], np.stack([v for _, v in rows]), frames
            )
        failed, last = failed + len(ids) - len(rows), ids[-1]
        done += len(ids)
        hooks.on_step("embedding tracklets", done, max(total, done))
    return embedded, failed


def _crops(gallery: Gallery, tracklet_id: int) -> list[bytes]:
    """The stored crops; none where they are lost, damaged or expired, which counts as not embeddable."""
    try:
        return gallery.crops(tracklet_id)
    except (CropsExpired, GalleryDamaged):
        return []


def _verify(gallery: Gallery, generation: Generation, embedder: Embedder, settings: BatchSettings) -> int:
    """Embed a spread sample again: each stored row must be its tracklet's, and its own nearest neighbour."""
    ids, stored = _sample(gallery, generation.id)
    crops = [_crops(gallery, i) for i in ids]
    there = [i for i, jpegs in enumerate(crops) if jpegs]  # the others lost their crops since
    if not there:
        return 0
    ids, stored = [ids[i] for i in there], stored[there]
    fresh = embed_tracklets(embedder, [crops[i] for i in there], settings.clips)
    if any(vector is None for vector in fresh):
        raise ReindexError("a tracklet could not be embedded a second time; the old generation stays in use")
    vectors = np.stack([vector for vector in fresh if vector is not None])  # (S, D)
    own = (vectors * stored).sum(axis=1)
    nearest = np.full(len(ids), -1.0)
    for _, rows in gallery.generations.stored(generation.id):
        nearest = np.maximum(nearest, (vectors @ rows.T).max(axis=1))
    wrong = np.flatnonzero((own < _SELF_SIMILARITY) | (nearest > own + 1e-3))
    if len(wrong):
        raise ReindexError(
            f"tracklet {ids[wrong[0]]} does not match itself in the new generation "
            f"(similarity {own[wrong[0]]:.3f}); the old generation stays in use"
        )
    return len(ids)


def _sample(gallery: Gallery, generation_id: int) -> tuple[list[int], npt.NDArray[np.float32]]:
    """Ids and stored vectors of about `_SAMPLE` tracklets spread over the generation."""
    step = max(1, gallery.counts()["tracklets"] // _SAMPLE)
    ids: list[int] = []
    vectors: list[npt.NDArray[np.float32]] = []
    seen = 0
    for batch, rows in gallery.generations.stored(generation_id):
        picked = np.arange(-seen % step, len(batch), step)
        ids.extend(int(i) for i in batch[picked])
        vectors.extend(rows[picked])
        seen += len(batch)
    return ids, np.stack(vectors) if vectors else np.zeros((0, 0), np.float32)
