"""When a camera is analysed: spans of the week as the clock on the wall shows them, summer time included."""

from __future__ import annotations

import difflib
import re
import zoneinfo
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
EXAMPLES = "'mon-fri 07:00-19:00', 'sat,sun 10:00-14:00', '22:00-06:00' or '24h'"

_DAY_MIN = 24 * 60
_WEEK_MIN = 7 * _DAY_MIN
_TIMES = re.compile(r"(\d{1,2}):(\d{2})\s*-\s*(\d{1,2}):(\d{2})")
_SEARCH_DAYS = 16  # a span that a change of the clock leaves out comes back a week later


@dataclass(frozen=True)
class Hours:
    """Spans of the week in one time zone.

    Attributes:
        zone: where the wall is.
        spans: (first, last) minutes of the week from Monday 00:00, last excluded; none: always open.
    """

    zone: ZoneInfo
    spans: tuple[tuple[int, int], ...]

    @classmethod
    def parse(cls, texts: Sequence[str], timezone: str) -> Hours:
        """Read texts such as 'mon-fri 07:00-19:00'; what any of them opens is open.

        Args:
            texts: days (none: every day), then times or `24h`; a span that ends before it begins ends on
                the next day. No text at all: always.
            timezone: IANA name, such as Europe/Berlin.

        Raises:
            ValueError: a text cannot be read, or no zone has this name.
        """
        spans = {span for text in texts for span in _spans(text)}
        return cls(named_zone(timezone), tuple(sorted(spans)))

    def open_at(self, seconds_utc: float) -> bool:
        """Whether the wall's clock is in one of the spans."""
        now = datetime.fromtimestamp(seconds_utc, self.zone)
        minute = now.weekday() * _DAY_MIN + now.hour * 60 + now.minute
        return not self.spans or any(first <= minute < last for first, last in self.spans)

    def next_change(self, seconds_utc: float) -> float | None:
        """When it opens or closes next, seconds UTC; None: never."""
        now_open = self.open_at(seconds_utc)
        if not self.spans or _is_whole_week(self.spans):
            return None
        today = datetime.fromtimestamp(seconds_utc, self.zone).date()
        for days in range(-1, _SEARCH_DAYS):
            for moment in sorted(self._moments(today + timedelta(days=days))):
                if moment > seconds_utc and self.open_at(moment) != now_open:
                    return moment
        return None

    def _moments(self, day: date) -> Iterator[float]:
        """The instants of a day at which it may open or close: ends of spans, and changes of the clock."""
        midnight = datetime.combine(day, time(), self.zone)
        for minute in {end % _WEEK_MIN for span in self.spans for end in span}:
            if minute // _DAY_MIN == day.weekday():
                wall = datetime.combine(day, time(minute % _DAY_MIN // 60, minute % 60), self.zone)
                yield wall.timestamp()
                yield wall.replace(fold=1).timestamp()  # an hour that the clock shows twice
        yield from _clock_changes(midnight)


def named_zone(name: str) -> ZoneInfo:
    """The time zone of an IANA name.

    Raises:
        ValueError: there is none; the message names those that look like it.
    """
    try:
        return ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        near = difflib.get_close_matches(name, zoneinfo.available_timezones(), 3, 0.7)
        hint = f"did you mean {' or '.join(near)}?" if near else "names are like Europe/Berlin or UTC"
        raise ValueError(f"no time zone is named '{name}'; {hint}") from error


def _clock_changes(midnight: datetime) -> Iterator[float]:
    """Instants in the day after a midnight at which the zone's distance from UTC changes."""
    zone, begin = midnight.tzinfo, int(midnight.timestamp())
    hours = [begin + 3600 * hour for hour in range(27)]
    for low, high in pairwise(hours):
        before, after = (datetime.fromtimestamp(t, zone).utcoffset() for t in (low, high))
        while before != after and high - low > 1:
            middle = (low + high) // 2
            same = datetime.fromtimestamp(middle, zone).utcoffset() == before
            low, high = (middle, high) if same else (low, middle)
        if before != after:
            yield float(high)


def _spans(text: str) -> Iterator[tuple[int, int]]:
    digit = re.search(r"\d", text)
    split = digit.start() if digit else len(text)
    first, last = _times(text[split:].strip().lower(), text)
    for day in _days(text[:split].strip().lower(), text):
        begin, end = day * _DAY_MIN + first, day * _DAY_MIN + last
        yield begin, min(end, _WEEK_MIN)
        if end > _WEEK_MIN:  # Sunday's night ends on Monday
            yield 0, end - _WEEK_MIN


def _times(text: str, whole: str) -> tuple[int, int]:
    """First and last minute of the day; over midnight, the last one is beyond the day's end."""
    if text == "24h":
        return 0, _DAY_MIN
    match = _TIMES.fullmatch(text)
    if match is None:
        raise _unreadable(whole, f"'{text}' is not a span of time" if text else "it has no times")
    hour, minute, end_hour, end_minute = map(int, match.groups())
    first, last = hour * 60 + minute, end_hour * 60 + end_minute
    if minute > 59 or end_minute > 59 or first >= _DAY_MIN or last > _DAY_MIN:
        raise _unreadable(whole, "a day has the times 00:00 to 24:00")
    if first == last:
        raise _unreadable(whole, "it ends when it begins; the whole day is '24h'")
    return first, last if last > first else last + _DAY_MIN


def _days(text: str, whole: str) -> list[int]:
    """Numbers of the days, Monday is 0."""
    if not text:
        return list(range(7))
    days = []
    for part in text.replace(" ", "").split(","):
        first, dash, last = part.partition("-")
        for name in (first, last) if dash else (first,):
            if name not in DAYS:
                raise _unreadable(whole, f"'{name}' is not one of {', '.join(DAYS)}")
        begin = DAYS.index(first)
        length = (DAYS.index(last) - begin) % 7 if dash else 0
        days += [(begin + i) % 7 for i in range(length + 1)]
    return days


def _unreadable(text: str, why: str) -> ValueError:
    return ValueError(f"cannot read the hours '{text}': {why}; write {EXAMPLES}")


def _is_whole_week(spans: Sequence[tuple[int, int]]) -> bool:
    reached = 0
    for first, last in sorted(spans):
        if first > reached:
            return False
        reached = max(reached, last)
    return reached >= _WEEK_MIN
