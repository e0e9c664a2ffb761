"""Where else did this person appear? Searches, what they find, and what people decide about it."""

from __future__ import annotations

from contextlib import suppress
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from fastapi.responses import Response

from pipeline.pointing import QueryError
from pipeline.thresholds import threshold_of
from storage.audit_records import AuditCrop
from storage.case_records import NewExample, SearchRecord, model_identity
from storage.errors import CropsExpired, GalleryDamaged
from storage.records import GalleryFilter
from web.access import (
    Caller,
    OperatorDep,
    ServicesDep,
    gallery_filter,
    open_case,
    visible_case,
    visible_search,
    visible_tracklet,
)
from web.answers import JPEG, After, CropNumber, jpeg, paged, place
from web.api import tracklets
from web.asking import Notes, examples_of
from web.audit import audited, note, note_once
from web.problems import Refused
from web.resources import (
    Filter,
    NewDecision,
    NewSearch,
    SearchChange,
    SearchList,
    SearchResults,
)
from web.results import filter_view, results, search_view, visible_examples
from web.services import Services

router = APIRouter(tags=["searches"])

SearchId = Annotated[int, Path(ge=1, le=2**63 - 1, examples=[9])]
Limit = Annotated[int, Query(ge=1, le=500, description="results", examples=[60])]

_PAGE = 50


@router.post("/searches", status_code=HTTPStatus.CREATED)
def new_search(
    services: ServicesDep, caller: OperatorDep, given: NewSearch, limit: Limit = 60
) -> SearchResults:
    """Ask where else a person appeared. The question is in the audit trail before it is answered."""
    if given.case_id is not None:
        open_case(services, caller, given.case_id)
    wanted = _within(caller, given.filter)
    hooks = Notes()
    examples = examples_of(services, caller, given.examples, hooks)
    current = services.gallery.generations.current_model()
    if current is None:
        raise QueryError("the gallery holds no tracklets yet: run ingest first")
    threshold = threshold_of(current.spec) if given.threshold is None else given.threshold
    with services.gallery.transaction():
        record = services.gallery.cases.add_search(
            caller.name,
            examples,
            wanted,
            threshold,
            given.reason,
            case_id=given.case_id,
            now=services.clock(),
            model=model_identity(current.spec),
        )
        _note_search(services, caller, "search", record, examples)
    return results(services, caller, record, limit, hooks.notes)


@router.get("/searches")
def list_searches(
    services: ServicesDep,
    caller: OperatorDep,
    case_id: Annotated[int | None, Query(ge=1, le=2**63 - 1, examples=[3])] = None,
    after: After = None,
) -> SearchList:
    """One's own searches, or those of a case; newest first."""
    if case_id is not None:
        visible_case(services, caller, case_id)
    behind = place(after, int)
    found = services.gallery.cases.searches(
        author=caller.name if case_id is None else None,
        case_id=case_id,
        before=None if behind is None else behind[0],
        limit=_PAGE + 1,
    )
    records, following = paged(found, _PAGE, lambda record: (record.id,))
    return SearchList(searches=[search_view(services, caller, record) for record in records], next=following)


@router.get("/searches/{search_id}")
def search(
    services: ServicesDep, caller: OperatorDep, search_id: SearchId, limit: Limit = 60
) -> SearchResults:
    """A search, and what it finds now."""
    record = visible_search(services, caller, search_id)
    note(services, caller, "search opened", {"search_id": search_id})
    return results(services, caller, record, limit)


@router.patch("/searches/{search_id}")
def change_search(
    services: ServicesDep,
    caller: OperatorDep,
    search_id: SearchId,
    given: SearchChange,
    limit: Limit = 60,
) -> SearchResults:
    """Change the threshold, put it into a case or take it out, or add examples of the same person."""
    before = _changeable(services, caller, search_id)
    changes = given.model_dump(include={"threshold"}, exclude_none=True)
    if "case_id" in given.model_fields_set:
        changes["case_id"] = given.case_id
        if given.case_id is not None:
            open_case(services, caller, given.case_id)
        _refuse_taking(services, caller, before, given.case_id)
    hooks = Notes()
    examples = examples_of(services, caller, given.add_examples, hooks)
    with services.gallery.transaction():
        if examples:
            services.gallery.cases.add_examples(search_id, examples)
        if changes:
            services.gallery.cases.update_search(search_id, **changes)
        record = services.gallery.cases.search(search_id)
        _note_search(services, caller, "search changed", record, examples, case_before=before.case_id)
    return results(services, caller, record, limit, hooks.notes)


