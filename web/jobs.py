"""Long work in the background of the server: one at a time, with progress for all to see."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from pipeline.hooks import Hooks

_log = logging.getLogger(__name__)

JobState = Literal["running", "done", "failed", "stopped"]


class JobRunning(ValueError):
    """Another job is running; jobs take turns."""


class _Stopped(Exception):
    """The server is closing."""


@dataclass(frozen=True)
class Job:
    """What is known of the newest job.

    Attributes:
        kind: such as "reindex".
        step: what it is doing.
        done, total: how far it is; total None while unknown.
        message: its result, or why it failed.
        started: seconds UTC.
        number: counts changes, so that a listener knows what it has told already.
    """

    kind: str
    step: str
    done: int
    total: int | None
    state: JobState
    message: str
    started: float
    number: int = 0


class Jobs:
    """Runs one job at a time in a thread of its own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closing = threading.Event()
        self._job: Job | None = None

    @property
    def newest(self) -> Job | None:
        """The job that runs, or ran last."""
        return self._job

    def start(self, kind: str, work: Callable[[Hooks], str]) -> Job:
        """Begin a job.

        Args:
            work: does it, tells the hooks how far it is, and returns its result as a sentence.

        Raises:
            JobRunning: another one has not ended.
        """
        with self._lock:
            if self._thread is not None and self._thread.is_alive():
                raise JobRunning("another job is running: wait for it to end")
            number = self._job.number + 1 if self._job else 1
            self._job = Job(kind, "starting", 0, None, "running", "", time.time(), number)
            self._thread = threading.Thread(target=self._run, args=(work,), name=f"job {kind}", daemon=True)
            self._thread.start()
            return self._job

    def wait(self, wait_s: float) -> None:
        """Wait for the job that runs, if there is one."""
        if self._thread is not None:
            self._thread.join(wait_s)

    def close(self, wait_s: float = 10.0) -> None:
        """Stop the job at its next step; what it did so far stays."""
        self._closing.set()
        self.wait(wait_s)

    def _run(self, work: Callable[[Hooks], str]) -> None:
        try:
            message = work(_JobHooks(self._step))
        except _Stopped:
            self._change(state="stopped", message="the server was stopped; start it again to go on")
        except Exception as error:  # noqa: BLE001 - the outermost frame of the thread
            _log.error("a job failed", exc_info=error)
            self._change(state="failed", message=" ".join(str(error).split()) or type(error).__name__)
        else:
            self._change(state="done", message=message)

    def _step(self, step: str, done: int, total: int | None) -> None:
        if self._closing.is_set():
            raise _Stopped
        self._change(step=step, done=done, total=total)

    def _change(self, **values: object) -> None:
        assert self._job is not None
        self._job = replace(self._job, number=self._job.number + 1, **values)  # type: ignore[arg-type]


class _JobHooks(Hooks):
    def __init__(self, step: Callable[[str, int, int | None], None]) -> None:
        self._step = step

    def on_step(self, name: str, done: int, total: int | None) -> None:
        self._step(name, done, total)
