"""What the server writes into the audit trail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
