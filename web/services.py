"""Everything that the handlers work with: made once, passed in."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from pipeline.config import Config
from pipeline.uploads import Uploads
from storage.gallery import Gallery
from web.clip_cache import ClipCache
from web.jobs import Jobs
from web.networks import Networks
from web.passwords import Passwords
from web.recently import Recently
from web.settings import ServerSettings


@dataclass(frozen=True)
class Services:
    """The parts of a running server.

    Attributes:
        gallery: opened for writing.
        config: names detector and tracker for questions by picture and video.
        settings: of the server.
        networks: detector and embedder, loaded when first needed.
        uploads: pictures and clips that were received.
        clips: moments cut out of recordings, in memory.
        jobs: long work.
        passwords: hashes and checks them.
        recently: what was noted a moment ago.
        turns: searches that are computed at once; more than there are cores would only slow each other down.
        clock: seconds UTC.
    """

    gallery: Gallery
    config: Config
    settings: ServerSettings
    networks: Networks
    uploads: Uploads
    clips: ClipCache
    jobs: Jobs
    passwords: Passwords
    recently: Recently = field(default_factory=Recently)
    turns: threading.Semaphore = field(
        default_factory=lambda: threading.Semaphore(max(2, os.cpu_count() or 2))
    )
    clock: Callable[[], float] = time.time
