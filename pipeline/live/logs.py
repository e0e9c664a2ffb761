"""Structured logs: a JSON object per line on standard error, and no password in any of them."""

from __future__ import annotations

import json
import logging
import math
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, TextIO

from pipeline.export import iso
from pipeline.hooks import Hooks, SourceProgress
from pipeline.live.redaction import redact

LOGGER = "retrace"
_OURS = (LOGGER, "pipeline", "storage")

_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:/{2,}[^\s\"'<>]+")


def log_event(level: int, event: str, *, camera: str | None = None, **fields: Any) -> None:
    """Log something that happened.

    Args:
        level: such as `logging.INFO`.
        event: what happened, in the same words each time.
        camera: of what camera; None: of the run.
        fields: numbers and texts that differ each time.
    """
    logging.getLogger(LOGGER).log(level, "%s", event, extra={"camera": camera, "fields": fields})


class Persistent:
    """Around each turn of a thread that must go on: an unexpected error is logged, and the next turn comes.

    Of errors in a row the 1st, 2nd, 4th, 8th, ... is logged, with its traceback.

    Args:
        event: what failed, in the same words each time.
    """

    def __init__(self, event: str) -> None:
        self._event = event
        self._errors = 0

    def __enter__(self) -> None:
        """Begin a turn."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if not isinstance(error, Exception):
            self._errors = 0
            return False
        self._errors += 1
        if self._errors & (self._errors - 1) == 0:
            extra = {"camera": None, "fields": {"failures": self._errors}}
            logging.getLogger(LOGGER).error("%s", self._event, exc_info=error, extra=extra)
        return True


def redact_text(text: str) -> str:
    """A text with every address in it as it may be shown."""
    return _URI.sub(lambda match: redact(match[0]), text)


class RedactingFilter(logging.Filter):
    """Takes the credentials out of URIs in a record's message, fields and traceback. Keeps every record."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite the record in place, so that handlers after this one cannot tell either."""
        record.msg, record.args = redact_text(_message(record)), ()
        if record.exc_info and not record.exc_text:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        record.exc_text = redact_text(record.exc_text) if record.exc_text else record.exc_text
        record.stack_info = redact_text(record.stack_info) if record.stack_info else record.stack_info
        record.fields = _redacted(getattr(record, "fields", {}))
        return True


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except (TypeError, ValueError):  # a library whose arguments do not fit its own message
        return f"{record.msg} {record.args}"


def _redacted(value: Any) -> Any:
    """`value` as JSON can have it, with no credentials in any text."""
    if isinstance(value, dict):
        return {str(key): _redacted(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [_redacted(item) for item in value]
    if value is None or isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return redact_text(str(value))


class JsonFormatter(logging.Formatter):
    """One object a line: time, level, event, camera if any, fields, and a traceback as `error`."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        line: dict[str, Any] = {
            "time": iso(record.created),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
        }
        if record.name != LOGGER:
            line["logger"] = record.name
        camera = getattr(record, "camera", None)
        if camera is not None:
            line["camera"] = camera
        line.update({key: value for key, value in getattr(record, "fields", {}).items() if key not in line})
        if record.exc_text:
            line["error"] = record.exc_text
        return json.dumps(line, ensure_ascii=False)


def json_handler(stream: TextIO | None = None) -> logging.Handler:
    """Writes JSON lines; None stands for standard error."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    return handler


@contextmanager
def logging_to(handler: logging.Handler, level: int = logging.INFO) -> Iterator[None]:
    """Send all logs, warnings and uncaught errors of threads to `handler`, redacted, for the time being."""
    handler.addFilter(RedactingFilter())
    root, ours = logging.getLogger(), [logging.getLogger(name) for name in _OURS]
    before, hook = {logger: logger.level for logger in (root, *ours)}, threading.excepthook
    root.addHandler(handler)
    root.setLevel(logging.WARNING)  # of libraries only what is wrong
    for logger in ours:
        logger.setLevel(level)
    logging.captureWarnings(True)
    threading.excepthook = _log_thread_error
    try:
        yield
    finally:
        threading.excepthook = hook
        logging.captureWarnings(False)
        for logger, old_level in before.items():
            logger.setLevel(old_level)
        root.removeHandler(handler)
        handler.close()


def _log_thread_error(given: threading.ExceptHookArgs) -> None:
    trace: TracebackType | None = given.exc_traceback
    value = given.exc_value or given.exc_type()
    name = given.thread.name if given.thread else "unknown"
    logging.getLogger(LOGGER).critical(
        "thread died",
        exc_info=(given.exc_type, value, trace),
        extra={"camera": None, "fields": {"thread": name}},
    )


class LogHooks(Hooks):
    """Notes and finished work as log lines; progress in between is what metrics are for."""

    def on_source(self, progress: SourceProgress) -> None:
        """Log a source's end."""
        if progress.finished:
            log_event(
                logging.INFO,
                "source finished",
                camera=progress.camera,
                frames=progress.frames,
                tracklets=progress.tracklets,
            )

    def on_step(self, what: str, done: int, total: int | None) -> None:
        """Log a job's end."""
        if total is not None and done >= total:
            log_event(logging.INFO, what, done=done, total=total)

    def on_note(self, text: str) -> None:
        """Log the note."""
        log_event(logging.INFO, text)


def interactive() -> bool:
    """Whether a person looks at standard error, so that a view suits better than JSON."""
    return sys.stderr.isatty()
