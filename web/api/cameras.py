"""Cameras, and what they saw last."""

from __future__ import annotations

from enum import IntEnum
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path, Query
from fastapi.responses import Response

from pipeline.crops import narrowed
from web.access import ServicesDep, ViewerDep
from web.answers import JPEG, jpeg
from web.problems import Refused
from web.resources import CameraView

router = APIRouter(tags=["cameras"])

STALE_S = 60.0
"""A run tells of its cameras every ten seconds; after so long it is no longer there."""


class FrameWidth(IntEnum):
    """Pixels across that a camera's picture can be had at; pages show the small one."""

    SMALL = 320
    LARGE = 640


_OF_A_RUN = ("streaming", "connecting", "waiting")


@router.get("/cameras")
def list_cameras(services: ServicesDep, caller: ViewerDep) -> list[CameraView]:
    """Each camera that the user may see, by name."""
    views = {view.camera: view for view in services.gallery.camera_views()}
    summaries = {each.camera: each for each in services.gallery.cameras()}
    found = []
    for camera in sorted(views.keys() | summaries.keys()):
        if not caller.sees(camera):
            continue
        view, summary = views.get(camera), summaries.get(camera)
        state, detail = ("unknown", "") if view is None else (view.state, view.detail)
        if view is not None and state in _OF_A_RUN and services.clock() - view.updated > STALE_S:
            state, detail = "off", "the run that watched it has ended or hangs"
        found.append(
            CameraView(
                camera=camera,
                state=state,
                detail=detail,
                updated=view.updated if view else None,
                frame_time=view.frame_time if view else None,
                tracklets=summary.num_tracklets if summary else 0,
                start=summary.start if summary else None,
                end=summary.end if summary else None,
                per_hour=list(view.per_hour) if view else [0] * 24,
            )
        )
    return found


@router.get("/cameras/{camera:path}/frame", responses=JPEG, response_class=Response)
def frame(
    services: ServicesDep,
    caller: ViewerDep,
    camera: Annotated[str, Path(max_length=200, examples=["door"])],
    width: Annotated[
        FrameWidth | None, Query(description="pixels at most; none: as it is kept", examples=[320])
    ] = None,
) -> Response:
    """The camera's newest picture, blacked out where its privacy masks are."""
    picture = services.gallery.camera_frame(camera) if caller.sees(camera) else None
    if picture is None:
        raise Refused(HTTPStatus.NOT_FOUND, f"there is no picture of a camera '{camera}'")
    return jpeg(picture if width is None else narrowed(picture, width))
