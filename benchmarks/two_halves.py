"""PETS 2009 S2.L1 cut into two cameras: for each person seen in both, the rank of the first right match.

    python benchmarks/two_halves.py --video vtest.avi --ground-truth gt.txt --people person_map.csv
        [--embedder NAME[=WEIGHTS] ...] [--set key.sub=value ...]

A tracklet's person is that of the ground-truth track which most of its boxes overlap (IoU 0.5); tracklets
without one are distractors. Query: each person's longest tracklet in camera 1; gallery: all of camera 2.
"""

from __future__ import annotations

import argparse
import csv
import sys
import tempfile
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

from evaluation.tracking import read_mot
from pipeline.config import BatchSettings, load_config
from pipeline.demo import CUT_FRAME, cut_in_two
from pipeline.embedding import build_embedder, named_embedder
from pipeline.hooks import Hooks
from pipeline.ingest import ingest
from pipeline.query import query_by_tracklet, search
from pipeline.reindex import reindex
from pipeline.types import box_iou
from pipeline.video import SourceSpec
from storage.gallery import Gallery
from storage.records import GalleryFilter

CAMERAS = ("camera-1", "camera-2")


def people_of(gallery: Gallery, truth_file: Path, map_file: Path) -> dict[int, str]:
    """Tracklet id -> person, for those that overlap a labelled track."""
    with map_file.open(newline="") as file:
        person = {int(row["gt_id"]): row["person"] for row in csv.DictReader(file)}
    truth, found = read_mot(truth_file), {}
    for record in gallery.tracklets():
        trajectory, votes = gallery.trajectory(record.id), Counter()
        shift = CUT_FRAME if record.camera == CAMERAS[1] else 0
        for frame, box in zip(trajectory.frame_indices.tolist(), trajectory.xyxy, strict=True):
            ids, boxes = truth.get(frame + shift, ((), None))
            if len(ids):
                overlap = box_iou(box[None].astype(float), boxes)[0]
                if overlap.max() >= 0.5:
                    votes[person[int(ids[overlap.argmax()])]] += 1
        if votes and votes.most_common(1)[0][1] * 2 > record.num_frames:
            found[record.id] = votes.most_common(1)[0][0]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--video", type=Path, required=True)
    parser.add_argument("--ground-truth", type=Path, required=True)
    parser.add_argument("--people", type=Path, required=True)
    parser.add_argument("--embedder", nargs="+", default=["colour_stripes"])
    parser.add_argument("--set", nargs="*", default=[])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        halves = [folder / f"{camera}.mp4" for camera in CAMERAS]
        starts = cut_in_two(options.video, halves, Hooks())
        specs = [SourceSpec(c, str(p), s) for c, p, s in zip(CAMERAS, halves, starts, strict=True)]
        with Gallery.open(folder / "g", create=True) as gallery:
            ingest(gallery, specs, load_config(overrides=[*options.set, "embedder.name=colour_stripes"]))
            report(gallery, people_of(gallery, options.ground_truth, options.people), options.embedder)


def report(gallery: Gallery, people: dict[int, str], embedders: list[str]) -> None:
    records = {record.id: record for record in gallery.tracklets()}
    sides = [{i: p for i, p in people.items() if records[i].camera == camera} for camera in CAMERAS]
    both = sorted(set(sides[0].values()) & set(sides[1].values()))
    total = sum(record.camera == CAMERAS[1] for record in records.values())
    print(f"{len(records)} tracklets, {total} in {CAMERAS[1]}, {len(sides[1])} of them labelled.\n")
    print("| embedder | " + " | ".join(both) + " | Rank-1 | mean reciprocal rank |")
    print("|---" * (len(both) + 3) + "|")
    for text in embedders:
        embedder_name, _, weights = text.partition("=")
        embedder = build_embedder(named_embedder(embedder_name).updated(weights=weights or None))
        reindex(gallery, embedder, BatchSettings())
        ranks = []
        for person in both:
            query = max((i for i, p in sides[0].items() if p == person), key=lambda i: records[i].num_frames)
            answer = search(
                gallery, query_by_tracklet(gallery, query), total, GalleryFilter(frozenset([CAMERAS[1]]))
            )
            ranks.append(
                next(n for n, hit in enumerate(answer.matches, 1) if people.get(hit.record.id) == person)
            )
        label = f"{embedder_name} {Path(weights).stem}".strip()
        cells = " | ".join(map(str, ranks))
        rank_1, mrr = sum(r == 1 for r in ranks) / len(ranks), sum(1 / r for r in ranks) / len(ranks)
        print(f"| {label} | {cells} | {rank_1:.3f} | {mrr:.3f} |", flush=True)


if __name__ == "__main__":
    main()
