"""The commands `case ...`; the libraries they need are imported when they run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.watch_commands import DatabaseUrl, GalleryDir, Json

app = typer.Typer(help="Cases: searches, notes and decisions that belong together.", no_args_is_help=True)

Author = Annotated[
    str | None,
    typer.Option(help="Who exports it, for the page; the audit trail names the system's user."),
]


@app.command("list")
def list_(gallery: GalleryDir, database: DatabaseUrl = None, as_json: Json = False) -> None:
    """Show the cases of a gallery."""
    from pipeline.export import iso
    from pipeline.terminal import show_json, show_table
    from storage.gallery import Gallery

    with Gallery.open(gallery, url=database, read_only=True) as opened:
        rows: list[dict[str, Any]] = [
            {
                "id": case.id,
                "name": case.name,
                "owner": case.owner,
                "members": sorted(case.members),
                "created": iso(case.created),
                "closed": None if case.closed is None else iso(case.closed),
                "held": case.held,
                "searches": case.num_searches,
                "notes": case.num_notes,
            }
            for case in opened.cases.cases()
        ]
    if as_json:
        show_json(rows)
        return
    columns = ("id", "name", "owner", "created", "closed", "held", "searches", "notes")
    show_table(columns, [["" if row[name] is None else row[name] for name in columns] for row in rows])


@app.command("export")
def export_(
    case_id: Annotated[int, typer.Argument(help="Id of `case list`.", min=1, max=2**63 - 1)],
    gallery: GalleryDir,
    out: Annotated[Path, typer.Option(help="Zip file to write.")],
    author: Author = None,
    top_k: Annotated[int, typer.Option(min=1, help="How many undecided results of each search.")] = 50,
    database: DatabaseUrl = None,
) -> None:
    """Write a case to a zip: a page to read, JSON, pictures, clips, and their hashes."""
    from pipeline.audit_commands import note, who
    from pipeline.case_export import export_case
    from pipeline.terminal import TerminalHooks
    from storage.gallery import Gallery

    by = author or who()["actor"]
    with TerminalHooks() as hooks, Gallery.open(gallery, url=database) as opened:
        export_case(opened, case_id, out, hooks, author=by, top_k=top_k)
        name = opened.cases.case(case_id).name
        note(opened, "export", {"case": case_id, "name": name, "bytes": out.stat().st_size, "author": by})
    typer.echo(f"Case {case_id} is in {out.resolve()}")
