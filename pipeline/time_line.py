"""Where and when people were seen, as marks on one time axis for all cameras, for pages without scripts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from pipeline.narrowing import Span
from storage.records import Hit

_TICKS = (0, 25, 50, 75, 100)  # per cent of the time axis
_MIN_MARK_PERCENT = 0.6  # a tracklet of a second on a line of a day must still be seen


@dataclass(frozen=True)
class Mark:
    """A span on a camera's line, in per cent of its width; the query's own has no rank."""

    rank: int | None
    left: float
    width: float
    label: str

    def covers(self, other: Mark) -> bool:
        """Whether the two lie over each other."""
        return self.left < other.left + other.width and other.left < self.left + self.width


def lanes(own: Sequence[Span], hits: Sequence[Hit]) -> list[tuple[str, list[list[Mark]]]]:
    """Per camera, by name, the query's own appearances and the hits as marks, numbered from 1.

    Marks that would cover each other stand in rows of their own, the best hit in the first.
    """
    first, length = _axis(own, hits)
    found: dict[str, list[list[Mark]]] = {}

    def mark(camera: str, rank: int | None, start: float, end: float, label: str) -> None:
        width = max(_MIN_MARK_PERCENT, 100 * (end - start) / length)
        left = min(100 * (start - first) / length, 100 - width)
        new = Mark(rank, round(left, 3), round(width, 3), label)
        rows = found.setdefault(camera, [])
        for row in rows:
            if not any(new.covers(other) for other in row):
                row.append(new)
                return
        rows.append([new])

    for camera, start, end in own:
        mark(camera, None, start, end, f"the query, {clock(start)} to {clock(end)}")
    for rank, hit in enumerate(hits, start=1):
        record = hit.record
        label = f"number {rank}, {clock(record.start)}, {hit.similarity:.3f}"
        mark(record.camera, rank, record.start, record.end, label)
    return sorted(found.items())


def ticks(own: Sequence[Span], hits: Sequence[Hit]) -> list[tuple[float, str]]:
    """Places on the axis, in per cent, and their times."""
    first, length = _axis(own, hits)
    one_day = clock(first)[:10] == clock(first + length)[:10]
    texts = [clock(first + length * percent / 100) for percent in _TICKS]
    return [
        (percent, text[11:] if one_day else text[:16]) for percent, text in zip(_TICKS, texts, strict=True)
    ]


def clock(seconds: float) -> str:
    """Seconds UTC as a date and a time to read."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _axis(own: Sequence[Span], hits: Sequence[Hit]) -> tuple[float, float]:
    spans = [*((hit.record.start, hit.record.end) for hit in hits), *(span[1:] for span in own)]
    if not spans:
        return 0.0, 1.0
    first = min(start for start, _ in spans)
    return first, max(max(end for _, end in spans) - first, 1.0)
