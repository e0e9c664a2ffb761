"""Broken tracks joined, against ground truth: IDF1 with and without, and how many of the joins are wrong.

    python benchmarks/stitching.py --clip VIDEO GROUND_TRUTH PERSONS [...] --cache FOLDER
        [--embedder ste_nvan colour_stripes] [--blind 0 1 2] [--set stitch.margin=0.1 ...]

PERSONS says which tracks of the ground truth are one person (`person_map.csv` of PETS, `people.csv` of a
rendered world), so that somebody who leaves and comes back within seconds is no wrong join. IDF1 is given for
the ids of the ground truth, where who comes back is somebody new, and for persons; the rest is of persons.

`--blind N` with N > 0 hides all boxes for three to six seconds again and again, at times drawn from the seed
N: everybody's track breaks at once and each could continue any, the hardest case for wrong joins. `--from`
and `--to` bound the frames whose joins are counted; all else is of the whole video.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

import numpy as np
from boxes import load

from evaluation.tracking import Tracks, read_mot, score_tracking
from pipeline import plugins
from pipeline.config import Config, load_config
from pipeline.embedding import Embedder, build_embedder, named_embedder
from pipeline.joining import Joiner
from pipeline.stitching import Stitcher
from pipeline.tracklets import TrackletBuilder
from pipeline.types import Detections, Tracklet, TrackletUpdate, box_iou
from pipeline.video import SourceSpec, open_source


@dataclass
class Clip:
    """A video with its people.

    Attributes:
        visits: boxes by frame; who comes back has another id.
        truth: the same; their ids are persons.
    """

    video: Path
    visits: Tracks
    truth: Tracks
    boxes: dict[int, Detections]

    @property
    def name(self) -> str:
        return f"{self.video.resolve().parent.name}/{self.video.stem}"


@dataclass
class Join:
    """A decision: in which frame the later part began, and who the two parts are (None: nobody known)."""

    frame: int
    persons: tuple[int | None, int | None]


def read_persons(path: Path, camera: str) -> dict[int, str]:
    """Track of the ground truth -> person."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return {
        int(row.get("gt_id") or row["track"]): row["person"]
        for row in rows
        if row.get("camera") in (None, camera)
    }


def open_clip(video: Path, truth: Path, persons: Path, cache: Path) -> Clip:
    """Ground truth with persons for ids, and the detector's boxes."""
    person_of = read_persons(persons, video.stem)
    number = {person: i for i, person in enumerate(sorted(set(person_of.values())))}
    visits = read_mot(truth)
    tracks = {
        index: (np.array([number[person_of[i]] for i in ids.tolist()], np.int64), boxes)
        for index, (ids, boxes) in visits.items()
    }
    return Clip(video, visits, tracks, load(video, cache))


def blind_frames(seed: int) -> set[int]:
    """Frames, at ten a second, in which no boxes are seen."""
    random, blind, at = np.random.default_rng(seed), set[int](), 0
    while seed and at < 100_000:
        at += int(random.integers(40, 90))
        length = int(random.integers(32, 60))
        blind |= set(range(at, at + length))
        at += length
    return blind


def updates_of(clip: Clip, config: Config, seed: int) -> tuple[list[TrackletUpdate], list[int]]:
    """News of all tracklets, as an ingest gives it, and the frames that were analysed."""
    source = open_source(SourceSpec("camera", str(clip.video), 0.0), config.video)
    tracker = plugins.build("trackers", config.tracker, frame_rate=source.analysed_rate)
    builder = TrackletBuilder("camera", config.tracklets, config.stitch)
    blind, updates, frames = blind_frames(seed), [], []
    for frame in source.frames():
        unseen = frame.index in blind
        detections = Detections.empty() if unseen else clip.boxes.get(frame.index, Detections.empty())
        ids = tracker.update(frame, detections)
        updates += builder.add(frame, detections, ids, tracker.alive())
        frames.append(frame.index)
    return updates + builder.close(), frames


class Watched(Stitcher):
    """A stitcher that notes whom it has joined."""

    def __init__(self, embedder: Embedder, config: Config, truth: Tracks) -> None:
        super().__init__(embedder, config.stitch, config.batch.clips)
        self._truth = truth
        self.joins: list[Join] = []

    def match(self, later: Tracklet, earlier: Sequence[Tracklet]) -> int | None:
        """See `Stitcher.match`."""
        found = super().match(later, earlier)
        if found is not None:
            persons = person(earlier[found], self._truth), person(later, self._truth)
            self.joins.append(Join(int(later.frame_indices[0]), persons))
        return found


