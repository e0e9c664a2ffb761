"""Server-sent events: new tracklets, and the progress of long work."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from anyio import to_thread
from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse

from web.access import Caller, ServicesDep, ViewerDep
from web.api.index import job_view
from web.services import Services

router = APIRouter(tags=["events"])

_LOOK_EVERY_S = 2.0
_KEEP_ALIVE_S = 20.0
_LONGEST_S = 60.0  # then browsers connect again, and show that they still may

_STREAM: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}, "description": "Events."}
}


@router.get("/events", responses=_STREAM, response_class=StreamingResponse)
async def events(services: ServicesDep, caller: ViewerDep, request: Request) -> StreamingResponse:
    """`tracklets` {count} when some came in; `job`, as /index has it, when long work moves on (admins)."""
    return StreamingResponse(_events(services, caller, request), media_type="text/event-stream")


async def _events(services: Services, caller: Caller, request: Request) -> AsyncIterator[str]:
    loop = asyncio.get_running_loop()
    begin = quiet = loop.time()
    newest, _ = await to_thread.run_sync(services.gallery.arrived, None, caller.cameras)
    told = -1
    yield "retry: 5000\n\n"
    while loop.time() - begin < _LONGEST_S and not await request.is_disconnected():
        lines = []
        now, count = await to_thread.run_sync(services.gallery.arrived, newest, caller.cameras)
        if count:
            newest = now
            lines.append(_event("tracklets", {"count": count}))
        job = services.jobs.newest if caller.may("admin") else None
        if job is not None and job.number != told:
            told = job.number
            lines.append(_event("job", job_view(job).model_dump()))
        if not lines and loop.time() - quiet > _KEEP_ALIVE_S:
            lines.append(": still here\n\n")
        if lines:
            quiet = loop.time()
            yield "".join(lines)
        await asyncio.sleep(_LOOK_EVERY_S)


def _event(name: str, values: dict[str, Any]) -> str:
    return f"event: {name}\ndata: {json.dumps(values)}\n\n"
