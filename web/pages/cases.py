"""Cases."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from web.access import OperatorDep, ServicesDep, visible_case
from web.answers import After
from web.api import cases, searches
from web.pages.browsing import PathId
from web.pages.rendering import further, page

router = APIRouter()


@router.get("/cases", response_class=HTMLResponse)
def cases_page(services: ServicesDep, caller: OperatorDep, after: After = None) -> HTMLResponse:
    """One's cases."""
    found = cases.list_cases(services, caller, after=after)
    more = further("/cases", {}, "after", found.next)
    return page(caller, "cases.html", "Cases", section="/cases", cases=found.cases, more=more)


@router.get("/cases/{case_id}", response_class=HTMLResponse)
def case_page(
    services: ServicesDep,
    caller: OperatorDep,
    case_id: PathId,
    notes_after: After = None,
    searches_after: After = None,
) -> HTMLResponse:
    """A case with a page of its searches and one of its notes."""
    found = cases.view(visible_case(services, caller, case_id))
    notes = cases.list_notes(services, caller, case_id, notes_after)
    asked = searches.list_searches(services, caller, case_id, searches_after)
    path, here = f"/cases/{case_id}", {"notes_after": notes_after, "searches_after": searches_after}
    return page(
        caller,
        "case.html",
        found.name,
        section="/cases",
        case=found,
        owns=caller.name == found.owner or caller.may("admin"),
        notes=notes.notes,
        then="reload" if notes_after is None else f"{path}#notes",  # a new note is on the first page
        more_notes=further(path, here, "notes_after", notes.next, "#notes"),
        searches=asked.searches,
        more_searches=further(path, here, "searches_after", asked.next, "#searches"),
    )
