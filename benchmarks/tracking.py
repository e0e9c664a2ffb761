"""Tracking against ground truth: Retrace's tracklets and plain Ultralytics, same weights, one run.

python benchmarks/tracking.py --video vtest.avi --ground-truth gt.txt [--weights NAME ...] [--image-size N]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from time import perf_counter

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from evaluation.tracking import Tracks, read_mot, score_tracking
from models import weights
from pipeline.config import load_config
from pipeline.export import export
from pipeline.ingest import ingest
from pipeline.offline import keep_ultralytics_offline
from pipeline.video import SourceSpec, open_source
from storage.gallery import Gallery


def plain_ultralytics(video: Path, name: str, tracker: str, image_size: int | None) -> Tracks:
    """`YOLO.track` as its documentation shows it, persons only, with the weight's own image size and NMS."""
    keep_ultralytics_offline()
    from ultralytics import YOLO

    resolved = weights.resolve(name, "detector")
    card = resolved.card
    model = YOLO(str(resolved.path), task="detect")
    size = image_size or (card.image_size if card else None) or 640
    classes = list(card.classes) if card else [0]
    results = model.track(
        str(video), stream=True, persist=True, tracker=f"{tracker}.yaml", classes=classes, imgsz=size,
        iou=(card.iou if card and card.iou else 0.45), verbose=False,
    )  # fmt: skip
    tracks = {}
    for index, result in enumerate(results):
        if result.boxes is not None and result.boxes.id is not None:
            tracks[index] = (
                result.boxes.id.numpy().astype(np.int64),
                result.boxes.xyxy.numpy().astype(np.float64),
            )
    return tracks


def retrace(video: Path, name: str, tracker: str, image_size: int | None, overrides: list[str]) -> Tracks:
    """The boxes of the tracklets in the gallery."""
    settings = [
        f"tracker.name={tracker}",
        f"detector.weights={name}",
        "embedder.name=colour_stripes",
        "stitch.enabled=false",  # the tracker alone
        *overrides,
    ]
    if image_size:
        settings.append(f"detector.image_size={image_size}")
    with tempfile.TemporaryDirectory() as folder:
        with Gallery.open(Path(folder) / "gallery", create=True) as gallery:
            ingest(gallery, [SourceSpec("camera", str(video), 0.0)], load_config(overrides=settings))
            export(gallery, "mot", Path(folder) / "tracks.txt")
        return read_mot(Path(folder) / "tracks.txt")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--video", type=Path, required=True)
    parser.add_argument("--ground-truth", type=Path, required=True)
    parser.add_argument("--weights", nargs="+", default=[weights.DEFAULT_DETECTOR])
    parser.add_argument("--trackers", nargs="+", default=["botsort", "bytetrack"])
    parser.add_argument("--image-size", type=int)
    parser.add_argument("--set", nargs="*", default=[])
    options = parser.parse_args()
    truth = read_mot(options.ground_truth)
    source = open_source(SourceSpec("camera", str(options.video), 0.0), load_config().video)
    num_frames = round((source.duration_s or 0) * source.frame_rate)
    print("| weights | tracks by | IDF1 | MOTA | HOTA | recall | precision | switches | tracks | seconds |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for name in options.weights:
        for tracker in options.trackers:
            for who, run in (
                (
                    f"ultralytics {tracker}",
                    lambda n=name, t=tracker: plain_ultralytics(options.video, n, t, options.image_size),
                ),
                (
                    f"retrace {tracker}",
                    lambda n=name, t=tracker: retrace(options.video, n, t, options.image_size, options.set),
                ),
            ):
                begin = perf_counter()
                s = score_tracking(truth, run(), num_frames)
                print(
                    f"| {Path(name).name} | {who} | {s.idf1:.3f} | {s.mota:.3f} | {s.hota:.3f} | "
                    f"{s.recall:.3f} | {s.precision:.3f} | {s.id_switches} | {s.num_tracks} | "
                    f"{perf_counter() - begin:.0f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
