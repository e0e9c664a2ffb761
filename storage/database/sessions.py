"""Statements over what stands for a user: sessions of browsers, tokens of programs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from storage.account_records import ApiToken, lower_role
from storage.database.accountability import api_tokens, user_sessions, users
from storage.database.schema import AnyRow

_SESSION = sa.select(
    user_sessions.c.id,
    user_sessions.c.user_id,
    user_sessions.c.csrf_token,
    user_sessions.c.created,
    user_sessions.c.last_seen,
    user_sessions.c.rotated,
    user_sessions.c.address,
)

_TOKEN = sa.select(
    api_tokens.c.id,
    api_tokens.c.user_id,
    api_tokens.c.name,
    api_tokens.c.hint,
    api_tokens.c.role,
    api_tokens.c.created,
    api_tokens.c.expires,
    api_tokens.c.last_used,
    users.c.name.label("user"),
    users.c.role.label("users_role"),
).select_from(api_tokens.join(users))


def begin(connection: sa.Connection, values: Mapping[str, Any]) -> dict[str, Any]:
    """A new session; see `find`."""
    statement = sa.insert(user_sessions).values(**values).returning(user_sessions.c.id)
    number = connection.execute(statement).scalar_one()
    return dict(connection.execute(_SESSION.where(user_sessions.c.id == number)).one()._mapping)


def find(connection: sa.Connection, token_hash: str, now: float) -> dict[str, Any] | None:
    """The fields of the session with this token, or whose token before it is while that one is good.

    Also "is_first_use": whether a rotation gave the token and `arrived` has not been told of it.
    """
    current = user_sessions.c.token_hash == token_hash
    lasts = sa.or_(user_sessions.c.previous_until.is_(None), user_sessions.c.previous_until > now)
    before = sa.and_(user_sessions.c.previous_hash == token_hash, lasts)
    statement = _SESSION.add_columns(sa.and_(current, _is_unused()).label("is_first_use"))
    row = connection.execute(statement.where(sa.or_(current, before))).first()
    return None if row is None else dict(row._mapping)


def arrived(connection: sa.Connection, token_hash: str, grace_s: float) -> None:
    """Notes that a token was shown: the one before it is good only for a moment after the rotation."""
    mine = (user_sessions.c.token_hash == token_hash, _is_unused())
    until = user_sessions.c.rotated + grace_s
    connection.execute(sa.update(user_sessions).where(*mine).values(previous_until=until))


def _is_unused() -> sa.ColumnElement[bool]:
    """That nobody has shown the token that the last rotation gave."""
    return sa.and_(user_sessions.c.previous_hash.is_not(None), user_sessions.c.previous_until.is_(None))


def saw(connection: sa.Connection, session_id: int, now: float) -> None:
    """Notes that a session was used."""
    connection.execute(sa.update(user_sessions).where(user_sessions.c.id == session_id).values(last_seen=now))


def rotate(
    connection: sa.Connection, session_id: int, old_hash: str, new_hash: str, now: float, lost_before: float
) -> bool:
    """Gives a session another token, if `old_hash` is the one it has, or had before one that was lost.

    Args:
        lost_before: A token given before this time that nobody has shown did not arrive.
    """
    has = user_sessions.c.token_hash == old_hash
    lost = sa.and_(
        user_sessions.c.previous_hash == old_hash, _is_unused(), user_sessions.c.rotated < lost_before
    )
    mine = (user_sessions.c.id == session_id, sa.or_(has, lost))
    values = {"token_hash": new_hash, "previous_hash": old_hash, "previous_until": None, "rotated": now}
    return connection.execute(sa.update(user_sessions).where(*mine).values(**values)).rowcount == 1


def end(connection: sa.Connection, session_id: int) -> None:
    """Deletes a session."""
    connection.execute(sa.delete(user_sessions).where(user_sessions.c.id == session_id))


def end_of_user(connection: sa.Connection, user_id: int) -> None:
    """Deletes all sessions of a user."""
    connection.execute(sa.delete(user_sessions).where(user_sessions.c.user_id == user_id))


def forget_expired(connection: sa.Connection, seen_before: float, created_before: float) -> None:
    """Deletes sessions that have not been used for too long, or have lasted too long."""
    over = sa.or_(user_sessions.c.last_seen <= seen_before, user_sessions.c.created <= created_before)
    connection.execute(sa.delete(user_sessions).where(over))


# Tokens of programs


def add_token(connection: sa.Connection, values: Mapping[str, Any]) -> ApiToken:
    """A new token."""
    statement = sa.insert(api_tokens).values(**values).returning(api_tokens.c.id)
    number = connection.execute(statement).scalar_one()
    return _token(connection.execute(_TOKEN.where(api_tokens.c.id == number)).one())


def tokens(
    connection: sa.Connection, user_id: int | None, before: int | None, limit: int | None
) -> list[ApiToken]:
    """Tokens, newest first; None does not narrow."""
    statement = _TOKEN.order_by(api_tokens.c.id.desc()).limit(limit)
    if user_id is not None:
        statement = statement.where(api_tokens.c.user_id == user_id)
    if before is not None:
        statement = statement.where(api_tokens.c.id < before)
    return [_token(row) for row in connection.execute(statement)]


def token(connection: sa.Connection, token_hash: str, now: float) -> ApiToken | None:
    """The token with this hash, if it has not expired and its user is enabled."""
    lasts = sa.or_(api_tokens.c.expires.is_(None), api_tokens.c.expires > now)
    good = (api_tokens.c.token_hash == token_hash, lasts, users.c.enabled)
    row = connection.execute(_TOKEN.where(*good)).one_or_none()
    return None if row is None else _token(row)


def used(connection: sa.Connection, token_id: int, now: float) -> None:
    """Notes that a token was used."""
    connection.execute(sa.update(api_tokens).where(api_tokens.c.id == token_id).values(last_used=now))


def remove_token(connection: sa.Connection, token_id: int, user_id: int | None) -> bool:
    """Deletes a token, of this user if one is named; whether it was there."""
    statement = sa.delete(api_tokens).where(api_tokens.c.id == token_id)
    if user_id is not None:
        statement = statement.where(api_tokens.c.user_id == user_id)
    return connection.execute(statement).rowcount == 1


def _token(row: AnyRow) -> ApiToken:
    values = dict(row._mapping)
    values["role"] = lower_role(values["role"], values.pop("users_role"))
    return ApiToken(**values)
