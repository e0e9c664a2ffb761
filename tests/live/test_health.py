"""The health server is a real one, asked over real sockets."""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pipeline.live import health as health_module
from pipeline.live.health import AddressError, HealthServer, parse_address
from pipeline.live.metrics import run_registry
from pipeline.live.status import CameraStatus, RunStatus
from pipeline.live.watchdog import Watchdog


@pytest.fixture
def status() -> RunStatus:
    yard = CameraStatus("yard", "rtsp://10.0.0.3/secret-path", state="streaming", pictures_read=250)
    yard.frames_due, yard.frames_idle, yard.frames_dropped, yard.frames_analysed = 50, 20, 3, 27
    yard.connections, yard.clock_jumps, yard.drift_ppm, yard.tracklets = 4, 1, 12.5, 9
    yard.failures.update({"timeout": 2, "open": 1})
    yard.rejected.update(too_short=5)
    yard.last_frame, yard.thread_id = time.time() - 2.0, threading.get_native_id()
    for seconds in (0.04, 0.3, 0.31, 99.0):
        yard.latency.observe(seconds)
    run = RunStatus(
        time.time() - 60, [yard, CameraStatus('gate "2"', "0", state="waiting", detail="no route")]
    )
    run.stage_s.update({"detect": 4.5})
    run.stage_calls.update({"detect": 30})
    run.queued["write"] = 7
    run.alerts["delivered"] = 2
    run.beat = time.monotonic()
    return run


@pytest.fixture
def server(status: RunStatus) -> Iterator[HealthServer]:
    with HealthServer(status, "127.0.0.1:0") as opened:
        yield opened


def _ask(
    server: HealthServer, path: str, method: str = "GET", accept: str = ""
) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection(server.address, timeout=5)
    try:
        connection.request(method, path, headers={"Accept": accept} if accept else {})
        response = connection.getresponse()
        return response, response.read()
    finally:
        connection.close()


def _samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_metrics_have_every_number_of_the_status(server: HealthServer) -> None:
    response, body = _ask(server, "/metrics")
    assert response.status == 200
    assert response.headers["Content-Type"].startswith("text/plain")
    found = _samples(body.decode())

    def of(name: str, **labels: str) -> float:
        return found[name, tuple(sorted(labels.items()))]

    yard = {"camera": "yard"}
    assert of("retrace_frames_read_total", **yard) == 250
    assert of("retrace_frames_due_total", **yard) == 50
    assert of("retrace_frames_idle_total", **yard) == 20
    assert of("retrace_frames_dropped_total", **yard) == 3
    assert of("retrace_frames_analysed_total", **yard) == 27
    assert of("retrace_connections_total", **yard) == 4
    assert of("retrace_failures_total", **yard, reason="timeout") == 2
    assert of("retrace_tracks_rejected_total", **yard, reason="too_short") == 5
    assert of("retrace_clock_jumps_total", **yard) == 1
    assert of("retrace_clock_drift_ratio", **yard) == pytest.approx(12.5e-6)
    assert of("retrace_tracklets_total", **yard) == 9
    assert 2.0 <= of("retrace_last_frame_age_seconds", **yard) < 10
    assert of("retrace_camera_state", **yard, state="streaming") == 1
    assert of("retrace_camera_state", **yard, state="waiting") == 0
    assert of("retrace_camera_state", camera='gate "2"', state="waiting") == 1
    assert of("retrace_latency_seconds_bucket", **yard, le="0.3") == 2
    assert of("retrace_latency_seconds_bucket", **yard, le="+Inf") == 4
    assert of("retrace_latency_seconds_count", **yard) == 4
    assert of("retrace_latency_seconds_sum", **yard) == pytest.approx(99.65)
    assert of("retrace_stage_seconds_total", stage="detect") == 4.5
    assert of("retrace_stage_batches_total", stage="detect") == 30
    assert of("retrace_queued", queue="write") == 7
    assert of("retrace_alerts_total", outcome="delivered") == 2
    assert of("retrace_alerts_total", outcome="failed") == 0
    assert of("retrace_read_cpu_seconds_total", **yard) > 0
    assert of("retrace_paused") == 0
    assert of("retrace_threads") >= 2
    assert of("process_resident_memory_bytes") > 1e6
    assert of("process_open_fds") > 3
    assert ("retrace_clock_drift_ratio", (("camera", 'gate "2"'),)) not in found, "not known is not 0"
    assert b"secret-path" not in body


