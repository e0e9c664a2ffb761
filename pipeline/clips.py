"""The moment a tracklet was seen, cut out of the recording it was found in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from pipeline.config import VideoSettings
from pipeline.types import Frame, Image
from pipeline.video import SourceSpec, VideoSourceError, file_fingerprint, is_stream, open_source
from pipeline.video_writer import VideoWriter
from storage.gallery import Gallery
from storage.records import SourceRecord

_MAX_RATE = 25.0  # frames a second
_MAX_SIDE_PX = 960
_CRF = 26
_MARGIN_S = 2.0
_SLACK_S = 1e-3  # clocks of containers round to milliseconds


@dataclass(frozen=True)
class Moments:
    """Where in its source a tracklet lies: first and last second from the source's start."""

    source: SourceRecord
    first_s: float
    last_s: float


def tracklet_moments(gallery: Gallery, tracklet_id: int) -> Moments:
    """When a tracklet was seen, on the clock of its source.

    Raises:
        TrackletNotFound: it does not exist (any more).
    """
    record, source = gallery.tracklet(tracklet_id), gallery.source_of(tracklet_id)
    return Moments(source, max(0.0, record.start - source.start), max(0.0, record.end - source.start))


def clip_start_s(moments: Moments, margin_s: float = _MARGIN_S) -> float:
    """The second of the recording that is second zero of the clip which `tracklet_clip` cuts."""
    return max(0.0, moments.first_s - margin_s - _SLACK_S)


def source_file(source: SourceRecord) -> Path | None:
    """The recording of a source, if it may be shown and is still what it was.

    Returns:
        An existing local regular file with the source's content. None for streams, folders of pictures,
        sources with masked parts (the file shows what nobody may see), and for a file that is gone, cannot be
        read, or has another content now.
    """
    if source.live or source.masked or is_stream(source.uri):
        return None
    path = Path(source.uri)
    try:
        if not path.is_absolute() or not path.is_file() or file_fingerprint(path) != source.fingerprint:
            return None
    except (OSError, ValueError):  # no permission; a name that no file can have
        return None
    return path


def tracklet_clip(gallery: Gallery, tracklet_id: int, out: Path, margin_s: float = _MARGIN_S) -> Path | None:
    """Write the moment of a tracklet as a small H.264 MP4, which appears when it is whole.

    Args:
        out: the file.
        margin_s: seconds before and after that are shown, too.

    Returns:
        `out`; None if the recording is not there (`source_file`) or cannot be decoded at that moment.

    Raises:
        TrackletNotFound: the tracklet does not exist (any more).
        OSError: `out` cannot be written.
    """
    moments = tracklet_moments(gallery, tracklet_id)
    path = source_file(moments.source)
    if path is None:
        return None
    first, last = clip_start_s(moments, margin_s), moments.last_s + margin_s
    begin = moments.source.start + first
    spec = SourceSpec(moments.source.camera, str(path), moments.source.start)
    try:
        opened = open_source(spec, VideoSettings(analysis_fps=None))
    except VideoSourceError:
        return None
    # Where a recording's clock was set back, only decoding from the start tells which moment is which.
    begin_s = 0.0 if "clock set back" in moments.source.counts.get("damage", {}) else first
    shown = (f for f in opened.frames(begin_s, last) if f.timestamp >= begin)
    rate = min(opened.frame_rate, _MAX_RATE)
    pictures = _at_rate(shown, rate, begin)
    picture = next(pictures, None)
    if picture is None:
        return None
    with VideoWriter(out, rate, crf=_CRF) as video:
        video.add(picture)
        for picture in pictures:
            video.add(picture)
    return out


def _at_rate(frames: Iterable[Frame], rate: float, begin: float) -> Iterator[Image]:
    """Small pictures at a fixed rate from a time on (seconds UTC).

    They are repeated where the recording has none, left out where it has more.
    """
    written = 0
    for frame in frames:
        # A hundredth of an interval of slack: container clocks round to milliseconds.
        due = int((frame.timestamp - begin) * rate + 0.01) + 1
        if due > written:
            picture = _small(frame.image)
            for _ in range(due - written):
                yield picture
            written = due


def _small(image: Image) -> Image:
    height, width = image.shape[:2]
    scale = _MAX_SIDE_PX / max(height, width)
    if scale >= 1:
        return image
    size = (max(2, round(width * scale)), max(2, round(height * scale)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
