"""Broken tracks of one person in one camera, joined by place, time and appearance.

A track continues another one only when three things agree: one person could have walked from one to the
other; the two look more alike than is usual for two people; and neither looks as much like anybody else.
Two tracks that were in view at the same time are two people for certain. They say how alike people look
in this camera, be the weather grey or everybody in one uniform.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.config import StitchSettings
from pipeline.crops import quality
from pipeline.embedding import Embedder, Embedding, embed_tracklets
from pipeline.types import Tracklet

_END_BOXES = 5  # of a track's end tell its place and height; single boxes jump
_SPEED_S = 1.0  # of a track's end tell where it was going
_REMEMBERED = 64
_ENOUGH_PAIRS = 20  # of different people tell their mean similarity and its spread
_SPREADS = 2.5

MEASURED_FLOORS = {
    (
        "ste_nvan",
        "f86de0c056ce25256dcfecbcfbe15171c6c00b3ea4b9840f2c02d4ebfaa52c49",
    ): 0.70,  # ste_nvan_r50_synthetic
    ("colour_stripes", ""): 0.96,
}
"""Embedder and hash of its weights -> similarity that two people seldom reach (`benchmarks/stitching.py`)."""


def plausible(earlier: Tracklet, later: Tracklet, settings: StitchSettings) -> bool:
    """Whether one person could have been both, by time, place and size alone.

    The later track must begin within `max_gap_s` after the earlier one's end, with boxes of like height,
    and at a place that a person of this height could have walked to: from where the earlier one ended, or
    from where it was heading.
    """
    gap = float(later.timestamps[0] - earlier.timestamps[-1])
    if earlier.track_id == later.track_id or not 0 < gap <= settings.max_gap_s:
        return False  # of one id, the builder has cut them on purpose
    last, first = earlier.xyxy[-_END_BOXES:], later.xyxy[:_END_BOXES]
    heights = [float(np.median(boxes[:, 3] - boxes[:, 1])) for boxes in (last, first)]
    if max(heights) > settings.max_size_ratio * min(heights):
        return False
    height = max(heights)
    start, end = _centre(earlier.xyxy[-1]), _centre(later.xyxy[0])
    reach = (settings.slack + settings.max_speed * gap) * height
    return _distance_to_segment(end, start, start + _velocity(earlier) * gap) <= reach


def join(earlier: Tracklet, later: Tracklet, num_crops: int) -> Tracklet:
    """One tracklet of two: the earlier one's key, its `num_crops` crops spread evenly over time.

    Raises:
        ValueError: the later one does not begin after the earlier one's end, or is of another camera.
    """
    if earlier.camera != later.camera or later.timestamps[0] <= earlier.timestamps[-1]:
        raise ValueError(f"track {later.track_id} of {later.camera} does not follow track {earlier.track_id}")
    xyxy = np.concatenate([earlier.xyxy, later.xyxy])
    timestamps = np.concatenate([earlier.timestamps, later.timestamps])
    confidence = np.concatenate([earlier.confidence, later.confidence])
    positions = np.concatenate([earlier.crop_positions, later.crop_positions + len(earlier.timestamps)])
    kept = _spread(timestamps[positions], num_crops)
    crops, positions = earlier.crops + later.crops, positions[kept]
    heights = xyxy[positions, 3] - xyxy[positions, 1]
    return Tracklet(
        camera=earlier.camera,
        track_id=earlier.track_id,
        frame_indices=np.concatenate([earlier.frame_indices, later.frame_indices]),
        timestamps=timestamps,
        xyxy=xyxy,
        confidence=confidence,
        crops=tuple(crops[i] for i in kept),
        crop_positions=positions.astype(np.int32),
        quality=quality(xyxy, confidence),
        thumbnail=int(np.argmax(confidence[positions] * heights)),
    )


@dataclass(frozen=True, slots=True)
class _Known:
    """What is remembered of a track: when it was in view, in seconds UTC, and how it looks."""

    first: float
    last: float
    embedding: Embedding

    def with_company_of(self, other: _Known) -> bool:
        """Whether both were in view at the same time."""
        return self.first <= other.last and other.first <= self.last


class Stitcher:
    """Decides which tracks continue which, of one source; used by one thread.

    It remembers how the tracks looked that it was shown, the latest 64, so its answers depend on those and
    on their order, and on nothing else.
    """

    def __init__(self, embedder: Embedder, settings: StitchSettings, batch_clips: int) -> None:
        self._embedder, self._settings, self._batch_clips = embedder, settings, batch_clips
        spec = embedder.spec
        measured = MEASURED_FLOORS.get((spec.name, spec.weights_hash))
        self._floor = measured if settings.min_similarity is None else settings.min_similarity
        self._known: OrderedDict[tuple[int, int], _Known] = OrderedDict()

    def match(self, later: Tracklet, earlier: Sequence[Tracklet]) -> int | None:
        """Which of the earlier tracklets `later` continues.

        Args:
            later: a track with its first full clip at least.
            earlier: tracklets of the same camera that ended before it began. One that is not plausible is
                never chosen, but it may be found to be the better one by its looks.

        Returns:
            Index of the earlier tracklet, None where there is none or it is not certain.
        """
        choices = [i for i, one in enumerate(earlier) if plausible(one, later, self._settings)]
        if not self._settings.enabled or not choices:
            return None
        self._remember([later, *earlier])
        looks = [self._known.get(one.key) for one in earlier]
        own = self._known.get(later.key)
        scores = {
            i: _alike(own, look) for i, look in enumerate(looks) if own is not None and look is not None
        }
        best = max((i for i in choices if i in scores), key=lambda i: scores[i], default=None)
        if best is None or own is None:
            return None
        rivals = [score for i, score in scores.items() if i != best]
        others = [*rivals, *self._strangers(own), *self._strangers(self._known[earlier[best].key])]
        needed = max([self._usual_limit(), *(score + self._settings.margin for score in others)])
        return best if scores[best] >= needed else None

    def _usual_limit(self) -> float:
        """What two people seldom reach: measured for these weights, or else learnt from whom it was shown."""
        if self._floor is not None:
            return self._floor
        known = list(self._known.values())
        pairs = [_alike(a, b) for i, a in enumerate(known) for b in known[:i] if a.with_company_of(b)]
        return float(np.mean(pairs) + _SPREADS * np.std(pairs)) if len(pairs) >= _ENOUGH_PAIRS else np.inf

    def _strangers(self, track: _Known) -> list[float]:
        """Similarities to those who were in view with a track."""
        return [
            _alike(track, other)
            for other in self._known.values()
            if other is not track and track.with_company_of(other)
        ]

    def _remember(self, tracklets: Sequence[Tracklet]) -> None:
        """Embed what is new, or has grown since."""
        new = []
        for tracklet in tracklets:
            known = self._known.get(tracklet.key)
            if known is None or known.last < tracklet.timestamps[-1]:
                new.append(tracklet)
        embeddings = embed_tracklets(self._embedder, [t.crops for t in new], self._batch_clips)
        for tracklet, embedding in zip(new, embeddings, strict=True):
            if embedding is not None:
                first, last = float(tracklet.timestamps[0]), float(tracklet.timestamps[-1])
                self._known[tracklet.key] = _Known(first, last, embedding)
        for tracklet in tracklets:
            if tracklet.key in self._known:
                self._known.move_to_end(tracklet.key)
        while len(self._known) > max(_REMEMBERED, len(tracklets)):
            self._known.popitem(last=False)


def _alike(one: _Known, other: _Known) -> float:
    return float(one.embedding @ other.embedding)


def _centre(box: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    return np.asarray((box[:2].astype(np.float64) + box[2:]) / 2)


def _velocity(tracklet: Tracklet) -> npt.NDArray[np.float64]:
    """(2,) pixels a second of the last second."""
    begin = int(np.searchsorted(tracklet.timestamps, tracklet.timestamps[-1] - _SPEED_S))
    elapsed = float(tracklet.timestamps[-1] - tracklet.timestamps[begin])
    if elapsed <= 0:
        return np.zeros(2)
    return (_centre(tracklet.xyxy[-1]) - _centre(tracklet.xyxy[begin])) / elapsed


def _distance_to_segment(
    point: npt.NDArray[np.float64], start: npt.NDArray[np.float64], end: npt.NDArray[np.float64]
) -> float:
    way = end - start
    length2 = float(way @ way)
    along = min(1.0, max(0.0, float((point - start) @ way) / length2)) if length2 > 0 else 0.0
    return float(np.linalg.norm(point - start - along * way))


def _spread(times: npt.NDArray[np.float64], wanted: int) -> list[int]:
    """Which of rising times to keep: again and again, the one goes whose neighbours are closest together."""
    kept = list(range(len(times)))
    while len(kept) > max(2, wanted):
        spans = [times[kept[i + 1]] - times[kept[i - 1]] for i in range(1, len(kept) - 1)]
        del kept[1 + int(np.argmin(spans))]
    return kept[:wanted]
