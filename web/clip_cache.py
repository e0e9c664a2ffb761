"""Moments cut out of recordings, kept in memory for a while: players ask for one in many pieces."""

from __future__ import annotations

import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from time import monotonic

from pipeline.clips import tracklet_clip
from storage.gallery import Gallery
from web.busy import ClipsBusy

_MAX_BYTES = 128_000_000
_MAX_AGE_S = 300.0


_LONGEST_WAIT_S = 5.0


class ClipCache:
    """MP4 files by tracklet. Nothing of them is left on the disk, so that nothing outlives an erasure."""

    def __init__(self, gallery: Gallery, clock: Callable[[], float] = monotonic) -> None:
        self._gallery, self._clock = gallery, clock
        self._clips: OrderedDict[int, tuple[float, bytes]] = OrderedDict()
        self._cutting = threading.Lock()  # one at a time: encoding takes every core

    def get(self, tracklet_id: int) -> bytes | None:
        """The moment of a tracklet, None where its recording is not at hand.

        Raises:
            TrackletNotFound: it does not exist (any more).
            ClipsBusy: too many are asked for at once.
        """
        self._gallery.tracklet(tracklet_id)  # an erased one must not be shown from memory
        if not self._cutting.acquire(timeout=_LONGEST_WAIT_S):
            raise ClipsBusy("other videos are being cut: try again in a moment")
        try:
            self._forget_old()
            if tracklet_id in self._clips:
                return self._clips[tracklet_id][1]
            clip = self._cut(tracklet_id)
            if clip is not None:
                self._clips[tracklet_id] = (self._clock(), clip)
            return clip
        finally:
            self._cutting.release()

    def forget(self, ids: set[int]) -> None:
        """Drop the moments of tracklets that were erased."""
        with self._cutting:
            for tracklet_id in ids & self._clips.keys():
                del self._clips[tracklet_id]

    def _cut(self, tracklet_id: int) -> bytes | None:
        with tempfile.TemporaryDirectory(dir=self._gallery.work_folder) as folder:
            made = tracklet_clip(self._gallery, tracklet_id, Path(folder) / "clip.mp4")
            return None if made is None else made.read_bytes()

    def _forget_old(self) -> None:
        while self._clips:
            made, _ = next(iter(self._clips.values()))
            too_many = sum(len(clip) for _, clip in self._clips.values()) > _MAX_BYTES
            if not too_many and self._clock() - made < _MAX_AGE_S:
                return
            self._clips.popitem(last=False)
