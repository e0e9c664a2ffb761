"""Logging in and out, and choosing passwords."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import APIRouter, Request, Response

from storage.account_records import User
from web import passwords
from web.access import AnyoneDep, Caller, ServicesDep, ViewerDep
from web.audit import note
from web.guard import session_cookie
from web.problems import Refused
from web.resources import ChangePassword, ChoosePassword, LogIn, Me
from web.services import Services
from web.tokens import new_token, token_hash

router = APIRouter(tags=["session"])

_FREE_TRIES = {"user": 5, "address": 20}  # several users may share an address
_MAX_WAIT_S = 900.0
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
    address = _address(request)
    subjects = (f"user:{given.name.casefold()}", f"address:{address}")
    _refuse_too_many(services, subjects)
    found = services.gallery.accounts.password_of(given.name)
    user, stored = found or (None, None)
    right = services.passwords.verify(stored, given.password)
    if user is None or not right or not user.enabled:
        for subject in subjects:
            services.gallery.accounts.note_failure(subject, services.clock())
        note(services, None, "log-in failed", {"name": given.name}, origin=address)
        raise Refused(HTTPStatus.UNAUTHORIZED, _WRONG)
    services.gallery.accounts.clear_failures(subjects[0])
    return _begin(services, user, address, request, response)


@router.delete("/session", status_code=HTTPStatus.NO_CONTENT)
def log_out(services: ServicesDep, caller: ViewerDep, request: Request, response: Response) -> None:
    """End this session."""
    if caller.session is not None:
        services.gallery.accounts.end_session(caller.session.id)
        response.headers.append("Set-Cookie", session_cookie("", request.url.scheme) + "; Max-Age=0")
        note(services, caller, "log-out", {})


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
    accepted = services.gallery.accounts.accept_invitation(hashed, stored, services.clock())
    if accepted is None:
        raise Refused(HTTPStatus.NOT_FOUND, "this invitation was used a moment ago: ask for a new one")
    note(services, None, "password chosen", {"name": user.name}, origin=_address(request))
    return _begin(services, accepted, _address(request), request, response)


@router.post("/password")
def change_password(
    services: ServicesDep, caller: ViewerDep, request: Request, response: Response, given: ChangePassword
) -> Me:
    """Change one's own password; all other sessions end."""
    subjects = (f"user:{caller.name.casefold()}",)
    _refuse_too_many(services, subjects)
    found = services.gallery.accounts.password_of(caller.name)
    if caller.session is None or found is None or not services.passwords.verify(found[1], given.old):
        services.gallery.accounts.note_failure(subjects[0], services.clock())
        raise Refused(HTTPStatus.FORBIDDEN, "the old password is wrong, or this is no browser's session")
    _refuse_weak(given.new, caller.name)
    services.gallery.accounts.set_password(
        caller.user.id, services.passwords.hash(given.new), now=services.clock()
    )
    note(services, caller, "password changed", {})
    return _begin(services, caller.user, caller.address, request, response)


def _begin(services: Services, user: User, address: str, request: Request, response: Response) -> Me:
    token, csrf = new_token(), new_token()
    session = services.gallery.accounts.begin_session(
        user.id, token_hash(token), csrf, address, services.clock()
    )
    response.headers.append("Set-Cookie", session_cookie(token, request.url.scheme))
    caller = Caller(user, user.role, "session", address, session)
    note(services, caller, "log-in", {})
    return me(services, caller)


def _refuse_too_many(services: Services, subjects: tuple[str, ...]) -> None:
    """Each failure beyond some doubles the time until the next try."""
    for subject in subjects:
        failures, last = services.gallery.accounts.failures(subject)
        over = failures - _FREE_TRIES[subject.partition(":")[0]]
        wait = min(2.0 ** min(over, 20), _MAX_WAIT_S) if over >= 0 else 0.0
        left = last + wait - services.clock()
        if left > 0:
            raise Refused(
                HTTPStatus.TOO_MANY_REQUESTS,
                f"too many failed tries: wait {left:.0f} s",
                {"Retry-After": str(int(left) + 1)},
            )


def _refuse_weak(password: str, user: str) -> None:
    if weakness := passwords.weakness(password, user):
        raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, weakness)


def _address(request: Request) -> str:
    return request.client.host if request.client else ""
