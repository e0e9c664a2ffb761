"""Statements over the audit trail: entries are appended and read, never changed."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from storage.audit_records import (
    AuditCrop,
    AuditEntry,
    canonical_json,
    chained_hash,
    crop_hash,
    genesis_hash,
)
from storage.database.accountability import audit, audit_crops, audit_head, search_examples
from storage.database.schema import AnyRow, gallery
from storage.database.tracklets import chunks, media_versions
from storage.errors import GalleryDamaged
from storage.records import json_object, readable

_LONGEST_ACTION = 64
_MOST_ACTIONS = 200  # that are told

WITHHELD = "pictures_withheld"
"""In an entry's subject: how many of its pictures were not kept, as whom they show was erased meanwhile."""


def append(
    connection: sa.Connection,
    actor: str,
    action: str,
    subject: Mapping[str, Any],
    *,
    user_id: int | None = None,
    origin: str = "",
    via: str = "",
    crops: Sequence[AuditCrop] = (),
    now: float | None = None,
) -> AuditEntry:
    """Appends an entry, in a transaction that holds the gallery's write lock (`Database.writing`).

    See `AuditTrail.append`.
    """
    actor, action = readable(actor), readable(action)
    if not actor.strip() or not 0 < len(action) <= _LONGEST_ACTION:
        raise ValueError(f"an entry needs an actor and an action of 1 to {_LONGEST_ACTION} letters")
    seq, previous = _next(connection)
    columns: dict[str, Any] = {
        "seq": seq,
        "time": float(time.time() if now is None else now),
        "actor": actor,
        "action": action,
    }
    told = json_object("subject", subject)
    kept = _not_erased(connection, crops, _search_id(told))
    if len(kept) < len(crops):
        told[WITHHELD] = len(crops) - len(kept)
    entry = canonical_json(
        {
            **columns,
            "user_id": None if user_id is None else int(user_id),
            "origin": readable(origin),
            "via": readable(via),
            "subject": told,
            "crops": [crop_hash(crop.jpeg) for crop in crops],
        }
    )
    link = {"previous": previous, "hash": chained_hash(previous, entry)}
    connection.execute(sa.insert(audit).values(**columns, entry=entry, **link))
    _set_head(connection, seq, link["hash"])
    _keep_crops(connection, seq, kept, _search_id(told))
    return parsed(entry, **link)


def _next(connection: sa.Connection) -> tuple[int, str]:
    """Number and previous hash of the entry to come.

    Where the head was tampered with, the new entry goes behind every number ever given and follows what the
    head says: the break stays to be found.
    """
    seq, previous = head(connection)
    last = connection.scalar(sa.select(sa.func.max(audit.c.seq))) or 0
    return max(seq, last) + 1, previous


def _set_head(connection: sa.Connection, seq: int, hash: str) -> None:
    values = {"seq": seq, "hash": hash}
    if connection.execute(sa.update(audit_head).where(audit_head.c.id == 1).values(**values)).rowcount == 0:
        connection.execute(sa.insert(audit_head).values(id=1, **values))


def _search_id(told: Mapping[str, Any]) -> int | None:
    search = told.get("search_id")
    return search if isinstance(search, int) else None


def _keep_crops(
    connection: sa.Connection, seq: int, crops: Sequence[AuditCrop], search_id: int | None
) -> None:
    rows = [
        {
            "seq": seq,
            "sha256": crop_hash(crop.jpeg),
            "crop": crop.jpeg,
            "tracklet_id": crop.tracklet_id,
            "search_id": search_id,
        }
        for crop in crops
    ]
    if rows:
        connection.execute(sa.insert(audit_crops), rows)


