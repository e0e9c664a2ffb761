"""Cameras, tracklets, time lines, recordings."""

from __future__ import annotations

from pydantic import BaseModel, Field

from web.resources.common import Box


class CameraView(BaseModel):
    """A camera, and what the last run or ingest said of it."""

    camera: str = Field(examples=["door"])
    state: str = Field(description="streaming, connecting, waiting, off, ended, failed, recorded, or unknown")
    detail: str
    updated: float | None
    frame_time: float | None = Field(description="of the picture at /frame; null: there is none")
    tracklets: int
    start: float | None
    end: float | None
    per_hour: list[int] = Field(description="tracklets that began in each of the last 24 hours, newest last")


class TrackletView(BaseModel):
    """A tracklet: one person in one camera for a while."""

    id: int
    camera: str
    start: float
    end: float
    num_frames: int
    quality: float
    finished: bool
    has_crops: bool
    searchable: bool


class TrackletDetail(TrackletView):
    """A tracklet with what can be played of it."""

    source_id: int
    num_crops: int
    crop_times: list[float]
    video: bool = Field(description="whether /video has the moment from the recording")
    video_playable: bool = Field(
        description="whether browsers can play the recording itself at /sources/{id}/video"
    )
    offset_s: float | None = Field(description="where in the recording the tracklet begins")
    clip_offset_s: float | None = Field(description="where in /video the tracklet begins")


class TrackletPage(BaseModel):
    """A page of tracklets; `next` asks for the page behind it."""

    tracklets: list[TrackletView]
    next: str | None


class TrajectoryView(BaseModel):
    """Boxes of a tracklet, in pixels of its camera's pictures."""

    timestamps: list[float]
    xyxy: list[Box]
    width: int | None = Field(description="of those pictures; null: the recording is not at hand")
    height: int | None


class GapView(BaseModel):
    """A time of which there are no pictures of a camera, or none that were analysed."""

    camera: str
    start: float
    end: float | None = Field(description="null: it lasts")
    reason: str = Field(description="such as `paused: disk full ...`, or why the stream broke off")


class TimeLineView(BaseModel):
    """Tracklets per camera and span of time, by when they began, and where there was nothing to see."""

    start: float
    bin_s: float
    counts: dict[str, list[int]]
    gaps: list[GapView] = Field(description="by their start; of more than 500, the newest 500")


class Begun(BaseModel):
    """The event `begin`: the stream is open."""


class Arrived(BaseModel):
    """The event `tracklets`: some came in."""

    count: int = Field(ge=1, description="since the event before")


class SourceView(BaseModel):
    """A recording or a run of a live camera."""

    id: int
    camera: str
    name: str = Field(description="file name, or address without credentials")
    start: float
    end: float | None
    status: str
    live: bool
    video: bool = Field(description="whether its frames can be shown")
    video_playable: bool | None = Field(description="whether browsers play it; null in lists: nobody looked")
    duration_s: float | None


class SourcePage(BaseModel):
    """A page of sources; `next` asks for the page behind it."""

    sources: list[SourceView]
    next: str | None
