"""Statements over decisions: what people said of the tracklets that a search found."""

from __future__ import annotations

from collections.abc import Iterable

import sqlalchemy as sa

from storage.case_records import Decision, Verdict
from storage.database.accountability import decisions, searches
from storage.database.tracklets import chunks, media_versions
from storage.errors import SearchNotFound, TrackletNotFound


def stands() -> sa.ColumnElement[bool]:
    """That a decision counts: it was not taken back, and no later one of its search and tracklet stands."""
    later = decisions.alias()
    same = (later.c.search_id == decisions.c.search_id, later.c.tracklet_id == decisions.c.tracklet_id)
    above = sa.select(1).where(*same, later.c.id > decisions.c.id, later.c.undone.is_(None))
    return sa.and_(decisions.c.undone.is_(None), ~above.correlate(decisions).exists())


def standing(connection: sa.Connection, search_ids: Iterable[int]) -> dict[int, list[Decision]]:
    """The decisions of searches that count, in order, by search."""
    found: dict[int, list[Decision]] = {}
    for some in chunks(search_ids):
        wanted = sa.select(decisions).where(decisions.c.search_id.in_(some), stands())
        for row in connection.execute(wanted.order_by(decisions.c.id)):
            found.setdefault(row.search_id, []).append(Decision(**row._mapping))
    return found


def decide(
    connection: sa.Connection, search_id: int, tracklet_id: int, verdict: Verdict, author: str, now: float
) -> Decision:
    """A new decision; saying again what one has said last changes nothing.

    Raises:
        SearchNotFound: The search does not exist (any more).
        TrackletNotFound: The tracklet does not exist (any more).
    """
    refuse_unknown(connection, search_id)
    if not media_versions(connection, [tracklet_id]):
        raise TrackletNotFound(f"no tracklet has the id {tracklet_id}: list them with 'tracklets'")
    stood = _standing(connection, search_id, tracklet_id)
    if stood is not None and (stood.verdict, stood.author) == (verdict, author):
        return stood
    values = {"search_id": search_id, "tracklet_id": tracklet_id, "verdict": verdict, "author": author}
    inserted = sa.insert(decisions).returning(decisions.c.id)
    decision_id = connection.execute(inserted, {**values, "created": now}).scalar_one()
    return Decision(decision_id, search_id, tracklet_id, verdict, author, now)


def undo(
    connection: sa.Connection, search_id: int, tracklet_id: int, author: str, now: float
) -> Decision | None:
    """Takes the decision that counts back and returns it; None if there is none.

    Raises:
        SearchNotFound: The search does not exist (any more).
    """
    refuse_unknown(connection, search_id)
    stood = _standing(connection, search_id, tracklet_id)
    if stood is None:
        return None
    mine = sa.update(decisions).where(decisions.c.id == stood.id)
    connection.execute(mine.values(undone=now, undone_by=author))
    return history(connection, search_id, stood.id)[0]


def history(connection: sa.Connection, search_id: int, decision_id: int | None = None) -> list[Decision]:
    """Every decision of a search in order, those taken back included; or the one with that id."""
    statement = sa.select(decisions).where(decisions.c.search_id == search_id).order_by(decisions.c.id)
    if decision_id is not None:
        statement = statement.where(decisions.c.id == decision_id)
    return [Decision(**row._mapping) for row in connection.execute(statement)]


def _standing(connection: sa.Connection, search_id: int, tracklet_id: int) -> Decision | None:
    mine = (decisions.c.search_id == search_id, decisions.c.tracklet_id == tracklet_id)
    row = connection.execute(sa.select(decisions).where(*mine, stands())).one_or_none()
    return None if row is None else Decision(**row._mapping)


def refuse_unknown(connection: sa.Connection, search_id: int) -> None:
    """Raises `SearchNotFound` if there is no such search."""
    if connection.scalar(sa.select(searches.c.id).where(searches.c.id == search_id)) is None:
        raise SearchNotFound(f"no search has the id {search_id}: list them to see which there are")
