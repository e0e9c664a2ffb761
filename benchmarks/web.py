"""How long the server takes to answer twenty users at once, and how heavy its first pages are.

    python benchmarks/web.py [--tracklets 1000000] [--searched 100000]
        [--users 20] [--think 1.0] [--seconds 60]

Two galleries are filled (rows without crops, as in `browse.py`), each behind `run_pipeline.py serve` in a
process of its own on this machine. The users are threads of this process and share the machine with it; each
asks again after a pause of `--think` seconds on average. Of the large gallery they ask for pages and time
lines, with filters that differ each time; of the other, whose tracklets have embeddings of 2048 numbers, they
search by tracklet.
With --think 0 nobody pauses, and the table shows what the server can do at most.

The first page after the log-in is loaded by Chromium, with an empty cache and a window of 1280 pixels, over
the cameras of `examples/three_cameras`; that needs `pip install playwright` and Chromium.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "benchmarks")]

import browse
import httpx2 as httpx
import numpy as np
from rtsp_server import free_port

from pipeline.config import load_config
from pipeline.embedding import build_embedder
from storage.gallery import Gallery
from tests.web import site
from tests.web.weighing import weigh
from web.passwords import Passwords
from web.tokens import new_token, token_hash

Ask = Callable[[httpx.Client, random.Random], None]
CAMERAS, DAYS = 50, 30
LOADS = 5
PASSWORD = "only for this measurement"


def main() -> None:
    """Fill, serve, ask, print tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--tracklets", type=int, default=1_000_000)
    parser.add_argument("--searched", type=int, default=100_000)
    parser.add_argument("--users", type=int, default=20)
    parser.add_argument("--think", type=float, default=1.0)
    parser.add_argument("--seconds", type=float, default=60)
    arguments = parser.parse_args()
    print(f"{arguments.users} users, pauses of {arguments.think:g} s on average, {os.cpu_count()} cores\n")
    print("| gallery | asked | answers | a second | p50 ms | p95 ms | worst ms |\n|" + "---|" * 7)
    with tempfile.TemporaryDirectory() as folder:
        large = Path(folder) / "large"
        browse.fill(large, arguments.tracklets, CAMERAS, DAYS, seed=1)
        with served(large) as (url, header):
            report(arguments, arguments.tracklets, url, header, {"page": page, "time line": time_line})
            first_page(url)
        searched = Path(folder) / "searched"
        spec = build_embedder(load_config().embedder).spec
        browse.fill(
            searched, arguments.searched, CAMERAS, DAYS, seed=2, embeddings=arguments.searched, spec=spec
        )
        with served(searched) as (url, header):
            asked = {"search": searching(arguments.searched)}
            report(arguments, arguments.searched, url, header, asked)
        shown = Path(folder) / "shown"
        site.fill(shown)
        with served(shown) as (url, _):
            page_after_log_in(url)


