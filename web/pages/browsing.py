"""Cameras, tracklets and recordings."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query
from fastapi.responses import HTMLResponse
from pydantic import BeforeValidator

from pipeline.source_frames import frame_at
from storage.errors import CaseNotFound
from web.access import Caller, ServicesDep, ViewerDep, visible_case, visible_search, visible_source
from web.answers import After
from web.api import cameras, searches, sources, tracklets
from web.pages.rendering import chips, example_words, page, query
from web.playing import shown_file
from web.problems import Refused
from web.resources import Filter, Id, Seconds, TrackletDetail
from web.results import search_view
from web.services import Services

router = APIRouter()

PathId = Annotated[int, Path(ge=1, le=2**63 - 1)]


def _blank(value: Any) -> Any:
    return None if value == "" else value  # forms send fields that are left empty


Moment = Annotated[Seconds | None, BeforeValidator(_blank), Query()]
Number = Annotated[Id | None, BeforeValidator(_blank), Query()]


@router.get("/cameras", response_class=HTMLResponse)
def cameras_page(services: ServicesDep, caller: ViewerDep, after: After = None) -> HTMLResponse:
    """Each camera, and the newest recordings."""
    found = sources.list_sources(services, caller, after=after)
    return page(
        caller,
        "cameras.html",
        "Cameras",
        section="/cameras",
        cameras=cameras.list_cameras(services, caller),
        sources=[each for each in found.sources if not each.live],
        more=None if found.next is None else f"/cameras?after={found.next}#recordings",
    )


@router.get("/browse", response_class=HTMLResponse)
def browse(
    services: ServicesDep,
    caller: ViewerDep,
    camera: tracklets.Cameras = None,
    exclude_camera: tracklets.OtherCameras = None,
    start: Moment = None,
    end: Moment = None,
    min_quality: tracklets.MinQuality = 0.0,
    order: Literal["newest", "oldest"] = "newest",
    after: After = None,
) -> HTMLResponse:
    """Tracklets in a grid, below how many there were when."""
    wanted = Filter(
        cameras=camera or [],
        exclude_cameras=exclude_camera or [],
        start=start,
        end=end,
        min_quality=min_quality,
    )
    asked: dict[str, Any] = {
        "camera": camera,
        "exclude_camera": exclude_camera,
        "start": start,
        "end": end,
        "min_quality": min_quality,
    }
    found = tracklets.list_tracklets(
        services, caller, **asked, newest_first=order == "newest", after=after, limit=48
    )
    line = None if after else tracklets.time_line(services, caller, **asked, num_bins=120)
    ordered = [] if order == "newest" else [("order", order)]
    return page(
        caller,
        "browse.html",
        "Browse",
        section="/browse",
        filter=wanted,
        newest_first=order == "newest",
        chips=chips(wanted, "/browse", ordered),
        cameras=[each.camera for each in cameras.list_cameras(services, caller)],
        tracklets=found.tracklets,
        time_line=None if line is None else line.model_dump(),
        more=found.next and query("/browse", [*_query_of(wanted), *ordered, ("after", found.next)]),
    )


@router.get("/tracklets/{tracklet_id}", response_class=HTMLResponse)
def tracklet_page(
    services: ServicesDep, caller: ViewerDep, tracklet_id: PathId, search: Number = None
) -> HTMLResponse:
    """One tracklet, to be played; as a result of a search, where its address names one."""
    search_id = search if caller.may("operator") else None
    if search_id is not None:
        searches.opened(services, caller, search_id, tracklet_id)
    found = tracklets.tracklet(services, caller, tracklet_id)
    return page(
        caller,
        "tracklet.html",
        f"Tracklet {tracklet_id}",
        section="/browse",
        tracklet=found,
        moment=_moment(found),
        search_id=search_id,
    )


@router.get("/video/{source_id}", response_class=HTMLResponse)
def video_page(
    services: ServicesDep,
    caller: ViewerDep,
    source_id: PathId,
    at_s: Annotated[float, Query(ge=0, le=1e9, allow_inf_nan=False)] = 0.0,
) -> HTMLResponse:
    """A recording at a moment, to point at somebody."""
    record = visible_source(services, caller, source_id)
    found = sources.view(record)
    file = shown_file(record)
    if file is not None and found.duration_s is None:
        _, _, duration_s = frame_at(file, services.config.video, 0.0)
        found = found.model_copy(update={"duration_s": duration_s})
    return page(caller, "video.html", found.name, section="/cameras", source=found, at_s=at_s)


@router.get("/compare", response_class=HTMLResponse)
def compare(
    services: ServicesDep,
    caller: ViewerDep,
    b: Annotated[Id, Query()],
    a: Number = None,
    search: Number = None,
    example: Number = None,
) -> HTMLResponse:
    """Two tracklets side by side, or an example of a search and a tracklet."""
    if (search is not None or example is not None) and not caller.may("operator"):
        raise Refused(403, f"this needs the role operator; you have {caller.role}")
    record = None if search is None else visible_search(services, caller, search)
    if search is not None:
        searches.opened(services, caller, search, b)
    if a is not None:
        left = _side(tracklets.tracklet(services, caller, a))
    elif record is not None and example is not None:
        examples = search_view(services, caller, record).examples
        found = next((each for each in examples if each.id == example), None)
        if found is None:
            raise Refused(404, f"search {search} has no example {example}")
        base = f"/api/v1/searches/{search}/examples/{example}/crops/"
        words = example_words(found.description)
        left = {"tracklet": None, "base": base, "count": found.num_crops, "words": words}
    else:
        raise Refused(422, "compare needs two tracklets: /compare?a=1&b=2")
    right = _side(tracklets.tracklet(services, caller, b))
    return page(
        caller,
        "compare.html",
        "Compare",
        section="/browse",
        sides=[left, right],
        search_id=search,
        locked=record and locked(services, caller, record.case_id),
    )


def locked(services: Services, caller: Caller, case_id: int | None) -> str | None:
    """Why nothing can be changed in a search of this case; None: it can."""
    if case_id is None:
        return None
    try:
        case = visible_case(services, caller, case_id)
    except CaseNotFound:
        return "This search belongs to a case of others: it can be read, not changed."
    if case.closed is None:
        return None
    return f"The case {case.name} is closed: this search can be read, not changed."


def _side(found: TrackletDetail) -> dict[str, Any]:
    return {
        "tracklet": found,
        "base": f"/api/v1/tracklets/{found.id}/crops/",
        "count": found.num_crops,
        "moment": _moment(found),
    }


def _moment(found: TrackletDetail) -> dict[str, Any] | None:
    """Where browsers play a tracklet, and the second at which it begins there."""
    if found.video_playable:
        return {"src": f"/api/v1/sources/{found.source_id}/video", "offset": found.offset_s}
    if found.video:
        return {"src": f"/api/v1/tracklets/{found.id}/video", "offset": found.clip_offset_s}
    return None


def _query_of(wanted: Filter) -> list[tuple[str, str]]:
    return [
        *(("camera", camera) for camera in wanted.cameras),
        *(("exclude_camera", camera) for camera in wanted.exclude_cameras),
        ("start", "" if wanted.start is None else repr(wanted.start)),
        ("end", "" if wanted.end is None else repr(wanted.end)),
        ("min_quality", repr(wanted.min_quality) if wanted.min_quality else ""),
    ]
