"""Statements over users, their passwords and the invitations to choose one, and failed log-ins."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa

from storage.account_records import NOBODY, Role, User, has_shrunk
from storage.database import sessions
from storage.database.accountability import (
    api_tokens,
    audit,
    invitations,
    login_failures,
    user_sessions,
    users,
)
from storage.database.schema import AnyRow
from storage.errors import LastAdmin, UserExists, UserNotFound

_USER = sa.select(
    users.c.id,
    users.c.name,
    users.c.role,
    users.c.cameras,
    users.c.enabled,
    users.c.created,
    users.c.password.is_not(None).label("has_password"),
)


def any_user(connection: sa.Connection) -> bool:
    """Whether there is an account at all."""
    return connection.scalar(sa.select(users.c.id).limit(1)) is not None


def listed(connection: sa.Connection, after: str | None, limit: int | None) -> list[User]:
    """Users by name; None does not narrow."""
    statement = _USER.order_by(users.c.name).limit(limit)
    if after is not None:
        statement = statement.where(users.c.name > after)
    return [_user(row) for row in connection.execute(statement)]


def roles(connection: sa.Connection, names: Iterable[str]) -> dict[str, Role]:
    """By name, the roles of those users that there are."""
    wanted = sa.select(users.c.name, users.c.role).where(users.c.name.in_(set(names)))
    return {row.name: row.role for row in connection.execute(wanted)}


def get(connection: sa.Connection, user_id: int) -> User:
    """One user.

    Raises:
        UserNotFound: There is none with that id.
    """
    row = connection.execute(_USER.where(users.c.id == user_id)).one_or_none()
    if row is None:
        raise UserNotFound(f"no user has the id {user_id} (any more): list them with 'user list'")
    return _user(row)


def named(connection: sa.Connection, name: str) -> User | None:
    """The user with that name."""
    row = connection.execute(_USER.where(users.c.name == name)).one_or_none()
    return None if row is None else _user(row)


def of_session(connection: sa.Connection, session_id: int) -> User | None:
    """The enabled user who is logged in with a session."""
    theirs = sa.select(user_sessions.c.user_id).where(user_sessions.c.id == session_id)
    return _enabled(connection, theirs)


def of_token(connection: sa.Connection, token_id: int, now: float) -> User | None:
    """The enabled user of a token that has not expired."""
    lasts = sa.or_(api_tokens.c.expires.is_(None), api_tokens.c.expires > now)
    return _enabled(connection, sa.select(api_tokens.c.user_id).where(api_tokens.c.id == token_id, lasts))


def _enabled(connection: sa.Connection, user_id: sa.Select[tuple[int]]) -> User | None:
    found = _USER.where(users.c.id == user_id.scalar_subquery(), users.c.enabled)
    row = connection.execute(found).one_or_none()
    return None if row is None else _user(row)


def insert(connection: sa.Connection, values: Mapping[str, Any]) -> User:
    """A new user without a password.

    Raises:
        UserExists: Another one has the name, or had it once.
    """
    name = values["name"]
    if named(connection, name) is not None:
        raise UserExists(f"there is a user '{name}' already: choose another name")
    if name == NOBODY or _acted(connection, name):
        raise UserExists(f"the name '{name}' is somebody else's in the audit trail: choose another name")
    statement = sa.insert(users).values(enabled=True, **values).returning(users.c.id)
    return get(connection, int(connection.execute(statement).scalar_one()))


def _acted(connection: sa.Connection, name: str) -> bool:
    """Whether the trail knows a user of that name, who was removed: it must stay clear who is meant."""
    return connection.scalar(sa.select(audit.c.seq).where(audit.c.actor == name).limit(1)) is not None


def update(connection: sa.Connection, user_id: int, values: Mapping[str, Any]) -> User:
    """Changes a user, and ends the sessions of one who may do or see less than before.

    Raises:
        UserNotFound: There is none with that id.
        LastAdmin: Nobody would be left to administrate.
    """
    before = get(connection, user_id)
    if not values:
        return before
    connection.execute(sa.update(users).where(users.c.id == user_id).values(**values))
    after = get(connection, user_id)
    _keep_an_admin(connection, before)
    if has_shrunk(before, after):
        sessions.end_of_user(connection, user_id)
    return after


def delete(connection: sa.Connection, user_id: int) -> None:
    """Deletes a user with sessions, tokens and invitations.

    Raises:
        UserNotFound: There is none with that id.
        LastAdmin: Nobody would be left to administrate.
    """
    before = get(connection, user_id)
    connection.execute(sa.delete(users).where(users.c.id == user_id))
    _keep_an_admin(connection, before)


def _keep_an_admin(connection: sa.Connection, before: User) -> None:
    """Refuses what was done to the user `before`, and so undoes it, if it took the last admin away."""
    if before.role != "admin" or not before.enabled:
        return
    admins = sa.select(users.c.id).where(users.c.role == "admin", users.c.enabled).limit(1)
    if connection.scalar(admins) is None:
        raise LastAdmin(f"'{before.name}' is the last admin: make another user an admin first")


# Passwords and invitations


def password_of(connection: sa.Connection, name: str) -> tuple[User, str | None] | None:
    """The user with that name, and the hash of the password."""
    user = named(connection, name)
    if user is None:
        return None
    return user, connection.scalar(sa.select(users.c.password).where(users.c.id == user.id))


def set_password(connection: sa.Connection, user_id: int, password_hash: str) -> None:
    """Sets a password; what was open to holders of the old one or of an invitation is closed.

    Raises:
        UserNotFound: There is none with that id.
    """
    statement = sa.update(users).where(users.c.id == user_id).values(password=password_hash)
    if connection.execute(statement).rowcount == 0:
        get(connection, user_id)
    sessions.end_of_user(connection, user_id)
    connection.execute(sa.delete(invitations).where(invitations.c.user_id == user_id))


def invite(connection: sa.Connection, user_id: int, token_hash: str, expires: float) -> None:
    """Makes an invitation in the place of all that the user has.

    Raises:
        UserNotFound: There is none with that id.
    """
    get(connection, user_id)
    connection.execute(sa.delete(invitations).where(invitations.c.user_id == user_id))
    values = {"token_hash": token_hash, "user_id": user_id, "expires": expires}
    connection.execute(sa.insert(invitations).values(**values))


def invited(connection: sa.Connection, token_hash: str, now: float) -> User | None:
    """Whom an invitation is for, if it can be used."""
    good = (invitations.c.token_hash == token_hash, invitations.c.expires > now, users.c.enabled)
    row = connection.execute(_USER.join(invitations).where(*good)).one_or_none()
    return None if row is None else _user(row)


def forget_invitations(connection: sa.Connection, now: float) -> None:
    """Deletes those that have expired."""
    connection.execute(sa.delete(invitations).where(invitations.c.expires <= now))


# Failed log-ins


def failures(connection: sa.Connection, subject: str) -> tuple[int, float]:
    """How many log-ins have failed in a row, and when the last one did (seconds UTC); (0, 0.0) without."""
    columns = sa.select(login_failures.c.failures, login_failures.c.last)
    row = connection.execute(columns.where(login_failures.c.subject == subject)).one_or_none()
    return (0, 0.0) if row is None else (int(row[0]), float(row[1]))


def set_failures(connection: sa.Connection, subject: str, count: int, last: float) -> None:
    """Notes how many log-ins of a subject have failed, and when the last one did; none: it is forgotten."""
    connection.execute(sa.delete(login_failures).where(login_failures.c.subject == subject))
    if count > 0:
        values = {"subject": subject, "failures": count, "last": last}
        connection.execute(sa.insert(login_failures).values(**values))


def forget_failures(connection: sa.Connection, before: float) -> None:
    """Deletes those whose last is older than that."""
    connection.execute(sa.delete(login_failures).where(login_failures.c.last < before))


def _user(row: AnyRow) -> User:
    values = dict(row._mapping)
    cameras = values.pop("cameras")
    return User(**values, cameras=None if cameras is None else frozenset(cameras))
