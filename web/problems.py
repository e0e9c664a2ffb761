"""Errors as RFC 9457 has them for the API, and as a page for people."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse
from fastapi.routing import iter_route_contexts
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import compile_path

from pipeline.upload_records import UploadNotFound, UploadsBusy
from pipeline.video import VideoSourceError
from storage import errors
from web.busy import ClipsBusy, NetworksBusy

MEDIA_TYPE = "application/problem+json"

_MAX_SHOWN = 20  # mistakes of one request

_log = logging.getLogger(__name__)

_NOT_FOUND = (
    errors.TrackletNotFound,
    errors.SourceNotFound,
    errors.GenerationNotFound,
    errors.WatchNotFound,
    errors.UserNotFound,
    errors.TokenNotFound,
    errors.CaseNotFound,
    errors.SearchNotFound,
    errors.RuleNotFound,
)
_CONFLICT = (
    errors.WrongEmbedder,
    errors.GenerationChanged,
    errors.GenerationIncomplete,
    errors.UserExists,
    errors.CaseExists,
    errors.LastAdmin,
    errors.HeldByCase,
    errors.CaseHeld,
    errors.GalleryDamaged,
)


class Refused(Exception):
    """A request that is not granted.

    Attributes:
        status: of HTTP.
        detail: one sentence for people.
        headers: beside the usual ones.
    """

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, dict(headers or {})


def problem(
    status: int,
    detail: str,
    headers: Mapping[str, str] | None = None,
    wrong: list[dict[str, Any]] | None = None,
) -> JSONResponse:
    """The answer to a request that failed."""
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": _title(status),
        "status": status,
        "detail": detail,
    }
    if wrong is not None:
        body["errors"] = wrong
    return JSONResponse(body, status, headers=dict(headers or {}), media_type=MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Makes every error of the app a problem; a page gets a page."""
    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(ValueError, _value)
    app.add_exception_handler(OSError, _system)
    app.add_exception_handler(UploadNotFound, _missing)
    for busy in (UploadsBusy, NetworksBusy, ClipsBusy):
        app.add_exception_handler(busy, _busy)


def _title(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"


def _answer(
    request: Request,
    status: int,
    detail: str,
    headers: Mapping[str, str] | None = None,
    wrong: list[dict[str, Any]] | None = None,
) -> Response:
    if request.url.path.startswith("/api/") or request.method not in ("GET", "HEAD"):
        return problem(status, detail, headers, wrong)
    if status == HTTPStatus.UNAUTHORIZED:
        here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        url = request.url_for("log_in_page").include_query_params(next=here)
        return RedirectResponse(f"{url.path}?{url.query}", HTTPStatus.SEE_OTHER)
    page: Response = request.app.state.error_page(request, status, _title(status), detail)
    page.headers.update(headers or {})
    return page


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return _answer(request, error.status, error.detail, error.headers)


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED and (methods := _methods(request)):
        headers["Allow"] = ", ".join(sorted(methods))
    return _answer(request, error.status_code, str(error.detail), headers)


def _methods(request: Request) -> set[str]:
    """All that may be done with a path: several handlers share it, and the guard makes HEAD of GET."""
    found: set[str] = set()
    for context in iter_route_contexts(request.app.routes):
        if context.path is not None and compile_path(context.path)[0].match(request.url.path):
            found |= context.methods or set()
    return found | {"HEAD"} if "GET" in found else found


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    shown = error.errors()[:_MAX_SHOWN]
    wrong = [{"where": ".".join(str(part) for part in found["loc"]), "what": found["msg"]} for found in shown]
    detail = "; ".join(f"{each['where']}: {each['what']}" for each in wrong[:5])
    return _answer(request, HTTPStatus.UNPROCESSABLE_ENTITY, detail, wrong=wrong)


async def _value(request: Request, error: Exception) -> Response:
    if isinstance(error, _NOT_FOUND):
        return _answer(request, HTTPStatus.NOT_FOUND, str(error))
    if isinstance(error, errors.CropsExpired):
        return _answer(request, HTTPStatus.GONE, str(error))
    if isinstance(error, _CONFLICT):
        return _answer(request, HTTPStatus.CONFLICT, str(error))
    # A ValueError is about what somebody gave, and written for them to read.
    _log.info("%s %s: %s", request.method, request.url.path, error)
    return _answer(request, HTTPStatus.UNPROCESSABLE_ENTITY, " ".join(str(error).split()))


async def _missing(request: Request, error: Exception) -> Response:
    return _answer(request, HTTPStatus.NOT_FOUND, str(error))


async def _busy(request: Request, error: Exception) -> Response:
    return _answer(request, HTTPStatus.SERVICE_UNAVAILABLE, str(error), {"Retry-After": "10"})


async def _system(request: Request, error: Exception) -> Response:
    if isinstance(error, errors.GalleryFull):
        return _answer(request, HTTPStatus.INSUFFICIENT_STORAGE, str(error))
    if isinstance(error, errors.DatabaseUnavailable):
        return _answer(
            request,
            HTTPStatus.SERVICE_UNAVAILABLE,
            "the database does not answer: try again",
            {"Retry-After": "5"},
        )
    if isinstance(error, VideoSourceError):  # its message names the file's place
        return _answer(request, HTTPStatus.NOT_FOUND, "the recording cannot be read at that moment")
    raise error
