"""The README names every file and nothing that is not there; the tree stays small enough to travel."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("pipeline", "models", "storage", "evaluation", "training", "synthetic", "web", "benchmarks")


def test_the_readme_has_a_line_for_every_file() -> None:
    listed = set(
        re.findall(r"^- `([^`*]+\.py)`: \S", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    )
    there = {str(path.relative_to(ROOT)) for package in PACKAGES for path in (ROOT / package).rglob("*.py")}
    assert listed == {path for path in there if not path.endswith("__init__.py")} | {"run_pipeline.py"}


def test_links_of_the_documents_lead_somewhere() -> None:
    for document in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "benchmarks").glob("*.md")):
        for link in re.findall(r"\]\(([^)#]+)\)", document.read_text(encoding="utf-8")):
            assert (document.parent / link).exists(), f"{document.name}: {link}"


def test_the_tracked_files_stay_under_48_mb() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip(f"{ROOT} is no checkout of git")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    files = [ROOT / name for name in listed.decode().split("\0") if name]
    assert sum(path.stat().st_size for path in files if path.is_file()) < 48_000_000
