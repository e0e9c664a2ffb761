"""What the motion gate spares, and that it loses nobody: PETS 2009, an emptier video made of it, other clips.

    python benchmarks/motion_gate.py --pets FOLDER --cache FOLDER [--clip VIDEO GROUND_TRUTH ...] [--fps 5 10]

The folder of PETS holds `vtest.avi` and `gt.txt`. Its first half is what the gate's constants were chosen
with, its second half what is reported. The mostly empty video shows one person of that half at a time, cut
out of the real frames with some surroundings, on the half's median picture; between two of them nobody is in
view for half a minute. It has sensor noise, drifting light, steps of exposure, and H.264 at 300 kbit/s with a
key frame every two seconds. Its boxes are the detector's of the original frames.

At 5 frames a second and `idle_fps` 0.5 no more than 90 % of the empty frames can be skipped, and those of the
two seconds in which a track may come back are not. "Opened for nothing": looks that saw movement when nobody
had been in view for twelve seconds.

Frames pass as in a run: all while there are tracks, those in which something moves, and `live.idle_fps` of
the others. Boxes come from the default detector, tracks from the default tracker.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from time import thread_time

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

import av
import cv2
import numpy as np
from boxes import load

from evaluation.tracking import Tracks, read_mot, score_tracking
from pipeline import plugins
from pipeline.config import load_config
from pipeline.live.motion import MotionGate
from pipeline.live.schedule import Schedule
from pipeline.live.settings import LiveSettings
from pipeline.live.stream import Picture
from pipeline.tracklets import TrackletBuilder
from pipeline.types import Detections, Frame, Tracklet, box_iou

RATE = 10.0
SMALLEST_PX = 32
EMPTY_S = 30.0
QUIET_S = 12.0  # after somebody has left, traces of him may open the gate
SPLIT = 422  # the frame at which PETS is cut into two "cameras" elsewhere, too


@dataclass
class Clip:
    """Frames `first` to `last` (excluded) of a video, with the people in them and the detector's boxes."""

    name: str
    video: Path
    truth: Tracks
    boxes: dict[int, Detections]
    first: int = 0
    last: int = 1 << 30


@dataclass
class Played:
    """What one run over a clip gave."""

    due: list[int] = field(default_factory=list)
    passed: list[int] = field(default_factory=list)
    tracklets: dict[tuple[int, int], Tracklet] = field(default_factory=dict)
    opened: dict[int, bool] = field(default_factory=dict)
    look_ms: list[float] = field(default_factory=list)


def pictures(clip: Clip) -> Iterator[tuple[int, Picture]]:
    """Decoded pictures by frame number."""
    with av.open(str(clip.video)) as container:
        for index, frame in enumerate(container.decode(video=0)):
            if index >= clip.last:
                return
            if index >= clip.first:
                yield index, Picture(index / RATE, 0.0, None, frame.width, frame.height, "", False, frame)


def play(clip: Clip, fps: float, *, gated: bool) -> Played:
    """Run a clip through gate, tracker and tracklets, as a live camera does."""
    config, live, played = load_config(), LiveSettings(), Played()
    gate, due, idle = MotionGate(), Schedule(fps), Schedule(live.idle_fps)
    tracker = plugins.build("trackers", config.tracker, frame_rate=fps)
    builder = TrackletBuilder("camera", config.tracklets, config.stitch, early=True)
    for index, picture in pictures(clip):
        now = index / RATE
        if not due.due(now):
            continue
        played.due.append(index)
        if gated and not len(builder):
            luma, begin = picture.luma(), thread_time()
            moved = played.opened[index] = gate.moved(luma, now)
            played.look_ms.append(1e3 * (thread_time() - begin))
            if not moved and not idle.due(now):
                continue
        idle.restart(now)
        played.passed.append(index)
        frame = Frame("camera", index, now, picture.rgb())
        detections = clip.boxes.get(index, Detections.empty())
        ids = tracker.update(frame, detections)
        updates = builder.add(frame, detections, ids, tracker.alive())
        played.tracklets |= {u.tracklet.key: u.tracklet for u in updates if u.finished}
    played.tracklets |= {u.tracklet.key: u.tracklet for u in builder.close()}
    return played


