"""The accounts of a gallery: who may use it, as what, and how they prove who they are."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import EllipsisType
from typing import Any

from storage.account_records import (
    ApiToken,
    Role,
    Session,
    User,
    allowed_cameras,
    argon2_hash,
    lower_role,
    role_named,
    sha256_hex,
    user_name,
)
from storage.database import accounts, sessions
from storage.database.engine import Database
from storage.errors import TokenNotFound, UserNotFound
from storage.records import readable

NOTED_EVERY_S = 60.0
"""How often the last use of a session or token is written down, at most."""

_LOST_AFTER_S = 60.0  # an answer takes less; requests at once, of which one rotates, are closer
_FAILURES_LAST_S = 24 * 3600.0
_LONGEST_SUBJECT = 200


class Accounts:
    """Users, invitations, sessions, tokens and failed log-ins; reached as `Gallery.accounts`.

    Of passwords only argon2 hashes come here, and of tokens only SHA-256 as hexadecimal digits. Times are
    seconds UTC; where `now` may be None, the clock is asked.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    # Users

    def any_user(self) -> bool:
        """Whether there is an account at all."""
        with self._database.reading() as connection:
            return accounts.any_user(connection)

    def users(self, *, after: str | None = None, limit: int | None = None) -> list[User]:
        """Users by name.

        Args:
            after: Only those whose names come behind this one: the page behind the one that ended with it.
            limit: At most so many; None: all.
        """
        with self._database.reading() as connection:
            return accounts.listed(connection, after, limit)

    def roles(self, names: Iterable[str]) -> dict[str, Role]:
        """By name, the roles of those users that there are; for at most a few thousand names."""
        with self._database.reading() as connection:
            return accounts.roles(connection, names)

    def user(self, user_id: int) -> User:
        """One user.

        Raises:
            UserNotFound: It does not exist (any more); likewise below.
        """
        with self._database.reading() as connection:
            return accounts.get(connection, user_id)

    def user_named(self, name: str) -> User | None:
        """The user with that name, however it is spelled."""
        found = self.password_of(name)
        return None if found is None else found[0]

    def add_user(
        self, name: str, role: Role, cameras: Iterable[str] | None = None, now: float | None = None
    ) -> User:
        """A new user, who has no password yet: invite them.

        Args:
            cameras: The only ones whose people they may see; None for every camera.

        Raises:
            UserExists: Another one has the name.
            ValueError: The name, the role or a camera's name cannot be, or an admin was given cameras.
        """
        values = {"name": user_name(name), "created": _seconds(now), **_rights(role=role, cameras=cameras)}
        with self._database.writing() as connection:
            return _checked(accounts.insert(connection, values))

    def update_user(
        self,
        user_id: int,
        *,
        role: Role | EllipsisType = ...,
        cameras: Iterable[str] | EllipsisType | None = ...,
        enabled: bool | EllipsisType = ...,
    ) -> User:
        """Changes what is given of a user. Ends the sessions of one who may do or see less than before.

        Raises:
            LastAdmin: No enabled admin would be left.
            ValueError: An admin would be limited to some cameras.
        """
        rights = _rights(role=role, cameras=cameras)
        values = rights if isinstance(enabled, EllipsisType) else {**rights, "enabled": bool(enabled)}
        with self._database.writing() as connection:
            user = accounts.update(connection, user_id, values)
            return _checked(user) if rights else user

    def remove_user(self, user_id: int) -> None:
        """Removes a user with sessions, tokens and invitations.

        Raises:
            LastAdmin: No enabled admin would be left.
        """
        with self._database.writing() as connection:
            accounts.delete(connection, user_id)

    # Passwords and invitations

    def password_of(self, name: str) -> tuple[User, str | None] | None:
        """The user with that name and the hash of their password, None until they have chosen one."""
        try:
            spelled = user_name(name)
        except ValueError:
            return None  # nobody is called so
        with self._database.reading() as connection:
            return accounts.password_of(connection, spelled)

    def set_password(self, user_id: int, password_hash: str, now: float | None = None) -> None:
        """Sets a password; ends all sessions and voids all invitations of the user."""
        with self._database.writing() as connection:
            accounts.forget_invitations(connection, _seconds(now))
            accounts.set_password(connection, user_id, argon2_hash(password_hash))

    def invite(self, user_id: int, token_hash: str, expires: float, now: float | None = None) -> None:
        """Lets the holder of a token choose the user's password, once; voids the user's older invitations."""
        with self._database.writing() as connection:
            accounts.forget_invitations(connection, _seconds(now))
            accounts.invite(connection, user_id, sha256_hex(token_hash), float(expires))

    def invitation(self, token_hash: str, now: float) -> User | None:
        """Whom an invitation is for; None if it is unknown, used, expired, or of a user who is disabled."""
        with self._database.reading() as connection:
            return accounts.invited(connection, sha256_hex(token_hash), now)

    def accept_invitation(self, token_hash: str, password_hash: str, now: float) -> User | None:
        """Uses an invitation up and sets the password; None as for `invitation`."""
        with self._database.writing() as connection:
            user = accounts.invited(connection, sha256_hex(token_hash), now)
            accounts.forget_invitations(connection, now)
            if user is None:
                return None
            accounts.set_password(connection, user.id, argon2_hash(password_hash))
            return accounts.get(connection, user.id)

    # Sessions

    def begin_session(
        self, user_id: int, token_hash: str, csrf_token: str, address: str, now: float
    ) -> Session:
        """Logs a user in.

        Raises:
            UserNotFound: Also if the user was disabled.
        """
        values = {
            "user_id": user_id,
            "token_hash": sha256_hex(token_hash),
            "csrf_token": csrf_token,
            "address": readable(address),
            **dict.fromkeys(("created", "last_seen", "rotated"), float(now)),
        }
        with self._database.writing() as connection:
            user = accounts.get(connection, user_id)
            if not user.enabled:
                raise UserNotFound(f"user '{user.name}' is disabled: enable the account first")
            return _session(sessions.begin(connection, values), user)

    def session(
        self, token_hash: str, now: float, *, idle_s: float, absolute_s: float, grace_s: float
    ) -> Session | None:
        """The session with this token, or None; its use is written down at most once a minute.

        Args:
            idle_s: Without use for so long it expires; minutes at least.
            absolute_s: So long after the log-in it expires in any case.
            grace_s: So long after a rotation the token before it is still good, and until the new one is
                shown: the answer that brought it may have been lost.

        Returns:
            None also if it has expired or its user is disabled; then it is deleted.
        """
        with self._database.reading() as connection:
            found = sessions.find(connection, sha256_hex(token_hash), now)
            if found is None:
                return None
            is_first_use = found.pop("is_first_use")
            session = _session(found, accounts.get(connection, found["user_id"]))
        is_over = now >= session.last_seen + idle_s or now >= session.created + absolute_s
        if is_over or not session.user.enabled:
            self.end_session(session.id)
            return None
        if now < session.last_seen + NOTED_EVERY_S and not is_first_use:
            return session
        with self._database.writing() as connection:
            sessions.arrived(connection, token_hash, grace_s)
            sessions.saw(connection, session.id, now)
            sessions.forget_expired(connection, now - idle_s, now - absolute_s)
        return replace(session, last_seen=now)

    def user_of_session(self, session_id: int) -> User | None:
        """The user of a session that one has seen begin: None once it was ended or its user is disabled.

        Writes nothing, and asks nothing of the session's age.
        """
        with self._database.reading() as connection:
            return accounts.of_session(connection, session_id)

    def rotate_session(self, session_id: int, old_hash: str, new_hash: str, now: float) -> bool:
        """Gives a session another token; False if it does not have the old one (any more).

        A token that nobody has shown within a minute was lost: another one takes its place, and the one
        before it stays good.
        """
        old, new = sha256_hex(old_hash), sha256_hex(new_hash)
        with self._database.writing() as connection:
            return sessions.rotate(connection, session_id, old, new, float(now), now - _LOST_AFTER_S)

    def end_session(self, session_id: int) -> None:
        """Logs out. A session that is over already is ignored."""
        with self._database.writing() as connection:
            sessions.end(connection, session_id)

    def end_sessions(self, user_id: int) -> None:
        """Logs a user out everywhere."""
        with self._database.writing() as connection:
            sessions.end_of_user(connection, user_id)

    # Tokens of programs

    def add_token(
        self,
        user_id: int,
        name: str,
        token_hash: str,
        hint: str,
        role: Role,
        expires: float | None,
        now: float,
    ) -> ApiToken:
        """A token with which a program acts for a user.

        Args:
            hint: The token's first letters, at most 16, to recognise it by.
            expires: None: never.

        Raises:
            ValueError: The role is above the user's, or a text cannot be.
        """
        if not name.strip() or not name.isprintable() or len(hint) > 16:
            raise ValueError(f"a token needs a readable name and a hint of at most 16 letters, got {name!a}")
        values = {
            "user_id": user_id,
            "name": name.strip(),
            "token_hash": sha256_hex(token_hash),
            "hint": hint,
            "role": role_named(role),
            "expires": None if expires is None else float(expires),
            "created": float(now),
        }
        with self._database.writing() as connection:
            user = accounts.get(connection, user_id)
            if lower_role(role, user.role) != role:
                raise ValueError(f"'{user.name}' is {user.role}: a token cannot have the role {role}")
            return sessions.add_token(connection, values)

    def tokens(
        self, user_id: int | None = None, *, before: int | None = None, limit: int | None = None
    ) -> list[ApiToken]:
        """Tokens, newest first; expired ones, too.

        Args:
            user_id: Only this user's.
            before: Only those with a lower id: the page behind the one that ended with it.
            limit: At most so many; None: all.
        """
        with self._database.reading() as connection:
            return sessions.tokens(connection, user_id, before, limit)

    def token(self, token_hash: str, now: float) -> tuple[ApiToken, User] | None:
        """The token with this hash and its user; its use is written down at most once a minute.

        Returns:
            None if it is unknown or has expired, or its user is disabled.
        """
        with self._database.reading() as connection:
            found = sessions.token(connection, sha256_hex(token_hash), now)
            if found is None:
                return None
            user = accounts.get(connection, found.user_id)
        if found.last_used is not None and now < found.last_used + NOTED_EVERY_S:
            return found, user
        with self._database.writing() as connection:
            sessions.used(connection, found.id, now)
        return replace(found, last_used=now), user

    def user_of_token(self, token_id: int, now: float) -> User | None:
        """The user of a token; None once it was revoked or has expired, or its user is disabled."""
        with self._database.reading() as connection:
            return accounts.of_token(connection, token_id, now)

    def remove_token(self, token_id: int, user_id: int | None = None) -> None:
        """Revokes a token.

        Args:
            user_id: Only if it is this user's.

        Raises:
            TokenNotFound: It does not exist (any more), or is another's.
        """
        with self._database.writing() as connection:
            if not sessions.remove_token(connection, token_id, user_id):
                raise TokenNotFound(f"no token has the id {token_id} (any more): list them")

    # Failed log-ins

    def try_log_in(self, limits: Mapping[str, tuple[int, float]], now: float) -> float:
        """Asks, before a password is checked, whether it may be: if so the try counts as failed for now.

        Both in one transaction, so that guesses at once are counted one after the other. Each failure beyond
        the free ones doubles the time to wait; after a day without a try they are forgotten.

        Args:
            limits: For each user name or address that tries: how many tries are free, and the longest wait,
                seconds.
            now: Seconds UTC.

        Returns:
            0.0, and then `log_in_succeeded` must be told if the password was right; or how many seconds to
            wait, and then nothing was counted.
        """
        with self._database.writing() as connection:
            accounts.forget_failures(connection, now - _FAILURES_LAST_S)
            asked = {_subject(text): limit for text, limit in limits.items()}
            counted = {subject: accounts.failures(connection, subject) for subject in asked}
            wait = max((_wait(*counted[each], *asked[each], now) for each in asked), default=0.0)
            if wait > 0.0:
                return wait
            for subject, (failures, _) in counted.items():
                accounts.set_failures(connection, subject, failures + 1, float(now))
            return 0.0

    def log_in_succeeded(self, cleared: Iterable[str], taken_back: Iterable[str]) -> None:
        """Says that the try that was counted last was none to count.

        Args:
            cleared: All failures of these are forgotten.
            taken_back: Of these only that one: others may be trying from the same address.
        """
        with self._database.writing() as connection:
            for text in cleared:
                accounts.set_failures(connection, _subject(text), 0, 0.0)
            for text in taken_back:
                failures, last = accounts.failures(connection, _subject(text))
                accounts.set_failures(connection, _subject(text), failures - 1, last)


