"""Forced disconnects of live streams: does each camera come back, how soon, and is anything left behind?

    python benchmarks/reconnects.py [--disconnects 100] [--streams 8] [--seed 0]

Each stream has an RTSP server of its own (GStreamer; H.264 and H.265, three of four over TCP), which is
killed (-9) and started again, or stalls until it is given up and then goes on. What is measured is the time
from the server's return to the first picture, less the part of the back-off that was waited after the return.
"""

from __future__ import annotations

import argparse
import gc
import random
import statistics
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from painted import BLUE, RED, Painted, paint, write_video
from rtsp_server import Mount, RtspServer, why_not

from pipeline.live.camera import LiveCamera
from pipeline.live.settings import CameraSettings, LiveSettings

LIVE = LiveSettings(open_timeout_s=5, read_timeout_s=3, backoff_s=0.5, backoff_max_s=8, gap_s=2)
GIVE_UP_S = 60.0


@dataclass
class Disconnect:
    """When the server was back (monotonic), how long until a picture, and how much of that was back-off."""

    kind: str
    back: float
    seconds: float
    backoff_s: float


class Timed(LiveCamera):
    """Notes when it waited between tries."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.waits: list[tuple[float, float]] = []

    def _wait(self, kind: str, why: str) -> None:
        begin = time.monotonic()
        super()._wait(kind, why)
        self.waits.append((begin, time.monotonic()))


class Stream:
    """A server, the camera that reads it, and what was done to them."""

    def __init__(self, number: int, videos: dict[str, Path], rng: random.Random) -> None:
        self._rng = rng
        self._server = RtspServer([Mount.of("camera", videos[("h264", "h265")[number % 2]])])
        self._server.start()
        settings = CameraSettings(
            name=f"camera {number}",
            uri=self._server.uri("camera"),
            transport="udp" if number % 4 == 3 else "tcp",
        )
        self.gaps: list[str] = []
        self.camera = Timed(
            settings, LIVE, 5.0, wake=lambda: None, rng=rng,
            on_gap=lambda at, why: self.gaps.append("gap"), on_gap_end=lambda at: self.gaps.append("end"),
        )  # fmt: skip
        self.camera.start()
        self.done: list[Disconnect] = []

    def disconnect(self) -> None:
        """Once, then wait for the next picture."""
        self._look_for(self._rng.uniform(2, 14))
        kind = self._rng.choice(["kill", "kill", "stall"])
        if kind == "kill":
            self._server.kill()
            self._look_for(self._rng.uniform(0.2, 5))
            self._server.start()
        else:
            failures = self.camera.status.failures["timeout"]
            self._server.stall("camera")
            while self.camera.status.failures["timeout"] == failures:
                self._look_for(0.01)
            self._look_for(self._rng.uniform(0, 4))
            self._server.stall("camera", on=False)
        back = time.monotonic()
        first = self._first_after(back)
        waited = sum(max(0.0, min(end, first) - max(begin, back)) for begin, end in self.camera.waits)
        self.done.append(Disconnect(kind, back, first - back, waited))

    def close(self) -> None:
        self.camera.stop()
        self.camera.join(10)
        self._server.kill()

    def _look_for(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.camera.take()
            time.sleep(0.005)

    def _first_after(self, back: float) -> float:
        """When the next picture was there; infinity when none came."""
        self.camera.take()
        while time.monotonic() - back < GIVE_UP_S:
            if self.camera.take() is not None:
                return time.monotonic()
            time.sleep(0.005)
        return float("inf")


def resident_mib() -> float:
    """Of this process: the servers have their own."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


def num_handles() -> int:
    """Open files and sockets of this process."""
    return len(list(Path("/proc/self/fd").iterdir()))


def make_videos(folder: Path) -> dict[str, Path]:
    pictures = [paint([Painted(RED, BLUE, 10, 60)], i, 640, 360) for i in range(50)]
    return {
        "h264": write_video(folder / "h264.mp4", pictures, 25, bf="0"),
        "h265": write_video(
            folder / "h265.mp4", pictures, 25, "libx265", **{"x265-params": "log-level=none:bframes=0"}
        ),
    }


def run(streams: list[Stream], disconnects: int) -> None:
    """All streams at the same time, each at its own moments, until there were so many."""
    left, lock = [disconnects], threading.Lock()

    def work(stream: Stream) -> None:
        while True:
            with lock:
                if left[0] == 0:
                    return
                left[0] -= 1
            stream.disconnect()

    threads = [threading.Thread(target=work, args=(stream,)) for stream in streams]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def report(streams: list[Stream], memory: list[tuple[str, float, int]]) -> None:
    """Tables of times and of what the process holds."""
    done = [d for stream in streams for d in stream.done]
    print("| disconnect | times | recovered | p50 s | p95 s | max s | with back-off: p50 s | max s |")
    print("|---|---|---|---|---|---|---|---|")
    for kind in ("kill", "stall", "all"):
        some = [d for d in done if kind in (d.kind, "all")]
        back = [d for d in some if d.seconds < GIVE_UP_S]
        if not back:
            continue
        net = sorted(d.seconds - d.backoff_s for d in back)
        gross = sorted(d.seconds for d in back)
        print(
            f"| {kind} | {len(some)} | {len(back)} | {statistics.median(net):.2f} | "
            f"{net[int(0.95 * (len(net) - 1))]:.2f} | {net[-1]:.2f} | "
            f"{statistics.median(gross):.2f} | {gross[-1]:.2f} |"
        )
    print("\n| when | resident MiB | open handles |\n|---|---|---|")
    for when, mib, handles in memory:
        print(f"| {when} | {mib:.1f} | {handles} |")
    status = [stream.camera.status for stream in streams]
    told = [word for stream in streams for word in stream.gaps]
    print(
        f"\nConnections: {sum(s.connections for s in status)}, pictures: "
        f"{sum(s.pictures_read for s in status)}, damaged: {sum(s.damaged for s in status)}, "
        f"gaps told: {told.count('gap')}, ended: {told.count('end')}."
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--disconnects", type=int, default=100)
    parser.add_argument("--streams", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if reason := why_not():
        raise SystemExit(reason)
    memory: list[tuple[str, float, int]] = []

    def note(when: str) -> None:
        time.sleep(3)  # all streams are up
        gc.collect()
        memory.append((when, resident_mib(), num_handles()))

    with tempfile.TemporaryDirectory() as folder:
        videos, rng = make_videos(Path(folder)), random.Random(options.seed)
        streams = [Stream(n, videos, random.Random(rng.random())) for n in range(options.streams)]
        try:
            note("all connected")
            for quarter in range(1, 5):
                share = options.disconnects * quarter // 4 - options.disconnects * (quarter - 1) // 4
                run(streams, share)
                note(f"after {options.disconnects * quarter // 4} disconnects")
        finally:
            for stream in streams:
                stream.close()
        report(streams, memory)


if __name__ == "__main__":
    main()