@contextmanager
def served(folder: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """The gallery behind a server; its address, and the header of an operator."""
    with Gallery.open(folder) as gallery:
        user, token = gallery.accounts.add_user("operator", "operator"), new_token("rt_")
        now = time.time()
        gallery.accounts.set_password(user.id, Passwords().hash(PASSWORD), now)
        gallery.accounts.add_token(user.id, "bench", token_hash(token), token[:8], "operator", None, now)
    port = free_port()
    command = [sys.executable, str(ROOT / "run_pipeline.py"), "serve", "--gallery", str(folder)]
    process = subprocess.Popen([*command, "--listen", f"127.0.0.1:{port}"], stdout=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        while True:
            try:
                urllib.request.urlopen(f"{url}/api/v1/health", timeout=5)
                break
            except OSError:
                time.sleep(0.2)
        yield url, {"Authorization": f"Bearer {token}"}
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def page(client: httpx.Client, rng: random.Random) -> None:
    """A page of the grid: the newest, a camera's, a span's, or the one behind another."""
    asked: dict[str, object] = {}
    if rng.random() < 0.5:
        asked["camera"] = rng.sample(browse.camera_names(CAMERAS), rng.choice((1, 1, 3)))
    if rng.random() < 0.5:
        asked["end"] = browse.START + rng.uniform(1, DAYS) * 86_400
    answer = _checked(client.get("/api/v1/tracklets", params=asked))
    if rng.random() < 0.5 and answer["next"]:
        _checked(client.get("/api/v1/tracklets", params={**asked, "after": answer["next"]}))


def time_line(client: httpx.Client, rng: random.Random) -> None:
    """How many tracklets there were when: of all time, or of some hours; of all cameras, or of some."""
    asked: dict[str, object] = {}
    if rng.random() < 0.5:
        asked["start"] = browse.START + rng.uniform(0, DAYS - 1) * 86_400
        asked["end"] = float(asked["start"]) + rng.choice((3_600, 6 * 3_600, 86_400))  # type: ignore[arg-type]
    if rng.random() < 0.5:
        asked["camera"] = rng.sample(browse.camera_names(CAMERAS), 3)
    _checked(client.get("/api/v1/timeline", params=asked))


def searching(number: int) -> Ask:
    """Searches by any of so many tracklets, in all cameras or one."""

    def search(client: httpx.Client, rng: random.Random) -> None:
        wanted = {"cameras": [rng.choice(browse.camera_names(CAMERAS))]} if rng.random() < 0.3 else {}
        asked = {"examples": [{"tracklet": rng.randint(1, number)}], "filter": wanted, "reason": "measuring"}
        _checked(client.post("/api/v1/searches", json=asked))

    return search


def _checked(answer: httpx.Response) -> dict[str, object]:
    if answer.status_code not in (200, 201):
        raise RuntimeError(f"{answer.status_code}: {answer.text[:300]}")
    found: dict[str, object] = answer.json()
    return found


def report(
    arguments: argparse.Namespace, size: int, url: str, header: dict[str, str], asked: dict[str, Ask]
) -> None:
    """Let the users ask for a while, and print a row for each kind of question."""
    took: dict[str, list[float]] = {name: [] for name in asked}
    for ask in asked.values():  # what loads on first use is loaded
        with httpx.Client(base_url=url, headers=header, timeout=120) as client:
            ask(client, random.Random(0))
    end = time.monotonic() + arguments.seconds
    users = [
        threading.Thread(target=use, args=(url, header, asked, took, arguments.think, end, seed))
        for seed in range(arguments.users)
    ]
    for user in users:
        user.start()
    for user in users:
        user.join()
    for name, seconds in took.items():
        print(row(size, name, seconds, arguments.seconds), flush=True)


def use(
    url: str,
    header: dict[str, str],
    asked: dict[str, Ask],
    took: dict[str, list[float]],
    think_s: float,
    end: float,
    seed: int,
) -> None:
    """One user: ask, look, ask again. Each request is timed by itself, from sending to the last byte."""
    rng = random.Random(seed)
    names: list[str] = list(asked)
    with httpx.Client(base_url=url, headers=header, timeout=120) as client:
        current = ""

        def note(answer: httpx.Response) -> None:
            answer.read()
            took[current].append(answer.elapsed.total_seconds())

        client.event_hooks["response"].append(note)
        while time.monotonic() < end:
            time.sleep(rng.expovariate(1 / think_s) if think_s else 0)
            current = rng.choice(names)
            asked[current](client, rng)


def row(size: int, name: str, seconds: Sequence[float], lasted: float) -> str:
    """A row of the table."""
    p50, p95, worst = (1000 * float(np.quantile(seconds, share)) for share in (0.5, 0.95, 1.0))
    rate = len(seconds) / lasted
    return f"| {size:,} | {name} | {len(seconds)} | {rate:.1f} | {p50:.0f} | {p95:.0f} | {worst:.0f} |"


def first_page(url: str) -> None:
    """Weigh and time what a browser loads before it shows the log-in page."""
    begin = time.perf_counter()
    with httpx.Client(base_url=url) as client:
        text = client.get("/login").text
        sizes = {"/login": len(text.encode())}
        wanted = re.findall(r'(?:src|href)="(/static/[^"]+)"', text)
        while wanted:
            path = wanted.pop()
            if path not in sizes:
                body = client.get(path).content
                sizes[path] = len(body)
                if path.partition("?")[0].endswith(".js"):
                    found = re.findall(rb'from "\./([^"]+)"', body)
                    wanted += [f"/static/{each.decode()}" for each in found]
    took = time.perf_counter() - begin
    print(f"\nlog-in page: {sum(sizes.values()) / 1000:.1f} kB in {len(sizes)} files, {1000 * took:.0f} ms\n")


def page_after_log_in(url: str) -> None:
    """Weigh and time what a browser loads for the page after the log-in, its pictures included."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        took_ms = []
        for _ in range(LOADS):
            context = browser.new_context(viewport={"width": 1280, "height": 900})
            known = {"name": "operator", "password": PASSWORD}
            answer = context.request.post(f"{url}/api/v1/session", data=known)
            if not answer.ok:
                raise RuntimeError(f"{answer.status}: {answer.text()[:300]}")
            sizes, each_ms = weigh(context, f"{url}/cameras")
            took_ms.append(each_ms)
            context.close()
        browser.close()
    pictures = [size for path, size in sizes.items() if "/frame?" in path]
    print(
        f"\npage after the log-in: {sum(sizes.values()) / 1000:.1f} kB in {len(sizes)} files, "
        f"{len(pictures)} of them pictures with {sum(pictures) / 1000:.1f} kB; of {LOADS} loads "
        f"the median took {np.median(took_ms):.0f} ms, the slowest {max(took_ms):.0f} ms"
    )


if __name__ == "__main__":
    main()
