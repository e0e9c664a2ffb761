"""Eight cameras for a while, with all that befalls cameras: fair, prompt, and nothing grows.

Two minutes unless RETRACE_SOAK_MINUTES says otherwise; `benchmarks/soak.py` does it with the real detector.
"""

from __future__ import annotations

import os
import random
import signal
import time
import urllib.request
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from rtsp_server import Mount, RtspServer, free_port

from storage.gallery import Gallery
from tests.live.running import Start, cameras, until, write_config

MINUTES = float(os.environ.get("RETRACE_SOAK_MINUTES", "2"))
STREAMS, ANALYSED_FPS = 8, 5
WARM_UP_S = 30.0

Reading = dict[tuple[str, str, str], float]


def read(address: str) -> Reading:
    """/metrics as numbers by name, camera and bound."""
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    return {
        (sample.name, sample.labels.get("camera", ""), sample.labels.get("le", "")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def grown(before: Reading, after: Reading, name: str) -> dict[str, float]:
    return {key[1]: value - before.get(key, 0.0) for key, value in after.items() if key[0] == name}


def share_within(before: Reading, after: Reading, bound: str) -> float:
    """Share of the analysed frames that took at most `bound` seconds from capture."""
    within, total = (
        sum(
            value - before.get(key, 0.0)
            for key, value in after.items()
            if key[0] == "retrace_latency_seconds_bucket" and key[2] == upper
        )
        for upper in (bound, "+Inf")
    )
    return within / total


def trouble(servers: list[RtspServer], names: list[str], rng: random.Random) -> None:
    """One of the things that cameras do."""
    server, what = rng.choice(servers), rng.choice(["restart", "stall", "corrupt", "clock"])
    name = rng.choice(names)
    if what == "restart":
        server.restart(after_s=0.5)
    elif what == "stall":
        server.stall(name)
        time.sleep(3)
        server.stall(name, on=False)
    elif what == "corrupt":
        server.corrupt(name, 1.0)
    else:
        server.shift_clock(name, rng.choice([-100.0, 3600.0]))


@pytest.mark.timeout(MINUTES * 60 + 180)
def test_eight_cameras_through_thick_and_thin(tmp_path: Path, walks: list[Mount], start: Start) -> None:
    names, rng = [mount.name for mount in walks], random.Random(3)
    address = f"127.0.0.1:{free_port()}"
    with RtspServer(walks) as calm, RtspServer(walks) as wild, RtspServer(walks) as wilder:
        watched = [
            {**camera, "name": f"{camera['name']}-{label}", "analysis_fps": ANALYSED_FPS}
            for label, server in (("calm", calm), ("wild", wild), ("wilder", wilder))
            for camera in cameras(server, *names)
        ][:STREAMS]
        calm_names = {camera["name"] for camera in watched if camera["name"].endswith("calm")}
        config = write_config(tmp_path, watched, video={"analysis_fps": ANALYSED_FPS})
        process = start(config, tmp_path / "g", address)
        until(lambda: answers(address), 60, "metrics")
        time.sleep(WARM_UP_S)
        before, deadline = read(address), time.monotonic() + max(MINUTES * 60 - WARM_UP_S, 20)
        while time.monotonic() < deadline:
            trouble([wild, wilder], names, rng)
            time.sleep(rng.uniform(2, 6))
        time.sleep(5)
        after = read(address)
        process.send_signal(signal.SIGTERM)
        _, logged = process.communicate(timeout=20)
    assert process.returncode == 0, logged
    assert '"level": "critical"' not in logged
    due, idle, analysed = (
        grown(before, after, f"retrace_frames_{what}_total") for what in ("due", "idle", "analysed")
    )
    shares = [analysed[name] / (due[name] - idle[name]) for name in calm_names]
    assert min(shares) >= 0.9 * max(shares), shares
    assert all(count > 0 for count in analysed.values()), analysed
    assert grown(before, after, "retrace_failures_total"), "nothing befell the cameras"
    assert share_within(before, after, "2.0") >= 0.95
    assert grown(before, after, "process_open_fds")[""] <= 8
    assert (
        grown(before, after, "process_resident_memory_bytes")[""] < 20e6 + 1e6 * MINUTES
    )  # caches fill in a short run
    with Gallery.open(tmp_path / "g") as gallery:
        assert {record.camera for record in gallery.tracklets()} >= calm_names
        assert gallery.gaps()
        gallery.sweep(grace_s=0)
        assert gallery.sweep(grace_s=0) == {"files_removed": 0, "tracklets_without_crops": 0}


def answers(address: str) -> bool:
    try:
        return bool(read(address))
    except OSError:
        return False
