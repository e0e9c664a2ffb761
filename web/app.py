"""The app: API, pages and static files behind the guard."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from web.access import AnyoneDep, check_rules
from web.api import (
    cameras,
    cases,
    events,
    index,
    keeping,
    searches,
    session,
    sources,
    tracklets,
    trail,
    uploads,
    users,
)
from web.guard import Guard
from web.housekeeping import keep_house
from web.openapi import complete
from web.problems import MEDIA_TYPE, install
from web.resources import Health, Problem
from web.services import Services

API = "/api/v1"

_STATIC = Path(__file__).parent / "static"

_DESCRIPTION = """Where else did this person appear? Everything that the pages do.

Log in with POST /session (a cookie; send `X-CSRF-Token` with every change) or send an API token as
`Authorization: Bearer rt_...`. Times are seconds UTC, similarities cosines in [-1, 1]. Pages of lists have a
cursor `next`: hand it back as `after`. Errors are application/problem+json (RFC 9457).
"""

_SCHEMA = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
_PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "content": _SCHEMA, "description": text}
    for status, text in (
        (401, "Nobody is logged in, or the token is unknown."),
        (403, "The caller may not do this."),
        (404, "There is none, or the caller may not see it."),
        (409, "It contradicts what is there."),
        (422, "The request is not as it must be."),
        ("default", "Something else is wrong."),
    )
}
_PARTS = (
    session,
    cameras,
    tracklets,
    sources,
    uploads,
    searches,
    cases,
    users,
    keeping,
    trail,
    index,
    events,
)

_health = APIRouter(tags=["health"])


@_health.get("/health")
async def health(caller: AnyoneDep) -> Health:
    """Whether the server answers."""
    return Health(status="ok")


def create_app(services: Services) -> FastAPI:
    """The server's app over one gallery.

    Raises:
        RuntimeError: a route states no rule of access.
    """
    from web import pages

    app = _App(
        title="Retrace",
        description=_DESCRIPTION,
        version=_version(),
        docs_url=None,
        redoc_url=None,
        openapi_url=f"{API}/openapi.json",
        lifespan=_lifespan,
        generate_unique_id_function=_operation,
    )
    app.state.services = services
    app.state.error_page = pages.error_page
    for router in (_health, *(part.router for part in _PARTS)):
        app.include_router(router, prefix=API, responses=_PROBLEMS)
    app.include_router(pages.router, include_in_schema=False)
    app.mount("/static", _Static(directory=_STATIC), name="static")
    install(app)
    app.add_middleware(Guard, services=services)
    check_rules(app)
    return app


class _App(FastAPI):
    def openapi(self) -> dict[str, Any]:
        """The description, completed when it is first asked for."""
        return self.openapi_schema or complete(super().openapi())


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    services: Services = app.state.services
    stop = threading.Event()
    keeper = threading.Thread(target=keep_house, args=(services, stop), name="housekeeping", daemon=True)
    keeper.start()
    try:
        yield
    finally:
        stop.set()
        services.jobs.close()
        keeper.join(5.0)


class _Static(StaticFiles):
    """Files of ours: browsers keep them, and ask whether they have changed."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = "no-cache"
        return response


def _operation(route: APIRoute) -> str:
    module = route.endpoint.__module__.rpartition(".")[2]
    return f"{module}_{route.name}"


def _version() -> str:
    try:
        return version("retrace-reid")
    except PackageNotFoundError:  # run from a checkout
        return "0"
