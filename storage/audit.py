"""The audit trail of a gallery: who did what, so that it can be answered for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from storage.audit_records import AuditCrop, AuditEntry, Verification
from storage.database import audit, audit_check
from storage.database.engine import Database


class AuditTrail:
    """Entries that are appended and never changed; reached as `Gallery.audit`.

    The database refuses changes. Who owns the database can force them, but each entry's hash covers the hash
    of the one before, so that a check finds them. Who rewrites the whole trail is found out by a head (number
    and hash of the last entry) that was noted elsewhere before.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def append(
        self,
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
        """Appends an entry. Inside another transaction: `storage.database.audit.append`.

        Args:
            actor: Name of the user, or what else acts.
            action: What is done, at most 64 letters.
            subject: What it is done to, as JSON; its "search_id", if it has one, is noted with the crops.
            user_id: The user's account.
            origin: Whence it comes, such as an address.
            via: How, such as by a session or a token.
            crops: Pictures that go with it: the entry holds their SHA-256, they themselves can be erased, and
                are left out if what they show is not stored any more.
            now: Seconds UTC; None asks the clock.

        Raises:
            ValueError: `subject` is not JSON (NaN and infinity are not), or actor or action cannot be.
        """
        with self._database.writing() as connection:
            return audit.append(
                connection,
                actor,
                action,
                subject,
                user_id=user_id,
                origin=origin,
                via=via,
                crops=crops,
                now=now,
            )

    def entries(
        self,
        *,
        before: int | None = None,
        limit: int = 100,
        actor: str | None = None,
        action: str | None = None,
        start: float | None = None,
        end: float | None = None,
    ) -> list[AuditEntry]:
        """Entries, newest first.

        Args:
            before: Only those with a lower number.
            limit: At most so many, at least 1.
            actor, action: Only of this one.
            start, end: Only of this time, both ends included, seconds UTC.

        Raises:
            GalleryDamaged: An entry was made unreadable.
        """
        if limit < 1:
            raise ValueError(f"limit must be at least 1, got {limit}")
        with self._database.reading() as connection:
            return audit.entries(connection, before, limit, actor, action, start, end)

    def actions(self) -> list[str]:
        """Every action that there are entries of, in the order of the alphabet; at most 200."""
        with self._database.reading() as connection:
            return audit.actions(connection)

    def crop(self, seq: int, number: int) -> bytes | None:
        """The picture in the place `number` of an entry's crops; None if it was erased or never was."""
        with self._database.reading() as connection:
            return audit.crop(connection, seq, number)

    def head(self) -> tuple[int, str]:
        """Number and hash of the last entry; of an empty trail 0, and what its first entry will follow."""
        with self._database.reading() as connection:
            return audit.head(connection)

    def verify(
        self,
        expected: tuple[int, str] | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Verification:
        """Checks the whole trail, in memory that does not depend on its length.

        Args:
            expected: A head that was noted earlier and must still be in the trail.
            progress: Told now and then how many entries are checked, and how many there are.
        """
        with self._database.reading() as connection:
            return audit_check.verify(connection, expected, progress)
