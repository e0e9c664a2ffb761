"""The commands `watch ...` and `alerts`; the libraries they need are imported when they run."""

from __future__ import annotations

import json
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from pipeline.types import Image
    from storage.gallery import Gallery
    from storage.watch_records import Watch

app = typer.Typer(help="The watch list: persons whose appearance raises an alert.", no_args_is_help=True)

_FOLLOW_S = 1.0
_PAGE = 500
GalleryDir = Annotated[Path, typer.Option("--gallery", help="Folder of the gallery.", show_default=False)]
DatabaseUrl = Annotated[
    str | None,
    typer.Option("--database", envvar="RETRACE_DATABASE_URL", help="SQLAlchemy URL of its tables."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]
WatchId = Annotated[int, typer.Argument(help="Id of `watch list`.", min=1, max=2**63 - 1)]


@app.command()
def add(
    gallery: GalleryDir,
    name: Annotated[str, typer.Option(help="What alerts call the person.")],
    threshold: Annotated[
        float,
        typer.Option(min=-1, max=1, help="Similarity from which on a tracklet is reported; see `query`."),
    ],
    tracklet: Annotated[
        list[int] | None, typer.Option(max=2**63 - 1, help="Id of a tracklet that shows the person.")
    ] = None,
    image: Annotated[list[Path] | None, typer.Option(help="Picture that shows the person.")] = None,
    box: Annotated[
        list[str] | None, typer.Option(help="x1,y1,x2,y2 in pixels; one for each picture.")
    ] = None,
    camera: Annotated[list[str] | None, typer.Option(help="Watch this camera only; may be repeated.")] = None,
    hours: Annotated[
        list[str] | None, typer.Option(help="Only then, such as 'mon-fri 22:00-06:00'; may be repeated.")
    ] = None,
    webhook: Annotated[str | None, typer.Option(help="https:// address that is told of each alert.")] = None,
    secret_env: Annotated[
        str | None, typer.Option(help="Environment variable with the key that signs messages.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="YAML file over configs/default.yaml.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="key.sub=value, over it.")] = None,
    database: DatabaseUrl = None,
    as_json: Json = False,
) -> None:
    """Watch for a person from now on, known by stored tracklets, by pictures, or by both."""
    from pipeline.alerts.webhook import Target
    from pipeline.arguments import parse_box
    from pipeline.audit_commands import note
    from pipeline.config import load_config
    from pipeline.crops import encode_jpeg
    from pipeline.live.hours import Hours
    from pipeline.pointing import cut_people
    from pipeline.query import read_pictures
    from storage.records import readable
    from storage.watch_records import NewWatch

    Hours.parse(hours or [], "UTC")
    if webhook is not None:
        Target.parse(webhook)
    if secret_env is not None and webhook is None:
        raise ValueError("--secret-env signs what is sent to a --webhook, and there is none")
    if box and not image:
        raise ValueError("--box belongs to --image")
    if not tracklet and not image:
        raise ValueError("watch add takes --tracklet ID or --image FILE: whom to watch for")
    with _open(gallery, database, write=True) as opened:
        crops: list[Image] = []
        if image:
            pictures = read_pictures(image, [parse_box(text) for text in box or []])
            crops, _ = cut_people(pictures, [str(path) for path in image], load_config(config, set_ or []))
        watch = NewWatch(
            name=name,
            threshold=threshold,
            tracklets=tuple(tracklet or []),
            crops=tuple(encode_jpeg(crop, 92) for crop in crops),
            cameras=tuple(camera or []),
            hours=tuple(hours or []),
            webhook=webhook,
            secret_env=secret_env,
        )
        watch_id = opened.watching.add_watch(watch)
        told: dict[str, Any] = {
            "watch": watch_id,
            "name": name,
            "threshold": threshold,
            "tracklets": list(watch.tracklets),
            "images": [readable(path.name) for path in image or []],
            "cameras": list(watch.cameras),
            "hours": list(watch.hours),
            "webhook": None if webhook is None else Target.parse(webhook).shown,
        }
        note(opened, "watch added", told)
        unknown = sorted(set(watch.cameras) - {summary.camera for summary in opened.cameras()})
    if unknown:
        typer.echo(f"note: the gallery has nothing of camera '{unknown[0]}' yet", err=True)
    if webhook is not None and secret_env is None:
        typer.echo(
            "note: messages are not signed; --secret-env NAME lets the receiver know who sent them", err=True
        )
    typer.echo(_json({"watch": watch_id}) if as_json else f"Watch {watch_id} looks out for {name}.")


@app.command("list")
def list_(gallery: GalleryDir, database: DatabaseUrl = None, as_json: Json = False) -> None:
    """Show whom is looked out for. Addresses of webhooks are cut short: they may hold a token."""
    from pipeline.terminal import show_table

    with _open(gallery, database) as opened:
        rows = [_watch_json(watch) for watch in opened.watching.watches()]
    if as_json:
        typer.echo(_json(rows, 2))
        return
    columns = (
        "id",
        "name",
        "enabled",
        "threshold",
        "tracklets",
        "pictures",
        "cameras",
        "hours",
        "webhook",
        "secret_env",
    )
    show_table(columns, [[_plain(row[column]) for column in columns] for row in rows])


def _watch_json(watch: Watch) -> dict[str, Any]:
    from pipeline.alerts.webhook import Target
    from pipeline.export import iso

    return {
        "id": watch.id,
        "name": watch.name,
        "enabled": watch.enabled,
        "threshold": watch.threshold,
        "tracklets": [e.tracklet_id for e in watch.examples if e.tracklet_id is not None],
        "pictures": sum(e.crop is not None for e in watch.examples),
        "cameras": list(watch.cameras),
        "hours": list(watch.hours),
        "webhook": None if watch.webhook is None else Target.parse(watch.webhook).shown,
        "secret_env": watch.secret_env,
        "created": iso(watch.created),
    }


@app.command()
def remove(watch_id: WatchId, gallery: GalleryDir, database: DatabaseUrl = None) -> None:
    """Take a person off the watch list, and delete the alerts."""
    from pipeline.audit_commands import note

    with _open(gallery, database, write=True) as opened:
        opened.watching.remove_watch(watch_id)
        note(opened, "watch removed", {"watch": watch_id})
    typer.echo(f"Watch {watch_id} and its alerts are deleted.")


@app.command()
def enable(watch_id: WatchId, gallery: GalleryDir, database: DatabaseUrl = None) -> None:
    """Look out again, from now on."""
    _set_enabled(watch_id, gallery, database, True)
    typer.echo(f"Watch {watch_id} is on.")


@app.command()
def disable(watch_id: WatchId, gallery: GalleryDir, database: DatabaseUrl = None) -> None:
    """Stop looking out, and keep the watch and its alerts."""
    _set_enabled(watch_id, gallery, database, False)
    typer.echo(f"Watch {watch_id} is off.")


def _set_enabled(watch_id: int, gallery: Path, database: str | None, enabled: bool) -> None:
    from pipeline.audit_commands import note

    with _open(gallery, database, write=True) as opened:
        opened.watching.set_watch_enabled(watch_id, enabled)
        note(opened, "watch enabled" if enabled else "watch disabled", {"watch": watch_id})


def alerts(
    gallery: GalleryDir,
    watch: Annotated[int | None, typer.Option(min=1, max=2**63 - 1, help="Of this watch only.")] = None,
    after: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Only alerts with a higher id.")] = 0,
    limit: Annotated[int, typer.Option(min=1, help="The newest so many.")] = 100,
    follow: Annotated[
        bool, typer.Option("--follow", help="Go on with new ones as they come, a line each.")
    ] = False,
    database: DatabaseUrl = None,
    as_json: Json = False,
) -> None:
    """List alerts: who of the watch list was seen where and when, and whether the webhook knows."""
    from pipeline.terminal import show_table

    with _open(gallery, database) as opened:
        rows = deque(_rows(opened, after, watch), limit)
        if follow:
            for row in _followed(opened, rows, after, watch):
                typer.echo(_json(row) if as_json else _line(row))
            return
    if as_json:
        typer.echo(_json(list(rows), 2))
        return
    columns = (
        "alert",
        "watch",
        "camera",
        "start",
        "end",
        "tracklet",
        "similarity",
        "status",
        "attempts",
        "error",
    )
    show_table(columns, [[row[column] for column in columns] for row in rows])


def _rows(opened: Gallery, after: int, watch: int | None) -> Iterator[dict[str, Any]]:
    """Alerts behind that one, read page by page."""
    from pipeline.alerts.message import alert_json

    while page := opened.watching.alerts(after, _PAGE, watch):
        yield from (alert_json(alert) for alert in page)
        after = page[-1].id


def _followed(
    opened: Gallery, rows: deque[dict[str, Any]], after: int, watch: int | None
) -> Iterator[dict[str, Any]]:
    import time

    while True:
        for row in rows:
            after = max(after, row["alert"])
            yield row
        sys.stdout.flush()
        time.sleep(_FOLLOW_S)
        rows = deque(_rows(opened, after, watch))


def _line(row: dict[str, Any]) -> str:
    seen = f"{row['watch']}  {row['camera']}  tracklet {row['tracklet']}"
    return f"{row['start']}  {seen}  {row['similarity']:.3f}"


def _json(value: Any, indent: int | None = None) -> str:
    is_utf8 = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    return json.dumps(value, ensure_ascii=not is_utf8, indent=indent)


def _plain(value: Any) -> Any:
    return ", ".join(map(str, value)) if isinstance(value, list) else "" if value is None else value


@contextmanager
def _open(folder: Path, url: str | None, write: bool = False) -> Iterator[Gallery]:
    from storage.gallery import Gallery

    with Gallery.open(folder, url=url, read_only=not write) as opened:
        yield opened
