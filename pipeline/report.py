"""An answer as JSON and as one self-contained HTML page."""

from __future__ import annotations

import base64
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jinja2

from pipeline.export import iso, whole_file
from pipeline.query import Answer
from pipeline.reindex import describe
from storage.records import GalleryFilter, Hit

_TICKS = (0, 25, 50, 75, 100)  # per cent of the time axis
_MIN_MARK_PERCENT = 0.6  # a tracklet of a second on a line of a day must still be seen


def answer_json(answer: Answer) -> dict[str, Any]:
    """The documented JSON of `query`."""
    query = {"kind": answer.query.kind, **answer.query.description, "filter": _filter_json(answer.filter)}
    model = {**describe(answer.spec), "note": answer.fallback}
    return {
        "query": query,
        "model": model,
        "matches": [_match_json(rank, hit) for rank, hit in _ranked(answer)],
    }


def write_html(answer: Answer, out: Path) -> None:
    """Write the page: the query's crops, the matches ranked, and each on a time line of its camera.

    Pictures are inside the file; it loads nothing and can be kept with a case.
    """
    folder = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(loader=folder, autoescape=True, undefined=jinja2.StrictUndefined)
    page = environment.get_template("report.html.j2").render(
        title=_title(answer),
        asked=_asked(answer),
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        model=str(answer.spec),
        note=answer.fallback,
        crops=[_picture(jpeg) for jpeg in answer.query.crops[:16]],
        matches=[_Match(rank, hit) for rank, hit in _ranked(answer)],
        lanes=_lanes(answer),
        ticks=_ticks(answer),
    )
    with whole_file(out) as file:
        file.write(page)


class _Match:
    """A match as the page shows it."""

    def __init__(self, rank: int, hit: Hit) -> None:
        record = hit.record
        self.rank, self.similarity, self.id, self.camera = rank, hit.similarity, record.id, record.camera
        self.start, self.end, self.source = _clock(record.start), _clock(record.end), record.source
        self.seconds, self.quality = record.end - record.start, record.quality
        self.picture = ""
        with suppress(FileNotFoundError):  # deleted or refined since the search
            self.picture = _picture(record.thumbnail.read_bytes())


@dataclass(frozen=True)
class _Mark:
    """A span on a camera's line, in per cent of its width; the query's own has no rank."""

    rank: int | None
    left: float
    width: float
    label: str

    def covers(self, other: _Mark) -> bool:
        return self.left < other.left + other.width and other.left < self.left + self.width


def _lanes(answer: Answer) -> list[tuple[str, list[list[_Mark]]]]:
    """Per camera, by name, the query's own appearance and the matches as marks on one common time axis.

    Marks that would cover each other stand in rows of their own, the best match in the first.
    """
    first, length = _axis(answer)
    lanes: dict[str, list[list[_Mark]]] = {}

    def mark(camera: str, rank: int | None, start: float, end: float, label: str) -> None:
        width = max(_MIN_MARK_PERCENT, 100 * (end - start) / length)
        left = min(100 * (start - first) / length, 100 - width)
        new = _Mark(rank, round(left, 3), round(width, 3), label)
        rows = lanes.setdefault(camera, [])
        for row in rows:
            if not any(new.covers(other) for other in row):
                row.append(new)
                return
        rows.append([new])

    if answer.query.span:
        camera, start, end = answer.query.span
        mark(camera, None, start, end, f"the query, {_clock(start)} to {_clock(end)}")
    for rank, hit in _ranked(answer):
        record = hit.record
        mark(
            record.camera,
            rank,
            record.start,
            record.end,
            f"number {rank}, {_clock(record.start)}, {hit.similarity:.3f}",
        )
    return sorted(lanes.items())


def _ticks(answer: Answer) -> list[tuple[float, str]]:
    first, length = _axis(answer)
    one_day = _clock(first)[:10] == _clock(first + length)[:10]
    texts = [_clock(first + length * percent / 100) for percent in _TICKS]
    return [
        (percent, text[11:] if one_day else text[:16]) for percent, text in zip(_TICKS, texts, strict=True)
    ]


def _axis(answer: Answer) -> tuple[float, float]:
    spans = [(hit.record.start, hit.record.end) for hit in answer.matches]
    if answer.query.span:
        spans.append(answer.query.span[1:])
    if not spans:
        return 0.0, 1.0
    first = min(start for start, _ in spans)
    return first, max(max(end for _, end in spans) - first, 1.0)


def _ranked(answer: Answer) -> list[tuple[int, Hit]]:
    return list(enumerate(answer.matches, start=1))


def _match_json(rank: int, hit: Hit) -> dict[str, Any]:
    record = hit.record
    return {
        "rank": rank,
        "tracklet": record.id,
        "camera": record.camera,
        "start": iso(record.start),
        "end": iso(record.end),
        "similarity": round(hit.similarity, 6),
        "thumbnail": str(record.thumbnail) if record.has_crops else None,
    }


def _filter_json(wanted: GalleryFilter) -> dict[str, Any]:
    span = wanted.exclude_span
    return {
        "cameras": sorted(wanted.cameras),
        "exclude_cameras": sorted(wanted.exclude_cameras),
        "from": None if wanted.start is None else iso(wanted.start),
        "to": None if wanted.end is None else iso(wanted.end),
        "left_out": None if span is None else {"camera": span[0], "start": iso(span[1]), "end": iso(span[2])},
    }


def _title(answer: Answer) -> str:
    asked = answer.query.description
    match answer.query.kind:
        case "tracklet":
            return f"Where else did tracklet {asked['tracklet']} of {asked['camera']} appear?"
        case "video":
            return f"Where else did the person in {Path(asked['video']).name} at {asked['at']:g} s appear?"
        case _:
            return f"Where else did the person in {', '.join(Path(p).name for p in asked['images'])} appear?"


def _asked(answer: Answer) -> list[tuple[str, str]]:
    """The filters in words; a page that is kept must say what was left out."""
    wanted = answer.filter
    lines = []
    if wanted.cameras:
        lines.append(("Cameras", ", ".join(sorted(wanted.cameras))))
    if wanted.exclude_cameras:
        lines.append(("Without cameras", ", ".join(sorted(wanted.exclude_cameras))))
    if wanted.start is not None or wanted.end is not None:
        start = "the beginning" if wanted.start is None else _clock(wanted.start)
        end = "the end" if wanted.end is None else _clock(wanted.end)
        lines.append(("Time", f"{start} to {end}"))
    if wanted.exclude_span is not None:
        camera, first, last = wanted.exclude_span
        lines.append(
            ("Left out", f"{camera} from {_clock(first)} to {_clock(last)}, where the query itself is seen")
        )
    return lines


def _clock(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _picture(jpeg: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii")
