"""Recordings: to be played, and to be paused for pointing at somebody."""

from __future__ import annotations

from http import HTTPStatus
from pathlib import Path as File
from typing import Annotated

from fastapi import APIRouter, Path, Query
from fastapi.responses import Response

from pipeline.crops import encode_jpeg
from pipeline.pointing import people_in
from pipeline.source_frames import frame_at
from pipeline.types import Image
from storage.records import SourceRecord
from web.access import Caller, OperatorDep, ServicesDep, ViewerDep, visible_source
from web.answers import FRAME, MP4, After, AskedRange, PageSize, jpeg, paged, place, ranged
from web.audit import note_once
from web.playing import browsers_play, may_be_shown, media_type, shown_file
from web.problems import Refused
from web.resources import CameraName, PersonBox, Persons, SourcePage, SourceView
from web.services import Services

router = APIRouter(tags=["sources"])

SourceId = Annotated[int, Path(ge=1, le=2**63 - 1, examples=[2])]
AtS = Annotated[
    float, Query(ge=0, le=1e9, allow_inf_nan=False, description="seconds from its start", examples=[12.5])
]


@router.get("/sources")
def list_sources(
    services: ServicesDep,
    caller: ViewerDep,
    camera: Annotated[CameraName | None, Query(description="only its", examples=["door"])] = None,
    after: After = None,
    limit: PageSize = 50,
) -> SourcePage:
    """Recordings, and runs of live cameras, newest first."""
    behind = place(after, int)
    cameras = caller.cameras
    if camera is not None:
        cameras = frozenset([camera] if caller.sees(camera) else [])
    found = services.gallery.newest_sources(
        limit + 1, cameras=cameras, before=None if behind is None else behind[0]
    )
    page, following = paged(found, limit, lambda each: (each.id,))
    return SourcePage(sources=[view(each, closely=False) for each in page], next=following)


@router.get("/sources/{source_id}")
def source(services: ServicesDep, caller: ViewerDep, source_id: SourceId) -> SourceView:
    """One of them."""
    return view(visible_source(services, caller, source_id))


@router.get("/sources/{source_id}/video", responses=MP4, response_class=Response)
def video(services: ServicesDep, caller: ViewerDep, source_id: SourceId, asked: AskedRange) -> Response:
    """The recording itself, where browsers play it; ranges of bytes are served."""
    file = _file(services, caller, source_id)
    if not browsers_play(file):
        raise Refused(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "browsers do not play this recording: ask for its frames"
        )
    return ranged(file, media_type(file), asked)


@router.get("/sources/{source_id}/frame", responses=FRAME, response_class=Response)
def frame(services: ServicesDep, caller: ViewerDep, source_id: SourceId, at_s: AtS = 0.0) -> Response:
    """The picture shown at a moment; the header X-Frame-Time says which, in seconds from the start."""
    image, since_s, _ = frame_at(_file(services, caller, source_id), services.config.video, at_s)
    return jpeg(encode_jpeg(image, 85), {"X-Frame-Time": f"{since_s:.6f}"})


@router.get("/sources/{source_id}/persons")
def persons(services: ServicesDep, caller: OperatorDep, source_id: SourceId, at_s: AtS = 0.0) -> Persons:
    """The persons in that picture."""
    image, since_s, _ = frame_at(_file(services, caller, source_id), services.config.video, at_s)
    return persons_in(services, image, since_s)


def persons_in(services: Services, image: Image, at_s: float) -> Persons:
    """The persons in a picture."""
    with services.networks.detector() as detector:
        found = people_in(image, detector)
    height, width = image.shape[:2]
    boxes = [PersonBox(box=box, confidence=confidence) for box, confidence in found]
    return Persons(at_s=at_s, width=width, height=height, persons=boxes)


def view(source: SourceRecord, closely: bool = True) -> SourceView:
    """A source as the API shows it: the name of its file, not where it lies.

    Args:
        closely: look into its file; else only whether there is one, which is quick for many.
    """
    file = shown_file(source) if closely else None
    return SourceView(
        id=source.id,
        camera=source.camera,
        name=source.uri if source.live else File(source.uri).name,
        start=source.start,
        end=source.end,
        status=source.status,
        live=source.live,
        video=file is not None if closely else may_be_shown(source),
        video_playable=None if not closely else file is not None and browsers_play(file),
        duration_s=None if source.end is None else source.end - source.start,
    )


def _file(services: Services, caller: Caller, source_id: int) -> File:
    source = visible_source(services, caller, source_id)
    file = shown_file(source)
    if file is None:
        raise Refused(HTTPStatus.NOT_FOUND, "the recording is not at hand, or must not be shown")
    note_once(services, caller, "recording opened", {"source": source.id, "camera": source.camera})
    return file
