"""Draws a run's status as lines of text with fixed columns, so that nothing jumps while numbers change."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from time import process_time, time

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from pipeline.live.rates import RateMeter, Rates
from pipeline.live.status import CameraStatus, RunStatus

_WIDE = 100  # columns from which on there is room for the stream's picture size and codec
_STATES = {
    "streaming": ("●", "green"),
    "connecting": ("◌", "yellow"),
    "waiting": ("◌", "yellow"),
    "off": ("○", "dim"),
    "ended": ("✓", "dim"),
    "failed": ("✗", "red"),
}
_UNEASY = ("waiting", "connecting", "failed")
_DROP_ALARM = 0.01

Cell = tuple[str, str]
"""Text and its style."""


class View:
    """Draws a run moment by moment; remembers what the rates need.

    Args:
        status: of the run.
    """

    def __init__(self, status: RunStatus) -> None:
        self._status = status
        self._meters: dict[str, RateMeter] = {}
        self._cpu: tuple[float, float] | None = None

    def draw(self, width: int, height: int, now: float) -> Text:
        """The view of `width` columns and at most `height` lines; `now` in monotonic seconds."""
        cameras = self._status.cameras
        rates = {
            camera.name: self._meters.setdefault(camera.name, RateMeter()).update(camera, now)
            for camera in cameras
        }
        columns = _columns(width)
        shown = _that_fit(cameras, height - 8)
        lines = [Text(), _head(self._status), Text(), _row([(title, "dim") for title in columns], columns)]
        for camera in shown:
            lines.extend(_camera(camera, rates[camera.name], columns))
        if len(shown) < len(cameras):
            lines.append(Text(f" … and {len(cameras) - len(shown)} more", style="dim"))
        lines.extend([Text(), self._totals(now)])
        for line in lines:
            line.truncate(width, overflow="ellipsis")
        return Text("\n").join(lines)

    def _totals(self, now: float) -> Text:
        cpu, before = process_time(), self._cpu
        self._cpu = (now, cpu)
        cores = f"{(cpu - before[1]) / (now - before[0]):.1f}" if before and now > before[0] else "–"
        parts = [f"{cores} of {os.cpu_count()} cores", f"{_resident_mb():.0f} MB"]
        parts += [f"{stage} queue {count}" for stage, count in dict(self._status.queued).items()]
        parts.append(f"{sum(camera.tracklets for camera in self._status.cameras)} tracklets")
        return Text(" " + "   ".join(parts), style="dim")


def _head(status: RunStatus) -> Text:
    streaming = sum(camera.state == "streaming" for camera in status.cameras)
    line = Text(" ")
    line.append("Retrace", style="bold")
    line.append(f"   {streaming} of {len(status.cameras)} cameras streaming")
    line.append(f"   up {_span(time() - status.started)}", style="dim")
    if status.paused:
        line.append(f"   paused: {status.paused}", style="bold yellow")
    return line


def _columns(width: int) -> dict[str, int]:
    """Titles and widths; a negative width is set to the left."""
    wide = width >= _WIDE
    columns = {"camera": -22 if wide else -15, "state": -12, "fps in › out": 12, "drop": 5, "idle": 5}
    columns |= {"latency s": 9, "found": 6, "seen": 6}
    return {"camera": columns.pop("camera"), "stream": -15, **columns} if wide else columns


def _row(cells: Sequence[Cell], columns: dict[str, int]) -> Text:
    line = Text(" ")
    for (text, style), width in zip(cells, columns.values(), strict=True):
        room = abs(width)
        if cell_len(text) > room:
            text = set_cell_size(text, room - 1).rstrip() + "…"
        padding = " " * (room - cell_len(text))
        line.append(text + padding if width < 0 else padding + text, style=style)
        line.append(" ")
    return line


def _camera(camera: CameraStatus, rates: Rates, columns: dict[str, int]) -> list[Text]:
    sign, style = _STATES[camera.state]
    picture = f"{camera.width}x{camera.height} {camera.codec}" if camera.width else ""
    dropped = (rates.dropped or 0) >= _DROP_ALARM
    if camera.state != "streaming":
        rates = Rates()  # what it did a few seconds ago would look like what it does
    quiet = "" if camera.state == "streaming" else "dim"
    cells = {
        "camera": (camera.name, quiet if camera.state in ("off", "ended") else ""),
        "stream": (picture, "dim"),
        "state": (f"{sign} {camera.state}", style),
        "fps in › out": (f"{_number(rates.read_fps)} › {_number(rates.analysed_fps):>4}", quiet),
        "drop": (_share(rates.dropped), "yellow" if dropped else "dim"),
        "idle": (_share(rates.idle), "dim"),
        "latency s": (f"{_bound(rates.latency_p50_s)} {_bound(rates.latency_p95_s):>4}", quiet),
        "found": (str(camera.tracklets), quiet),
        "seen": (_age(camera.last_frame), "dim"),
    }
    lines = [_row([cells[title] for title in columns], columns)]
    if camera.detail:
        lines.append(Text(" " * (2 - columns["camera"]) + camera.detail, style=style))
    return lines


def _that_fit(cameras: Sequence[CameraStatus], lines: int) -> list[CameraStatus]:
    """All cameras, or those in trouble first when there are more than lines; in their own order."""
    kept: set[str] = set()
    for camera in sorted(cameras, key=lambda camera: camera.state not in _UNEASY):
        lines -= 1 + bool(camera.detail)
        if lines < 0:
            break
        kept.add(camera.name)
    return [camera for camera in cameras if camera.name in kept]


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def _share(value: float | None) -> str:
    return f"{value:.0%}" if value is not None and value >= 0.005 else "–"


def _bound(seconds: float | None) -> str:
    return "–" if seconds is None else ("≥30" if seconds == float("inf") else f"{seconds:g}")


def _age(last_frame: float | None) -> str:
    return "–" if last_frame is None else _span(max(0.0, time() - last_frame))


def _span(seconds: float) -> str:
    """At most six letters: 0.4 s, 12 s, 5 min, 3 h, 12 d."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _resident_mb() -> float:
    statm = Path("/proc/self/statm")
    if not statm.exists():
        return 0.0
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
