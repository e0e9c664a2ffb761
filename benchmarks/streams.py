"""How many live streams this machine carries at 5 analysed frames a second, and what each stage takes.

    python benchmarks/streams.py [--fps 5] [--height 1080] [--rate 25] [--weights FILE] [--counts 1 2 3]

H.264 streams are served by GStreamer's RTSP server on the same machine, which takes its part of the
processor, too. The number of streams is raised until more than one due frame in a hundred is dropped; the
last number before that is what the machine carries. The motion gate is off, so that every due frame is
analysed, and the cameras hang still (ByteTrack). Searchable after: from the capture of a person's eighth
analysed frame, which fills a clip, to when another process finds the tracklet in the gallery. Read: processor
time of the cameras' threads, which decode; the other stages are wall time.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "benchmarks")]

import cv2
import numpy as np
from rtsp_server import why_not
from soak import Sample, grown, latency, read, watched

from pipeline.config import VideoSettings
from pipeline.types import CLIP_LENGTH
from pipeline.video import SourceSpec, open_source
from pipeline.video_writer import VideoWriter
from storage.errors import GalleryError
from storage.gallery import Gallery

WARM_UP_S = 15.0
MOST_DROPPED = 0.01


@dataclass
class Load:
    """What a number of streams did to the machine."""

    streams: int
    analysed_per_s: float
    dropped: float
    p95_s: float
    cores: float
    stages: dict[str, float]
    searchable_s: list[float]


def main() -> None:
    """Raise the number of streams, print a row for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--fps", type=float, default=5)
    parser.add_argument("--height", type=int, default=1080)
    parser.add_argument("--rate", type=float, default=25)
    parser.add_argument("--seconds", type=float, default=45)
    parser.add_argument("--weights", help="of the detector")
    parser.add_argument("--counts", type=int, nargs="+", default=list(range(1, 65)))
    arguments = parser.parse_args()
    if reason := why_not():
        sys.exit(reason)
    overrides = ["live.motion_gate=false", "tracker.name=bytetrack"]
    overrides += [f"detector.weights={arguments.weights}"] if arguments.weights else []
    stages = ("read", "convert", "detect", "track", "embed", "write")
    print("| streams | analysed/s | dropped | latency p95 s | searchable after s, p50 / p95 | cores of it |")
    print("|" + "---|" * 6)
    carried = 0
    with tempfile.TemporaryDirectory() as folder:
        videos = scaled(
            sorted((ROOT / "examples/three_cameras").glob("*.mp4")), arguments.height, Path(folder)
        )
        for count in arguments.counts:
            load = measured(videos, count, arguments, overrides)
            waits = load.searchable_s or [float("nan")]
            p50, p95 = np.quantile(waits, 0.5), np.quantile(waits, 0.95)
            print(
                f"| {count} | {load.analysed_per_s:.1f} | {load.dropped:.1%} | {load.p95_s} | "
                f"{p50:.1f} / {p95:.1f} of {len(load.searchable_s)} | {load.cores:.2f} |",
                "; ".join(f"{stage} {load.stages.get(stage, 0.0):.0%}" for stage in stages),
                flush=True,
            )
            if load.dropped > MOST_DROPPED:
                break
            carried = count
    cores = os.cpu_count() or 1
    print(f"\n{carried} streams of {arguments.height} lines on {cores} cores: {carried / cores:.1f} a core")


def scaled(videos: Sequence[Path], height: int, folder: Path) -> list[Path]:
    """The videos at another size, as H.264 without B-frames."""
    made = []
    for video in videos:
        source = open_source(SourceSpec("any", str(video)), VideoSettings(analysis_fps=None))
        path = folder / video.name
        with VideoWriter(path, source.frame_rate, crf=26, preset="veryfast") as writer:
            for frame in source.frames():
                width = round(frame.image.shape[1] * height / frame.image.shape[0] / 2) * 2
                writer.add(cv2.resize(frame.image, (width, height), interpolation=cv2.INTER_LINEAR))
        made.append(path)
    return made


def measured(
    videos: Sequence[Path], streams: int, arguments: argparse.Namespace, overrides: Sequence[str]
) -> Load:
    """Run so many streams for a while."""
    found: list[float] = []
    done = threading.Event()
    with watched(videos, streams, arguments.fps, overrides, rate=arguments.rate) as (process, port, folder):
        looking = threading.Thread(target=look_for_people, args=(folder, found, done))
        looking.start()
        samples = list(read(process.pid, port, WARM_UP_S + arguments.seconds))
        done.set()
        looking.join()
        process.send_signal(signal.SIGTERM)
        process.wait(30)
    first = next(sample for sample in samples if sample.at >= samples[0].at + WARM_UP_S)
    return _load(streams, first, samples[-1], found)


def look_for_people(folder: Path, found: list[float], done: threading.Event) -> None:
    """Look into the gallery again and again: how long after its first full clip is a tracklet there?"""
    newest = 0
    while not done.wait(0.1):
        try:
            with Gallery.open(folder, read_only=True) as gallery:
                while not done.wait(0.1):
                    last, _ = gallery.arrived(newest)
                    now = time.time()
                    for number in range(newest + 1, last + 1):
                        if gallery.tracklet(number).searchable:
                            found.append(now - gallery.trajectory(number).timestamps[CLIP_LENGTH - 1])
                    newest = last
        except (GalleryError, OSError):
            continue  # it is still being made


def _load(streams: int, first: Sample, last: Sample, searchable_s: list[float]) -> Load:
    seconds = last.at - first.at
    due, dropped, analysed = (
        sum(grown(first, last, f"frames_{what}_total").values()) for what in ("due", "dropped", "analysed")
    )
    stages = {stage: value / seconds for stage, value in grown(first, last, "stage_seconds_total").items()}
    stages["read"] = sum(grown(first, last, "read_cpu_seconds_total").values()) / seconds
    cores = grown(first, last, "process_cpu_seconds_total")[""] / seconds
    p95 = latency(first, last, 0.95)
    return Load(streams, analysed / seconds, dropped / max(due, 1), p95, cores, stages, searchable_s)


if __name__ == "__main__":
    main()
