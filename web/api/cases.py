"""Cases: a named set of searches, decisions and notes, to be exported."""

from __future__ import annotations

import tempfile
from http import HTTPStatus
from pathlib import Path as File
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from fastapi.responses import FileResponse
from starlette.background import BackgroundTask

from pipeline.case_export import export_case
from storage.case_records import Case, Note
from web.access import Caller, OperatorDep, ServicesDep, open_case, visible_case
from web.answers import After, PageSize, paged, place
from web.api.searches import list_searches
from web.audit import audited, note
from web.problems import Refused
from web.resources import (
    CaseChange,
    CaseDetail,
    CasePage,
    CaseView,
    NewCase,
    NewNote,
    NotePage,
    NoteView,
)
from web.services import Services

router = APIRouter(tags=["cases"])

CaseId = Annotated[int, Path(ge=1, le=2**63 - 1, examples=[3])]

_ZIP: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}},
        "description": "report.html, case.json, crops, clips and their SHA-256 sums.",
    }
}


@router.get("/cases")
def list_cases(
    services: ServicesDep,
    caller: OperatorDep,
    closed: Annotated[
        bool | None, Query(description="only those, or only the open ones", examples=[False])
    ] = None,
    after: After = None,
    limit: PageSize = 50,
) -> CasePage:
    """One's own cases and those one is a member of, newest first; admins see all."""
    behind = place(after, int)
    found = services.gallery.cases.cases(
        None if caller.may("admin") else caller.name,
        is_open=None if closed is None else not closed,
        before=None if behind is None else behind[0],
        limit=limit + 1,
    )
    cases, following = paged(found, limit, lambda case: (case.id,))
    return CasePage(cases=[view(case) for case in cases], next=following)


@router.post("/cases", status_code=HTTPStatus.CREATED)
def new_case(services: ServicesDep, caller: OperatorDep, given: NewCase) -> CaseDetail:
    """Begin a case."""
    with audited(services, caller, "case made", {"name": given.name}) as told:
        made = services.gallery.cases.add_case(
            given.name, given.description, caller.name, now=services.clock()
        )
        told["case"] = made.id
    return _detail(services, caller, made)


@router.get("/cases/{case_id}")
def case(services: ServicesDep, caller: OperatorDep, case_id: CaseId) -> CaseDetail:
    """A case with the newest of its notes and of its searches."""
    return _detail(services, caller, visible_case(services, caller, case_id))


@router.patch("/cases/{case_id}")
def change_case(services: ServicesDep, caller: OperatorDep, case_id: CaseId, given: CaseChange) -> CaseDetail:
    """Change what is named in the request: members may close a case and open it again, no more."""
    case = visible_case(services, caller, case_id)
    if given.held is not None and not caller.may("admin"):
        raise Refused(HTTPStatus.FORBIDDEN, "a legal hold is set and lifted by admins")
    values = given.model_dump(exclude_none=True)
    owns = caller.name == case.owner or caller.may("admin")
    if not owns and values.keys() & {"name", "description", "members"}:
        what = "name, description and members are changed by the case's owner or an admin"
        raise Refused(HTTPStatus.FORBIDDEN, what)
    if given.members is not None:
        values["members"] = _members(services, given.members)
    if given.closed is not None:
        values["now"] = services.clock()
    told = {"case": case_id, **given.model_dump(exclude_none=True)}
    with audited(services, caller, "case changed", told):
        changed = services.gallery.cases.update_case(case_id, **values)
    return _detail(services, caller, changed)


@router.delete("/cases/{case_id}", status_code=HTTPStatus.NO_CONTENT)
def delete_case(services: ServicesDep, caller: OperatorDep, case_id: CaseId) -> None:
    """Delete a case with its searches, decisions and notes; refused while it is held."""
    case = visible_case(services, caller, case_id)
    if caller.name != case.owner and not caller.may("admin"):
        raise Refused(HTTPStatus.FORBIDDEN, "a case is deleted by its owner or an admin")
    with audited(services, caller, "case deleted", {"case": case_id, "name": case.name}):
        services.gallery.cases.remove_case(case_id)


@router.get("/cases/{case_id}/notes")
def list_notes(
    services: ServicesDep,
    caller: OperatorDep,
    case_id: CaseId,
    after: After = None,
    limit: PageSize = 50,
) -> NotePage:
    """The notes of a case, newest first."""
    visible_case(services, caller, case_id)
    behind = place(after, int)
    last = None if behind is None else behind[0]
    found = services.gallery.cases.notes(case_id, before=last, limit=limit + 1)
    notes, following = paged(found, limit, lambda note: (note.id,))
    return NotePage(notes=[_note_view(note) for note in notes], next=following)


@router.post("/cases/{case_id}/notes", status_code=HTTPStatus.CREATED)
def new_note(services: ServicesDep, caller: OperatorDep, case_id: CaseId, given: NewNote) -> NoteView:
    """Write a note."""
    open_case(services, caller, case_id)
    with audited(services, caller, "note", {"case": case_id}) as told:
        made = services.gallery.cases.add_note(case_id, caller.name, given.text, now=services.clock())
        told["note"] = made.id
    return _note_view(made)


@router.post("/cases/{case_id}/export", responses=_ZIP, response_class=FileResponse)
def export(services: ServicesDep, caller: OperatorDep, case_id: CaseId) -> FileResponse:
    """The case as a zip file."""
    case = visible_case(services, caller, case_id)
    folder = tempfile.TemporaryDirectory(dir=services.gallery.work_folder)  # gone when it was sent
    try:
        made = export_case(
            services.gallery,
            case_id,
            File(folder.name) / "case.zip",
            author=caller.name,
            cameras=caller.cameras,
        )
        note(services, caller, "export", {"case": case_id, "name": case.name, "bytes": made.stat().st_size})
    except BaseException:
        folder.cleanup()
        raise
    return FileResponse(
        made,
        media_type="application/zip",
        filename=f"case-{case_id}.zip",
        background=BackgroundTask(folder.cleanup),
    )


def view(case: Case) -> CaseView:
    """A case as the API shows it."""
    return CaseView(
        id=case.id,
        name=case.name,
        description=case.description,
        owner=case.owner,
        members=sorted(case.members),
        created=case.created,
        closed=case.closed,
        held=case.held,
        num_searches=case.num_searches,
        num_notes=case.num_notes,
    )


def _detail(services: Services, caller: Caller, case: Case) -> CaseDetail:
    notes = list_notes(services, caller, case.id)
    searches = list_searches(services, caller, case.id)
    return CaseDetail(
        **view(case).model_dump(),
        notes=notes.notes,
        next_notes=notes.next,
        searches=searches.searches,
        next_searches=searches.next,
    )


def _note_view(note: Note) -> NoteView:
    return NoteView(id=note.id, author=note.author, created=note.created, text=note.text)


def _members(services: Services, names: list[str]) -> frozenset[str]:
    roles = services.gallery.accounts.roles(names)
    for name in names:
        if roles.get(name, "viewer") == "viewer":
            why = "is a viewer, and viewers see no cases" if name in roles else "is nobody here"
            raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, f"'{name}' {why}")
    return frozenset(names)