@router.delete("/searches/{search_id}", status_code=HTTPStatus.NO_CONTENT)
def delete_search(services: ServicesDep, caller: OperatorDep, search_id: SearchId) -> None:
    """Delete a search with its examples and decisions; the audit trail keeps that it was made."""
    record = _changeable(services, caller, search_id)
    if record.author != caller.name and not caller.may("admin"):
        raise Refused(HTTPStatus.FORBIDDEN, "a search is deleted by its author or an admin")
    with audited(services, caller, "search deleted", {"search_id": search_id, "case": record.case_id}):
        services.gallery.cases.remove_search(search_id)


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
    subject = {"search_id": search_id, "tracklet": given.tracklet, "verdict": given.verdict}
    with audited(services, caller, "decision", subject):
        services.gallery.cases.decide(
            search_id, given.tracklet, given.verdict, caller.name, now=services.clock()
        )
    return results(services, caller, services.gallery.cases.search(search_id), limit)


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
    subject = {"search_id": search_id, "tracklet": tracklet_id}
    with audited(services, caller, "decision undone", subject) as told:
        undone = services.gallery.cases.undo(search_id, tracklet_id, caller.name, now=services.clock())
        if undone is None:
            raise Refused(HTTPStatus.NOT_FOUND, f"nothing was decided about tracklet {tracklet_id}")
        told["verdict"] = undone.verdict
    return results(services, caller, services.gallery.cases.search(search_id), limit)


@router.post("/searches/{search_id}/opened/{tracklet_id}", status_code=HTTPStatus.NO_CONTENT)
def opened(
    services: ServicesDep, caller: OperatorDep, search_id: SearchId, tracklet_id: tracklets.TrackletId
) -> None:
    """Tell that a result is looked at closely; the audit trail keeps it, once in ten minutes."""
    visible_search(services, caller, search_id)
    visible_tracklet(services, caller, tracklet_id)
    note_once(services, caller, "result opened", {"search_id": search_id, "tracklet": tracklet_id})


@router.get(
    "/searches/{search_id}/examples/{example_id}/crops/{number}", responses=JPEG, response_class=Response
)
def example_crop(
    services: ServicesDep,
    caller: OperatorDep,
    search_id: SearchId,
    example_id: Annotated[int, Path(ge=1, le=2**63 - 1, examples=[5])],
    number: CropNumber,
) -> Response:
    """A picture of the person searched for, of an example that is no tracklet."""
    record = visible_search(services, caller, search_id)
    found = next((each for each in visible_examples(caller, record) if each.id == example_id), None)
    if found is None or number >= len(found.crops):
        raise Refused(HTTPStatus.NOT_FOUND, "the search has no such picture")
    return jpeg(found.crops[number])


def _changeable(services: Services, caller: Caller, search_id: int) -> SearchRecord:
    record = visible_search(services, caller, search_id)
    if record.case_id is not None:
        open_case(services, caller, record.case_id)
    return record


def may_take(services: Services, caller: Caller, author: str, case_id: int) -> bool:
    """Whether a search leaves its case by this caller: by its author, the case's owner, or an admin."""
    if author == caller.name or caller.may("admin"):
        return True
    return services.gallery.cases.case(case_id).owner == caller.name


def _refuse_taking(services: Services, caller: Caller, record: SearchRecord, case_id: int | None) -> None:
    if record.case_id in (None, case_id) or may_take(services, caller, record.author, record.case_id):
        return
    raise Refused(HTTPStatus.FORBIDDEN, "a search is taken out of its case by its author or the case's owner")


def _within(caller: Caller, wanted: Filter) -> GalleryFilter:
    inside = gallery_filter(caller, wanted)
    if inside is None:
        raise Refused(HTTPStatus.FORBIDDEN, "you may see none of these cameras")
    return inside


def _note_search(
    services: Services,
    caller: Caller,
    action: str,
    record: SearchRecord,
    examples: list[NewExample],
    **more: Any,
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
        "filter": filter_view(record.filter).model_dump(),
        "threshold": record.threshold,
        "reason": record.reason,
        "case": record.case_id,
        **more,
    }
    note(services, caller, action, subject, crops)
