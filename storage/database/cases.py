"""Statements over cases, who works on them, and their notes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import sqlalchemy as sa

from storage.case_records import Case, Note
from storage.database.accountability import (
    case_members,
    case_notes,
    cases,
    decisions,
    search_examples,
    searches,
)
from storage.database.schema import AnySelect
from storage.database.tracklets import chunks
from storage.errors import CaseExists, CaseHeld, CaseNotFound


def _count(table: sa.Table) -> sa.Label[int]:
    mine = sa.select(sa.func.count()).where(table.c.case_id == cases.c.id).correlate(cases)
    return mine.scalar_subquery().label(f"num_{table.name.removeprefix('case_')}")


_CASE = sa.select(cases, _count(searches), _count(case_notes))


def insert(connection: sa.Connection, name: str, description: str, owner: str, now: float) -> Case:
    """A new case.

    Raises:
        CaseExists: Another one has its name.
    """
    _refuse_name(connection, name, None)
    values = {"name": name, "description": description, "owner": owner, "created": now, "held": False}
    case_id = connection.execute(sa.insert(cases).returning(cases.c.id), values).scalar_one()
    return get(connection, case_id)


def listed(
    connection: sa.Connection, user: str | None, is_open: bool | None, before: int | None, limit: int | None
) -> list[Case]:
    """Cases, newest first; None does not narrow. Of one user those that the user owns or is a member of."""
    statement = _CASE.order_by(cases.c.id.desc()).limit(limit)
    if user is not None:
        owned = sa.select(cases.c.id).where(cases.c.owner == user)
        shared = sa.select(case_members.c.case_id).where(case_members.c.user == user)
        statement = statement.where(cases.c.id.in_(sa.union_all(owned, shared)))
    if is_open is not None:
        statement = statement.where(cases.c.closed.is_(None) if is_open else cases.c.closed.is_not(None))
    if before is not None:
        statement = statement.where(cases.c.id < before)
    return _records(connection, statement)


def get(connection: sa.Connection, case_id: int) -> Case:
    """One case.

    Raises:
        CaseNotFound: It does not exist (any more).
    """
    found = _records(connection, _CASE.where(cases.c.id == case_id))
    if not found:
        raise CaseNotFound(f"no case has the id {case_id}: list them to see which there are")
    return found[0]


def named(connection: sa.Connection, name: str) -> Case | None:
    """The case with that name."""
    found = _records(connection, _CASE.where(cases.c.name == name))
    return found[0] if found else None


def _records(connection: sa.Connection, statement: AnySelect) -> list[Case]:
    rows = connection.execute(statement).all()
    members: dict[int, set[str]] = {}
    for some in chunks(row.id for row in rows):
        wanted = sa.select(case_members).where(case_members.c.case_id.in_(some))
        for case_id, user in connection.execute(wanted):
            members.setdefault(case_id, set()).add(user)
    return [Case(**row._mapping, members=frozenset(members.get(row.id, ()))) for row in rows]


def update(
    connection: sa.Connection, case_id: int, values: dict[str, Any], members: Iterable[str] | None
) -> Case:
    """Changes columns of a case, and its members unless those are None.

    Raises:
        CaseNotFound: It does not exist (any more).
        CaseExists: Another one has the name.
    """
    get(connection, case_id)
    if "name" in values:
        _refuse_name(connection, values["name"], case_id)
    if values:
        connection.execute(sa.update(cases).where(cases.c.id == case_id).values(**values))
    if members is not None:
        connection.execute(sa.delete(case_members).where(case_members.c.case_id == case_id))
        rows = [{"case_id": case_id, "user": user} for user in sorted(set(members))]
        if rows:
            connection.execute(sa.insert(case_members), rows)
    return get(connection, case_id)


def delete(connection: sa.Connection, case_id: int) -> None:
    """Deletes a case with its notes, searches and decisions.

    Raises:
        CaseNotFound: It does not exist (any more).
        CaseHeld: It is under legal hold.
    """
    refuse_held(connection, case_id, "deleted")
    connection.execute(sa.delete(cases).where(cases.c.id == case_id))


def refuse_held(connection: sa.Connection, case_id: int | None, what: str) -> None:
    """Raises `CaseHeld` if the case is under legal hold, saying that it cannot be `what`."""
    if case_id is not None:
        case = get(connection, case_id)
        if case.held:
            raise CaseHeld(f"case '{case.name}' is under legal hold, nothing of it is {what}: lift it first")


def add_note(connection: sa.Connection, case_id: int, author: str, text: str, now: float) -> Note:
    """A new note of a case.

    Raises:
        CaseNotFound: It does not exist (any more).
    """
    get(connection, case_id)
    values = {"case_id": case_id, "author": author, "text": text, "created": now}
    note_id = connection.execute(sa.insert(case_notes).returning(case_notes.c.id), values).scalar_one()
    return Note(id=note_id, **values)  # type: ignore[arg-type]


def notes(connection: sa.Connection, case_id: int, before: int | None, limit: int | None) -> list[Note]:
    """Notes of a case, newest first; None does not narrow."""
    mine = case_notes.c.case_id == case_id
    statement = sa.select(case_notes).where(mine).order_by(case_notes.c.id.desc()).limit(limit)
    if before is not None:
        statement = statement.where(case_notes.c.id < before)
    return [Note(**row._mapping) for row in connection.execute(statement)]


def held_tracklets(connection: sa.Connection, ids: Iterable[int] | None = None) -> set[int]:
    """Tracklets that a case under legal hold is about: its examples, and those ever decided the same.

    A decision that was taken back or overruled holds, too: only who lifts the hold lets things go.

    Args:
        ids: Only these; None means all.
    """
    ids = None if ids is None else list(ids)
    found: set[int] = set()
    for statement, tracklet_id in _held():
        if ids is None:
            found.update(connection.scalars(statement))
            continue
        for some in chunks(ids):
            found.update(connection.scalars(statement.where(tracklet_id.in_(some))))
    return found


def _held() -> Iterator[tuple[sa.Select[tuple[int]], sa.Column[int]]]:
    """Statements for the tracklets of held cases, and the columns they are in."""
    named = search_examples.c.tracklet_id
    joined = search_examples.join(searches).join(cases)
    yield sa.select(named).select_from(joined).where(cases.c.held, named.is_not(None)), named
    decided = decisions.c.tracklet_id
    joined = decisions.join(searches).join(cases)
    same = (cases.c.held, decisions.c.verdict == "same")
    yield sa.select(decided).select_from(joined).where(*same), decided


def _refuse_name(connection: sa.Connection, name: str, but: int | None) -> None:
    found = connection.scalar(sa.select(cases.c.id).where(cases.c.name == name))
    if found is not None and found != but:
        raise CaseExists(f"there is a case '{name}' already: choose another name")
