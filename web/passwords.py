"""Passwords: argon2id with the parameters of RFC 9106 for machines with little memory to spare."""

from __future__ import annotations

import threading

from argon2 import Parameters, PasswordHasher, profiles
from argon2.exceptions import InvalidHashError, VerificationError

MIN_LENGTH = 12

_AT_ONCE = threading.BoundedSemaphore(4)  # each takes 64 MB: a flood of log-ins must not take all memory


class Passwords:
    """Hashes and checks passwords.

    Args:
        parameters: how much work a guess is.
    """

    def __init__(self, parameters: Parameters = profiles.RFC_9106_LOW_MEMORY) -> None:
        self._hasher = PasswordHasher.from_parameters(parameters)
        self._nobody = self._hasher.hash("a password that nobody has")

    def hash(self, password: str) -> str:
        """What is stored of a password."""
        with _AT_ONCE:
            return self._hasher.hash(password)

    def verify(self, stored: str | None, password: str) -> bool:
        """Whether a password is right; takes as long where there is none to compare with."""
        with _AT_ONCE:
            try:
                right = self._hasher.verify(stored or self._nobody, password)
            except (VerificationError, InvalidHashError):
                return False
        return right and stored is not None


def weakness(password: str, user: str) -> str | None:
    """Why a password is not taken, as a sentence; None: it is."""
    if len(password) < MIN_LENGTH:
        return f"a password needs at least {MIN_LENGTH} characters; several words do well"
    if len(set(password)) < 5:
        return "a password needs more different characters"
    if user.casefold() in password.casefold() and len(password) < MIN_LENGTH + len(user):
        return "a password must not be the user's name with a few characters more"
    return None
