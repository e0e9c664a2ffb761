"""Cases."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from web.access import OperatorDep, ServicesDep
from web.api import cases
from web.pages.browsing import PathId
from web.pages.rendering import page

router = APIRouter()


@router.get("/cases", response_class=HTMLResponse)
def cases_page(services: ServicesDep, caller: OperatorDep) -> HTMLResponse:
    """One's cases."""
    found = cases.list_cases(services, caller)
    return page(caller, "cases.html", "Cases", section="/cases", cases=found)


@router.get("/cases/{case_id}", response_class=HTMLResponse)
def case_page(services: ServicesDep, caller: OperatorDep, case_id: PathId) -> HTMLResponse:
    """A case with its searches and notes."""
    found = cases.case(services, caller, case_id)
    owns = caller.name == found.owner or caller.may("admin")
    return page(caller, "case.html", found.name, section="/cases", case=found, owns=owns)
