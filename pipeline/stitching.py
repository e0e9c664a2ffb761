"""Broken tracks of one person in one camera, joined by place, time and appearance.

Two tracks that one camera sees at the same time are two people. Such pairs say, for any embedder and any
camera, how alike different people look there; a track continues another one only when the two look more
alike than that.
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
_REMEMBERED = 64  # tracks of a camera


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
    """What is remembered of a track."""

    first: float
    last: float
    embedding: Embedding | None


class Stitcher:
    """Decides which tracks continue which, for all cameras of a run; used by one thread."""

    def __init__(self, embedder: Embedder, settings: StitchSettings, batch_clips: int) -> None:
        self._embedder, self._settings, self._batch_clips = embedder, settings, batch_clips
        self._known: dict[str, OrderedDict[tuple[int, int], _Known]] = {}

    def match(self, later: Tracklet, earlier: Sequence[Tracklet]) -> int | None:
        """Which of the earlier tracklets `later` continues.

        Args:
            later: a track with its first full clip at least.
            earlier: tracklets of the same camera that have ended; those that are not plausible are never
                chosen, but tell how alike different people look.

        Returns:
            Index of the earlier tracklet, None where there is none or it is not certain.
        """
        if not self._settings.enabled:
            return None
        self._remember([later, *earlier])
        choices = [i for i, one in enumerate(earlier) if plausible(one, later, self._settings)]
        embedded = {i: self._of(earlier[i]).embedding for i in choices}
        own = self._of(later).embedding
        scores = {
            i: float(own @ other) for i, other in embedded.items() if own is not None and other is not None
        }
        if not scores:
            return None
        best = max(scores, key=lambda i: scores[i])
        rivals = [score for i, score in scores.items() if i != best]
        strangers = self._strangers(later, own) + self._strangers(earlier[best], embedded[best])
        floor = max([self._settings.min_similarity, *(s + self._settings.margin for s in rivals + strangers)])
        return best if scores[best] >= floor and strangers else None

    def join(self, earlier: Tracklet, later: Tracklet, num_crops: int) -> Tracklet:
        """See `join`."""
        return join(earlier, later, num_crops)

    def _of(self, tracklet: Tracklet) -> _Known:
        return self._known[tracklet.camera][tracklet.key]

    def _remember(self, tracklets: Sequence[Tracklet]) -> None:
        """Embed what is new, or has grown since."""
        new = []
        for tracklet in tracklets:
            tracks = self._known.setdefault(tracklet.camera, OrderedDict())
            known = tracks.get(tracklet.key)
            if known is None or known.last < tracklet.timestamps[-1]:
                new.append(tracklet)
            else:
                tracks.move_to_end(tracklet.key)
        embeddings = embed_tracklets(self._embedder, [t.crops for t in new], self._batch_clips)
        for tracklet, embedding in zip(new, embeddings, strict=True):
            tracks = self._known[tracklet.camera]
            first, last = float(tracklet.timestamps[0]), float(tracklet.timestamps[-1])
            tracks[tracklet.key] = _Known(first, last, embedding)
            tracks.move_to_end(tracklet.key)
            while len(tracks) > max(_REMEMBERED, len(tracklets)):
                tracks.popitem(last=False)

    def _strangers(self, tracklet: Tracklet, own: Embedding | None) -> list[float]:
        """Similarities to the tracks that were in view at the same time."""
        known = self._of(tracklet)
        return [
            float(own @ other.embedding)
            for key, other in self._known[tracklet.camera].items()
            if key != tracklet.key and own is not None and other.embedding is not None
            and other.first <= known.last and other.last >= known.first
        ]  # fmt: skip


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
