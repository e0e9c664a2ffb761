"""Who may use the gallery: users, and what proves who they are."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

from storage.records import camera_name

Role = Literal["viewer", "operator", "admin"]

ROLES: tuple[Role, ...] = get_args(Role)
"""By rising rights: each may do what the one before may."""

MAX_NAME = 64

NOBODY = "nobody"
"""What the audit trail calls those who are not logged in; no user may be called so."""

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class User:
    """Somebody with an account.

    Attributes:
        name: Unique; folded to lower case.
        cameras: The only ones whose people this user may see; None for every camera.
        enabled: Whether this user may log in.
        created: Seconds UTC.
        has_password: False until an invitation was accepted.
    """

    id: int
    name: str
    role: Role
    cameras: frozenset[str] | None
    enabled: bool
    created: float
    has_password: bool


@dataclass(frozen=True)
class Session:
    """A user who is logged in with a browser.

    Attributes:
        csrf_token: What forms of this session must bring along.
        created, last_seen, rotated: Seconds UTC: log-in, last request to the minute, newest token.
        address: Whence the log-in came.
    """

    id: int
    user: User
    csrf_token: str
    created: float
    last_seen: float
    rotated: float
    address: str


@dataclass(frozen=True)
class ApiToken:
    """A program that acts for a user.

    Attributes:
        user: That user's name.
        hint: The token's first letters, to recognise it by.
        role: At most its user's, also after that one's was lowered.
        created, expires, last_used: Seconds UTC; it may never expire, and may not have been used yet.
    """

    id: int
    user_id: int
    user: str
    name: str
    hint: str
    role: Role
    created: float
    expires: float | None
    last_used: float | None


def user_name(text: str) -> str:
    """One spelling per user: NFC, lower case, no blanks around it.

    Raises:
        ValueError: The name is blank, too long, or has characters that cannot be seen.
    """
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).strip().casefold())
    if not folded.isprintable() or not 1 <= len(folded) <= MAX_NAME:
        raise ValueError(f"a user's name has 1 to {MAX_NAME} visible characters, got {text[:100]!a}")
    return folded


def role_named(text: str) -> Role:
    """`text` as a role.

    Raises:
        ValueError: There is no such role.
    """
    for role in ROLES:
        if role == text:
            return role
    raise ValueError(f"no role '{text}'; there are: {', '.join(ROLES)}")


def lower_role(first: Role, second: Role) -> Role:
    """The one with fewer rights."""
    return min(first, second, key=ROLES.index)


def allowed_cameras(cameras: Iterable[str] | None) -> frozenset[str] | None:
    """Names of cameras in their one spelling; None stands for every camera.

    Raises:
        ValueError: A name cannot be that of a camera, or one text was given for a set of them.
    """
    if isinstance(cameras, str):
        raise ValueError("cameras must be a set of camera names, got one string")
    return None if cameras is None else frozenset(camera_name(camera) for camera in cameras)


def has_shrunk(before: User, after: User) -> bool:
    """Whether a user may do or see less than before."""
    if not after.enabled and before.enabled:
        return True
    if ROLES.index(after.role) < ROLES.index(before.role):
        return True
    if after.cameras is None:
        return False
    return before.cameras is None or not before.cameras <= after.cameras


def sha256_hex(text: str) -> str:
    """`text`, if it is the SHA-256 of a secret and not the secret itself.

    Raises:
        ValueError: It is something else; it is not repeated.
    """
    if not _SHA256.fullmatch(text):
        raise ValueError("a token is known by its SHA-256 alone: give 64 hexadecimal digits in lower case")
    return text


def argon2_hash(text: str) -> str:
    """`text`, if it is what argon2 makes of a password and not the password itself.

    Raises:
        ValueError: It is something else; it is not repeated.
    """
    if not text.startswith("$argon2"):
        raise ValueError("a password is known by its argon2 hash alone: give that")
    return text
