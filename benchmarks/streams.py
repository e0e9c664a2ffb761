"""How many live streams this machine carries at 5 analysed frames a second, and what each stage takes.

    python benchmarks/streams.py [--fps 5] [--height 1080] [--rate 25] [--weights FILE] [--counts 1 2 3]

H.264 streams are served by GStreamer's RTSP server on the same machine, which takes its part of the
processor, too. The number of streams is raised until more than one due frame in a hundred is dropped; the
last number before that is what the machine carries. The motion gate is off, so that every due frame is
analysed, and the cameras hang still (ByteTrack).
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "benchmarks")]

import cv2
from rtsp_server import why_not
from soak import Sample, grown, latency, read, watched

from pipeline.config import VideoSettings
from pipeline.video import SourceSpec, open_source
from pipeline.video_writer import VideoWriter

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
    stages = ("convert", "detect", "track", "embed", "write")
    print("| streams | analysed/s | dropped | latency p95 s | cores of it |", " | ".join(stages), "|")
    print("|" + "---|" * (5 + len(stages)))
    carried = 0
    with tempfile.TemporaryDirectory() as folder:
        videos = scaled(
            sorted((ROOT / "examples/three_cameras").glob("*.mp4")), arguments.height, Path(folder)
        )
        for count in arguments.counts:
            load = measured(videos, count, arguments, overrides)
            shares = " | ".join(f"{load.stages.get(stage, 0.0):.0%}" for stage in stages)
            print(
                f"| {count} | {load.analysed_per_s:.1f} | {load.dropped:.1%} | {load.p95_s} | "
                f"{load.cores:.2f} | {shares} |",
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
    with watched(videos, streams, arguments.fps, overrides, rate=arguments.rate) as (process, port):
        samples = list(read(process.pid, port, WARM_UP_S + arguments.seconds))
        process.send_signal(signal.SIGTERM)
        process.wait(30)
    first = next(sample for sample in samples if sample.at >= samples[0].at + WARM_UP_S)
    return _load(streams, first, samples[-1])


def _load(streams: int, first: Sample, last: Sample) -> Load:
    seconds = last.at - first.at
    due, dropped, analysed = (
        sum(grown(first, last, f"frames_{what}_total").values()) for what in ("due", "dropped", "analysed")
    )
    stages = {stage: value / seconds for stage, value in grown(first, last, "stage_seconds_total").items()}
    cores = grown(first, last, "process_cpu_seconds_total")[""] / seconds
    return Load(streams, analysed / seconds, dropped / max(due, 1), latency(first, last, 0.95), cores, stages)


if __name__ == "__main__":
    main()
