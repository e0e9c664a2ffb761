"""What a terminal shows: progress and notes on standard error, tables on standard output."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.table import Table

from pipeline.hooks import Hooks, SourceProgress

TIME_IS_UP = 75  # exit code of work that stopped at its deadline and goes on when it is started again


class TerminalHooks(Hooks):
    """Progress bars on a terminal; elsewhere only the notes, a line each. A context manager."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[text]}", markup=False),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._steps = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
            transient=True,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> TerminalHooks:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()
        self._steps.stop()

    def on_source(self, progress: SourceProgress) -> None:
        if progress.camera not in self._tasks:
            self._progress.start()
            self._tasks[progress.camera] = self._progress.add_task(
                progress.camera, total=progress.seconds_total, text=""
            )
        done = progress.seconds_total if progress.finished else progress.seconds_done
        self._progress.update(self._tasks[progress.camera], completed=done, text=_progress_text(progress))

    def on_step(self, what: str, done: int, total: int | None) -> None:
        if what not in self._tasks:
            self._steps.start()
            self._tasks[what] = self._steps.add_task(what, total=total)
        self._steps.update(self._tasks[what], completed=done, total=total)

    def on_note(self, text: str) -> None:
        self._console.print(f"note: {text}", style="dim", markup=False, highlight=False, soft_wrap=True)


def show_table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print a table on standard output; cells that are numbers are set to the right."""
    listed = [list(row) for row in rows]
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for i, column in enumerate(columns):
        numeric = bool(listed) and all(isinstance(row[i], int | float) for row in listed)
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in listed:
        table.add_row(*[_cell(value) for value in row])
    # In a pipe or a file nothing is wrapped: a line stays a row.
    width = None if sys.stdout.isatty() else 10_000
    Console(highlight=False, markup=False, width=width).print(table)


def show_json(value: Any) -> None:
    """Print JSON on standard output; in ASCII where that is no UTF-8."""
    is_utf8 = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    sys.stdout.write(json.dumps(value, ensure_ascii=not is_utf8, indent=2) + "\n")


def _cell(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _progress_text(progress: SourceProgress) -> str:
    left = (
        ""
        if progress.seconds_left is None or progress.finished
        else f", {_duration(progress.seconds_left)} left"
    )
    return (
        f"{progress.frames_per_s:.1f} frames/s, {progress.realtime_factor:.1f}x real time, "
        f"{progress.tracklets} tracklets{left}"
    )


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
