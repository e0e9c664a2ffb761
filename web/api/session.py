"""Logging in and out, and choosing passwords."""

from __future__ import annotations

import ipaddress
import math
from http import HTTPStatus

from fastapi import APIRouter, Request, Response

from storage.account_records import User
from web import passwords
from web.access import AnyoneDep, Caller, ServicesDep, ViewerDep
from web.audit import audited, note
from web.guard import client_address, session_cookie
from web.problems import Refused
from web.resources import ChangePassword, ChoosePassword, LogIn, Me
from web.services import Services
from web.tokens import new_token, token_hash

router = APIRouter(tags=["session"])

_LIMITS = ((5, 900.0), (30, 60.0), (20, 900.0))
"""Free tries, and the longest wait in seconds: of a name from an address, of a name, of an address."""

_WRONG = "the name or the password is wrong"


@router.get("/session")
def me(services: ServicesDep, caller: ViewerDep) -> Me:
    """Who is asking, and what they may do."""
    cameras = None if caller.cameras is None else sorted(caller.cameras)
    token = caller.session.csrf_token if caller.session else None
    return Me(name=caller.name, role=caller.role, cameras=cameras, csrf_token=token)


@router.post("/session")
def log_in(
    services: ServicesDep, caller: AnyoneDep, request: Request, response: Response, given: LogIn
) -> Me:
    """Log in with a password; the answer sets the session's cookie."""
    address = client_address(request.scope)
    subjects = _subjects(given.name, address)
    _refuse_too_many(services, subjects, address)
    found = services.gallery.accounts.password_of(given.name)
    user, stored = found or (None, None)
    right = services.passwords.verify(stored, given.password)
    if user is None or not right or not user.enabled:
        note(services, None, "log-in failed", {"name": user.name if user else "of nobody"}, origin=address)
        raise Refused(HTTPStatus.UNAUTHORIZED, _WRONG)
    pair, *others = subjects
    services.gallery.accounts.log_in_succeeded([pair], others)
    if caller is not None and caller.session is not None:
        services.gallery.accounts.end_session(caller.session.id)
    return _begin(services, user, "log-in", address, request, response)


@router.delete("/session", status_code=HTTPStatus.NO_CONTENT)
def log_out(services: ServicesDep, caller: ViewerDep, request: Request, response: Response) -> None:
    """End this session."""
    if caller.session is not None:
        with audited(services, caller, "log-out"):
            services.gallery.accounts.end_session(caller.session.id)
        response.headers.append("Set-Cookie", session_cookie("", request.url.scheme) + "; Max-Age=0")


@router.post("/invitation")
def choose_password(
    services: ServicesDep, caller: AnyoneDep, request: Request, response: Response, given: ChoosePassword
) -> Me:
    """Use an invitation: choose a password and be logged in."""
    hashed = token_hash(given.token)
    user = services.gallery.accounts.invitation(hashed, services.clock())
    if user is None:
        raise Refused(HTTPStatus.NOT_FOUND, "this invitation was used, or has expired: ask for a new one")
    _refuse_weak(given.password, user.name)
    stored = services.passwords.hash(given.password)
    address = client_address(request.scope)
    with audited(services, None, "password chosen", {"name": user.name}, origin=address):
        accepted = services.gallery.accounts.accept_invitation(hashed, stored, services.clock())
        if accepted is None:
            raise Refused(HTTPStatus.NOT_FOUND, "this invitation was used a moment ago: ask for a new one")
    return _begin(services, accepted, "log-in", address, request, response)


@router.post("/password")
def change_password(
    services: ServicesDep, caller: ViewerDep, request: Request, response: Response, given: ChangePassword
) -> Me:
    """Change one's own password; all other sessions end."""
    if caller.session is None:
        raise Refused(HTTPStatus.FORBIDDEN, "a password is changed in the browser, not with a token")
    subjects = _subjects(caller.name, caller.address)
    _refuse_too_many(services, subjects, caller.address)
    found = services.gallery.accounts.password_of(caller.name)
    if found is None or not services.passwords.verify(found[1], given.old):
        note(services, caller, "password change failed", {})
        raise Refused(HTTPStatus.FORBIDDEN, "the old password is wrong")
    pair, *others = subjects
    services.gallery.accounts.log_in_succeeded([pair], others)
    _refuse_weak(given.new, caller.name)
    stored = services.passwords.hash(given.new)
    with audited(services, caller, "password changed"):
        services.gallery.accounts.set_password(caller.user.id, stored, now=services.clock())
    return _begin(services, caller.user, "log-in", caller.address, request, response)


def _begin(
    services: Services, user: User, action: str, address: str, request: Request, response: Response
) -> Me:
    token, csrf = new_token(), new_token()
    with services.gallery.transaction():
        session = services.gallery.accounts.begin_session(
            user.id, token_hash(token), csrf, address, services.clock()
        )
        caller = Caller(user, user.role, "session", address, session)
        note(services, caller, action, {})
    response.headers.append("Set-Cookie", session_cookie(token, request.url.scheme))
    return me(services, caller)


def _subjects(name: str, address: str) -> list[str]:
    """What failed tries are counted by: the name from this address first, then each alone."""
    network = _network(address)
    return [f"{name.casefold()} from {network}", f"name {name.casefold()}", f"address {network}"]


def _refuse_too_many(services: Services, subjects: list[str], address: str) -> None:
    """Count a try, or say how long to wait: each failure beyond some doubles that.

    A stranger who tries a name from elsewhere may make its owner wait a minute, not more.
    """
    limits = dict(zip(subjects, _LIMITS, strict=True))
    left = services.gallery.accounts.try_log_in(limits, services.clock())
    if left > 0:
        raise Refused(
            HTTPStatus.TOO_MANY_REQUESTS,
            f"too many failed tries: wait {math.ceil(left)} s",
            {"Retry-After": str(math.ceil(left))},
        )


def _network(address: str) -> str:
    """An address as it is counted: who has one of IPv6 has 2^64 of them."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(ipaddress.ip_network(f"{parsed}/64", strict=False)) if parsed.version == 6 else address


def _refuse_weak(password: str, user: str) -> None:
    if weakness := passwords.weakness(password, user):
        raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, weakness)
