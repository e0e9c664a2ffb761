"""Searches and what they find, as the API shows them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from pipeline.feedback import rank
from pipeline.narrowing import shown_decisions, shown_filter, shows_example
from pipeline.thresholds import describe_errors
from storage.case_records import Example, SearchRecord
from storage.gallery import EVERYTHING
from storage.records import EmbedderSpec, GalleryFilter
from web.access import Caller
from web.api import tracklets
from web.resources import ExampleView, Filter, GapView, MatchView, SearchResults, SearchView
from web.services import Services


def results(
    services: Services, caller: Caller, record: SearchRecord, limit: int, notes: list[str] | None = None
) -> SearchResults:
    """What a search finds now, in the cameras that the caller may see. Waits for its turn."""
    with services.turns:
        return _results(services, caller, record, limit, notes)


def _results(
    services: Services, caller: Caller, record: SearchRecord, limit: int, notes: list[str] | None
) -> SearchResults:
    allowed = EVERYTHING if caller.cameras is None else GalleryFilter(caller.cameras)
    ranking = rank(services.gallery, record, services.networks.load_embedder, limit, allowed)
    matches = [
        MatchView(
            rank=number,
            tracklet=tracklets.view(hit.record),
            similarity=round(hit.similarity, 6),
            match=hit.similarity >= ranking.threshold,
            verdict=hit.verdict,
        )
        for number, hit in enumerate(ranking.hits, start=1)
    ]
    query_spans = [span for span in ranking.left_out if caller.sees(span[0])]
    shown = [(match.tracklet.camera, match.tracklet.start, match.tracklet.end) for match in matches]
    return SearchResults(
        **{**search_view(services, caller, record).model_dump(), "threshold": ranking.threshold},
        model=str(ranking.spec),
        note=ranking.fallback,
        errors=_errors(services, caller, ranking.spec),
        notes=[*([ranking.threshold_note] if ranking.threshold_note else []), *(notes or [])],
        matches=matches,
        query_spans=query_spans,
        gaps=_gaps(services, [*shown, *query_spans]),
    )


def _errors(services: Services, caller: Caller, spec: EmbedderSpec) -> str:
    where = "in this gallery" if caller.cameras is None else "in the cameras that you may see"
    return describe_errors(spec, services.gallery.num_searchable(caller.cameras), where)


def _gaps(services: Services, spans: Sequence[tuple[str, float, float]]) -> list[GapView]:
    """Of the cameras that are in the results, from the first to the last of those."""
    if not spans:
        return []
    cameras, starts, ends = zip(*spans, strict=True)
    return tracklets.gaps_of(services, GalleryFilter(frozenset(cameras), start=min(starts), end=max(ends)))


def search_view(services: Services, caller: Caller, record: SearchRecord) -> SearchView:
    """A search as the API shows it, without what it finds."""
    examples = visible_examples(caller, record)
    decisions = shown_decisions(services.gallery, record.decisions, caller.cameras)
    asked, hidden_cameras = shown_filter(record.filter, caller.cameras)
    shown = services.gallery.records(each.tracklet_id for each in examples if each.tracklet_id is not None)
    return SearchView(
        id=record.id,
        case_id=record.case_id,
        author=record.author,
        created=record.created,
        reason=record.reason,
        threshold=record.threshold,
        filter=filter_view(asked),
        hidden_cameras=hidden_cameras,
        examples=[
            ExampleView(
                id=each.id,
                tracklet=tracklets.view(shown[each.tracklet_id]) if each.tracklet_id else None,
                description=each.description,
                num_crops=len(each.crops),
            )
            for each in examples
            if each.tracklet_id is None or each.tracklet_id in shown  # else deleted since the search was read
        ],
        hidden_examples=len(record.examples) - len(examples),
        decisions=dict(Counter(each.verdict for each in decisions)),
        last_decision=_last_decision(caller, record),
    )


def visible_examples(caller: Caller, record: SearchRecord) -> list[Example]:
    """The examples that are from nowhere, or from cameras that the caller may see."""
    return [each for each in record.examples if shows_example(each, caller.cameras)]


def _last_decision(caller: Caller, record: SearchRecord) -> int | None:
    mine = [each for each in record.decisions if each.author == caller.name]
    return max(mine, key=lambda each: each.id).tracklet_id if mine else None


def filter_view(wanted: GalleryFilter) -> Filter:
    """A filter as the API takes it."""
    return Filter(
        cameras=sorted(wanted.cameras),
        exclude_cameras=sorted(wanted.exclude_cameras),
        start=wanted.start,
        end=wanted.end,
        min_quality=wanted.min_quality,
    )