def tracks_of(played: Played) -> Tracks:
    """Boxes of the tracklets by frame."""
    by_frame: dict[int, list[tuple[int, np.ndarray]]] = {}
    for number, tracklet in enumerate(played.tracklets.values()):
        for index, box in zip(tracklet.frame_indices.tolist(), tracklet.xyxy, strict=True):
            by_frame.setdefault(index, []).append((number, box))
    return {
        index: (np.array([n for n, _ in rows], np.int64), np.array([b for _, b in rows], np.float64))
        for index, rows in by_frame.items()
    }


def people_found(truth: Tracks, tracks: Tracks) -> set[int]:
    """Ids of the ground truth that some tracklet follows for eight frames at least."""
    seen: dict[tuple[int, int], int] = {}
    for index, (numbers, boxes) in tracks.items():
        ids, there = truth.get(index, (np.zeros(0, np.int64), np.zeros((0, 4))))
        for number, best in zip(numbers.tolist(), box_iou(boxes, there), strict=True):
            if len(best) and best.max() >= 0.5:
                pair = int(ids[best.argmax()]), number
                seen[pair] = seen.get(pair, 0) + 1
    return {person for (person, _), frames in seen.items() if frames >= 8}


def visible(truth: Tracks, index: int) -> list[int]:
    """Ids of the people in a frame who are tall enough to be kept."""
    ids, boxes = truth.get(index, (np.zeros(0, np.int64), np.zeros((0, 4))))
    return [int(i) for i, box in zip(ids, boxes, strict=True) if box[3] - box[1] >= SMALLEST_PX]


def delays(truth: Tracks, played: Played) -> list[int]:
    """Due frames from a person's coming into an empty picture to the first frame that passes."""
    passed, result, waiting = set(played.passed), [], None
    before: list[int] = []
    for index in played.due:
        now = visible(truth, index)
        if now and not before:
            waiting = 0
        if waiting is not None and (index in passed or not now):
            result.append(waiting)
            waiting = None
        elif waiting is not None:
            waiting += 1
        before = now
    return result


def report(clip: Clip, fps: float) -> None:
    """Print a row of the table."""
    free, gated = play(clip, fps, gated=False), play(clip, fps, gated=True)
    truth = {index: clip.truth[index] for index in free.due if index in clip.truth}
    passed = set(gated.passed)
    busy = [index for index in free.due if visible(truth, index)]
    empty = [index for index in free.due if index not in truth]
    quiet = [
        i for i in gated.opened if not any(j in clip.truth for j in range(i - int(QUIET_S * RATE), i + 1))
    ]
    idle = [gated.opened[i] for i in quiet[1:]]  # the first picture of a stream always passes
    last = max(free.due) + 1
    scores = [score_tracking(truth, tracks_of(played), last) for played in (free, gated)]
    found = [people_found(truth, tracks_of(played)) for played in (free, gated)]
    waits = delays(truth, gated)
    print(
        f"| {clip.name} | {fps:g} | {len(free.due)} | {share(passed, free.due)} | "
        f"{share(set(empty) - passed, empty)} of {len(empty)} | {sum(idle)} of {len(idle)} | "
        f"{share(passed, busy)} of {len(busy)} | "
        f"{np.mean(waits) if waits else 0:.1f} / {max(waits, default=0)} | "
        f"{len(found[0])} | {len(found[0] - found[1])} | "
        f"{scores[0].recall:.3f} / {scores[1].recall:.3f} | {scores[0].idf1:.3f} / {scores[1].idf1:.3f} | "
        f"{np.median(gated.look_ms):.2f} |",
        flush=True,
    )


def share(those: set[int], frames: list[int]) -> str:
    """Per cent of frames that are among `those`."""
    return f"{100 * len(those & set(frames)) / len(frames):.1f} %" if frames else "-"


