"""Logging in, choosing a password, one's own account."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path, Query
from fastapi.responses import HTMLResponse

from storage.account_records import ROLES
from web.access import AnyoneDep, ServicesDep, ViewerDep
from web.answers import After
from web.api import users
from web.pages.rendering import further, moved, page
from web.tokens import token_hash

router = APIRouter()


@router.get("/", response_class=HTMLResponse)
def home(caller: ViewerDep) -> HTMLResponse:
    """The first page."""
    return moved("/cameras")


@router.get("/login", response_class=HTMLResponse)
def log_in_page(
    caller: AnyoneDep, wanted: Annotated[str, Query(alias="next", max_length=2000)] = "/cameras"
) -> HTMLResponse:
    """Name and password; afterwards the page that was wanted."""
    target = wanted if _ours(wanted) else "/cameras"
    if caller is not None:
        return moved(target)
    return page(None, "login.html", "Log in", next=target)


@router.get("/invitation/{token}", response_class=HTMLResponse)
def invitation(
    services: ServicesDep, caller: AnyoneDep, token: Annotated[str, Path(max_length=200)]
) -> HTMLResponse:
    """Choose a password; whether the link still works is said before one is thought up."""
    user = services.gallery.accounts.invitation(token_hash(token), services.clock())
    answer = page(None, "invitation.html", "Choose a password", token=token, valid=user is not None)
    if user is None:
        answer.status_code = HTTPStatus.NOT_FOUND
    return answer


@router.get("/account", response_class=HTMLResponse)
def account(services: ServicesDep, caller: ViewerDep, after: After = None) -> HTMLResponse:
    """Password and API tokens."""
    found = users.list_tokens(services, caller, mine=True, after=after)
    roles = [role for role in ROLES if caller.may(role)]
    return page(
        caller,
        "account.html",
        "Account",
        section="/account",
        tokens=found.tokens,
        more_tokens=further("/account", {}, "after", found.next),
        roles=roles,
        with_users=False,
    )


def _ours(path: str) -> bool:
    """Whether a path leads to this server: browsers read // and /\\ as the beginning of a host."""
    return path.startswith("/") and path[1:2] not in ("/", "\\") and path.isprintable() and path.isascii()
