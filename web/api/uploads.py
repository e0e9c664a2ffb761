"""Pictures and clips from the investigator's own machine, decoded in a process of their own."""

from __future__ import annotations

import tempfile
from http import HTTPStatus
from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import Response
from pipeline.pointing import people_in

from pipeline.crops import encode_jpeg
from web.access import OperatorDep, ServicesDep
from web.answers import JPEG, jpeg
from web.audit import note
from web.problems import Refused
from web.resources import PersonBox, Persons, UploadView

router = APIRouter(tags=["uploads"])

UploadId = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{8,64}$")]
AtS = Annotated[float, Query(ge=0, le=86_400, allow_inf_nan=False, description="seconds from its start")]

_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


@router.post("/uploads", status_code=HTTPStatus.CREATED, openapi_extra=_BODY)
async def upload(services: ServicesDep, caller: OperatorDep, request: Request) -> UploadView:
    """Send a picture (JPEG, PNG, WebP, BMP) or a clip (MP4, MOV, Matroska, WebM, AVI) as the body."""
    limit, taken = services.uploads.max_bytes, 0
    with tempfile.TemporaryFile(dir=services.gallery.work_folder) as file:  # it has no name to be left behind
        async for chunk in request.stream():
            taken += len(chunk)
            if taken > limit:
                raise Refused(
                    HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"an upload may have {limit // 1_000_000} MB"
                )
            await to_thread.run_sync(file.write, chunk)
        file.seek(0)
        made = await to_thread.run_sync(services.uploads.add, file, caller.name)
    await to_thread.run_sync(note, services, caller, "upload", {"upload": made.id, "kind": made.kind})
    return UploadView(
        id=made.id,
        kind=made.kind,
        width=made.width,
        height=made.height,
        duration_s=made.duration_s,
        expires=made.expires,
    )


@router.get("/uploads/{upload_id}/frame", responses=JPEG, response_class=Response)
def frame(services: ServicesDep, caller: OperatorDep, upload_id: UploadId, at_s: AtS = 0.0) -> Response:
    """The picture, or a clip's picture at a moment."""
    shown = services.uploads.frame(upload_id, at_s, caller.name)
    return jpeg(encode_jpeg(shown.image, 85), {"X-Frame-Time": f"{shown.at_s:.6f}"})


@router.get("/uploads/{upload_id}/persons")
def persons(services: ServicesDep, caller: OperatorDep, upload_id: UploadId, at_s: AtS = 0.0) -> Persons:
    """The persons in it."""
    shown = services.uploads.frame(upload_id, at_s, caller.name)
    with services.networks.detector() as detector:
        found = people_in(shown.image, detector)
    height, width = shown.image.shape[:2]
    boxes = [PersonBox(box=box, confidence=confidence) for box, confidence in found]
    return Persons(at_s=shown.at_s, width=width, height=height, persons=boxes)


@router.delete("/uploads/{upload_id}", status_code=HTTPStatus.NO_CONTENT)
def forget(services: ServicesDep, caller: OperatorDep, upload_id: UploadId) -> None:
    """Forget it now."""
    services.uploads.remove(upload_id, caller.name)
