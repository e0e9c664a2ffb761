"""Puts the parts of a server together."""

from __future__ import annotations

import time
from collections.abc import Callable

from pipeline.config import Config
from pipeline.uploads import Uploads
from storage.gallery import Gallery
from web.clip_cache import ClipCache
from web.jobs import Jobs
from web.networks import Networks
from web.passwords import Passwords
from web.services import Services
from web.settings import ServerSettings


def assemble(
    gallery: Gallery,
    config: Config,
    settings: ServerSettings,
    device: str | None = None,
    clock: Callable[[], float] = time.time,
    passwords: Passwords | None = None,
) -> Services:
    """The parts of a server over one gallery.

    Args:
        gallery: opened for writing.
        config: names detector and tracker.
        settings: of the server.
        device: where networks run; None: the GPU if there is one.
        clock: seconds UTC.
        passwords: hashes and checks them; None: as much work as a secret deserves.
    """
    gallery.work_folder.mkdir(exist_ok=True)
    return Services(
        gallery=gallery,
        config=config,
        settings=settings,
        networks=Networks(gallery, config, device),
        uploads=Uploads(gallery.work_folder / "uploads"),
        clips=ClipCache(gallery),
        jobs=Jobs(),
        passwords=passwords or Passwords(),
        clock=clock,
    )
