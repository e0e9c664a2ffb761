"""Where else did this person appear? Searches, what they find, and what people decide about it."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path, Query
from fastapi.responses import Response

from pipeline import query as queries
from pipeline.feedback import rank
from pipeline.hooks import Hooks
from pipeline.pointing import Box, QueryError
from pipeline.thresholds import describe_errors, threshold_of
from storage.audit_records import AuditCrop
from storage.case_records import NewExample, SearchRecord
from storage.errors import CropsExpired, GalleryDamaged, SearchNotFound
from storage.gallery import EVERYTHING
from storage.records import GalleryFilter
from web import resources
from web.access import (
    Caller,
    OperatorDep,
    ServicesDep,
    gallery_filter,
    visible_source,
    visible_tracklet,
)
from web.answers import JPEG, cursor, jpeg, place
from web.api import tracklets
from web.audit import note
from web.playing import shown_file
from web.problems import Refused
from web.resources import (
    ExampleView,
    Filter,
    MatchView,
    NewDecision,
    NewSearch,
    SearchChange,
    SearchList,
    SearchResults,
    SearchView,
    SourceExample,
    TrackletExample,
    UploadExample,
)
from web.services import Services

router = APIRouter(tags=["searches"])

SearchId = Annotated[int, Path(ge=1, le=2**63 - 1)]
Limit = Annotated[int, Query(ge=1, le=500, description="results")]

_MAX_CROPS = 8
_PAGE = 50


@router.post("/searches", status_code=HTTPStatus.CREATED)
def new_search(
    services: ServicesDep, caller: OperatorDep, given: NewSearch, limit: Limit = 60
) -> SearchResults:
    """Ask where else a person appeared. The question is in the audit trail before it is answered."""
    if given.case_id is not None:
        _open_case(services, caller, given.case_id)
    wanted = _within(caller, given.filter)
    hooks = _Notes()
    examples = [_example(services, caller, each, hooks) for each in given.examples]
    current = services.gallery.current_generation()
    if current is None:
        raise QueryError("the gallery holds no tracklets yet: run ingest first")
    threshold = threshold_of(current.spec) if given.threshold is None else given.threshold
    record = services.gallery.cases.add_search(
        caller.name,
        examples,
        wanted,
        threshold,
        given.reason,
        case_id=given.case_id,
        now=services.clock(),
    )
    _note_search(services, caller, "search", record, examples)
    return _results(services, caller, record, limit, hooks.notes)


@router.get("/searches")
def list_searches(
    services: ServicesDep,
    caller: OperatorDep,
    case_id: Annotated[int | None, Query(ge=1, le=2**63 - 1)] = None,
    after: Annotated[str | None, Query(max_length=200, description="`next` of the page before")] = None,
) -> SearchList:
    """One's own searches, or those of a case; newest first."""
    if case_id is not None:
        _visible_case(services, caller, case_id)
    behind = place(after, 1)
    found = services.gallery.cases.searches(
        author=caller.name if case_id is None else None,
        case_id=case_id,
        before=None if behind is None else int(behind[0]),
        limit=_PAGE,
    )
    last = cursor(found[-1].id) if len(found) == _PAGE else None
    return SearchList(searches=[search_view(services, record) for record in found], next=last)


@router.get("/searches/{search_id}")
def search(
    services: ServicesDep, caller: OperatorDep, search_id: SearchId, limit: Limit = 60
) -> SearchResults:
    """A search, and what it finds now."""
    record = visible_search(services, caller, search_id)
    note(services, caller, "search opened", {"search_id": search_id})
    return _results(services, caller, record, limit)


@router.patch("/searches/{search_id}")
def change_search(
    services: ServicesDep,
    caller: OperatorDep,
    search_id: SearchId,
    given: SearchChange,
    limit: Limit = 60,
) -> SearchResults:
    """Change the threshold, put it into a case, or add examples of the same person."""
    _changeable(services, caller, search_id)
    if given.case_id is not None:
        _open_case(services, caller, given.case_id)
    hooks = _Notes()
    examples = [_example(services, caller, each, hooks) for each in given.add_examples]
    if examples:
        services.gallery.cases.add_examples(search_id, examples)
    if given.threshold is not None or given.case_id is not None:
        services.gallery.cases.update_search(search_id, threshold=given.threshold, case_id=given.case_id)
    record = services.gallery.cases.search(search_id)
    _note_search(services, caller, "search changed", record, examples)
    return _results(services, caller, record, limit, hooks.notes)


@router.delete("/searches/{search_id}", status_code=HTTPStatus.NO_CONTENT)
def delete_search(services: ServicesDep, caller: OperatorDep, search_id: SearchId) -> None:
    """Delete a search with its examples and decisions; the audit trail keeps that it was made."""
    record = _changeable(services, caller, search_id)
    if record.author != caller.name and not caller.may("admin"):
        raise Refused(HTTPStatus.FORBIDDEN, "a search is deleted by its author or an admin")
    services.gallery.cases.remove_search(search_id)
    note(services, caller, "search deleted", {"search_id": search_id})


