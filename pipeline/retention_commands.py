"""The commands `retention ...` and `erase`; the libraries they need are imported when they run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.audit_commands import note, who
from pipeline.watch_commands import DatabaseUrl, GalleryDir, Json

if TYPE_CHECKING:
    from storage.case_records import SearchRecord
    from storage.gallery import Gallery
    from storage.retention_records import Due, Rule

app = typer.Typer(help="How long things are kept, by camera, and what is due to leave.", no_args_is_help=True)

_PAGE = 50
_DEFAULT = "every other camera"
_COLUMNS = ("camera", "crops_days", "embeddings_days", "metadata_days")
Camera = Annotated[str | None, typer.Argument(help="Name of a camera.")]
Default = Annotated[bool, typer.Option("--default", help="The rule of cameras that have none of their own.")]
Days = Annotated[float | None, typer.Option(min=0, help="Days after a tracklet's end; left out: for ever.")]


@app.command("list")
def list_(gallery: GalleryDir, database: DatabaseUrl = None, as_json: Json = False) -> None:
    """Show the rules, in days."""
    from pipeline.terminal import show_json, show_table

    with _open(gallery, database) as opened:
        rows = [_rule_json(rule) for rule in opened.retention.rules()]
    if as_json:
        show_json(rows)
        return
    shown = [[row["camera"] or _DEFAULT, *(_days(row[column]) for column in _COLUMNS[1:])] for row in rows]
    show_table(_COLUMNS, shown)


@app.command("set")
def set_(
    gallery: GalleryDir,
    camera: Camera = None,
    default: Default = False,
    crops_days: Days = None,
    embeddings_days: Days = None,
    metadata_days: Days = None,
    database: DatabaseUrl = None,
) -> None:
    """Set a camera's rule: after how many days its pictures, its embeddings, and all of it leave.

    A rule takes the place of the camera's former one as a whole. A running `run` or `serve` applies it within
    ten minutes.
    """
    from storage.retention_records import Rule

    rule = Rule(_name(camera, default), crops_days, embeddings_days, metadata_days)
    with _open(gallery, database, write=True) as opened:
        opened.retention.set_rule(rule)
        note(opened, "retention rule set", _rule_json(rule))
        known = {summary.camera for summary in opened.cameras()}
    if rule.camera and rule.camera not in known:
        typer.echo(f"note: the gallery has nothing of camera '{rule.camera}' yet", err=True)
    kept = ", ".join(f"{what} {_days(days)}" for what, days in list(_rule_json(rule).items())[1:])
    typer.echo(f"{rule.camera or _DEFAULT}: {kept.replace('_days', '')}")


@app.command()
def remove(
    gallery: GalleryDir, camera: Camera = None, default: Default = False, database: DatabaseUrl = None
) -> None:
    """Remove a camera's rule; the default one is for it then."""
    name = _name(camera, default)
    with _open(gallery, database, write=True) as opened:
        opened.retention.remove_rule(name)
        note(opened, "retention rule removed", {"camera": name})
    typer.echo(f"The rule of {name or _DEFAULT} is removed.")


@app.command()
def apply(
    gallery: GalleryDir,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would leave.")] = False,
    database: DatabaseUrl = None,
    as_json: Json = False,
) -> None:
    """Delete what is too old by the rules, but nothing that a case under legal hold is about."""
    from pipeline.terminal import TerminalHooks, show_json, show_table

    with TerminalHooks() as hooks, _open(gallery, database, write=not dry_run) as opened:
        if dry_run:
            rows = opened.retention.due()
        else:
            rows = opened.retention.apply(
                progress=lambda done: hooks.on_step("deleting what is too old", done, None)
            )
            note(opened, "retention applied", _totals(rows))
    if as_json:
        show_json([vars(row) for row in rows])
        return
    columns = ("camera", "tracklets", "crops", "embeddings", "held")
    show_table(columns, [[getattr(row, column) for column in columns] for row in rows])


