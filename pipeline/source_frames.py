"""A frame of a recording at a moment, for somebody to draw a box on."""

from __future__ import annotations

import math
from pathlib import Path

from pipeline.config import VideoSettings
from pipeline.types import Image
from pipeline.video import SourceSpec, VideoSourceError, open_source


def frame_at(source_file: Path, settings: VideoSettings, at_s: float) -> tuple[Image, float, float | None]:
    """The picture that a player shows at a moment; quick, because it seeks.

    Args:
        source_file: a video file, as `pipeline.clips.source_file` has checked it.
        settings: how it is read.
        at_s: seconds from the start of the recording.

    Returns:
        The (H, W, 3) RGB picture, the second since when it is shown, and the recording's length in seconds,
        None when it is not known.

    Raises:
        ValueError: the moment is outside the recording.
        VideoSourceError: the file cannot be read.
    """
    source = open_source(SourceSpec("query", str(source_file)), settings)
    if not (math.isfinite(at_s) and 0 <= at_s <= (source.duration_s or at_s)):
        length = f", which is {source.duration_s:.1f} s long" if source.duration_s else ""
        raise ValueError(f"{at_s:g} s is outside the recording{length}")
    shown = source.shown_at(at_s)
    if shown is None:
        raise VideoSourceError(f"{source_file.name} has no frame that can be decoded near {at_s:g} s")
    return *shown, source.duration_s
