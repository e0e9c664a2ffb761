"""The audit trail: who did what, in entries that are chained by their hashes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any


@dataclass(frozen=True)
class AuditCrop:
    """A picture that was searched with: a JPEG file, and the stored tracklet that it is of, if any."""

    jpeg: bytes
    tracklet_id: int | None = None

    def __post_init__(self) -> None:
        if self.jpeg[:2] != b"\xff\xd8":
            raise ValueError("every crop must be a JPEG file")


@dataclass(frozen=True)
class AuditEntry:
    """One entry of the trail.

    Attributes:
        seq: 1, 2, 3 ... without a hole.
        time: Seconds UTC.
        actor: Name of the user, or what else acted.
        user_id: The user's account; None if it was no user.
        origin: Whence it came: an address, or a machine's name.
        via: How: a session, a token, the command line.
        action: What was done, such as "search".
        subject: What it was done to, as JSON.
        crops: SHA-256 of each picture that goes with it; the pictures themselves may be erased.
        previous: Hash of the entry before; of the first one, of the gallery's uuid.
        hash: SHA-256 of `previous`, a line feed, and everything above but `previous` as canonical JSON.
    """

    seq: int
    time: float
    actor: str
    user_id: int | None
    origin: str
    via: str
    action: str
    subject: dict[str, Any]
    crops: tuple[str, ...]
    previous: str
    hash: str


@dataclass(frozen=True)
class Verification:
    """What a check of the trail found.

    Attributes:
        ok: Whether nothing is wrong.
        entries: How many there are.
        head: Number and hash of the last one. Noted elsewhere, it later proves that the trail is the same.
        problems: A line each.
        erased_crops: How many pictures were erased since, which is no problem.
    """

    ok: bool
    entries: int
    head: tuple[int, str]
    problems: list[str]
    erased_crops: int


def canonical_json(values: Mapping[str, Any]) -> str:
    """The one way to write JSON that is hashed: sorted keys, no blanks, ASCII, neither NaN nor infinity."""
    return json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def genesis_hash(uuid: str) -> str:
    """What the first entry of a gallery's trail follows: a trail cannot be moved to another gallery."""
    return sha256(uuid.encode()).hexdigest()


def chained_hash(previous: str, entry: str) -> str:
    """The hash of an entry, given as canonical JSON, behind the one with the hash `previous`."""
    return sha256(f"{previous}\n{entry}".encode()).hexdigest()


def crop_hash(jpeg: bytes) -> str:
    """What an entry holds of a picture."""
    return sha256(jpeg).hexdigest()