def erase(
    gallery: GalleryDir,
    reason: Annotated[str, typer.Option(help="Why; it is kept in the audit trail.")],
    tracklet: Annotated[
        list[int] | None, typer.Option(max=2**63 - 1, help="Id of a tracklet; may be repeated.")
    ] = None,
    case: Annotated[str | None, typer.Option(help="Name of a case: all of its searches.")] = None,
    search: Annotated[
        int | None,
        typer.Option(min=1, max=2**63 - 1, help="Id of a search: its examples, and who is the same."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be deleted.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    database: DatabaseUrl = None,
    as_json: Json = False,
) -> None:
    """Erase a person: every row, picture, embedding and index entry, then look whether anything is left.

    All uploads that wait in the gallery leave, too, whoever is on them.
    """
    from pipeline.terminal import show_json
    from pipeline.uploads import Uploads

    if sum(given is not None and given != [] for given in (tracklet, case, search)) != 1:
        raise ValueError("erase takes one of --tracklet ID, --case NAME and --search ID: whom to erase")
    if as_json and not (yes or dry_run):
        raise ValueError("--json does not ask: add --yes, or --dry-run to see what would be deleted")
    with _open(gallery, database, write=not dry_run) as opened:
        found = _searches(opened, case, search)
        ids = sorted({*(tracklet or []), *_persons(found)})
        searches = [each.id for each in found]
        counts = opened.would_erase(ids, also_searches=searches).counts
        if dry_run or not as_json:
            _show(ids, counts, as_json)
        if dry_run:
            return
        if not yes and not typer.confirm("Delete this for ever?"):
            raise typer.Exit(1)
        erased = opened.erase(ids, **who(), reason=reason, also_searches=searches)
        Uploads(opened.work_folder / "uploads").clear()
        left = opened.check_erased(erased)
    if as_json:
        show_json({"tracklets": list(erased.ids), "counts": erased.counts, "left": left})
    else:
        for line in left:
            typer.echo(line)
        typer.echo(
            "Erased, but not everything is gone." if left else "Erased. Nothing is left in the gallery."
        )
    if left:
        raise typer.Exit(1)


def _searches(opened: Gallery, case: str | None, search: int | None) -> list[SearchRecord]:
    """The searches that the options name."""
    if search is not None:
        return [opened.cases.search(search)]
    if case is None:
        return []
    named = opened.cases.case_named(case)
    if named is None:
        raise ValueError(f"no case is named '{case}'")
    found: list[SearchRecord] = []
    while page := opened.cases.searches(
        case_id=named.id, before=found[-1].id if found else None, limit=_PAGE
    ):
        found += page
    if not found:
        raise ValueError(f"case '{case}' has no searches: there is nothing to erase")
    return found


def _persons(searches: list[SearchRecord]) -> set[int]:
    """Tracklets that searches began with, and those that were found to be the same person."""
    examples = {e.tracklet_id for search in searches for e in search.examples if e.tracklet_id is not None}
    return examples | {d.tracklet_id for search in searches for d in search.decisions if d.verdict == "same"}


def _show(ids: list[int], counts: dict[str, int], as_json: bool) -> None:
    from pipeline.terminal import show_json, show_table

    if as_json:
        show_json({"tracklets": ids, "counts": counts})
        return
    typer.echo(f"Tracklets {', '.join(map(str, ids)) or '-'}. To be deleted, by kind:")
    show_table(("kind", "number"), [(kind, number) for kind, number in counts.items() if number])


def _totals(rows: list[Due]) -> dict[str, int]:
    return {
        part: sum(getattr(row, part) for row in rows) for part in ("crops", "embeddings", "tracklets", "held")
    }


def _rule_json(rule: Rule) -> dict[str, Any]:
    return {column: getattr(rule, column) for column in _COLUMNS}


def _days(days: float | None) -> str:
    return "for ever" if days is None else f"{days:g} days"


def _name(camera: str | None, default: bool) -> str:
    if (camera is not None) == default:
        raise ValueError("name one camera, or give --default")
    return camera or ""


@contextmanager
def _open(folder: Path, url: str | None, write: bool = False) -> Iterator[Gallery]:
    from storage.gallery import Gallery

    with Gallery.open(folder, url=url, read_only=not write) as opened:
        yield opened
