"""Person detectors against a video's ground truth: recall, precision, time per frame, and repeatability.

    python benchmarks/detectors.py --video vtest.avi --ground-truth gt.txt --every 3 \
        --weights yolov8s_fall yolov5s_coco --image-size 640 960

Accuracy comes from one pass at low confidence per weights and image size: boxes above a threshold are matched
one to one to the ground truth at IoU 0.5, the most confident first. Times are medians over the same frames,
measured in turns so that other load on the machine hits all weights alike; compare them within one run only.
"""

import argparse
import json
import statistics
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import cv2
import numpy as np

from evaluation.tracking import read_mot
from models import weights as weight_store
from pipeline.offline import keep_ultralytics_offline
from pipeline.types import box_iou

LOWEST_CONFIDENCE = 0.05


@dataclass(frozen=True)
class Accuracy:
    """One row: weights at an image size and a confidence threshold; counts are boxes."""

    weights: str
    image_size: int
    confidence: float
    recall: float
    precision: float
    missed: int
    false: int


@dataclass(frozen=True)
class Speed:
    """One row: median milliseconds per frame, pre- and post-processing included."""

    weights: str
    image_size: int
    batch: int
    ms_per_frame: float


class Detector:
    """Weights at one image size, as `predict` of Ultralytics runs them."""

    def __init__(
        self, name: str, image_size: int, iou: float, trust: bool, classes: list[int] | None
    ) -> None:
        from ultralytics import YOLO

        found = weight_store.resolve(name, "detector", trust=trust)
        self.name, self.image_size = Path(name).name, image_size
        classes = classes or list(found.card.classes if found.card else (0,))
        self._settings = {
            "imgsz": image_size,
            "iou": iou,
            "classes": classes,
            "max_det": 300,
            "verbose": False,
        }
        self._model = YOLO(str(found.path), task="detect")

    def __call__(self, frames: list[np.ndarray]) -> list[np.ndarray]:
        """(H, W, 3) BGR frames to (N, 5) float64 per frame: xyxy in pixels, confidence."""
        results = self._model.predict(frames, conf=LOWEST_CONFIDENCE, **self._settings)
        return [np.column_stack([r.boxes.xyxy.cpu(), r.boxes.conf.cpu()]).astype(np.float64) for r in results]


def read_frames(video: Path, every: int) -> dict[int, np.ndarray]:
    """Every n-th frame by its 0-based index, (H, W, 3) BGR."""
    capture = cv2.VideoCapture(str(video))
    frames, index = {}, 0
    while True:
        there, frame = capture.read()
        if not there:
            break
        if index % every == 0:
            frames[index] = frame
        index += 1
    if not frames:
        raise SystemExit(f"no frames in {video}")
    return frames


def read_truth(path: Path) -> dict[int, np.ndarray]:
    """(N, 4) xyxy boxes by 0-based frame."""
    return {frame: boxes for frame, (_, boxes) in read_mot(path).items()}


def count_matches(boxes: np.ndarray, truth: np.ndarray, iou_threshold: float = 0.5) -> int:
    """Boxes matched one to one, most confident first, each to the free truth it overlaps most."""
    free = np.ones(len(truth), dtype=bool)
    matches = 0
    for box in boxes[np.argsort(-boxes[:, 4], kind="stable")]:
        overlap = np.where(free, box_iou(box[None, :4], truth)[0], 0.0)
        if len(truth) and overlap.max() >= iou_threshold:
            free[overlap.argmax()] = False
            matches += 1
    return matches


def measure_accuracy(
    detector: Detector, frames: dict[int, np.ndarray], truth: dict[int, np.ndarray], thresholds: list[float]
) -> list[Accuracy]:
    """One pass over the frames, evaluated at each threshold."""
    nothing = np.zeros((0, 4))
    indices = sorted(frames)
    found: dict[int, np.ndarray] = {}
    for start in range(0, len(indices), 4):
        part = indices[start : start + 4]
        found.update(zip(part, detector([frames[i] for i in part]), strict=True))
    rows = []
    for threshold in thresholds:
        kept = {i: boxes[boxes[:, 4] >= threshold] for i, boxes in found.items()}
        hits = sum(count_matches(kept[i], truth.get(i, nothing)) for i in indices)
        num_boxes = sum(len(boxes) for boxes in kept.values())
        num_truth = sum(len(truth.get(i, nothing)) for i in indices)
        recall, precision = hits / max(num_truth, 1), hits / max(num_boxes, 1)
        missed, false = num_truth - hits, num_boxes - hits
        rows.append(Accuracy(detector.name, detector.image_size, threshold, recall, precision, missed, false))
    return rows