def person(tracklet: Tracklet, truth: Tracks) -> int | None:
    """Who a tracklet shows most of the time."""
    seen: Counter[int] = Counter()
    for index, box in zip(tracklet.frame_indices.tolist(), tracklet.xyxy, strict=True):
        if index in truth:
            ids, boxes = truth[index]
            overlap = box_iou(box[None], boxes)[0]
            if overlap.max() >= 0.5:
                seen[int(ids[overlap.argmax()])] += 1
    return seen.most_common(1)[0][0] if seen else None


def joined(updates: Sequence[TrackletUpdate], joiner: Joiner) -> dict[tuple[int, int], Tracklet]:
    """Whole tracklets by key; the last news of each counts."""
    whole = {}
    for update in map(joiner.whole, updates):
        if update.finished:
            whole[update.tracklet.key] = update.tracklet
    return whole


def tracks_of(tracklets: dict[tuple[int, int], Tracklet]) -> Tracks:
    """Boxes of tracklets by frame."""
    by_frame: dict[int, list[tuple[int, np.ndarray]]] = {}
    for number, tracklet in enumerate(tracklets.values()):
        for index, box in zip(tracklet.frame_indices.tolist(), tracklet.xyxy, strict=True):
            by_frame.setdefault(index, []).append((number, box))
    return {
        index: (np.array([n for n, _ in rows], np.int64), np.array([b for _, b in rows], np.float64))
        for index, rows in by_frame.items()
    }


def report(clip: Clip, config: Config, embedders: dict[str, Embedder], seed: int, span: range) -> None:
    """Print a row for each embedder."""
    updates, frames = updates_of(clip, config, seed)
    memory_s = config.stitch.max_gap_s + config.tracklets.max_duration_s
    parts = {update.tracklet.key: update.tracklet for update in updates if update.finished}
    before = scored(clip, parts, frames)
    for name, embedder in embedders.items():
        stitcher = Watched(embedder, config, clip.truth)
        whole = joined(updates, Joiner(stitcher, config.tracklets.num_crops, memory_s))
        both = zip(before, scored(clip, whole, frames), strict=True)
        counted = [join for join in stitcher.joins if join.frame in span]
        wrong = [join for join in counted if join.persons[0] != join.persons[1]]
        cells = [f"{old} / {new}" for old, new in both]
        print(
            f"| {' | '.join([clip.name, str(seed), name, *cells])} | {len(counted)} | {len(wrong)} |",
            flush=True,
        )


def scored(clip: Clip, tracklets: dict[tuple[int, int], Tracklet], frames: list[int]) -> list[str]:
    """IDF1 of visits, IDF1 of persons, switches, fragments, tracks."""
    tracks = tracks_of(tracklets)
    visits, persons = (
        score_tracking({i: t[i] for i in frames if i in t}, tracks, frames[-1] + 1)
        for t in (clip.visits, clip.truth)
    )
    counts = persons.id_switches, persons.fragments, len(tracklets)
    return [f"{visits.idf1:.3f}", f"{persons.idf1:.3f}", *map(str, counts)]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--clip", type=Path, nargs=3, action="append", required=True)
    parser.add_argument("--cache", type=Path, required=True, help="folder for detections")
    parser.add_argument("--embedder", nargs="+", default=["ste_nvan"])
    parser.add_argument("--blind", type=int, nargs="+", default=[0])
    parser.add_argument("--from", type=int, default=0, dest="first")
    parser.add_argument("--to", type=int, default=1 << 30, dest="last")
    parser.add_argument("--set", nargs="*", default=[])
    options = parser.parse_args()
    config = load_config(overrides=options.set)
    embedders = {name: build_embedder(named_embedder(name)) for name in options.embedder}
    print(
        "| clip | blind | embedder | IDF1 of visits: without / with stitching | IDF1 of persons | switches | "
        "fragments | tracks | joins | wrong |"
    )
    print("|" + "---|" * 10)
    for paths in options.clip:
        clip = open_clip(*paths, options.cache)
        for seed in options.blind:
            report(clip, config, embedders, seed, range(options.first, options.last))


if __name__ == "__main__":
    main()
