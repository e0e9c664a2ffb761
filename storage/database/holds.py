"""Statements over legal holds: which tracklets a case under hold keeps from being deleted."""

from __future__ import annotations

from collections.abc import Iterable

import sqlalchemy as sa

from storage.database.accountability import cases, decisions, search_examples, searches
from storage.database.cases import held_tracklets
from storage.database.tracklets import chunks
from storage.errors import HeldByCase


def without_held(connection: sa.Connection, ids: Iterable[int]) -> list[int]:
    """The distinct `ids` that no case under legal hold is about, in rising order."""
    wanted = {int(number) for number in ids}
    return sorted(wanted - held_tracklets(connection, wanted))


def refuse_held(
    connection: sa.Connection, ids: Iterable[int], what: str, search_ids: Iterable[int] = ()
) -> None:
    """Raises `HeldByCase`, naming the cases, if one under legal hold is about a tracklet or has a search.

    Args:
        what: What cannot be done, as the message says it.
        search_ids: Searches that would be deleted or lose examples.
    """
    held = held_tracklets(connection, ids)
    names = _names(connection, held) | _names_of_searches(connection, search_ids)
    if not names:
        return
    listed = ", ".join(f"'{name}'" for name in sorted(names))
    whom = f"tracklet {min(held)}" if held else "a search of it"
    more = f" and {len(held) - 1} more" if len(held) > 1 else ""
    raise HeldByCase(f"{what}: {whom}{more} is under legal hold by case {listed}: lift the hold first")


def _names(connection: sa.Connection, ids: Iterable[int]) -> set[str]:
    found: set[str] = set()
    joined = searches.join(cases)
    examples, decided = search_examples.join(joined), decisions.join(joined)
    for some in chunks(ids):
        shown = (cases.c.held, search_examples.c.tracklet_id.in_(some))
        found.update(connection.scalars(sa.select(cases.c.name).select_from(examples).where(*shown)))
        same = (cases.c.held, decisions.c.tracklet_id.in_(some), decisions.c.verdict == "same")
        found.update(connection.scalars(sa.select(cases.c.name).select_from(decided).where(*same)))
    return found


def _names_of_searches(connection: sa.Connection, search_ids: Iterable[int]) -> set[str]:
    found: set[str] = set()
    statement = sa.select(cases.c.name).select_from(searches.join(cases))
    for some in chunks(search_ids):
        found.update(connection.scalars(statement.where(cases.c.held, searches.c.id.in_(some))))
    return found
