"""Statements over retention: the rules, what is due by them, and the taking of crops and embeddings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import sqlalchemy as sa

from storage.database import holds
from storage.database.accountability import retention_rules
from storage.database.cases import held_tracklets
from storage.database.schema import camera_views, embeddings, sources, tracklets
from storage.database.tracklets import bump_revision, chunks
from storage.errors import RuleNotFound
from storage.retention_records import DEFAULT_CAMERA, Limits, Rule

Part = Literal["tracklets", "crops", "embeddings"]

Place = tuple[float, int]
"""(start, id): where a tracklet lies in the order in which they are gone through."""


def rules(connection: sa.Connection) -> list[Rule]:
    """All rules by camera, the default one first."""
    statement = sa.select(retention_rules).order_by(retention_rules.c.camera)
    return [Rule(**row._mapping) for row in connection.execute(statement)]


def put(connection: sa.Connection, rule: Rule) -> None:
    """Adds a rule, in the place of the camera's former one."""
    connection.execute(sa.delete(retention_rules).where(retention_rules.c.camera == rule.camera))
    connection.execute(sa.insert(retention_rules), vars(rule))


def remove(connection: sa.Connection, camera: str) -> None:
    """Removes a camera's rule.

    Raises:
        RuleNotFound: It has none.
    """
    mine = retention_rules.c.camera == camera
    if connection.execute(sa.delete(retention_rules).where(mine)).rowcount == 0:
        whose = f"camera '{camera}' has no rule of its own" if camera else "there is no default rule"
        raise RuleNotFound(f"{whose}: list the rules to see which there are")


def limits(connection: sa.Connection, now: float) -> dict[str, Limits]:
    """By name, what is due at the time `now` (seconds UTC) of each camera that a rule is for."""
    given: Mapping[str, Rule] = {rule.camera: rule for rule in rules(connection)}
    if not given:
        return {}
    names = set(connection.scalars(sa.select(sources.c.camera).distinct()))
    names |= set(connection.scalars(sa.select(camera_views.c.camera)))
    whose = {name: given.get(name, given.get(DEFAULT_CAMERA)) for name in sorted(names)}
    return {name: rule.limits(now) for name, rule in whose.items() if rule is not None}


def count(connection: sa.Connection, part: Part, camera: str, limits: Limits) -> int:
    """How many tracklets of a camera that part is due of, those that are held included."""
    due = _due(part, camera, limits)
    if due is None:
        return 0
    return int(connection.execute(sa.select(sa.func.count()).select_from(tracklets).where(due)).scalar_one())


def page(
    connection: sa.Connection, part: Part, camera: str, limits: Limits, after: Place | None, size: int
) -> list[Place]:
    """Up to `size` tracklets that the part is due of, behind the place `after`, those held included."""
    due = _due(part, camera, limits)
    if due is None:
        return []
    statement = sa.select(tracklets.c.start, tracklets.c.id).where(due)
    if after is not None:
        statement = statement.where(sa.tuple_(tracklets.c.start, tracklets.c.id) > sa.tuple_(*after))
    rows = connection.execute(statement.order_by(tracklets.c.start, tracklets.c.id).limit(size))
    return [(row[0], row[1]) for row in rows]


def among(
    connection: sa.Connection, part: Part, camera: str, limits: Limits, ids: Iterable[int]
) -> list[int]:
    """Those of `ids` that the part is due of, those held included."""
    due = _due(part, camera, limits)
    found: list[int] = []
    for some in chunks(ids) if due is not None else []:
        assert due is not None
        found += connection.scalars(sa.select(tracklets.c.id).where(due, tracklets.c.id.in_(some)))
    return found


def held(connection: sa.Connection, camera: str, limits: Limits) -> dict[Part, set[int]]:
    """Of each part, the tracklets of a camera that it is due of and that a case holds."""
    ids = held_tracklets(connection)
    parts: tuple[Part, ...] = ("tracklets", "crops", "embeddings")
    return {part: set(among(connection, part, camera, limits, ids)) for part in parts}


def _due(part: Part, camera: str, limits: Limits) -> sa.ColumnElement[bool] | None:
    """What is due of one camera; None where that part stays for ever."""
    before = {"tracklets": limits.metadata, "crops": limits.crops, "embeddings": limits.embeddings}[part]
    if before is None:
        return None
    # What ended before the limit began before it, too: that is what the index can find.
    old = (tracklets.c.camera == camera, tracklets.c.start < before, tracklets.c.end < before)
    stays = [] if limits.metadata is None else [tracklets.c.end >= limits.metadata]
    there: dict[Part, list[Any]] = {
        "tracklets": [],
        "crops": [tracklets.c.has_crops, *stays],
        "embeddings": [tracklets.c.searchable, *stays],
    }
    return sa.and_(tracklets.c.finished, *old, *there[part])


def take(connection: sa.Connection, part: Part, ids: Iterable[int]) -> list[int]:
    """Takes crops or embeddings from those of the tracklets that no case holds; returns which these are.

    The files of the crops are to be removed after the commit.
    """
    free = holds.without_held(connection, ids)
    no_crops = {"has_crops": False, "crop_lengths": b"", "crop_positions": b""}
    values: dict[str, Any] = no_crops if part == "crops" else {"searchable": False}
    for some in chunks(free):
        connection.execute(sa.update(tracklets).where(tracklets.c.id.in_(some)).values(**values))
        if part == "embeddings":
            connection.execute(sa.delete(embeddings).where(embeddings.c.tracklet_id.in_(some)))
    if free and part == "embeddings":
        bump_revision(connection)
    return free


def old_frames(connection: sa.Connection, before: Mapping[str, float]) -> list[str]:
    """Cameras whose last frame is older than their time in `before`, seconds UTC."""
    columns = (camera_views.c.camera, camera_views.c.frame_time)
    rows = connection.execute(sa.select(*columns).where(camera_views.c.frame.is_not(None)))
    return [row[0] for row in rows if row[0] in before and (row[1] or 0.0) < before[row[0]]]
