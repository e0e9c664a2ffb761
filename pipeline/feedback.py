"""Several examples and what people decided become one ranking.

What orders the list is the mean direction of all that shows the person: the examples, and the tracklets that
somebody accepted. Rejected tracklets turn that direction away from themselves, which moves what is like them
down. It stays one direction, so that one search of the index ranks a gallery of any size exactly. Whether a
result is a match is another question, which rejected ones do not answer: that goes by the nearest positive.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pipeline import plugins
from pipeline.config import BatchSettings
from pipeline.embedding import Embedder, Embedding, embed_tracklets, settings_of, unit
from pipeline.narrowing import Span, has_camera, narrowed, overlaps, passes
from pipeline.pointing import QueryError
from pipeline.thresholds import threshold_in_use
from storage.case_records import Example, SearchRecord, Verdict
from storage.errors import GalleryDamaged, TrackletNotFound
from storage.gallery import EVERYTHING, Gallery
from storage.records import CurrentModel, EmbedderSpec, GalleryFilter, Hit, TrackletRecord

_IN_SPANS = 16  # results that are expected where an example was seen

REJECTED_WEIGHT = 0.5  # of what was rejected against what was accepted (`benchmarks/feedback.py`)


@dataclass(frozen=True)
class Ranked:
    """A tracklet in a ranking.

    Attributes:
        similarity: cosine with the nearest example or accepted tracklet other than itself, in [-1, 1]; the
            ranking's threshold applies to it.
        score: what orders the list: cosine with the direction that is looked for, in [-1, 1].
        verdict: what was decided about it, None if nothing was.
    """

    record: TrackletRecord
    similarity: float
    score: float
    verdict: Verdict | None


@dataclass(frozen=True)
class Ranking:
    """The answer to a search as it stands now.

    Attributes:
        spec: the model that compared.
        fallback: None, or a sentence that says why it is no good model.
        threshold: similarity from which on a hit is a match.
        threshold_note: None, or a sentence if that is not the search's own, which is of another model.
        filter: what was searched; None if the filters together let nothing pass.
        left_out: where the person of the search is known to be, and so nobody else was looked for.
        hits: accepted tracklets, then all others by falling score, then rejected ones.
        num_accepted, num_rejected: tracklets that the ranking learnt from, beside the examples.
        num_not_compared: examples that the model gives no embedding of.
    """

    spec: EmbedderSpec
    fallback: str | None
    threshold: float
    threshold_note: str | None
    filter: GalleryFilter | None
    left_out: tuple[Span, ...]
    hits: list[Ranked]
    num_accepted: int
    num_rejected: int
    num_not_compared: int


def rank(
    gallery: Gallery,
    record: SearchRecord,
    embedder_loader: Callable[[], Embedder],
    top_k: int,
    extra_filter: GalleryFilter = EVERYTHING,
) -> Ranking:
    """Rank the gallery's tracklets by what a search says now.

    The search's own tracklets are left out; so is each example's camera within the example's own time,
    unless the search's filter leaves out another span.

    Args:
        gallery: opened for writing, embeddings made here are kept.
        record: the search with its decisions.
        embedder_loader: gives the model of the gallery's current embeddings; called only if an example has
            no embedding of it yet.
        top_k: how many tracklets, beside those that were accepted or rejected.
        extra_filter: narrows the search's own, for instance to the cameras that somebody may see.

    Raises:
        QueryError: the gallery is empty, or nothing is left to compare with.
    """
    current = gallery.generations.current_model()
    if current is None:
        raise QueryError(f"the gallery {gallery.folder} holds no tracklets yet: run ingest first")
    examples, num_not_compared = _example_vectors(gallery, record, current, embedder_loader)
    verdicts = {decision.tracklet_id: decision.verdict for decision in record.decisions}
    accepted_ids, accepted = _decided(gallery, current, verdicts, "same")
    _, rejected = _decided(gallery, current, verdicts, "different")
    positives = np.concatenate([examples, accepted])
    if not len(positives):
        raise QueryError(f"search {record.id} has nothing left to compare with: add an example")
    wanted = narrowed(record.filter, extra_filter)
    spans = _spans(record, extra_filter, wanted)
    own = {example.tracklet_id for example in record.examples} - {None}
    places = {number: len(examples) + place for place, number in enumerate(accepted_ids)}
    looking = _Looking(gallery, current, positives, places, rejected, verdicts)
    closed = [number for number, verdict in verdicts.items() if verdict != "unsure" and number not in own]
    hits = []
    if wanted is not None:
        # A filter's span may hold millions; where an example was seen there are few, left out afterwards.
        asked = next((s for s in (record.filter.exclude_span, extra_filter.exclude_span) if s in spans), None)
        wanted = replace(wanted, exclude_span=asked)
        hits = looking.open(top_k, wanted, [span for span in spans if span != asked], own | set(closed))
    known = looking.known(closed, extra_filter)
    threshold, threshold_note = threshold_in_use(record, current.spec)
    return Ranking(
        spec=current.spec,
        fallback=plugins.load("embedders", settings_of(current.spec).name).FALLBACK,
        threshold=threshold,
        threshold_note=threshold_note,
        filter=wanted,
        left_out=spans,
        hits=[
            *(hit for hit in known if hit.verdict == "same"),
            *hits,
            *(hit for hit in known if hit.verdict == "different"),
        ],
        num_accepted=len(accepted),
        num_rejected=len(rejected),
        num_not_compared=num_not_compared,
    )


def similarity(vectors: Embedding, positives: Embedding) -> Embedding:
    """(N,) cosines of (N, D) unit vectors with the nearest of (P, D) ones that show the person.

    Thresholds are measured on pairs. Of the ways to compare with several at once this one moves the rate of
    false matches least without losing the person: the mean of the cosines falls far below any threshold.
    """
    best: Embedding = (vectors @ positives.T).max(axis=1)
    return best


def ranking_direction(
    positives: Embedding, rejected: Embedding, weight: float = REJECTED_WEIGHT
) -> Embedding:
    """(D,) unit vector that ranks: towards what shows the person, away from what does not.

    Rocchio, "Relevance feedback in information retrieval" (1971).

    Args:
        positives: (P, D) unit vectors, at least one.
        rejected: (R, D) unit vectors, or none.
        weight: of the rejected ones' mean against the positives' direction.
    """
    direction: Embedding = unit(positives.mean(axis=0)[None])[0]
    if len(rejected):
        direction = unit((direction - np.float32(weight) * rejected.mean(axis=0))[None])[0]
    return direction


@dataclass(frozen=True)
class _Looking:
    """One search of the index, and how its results are marked; `places` are those of accepted tracklets among
    the positives, by id."""

    gallery: Gallery
    generation: CurrentModel
    positives: Embedding
    places: dict[int, int]
    rejected: Embedding
    verdicts: dict[int, Verdict]

    def open(
        self, top_k: int, wanted: GalleryFilter, spans: Sequence[Span], without: Collection[int | None]
    ) -> list[Ranked]:
        """The best `top_k` tracklets that pass, by falling score; not those of `spans` and `without`."""
        direction = ranking_direction(self.positives, self.rejected)[None]
        fetch = top_k + len(without) + (_IN_SPANS if spans else 0)
        while True:
            found = self.gallery.search(direction, self.generation.spec, fetch, wanted)[0]
            kept = [hit for hit in found if hit.record.id not in without and not overlaps(hit.record, spans)]
            if len(kept) >= top_k or len(found) < fetch:
                break
            fetch *= 4  # many tracklets of a busy camera may lie in one span
        if len(self.positives) > 1 or len(self.rejected):
            return self._marked(kept[:top_k])
        return [  # what ranked them is what they would be compared with
            Ranked(hit.record, hit.similarity, hit.similarity, self.verdicts.get(hit.record.id))
            for hit in kept[:top_k]
        ]

    def known(self, ids: Sequence[int], allowed: GalleryFilter) -> list[Ranked]:
        """Tracklets whatever their rank, the most similar first."""
        records = self.gallery.records(ids).values()
        found = [Hit(record, 0.0) for record in records if passes(record, allowed)]
        return sorted(self._marked(found), key=lambda hit: (-hit.similarity, hit.record.id))

    def _marked(self, hits: Sequence[Hit]) -> list[Ranked]:
        if not hits:
            return []
        ids, vectors = self.gallery.embeddings((hit.record.id for hit in hits), self.generation.id)
        similarities = dict(zip(ids, self._similarities(ids, vectors), strict=True))
        direction = ranking_direction(self.positives, self.rejected)
        scores = dict(zip(ids, (vectors @ direction).tolist(), strict=True))
        return [
            Ranked(hit.record, similarities[number], scores[number], self.verdicts.get(number))
            for hit in hits
            if (number := hit.record.id) in scores
        ]

    def _similarities(self, ids: Sequence[int], vectors: Embedding) -> list[float]:
        """Of tracklets with the positives; an accepted one is not compared with itself."""
        found = similarity(vectors, self.positives)
        for row, number in enumerate(ids):
            if number in self.places and len(self.positives) > 1:
                others = np.delete(self.positives, self.places[number], axis=0)
                found[row] = similarity(vectors[row : row + 1], others)[0]
        values: list[float] = found.tolist()
        return values


def _example_vectors(
    gallery: Gallery, record: SearchRecord, current: CurrentModel, load: Callable[[], Embedder]
) -> tuple[Embedding, int]:
    """Embeddings (E, D) of the examples, and how many have none; missing ones are made from their crops."""
    known, vectors = gallery.cases.vectors(record.id, current.id)
    missing = [example for example in record.examples if example.id not in known]
    if not missing:
        return vectors, 0
    embedder = load()
    if not embedder.spec.same_as(current.spec):
        raise QueryError(f"the gallery's embeddings are of {current.spec}, not of {embedder.spec}")
    crops = [_crops(gallery, example) for example in missing]
    made = embed_tracklets(embedder, crops, BatchSettings().clips)
    added = []
    for example, vector in zip(missing, made, strict=True):
        if vector is not None:
            added.append(vector)
            if not gallery.read_only:
                gallery.cases.set_vector(example.id, current.id, vector)
    return np.stack([*vectors, *added]) if added else vectors, len(missing) - len(added)


def _crops(gallery: Gallery, example: Example) -> Sequence[bytes]:
    if example.tracklet_id is None:
        return example.crops
    try:
        return gallery.crops(example.tracklet_id)
    except (GalleryDamaged, TrackletNotFound):  # retention or a deletion took them
        return ()


def _decided(
    gallery: Gallery, current: CurrentModel, verdicts: dict[int, Verdict], word: Verdict
) -> tuple[list[int], Embedding]:
    """Tracklets with that verdict that have an embedding: ids (N,), embeddings (N, D)."""
    ids = [number for number, verdict in verdicts.items() if verdict == word]
    if not ids:
        return [], np.zeros((0, current.spec.dimension), np.float32)
    return gallery.embeddings(ids, current.id)


def _spans(record: SearchRecord, extra: GalleryFilter, wanted: GalleryFilter | None) -> tuple[Span, ...]:
    """Where nobody is looked for in what is searched: the filters' spans, else the examples' appearances."""
    if wanted is None:
        return ()
    spans = [filter.exclude_span for filter in (record.filter, extra)]
    if record.filter.exclude_span is None:
        spans += [example.span for example in record.examples]
    known = [span for span in spans if span is not None and has_camera(span[0], wanted)]
    return tuple(dict.fromkeys(known))
