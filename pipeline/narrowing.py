"""What is looked at, beyond what one search of the index can do: filters together, and who may see what."""

from __future__ import annotations

from collections.abc import Sequence

from storage.case_records import Example
from storage.errors import TrackletNotFound
from storage.gallery import Gallery
from storage.records import GalleryFilter, TrackletRecord

Span = tuple[str, float, float]
"""Camera, start and end in seconds UTC."""


def narrowed(one: GalleryFilter, other: GalleryFilter) -> GalleryFilter | None:
    """What passes both filters, spans apart; None if nothing can."""
    cameras = one.cameras & other.cameras if one.cameras and other.cameras else one.cameras | other.cameras
    excluded = one.exclude_cameras | other.exclude_cameras
    starts = [start for start in (one.start, other.start) if start is not None]
    ends = [end for end in (one.end, other.end) if end is not None]
    start, end = max(starts, default=None), min(ends, default=None)
    if one.cameras and other.cameras and not cameras:
        return None
    if start is not None and end is not None and end < start:
        return None
    return GalleryFilter(cameras, excluded, start, end, max(one.min_quality, other.min_quality))


def overlaps(record: TrackletRecord, spans: Sequence[Span]) -> bool:
    """Whether a tracklet lies in one of the spans."""
    return any(
        record.camera == camera and record.end >= start and record.start <= end
        for camera, start, end in spans
    )


def passes(record: TrackletRecord, wanted: GalleryFilter) -> bool:
    """Whether a tracklet passes a filter, spans apart."""
    return (
        has_camera(record.camera, wanted)
        and (wanted.start is None or record.end >= wanted.start)
        and (wanted.end is None or record.start <= wanted.end)
        and record.quality >= wanted.min_quality
    )


def has_camera(camera: str, wanted: GalleryFilter) -> bool:
    """Whether a camera passes a filter."""
    return (not wanted.cameras or camera in wanted.cameras) and camera not in wanted.exclude_cameras


def example_camera(gallery: Gallery, example: Example) -> str | None:
    """The camera that an example was seen by; None if it is of no camera, as an upload is.

    Raises:
        TrackletNotFound: It was a tracklet, which does not exist any more.
    """
    if example.tracklet_id is not None:
        return gallery.tracklet(example.tracklet_id).camera
    span = example.description.get("span")
    camera = example.description.get("camera") or (span[0] if span else None)
    return None if camera is None else str(camera)


def shows_example(gallery: Gallery, example: Example, cameras: frozenset[str] | None) -> bool:
    """Whether somebody who may see only these cameras (None: all) may see an example."""
    if cameras is None:
        return True
    try:
        camera = example_camera(gallery, example)
    except TrackletNotFound:  # deleted since the search was read
        return False
    return camera is None or camera in cameras
