"""Checks the audit trail from its first entry to its last: what was changed, cut out, or cut off."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from storage.audit_records import Verification, chained_hash, crop_hash
from storage.database import audit as trail
from storage.database.accountability import audit, audit_crops
from storage.database.schema import AnyRow

Head = tuple[int, str]
"""Number and hash of an entry."""

_ROWS = 500
_PICTURES = 50
_LISTED = 100


class _Problems:
    """The first lines, and how many there were: a trail with a million broken entries must fit, too."""

    def __init__(self) -> None:
        self.number = 0
        self._lines: list[str] = []

    def add(self, lines: Iterator[str]) -> None:
        for line in lines:
            self.number += 1
            if len(self._lines) < _LISTED:
                self._lines.append(line)

    def listed(self) -> list[str]:
        more = self.number - len(self._lines)
        return [*self._lines, *([f"and {more} more problems"] if more else [])]


def verify(
    connection: sa.Connection, expected: Head | None, progress: Callable[[int, int], None] | None
) -> Verification:
    """Walks over the trail; see `AuditTrail.verify`."""
    problems = _Problems()
    last: Head = (0, trail.genesis(connection))
    num_entries = num_erased = num_accounted = 0
    is_met = expected is None or expected == last
    total = connection.scalar(sa.select(sa.func.count()).select_from(audit)) or 0
    statement = sa.select(audit).order_by(audit.c.seq)
    for rows in connection.execute(statement, execution_options={"yield_per": _ROWS}).partitions():
        named: dict[int, Counter[str]] = {}
        for row in rows:
            told = _told(row)
            problems.add(_chain_problems(row, last))
            problems.add(_column_problems(row, told))
            named[row.seq] = _named_crops(told)
            num_accounted += _accounted(told)
            last = (row.seq, row.hash)
            is_met = is_met or expected == last
        problems.add(_crop_problems(connection, named))
        num_erased += sum(sum((+left).values()) for left in named.values())
        num_entries += len(rows)
        if progress is not None:
            progress(num_entries, total)
    if num_erased > num_accounted:
        problems.add(iter([f"{num_erased - num_accounted} pictures are gone that no erasure tells of"]))
    problems.add(_end_problems(last, trail.noted_head(connection)))
    problems.add(_pictures_behind(connection, last))
    if expected is not None and not is_met:
        problems.add(_rewritten(expected, last))
    return Verification(problems.number == 0, num_entries, last, problems.listed(), num_erased)


def _told(row: AnyRow) -> dict[str, Any] | None:
    """What an entry says; None if it cannot be read."""
    try:
        told = json.loads(row.entry)
    except (ValueError, TypeError, RecursionError):  # SQLite keeps anything in any column
        return None
    return told if isinstance(told, dict) else None


def _chain_problems(row: AnyRow, last: Head) -> Iterator[str]:
    seq, previous = last
    if row.seq > seq + 1:
        missing = f"entry {seq + 1} is" if row.seq == seq + 2 else f"entries {seq + 1} to {row.seq - 1} are"
        yield f"{missing} missing"
    elif row.seq <= seq:
        yield f"entry {row.seq} comes after entry {seq}: its number was given before"
    elif row.previous != previous:
        before = f"entry {seq}" if seq else "the gallery's identity"
        yield f"entry {row.seq} does not follow from {before}: what it is linked to was changed"
    if chained_hash(row.previous, row.entry) != row.hash:
        yield f"entry {row.seq} was changed: it does not match its hash"


def _column_problems(row: AnyRow, told: Mapping[str, Any] | None) -> Iterator[str]:
    if told is None:
        yield f"entry {row.seq} cannot be read: it is not a JSON object"
        return
    for column in ("seq", "time", "actor", "action"):
        if told.get(column) != getattr(row, column):
            yield f"entry {row.seq} does not say itself that its {column} is {getattr(row, column)!a}"


def _named_crops(told: Mapping[str, Any] | None) -> Counter[str]:
    crops = (told or {}).get("crops")
    return Counter(map(str, crops)) if isinstance(crops, Sequence) else Counter()


def _accounted(told: Mapping[str, Any] | None) -> int:
    """How many pictures an entry says are not there: those that it erased, and its own that were not kept."""
    subject = (told or {}).get("subject")
    if not isinstance(subject, Mapping):
        return 0
    counts = subject.get("counts") if told and told.get("action") == "erase" else None
    erased = counts.get("audit_crops", 0) if isinstance(counts, Mapping) else 0
    withheld = subject.get(trail.WITHHELD, 0)
    return sum(number for number in (erased, withheld) if isinstance(number, int) and number > 0)


def _crop_problems(connection: sa.Connection, named: Mapping[int, Counter[str]]) -> Iterator[str]:
    """Compares the stored pictures with their hashes; leaves in `named` what is stored no more."""
    crop = sa.cast(audit_crops.c.crop, sa.LargeBinary).label("crop")  # SQLite: may have been made a text
    stored = (
        sa.select(audit_crops.c.seq, audit_crops.c.sha256, crop)
        .where(audit_crops.c.seq.between(min(named), max(named)))
        .order_by(audit_crops.c.seq, audit_crops.c.id)
    )
    for picture in connection.execute(stored, execution_options={"yield_per": _PICTURES}):
        if crop_hash(picture.crop) != picture.sha256:
            yield f"entry {picture.seq}: the picture {picture.sha256[:12]} was changed"
        if picture.seq not in named:
            continue  # its entry is missing, which is said already
        named[picture.seq][picture.sha256] -= 1
        if named[picture.seq][picture.sha256] < 0:
            yield f"entry {picture.seq} has a picture that it does not name, {picture.sha256[:12]}"


def _end_problems(last: Head, noted: Head | None) -> Iterator[str]:
    """Whether the trail ends where it was noted to."""
    if noted is None:
        if last[0] != 0:
            yield f"the note of where the trail ends is gone (table audit_head); its last entry is {last[0]}"
    elif noted[0] > last[0]:
        yield f"the trail ends with entry {last[0]}: the entries after it, up to {noted[0]}, are missing"
    elif noted[0] < last[0]:
        yield f"the trail was noted to end with entry {noted[0]} (table audit_head), and goes on to {last[0]}"
    elif noted[1] != last[1]:
        yield f"the last entry, {last[0]}, has another hash than was noted (table audit_head)"


def _pictures_behind(connection: sa.Connection, last: Head) -> Iterator[str]:
    """Pictures come with their entry and never without."""
    behind = sa.select(sa.func.count(), sa.func.min(audit_crops.c.seq)).where(audit_crops.c.seq > last[0])
    number, first = connection.execute(behind).one()
    if number:
        yield f"the trail ends with entry {last[0]}, but {number} pictures are of entry {first} or later ones"


def _rewritten(expected: Head, last: Head) -> Iterator[str]:
    seq = expected[0]
    if seq > last[0]:
        yield f"entry {seq}, the head you noted, is not there: the trail ends with entry {last[0]}"
    else:
        yield f"entry {seq} is not the one whose hash you noted: the trail was written anew"
