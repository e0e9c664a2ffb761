"""Cases of a gallery, the searches in them, and what people decided about what was found."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from types import EllipsisType
from typing import Any

from storage.case_records import (
    Case,
    Decision,
    NewExample,
    Note,
    SearchRecord,
    checked_threshold,
    checked_verdict,
)
from storage.database import cases, decisions, searches
from storage.database.engine import Database
from storage.records import Float32Array, GalleryFilter, readable


class Cases:
    """Cases, searches and decisions; reached as `Gallery.cases`.

    Who may see or change what is decided by the caller, who also writes the audit trail. A tracklet that is
    deleted takes the examples and decisions that name it along.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    # Cases

    def add_case(self, name: str, description: str, owner: str, now: float | None = None) -> Case:
        """Opens a case.

        Args:
            owner: Name of a user.
            now: Seconds UTC; None asks the clock. Likewise below.

        Raises:
            CaseExists: Another one has its name.
            ValueError: The name cannot be read.
        """
        with self._database.writing() as connection:
            return cases.insert(connection, _name(name), readable(description), owner, _now(now))

    def cases(
        self,
        user: str | None = None,
        *,
        is_open: bool | None = None,
        before: int | None = None,
        limit: int | None = None,
    ) -> list[Case]:
        """Cases, newest first.

        Args:
            user: Only those that this user owns or is a member of.
            is_open: Only those that are open, or only those that are closed.
            before: Only those with a lower id: the page behind the one that ended with it.
            limit: At most so many; None: all.
        """
        with self._database.reading() as connection:
            return cases.listed(connection, user, is_open, before, limit)

    def case_named(self, name: str) -> Case | None:
        """The case with that name."""
        with self._database.reading() as connection:
            return cases.named(connection, name)

    def case(self, case_id: int) -> Case:
        """One case.

        Raises:
            CaseNotFound: It does not exist (any more); likewise below.
        """
        with self._database.reading() as connection:
            return cases.get(connection, case_id)

    def update_case(
        self,
        case_id: int,
        *,
        name: str | None = None,
        description: str | None = None,
        members: Iterable[str] | None = None,
        closed: bool | None = None,
        held: bool | None = None,
        now: float | None = None,
    ) -> Case:
        """Changes a case; None leaves what it stands for as it is.

        Args:
            members: All of them from now on, by name.
            closed: Close it now, or open it again.
            held: Put it under legal hold, or lift that.

        Raises:
            CaseExists: Another one has the name.
        """
        values: dict[str, Any] = {}
        if name is not None:
            values["name"] = _name(name)
        if description is not None:
            values["description"] = readable(description)
        if closed is not None:
            values["closed"] = _now(now) if closed else None
        if held is not None:
            values["held"] = bool(held)
        with self._database.writing() as connection:
            return cases.update(connection, case_id, values, members)

    def remove_case(self, case_id: int) -> None:
        """Deletes a case with its notes, searches and decisions.

        Raises:
            CaseHeld: It is under legal hold.
        """
        with self._database.writing() as connection:
            cases.delete(connection, case_id)

    def add_note(self, case_id: int, author: str, text: str, now: float | None = None) -> Note:
        """Writes into a case.

        Raises:
            ValueError: There is no text.
        """
        if not text.strip():
            raise ValueError("a note needs a text")
        with self._database.writing() as connection:
            return cases.add_note(connection, case_id, author, readable(text), _now(now))

    def notes(self, case_id: int, *, before: int | None = None, limit: int | None = None) -> list[Note]:
        """Notes of a case, newest first.

        Args:
            before: Only those with a lower id: the page behind the one that ended with it.
            limit: At most so many; None: all.
        """
        with self._database.reading() as connection:
            return cases.notes(connection, case_id, before, limit)

    def held_tracklets(self, ids: Iterable[int] | None = None) -> set[int]:
        """Tracklets that a case under legal hold is about: its examples, and those ever decided the same.

        A decision that was taken back or overruled holds, too: only who lifts the hold lets things go.

        Args:
            ids: Only these; None means all.
        """
        with self._database.reading() as connection:
            return cases.held_tracklets(connection, ids)

    # Searches

    def add_search(
        self,
        author: str,
        examples: Sequence[NewExample],
        filter: GalleryFilter,
        threshold: float,
        reason: str,
        case_id: int | None = None,
        now: float | None = None,
        *,
        model: str | None = None,
    ) -> SearchRecord:
        """Stores a question.

        Args:
            threshold: Cosine from which on a hit is a match.
            model: `model_identity` of the one that the threshold is about; None: the gallery's current one.

        Raises:
            TrackletNotFound: A tracklet among its examples does not exist (any more).
            CaseNotFound: Its case does not exist (any more).
            ValueError: There is no example, or the threshold is no cosine.
        """
        if not examples:
            raise ValueError("a search needs a tracklet or a picture to search for")
        values = {
            "case_id": case_id,
            "author": author,
            "created": _now(now),
            "reason": readable(reason),
            "threshold": checked_threshold(threshold),
            "model": model,
        }
        with self._database.writing() as connection:
            return searches.insert(connection, values, filter, examples)

    def search(self, search_id: int) -> SearchRecord:
        """One search.

        Raises:
            SearchNotFound: It does not exist (any more); likewise below.
        """
        with self._database.reading() as connection:
            return searches.get(connection, search_id)

    def searches(
        self,
        *,
        author: str | None = None,
        case_id: int | None = None,
        before: int | None = None,
        limit: int = 50,
    ) -> list[SearchRecord]:
        """Up to `limit` searches, newest first.

        Args:
            author: Only those of this user.
            case_id: Only those of this case.
            before: Only those with a lower id: the page behind the one that ended with it.
        """
        with self._database.reading() as connection:
            return searches.listed(connection, author, case_id, before, limit)

    def add_examples(self, search_id: int, examples: Sequence[NewExample]) -> SearchRecord:
        """Adds examples to a search.

        Raises:
            TrackletNotFound: A tracklet among them does not exist (any more).
        """
        with self._database.writing() as connection:
            decisions.refuse_unknown(connection, search_id)
            searches.add_examples(connection, search_id, examples)
            return searches.get(connection, search_id)

    def update_search(
        self,
        search_id: int,
        *,
        threshold: float | None = None,
        model: str | None = None,
        case_id: int | EllipsisType | None = ...,
    ) -> SearchRecord:
        """Changes what is given of a search; a threshold of None is as if it was not given.

        Args:
            threshold: From now on.
            model: `model_identity` of the one that this threshold is about; None: the gallery's current one.
            case_id: The case it belongs to from now on; None: no case.

        Raises:
            CaseHeld: The case it would be taken out of is under legal hold.
            ValueError: The threshold is no cosine, or there is a model without one.
        """
        if model is not None and threshold is None:
            raise ValueError("a model is that of a threshold: give the threshold, too")
        values: dict[str, Any] = {}
        if threshold is not None:
            values |= {"threshold": checked_threshold(threshold), "model": model}
        if not isinstance(case_id, EllipsisType):
            values["case_id"] = None if case_id is None else int(case_id)
        with self._database.writing() as connection:
            return searches.update(connection, search_id, values)

    def remove_search(self, search_id: int) -> None:
        """Deletes a search with its examples and decisions.

        Raises:
            CaseHeld: Its case is under legal hold.
        """
        with self._database.writing() as connection:
            searches.delete(connection, search_id)

    def vectors(self, search_id: int, generation_id: int) -> tuple[list[int], Float32Array]:
        """What a search looks for, as a generation's model sees it.

        Returns:
            Ids (N,) of the examples that have an embedding of that generation (a tracklet's own, else that of
            the pictures), and those embeddings, (N, D) of norm 1.

        Raises:
            GenerationNotFound: It does not exist (any more); likewise below.
        """
        with self._database.reading() as connection:
            return searches.vectors(connection, search_id, generation_id)

    def set_vector(self, example_id: int, generation_id: int, vector: Float32Array) -> None:
        """Stores the embedding (D,), norm 1, of an example's pictures; an example that is gone is ignored."""
        with self._database.writing() as connection:
            searches.set_vector(connection, example_id, generation_id, vector)

    # Decisions

    def decide(
        self, search_id: int, tracklet_id: int, verdict: str, author: str, now: float | None = None
    ) -> Decision:
        """Says whether a tracklet shows the person of a search; the newest decision counts.

        Who says again what stands already gets that decision back.

        Args:
            verdict: "same", "different" or "unsure".

        Raises:
            TrackletNotFound: The tracklet does not exist (any more).
            ValueError: There is no such verdict.
        """
        checked = checked_verdict(verdict)
        with self._database.writing() as connection:
            return decisions.decide(connection, search_id, int(tracklet_id), checked, author, _now(now))

    def undo(
        self, search_id: int, tracklet_id: int, author: str, now: float | None = None
    ) -> Decision | None:
        """Takes the decision that counts back, whoever made it: the one before counts again.

        Returns:
            The one that was taken back; None if there was none.
        """
        with self._database.writing() as connection:
            return decisions.undo(connection, search_id, int(tracklet_id), author, _now(now))

    def history(self, search_id: int) -> list[Decision]:
        """Every decision of a search in order, those taken back included."""
        with self._database.reading() as connection:
            decisions.refuse_unknown(connection, search_id)
            return decisions.history(connection, search_id)


def _now(now: float | None) -> float:
    return float(time.time() if now is None else now)


def _name(text: str) -> str:
    name = text.strip()
    if not name or not name.isprintable():
        raise ValueError(f"a case needs a readable name, got {text!a}")
    return name
