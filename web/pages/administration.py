"""Users, retention, erasure, audit, index: what admins and data-protection officers read."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse

from web.access import AdminDep, Caller, ServicesDep, visible_search
from web.answers import After
from web.api import cameras, index, keeping, trail, users
from web.pages.browsing import Moment, Number
from web.pages.rendering import further, moved, page, query
from web.services import Services

router = APIRouter()

_MOST_IDS = 10_000


@router.get("/admin", response_class=HTMLResponse)
def admin_page(caller: AdminDep) -> HTMLResponse:
    """Its first part."""
    return moved("/admin/users")


@router.get("/admin/users", response_class=HTMLResponse)
def users_page(
    services: ServicesDep, caller: AdminDep, after: After = None, tokens_after: After = None
) -> HTMLResponse:
    """A page of the users and one of all API tokens."""
    people = users.list_users(services, caller, after)
    tokens = users.list_tokens(services, caller, after=tokens_after)
    path, here = "/admin/users", {"after": after, "tokens_after": tokens_after}
    return _page(
        caller,
        "users",
        "Users",
        users=people.users,
        more_users=further(path, here, "after", people.next),
        tokens=tokens.tokens,
        more_tokens=further(path, here, "tokens_after", tokens.next, "#tokens"),
        cameras=_cameras(services, caller),
    )


@router.get("/admin/retention", response_class=HTMLResponse)
def retention_page(services: ServicesDep, caller: AdminDep) -> HTMLResponse:
    """Rules, and what they would delete now."""
    due = keeping.due(services, caller)
    return _page(
        caller,
        "retention",
        "Retention",
        rules=keeping.list_rules(services, caller),
        leaves=any(each.crops or each.embeddings or each.tracklets for each in due),
        due=[each for each in due if each.crops or each.embeddings or each.tracklets or each.held],
        cameras=_cameras(services, caller),
    )


@router.get("/admin/erasure", response_class=HTMLResponse)
def erasure_page(
    services: ServicesDep,
    caller: AdminDep,
    tracklet: Annotated[list[str] | None, Query()] = None,
    search: Number = None,
) -> HTMLResponse:
    """What an erasure would delete, to be looked at and confirmed."""
    ids, problem = _ids(tracklet or [])
    if search is not None:
        record = visible_search(services, caller, search)
        ids |= {each.tracklet_id for each in record.examples if each.tracklet_id is not None}
        ids |= {each.tracklet_id for each in record.decisions if each.verdict == "same"}
    return _page(
        caller,
        "erasure",
        "Erasure",
        tracklets=sorted(ids),
        searches=[] if search is None else [search],
        search_id=search,
        problem=problem,
    )


@router.get("/admin/audit", response_class=HTMLResponse)
def audit_page(
    services: ServicesDep,
    caller: AdminDep,
    actor: Annotated[str | None, Query(max_length=200, pattern=r"^[^\x00]*$")] = None,
    action: Annotated[str | None, Query(max_length=64, pattern=r"^[^\x00]*$")] = None,
    start: Moment = None,
    end: Moment = None,
    after: After = None,
) -> HTMLResponse:
    """Rows of the audit trail."""
    found = trail.list_entries(services, caller, actor or None, action or None, start, end, after, 100)
    asked = [
        ("actor", actor or ""),
        ("action", action or ""),
        ("start", "" if start is None else repr(start)),
        ("end", "" if end is None else repr(end)),
    ]
    return _page(
        caller,
        "audit",
        "Audit trail",
        entries=found.entries,
        actions=sorted({entry.action for entry in found.entries}),
        actor=actor,
        action=action,
        start=start,
        end=end,
        more=found.next and query("/admin/audit", [*asked, ("after", found.next)]),
    )


@router.get("/admin/index", response_class=HTMLResponse)
def index_page(services: ServicesDep, caller: AdminDep) -> HTMLResponse:
    """Embeddings, weights, re-indexing."""
    return _page(
        caller,
        "index",
        "Index and weights",
        index=index.index_state(services, caller),
        weights=index.list_weights(services, caller),
        embedders=index.list_embedders(services, caller),
    )


def _page(caller: Caller, name: str, title: str, **values: Any) -> HTMLResponse:
    return page(caller, f"admin/{name}.html", title, section="/admin", subsection=f"/admin/{name}", **values)


def _cameras(services: Services, caller: Caller) -> list[str]:
    return [each.camera for each in cameras.list_cameras(services, caller)]


def _ids(texts: list[str]) -> tuple[set[int], str | None]:
    """The numbers in lists such as "3, 17"; and what is wrong with them."""
    parts = [part.strip() for text in texts for part in text.split(",") if part.strip()]
    wrong = [part for part in parts if not (part.isascii() and part.isdigit() and len(part) < 19)]
    if wrong:
        return set(), f"'{wrong[0]}' is no number of a tracklet"
    if len(parts) > _MOST_IDS:
        return set(), f"at most {_MOST_IDS:,} tracklets at once"
    return {int(part) for part in parts}, None
