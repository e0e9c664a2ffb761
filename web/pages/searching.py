"""Asking where else a person appeared, and looking through what was found."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse

from storage.errors import CaseNotFound, TrackletNotFound
from web.access import Caller, OperatorDep, ServicesDep, visible_case, visible_tracklet
from web.answers import After
from web.api import cameras, cases, searches
from web.pages.browsing import Number, PathId, locked
from web.pages.rendering import chips, further, page
from web.resources import CaseView, Id, MatchView, SearchResults, TrackletView
from web.services import Services

router = APIRouter()

_MOST_RESULTS = 500
_MOST_EXAMPLES = 16
_MOST_CASES = 200  # to choose from


@router.get("/search", response_class=HTMLResponse)
def search_page(
    services: ServicesDep,
    caller: OperatorDep,
    case: Number = None,
    tracklet: Annotated[list[Id] | None, Query()] = None,
    after: After = None,
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
        open_cases=_open_cases(services, caller, case),
        case_id=case,
        examples=examples,
        missing=missing,
        searches=earlier.searches,
        more=further("/search", {}, "after", earlier.next),
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
        open_cases=_open_cases(services, caller, found.case_id),
        may_take=found.case_id is not None
        and searches.may_take(services, caller, found.author, found.case_id),
        locked=locked(services, caller, found.case_id),
        query_side=_query_side(found),
        blank=_blank_match(),
        more=f"/searches/{search_id}?limit={min(limit * 3, _MOST_RESULTS)}" if more else None,
    )


def _open_cases(services: Services, caller: Caller, chosen: int | None) -> list[CaseView]:
    """The newest of the open cases, and the one that was chosen already."""
    found = cases.list_cases(services, caller, closed=False, limit=_MOST_CASES).cases
    if chosen is not None and chosen not in {case.id for case in found}:
        with suppress(CaseNotFound):
            found += [cases.view(visible_case(services, caller, chosen))]
    return [case for case in found if case.closed is None]


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