def _not_erased(
    connection: sa.Connection, crops: Sequence[AuditCrop], search_id: int | None
) -> list[AuditCrop]:
    """Those whose tracklet and search are stored: an erasure may have run since the pictures were read.

    A search that lost its uploads has lost what the trail keeps of them, too.
    """
    there: set[int | None] = {None}
    there.update(media_versions(connection, [c.tracklet_id for c in crops if c.tracklet_id is not None]))
    if crops and search_id is not None:
        examples = sa.select(search_examples.c.tracklet_id).where(search_examples.c.search_id == search_id)
        shown = set(connection.scalars(examples))
        if not shown:
            return []
        there -= {None} - shown
    return [crop for crop in crops if crop.tracklet_id in there]


def genesis(connection: sa.Connection) -> str:
    """What the first entry follows."""
    return genesis_hash(str(connection.execute(sa.select(gallery.c.uuid)).scalar_one()))


def noted_head(connection: sa.Connection) -> tuple[int, str] | None:
    """Number and hash of the last entry, as they are noted beside the trail; None if they are not."""
    row = connection.execute(
        sa.select(audit_head.c.seq, audit_head.c.hash).where(audit_head.c.id == 1)
    ).one_or_none()
    return None if row is None else (int(row[0]), str(row[1]))


def head(connection: sa.Connection) -> tuple[int, str]:
    """Number and hash of the last entry, by the note; (0, genesis) without one."""
    return noted_head(connection) or (0, genesis(connection))


def entries(
    connection: sa.Connection,
    before: int | None,
    limit: int,
    actor: str | None,
    action: str | None,
    start: float | None,
    end: float | None,
) -> list[AuditEntry]:
    """Entries by falling number; see `AuditTrail.entries`."""
    statement = sa.select(audit).order_by(audit.c.seq.desc()).limit(limit)
    if before is not None:
        statement = statement.where(audit.c.seq < before)
    if actor is not None:
        statement = statement.where(audit.c.actor == readable(actor))
    if action is not None:
        statement = statement.where(audit.c.action == readable(action))
    if start is not None:
        statement = statement.where(audit.c.time >= start)
    if end is not None:
        statement = statement.where(audit.c.time <= end)
    return [_entry(row) for row in connection.execute(statement)]


def actions(connection: sa.Connection) -> list[str]:
    """Every action that there are entries of: one step of the index for each, however long the trail is."""
    found: list[str] = []
    after = sa.select(audit.c.action).order_by(audit.c.action).limit(1)
    following = connection.scalar(after)
    while following is not None and len(found) < _MOST_ACTIONS:
        found.append(str(following))  # SQLite keeps anything in any column
        following = connection.scalar(after.where(audit.c.action > following))
    return sorted(found)


def crop(connection: sa.Connection, seq: int, number: int) -> bytes | None:
    """An entry's picture by its place among the entry's crops; None if it was erased or never was."""
    row = connection.execute(sa.select(audit).where(audit.c.seq == seq)).one_or_none()
    named = () if row is None else _entry(row).crops
    if not 0 <= number < len(named):
        return None
    same = (audit_crops.c.seq == seq, audit_crops.c.sha256 == named[number])
    found: bytes | None = connection.scalar(sa.select(audit_crops.c.crop).where(*same).limit(1))
    return found


def erase_crops(connection: sa.Connection, tracklet_ids: Iterable[int], search_ids: Iterable[int]) -> int:
    """Deletes the stored pictures of tracklets and of searches; the trail keeps their SHA-256.

    Returns:
        How many there were.
    """
    erased = 0
    for column, ids in ((audit_crops.c.tracklet_id, tracklet_ids), (audit_crops.c.search_id, search_ids)):
        for some in chunks(ids):
            erased += connection.execute(sa.delete(audit_crops).where(column.in_(some))).rowcount
    return erased


def parsed(entry: str, previous: str, hash: str) -> AuditEntry:
    """An entry from its canonical JSON."""
    values = json.loads(entry)
    return AuditEntry(**{**values, "crops": tuple(values["crops"])}, previous=previous, hash=hash)


def _entry(row: AnyRow) -> AuditEntry:
    try:
        return parsed(row.entry, row.previous, row.hash)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise GalleryDamaged(
            f"entry {row.seq} of the audit trail cannot be read: check it with 'audit verify'"
        ) from error
