"""Tracking metrics against ground truth: HOTA, MOTA and IDF1, computed by TrackEval.

HOTA: Luiten et al., IJCV 2020. MOTA: Bernardin and Stiefelhagen, 2008. IDF1: Ristani et al., 2016.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.types import box_iou

Tracks = Mapping[int, tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]]
"""0-based frame -> (N,) ids and (N, 4) xyxy boxes in pixels."""


@dataclass(frozen=True)
class TrackingScores:
    """All in [0, 1] but MOTA, which may be negative; counts are over the whole sequence.

    Attributes:
        hota: mean over IoU thresholds 0.05 to 0.95.
        mota, idf1, recall, precision: at IoU 0.5.
        id_switches: identity switches.
        fragments: interruptions of a ground-truth track.
        num_tracks: track ids in the result.
    """

    hota: float
    mota: float
    idf1: float
    recall: float
    precision: float
    id_switches: int
    fragments: int
    num_tracks: int


def read_mot(path: Path) -> Tracks:
    """A MOT file: frame (from 1), id, left, top, width, height, ..."""
    lines = path.read_text(encoding="utf-8").split()
    rows = np.loadtxt(lines, delimiter=",", ndmin=2, dtype=np.float64) if lines else np.zeros((0, 6))
    tracks: dict[int, tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]] = {}
    for frame in np.unique(rows[:, 0]):
        here = rows[rows[:, 0] == frame]
        xyxy = np.concatenate([here[:, 2:4], here[:, 2:4] + here[:, 4:6]], axis=1)
        tracks[int(frame) - 1] = (here[:, 1].astype(np.int64), xyxy)
    return tracks


def score_tracking(truth: Tracks, result: Tracks, num_frames: int) -> TrackingScores:
    """Compare tracks with ground truth.

    Args:
        truth: ground truth by frame.
        result: tracks by frame.
        num_frames: length of the sequence; frames without boxes may be absent from both.

    Raises:
        ImportError: TrackEval is not installed (it is in the extra `dev`).
    """
    try:
        from trackeval.metrics import CLEAR, HOTA, Identity
    except ImportError as error:
        raise ImportError("tracking metrics need TrackEval: pip install 'retrace-reid[dev]'") from error
    sequence = _sequence(truth, result, num_frames)
    hota = HOTA().eval_sequence(sequence)
    clear = CLEAR({"PRINT_CONFIG": False}).eval_sequence(sequence)
    identity = Identity({"PRINT_CONFIG": False}).eval_sequence(sequence)
    return TrackingScores(
        hota=float(np.mean(hota["HOTA"])),
        mota=float(clear["MOTA"]),
        idf1=float(identity["IDF1"]),
        recall=float(clear["CLR_Re"]),
        precision=float(clear["CLR_Pr"]),
        id_switches=int(clear["IDSW"]),
        fragments=int(clear["Frag"]),
        num_tracks=int(sequence["num_tracker_ids"]),
    )


def _sequence(truth: Tracks, result: Tracks, num_frames: int) -> dict[str, Any]:
    nothing = (np.zeros(0, np.int64), np.zeros((0, 4)))
    frames = [(truth.get(t, nothing), result.get(t, nothing)) for t in range(num_frames)]
    truth_ids, result_ids = ([frame[side][0] for frame in frames] for side in (0, 1))
    numbered_truth, num_truth = _consecutive(truth_ids)
    numbered_result, num_result = _consecutive(result_ids)
    return {
        "num_timesteps": num_frames,
        "num_gt_ids": num_truth,
        "num_tracker_ids": num_result,
        "num_gt_dets": sum(map(len, truth_ids)),
        "num_tracker_dets": sum(map(len, result_ids)),
        "gt_ids": numbered_truth,
        "tracker_ids": numbered_result,
        "similarity_scores": [box_iou(gt[1], found[1]) for gt, found in frames],
    }


def _consecutive(per_frame: list[npt.NDArray[np.int64]]) -> tuple[list[npt.NDArray[np.int64]], int]:
    """Ids renumbered from 0 without gaps, as TrackEval indexes matrices with them."""
    known = np.unique(np.concatenate(per_frame)) if per_frame else np.zeros(0, np.int64)
    return [np.searchsorted(known, ids) for ids in per_frame], len(known)
