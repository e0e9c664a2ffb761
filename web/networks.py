"""Detector and embedder of the server: loaded when first needed, used by one request at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from pipeline import plugins
from pipeline.config import Config
from pipeline.embedding import Embedder
from pipeline.query import load_embedder
from pipeline.source_run import Detector
from storage.gallery import Gallery
from web.busy import NetworksBusy

_MAX_WAITING = 4  # more would fill the server's threads, and it would answer nobody
_LONGEST_WAIT_S = 20.0


class Networks:
    """The networks of one gallery's server.

    Args:
        gallery: says which model made its embeddings.
        config: names the detector.
        device: where they run; None: the GPU if there is one.
    """

    def __init__(self, gallery: Gallery, config: Config, device: str | None = None) -> None:
        self._gallery, self._config, self._device = gallery, config, device
        self._embedder: Embedder | None = None
        self._detector: Detector | None = None
        self._busy = threading.RLock()  # their libraries use every core for one request already
        self._waiting = threading.BoundedSemaphore(_MAX_WAITING)

    def load_embedder(self) -> Embedder:
        """The model that made the gallery's current embeddings.

        Raises:
            QueryError: the gallery is empty, or the model's files are not what they were.
            NetworksBusy: likewise for what follows.
        """
        with self._turn():
            current = self._gallery.generations.current_model()
            if self._embedder is None or current is None or not self._embedder.spec.same_as(current.spec):
                self._embedder = load_embedder(self._gallery, self._device)
            return self._embedder

    @contextmanager
    def embedder(self) -> Iterator[Embedder]:
        """As `load_embedder`, for this thread alone."""
        with self._turn():
            yield self.load_embedder()

    @contextmanager
    def detector(self) -> Iterator[Detector]:
        """The detector, for this thread alone."""
        with self._turn():
            if self._detector is None:
                self._detector = plugins.build("detectors", self._config.detector)
            yield self._detector

    @contextmanager
    def _turn(self) -> Iterator[None]:
        busy = NetworksBusy("other pictures are being compared: try again in a moment")
        if not self._waiting.acquire(blocking=False):
            raise busy
        try:
            if not self._busy.acquire(timeout=_LONGEST_WAIT_S):
                raise busy
            try:
                yield
            finally:
                self._busy.release()
        finally:
            self._waiting.release()
