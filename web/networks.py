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

    def load_embedder(self) -> Embedder:
        """The model that made the gallery's current embeddings.

        Raises:
            QueryError: the gallery is empty, or the model's files are not what they were.
        """
        with self._busy:
            current = self._gallery.current_generation()
            if self._embedder is None or current is None or not self._embedder.spec.same_as(current.spec):
                self._embedder = load_embedder(self._gallery, self._device)
            return self._embedder

    @contextmanager
    def embedder(self) -> Iterator[Embedder]:
        """As `load_embedder`, for this thread alone."""
        with self._busy:
            yield self.load_embedder()

    @contextmanager
    def detector(self) -> Iterator[Detector]:
        """The detector, for this thread alone."""
        with self._busy:
            if self._detector is None:
                self._detector = plugins.build("detectors", self._config.detector)
            yield self._detector
