"""How a run tells what it is doing, without printing: pass a `Hooks` with the methods you care for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SourceProgress:
    """Where one source stands.

    Attributes:
        camera: name of the camera.
        seconds_done: video time analysed so far.
        seconds_total: length of the source, None when the container does not say.
        frames: frames analysed so far.
        tracklets: tracklets kept so far.
        frames_per_s: analysed frames per second of wall time since the source started.
        realtime_factor: video seconds per wall second.
        seconds_left: estimate of the wall time left, None when the length is unknown.
        finished: no more frames will come.
    """

    camera: str
    seconds_done: float
    seconds_total: float | None
    frames: int
    tracklets: int
    frames_per_s: float
    realtime_factor: float
    seconds_left: float | None
    finished: bool = False


class Hooks:
    """Every method does nothing; override what you want to see. Called from one thread."""

    def on_source(self, progress: SourceProgress) -> None:
        """A source moved on; called at most a few times a second for each."""

    def on_step(self, what: str, done: int, total: int | None) -> None:
        """A counted job (re-indexing, a query's video) moved on."""

    def on_note(self, text: str) -> None:
        """Something a user should read: a skipped source, a fallback in use, a damaged file."""
