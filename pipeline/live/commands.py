"""The command `run`; the libraries it needs are imported when it runs."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    import threading

_DEFAULT_ADDRESS = "127.0.0.1:9464"
_GRACE_S = 4.0  # beyond `live.stop_s`, after which nothing is waited for


class Show(StrEnum):
    """What `run` shows while it runs."""

    auto = "auto"
    view = "view"
    json = "json"


def run(
    config: Annotated[Path, typer.Option(help="YAML of cameras; see configs/cameras.example.yaml.")],
    gallery: Annotated[Path, typer.Option("--gallery", help="Folder of the gallery.")],
    listen: Annotated[
        str, typer.Option(help="HOST:PORT of /healthz and /metrics, or off.")
    ] = _DEFAULT_ADDRESS,
    show: Annotated[
        Show, typer.Option(help="A live view, or logs as JSON lines; auto: the view on a terminal.")
    ] = Show.auto,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="key.sub=value, over the configuration.")
    ] = None,
    database: Annotated[
        str | None,
        typer.Option("--database", envvar="RETRACE_DATABASE_URL", help="SQLAlchemy URL of its tables."),
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda:0, ... for detector and embedder.")] = None,
) -> None:
    """Watch cameras until told to stop (Ctrl-C or SIGTERM); recordings among them end by themselves."""
    import logging
    import threading
    from contextlib import ExitStack
    from functools import partial
    from time import time

    from pipeline.config import load_config
    from pipeline.embedding import on_device, settings_of
    from pipeline.hooks import Hooks
    from pipeline.live.health import HealthServer, parse_address
    from pipeline.live.logs import LogHooks, interactive, json_handler, log_event, logging_to
    from pipeline.live.recordings import Recordings, check_streams
    from pipeline.live.room import open_with_room
    from pipeline.live.run import Run
    from pipeline.live.settings import load_run_config
    from pipeline.live.state_log import StateLog
    from pipeline.live.status import CameraStatus, RunStatus
    from pipeline.live.terminal import LiveView, NewsHandler
    from pipeline.live.watchdog import Watchdog
    from pipeline.memory import return_large_blocks
    from storage.errors import GenerationChanged
    from storage.gallery import Gallery

    settings = load_run_config(config, set_ or [])
    asked = settings.embedder != load_config().embedder
    settings = settings.replace(embedder=on_device(settings.embedder, device))
    if settings.detector.name == "yolo":
        settings = settings.replace(detector=settings.detector.updated(device=device))
    return_large_blocks()
    stop = threading.Event()
    _stop_on_signals(stop, settings.live.stop_s + _GRACE_S)
    if listen != "off":
        parse_address(listen)
    as_view = show is Show.view or (show is Show.auto and interactive())
    status = RunStatus(time(), [CameraStatus(camera.name, "", "waiting") for camera in settings.cameras])
    url = database or settings.storage.database_url
    open_gallery = partial(Gallery.open, gallery, url=url, create=True)
    if not gallery.exists():
        check_streams(settings)  # wrong input must not leave an empty gallery behind
        Recordings(settings, Hooks())
    with ExitStack() as stack:
        if as_view:
            view = LiveView(status)
            stack.enter_context(logging_to(NewsHandler(view.console)))
            stack.enter_context(view)
        else:
            stack.enter_context(logging_to(json_handler()))
        if listen != "off":
            stack.enter_context(HealthServer(status, listen))
        stack.enter_context(Watchdog(status))
        stack.enter_context(StateLog(status))
        opened = open_with_room(open_gallery, gallery, settings.retention, status, stop)
        if opened is None:
            return
        stack.enter_context(opened)
        while not stop.is_set():
            current = opened.generations.current()
            if current is not None and not asked:
                settings = settings.replace(embedder=on_device(settings_of(current.spec), device))
            try:
                Run(opened, settings, LogHooks(), status).run(stop)
                break
            except GenerationChanged:
                log_event(logging.INFO, "the gallery has another model now: the cameras are opened anew")


def _stop_on_signals(stop: threading.Event, within_s: float) -> None:
    """SIGTERM and Ctrl-C end the run; it is left when its time is up, or with the second signal.

    A thread waits for the byte that the interpreter writes when a signal comes: handlers in Python run in the
    main thread only, which may be waiting for a database.
    """
    import os
    import signal
    import socket
    import threading
    from contextlib import suppress

    told, tells = socket.socketpair()
    tells.setblocking(False)
    signal.set_wakeup_fd(tells.fileno())
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)

    def wait() -> None:
        told.recv(1)
        stop.set()
        told.settimeout(within_s)
        with suppress(TimeoutError):
            told.recv(1)
        tells.close()
        os._exit(1)  # the gallery is whole at any moment

    threading.Thread(target=wait, name="signals", daemon=True).start()
