"""Tracked boxes -> tracklets: gates, cuts, which crops are kept, which earlier tracklet each may continue.

Memory of a track is bounded: besides its boxes (28 bytes a frame, cut at `max_duration_s`) it holds at
most twice the kept crops, as JPEG.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pipeline.config import StitchSettings, TrackletSettings
from pipeline.crops import best_crop, encode_crop, evenly, heights, quality
from pipeline.types import CLIP_LENGTH, Boxes, Detections, Frame, Tracklet, TrackletUpdate


@dataclass(slots=True)
class _Track:
    track_id: int
    frame_indices: list[int] = field(default_factory=list)
    timestamps: list[float] = field(default_factory=list)
    xyxy: list[npt.NDArray[np.float32]] = field(default_factory=list)
    confidence: list[float] = field(default_factory=list)
    crops: dict[int, bytes] = field(default_factory=dict)  # position in the track -> JPEG
    stride: int = 1
    settled: bool = False  # its beginning was told, or there was nothing to say of it
    told: bool = False  # it has passed the gates and others know of it: they are told of its end, too


class TrackletBuilder:
    """Collects the tracks of one camera; `rejected` counts tracks by the reason they were not kept.

    Args:
        camera: name of the camera.
        settings: gates, cuts and crops.
        stitch: which earlier tracklets are offered as the beginning of a later one.
        early: tell of a tracklet with its first full clip, too, and not only when it is finished.
    """

    def __init__(
        self, camera: str, settings: TrackletSettings, stitch: StitchSettings, *, early: bool = False
    ) -> None:
        self.camera, self.settings = camera, settings
        self.rejected: Counter[str] = Counter()
        self._stitch, self._early = stitch, early
        self._tracks: dict[int, _Track] = {}
        self._recent: list[Tracklet] = []  # finished a short while ago
        self._now = -np.inf

    def __len__(self) -> int:
        """Tracks that are not finished."""
        return len(self._tracks)

    def add(
        self, frame: Frame, detections: Detections, track_ids: npt.NDArray[np.int64], alive: set[int]
    ) -> list[TrackletUpdate]:
        """Take one frame's tracked boxes.

        Args:
            frame: the next frame.
            detections: N persons.
            track_ids: (N,) their tracks, -1 where there is none.
            alive: ids that a later frame may still carry.

        Returns:
            Tracklets that ended, and the beginnings that were settled.
        """
        self._now = frame.timestamp
        updates = []
        for box, confidence, track_id in zip(
            detections.xyxy, detections.confidence, track_ids.tolist(), strict=True
        ):
            if track_id < 0:
                continue
            track = self._tracks.get(track_id)
            if track is not None and self._must_cut(track):
                updates.append(self._finish(track))
                track = None
            if track is None:
                track = self._tracks[track_id] = _Track(track_id)
            self._extend(track, frame, box, float(confidence))
        updates += self._ended(alive)
        updates += [self._begin(track) for track in list(self._tracks.values()) if not track.settled]
        return [update for update in updates if update is not None]

    def close(self) -> list[TrackletUpdate]:
        """Finish all tracks: the source has ended, or its pictures will not go on."""
        return [update for update in self._ended(alive=set()) if update is not None]

    def _ended(self, alive: set[int]) -> list[TrackletUpdate | None]:
        """Finish the tracks that the tracker has given up, or whose return would be a new tracklet."""
        gone = [
            track
            for track in self._tracks.values()
            if track.track_id not in alive or self._unseen_s(track) > self.settings.max_gap_s
        ]
        gone.sort(key=lambda track: (track.timestamps[-1], track.track_id))
        for track in gone:
            del self._tracks[track.track_id]
        return [self._finish(track) for track in gone]

    def _unseen_s(self, track: _Track) -> float:
        return self._now - track.timestamps[-1]

    def _must_cut(self, track: _Track) -> bool:
        return (
            self._unseen_s(track) > self.settings.max_gap_s
            or self._now - track.timestamps[0] > self.settings.max_duration_s
        )

    def _extend(self, track: _Track, frame: Frame, box: npt.NDArray[np.float32], confidence: float) -> None:
        position = len(track.frame_indices)
        track.frame_indices.append(frame.index)
        track.timestamps.append(frame.timestamp)
        track.xyxy.append(box)
        track.confidence.append(confidence)
        if position % track.stride == 0:
            track.crops[position] = encode_crop(frame.image, box, self.settings)
            if len(track.crops) > 2 * self.settings.num_crops:
                track.stride *= 2
                track.crops = {p: jpeg for p, jpeg in track.crops.items() if p % track.stride == 0}

    def _begin(self, track: _Track) -> TrackletUpdate | None:
        """Tell of a track with its first full clip, once all that it may continue has ended."""
        if len(track.frame_indices) < max(CLIP_LENGTH, self.settings.min_frames):
            return None
        if any(self._may_precede(other, track) for other in self._tracks.values()):
            return None  # it ends for good or comes back in `max_gap_s`
        tracklet = self._tracklet(track)
        if isinstance(tracklet, str):
            return None
        track.settled = True
        earlier = self._earlier(tracklet)
        track.told = bool(earlier) or self._early
        return TrackletUpdate(tracklet, finished=False, earlier=earlier) if track.told else None

    def _may_precede(self, other: _Track, track: _Track) -> bool:
        between = track.timestamps[0] - other.timestamps[-1]
        return self._stitch.enabled and 0 < between <= self._stitch.max_gap_s

    def _earlier(self, tracklet: Tracklet) -> tuple[Tracklet, ...]:
        """Those that it may continue by time; whether it does is for others to say."""
        return tuple(
            other
            for other in self._recent
            if 0 < tracklet.timestamps[0] - other.timestamps[-1] <= self._stitch.max_gap_s
        )

    def _finish(self, track: _Track) -> TrackletUpdate | None:
        tracklet = self._tracklet(track)
        if isinstance(tracklet, str):
            self.rejected[tracklet] += 1
            return None
        earlier = () if track.settled else self._earlier(tracklet)
        if self._stitch.enabled:
            beginnings = [other.timestamps[0] for other in self._tracks.values() if not other.settled]
            oldest = min([self._now, tracklet.timestamps[0], *beginnings]) - self._stitch.max_gap_s
            self._recent = [other for other in self._recent if other.timestamps[-1] >= oldest]
            self._recent.append(tracklet)
        return TrackletUpdate(tracklet, finished=True, earlier=earlier)

    def _tracklet(self, track: _Track) -> Tracklet | str:
        """The track as it is now, or the reason why it is not kept."""
        xyxy = np.stack(track.xyxy)
        confidence = np.array(track.confidence, np.float32)
        reason = None if track.told else self._rejection(xyxy, confidence)
        if reason is not None:
            return reason
        held = np.array(sorted(track.crops), np.int32)
        kept = held[evenly(len(held), self.settings.num_crops)]
        return Tracklet(
            camera=self.camera,
            track_id=track.track_id,
            frame_indices=np.array(track.frame_indices, np.int32),
            timestamps=np.array(track.timestamps, np.float64),
            xyxy=xyxy,
            confidence=confidence,
            crops=tuple(track.crops[p] for p in kept.tolist()),
            crop_positions=kept,
            quality=quality(xyxy, confidence),
            thumbnail=best_crop(xyxy[kept], confidence[kept]),
        )

    def _rejection(self, xyxy: Boxes, confidence: npt.NDArray[np.float32]) -> str | None:
        if len(confidence) < self.settings.min_frames:
            return "too_short"
        if np.median(heights(xyxy)) < self.settings.min_height_px:
            return "too_small"
        if confidence.mean() < self.settings.min_confidence:
            return "low_confidence"
        return None
