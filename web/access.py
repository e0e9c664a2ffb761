"""Who is asking, and what they may do. Every route states its rule through one of the dependencies here."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Literal

from fastapi import Depends, FastAPI, Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, iter_route_contexts

from storage.account_records import Role, Session, User, lower_role
from storage.case_records import Case, SearchRecord
from storage.errors import CaseNotFound, SearchNotFound, SourceNotFound, TrackletNotFound
from storage.records import GalleryFilter, SourceRecord, TrackletRecord
from web.problems import Refused
from web.resources import Filter
from web.services import Services


@dataclass(frozen=True)
class Caller:
    """A user, as one request shows it.

    Attributes:
        user: who.
        role: what they may do now: a token may be allowed less than its user.
        via: "session" or "token".
        address: where the request comes from.
        session: of a browser; None for a token.
        token_id: of the token; None for a session.
    """

    user: User
    role: Role
    via: Literal["session", "token"]
    address: str
    session: Session | None = None
    token_id: int | None = None

    @property
    def name(self) -> str:
        """The user's name."""
        return self.user.name

    @property
    def cameras(self) -> frozenset[str] | None:
        """The cameras they may see; None: all."""
        return self.user.cameras

    def may(self, role: Role) -> bool:
        """Whether they have at least this role."""
        return lower_role(self.role, role) == role

    def sees(self, camera: str) -> bool:
        """Whether they may see this camera."""
        return self.cameras is None or camera in self.cameras


class Needs:
    """A route's rule: the least role that may call it; None: anybody, without an account.

    As a dependency it gives the caller (None for those without an account, where those are let in).
    """

    def __init__(self, role: Role | None) -> None:
        self.role = role

    async def __call__(self, request: Request) -> Caller | None:
        """The caller.

        Raises:
            Refused: 401 without an account, 403 with too little of a role.
        """
        caller: Caller | None = request.scope.get("retrace.caller")
        if self.role is None:
            return caller
        if caller is None:
            raise Refused(HTTPStatus.UNAUTHORIZED, "log in first", {"WWW-Authenticate": "Bearer"})
        if not caller.may(self.role):
            raise Refused(HTTPStatus.FORBIDDEN, f"this needs the role {self.role}; you have {caller.role}")
        return caller


def still_holds(services: Services, caller: Caller) -> bool:
    """Whether a caller is still logged in, or their token still good, and they may do what they might."""
    accounts = services.gallery.accounts
    if caller.session is not None:
        return accounts.user_of_session(caller.session.id) == caller.user
    assert caller.token_id is not None
    return accounts.user_of_token(caller.token_id, services.clock()) == caller.user


def services_of(request: Request) -> Services:
    """The parts of this server."""
    services: Services = request.app.state.services
    return services


async def _services(request: Request) -> Services:
    return services_of(request)


ServicesDep = Annotated[Services, Depends(_services)]
AnyoneDep = Annotated[Caller | None, Depends(Needs(None))]
ViewerDep = Annotated[Caller, Depends(Needs("viewer"))]
OperatorDep = Annotated[Caller, Depends(Needs("operator"))]
AdminDep = Annotated[Caller, Depends(Needs("admin"))]


@dataclass(frozen=True)
class Route:
    """A handler of the app: how it is called, and the rule it states, None if it has forgotten to."""

    methods: frozenset[str]
    path: str
    rule: Needs | None


def handlers(app: FastAPI) -> list[Route]:
    """Every handler, those of included routers too."""
    return [
        Route(frozenset(context.methods or ()), context.path or "", _find(context.dependant))
        for context in iter_route_contexts(app.routes)
        if isinstance(context.original_route, APIRoute)
    ]


def check_rules(app: FastAPI) -> None:
    """Refuses to run an app in which a handler states no rule."""
    for route in handlers(app):
        if route.rule is None:
            raise RuntimeError(
                f"{route.path} states no rule: give its handler one of the dependencies of web.access"
            )


def _find(dependant: Dependant) -> Needs | None:
    for each in dependant.dependencies:
        found = each.call if isinstance(each.call, Needs) else _find(each)
        if found is not None:
            return found
    return None


def gallery_filter(caller: Caller, wanted: Filter) -> GalleryFilter | None:
    """A filter of the gallery within what the caller may see; None: that is nothing.

    Raises:
        Refused: the filter contradicts itself.
    """
    cameras = frozenset(wanted.cameras)
    if caller.cameras is not None:
        cameras = (cameras or caller.cameras) & caller.cameras
        if not cameras:
            return None
    try:
        return GalleryFilter(
            cameras, frozenset(wanted.exclude_cameras), wanted.start, wanted.end, wanted.min_quality
        )
    except ValueError as error:
        raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from error


def visible_tracklet(services: Services, caller: Caller, tracklet_id: int) -> TrackletRecord:
    """A tracklet that the caller may see.

    Raises:
        TrackletNotFound: there is none; one in a camera that they may not see sounds the same.
    """
    record = services.gallery.tracklet(tracklet_id)
    if not caller.sees(record.camera):
        raise TrackletNotFound(f"no tracklet has the id {tracklet_id}: list them with 'tracklets'")
    return record


def visible_source(services: Services, caller: Caller, source_id: int) -> SourceRecord:
    """A source that the caller may see.

    Raises:
        SourceNotFound: there is none; one of a camera that they may not see sounds the same.
    """
    record = services.gallery.source(source_id)
    if not caller.sees(record.camera):
        raise SourceNotFound(f"no source has the id {source_id}: begin it first")
    return record


def visible_case(services: Services, caller: Caller, case_id: int) -> Case:
    """A case that the caller may see.

    Raises:
        CaseNotFound: there is none; one of others sounds the same.
    """
    case = services.gallery.cases.case(case_id)
    if not (caller.may("admin") or caller.name == case.owner or caller.name in case.members):
        raise CaseNotFound(f"no case has the id {case_id}")
    return case


def open_case(services: Services, caller: Caller, case_id: int) -> Case:
    """A case that the caller may add to.

    Raises:
        CaseNotFound: as `visible_case`.
        Refused: it is closed.
    """
    case = visible_case(services, caller, case_id)
    if case.closed is not None:
        raise Refused(HTTPStatus.CONFLICT, f"the case '{case.name}' is closed: open it again to add to it")
    return case


def visible_search(services: Services, caller: Caller, search_id: int) -> SearchRecord:
    """A search that the caller may see: their own, one of their cases, or any for an admin.

    Raises:
        SearchNotFound: there is none; one of others sounds the same.
    """
    record = services.gallery.cases.search(search_id)
    if record.author == caller.name or caller.may("admin"):
        return record
    if record.case_id is not None:
        case = services.gallery.cases.case(record.case_id)
        if caller.name == case.owner or caller.name in case.members:
            return record
    raise SearchNotFound(f"no search has the id {search_id}")
