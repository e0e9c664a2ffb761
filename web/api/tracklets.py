"""Tracklets: pages of them, one with its pictures and its moment of video, and how many there were when."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path, Query
from fastapi.responses import Response

from pipeline.clips import clip_start_s, tracklet_moments
from storage.records import GalleryFilter, TrackletRecord
from web.access import Caller, ServicesDep, ViewerDep, gallery_filter, visible_tracklet
from web.answers import JPEG, MP4, After, AskedRange, CropNumber, PageSize, jpeg, paged, place, ranged
from web.audit import note_once
from web.playing import browsers_play, picture_size, shown_file
from web.problems import Refused
from web.resources import (
    CameraName,
    Filter,
    GapView,
    Seconds,
    TimeLineView,
    TrackletDetail,
    TrackletPage,
    TrackletView,
    TrajectoryView,
)
from web.services import Services

router = APIRouter(tags=["tracklets"])
_MAX_GAPS = 500

TrackletId = Annotated[int, Path(ge=1, le=2**63 - 1, examples=[17])]
Cameras = Annotated[
    list[CameraName] | None, Query(alias="camera", description="only these", examples=[["door", "yard"]])
]
OtherCameras = Annotated[
    list[CameraName] | None, Query(alias="exclude_camera", description="none of these", examples=[["lift"]])
]
Start = Annotated[
    Seconds | None, Query(description="only what was there then or later", examples=[1764151200.0])
]
End = Annotated[
    Seconds | None, Query(description="only what was there then or earlier", examples=[1764154800.0])
]
MinQuality = Annotated[float, Query(ge=0, le=1, examples=[0.5])]


@router.get("/tracklets")
def list_tracklets(
    services: ServicesDep,
    caller: ViewerDep,
    camera: Cameras = None,
    exclude_camera: OtherCameras = None,
    start: Start = None,
    end: End = None,
    min_quality: MinQuality = 0.0,
    newest_first: Annotated[bool, Query(examples=[True])] = True,
    after: After = None,
    limit: PageSize = 60,
) -> TrackletPage:
    """A page of tracklets by their start."""
    wanted = _filter(camera, exclude_camera, start, end, min_quality)
    inside = gallery_filter(caller, wanted)
    behind = place(after, float, int)
    if inside is None:
        return TrackletPage(tracklets=[], next=None)
    found = list(
        services.gallery.tracklets(
            inside,
            after=None if behind is None else (behind[0], behind[1]),
            limit=limit + 1,
            newest_first=newest_first,
        )
    )
    records, following = paged(found, limit, lambda record: (record.start, record.id))
    return TrackletPage(tracklets=[view(record) for record in records], next=following)


@router.get("/timeline")
def time_line(
    services: ServicesDep,
    caller: ViewerDep,
    camera: Cameras = None,
    exclude_camera: OtherCameras = None,
    start: Start = None,
    end: End = None,
    min_quality: MinQuality = 0.0,
    num_bins: Annotated[int, Query(ge=1, le=1000, examples=[120])] = 120,
) -> TimeLineView:
    """How many tracklets began in each span of time, by camera, and when there were no pictures."""
    inside = gallery_filter(caller, _filter(camera, exclude_camera, start, end, min_quality))
    if inside is None:
        return TimeLineView(start=start or 0.0, bin_s=1.0, counts={}, gaps=[])
    line = services.gallery.time_line(inside, start, end, num_bins)
    counts = {name: row.tolist() for name, row in line.counts.items()}
    num_bins = len(next(iter(counts.values()), range(num_bins)))
    last = line.start + num_bins * line.bin_s
    gaps = gaps_of(services, GalleryFilter(inside.cameras, inside.exclude_cameras, line.start, last))
    for gap in gaps:  # a camera may have these alone
        counts.setdefault(gap.camera, [0] * num_bins)
    return TimeLineView(start=line.start, bin_s=line.bin_s, counts=counts, gaps=gaps)


@router.get("/tracklets/{tracklet_id}")
def tracklet(services: ServicesDep, caller: ViewerDep, tracklet_id: TrackletId) -> TrackletDetail:
    """One tracklet, and what can be played of it."""
    record = visible_tracklet(services, caller, tracklet_id)
    moments = tracklet_moments(services.gallery, tracklet_id)
    file = shown_file(moments.source)
    times = services.gallery.trajectory(tracklet_id).timestamps
    positions = services.gallery.crop_positions(tracklet_id).tolist() if record.has_crops else []
    _opened(services, caller, record)
    return TrackletDetail(
        **view(record).model_dump(),
        source_id=moments.source.id,
        num_crops=len(positions),
        crop_times=[float(times[position]) for position in positions],
        video=file is not None,
        video_playable=file is not None and browsers_play(file),
        offset_s=moments.first_s if file is not None else None,
        clip_offset_s=moments.first_s - clip_start_s(moments) if file is not None else None,
    )


@router.get("/tracklets/{tracklet_id}/thumbnail", responses=JPEG, response_class=Response)
def thumbnail(services: ServicesDep, caller: ViewerDep, tracklet_id: TrackletId) -> Response:
    """The crop that shows the person best."""
    visible_tracklet(services, caller, tracklet_id)
    return jpeg(services.gallery.thumbnail(tracklet_id))


@router.get("/tracklets/{tracklet_id}/crops/{number}", responses=JPEG, response_class=Response)
def crop(
    services: ServicesDep,
    caller: ViewerDep,
    tracklet_id: TrackletId,
    number: CropNumber,
) -> Response:
    """One of the crops, in the order of time."""
    _opened(services, caller, visible_tracklet(services, caller, tracklet_id))
    try:
        return jpeg(services.gallery.crops(tracklet_id, [number])[0])
    except IndexError as error:
        raise Refused(HTTPStatus.NOT_FOUND, str(error)) from error


@router.get("/tracklets/{tracklet_id}/trajectory")
def trajectory(services: ServicesDep, caller: ViewerDep, tracklet_id: TrackletId) -> TrajectoryView:
    """Where the person was, frame by frame."""
    _opened(services, caller, visible_tracklet(services, caller, tracklet_id))
    found = services.gallery.trajectory(tracklet_id)
    file = shown_file(services.gallery.source_of(tracklet_id))
    width, height = (file and picture_size(file)) or (None, None)
    return TrajectoryView(
        timestamps=found.timestamps.tolist(), xyxy=found.xyxy.tolist(), width=width, height=height
    )


@router.get("/tracklets/{tracklet_id}/video", responses=MP4, response_class=Response)
def video(services: ServicesDep, caller: ViewerDep, tracklet_id: TrackletId, asked: AskedRange) -> Response:
    """The moment, cut out of the recording; ranges of bytes are served."""
    _opened(services, caller, visible_tracklet(services, caller, tracklet_id))
    clip = services.clips.get(tracklet_id)
    if clip is None:
        raise Refused(HTTPStatus.NOT_FOUND, "the recording is not at hand, or must not be shown")
    return ranged(clip, "video/mp4", asked)


def view(record: TrackletRecord) -> TrackletView:
    """A tracklet as the API shows it."""
    return TrackletView(
        id=record.id,
        camera=record.camera,
        start=record.start,
        end=record.end,
        num_frames=record.num_frames,
        quality=record.quality,
        finished=record.finished,
        has_crops=record.has_crops,
        searchable=record.searchable,
    )


def gaps_of(services: Services, inside: GalleryFilter) -> list[GapView]:
    """The newest gaps in the cameras and the time of a filter, which is within what the caller may see."""
    return [
        GapView(camera=gap.camera, start=gap.start, end=gap.end, reason=gap.reason)
        for gap in services.gallery.gaps(inside, _MAX_GAPS)
    ]


def _opened(services: Services, caller: Caller, record: TrackletRecord) -> None:
    note_once(services, caller, "tracklet opened", {"tracklet": record.id, "camera": record.camera})


def _filter(
    cameras: list[str] | None,
    exclude: list[str] | None,
    start: float | None,
    end: float | None,
    min_quality: float,
) -> Filter:
    return Filter(
        cameras=cameras or [], exclude_cameras=exclude or [], start=start, end=end, min_quality=min_quality
    )