def test_metrics_follow_the_run_and_the_format_asked_for(server: HealthServer, status: RunStatus) -> None:
    status.cameras[0].pictures_read = 999
    status.paused = "disk full: 12 MB left"
    response, body = _ask(server, "/metrics", accept="application/openmetrics-text; version=1.0.0")
    assert response.headers["Content-Type"].startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")
    assert b'retrace_frames_read_total{camera="yard"} 999.0' in body
    assert b"retrace_paused 1.0" in body


def test_names_keep_the_conventions_of_prometheus(status: RunStatus) -> None:
    for family in run_registry(status).collect():
        ours = family.name.startswith("retrace_")
        assert ours or family.name.startswith(("process_", "python_")), family.name
        if ours:
            assert re.fullmatch(r"[a-z_]+", family.name), family.name
            assert family.documentation.endswith("."), family.name
            assert not family.name.endswith(("_ms", "_ppm", "_mb")), "base units only"


def test_health_says_what_is_wrong(server: HealthServer, status: RunStatus) -> None:
    response, body = _ask(server, "/healthz")
    told = json.loads(body)
    assert (response.status, told["status"], told["reason"]) == (200, "ok", "")
    assert [(camera["camera"], camera["state"]) for camera in told["cameras"]] == [
        ("yard", "streaming"),
        ('gate "2"', "waiting"),
    ]
    assert told["cameras"][0]["last_frame_age_s"] == pytest.approx(2.0, abs=5)
    assert told["cameras"][1]["last_frame_age_s"] is None
    assert b"10.0.0.3" not in body

    status.paused = "disk full: 12 MB left"
    response, body = _ask(server, "/healthz")
    assert (response.status, json.loads(body)["reason"]) == (503, "paused: disk full: 12 MB left")

    status.paused, status.beat = "", time.monotonic() - 10.5
    response, body = _ask(server, "/healthz")
    assert response.status == 503
    assert "has not turned for 1" in json.loads(body)["reason"]

    status.beat = 0.0
    assert "starting" in json.loads(_ask(server, "/healthz")[1])["reason"]
    status.paused = "disk full: 12 MB left"
    assert json.loads(_ask(server, "/healthz")[1])["reason"] == "paused: disk full: 12 MB left"
    status.cameras[1].state, status.cameras[1].detail = "failed", "yard.mp4 does not exist"
    failed = json.loads(_ask(server, "/healthz")[1])["cameras"][1]
    assert (failed["state"], failed["detail"]) == ("failed", "yard.mp4 does not exist")


@pytest.mark.parametrize("path", ["/", "/..%2f..%2fetc/passwd", "/metrics/", "/healthz.json", "//healthz/x"])
def test_there_is_nothing_else(server: HealthServer, path: str) -> None:
    response, body = _ask(server, path)
    assert response.status == 404
    assert b"passwd" not in body


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_nothing_can_be_changed(server: HealthServer, method: str) -> None:
    response, _ = _ask(server, "/healthz", method)
    assert response.status == 405
    assert response.headers["Allow"] == "GET, HEAD"


def test_head_has_headers_alone_and_none_tells_the_version(server: HealthServer) -> None:
    response, body = _ask(server, "/healthz", "HEAD")
    assert (response.status, body) == (200, b"")
    assert int(response.headers["Content-Length"]) > 0
    for path in ("/healthz", "/nothing"):
        headers = _ask(server, path)[0].headers
        assert "Server" not in headers
        assert "Python" not in str(headers)


def test_a_client_that_says_nothing_is_cut_off(status: RunStatus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health_module, "_REQUEST_S", 0.6)
    with HealthServer(status, "127.0.0.1:0") as server:
        host, port = server.address.rsplit(":", 1)
        with socket.create_connection((host, int(port)), timeout=5) as client:
            begin = time.monotonic()
            with pytest.raises(OSError, match=r"reset|[Bb]roken"):
                _send_slowly(client, b"GET /healthz HTTP/1.0\r\nX: " + b"x" * 200)
            assert time.monotonic() - begin < 3
        assert _ask(server, "/healthz")[0].status == 200


def _send_slowly(client: socket.socket, text: bytes) -> None:
    """A byte now and then: no silence is long enough for a time-out between bytes."""
    for letter in text:
        client.sendall(bytes([letter]))
        time.sleep(0.2)


