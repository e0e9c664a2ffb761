"""Server-sent events: new tracklets, and the progress of long work."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from web.access import Caller, ServicesDep, ViewerDep, still_holds
from web.api.index import job_view
from web.resources import Arrived, Begun, JobView
from web.services import Services

router = APIRouter(tags=["events"])

_LOOK_EVERY_S = 2.0
_KEEP_ALIVE_S = 20.0
_LONGEST_S = 60.0  # then browsers connect again

_LAST = "the `id` of the last event that arrived: what came in since is counted"

EVENTS: dict[str, type[BaseModel]] = {"begin": Begun, "tracklets": Arrived, "job": JobView}
"""What each event holds, as JSON."""

_EXAMPLE = """retry: 5000
id: 17
event: begin
data: {}

id: 23
event: tracklets
data: {"count": 3}

: still here

"""
_STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {
            "text/event-stream": {
                "schema": {"type": "string"},
                "example": _EXAMPLE,
                "x-events": {
                    name: {"$ref": f"#/components/schemas/{held.__name__}"} for name, held in EVENTS.items()
                },
            }
        },
        "description": "Events; `x-events` says what the data of each of them is.",
    }
}


@router.get("/events", responses=_STREAM, response_class=StreamingResponse)
async def events(
    services: ServicesDep,
    caller: ViewerDep,
    request: Request,
    after: Annotated[int | None, Query(ge=0, le=2**63 - 1, description=_LAST, examples=[23])] = None,
    last_event_id: Annotated[
        int | None, Header(ge=0, le=2**63 - 1, description=f"{_LAST}; goes before `after`", examples=[23])
    ] = None,
) -> StreamingResponse:
    """`begin` {}; `tracklets` {count} when some came in; for admins `job`, as /index has it, of long work.

    It ends with the session or the token, and when what the user may do or see has changed.
    """
    behind = after if last_event_id is None else last_event_id
    return StreamingResponse(_events(services, caller, request, behind), media_type="text/event-stream")


async def _events(
    services: Services, caller: Caller, request: Request, behind: int | None
) -> AsyncIterator[str]:
    loop = asyncio.get_running_loop()
    begin = quiet = loop.time()
    told, counted = await to_thread.run_sync(_begin, services, caller, behind)
    told_job = -1
    yield f"retry: 5000\n{_event('begin', Begun(), told)}"
    while loop.time() - begin < _LONGEST_S and not await request.is_disconnected():
        found = await to_thread.run_sync(_look, services, caller, counted)
        if found is None:
            return
        lines = []
        counted, count = found
        if count:
            told = counted
            lines.append(_event("tracklets", Arrived(count=count), told))
        job = services.jobs.newest if caller.may("admin") else None
        if job is not None and job.number != told_job:
            told_job = job.number
            lines.append(_event("job", job_view(job), told))
        if not lines and loop.time() - quiet > _KEEP_ALIVE_S:
            lines.append(": still here\n\n")
        if lines:
            quiet = loop.time()
            yield "".join(lines)
        await asyncio.sleep(_LOOK_EVERY_S)


def _begin(services: Services, caller: Caller, behind: int | None) -> tuple[int, int]:
    """The last tracklet that the caller knows of, and the one behind which to count.

    The first is one that they may see, since it is told: ids of others would tell when others came in.
    """
    newest = services.gallery.newest_tracklet_id()
    theirs = newest if caller.cameras is None else services.gallery.newest_tracklet_id(caller.cameras)
    told = theirs if behind is None else min(behind, theirs)
    return told, told if told < theirs else max(newest, theirs)


def _look(services: Services, caller: Caller, counted: int) -> tuple[int, int] | None:
    """The newest tracklet's id, and how many came in behind `counted`; None: the caller may not know."""
    if not still_holds(services, caller):
        return None
    return services.gallery.arrived(counted, caller.cameras)


def _event(name: str, held: BaseModel, number: int) -> str:
    return f"id: {number}\nevent: {name}\ndata: {json.dumps(held.model_dump())}\n\n"
