"""Many live streams at this machine's limit for a long time: memory, latency, fair shares.

    python benchmarks/soak.py [--minutes 20] [--streams 8] [--fps 5] [--video FILE ...] [--set key=value ...]

GStreamer's RTSP servers send the videos (by default those of `examples/three_cameras`) over and over;
`run_pipeline.py run` watches them with the default detector and embedder in a process of its own, and its
/metrics are read every five seconds. The first quarter, at most five minutes, is warm-up. Latency is from a
picture's capture to the end of its analysis; a camera's share is its analysed frames by their mean.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import numpy as np
import yaml
from prometheus_client.parser import text_string_to_metric_families
from rtsp_server import Mount, RtspServer, free_port, why_not

EVERY_S = 5.0
WARM_UP_S = 300.0


@dataclass
class Sample:
    """One reading of /metrics: `values` by (name, camera or stage, bound)."""

    at: float
    rss_mb: float
    values: dict[tuple[str, str, str], float]

    def of(self, name: str) -> dict[str, float]:
        """One metric by its camera or stage."""
        return {label: value for (metric, label, _), value in self.values.items() if metric == name}


def main() -> None:
    """Serve, run, read, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--streams", type=int, default=8)
    parser.add_argument("--fps", type=float, default=5)
    parser.add_argument("--video", nargs="+", type=Path)
    parser.add_argument("--set", nargs="+", default=[])
    arguments = parser.parse_args()
    if reason := why_not():
        sys.exit(reason)
    videos = arguments.video or sorted((ROOT / "examples/three_cameras").glob("*.mp4"))
    with watched(videos, arguments.streams, arguments.fps, arguments.set) as (process, port, _):
        samples = list(read(process.pid, port, arguments.minutes * 60))
        begin = time.monotonic()
        process.send_signal(signal.SIGTERM)
        code = process.wait(30)
        stopped_s = time.monotonic() - begin
    warm = samples[0].at + min(WARM_UP_S, arguments.minutes * 15)
    report([sample for sample in samples if sample.at >= warm])
    print(f"\nSIGTERM: exit code {code} after {stopped_s:.1f} s")


@contextmanager
def watched(
    videos: Sequence[Path], streams: int, fps: float, overrides: Sequence[str], rate: float | None = None
) -> Iterator[tuple[subprocess.Popen[bytes], int, Path]]:
    """A server that sends the videos, at `rate` frames a second, and a run that watches it at `fps`.

    Yields:
        The run's process, its port for metrics, and its gallery's folder.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        copies = [folder / f"{i}{video.suffix}" for i, video in enumerate(videos)]
        for copy, video in zip(copies, videos, strict=True):
            copy.write_bytes(video.read_bytes())  # the server keeps what it sends beside the video
        mounts = [Mount.of(f"camera-{i}", copies[i % len(copies)], rate) for i in range(streams)]
        server = stack.enter_context(RtspServer(mounts))
        cameras = [{"name": m.name, "uri": server.uri(m.name), "analysis_fps": fps} for m in mounts]
        config, port = folder / "cameras.yaml", free_port()
        config.write_text(yaml.safe_dump({"cameras": cameras, "retention": {"min_free_mb": 100}}))
        command = [sys.executable, str(ROOT / "run_pipeline.py"), "run", "--config", str(config)]
        command += ["--gallery", str(folder / "gallery"), "--listen", f"127.0.0.1:{port}", "--show", "json"]
        command += [part for override in overrides for part in ("--set", override)]
        process = subprocess.Popen(command)
        stack.callback(process.kill)
        yield process, port, folder / "gallery"


def read(pid: int, port: int, seconds: float) -> Iterator[Sample]:
    """Read /metrics again and again, from when it answers first."""
    end = None
    while end is None or time.monotonic() < end:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
                text = answer.read().decode()
        except OSError:
            if not Path(f"/proc/{pid}").exists():
                sys.exit("the run has ended")
            time.sleep(0.5)
            continue
        end = end or time.monotonic() + seconds
        yield Sample(time.monotonic(), _rss_mb(pid), _values(text))
        time.sleep(EVERY_S)


def _rss_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    sys.exit("the run has ended")


def _values(text: str) -> dict[tuple[str, str, str], float]:
    return {
        (
            sample.name.removeprefix("retrace_"),
            sample.labels.get("camera", sample.labels.get("stage", "")),
            sample.labels.get("le", sample.labels.get("state", "")),
        ): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def report(samples: Sequence[Sample]) -> None:
    """Print what happened between the first and the last sample."""
    first, last = samples[0], samples[-1]
    seconds = last.at - first.at
    minutes = [(sample.at - first.at) / 60 for sample in samples]
    slope = float(np.polyfit(minutes, [sample.rss_mb for sample in samples], 1)[0])
    print(f"\n{seconds / 60:.1f} minutes after warm-up, {len(samples)} readings")
    print(
        "\n| camera | analysed/s | due/s | dropped | idle | latency p50 s | p95 s | share |\n|" + "---|" * 8
    )
    analysed = grown(first, last, "frames_analysed_total")
    mean = sum(analysed.values()) / len(analysed)
    for camera in analysed:
        due, dropped, idle = (
            grown(first, last, f"frames_{what}_total")[camera] for what in ("due", "dropped", "idle")
        )
        p50, p95 = (latency(first, last, share, camera) for share in (0.5, 0.95))
        print(
            f"| {camera} | {analysed[camera] / seconds:.2f} | {due / seconds:.2f} | "
            f"{dropped / max(due, 1):.1%} | {idle / max(due, 1):.1%} | "
            f"{p50} | {p95} | {analysed[camera] / mean:.3f} |"
        )
    spread = max(abs(count / mean - 1) for count in analysed.values())
    p95 = latency(first, last, 0.95)
    print(f"\nlatency of all p95: at most {p95} s; shares within {spread:.1%} of their mean")
    print(f"RSS {first.rss_mb:.0f} -> {last.rss_mb:.0f} MB, slope {slope:+.2f} MB a minute; each minute:")
    print(" ".join(f"{sample.rss_mb:.0f}" for sample in samples[:: round(60 / EVERY_S)]))
    stages = grown(first, last, "stage_seconds_total")
    print("stages: " + ", ".join(f"{stage} {value / seconds:.0%}" for stage, value in sorted(stages.items())))
    print(f"CPU: {grown(first, last, 'process_cpu_seconds_total')[''] / seconds:.2f} cores")
    print(f"tracklets stored: {sum(grown(first, last, 'tracklets_total').values()):.0f}")


def grown(first: Sample, last: Sample, name: str) -> dict[str, float]:
    """By how much a counter grew, by camera or stage."""
    before = first.of(name)
    return {label: value - before.get(label, 0.0) for label, value in last.of(name).items()}


def latency(first: Sample, last: Sample, share: float, camera: str | None = None) -> float:
    """Upper bound of the bucket that holds this share of the frames, in seconds."""
    counts: dict[float, float] = {}
    for (name, label, bound), value in last.values.items():
        if name == "latency_seconds_bucket" and camera in (None, label):
            counts[float(bound)] = (
                counts.get(float(bound), 0) + value - first.values.get((name, label, bound), 0)
            )
    total = max(counts.values(), default=0)
    return next((bound for bound in sorted(counts) if counts[bound] >= share * total), float("nan"))


if __name__ == "__main__":
    main()