def test_too_many_clients_leave_the_run_alone(status: RunStatus) -> None:
    with HealthServer(status, "127.0.0.1:0") as server:
        host, port = server.address.rsplit(":", 1)
        held = [socket.create_connection((host, int(port)), timeout=5) for _ in range(40)]
        time.sleep(0.5)
        refused = sum(_is_closed(client) for client in held)
        for client in held:
            client.close()
        assert 20 <= refused < 40
        time.sleep(0.3)
        assert _ask(server, "/healthz")[0].status == 200


def _is_closed(client: socket.socket) -> bool:
    client.settimeout(0.05)
    try:
        return client.recv(1) == b""
    except TimeoutError:
        return False
    except OSError:
        return True


def test_a_port_that_is_taken_is_an_error_that_says_so(server: HealthServer, status: RunStatus) -> None:
    with pytest.raises(AddressError, match=rf"cannot listen on {server.address} .*in use.*another"):
        HealthServer(status, server.address).__enter__()


def test_the_port_is_free_again_afterwards(status: RunStatus) -> None:
    with HealthServer(status, "127.0.0.1:0") as server:
        _ask(server, "/healthz")
    with HealthServer(status, server.address) as again:
        assert _ask(again, "/healthz")[0].status == 200


@pytest.mark.parametrize(
    "text", ["9464", ":9464", "localhost", "localhost:", "localhost:http", "h:99999", ""]
)
def test_an_address_needs_host_and_port(text: str) -> None:
    with pytest.raises(ValueError, match="not HOST:PORT"):
        parse_address(text)


def test_addresses() -> None:
    assert parse_address("0.0.0.0:80") == ("0.0.0.0", 80)
    assert parse_address("[::1]:9464") == ("::1", 9464)


def test_scrapes_while_the_run_counts(server: HealthServer, status: RunStatus) -> None:
    """Threads that add reasons and stages meanwhile must not break a scrape."""
    script = range(300)
    for number in script:
        status.cameras[0].failures[f"reason {number}"] += 1
        status.stage_s[f"stage {number}"] += 0.1
        if number % 30 == 0:
            assert _ask(server, "/metrics")[0].status == 200


def test_metrics_never_import_torch_nor_wake_a_gpu() -> None:
    code = """
        import sys, time
        from prometheus_client import generate_latest
        from pipeline.live.metrics import run_registry
        from pipeline.live.status import RunStatus
        text = generate_latest(run_registry(RunStatus(time.time(), [])))
        assert b"retrace_gpu_memory_used_bytes" in text
        assert "torch" not in sys.modules
        import torch
        generate_latest(run_registry(RunStatus(time.time(), [])))
        assert not torch.cuda.is_initialized()
    """
    root = Path(__file__).resolve().parents[2]
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True, cwd=root, timeout=120)


def test_systemd_hears_ready_life_and_stop(
    status: RunStatus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "300000")
        monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
        status.beat = 0.0
        with Watchdog(status):
            manager.settimeout(0.3)
            with pytest.raises(TimeoutError):
                manager.recv(999)
            manager.settimeout(5)
            status.beat = time.monotonic()
            assert manager.recv(999) == b"READY=1"
            assert manager.recv(999) == b"STATUS=1 of 2 cameras streaming\nWATCHDOG=1"
            status.paused = "disk full"
            told = [manager.recv(999) for _ in range(3)][-1]
            assert told == b"STATUS=paused: disk full\nWATCHDOG=1", "a paused run is not restarted"
            status.paused, status.beat = "", time.monotonic() - 60
            told = [manager.recv(999) for _ in range(3)][-1]
            assert told.startswith(b"STATUS=the main loop has not turned for 60 s")
            assert b"WATCHDOG" not in told
        assert b"STOPPING=1" in [manager.recv(999), *_rest(manager)]


def test_an_error_does_not_end_the_signs_of_life(
    status: RunStatus,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(20)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setattr("pipeline.live.watchdog._EVERY_S", 0.05)
        errors = iter([KeyError("never thought of")])

        def failing(status: RunStatus) -> str:
            for error in errors:
                raise error
            return "going on"

        monkeypatch.setattr("pipeline.live.watchdog._summary", failing)
        with Watchdog(status):
            assert [manager.recv(999) for _ in range(2)][-1].startswith(b"STATUS=going on")
    assert "the service manager cannot be told" in caplog.messages


def _rest(manager: socket.socket) -> list[bytes]:
    manager.setblocking(False)
    received = []
    try:
        while True:
            received.append(manager.recv(999))
    except BlockingIOError:
        return received


def test_without_a_service_manager_nothing_happens(
    status: RunStatus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    with Watchdog(status):
        pass
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    with Watchdog(status):
        pass
