"""Links with which somebody chooses a password, once."""

from __future__ import annotations

from storage.gallery import Gallery
from web.tokens import new_token, token_hash

INVITATION_DAYS = 7.0
"""How long a link is good."""

_DAY_S = 86_400.0


def invite(gallery: Gallery, user_id: int, now: float, days: float = INVITATION_DAYS) -> tuple[str, float]:
    """A new invitation; the user's older ones are void.

    Args:
        now: seconds UTC.

    Returns:
        The link's path, which is stored nowhere, and when it expires, seconds UTC.
    """
    token, expires = new_token(), now + days * _DAY_S
    gallery.accounts.invite(user_id, token_hash(token), expires, now)
    return f"/invitation/{token}", expires
