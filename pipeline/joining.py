"""Which tracklets of one source continue which: news of parts becomes news of whole tracklets."""

from __future__ import annotations

from dataclasses import replace

from pipeline.stitching import Stitcher, join
from pipeline.types import Tracklet, TrackletUpdate

Key = tuple[int, int]


class Joiner:
    """Follows the updates of one source in their order; what it decides depends on them alone.

    Args:
        stitcher: compares tracklets by appearance.
        num_crops: pictures kept of a joined tracklet.
        memory_s: how long after its end a tracklet may still be offered as an earlier one, in seconds.
    """

    def __init__(self, stitcher: Stitcher, num_crops: int, memory_s: float) -> None:
        self._stitcher, self._num_crops, self._memory_s = stitcher, num_crops, memory_s
        self._before: dict[Key, Tracklet] = {}  # of a tracklet in view: all that it continues
        self._whole: dict[Key, Tracklet] = {}  # of a finished tracklet that continued another: both
        self._continued: dict[Key, float] = {}  # those that have a continuation, and when they ended

    def whole(self, update: TrackletUpdate) -> TrackletUpdate:
        """The same news of all that the tracklet continues and itself, under the key of the first."""
        part = update.tracklet
        if update.earlier:
            self._decide(part, update.earlier)
        self._forget(float(part.timestamps[-1]) - self._memory_s)
        before = self._before.get(part.key)
        if before is None:
            return update
        joined = join(before, part, self._num_crops)
        if update.finished:
            del self._before[part.key]
            self._whole[part.key] = joined
        return replace(update, tracklet=joined)

    def _decide(self, part: Tracklet, earlier: tuple[Tracklet, ...]) -> None:
        free = [other for other in earlier if other.key not in self._continued]
        found = self._stitcher.match(part, free) if free else None
        if found is not None:
            chosen = free[found]
            self._continued[chosen.key] = float(chosen.timestamps[-1])
            self._before[part.key] = self._whole.get(chosen.key, chosen)

    def _forget(self, before: float) -> None:
        self._before = {key: part for key, part in self._before.items() if part.timestamps[-1] >= before}
        self._continued = {key: end for key, end in self._continued.items() if end >= before}
        self._whole = {key: whole for key, whole in self._whole.items() if whole.timestamps[-1] >= before}
