"""The commands `audit ...`; the libraries they need are imported when they run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypedDict

import typer

from pipeline.watch_commands import DatabaseUrl, GalleryDir, Json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pipeline.query import Answer
    from storage.audit_records import AuditCrop, AuditEntry
    from storage.gallery import Gallery

app = typer.Typer(help="The audit trail: who searched for whom, and did what else.", no_args_is_help=True)

_HEAD = re.compile(r"(\d{1,18}):([0-9a-f]{64})", re.ASCII)
_LONGEST_SUBJECT = 120


@app.command("list")
def list_(
    gallery: GalleryDir,
    limit: Annotated[int, typer.Option(min=1, max=1_000_000, help="The newest so many.")] = 100,
    actor: Annotated[str | None, typer.Option(help="Of this one only, such as a user's name.")] = None,
    action: Annotated[str | None, typer.Option(help="Of this kind only, such as search.")] = None,
    from_: Annotated[str | None, typer.Option("--from", help="ISO 8601; without a zone it is UTC.")] = None,
    to: Annotated[str | None, typer.Option("--to", help="ISO 8601; without a zone it is UTC.")] = None,
    database: DatabaseUrl = None,
    as_json: Json = False,
) -> None:
    """Show who did what, newest first."""
    from pipeline.arguments import parse_time
    from pipeline.terminal import show_json, show_table

    start, end = (None if text is None else parse_time(text) for text in (from_, to))
    with _open(gallery, database) as opened:
        found = opened.audit.entries(limit=limit, actor=actor, action=action, start=start, end=end)
    rows = [entry_json(entry) for entry in found]
    if as_json:
        show_json(rows)
        return
    columns = ("seq", "time", "actor", "via", "origin", "action", "subject", "crops")
    show_table(columns, [[_cell(row[column]) for column in columns] for row in rows])


@app.command()
def verify(
    gallery: GalleryDir,
    head: Annotated[
        str | None, typer.Option(help="SEQ:HASH that was noted earlier and must still be in the trail.")
    ] = None,
    database: DatabaseUrl = None,
    as_json: Json = False,
) -> None:
    """Check that no entry was changed, cut out or cut off; exit code 1 if one was."""
    from pipeline.terminal import TerminalHooks, show_json

    expected = None if head is None else _parse_head(head)
    with TerminalHooks() as hooks, _open(gallery, database) as opened:
        found = opened.audit.verify(
            expected, lambda done, total: hooks.on_step("checking entries", done, total)
        )
    last = f"{found.head[0]}:{found.head[1]}"
    if as_json:
        keys = ("ok", "entries", "problems", "erased_crops")
        show_json({**{key: getattr(found, key) for key in keys}, "head": last})
    else:
        for problem in found.problems:
            typer.echo(problem)
        if found.ok:
            erased = f", and {found.erased_crops} erased pictures" if found.erased_crops else ""
            typer.echo(f"The trail is whole: {found.entries} entries{erased}. Note its head down elsewhere:")
            typer.echo(last)
    if not found.ok:
        raise typer.Exit(1)


@app.command("head")
def head_(gallery: GalleryDir, database: DatabaseUrl = None) -> None:
    """Print SEQ:HASH of the last entry, to be noted down elsewhere: see `audit verify --head`."""
    with _open(gallery, database) as opened:
        seq, hash = opened.audit.head()
    typer.echo(f"{seq}:{hash}")


def note(
    opened: Gallery, action: str, subject: Mapping[str, Any], crops: Sequence[AuditCrop] = ()
) -> AuditEntry:
    """Appends what a command did to the trail, under the name of the system's user."""
    return opened.audit.append(action=action, subject=subject, crops=crops, **who())


def note_if_possible(
    opened: Gallery, action: str, subject: Mapping[str, Any], crops: Sequence[AuditCrop] = ()
) -> None:
    """`note` for what only reads: a gallery that cannot be written is read all the same, and that is said."""
    from storage.errors import GalleryReadOnly

    try:
        note(opened, action, subject, crops)
    except GalleryReadOnly:
        typer.echo(f"note: the gallery cannot be written: this {action} is not in the audit trail", err=True)


def note_search(opened: Gallery, answer: Answer, *, page: bool) -> None:
    """Notes for whom was searched, with a picture, before anybody sees the answer.

    Files are named without their folders.

    Args:
        page: whether an HTML page is asked for.
    """
    from pipeline.report import filter_json
    from storage.audit_records import AuditCrop
    from storage.records import readable

    asked = answer.query
    told = dict(asked.description)
    if asked.kind == "image":
        told["images"] = [readable(Path(name).name) for name in told["images"]]
    elif asked.kind == "video":
        told["video"] = readable(Path(told["video"]).name)
    subject = {"kind": asked.kind, **told, "filter": filter_json(answer.filter), "html": page}
    crops = [AuditCrop(jpeg, told.get("tracklet")) for jpeg in asked.crops[len(asked.crops) // 2 :][:1]]
    note_if_possible(opened, "search", subject, crops)


class Who(TypedDict):
    """Whom the trail names."""

    actor: str
    origin: str
    via: str


def who() -> Who:
    """Whom the trail names for what a command does: the system's user on this machine."""
    import platform

    actor = f"command line ({_system_user()})"
    return {"actor": actor, "origin": platform.node(), "via": "command line"}


def _system_user() -> str:
    """Who runs this process, by the system and not by variables that anybody can set."""
    import getpass
    import os

    try:
        import pwd
    except ImportError:  # Windows
        return getpass.getuser()
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # containers may run under a number that has no name
        return str(os.getuid())


def entry_json(entry: AuditEntry) -> dict[str, Any]:
    """An entry as JSON, with its time as ISO 8601."""
    from dataclasses import asdict

    from pipeline.export import iso

    return {**asdict(entry), "time": iso(entry.time), "crops": list(entry.crops)}


def _parse_head(text: str) -> tuple[int, str]:
    match = _HEAD.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"--head takes SEQ:HASH as 'audit head' prints it, got '{text}'")
    return int(match[1]), match[2]


def _cell(value: Any) -> Any:
    """One line a cell; the whole subject is in --json."""
    import json

    if isinstance(value, list):
        return len(value)
    if not isinstance(value, dict):
        return value
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST_SUBJECT else f"{text[:_LONGEST_SUBJECT]}…"


def _open(folder: Path, url: str | None) -> Gallery:
    from storage.gallery import Gallery

    return Gallery.open(folder, url=url, read_only=True)