def measure_speed(
    detectors: list[Detector], frames: list[np.ndarray], batches: list[int], rounds: int
) -> list[Speed]:
    """Median ms per frame of each detector and batch size, in turns."""
    times: dict[tuple[int, int], list[float]] = {}
    for turn in range(rounds + 1):
        for i, detector in enumerate(detectors):
            for batch in batches:
                start = (turn * batch) % max(len(frames) - batch, 1)
                begin = time.perf_counter()
                detector(frames[start : start + batch])
                if turn:  # the first turn warms up
                    times.setdefault((i, batch), []).append((time.perf_counter() - begin) * 1000 / batch)
    return [
        Speed(detectors[i].name, detectors[i].image_size, batch, statistics.median(values))
        for (i, batch), values in times.items()
    ]


def measure_repeatability(detector: Detector, frames: list[np.ndarray]) -> dict[str, Any]:
    """Largest difference of boxes and confidences between batches of 1, 4 and 8 frames."""
    alone = [detector([frame])[0] for frame in frames]
    row: dict[str, Any] = {"weights": detector.name, "image_size": detector.image_size}
    for batch in (1, 4, 8):
        together: list[np.ndarray] = []
        for start in range(0, len(frames), batch):
            together += detector(frames[start : start + batch])
        pairs = list(zip(alone, together, strict=True))
        same_count = all(a.shape == b.shape for a, b in pairs)
        largest = [np.abs(a - b).max(axis=0, initial=0.0) for a, b in pairs if a.shape == b.shape]
        row[f"batch {batch}"] = {
            "same count": same_count,
            "boxes_px": float(max(x[:4].max() for x in largest)) if largest else None,
            "confidence": float(max(x[4] for x in largest)) if largest else None,
        }
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--video", type=Path, required=True)
    parser.add_argument("--ground-truth", type=Path, required=True)
    parser.add_argument("--weights", nargs="+", required=True, help="names of cards, or files")
    parser.add_argument("--classes", nargs="+", type=int, help="person classes; default: the card's, else 0")
    parser.add_argument("--image-size", nargs="+", type=int, default=[640, 960])
    parser.add_argument("--confidence", nargs="+", type=float, default=[0.25, 0.4])
    parser.add_argument("--iou", type=float, default=0.45, help="of the non-maximum suppression")
    parser.add_argument("--every", type=int, default=1, help="accuracy on every n-th frame")
    parser.add_argument("--batch", nargs="+", type=int, default=[1, 8])
    parser.add_argument("--rounds", type=int, default=12, help="timed turns; 0: no times")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--no-accuracy", action="store_true")
    parser.add_argument("--repeatability", action="store_true", help="compare batches of 1, 4 and 8")
    parser.add_argument("--trust-weights", action="store_true")
    parser.add_argument("--json", type=Path, help="write all rows here too")
    args = parser.parse_args()

    keep_ultralytics_offline()
    import torch

    torch.set_num_threads(args.threads)
    frames, truth = read_frames(args.video, args.every), read_truth(args.ground_truth)
    detectors = [
        Detector(name, size, args.iou, args.trust_weights, args.classes)
        for name in args.weights
        for size in args.image_size
    ]
    report: dict[str, Any] = {"accuracy": [], "speed": [], "repeatability": []}
    print(f"{args.video.name}: {len(frames)} frames, NMS IoU {args.iou}, {args.threads} threads\n")
    if not args.no_accuracy:
        print(
            "| weights | size | conf | recall | precision | missed | false |\n|---|---|---|---|---|---|---|"
        )
        for detector in detectors:
            for row in measure_accuracy(detector, frames, truth, args.confidence):
                report["accuracy"].append(asdict(row))
                print(
                    f"| {row.weights} | {row.image_size} | {row.confidence} | {row.recall:.3f} |"
                    f" {row.precision:.3f} | {row.missed} | {row.false} |",
                    flush=True,
                )
    some = [frames[i] for i in sorted(frames)[:64]]
    if args.rounds:
        print("\n| weights | size | batch | ms per frame |\n|---|---|---|---|")
        for speed in measure_speed(detectors, some, args.batch, args.rounds):
            report["speed"].append(asdict(speed))
            print(f"| {speed.weights} | {speed.image_size} | {speed.batch} | {speed.ms_per_frame:.1f} |")
    if args.repeatability:
        for detector in detectors:
            report["repeatability"].append(measure_repeatability(detector, some[:16]))
            print("\n" + json.dumps(report["repeatability"][-1]))
    if args.json:
        args.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
