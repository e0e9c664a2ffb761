"""HLS, which comes in segments of seconds: how far behind it is, and its pictures at their rate.

A player begins some segments before the end of the playlist, so its first picture is that old. FFmpeg does
not tell what the playlist says, so it is read here as well: just when a new segment appears, which is when
the end of the playlist was taken.
"""

from __future__ import annotations

import math
import re
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urljoin, urlsplit

FIRST_OF_LAST = 3  # FFmpeg begins with the third segment from the end (its `live_start_index`)
_TAG = re.compile(r"^#(EXT[A-Z0-9-]*):?(.*)$")
_POLL_S = (0.1, 0.5)
_PATIENCE = 3  # times the longest segment without a new one
_EARLY_S, _LATE_S = 1.0, 3.0  # a sender's clock that is further off than this is not believed
_LONGEST_HOLD_S = 10.0
_JITTER_S = 0.1
_SLOWEST = 5e-4  # of a sender's clock


@dataclass(frozen=True, slots=True)
class Playlist:
    """What a server offers now.

    Attributes:
        durations: of its segments in seconds.
        dates: when each segment was taken by the sender's clock, seconds UTC; None where it is not said.
        end: number of the segment that comes next.
        target_s: longest duration of a segment.
        live: more segments will come.
        variant: address of a playlist with the same pictures, when this one lists playlists; else "".
    """

    durations: Sequence[float]
    dates: Sequence[float | None]
    end: int
    target_s: float
    live: bool
    variant: str = ""

    @classmethod
    def parse(cls, text: str) -> Playlist:
        """Read an M3U8.

        Raises:
            ValueError: it is none.
        """
        if not text.startswith("#EXTM3U"):
            raise ValueError("not an HLS playlist")
        tags: dict[str, str] = {}
        durations: list[float] = []
        dates: list[float | None] = []
        date: float | None = None
        for line in filter(None, map(str.strip, text.splitlines())):
            if match := _TAG.match(line):
                tags[match[1]] = match[2]
                date = _seconds_utc(match[2]) if match[1] == "EXT-X-PROGRAM-DATE-TIME" else date
            elif "EXT-X-STREAM-INF" in tags and not line.startswith("#"):
                return cls((), (), 0, 0.0, True, line)
            elif not line.startswith("#"):
                durations.append(float(tags.get("EXTINF", "0").partition(",")[0]))
                dates.append(date)
                date = None if date is None else date + durations[-1]
        first, target_s = int(tags.get("EXT-X-MEDIA-SEQUENCE", 0)), float(tags.get("EXT-X-TARGETDURATION", 0))
        return cls(durations, dates, first + len(durations), target_s, "EXT-X-ENDLIST" not in tags)


@dataclass(frozen=True, slots=True)
class LiveEdge:
    """A playlist and when it was read, monotonic seconds."""

    playlist: Playlist
    read_at: float

    def behind_s(self, arrival: float) -> float:
        """Seconds from the taking of the first picture to its arrival (monotonic seconds).

        The sender's clock says it where it can be right, the durations of the segments else.
        """
        if not self.playlist.live:
            return 0.0
        first = max(len(self.playlist.durations) - FIRST_OF_LAST, 0)
        by_durations = arrival - self.read_at + sum(self.playlist.durations[first:])
        date = next(iter(self.playlist.dates[first:]), None)
        if date is None:
            return by_durations
        by_date = time.time() - (time.monotonic() - arrival) - date
        latest = by_durations + self.playlist.target_s + _LATE_S
        return by_date if by_durations - _EARLY_S <= by_date <= latest else by_durations


def is_playlist(uri: str) -> bool:
    """Whether an address looks like that of a playlist."""
    return urlsplit(uri).path.lower().endswith((".m3u8", ".m3u"))


def find_live_edge(uri: str, fetch: Callable[[str], str], stop: threading.Event) -> LiveEdge:
    """Wait until a live playlist has a new segment.

    Args:
        uri: of the playlist, or of one that lists others.
        fetch: gives the text that is at an address.
        stop: ends the wait.

    Raises:
        ValueError: it is no playlist.
        TimeoutError: it is not live any more, although it does not say so: what it has may be of any time.
    """
    first = Playlist.parse(fetch(uri))
    if first.variant:
        uri = urljoin(uri, first.variant)
        first = Playlist.parse(fetch(uri))
    target_s, begin, playlist = max(first.target_s, 1.0), time.monotonic(), first
    while playlist.live and playlist.end == first.end and not stop.is_set():
        if time.monotonic() - begin > _PATIENCE * target_s:
            raise TimeoutError(f"no new segment for {_PATIENCE * target_s:g} s")
        stop.wait(min(max(target_s / 10, _POLL_S[0]), _POLL_S[1]))
        playlist = Playlist.parse(fetch(uri))
    return LiveEdge(playlist, time.monotonic())


class Pace:
    """Holds pictures until their turn, as a player does, and knows how far behind they are then."""

    def __init__(self, edge: LiveEdge) -> None:
        self._edge = edge
        self._ahead: float | None = None
        self._behind_s = self._began = self._slipped_s = 0.0

    def hold(self, pts_s: float | None, arrival: float, stop: threading.Event) -> tuple[float, float]:
        """Wait for a picture's turn.

        Returns:
            Its arrival (monotonic seconds), which is now, and how many seconds before that it was taken.
        """
        if self._ahead is None:
            self._behind_s, self._began = self._edge.behind_s(arrival), arrival
        if pts_s is None:
            return arrival, self._behind_s
        late = math.inf if self._ahead is None else arrival - pts_s - self._ahead
        if late > 0 or late < -_LONGEST_HOLD_S:  # the first one, a segment that came late, or a leap
            self._ahead = arrival - pts_s
            self._fall_behind(late, arrival)
            return arrival, self._behind_s
        stop.wait(-late)
        return time.monotonic(), self._behind_s

    def _fall_behind(self, late: float, arrival: float) -> None:
        """A stall makes all that follows late; jitter, and a sender's clock that runs slow, do not."""
        if not 0 < late <= _LONGEST_HOLD_S:
            return
        if self._slipped_s + late <= _JITTER_S + _SLOWEST * (arrival - self._began):
            self._slipped_s += late
        else:
            self._behind_s += late


def _seconds_utc(text: str) -> float | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