def _wait(failures: int, last: float, free: int, longest: float, now: float) -> float:
    """How long a subject has to wait yet, seconds; not above 0.0 if it may try."""
    if failures < free:
        return 0.0
    return last + min(2.0 ** min(failures - free, 64), longest) - now


def _rights(
    *, role: str | EllipsisType = ..., cameras: Iterable[str] | EllipsisType | None = ...
) -> dict[str, Any]:
    """Columns of what is given."""
    values: dict[str, Any] = {}
    if not isinstance(role, EllipsisType):
        values["role"] = role_named(role)
    if not isinstance(cameras, EllipsisType):
        allowed = allowed_cameras(cameras)
        values["cameras"] = None if allowed is None else sorted(allowed)
    return values


def _checked(user: User) -> User:
    """The user, unless they are an admin of some cameras: what admins do is not limited by cameras."""
    if user.role == "admin" and user.cameras is not None:
        raise ValueError(
            f"an admin sees every camera: '{user.name}' cannot be an admin and limited to some cameras"
        )
    return user


def _session(fields: dict[str, Any], user: User) -> Session:
    return Session(user=user, **{name: value for name, value in fields.items() if name != "user_id"})


def _subject(text: str) -> str:
    """What somebody typed as a name may be anything, of any length."""
    return readable(text[:_LONGEST_SUBJECT])


def _seconds(now: float | None) -> float:
    return float(time.time() if now is None else now)
