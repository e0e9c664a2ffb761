"""Which recordings may be shown, and which of them browsers play as they are."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import av

from pipeline.clips import source_file
from pipeline.video import open_container, to_rgb
from storage.records import SourceRecord

_PLAYED = {"mov,mp4,m4a,3gp,3g2,mj2": {"h264", "av1", "vp9"}, "matroska,webm": {"vp8", "vp9", "av1"}}
_TYPES = {".webm": "video/webm"}


def shown_file(source: SourceRecord) -> Path | None:
    """As `pipeline.clips.source_file`; a file that has not changed is not read again."""
    try:
        stat = Path(source.uri).stat()
    except (OSError, ValueError):
        return None
    return _checked(_Asked(source), stat.st_mtime_ns, stat.st_size, stat.st_ino)


def browsers_play(file: Path) -> bool:
    """Whether container and codec are among those that every browser plays."""
    stat = file.stat()
    return _plays(file, stat.st_mtime_ns, stat.st_size)


def picture_size(file: Path) -> tuple[int, int] | None:
    """Width and height of its pictures in pixels, upright; None if none can be decoded."""
    stat = file.stat()
    return _size(file, stat.st_mtime_ns, stat.st_size, stat.st_ino)


def media_type(file: Path) -> str:
    """What to call such a file to a browser."""
    return _TYPES.get(file.suffix.lower(), "video/mp4")


def may_be_shown(source: SourceRecord) -> bool:
    """Whether a recording seems to be at hand; `shown_file` looks closely."""
    try:
        return not source.live and not source.masked and Path(source.uri).is_file()
    except (OSError, ValueError):
        return False


class _Asked:
    """A source as a key of the cache: by what says whether it may be shown."""

    def __init__(self, source: SourceRecord) -> None:
        self.source = source
        self._key = (source.uri, source.fingerprint, source.live, source.masked)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Asked) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)


@lru_cache(maxsize=65_536)
def _checked(asked: _Asked, changed: int, size: int, inode: int) -> Path | None:
    return source_file(asked.source)


@lru_cache(maxsize=256)
def _plays(file: Path, changed: int, size: int) -> bool:
    try:
        with open_container(str(file)) as container:
            stream = container.streams.video[0]
            codecs = _PLAYED.get(container.format.name, set())
            return stream.codec_context.name in codecs and stream.codec_context.pix_fmt in (
                "yuv420p",
                "yuvj420p",
            )
    except (av.FFmpegError, IndexError):
        return False


@lru_cache(maxsize=256)
def _size(file: Path, changed: int, size: int, inode: int) -> tuple[int, int] | None:
    try:
        with open_container(str(file)) as container:
            height, width = to_rgb(next(container.decode(video=0))).shape[:2]
    except (av.FFmpegError, IndexError, StopIteration):
        return None
    return width, height
