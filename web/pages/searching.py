"""Asking where else a person appeared, and looking through what was found."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse

from storage.errors import TrackletNotFound
from web.access import Caller, OperatorDep, ServicesDep, visible_tracklet
from web.api import cameras, cases, searches
from web.pages.browsing import Number, PathId, locked
from web.pages.rendering import chips, page, query
from web.resources import CaseView, Id, MatchView, SearchResults, TrackletView
from web.services import Services

router = APIRouter()

_MOST_RESULTS = 500
_MOST_EXAMPLES = 16


@router.get("/search", response_class=HTMLResponse)
def search_page(
    services: ServicesDep,
    caller: OperatorDep,
    case: Number = None,
    tracklet: Annotated[list[Id] | None, Query()] = None,
    after: Annotated[str | None, Query(max_length=200)] = None,
) -> HTMLResponse:
    """Examples, filters and the reason; below, one's earlier searches."""
    examples, missing = _examples(services, caller, tracklet or [])
    earlier = searches.list_searches(services, caller, after=after)
    return page(
        caller,
        "search.html",
        "Search",
        section="/search",
        cameras=[each.camera for each in cameras.list_cameras(services, caller)],
        open_cases=_open_cases(services, caller),
        case_id=case,
        examples=examples,
        missing=missing,
        searches=earlier.searches,
        more=earlier.next and query("/search", [("after", earlier.next)]),
    )


@router.get("/searches/{search_id}", response_class=HTMLResponse)
def results_page(
    services: ServicesDep, caller: OperatorDep, search_id: PathId, limit: searches.Limit = 60
) -> HTMLResponse:
    """What a search finds now: matches, the line, candidates."""
    found = searches.search(services, caller, search_id, limit)
    more = len(found.matches) == limit < _MOST_RESULTS
    return page(
        caller,
        "results.html",
        f"Search {search_id}",
        section="/search",
        search=found,
        chips=chips(found.filter),
        open_cases=_open_cases(services, caller),
        locked=locked(services, caller, found.case_id),
        query_side=_query_side(found),
        blank=_blank_match(),
        more=f"/searches/{search_id}?limit={min(limit * 3, _MOST_RESULTS)}" if more else None,
    )


def _open_cases(services: Services, caller: Caller) -> list[CaseView]:
    return [case for case in cases.list_cases(services, caller) if case.closed is None]


def _examples(
    services: Services, caller: Caller, ids: list[int]
) -> tuple[list[dict[str, int | str]], list[int]]:
    """Tracklets with their cameras, and the numbers that are none."""
    examples: list[dict[str, int | str]] = []
    missing = []
    for number in ids[:_MOST_EXAMPLES]:
        try:
            examples.append({"id": number, "camera": visible_tracklet(services, caller, number).camera})
        except TrackletNotFound:
            missing.append(number)
    return examples, missing


def _query_side(found: SearchResults) -> str:
    """The first example, as the page that compares names it."""
    first = found.examples[0]
    side = f"example={first.id}" if first.tracklet is None else f"a={first.tracklet.id}"
    return f"search={found.id}&{side}"


def _blank_match() -> MatchView:
    """What the script copies for results that come in later."""
    tracklet = TrackletView(
        id=0,
        camera="",
        start=0,
        end=0,
        num_frames=0,
        quality=0,
        finished=True,
        has_crops=True,
        searchable=True,
    )
    return MatchView(rank=0, tracklet=tracklet, similarity=0, match=False, verdict=None)
