"""What the server writes into the audit trail."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from storage.account_records import NOBODY
from storage.audit_records import AuditCrop
from web.access import Caller
from web.services import Services


def note(
    services: Services,
    caller: Caller | None,
    action: str,
    subject: Mapping[str, Any],
    crops: Sequence[AuditCrop] = (),
    origin: str = "",
) -> None:
    """Append a row: who did what to what, from where.

    Args:
        caller: None for those who are not logged in.
        origin: their address; that of a caller is known.
    """
    services.gallery.audit.append(
        caller.name if caller else NOBODY,
        action,
        subject,
        user_id=caller.user.id if caller else None,
        origin=caller.address if caller else origin,
        via=caller.via if caller else "",
        crops=crops,
        now=services.clock(),
    )


def note_once(services: Services, caller: Caller, action: str, subject: Mapping[str, Any]) -> None:
    """As `note`, but not again within ten minutes: for what is looked at in many requests."""
    key = (caller.name, action, *sorted(subject.items()))
    services.recently.once(key, services.clock(), lambda: note(services, caller, action, subject))


@contextmanager
def audited(
    services: Services,
    caller: Caller | None,
    action: str,
    subject: Mapping[str, Any] | None = None,
    crops: Sequence[AuditCrop] = (),
    origin: str = "",
) -> Iterator[dict[str, Any]]:
    """The block's changes and their entry, in one transaction: what cannot be noted is not done.

    Yields:
        The entry's subject, to which the block may add.
    """
    told = dict(subject or {})
    with services.gallery.transaction():
        yield told
        note(services, caller, action, told, crops, origin)
