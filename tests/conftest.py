"""The command line as a user runs it, and where shared data lies when it is there."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.offline import keep_ultralytics_offline

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"
keep_ultralytics_offline()  # before any test imports it


@pytest.fixture
def run_cli(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """The command line in a process of its own, in an empty folder, as a user runs it."""
    empty = tmp_path / "somewhere else"
    empty.mkdir()

    def run(*arguments: object, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, str(ROOT / "run_pipeline.py"), *map(str, arguments)],
            cwd=empty, capture_output=True, text=True, check=False, timeout=240,
            env={**os.environ, **(env or {})},
        )  # fmt: skip

    return run


@pytest.fixture(scope="session")
def vtest() -> Path:
    """PETS 2009 S2.L1 view 1 with ground truth beside it, where it is at hand."""
    folder = SHARED / "data" / "pets09_s2l1_view1"
    if not (folder / "vtest.avi").exists():
        pytest.skip(f"the real video {folder / 'vtest.avi'} is not on this machine")
    return folder
