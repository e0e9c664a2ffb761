"""An answer as JSON and as one self-contained HTML page."""

from __future__ import annotations

import base64
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jinja2

from pipeline.export import iso, whole_file
from pipeline.query import Answer
from pipeline.reindex import describe
from pipeline.time_line import clock, lanes, ticks
from storage.records import GalleryFilter, Hit


def answer_json(answer: Answer) -> dict[str, Any]:
    """The documented JSON of `query`."""
    query = {"kind": answer.query.kind, **answer.query.description, "filter": filter_json(answer.filter)}
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
    own = [answer.query.span] if answer.query.span else []
    page = template("report.html.j2").render(
        title=_title(answer),
        asked=filter_words(answer.filter),
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        model=str(answer.spec),
        note=answer.fallback,
        crops=[picture(jpeg) for jpeg in answer.query.crops[:16]],
        matches=[_Match(rank, hit) for rank, hit in _ranked(answer)],
        lanes=lanes(own, answer.matches),
        ticks=ticks(own, answer.matches),
    )
    with whole_file(out) as file:
        file.write(page)


def template(name: str) -> jinja2.Template:
    """A template of this folder; what is put into it is escaped."""
    folder = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(loader=folder, autoescape=True, undefined=jinja2.StrictUndefined)
    return environment.get_template(name)


class _Match:
    """A match as the page shows it."""

    def __init__(self, rank: int, hit: Hit) -> None:
        record = hit.record
        self.rank, self.similarity, self.id, self.camera = rank, hit.similarity, record.id, record.camera
        self.start, self.end, self.source = clock(record.start), clock(record.end), record.source
        self.seconds, self.quality = record.end - record.start, record.quality
        self.picture = ""
        with suppress(FileNotFoundError):  # deleted or refined since the search
            self.picture = picture(record.thumbnail.read_bytes())


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


def filter_json(wanted: GalleryFilter) -> dict[str, Any]:
    """A filter as the documented JSON."""
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


def filter_words(wanted: GalleryFilter) -> list[tuple[str, str]]:
    """A filter in words; a page that is kept must say what was left out."""
    lines = []
    if wanted.cameras:
        lines.append(("Cameras", ", ".join(sorted(wanted.cameras))))
    if wanted.exclude_cameras:
        lines.append(("Without cameras", ", ".join(sorted(wanted.exclude_cameras))))
    if wanted.start is not None or wanted.end is not None:
        start = "the beginning" if wanted.start is None else clock(wanted.start)
        end = "the end" if wanted.end is None else clock(wanted.end)
        lines.append(("Time", f"{start} to {end}"))
    if wanted.exclude_span is not None:
        camera, first, last = wanted.exclude_span
        lines.append(
            ("Left out", f"{camera} from {clock(first)} to {clock(last)}, where the query itself is seen")
        )
    return lines


def picture(jpeg: bytes) -> str:
    """A JPEG file as an address that a page can show by itself."""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii")
