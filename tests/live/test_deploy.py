"""What lies in `deploy/` fits the program, and passes the checks of the tools it is for where they are."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import typer.main
import yaml

from pipeline.live import commands
from pipeline.live.health import DEFAULT_ADDRESS
from pipeline.live.metrics import run_registry
from pipeline.live.settings import LiveSettings
from pipeline.live.status import CameraStatus, RunStatus

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
OPERATIONS = DEPLOY.parent / "docs" / "operations.md"


@pytest.fixture(scope="module")
def metrics() -> dict[str, set[str]]:
    """Names of samples and their labels, of a run in which everything has happened."""
    camera = CameraStatus("yard", "", drift_ppm=1.0, last_frame=time.time())
    camera.thread_id = threading.get_native_id()
    camera.failures["open"] += 1
    camera.rejected["too_short"] += 1
    run = RunStatus(time.time(), [camera], queued={"write": 0}, beat=time.monotonic())
    run.stage_s["detect"] = 1.0
    run.stage_calls["detect"] = 1
    found: dict[str, set[str]] = {}
    for family in run_registry(run).collect():
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
        found.setdefault(family.name, set())
    return found


def test_rules_ask_for_metrics_and_labels_that_there_are(metrics: dict[str, set[str]]) -> None:
    rules = yaml.safe_load((DEPLOY / "retrace.rules.yml").read_text())["groups"][0]["rules"]
    assert len({rule["alert"] for rule in rules}) == len(rules) >= 8
    for rule in rules:
        asked = re.findall(r"\b((?:retrace|process)_\w+)(?:\{([^}]*)\})?", rule["expr"])
        assert asked or "up{" in rule["expr"], rule["alert"]
        for name, selectors in asked:
            assert name in metrics, f"{rule['alert']}: {name}"
            labels = set(re.findall(r"(\w+)\s*=", selectors)) - {"job", "instance"}
            assert labels <= metrics[name], f"{rule['alert']}: {labels}"


def test_the_document_tells_of_every_metric_and_every_alarm(metrics: dict[str, set[str]]) -> None:
    text = OPERATIONS.read_text(encoding="utf-8")
    ours = {name for name in metrics if name.startswith("retrace_")}
    families = {re.sub(r"_(total|bucket|count|sum|created)$", "", name) for name in ours}
    missing = {name for name in families if name not in text}
    assert not missing
    for name in re.findall(r"`(retrace_\w+)", text):
        assert name in metrics, f"the document tells of {name}, which there is not"
    for alarm in re.findall(r"alert: (\w+)", (DEPLOY / "retrace.rules.yml").read_text()):
        assert alarm in text


def _options() -> set[str]:
    app = typer.Typer()
    app.command()(commands.run)
    return {flag for parameter in typer.main.get_command(app).params for flag in parameter.opts}


def test_unit_and_container_use_options_that_there_are() -> None:
    unit = (DEPLOY / "retrace.service").read_text()
    started = shlex.split(re.search(r"^ExecStart=((?:.*\\\n)*.*)", unit, re.M)[1].replace("\\\n", ""))  # type: ignore[index]
    assert started[1:3] == ["/opt/retrace/run_pipeline.py", "run"]
    assert {word for word in started if word.startswith("--")} <= _options()
    container = (DEPLOY / "Containerfile").read_text()
    assert set(re.findall(r'"(--[a-z-]+)"', container)) <= _options()
    assert f"http://{DEFAULT_ADDRESS}/healthz" in container
    assert DEFAULT_ADDRESS in (DEPLOY / "prometheus.yml").read_text()


def test_stopping_fits_into_the_units_time() -> None:
    unit = (DEPLOY / "retrace.service").read_text()
    seconds = int(re.search(r"TimeoutStopSec=(\d+)", unit)[1])  # type: ignore[index]
    assert LiveSettings().stop_s + commands._GRACE_S + 2 < seconds


def test_the_container_copies_what_the_program_imports() -> None:
    container = (DEPLOY / "Containerfile").read_text()
    copied = set(re.findall(r"^COPY (\w+) \1$", container, re.M))
    for name in copied:
        assert (DEPLOY.parent / name).is_dir()
    imported = set(
        re.findall(r"^(?:from|import) (\w+)", (DEPLOY.parent / "run_pipeline.py").read_text(), re.M)
    )
    ours = {name for name in imported if (DEPLOY.parent / name).is_dir()}
    assert ours | {"storage", "models", "configs"} <= copied
    assert "USER 10001" in container


def _tool(name: str) -> str:
    """Path of a tool; the test is skipped where it is not installed."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed here")
    return found


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    analyze = _tool("systemd-analyze")
    unit = (DEPLOY / "retrace.service").read_text().replace("/opt/retrace/.venv/bin/python", sys.executable)
    (tmp_path / "retrace.service").write_text(unit)
    environment = {**os.environ, "SYSTEMD_LOG_LEVEL": "warning"}
    result = subprocess.run(
        [analyze, "verify", "--recursive-errors=no", str(tmp_path / "retrace.service")],
        capture_output=True, text=True, check=False, timeout=60, env=environment,
    )  # fmt: skip
    assert (result.returncode, result.stderr.strip()) == (0, "")
    rated = subprocess.run(
        [analyze, "security", "--offline=true", "--threshold=20", str(tmp_path / "retrace.service")],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert rated.returncode == 0, f"exposure above 2.0: {rated.stdout[-400:]}"


def test_prometheus_takes_rules_and_their_tests() -> None:
    promtool = _tool("promtool")
    for arguments in (["check", "config", "prometheus.yml"], ["test", "rules", "retrace.rules.test.yml"]):
        result = subprocess.run(
            [promtool, *arguments], cwd=DEPLOY, capture_output=True, text=True, check=False, timeout=60
        )
        assert result.returncode == 0, result.stdout + result.stderr
