"""A run's numbers as Prometheus reads them: looked up when it asks, so that a frame pays nothing for them."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from itertools import accumulate
from pathlib import Path
from time import monotonic, time
from typing import get_args

from prometheus_client import GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector, CollectorRegistry

from pipeline.live.status import CameraState, CameraStatus, RunStatus

_COUNTERS: tuple[tuple[str, str, Callable[[CameraStatus], float]], ...] = (
    ("frames_read", "Pictures decoded.", lambda c: c.pictures_read),
    ("frames_due", "Pictures that the analysis rate asked for.", lambda c: c.frames_due),
    ("frames_idle", "Due pictures left out because nothing moved.", lambda c: c.frames_idle),
    ("frames_dropped", "Due pictures overtaken by a newer one.", lambda c: c.frames_dropped),
    ("frames_analysed", "Pictures that went through detector and tracker.", lambda c: c.frames_analysed),
    ("connections", "Streams opened; reconnects are one less.", lambda c: c.connections),
    ("damaged", "Pictures or packets that could not be decoded.", lambda c: c.damaged),
    ("clock_jumps", "Times that the stream's clock was restarted or jumped.", lambda c: c.clock_jumps),
    ("tracklets", "Tracklets stored.", lambda c: c.tracklets),
    ("tracks_stitched", "Tracks joined to an earlier one of the same person.", lambda c: c.stitched),
)


def run_registry(status: RunStatus) -> CollectorRegistry:
    """A registry of its own with a run's numbers and those of its process."""
    registry = CollectorRegistry()
    registry.register(RunCollector(status))
    registry.register(GpuCollector())
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=registry)
    return registry


class RunCollector(Collector):
    """`RunStatus` as metrics with the prefix `retrace_`, made anew for every scrape."""

    def __init__(self, status: RunStatus) -> None:
        self._status = status

    def collect(self) -> Iterator[Metric]:
        """All metrics; each camera is a label."""
        yield from _of_cameras(self._status.cameras)
        yield from _of_run(self._status)


def _of_cameras(cameras: list[CameraStatus]) -> Iterator[Metric]:
    for name, text, value in _COUNTERS:
        counter = CounterMetricFamily(f"retrace_{name}", text, labels=["camera"])
        for camera in cameras:
            counter.add_metric([camera.name], value(camera))
        yield counter
    failures = CounterMetricFamily("retrace_failures", "Failed tries.", labels=["camera", "reason"])
    rejected = CounterMetricFamily("retrace_tracks_rejected", "Tracks not kept.", labels=["camera", "reason"])
    for camera in cameras:
        # dict() copies in one step: the camera's thread may add a reason meanwhile.
        for reason, count in dict(camera.failures).items():
            failures.add_metric([camera.name, reason], count)
        for reason, count in dict(camera.rejected).items():
            rejected.add_metric([camera.name, reason], count)
    yield failures
    yield rejected
    yield _latency(cameras)
    yield from _camera_gauges(cameras)


def _latency(cameras: list[CameraStatus]) -> Metric:
    latency = HistogramMetricFamily(
        "retrace_latency_seconds", "From a picture's capture to the end of its analysis.", labels=["camera"]
    )
    for camera in cameras:
        counts, total = list(camera.latency.counts), camera.latency.total
        bounds = [*map(str, camera.latency.bounds), "+Inf"]
        latency.add_metric([camera.name], list(zip(bounds, accumulate(counts), strict=True)), total)
    return latency


def _camera_gauges(cameras: list[CameraStatus]) -> Iterator[Metric]:
    state = GaugeMetricFamily("retrace_camera_state", "1 for what it does now.", labels=["camera", "state"])
    drift = GaugeMetricFamily(
        "retrace_clock_drift_ratio", "How much faster the camera's clock runs than ours.", labels=["camera"]
    )
    age = GaugeMetricFamily(
        "retrace_last_frame_age_seconds", "Since the capture of the last frame analysed.", labels=["camera"]
    )
    cpu = CounterMetricFamily(
        "retrace_read_cpu_seconds", "Processor time of a camera's reading and decoding.", labels=["camera"]
    )
    now = time()
    for camera in cameras:
        if (seconds := _thread_cpu_s(camera.thread_id)) is not None:
            cpu.add_metric([camera.name], seconds)
        current, ppm, last = camera.state, camera.drift_ppm, camera.last_frame
        for name in get_args(CameraState):
            state.add_metric([camera.name, name], float(name == current))
        if ppm is not None:
            drift.add_metric([camera.name], ppm * 1e-6)
        if last is not None:
            age.add_metric([camera.name], now - last)
    yield from (state, drift, age, cpu)


