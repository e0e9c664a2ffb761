"""Pictures and clips from the investigator's own machine, decoded in a process of their own."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from anyio import fail_after, to_thread
from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import Response

from pipeline.crops import encode_jpeg
from web.access import OperatorDep, ServicesDep
from web.answers import FRAME, jpeg
from web.api.sources import persons_in
from web.audit import note
from web.problems import Refused
from web.resources import Persons, UploadView

router = APIRouter(tags=["uploads"])

UploadId = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{8,64}$", examples=["0f0f" * 8])]
AtS = Annotated[
    float,
    Query(ge=0, le=86_400, allow_inf_nan=False, description="seconds from its start", examples=[12.5]),
]

_LONGEST_S = 600.0  # for an upload to come in and be read

_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


@router.post("/uploads", status_code=HTTPStatus.CREATED, openapi_extra=_BODY)
async def upload(services: ServicesDep, caller: OperatorDep, request: Request) -> UploadView:
    """Send a picture (JPEG, PNG, WebP, BMP) or a clip (MP4, MOV, Matroska, WebM, AVI) as the body."""
    announced = request.headers.get("content-length")
    try:
        with (
            fail_after(_LONGEST_S),
            services.uploads.receive(caller.name, None if announced is None else int(announced)) as reception,
        ):
            async for chunk in request.stream():
                await to_thread.run_sync(reception.write, chunk)
            made = await to_thread.run_sync(reception.finish)
    except TimeoutError as error:
        raise Refused(HTTPStatus.REQUEST_TIMEOUT, "the upload took too long") from error
    await to_thread.run_sync(note, services, caller, "upload", {"upload": made.id, "kind": made.kind})
    return UploadView(
        id=made.id,
        kind=made.kind,
        width=made.width,
        height=made.height,
        duration_s=made.duration_s,
        expires=services.clock() + services.uploads.limits.expires_s,
    )


@router.get("/uploads/{upload_id}/frame", responses=FRAME, response_class=Response)
def frame(services: ServicesDep, caller: OperatorDep, upload_id: UploadId, at_s: AtS = 0.0) -> Response:
    """The picture, or a clip's picture at a moment."""
    image, since_s = services.uploads.frame(upload_id, caller.name, at_s)
    return jpeg(encode_jpeg(image, 85), {"X-Frame-Time": f"{since_s:.6f}"})


@router.get("/uploads/{upload_id}/persons")
def persons(services: ServicesDep, caller: OperatorDep, upload_id: UploadId, at_s: AtS = 0.0) -> Persons:
    """The persons in it."""
    image, since_s = services.uploads.frame(upload_id, caller.name, at_s)
    return persons_in(services, image, since_s)


@router.delete("/uploads/{upload_id}", status_code=HTTPStatus.NO_CONTENT)
def forget(services: ServicesDep, caller: OperatorDep, upload_id: UploadId) -> None:
    """Forget it now."""
    services.uploads.remove(upload_id, caller.name)
