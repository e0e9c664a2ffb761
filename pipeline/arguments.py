"""What a user types on the command line -> what the library takes; a `ValueError` says what is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from pipeline.video import SourceSpec
from storage.gallery import Gallery
from storage.records import GalleryFilter

# Options that take several values after one flag as well as one value after each of several flags.
_VARIADIC = frozenset(
    {
        *("--source", "--start", "--set", "--image", "--box", "--camera", "--exclude-camera"),
        *("--data", "--evaluate", "--tracklet", "--hours"),
    }
)


def parse_sources(texts: Sequence[str], starts: Sequence[str]) -> list[SourceSpec]:
    """`NAME=URI` and `NAME=ISO8601` pairs as sources; a start must belong to a source."""
    begin: dict[str, str] = {}
    for name, moment in (_pair(text, "--start", "ISO8601") for text in starts):
        if name in begin:
            raise ValueError(f"--start is given twice for camera '{name}'")
        begin[name] = moment
    sources = [_pair(text, "--source", "URI") for text in texts]
    unknown = begin.keys() - {name for name, _ in sources}
    if unknown:
        raise ValueError(f"--start names camera '{min(unknown)}', which no --source has")
    return [
        SourceSpec(name, uri, parse_time(begin[name]) if name in begin else None) for name, uri in sources
    ]


def _pair(text: str, flag: str, value: str) -> tuple[str, str]:
    name, equals, rest = text.partition("=")
    if not equals or not name.strip() or not rest.strip():
        raise ValueError(f"{flag} takes NAME={value}, got '{text}'")
    return name.strip(), rest


def parse_time(text: str) -> float:
    """ISO 8601, which without a zone is UTC, as seconds UTC."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"'{text}' is not an ISO 8601 time such as 2024-05-01T13:30:00+02:00") from error
    if not 1 < moment.year < 9999:  # the next time zone, or the end of the video, would leave the calendar
        raise ValueError(f"'{text}' is outside the years 2 to 9998")
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def parse_box(text: str) -> tuple[float, float, float, float]:
    """`x1,y1,x2,y2` in pixels."""
    try:
        left, top, right, bottom = (float(value) for value in text.split(","))
    except ValueError as error:
        raise ValueError(f"--box takes x1,y1,x2,y2 in pixels, got '{text}'") from error
    if not (right > left and bottom > top):
        raise ValueError(f"--box {text} is empty: x2 must exceed x1 and y2 must exceed y1")
    return left, top, right, bottom


def parse_filter(
    gallery: Gallery, cameras: list[str] | None, without: list[str] | None, begin: str | None, end: str | None
) -> GalleryFilter:
    """Cameras that the gallery has, and a time range."""
    start, stop = (None if text is None else parse_time(text) for text in (begin, end))
    if start is not None and stop is not None and stop < start:
        raise ValueError(f"--to {end} lies before --from {begin}")
    wanted = GalleryFilter(
        cameras=frozenset(cameras or []), exclude_cameras=frozenset(without or []), start=start, end=stop
    )
    known = {summary.camera for summary in gallery.cameras()}
    unknown = (wanted.cameras | wanted.exclude_cameras) - known
    if unknown:
        raise ValueError(
            f"no camera '{min(unknown)}' in the gallery; there are: {', '.join(sorted(known)) or 'none'}"
        )
    return wanted


def refuse_blanks(arguments: list[str]) -> None:
    """An empty argument is a shell variable that is not set; as a path it would be the current folder."""
    for before, argument in zip(["the command", *arguments], arguments, strict=False):
        if not argument.strip():
            raise ValueError(f"the value after {before} is empty")


def spread_values(arguments: list[str]) -> list[str]:
    """`--image a b` as `--image a --image b`."""
    spread: list[str] = []
    flag = None
    for i, argument in enumerate(arguments):
        if argument.startswith("-"):
            flag = argument if argument in _VARIADIC else None
        elif flag is not None and arguments[i - 1] != flag:
            spread.append(flag)
        spread.append(argument)
    return spread