@router.post("/searches/{search_id}/decisions")
def decide(
    services: ServicesDep,
    caller: OperatorDep,
    search_id: SearchId,
    given: NewDecision,
    limit: Limit = 60,
) -> SearchResults:
    """Say whether a result is the person; the answer is ranked anew."""
    _changeable(services, caller, search_id)
    visible_tracklet(services, caller, given.tracklet)
    services.gallery.cases.decide(search_id, given.tracklet, given.verdict, caller.name, now=services.clock())
    subject = {"search_id": search_id, "tracklet": given.tracklet, "verdict": given.verdict}
    note(services, caller, "decision", subject)
    return _results(services, caller, services.gallery.cases.search(search_id), limit)


@router.delete("/searches/{search_id}/decisions/{tracklet_id}")
def undo(
    services: ServicesDep,
    caller: OperatorDep,
    search_id: SearchId,
    tracklet_id: tracklets.TrackletId,
    limit: Limit = 60,
) -> SearchResults:
    """Take the newest decision about a tracklet back; the one before it counts again."""
    _changeable(services, caller, search_id)
    visible_tracklet(services, caller, tracklet_id)
    undone = services.gallery.cases.undo(search_id, tracklet_id, caller.name, now=services.clock())
    if undone is None:
        raise Refused(HTTPStatus.NOT_FOUND, f"nothing was decided about tracklet {tracklet_id}")
    subject = {"search_id": search_id, "tracklet": tracklet_id, "verdict": undone.verdict}
    note(services, caller, "decision undone", subject)
    return _results(services, caller, services.gallery.cases.search(search_id), limit)


@router.post("/searches/{search_id}/opened/{tracklet_id}", status_code=HTTPStatus.NO_CONTENT)
def opened(
    services: ServicesDep, caller: OperatorDep, search_id: SearchId, tracklet_id: tracklets.TrackletId
) -> None:
    """Tell that a result was looked at closely; the audit trail keeps it."""
    visible_search(services, caller, search_id)
    visible_tracklet(services, caller, tracklet_id)
    note(services, caller, "result opened", {"search_id": search_id, "tracklet": tracklet_id})


@router.get(
    "/searches/{search_id}/examples/{example_id}/crops/{number}", responses=JPEG, response_class=Response
)
def example_crop(
    services: ServicesDep,
    caller: OperatorDep,
    search_id: SearchId,
    example_id: Annotated[int, Path(ge=1, le=2**63 - 1)],
    number: Annotated[int, Path(ge=0, lt=64)],
) -> Response:
    """A picture of the person searched for, of an example that is no tracklet."""
    record = visible_search(services, caller, search_id)
    crops = next((each.crops for each in record.examples if each.id == example_id), ())
    if number >= len(crops):
        raise Refused(HTTPStatus.NOT_FOUND, "the search has no such picture")
    return jpeg(crops[number])


def visible_search(services: Services, caller: Caller, search_id: int) -> SearchRecord:
    """A search that the caller may see: their own, one of their cases, or any for an admin.

    Raises:
        SearchNotFound: there is none; one of others sounds the same.
    """
    record = services.gallery.cases.search(search_id)
    if record.author == caller.name or caller.may("admin"):
        return record
    if record.case_id is not None:
        case = services.gallery.cases.case(record.case_id)
        if caller.name == case.owner or caller.name in case.members:
            return record
    raise SearchNotFound(f"no search has the id {search_id}")


def search_view(services: Services, record: SearchRecord) -> SearchView:
    """A search as the API shows it, without what it finds."""
    return SearchView(
        id=record.id,
        case_id=record.case_id,
        author=record.author,
        created=record.created,
        reason=record.reason,
        threshold=record.threshold,
        filter=_filter_view(record.filter),
        examples=[
            ExampleView(
                id=each.id,
                tracklet=None
                if each.tracklet_id is None
                else tracklets.view(services.gallery.tracklet(each.tracklet_id)),
                description=each.description,
                num_crops=len(each.crops),
            )
            for each in record.examples
        ],
        decisions=dict(Counter(each.verdict for each in record.decisions)),
    )


def _changeable(services: Services, caller: Caller, search_id: int) -> SearchRecord:
    record = visible_search(services, caller, search_id)
    if record.case_id is not None:
        _open_case(services, caller, record.case_id)
    return record


def _visible_case(services: Services, caller: Caller, case_id: int) -> None:
    from web.api.cases import visible_case

    visible_case(services, caller, case_id)


def _open_case(services: Services, caller: Caller, case_id: int) -> None:
    from web.api.cases import open_case

    open_case(services, caller, case_id)


