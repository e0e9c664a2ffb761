"""Templates, and how they write times, lengths and what an entry is about."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from web.access import Caller
from web.resources import Filter, Me

_TEMPLATES = Path(__file__).parent.parent / "templates"
_SHORT_S = 60.0  # of shorter spans tenths of a second are shown
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_STATE_ICONS = {
    "streaming": "live",
    "connecting": "wait",
    "waiting": "wait",
    "off": "off",
    "ended": "end",
    "failed": "warn",
    "recorded": "recorded",
}


@dataclass(frozen=True)
class Chip:
    """A filter in use.

    Attributes:
        label: in words.
        without: address of the page without it.
        seconds: a time that belongs to the label, seconds UTC.
        tenths: whether tenths of a second matter.
    """

    label: str
    without: str = ""
    seconds: float | None = None
    tenths: bool = False


def page(caller: Caller | None, template: str, title: str, **values: Any) -> HTMLResponse:
    """A page.

    Args:
        caller: who looks at it; decides which parts there are.
        template: file below templates/, which also names the page for scripts: "admin/users.html" is "users".
        title: of the window.
        values: for the template; `section` is the entry of the main menu that is marked.
    """
    values.setdefault("section", None)
    values.setdefault("subsection", None)
    text = (
        _environment()
        .get_template(template)
        .render(
            page=Path(template).stem,
            title=title,
            me=_me(caller),
            operator=caller is not None and caller.may("operator"),
            admin=caller is not None and caller.may("admin"),
            **values,
        )
    )
    return HTMLResponse(text, headers={"Cache-Control": "no-store"})  # persons are in it


def error_page(request: Request, status: int, title: str, detail: str) -> HTMLResponse:
    """What went wrong, for people."""
    response = page(request.scope.get("retrace.caller"), "error.html", title, detail=_sentence(detail))
    response.status_code = status
    return response


def query(path: str, values: list[tuple[str, str]]) -> str:
    """An address with a query, without empty values."""
    kept = [(name, value) for name, value in values if value]
    return f"{path}?{urlencode(kept)}" if kept else path


def further(
    path: str, here: Mapping[str, str | None], name: str, after: str | None, part: str = ""
) -> str | None:
    """The address of the next page of a list; None: there is none.

    Args:
        path: of the page that shows it.
        here: names and cursors of the lists that are shown.
        name: of the list that goes on.
        after: its cursor for the next page.
        part: of the page, to be shown first.
    """
    if after is None:
        return None
    return query(path, [(each, value or "") for each, value in {**here, name: after}.items()]) + part


def chips(wanted: Filter, path: str = "", others: Sequence[tuple[str, str]] = ()) -> list[Chip]:
    """The parts of a filter, each with the address of `path` without it; `others` stay in that address."""
    parts: list[tuple[str, float | None, tuple[str, str]]] = [
        *((camera, None, ("camera", camera)) for camera in wanted.cameras),
        *((f"not {camera}", None, ("exclude_camera", camera)) for camera in wanted.exclude_cameras),
    ]
    if wanted.start is not None:
        parts.append(("from", wanted.start, ("start", repr(wanted.start))))
    if wanted.end is not None:
        parts.append(("to", wanted.end, ("end", repr(wanted.end))))
    if wanted.min_quality > 0:
        label = f"quality at least {wanted.min_quality:g}"
        parts.append((label, None, ("min_quality", repr(wanted.min_quality))))
    tenths = wanted.start is not None and wanted.end is not None and _is_short(wanted.start, wanted.end)
    return [
        Chip(
            label,
            query(path, [*(each[2] for each in parts if each[2] != own), *others]),
            seconds,
            tenths and seconds is not None,
        )
        for label, seconds, own in parts
    ]


def moved(path: str, status: int = HTTPStatus.SEE_OTHER) -> HTMLResponse:
    """Go to another page of ours."""
    return HTMLResponse("", status, {"Location": path})


def example_words(description: dict[str, Any]) -> str:
    """What an example is that is no tracklet, or no longer."""
    if "tracklet" in description:
        return f"tracklet {description['tracklet']}, which was deleted"
    if description.get("at") is None:
        return "a picture, uploaded"
    moment = _length_words(float(description["at"]))
    if description.get("camera"):
        return f"{description['camera']}, a recording at {moment}"
    return f"a clip at {moment}, uploaded"


@functools.cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        utc_iso=_utc_iso,
        utc_words=_utc_words,
        length_words=_length_words,
        thousands=_thousands,
        counted=_counted,
        segment=functools.partial(quote, safe=""),
        is_short=lambda span: _is_short(*span),
        state_icon=lambda state: _STATE_ICONS.get(state, "unknown"),
        subject_words=_subject_words,
        example_words=example_words,
    )
    return environment


def _me(caller: Caller | None) -> Me | None:
    if caller is None:
        return None
    return Me(
        name=caller.name,
        role=caller.role,
        cameras=None if caller.cameras is None else sorted(caller.cameras),
        csrf_token=caller.session.csrf_token if caller.session else None,
    )


def _utc(seconds: float) -> datetime:
    try:
        return _EPOCH + timedelta(seconds=seconds)
    except OverflowError:  # clocks of cameras can be set to anything
        return datetime.max.replace(tzinfo=UTC) if seconds > 0 else datetime.min.replace(tzinfo=UTC)


def _utc_iso(seconds: float) -> str:
    return _utc(seconds).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _utc_words(seconds: float, tenths: bool = False) -> str:
    words = _utc(seconds).replace(tzinfo=None).isoformat(" ", "milliseconds")
    return f"{words[:-2] if tenths else words[:-4]} UTC"


def _is_short(start: float, end: float) -> bool:
    return end - start < _SHORT_S


def _length_words(seconds: float) -> str:
    minutes, rest = divmod(max(0.0, seconds), 60.0)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours}:{minutes:02d}:{rest:04.1f}" if hours else f"{minutes}:{rest:04.1f}"


def _thousands(number: int) -> str:
    return f"{number:,}"


def _counted(number: int, word: str) -> str:
    plural = "" if number == 1 else "es" if word.endswith("ch") else "s"
    return f"{number:,} {word}{plural}"


def _subject_words(value: Any) -> str:
    """A JSON value in words."""
    match value:
        case None:
            return "not set"
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:g}" if abs(value) < 1e6 else f"{value:.0f}"
        case dict():
            kept = {name: each for name, each in value.items() if each not in (None, [], {}, "")}
            return ", ".join(f"{name} {_subject_words(each)}" for name, each in kept.items()) or "none"
        case list():
            return "; ".join(_subject_words(each) for each in value) or "none"
    return str(value) or "none"


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}" + ("" if text.endswith((".", "!", "?")) else ".")
