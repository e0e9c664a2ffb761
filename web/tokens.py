"""Secrets that are handed out once: made at random, kept as hashes."""

from __future__ import annotations

import hashlib
import secrets

API_PREFIX = "rt_"


def new_token(prefix: str = "") -> str:
    """256 random bits for a URL, a cookie or a header."""
    return prefix + secrets.token_urlsafe(32)


def token_hash(token: str) -> str:
    """What is stored of a token. With 256 random bits a plain SHA-256 cannot be guessed back."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