def _thread_cpu_s(thread_id: int | None) -> float | None:
    """Processor time of a thread of this process; None if it has ended, or the kernel does not tell."""
    try:
        told = Path(f"/proc/self/task/{thread_id}/stat").read_text()
    except OSError:
        return None
    fields = told.rpartition(")")[2].split()  # the name before may hold anything
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _of_run(status: RunStatus) -> Iterator[Metric]:
    seconds = CounterMetricFamily("retrace_stage_seconds", "Wall time of a stage.", labels=["stage"])
    batches = CounterMetricFamily("retrace_stage_batches", "Batches through a stage.", labels=["stage"])
    queued = GaugeMetricFamily("retrace_queued", "What waits in front of a stage.", labels=["queue"])
    for stage, value in dict(status.stage_s).items():
        seconds.add_metric([stage], value)
    for stage, count in dict(status.stage_calls).items():
        batches.add_metric([stage], count)
    for queue, count in dict(status.queued).items():
        queued.add_metric([queue], count)
    alerts = CounterMetricFamily("retrace_alerts", "What became of alerts.", labels=["outcome"])
    for outcome in ("raised", "delivered", "retried", "failed"):
        alerts.add_metric([outcome], status.alerts[outcome])  # also at 0, so that the first one is a rise
    yield from (seconds, batches, queued, alerts)
    yield GaugeMetricFamily(
        "retrace_paused", "1 while ingest stands still.", value=float(bool(status.paused))
    )
    yield GaugeMetricFamily(
        "retrace_start_time_seconds", "When the run began, since 1970.", value=status.started
    )
    if status.beat:
        beat_age = monotonic() - status.beat
        yield GaugeMetricFamily(
            "retrace_beat_age_seconds", "Since the main loop's last turn.", value=beat_age
        )
    yield GaugeMetricFamily("retrace_threads", "Threads of this process.", value=_num_threads())


def _num_threads() -> int:
    tasks = Path("/proc/self/task")  # also those of FFmpeg, torch and FAISS, which Python does not count
    return len(list(tasks.iterdir())) if tasks.is_dir() else threading.active_count()


class GpuCollector(Collector):
    """Memory and load of the GPUs that this process computes on; nothing where it computes on none."""

    def collect(self) -> Iterator[Metric]:
        """One sample per GPU in use."""
        used = GaugeMetricFamily("retrace_gpu_memory_used_bytes", "Of all processes.", labels=["gpu"])
        total = GaugeMetricFamily("retrace_gpu_memory_total_bytes", "Of the card.", labels=["gpu"])
        load = GaugeMetricFamily(
            "retrace_gpu_utilisation_ratio", "Share of time with work on it.", labels=["gpu"]
        )
        for gpu, used_bytes, total_bytes, share in _gpus():
            used.add_metric([gpu], used_bytes)
            total.add_metric([gpu], total_bytes)
            if share is not None:
                load.add_metric([gpu], share)
        yield from (used, total, load)


def _gpus() -> Iterator[tuple[str, int, int, float | None]]:
    """(number, bytes used, bytes in all, load in [0, 1] or None) of each GPU that torch computes on.

    Looking at a GPU that is not in use would take memory there, so nothing is imported or begun for it.
    """
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return
    for index in range(torch.cuda.device_count()):
        if torch.cuda.memory_reserved(index):
            free, total = torch.cuda.mem_get_info(index)
            yield str(index), total - free, total, _load(torch, index)


def _load(torch: object, index: int) -> float | None:
    try:
        return float(torch.cuda.utilization(index)) / 100  # type: ignore[attr-defined]
    except (ImportError, RuntimeError):  # it needs NVIDIA's management library and its Python binding
        return None