def mostly_empty(clip: Clip, path: Path) -> Clip:
    """One person at a time on the empty place; see the module's text."""
    frames = {index: picture.rgb() for index, picture in pictures(clip)}
    place = np.median([frames[i] for i in sorted(frames)[::6]], axis=0).astype(np.float32)
    random = np.random.default_rng(0)
    noise = random.normal(0, 5, (800, 1000)).astype(np.float32)[..., None]
    truth: dict[int, tuple[np.ndarray, np.ndarray]] = {}
    boxes: dict[int, Detections] = {}
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=int(RATE), bit_rate=300_000)
        stream.height, stream.width, stream.pix_fmt = place.shape[0], place.shape[1], "yuv420p"
        stream.options = {"g": str(int(2 * RATE)), "preset": "veryfast", "bf": "0"}
        for number, (source, person, box) in enumerate(script(clip)):
            picture = place.copy()
            if box is not None:
                paste(picture, frames[source], box)
                truth[number] = (np.array([person]), box[None])
                boxes[number] = near(clip.boxes.get(source, Detections.empty()), box)
            seconds = number / RATE
            gain = 1 + 0.08 * np.sin(seconds / 15) + (0.06 if seconds % 120 > 60 else 0)
            top, left = random.integers(0, (800 - place.shape[0], 1000 - place.shape[1]))
            picture = picture * gain + noise[top:, left:][: place.shape[0], : place.shape[1]]
            image = av.VideoFrame.from_ndarray(np.clip(picture, 0, 255).astype(np.uint8), format="rgb24")
            container.mux(stream.encode(image))
        container.mux(stream.encode())
    return Clip(f"{clip.name}, mostly empty", path, truth, boxes)


def script(clip: Clip) -> Iterator[tuple[int, int, np.ndarray | None]]:
    """(frame of the clip, person, box) of each frame of the mostly empty video; box None: nobody."""
    visits: dict[int, list[tuple[int, np.ndarray]]] = {}
    for index in range(clip.first, min(clip.last, max(clip.truth) + 1)):
        for person, box in zip(*clip.truth.get(index, ((), ())), strict=True):
            visits.setdefault(int(person), []).append((index, box))
    for person, sightings in visits.items():
        yield from ((clip.first, 0, None) for _ in range(int(EMPTY_S * RATE)))
        yield from ((index, person, box) for index, box in sightings)
    yield from ((clip.first, 0, None) for _ in range(int(EMPTY_S * RATE)))


def paste(picture: np.ndarray, source: np.ndarray, box: np.ndarray) -> None:
    """A person with a soft-edged margin around the box, in place."""
    margin = 0.1 * (box[3] - box[1])
    left, top, right, bottom = np.round([*(box[:2] - margin), *(box[2:] + margin)]).astype(int)
    weight = np.zeros(picture.shape[:2], np.float32)
    weight[max(top, 0) : bottom, max(left, 0) : right] = 1
    weight = cv2.GaussianBlur(weight, (0, 0), 2)[..., None]
    picture += weight * (source - picture)


def near(detections: Detections, box: np.ndarray) -> Detections:
    """The detections that show this person."""
    if not len(detections):
        return detections
    kept = box_iou(detections.xyxy, box[None])[:, 0] >= 0.3
    return Detections(detections.xyxy[kept], detections.confidence[kept])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--pets", type=Path)
    parser.add_argument("--cache", type=Path, required=True, help="for detections and the video that is made")
    parser.add_argument("--clip", type=Path, nargs=2, action="append", default=[])
    parser.add_argument("--fps", type=float, nargs="+", default=[5.0, 10.0])
    options = parser.parse_args()
    clips = [Clip(v.stem, v, read_mot(truth), load(v, options.cache)) for v, truth in options.clip]
    if options.pets:
        video = options.pets / "vtest.avi"
        truth, boxes = read_mot(options.pets / "gt.txt"), load(video, options.cache)
        for name, first, last in (("PETS, first half", 0, SPLIT), ("PETS, second half", SPLIT, 1 << 30)):
            half = Clip(name, video, truth, boxes, first, last)
            clips += [half, mostly_empty(half, options.cache / f"mostly-empty-{first}.mp4")]
    print(
        "| clip | fps | frames due | analysed | of empty frames skipped | opened for nothing | "
        "of frames with people analysed | "
        "delay in frames, mean / most | people found without gate | of them lost with it | "
        "recall without / with | IDF1 without / with | ms a look |"
    )
    print("|" + "---|" * 13)
    for clip in clips:
        for fps in options.fps:
            report(clip, fps)


if __name__ == "__main__":
    main()
