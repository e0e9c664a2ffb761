"""What is looked at, beyond what one search of the index can do: filters together, and who may see what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from storage.case_records import Decision, Example
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


def shown_filter(wanted: GalleryFilter, cameras: frozenset[str] | None) -> tuple[GalleryFilter, int]:
    """A filter as somebody sees it who may see only these cameras (None: all), and how many it names beside.

    With some of its cameras left out it says what was asked for, and is not to be searched with.
    """
    if cameras is None:
        return wanted, 0
    span = wanted.exclude_span
    named = wanted.cameras | wanted.exclude_cameras | frozenset(span[:1] if span else ())
    shown = replace(
        wanted,
        cameras=wanted.cameras & cameras,
        exclude_cameras=wanted.exclude_cameras & cameras,
        exclude_span=span if span and span[0] in cameras else None,
    )
    return shown, len(named - cameras)


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


def shows_example(example: Example, cameras: frozenset[str] | None) -> bool:
    """Whether somebody who may see only these cameras (None: all) may see an example."""
    return cameras is None or example.camera is None or example.camera in cameras


def shown_decisions(
    gallery: Gallery, decisions: Sequence[Decision], cameras: frozenset[str] | None
) -> list[Decision]:
    """The decisions about tracklets that somebody who may see only these cameras (None: all) may see."""
    if cameras is None:
        return list(decisions)
    about = gallery.records(decision.tracklet_id for decision in decisions)
    shown = {number for number, record in about.items() if record.camera in cameras}
    return [decision for decision in decisions if decision.tracklet_id in shown]