def _within(caller: Caller, wanted: Filter) -> GalleryFilter:
    inside = gallery_filter(caller, wanted)
    if inside is None:
        raise Refused(HTTPStatus.FORBIDDEN, "you may see none of these cameras")
    return inside


def _results(
    services: Services, caller: Caller, record: SearchRecord, limit: int, notes: list[str] | None = None
) -> SearchResults:
    """What a search finds now, in the cameras that the caller may see."""
    allowed = EVERYTHING if caller.cameras is None else GalleryFilter(caller.cameras)
    ranking = rank(services.gallery, record, services.networks.load_embedder, limit, allowed)
    matches = [
        MatchView(
            rank=number,
            tracklet=tracklets.view(hit.record),
            similarity=round(hit.similarity, 6),
            match=hit.similarity >= record.threshold,
            verdict=hit.verdict,
        )
        for number, hit in enumerate(ranking.hits, start=1)
    ]
    return SearchResults(
        **search_view(services, record).model_dump(),
        model=str(ranking.spec),
        note=ranking.fallback,
        errors=describe_errors(ranking.spec, services.gallery.counts()["tracklets"]),
        notes=notes or [],
        matches=matches,
        query_spans=[span for span in ranking.left_out if caller.sees(span[0])],
    )


def _example(services: Services, caller: Caller, given: resources.Example, hooks: Hooks) -> NewExample:
    match given:
        case TrackletExample():
            record = visible_tracklet(services, caller, given.tracklet)
            return NewExample(record.id, {"tracklet": record.id, "camera": record.camera})
        case UploadExample():
            found = _query_by_upload(services, caller, given, hooks)
        case SourceExample():
            found = _query_by_source(services, caller, given, hooks)
    description = {
        name: value for name, value in found.description.items() if name not in ("video", "images")
    }
    span = None if found.span is None else list(found.span)
    return NewExample(
        None, {"kind": found.kind, **description, "span": span}, found.crops[:_MAX_CROPS], found.embedding
    )


def _query_by_upload(services: Services, caller: Caller, given: UploadExample, hooks: Hooks) -> queries.Query:
    uploads, config = services.uploads, services.config
    upload = uploads.get(given.upload, caller.name)
    with services.networks.embedder() as embedder:
        if upload.kind == "picture":
            image, _ = uploads.frame(upload.id, caller.name)
            return queries.query_by_pictures([(image, _box(given.box))], embedder, config, ["the upload"])
        box = _box(given.box)
        if box is None:
            raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, "a clip needs a box around the person at a moment")
        frames = uploads.frames(
            upload.id, caller.name, given.at_s - queries.TRACK_S, given.at_s + queries.TRACK_S
        )
        return queries.query_by_frames(
            frames, given.at_s, box, embedder, config,
            name="the upload", frame_rate=upload.frame_rate, hooks=hooks,
        )  # fmt: skip


def _query_by_source(services: Services, caller: Caller, given: SourceExample, hooks: Hooks) -> queries.Query:
    source = visible_source(services, caller, given.source)
    file = shown_file(source)
    if file is None:
        raise Refused(HTTPStatus.NOT_FOUND, "the recording is not at hand, or must not be shown")
    box = _box(given.box)
    assert box is not None
    with services.networks.embedder() as embedder:
        return queries.query_by_video(
            services.gallery, file, given.at_s, box, embedder, services.config, hooks, "the recording"
        )


def _box(given: list[float] | None) -> Box | None:
    if given is None:
        return None
    left, top, right, bottom = given
    return left, top, right, bottom


def _note_search(
    services: Services, caller: Caller, action: str, record: SearchRecord, examples: list[NewExample]
) -> None:
    crops = []
    for each in examples:
        if each.tracklet_id is not None:
            with suppress(CropsExpired, GalleryDamaged):  # retention may have taken the picture
                crops.append(AuditCrop(services.gallery.thumbnail(each.tracklet_id), each.tracklet_id))
        else:
            crops.append(AuditCrop(each.crops[len(each.crops) // 2], None))
    subject = {
        "search_id": record.id,
        "examples": [dict(each.description) for each in examples],
        "filter": _filter_view(record.filter).model_dump(),
        "threshold": record.threshold,
        "reason": record.reason,
        "case": record.case_id,
    }
    note(services, caller, action, subject, crops)


def _filter_view(wanted: GalleryFilter) -> Filter:
    return Filter(
        cameras=sorted(wanted.cameras),
        exclude_cameras=sorted(wanted.exclude_cameras),
        start=wanted.start,
        end=wanted.end,
        min_quality=wanted.min_quality,
    )


class _Notes(Hooks):
    """Collects what a user should read."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def on_note(self, text: str) -> None:
        self.notes.append(text)
