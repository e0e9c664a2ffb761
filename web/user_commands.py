"""The commands `user ...`; the libraries they need are imported when they run."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.watch_commands import DatabaseUrl, GalleryDir, Json

if TYPE_CHECKING:
    from storage.account_records import User
    from storage.gallery import Gallery

app = typer.Typer(help="Accounts: who may search in the browser, and as what.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="The user's name.")]
Url = Annotated[str, typer.Option(help="Where users find this gallery; the link begins with it.")]
DEFAULT_URL = "http://127.0.0.1:8765"  # where `serve` listens


class RoleChoice(StrEnum):
    """Roles by rising rights."""

    viewer = "viewer"
    operator = "operator"
    admin = "admin"


@app.command()
def add(
    name: Name,
    gallery: GalleryDir,
    role: Annotated[
        RoleChoice,
        typer.Option(help="viewer: browses and plays; operator: also searches; admin: also manages."),
    ],
    camera: Annotated[
        list[str] | None, typer.Option(help="This camera only; may be repeated. Not for admins.")
    ] = None,
    url: Url = DEFAULT_URL,
    database: DatabaseUrl = None,
) -> None:
    """Add a user, and print the link with which they choose their password, once."""
    from pipeline.audit_commands import note
    from storage.account_records import role_named

    with _open(gallery, database, write=True) as opened:
        user = opened.accounts.add_user(name, role_named(role.value), camera or None)
        note(opened, "user added", _rights(user))
        link = _invite(opened, user, url)
        unknown = _unknown_cameras(opened, user)
    _tell_unknown(unknown)
    _print_invitation(user, link)


@app.command("list")
def list_(gallery: GalleryDir, database: DatabaseUrl = None, as_json: Json = False) -> None:
    """Show who has an account."""
    from pipeline.export import iso
    from pipeline.terminal import show_json, show_table

    with _open(gallery, database) as opened:
        users = opened.accounts.users()
    rows = [
        {**_rights(user), "has_password": user.has_password, "created": iso(user.created)} for user in users
    ]
    if as_json:
        show_json(rows)
        return
    columns = ("user", "role", "cameras", "enabled", "has_password", "created")
    show_table(columns, [[_cell(row[column]) for column in columns] for row in rows])


@app.command()
def invite(name: Name, gallery: GalleryDir, url: Url = DEFAULT_URL, database: DatabaseUrl = None) -> None:
    """Print a new link to choose a password, for who forgot it or missed the first link."""
    from pipeline.audit_commands import note

    with _open(gallery, database, write=True) as opened:
        user = _named(opened, name)
        link = _invite(opened, user, url)
        note(opened, "user invited", {"user": user.name, "user_id": user.id})
    _print_invitation(user, link)


@app.command("set")
def set_(
    name: Name,
    gallery: GalleryDir,
    role: Annotated[RoleChoice | None, typer.Option(help="What the user may do from now on.")] = None,
    camera: Annotated[
        list[str] | None, typer.Option(help="This camera only, from now on; may be repeated.")
    ] = None,
    all_cameras: Annotated[bool, typer.Option("--all-cameras", help="Every camera.")] = False,
    enable: Annotated[
        bool | None, typer.Option("--enable/--disable", help="Whether the user may log in.")
    ] = None,
    database: DatabaseUrl = None,
) -> None:
    """Change what a user may do and see; one who may less than before is logged out."""
    from pipeline.audit_commands import note

    if camera and all_cameras:
        raise ValueError("user set takes either --camera NAME or --all-cameras")
    changes: dict[str, Any] = {}
    if role is not None:
        changes["role"] = role.value
    if camera or all_cameras:
        changes["cameras"] = camera or None
    if enable is not None:
        changes["enabled"] = enable
    if not changes:
        raise ValueError(
            "user set takes --role, --camera, --all-cameras or --enable/--disable: what to change"
        )
    with _open(gallery, database, write=True) as opened:
        before = _named(opened, name)
        user = opened.accounts.update_user(before.id, **changes)
        note(opened, "user changed", {**_rights(user), "before": _rights(before)})
        unknown = _unknown_cameras(opened, user)
    _tell_unknown(unknown)
    cameras = "every camera" if user.cameras is None else ", ".join(sorted(user.cameras))
    typer.echo(f"{user.name}: {user.role}, {cameras}, {'enabled' if user.enabled else 'disabled'}")


@app.command()
def remove(name: Name, gallery: GalleryDir, database: DatabaseUrl = None) -> None:
    """Remove an account with its sessions and tokens; what the audit trail says of it stays."""
    from pipeline.audit_commands import note

    with _open(gallery, database, write=True) as opened:
        user = _named(opened, name)
        opened.accounts.remove_user(user.id)
        note(opened, "user removed", _rights(user))
    typer.echo(f"The account of {user.name} is removed.")


def _invite(opened: Gallery, user: User, url: str) -> str:
    """The link with which a user chooses a password."""
    import time

    from web.invitations import invite

    path, _ = invite(opened, user.id, time.time())
    return url.rstrip("/") + path


def _print_invitation(user: User, link: str) -> None:
    from web.invitations import INVITATION_DAYS

    typer.echo(f"With this link {user.name} chooses a password, once, within {INVITATION_DAYS:g} days:")
    typer.echo(link)


def _rights(user: User) -> dict[str, Any]:
    cameras = None if user.cameras is None else sorted(user.cameras)
    return {
        "user": user.name,
        "user_id": user.id,
        "role": user.role,
        "cameras": cameras,
        "enabled": user.enabled,
    }


def _named(opened: Gallery, name: str) -> User:
    from storage.errors import UserNotFound

    user = opened.accounts.user_named(name)
    if user is None:
        raise UserNotFound(f"no user is called '{name}': list them with 'user list'")
    return user


def _unknown_cameras(opened: Gallery, user: User) -> list[str]:
    return sorted((user.cameras or set()) - {source.camera for source in opened.sources()})


def _tell_unknown(cameras: list[str]) -> None:
    if cameras:
        typer.echo(f"note: the gallery has nothing of camera '{cameras[0]}' yet", err=True)


def _cell(value: Any) -> Any:
    return "every camera" if value is None else ", ".join(value) if isinstance(value, list) else value


def _open(folder: Path, url: str | None, write: bool = False) -> Gallery:
    from storage.gallery import Gallery

    return Gallery.open(folder, url=url, read_only=not write)
