"""The live view of a run on a terminal's standard error, once a second, with the news above it."""

from __future__ import annotations

import logging
import threading
from datetime import datetime
from time import monotonic
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.text import Text

from pipeline.live.logs import Persistent
from pipeline.live.status import RunStatus
from pipeline.live.view import View

_EVERY_S = 1.0
_SPEAKS_FOR_ITSELF = ("reason", "detail", "picture", "codec")


class LiveView:
    """Shows a run while its context is open; a thread of its own draws it.

    Args:
        status: of the run.
        console: where to draw; standard error unless given.

    Attributes:
        console: lines printed here appear above the view.
    """

    def __init__(self, status: RunStatus, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True)
        self._view = View(status)
        self._live = Live(console=self.console, auto_refresh=False, vertical_overflow="crop")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="live view", daemon=True)

    def __enter__(self) -> LiveView:
        self._live.start()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(2.0)
        self._live.stop()

    def _run(self) -> None:
        going_on = Persistent("the view cannot be drawn")
        while not self._stop.is_set():
            with going_on:
                size = self.console.size
                self._live.update(self._view.draw(size.width, size.height, monotonic()), refresh=True)
            self._stop.wait(_EVERY_S)


class NewsHandler(logging.Handler):
    """Log records as readable lines above a `LiveView`."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        """Print one line; a traceback below it."""
        line = Text(f" {datetime.fromtimestamp(record.created):%H:%M:%S}  ", style="dim")
        camera = getattr(record, "camera", None)
        if camera:
            line.append(f"{camera}: ", style="not dim")
        line.append(record.getMessage(), style=_style(record.levelno))
        line.append(_told(getattr(record, "fields", {})))
        if record.exc_text:
            line.append(f"\n{record.exc_text}")
        self._console.print(line, highlight=False)


def _style(level: int) -> str:
    if level >= logging.ERROR:
        return "not dim red"
    return "not dim yellow" if level >= logging.WARNING else "not dim"


def _told(fields: dict[str, Any]) -> str:
    """Fields in a row, without the names of those that need none."""
    given = [
        (key, value)
        for key, value in fields.items()
        if value not in ("", None) and not (key == "reason" and fields.get("detail"))
    ]
    texts = [str(value) if key in _SPEAKS_FOR_ITSELF else f"{key} {value}" for key, value in given]
    return "".join(f"  {text}" for text in texts)
