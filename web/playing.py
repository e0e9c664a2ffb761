"""Which recordings browsers play as they are."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import av

_PLAYED = {"mov,mp4,m4a,3gp,3g2,mj2": {"h264", "av1", "vp9"}, "matroska,webm": {"vp8", "vp9", "av1"}}
_TYPES = {".webm": "video/webm"}


def browsers_play(file: Path) -> bool:
    """Whether container and codec are among those that every browser plays."""
    stat = file.stat()
    return _plays(file, stat.st_mtime_ns, stat.st_size)


def media_type(file: Path) -> str:
    """What to call such a file to a browser."""
    return _TYPES.get(file.suffix.lower(), "video/mp4")


@lru_cache(maxsize=256)
def _plays(file: Path, changed: int, size: int) -> bool:
    try:
        with av.open(f"file:{file}", metadata_errors="replace") as container:
            stream = container.streams.video[0]
            codecs = _PLAYED.get(container.format.name, set())
            return stream.codec_context.name in codecs and stream.codec_context.pix_fmt in (
                "yuv420p",
                "yuvj420p",
            )
    except (av.FFmpegError, IndexError):
        return False
