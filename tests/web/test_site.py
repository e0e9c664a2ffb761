"""An investigation in Chromium over rendered video, from the first start to the exported case.

With RETRACE_PICTURES=docs the pictures of the pages in `docs/` are made anew.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from rtsp_server import free_port

from storage.gallery import Gallery
from tests.web import site
from tests.web.conftest import PASSWORD

axe_core = pytest.importorskip("axe_core_python", reason="pip install axe-core-python")
ROOT = Path(__file__).resolve().parents[2]
AXE = Path(axe_core.__file__).parent / "axe.min.js"
PICTURES = os.environ.get("RETRACE_PICTURES")

pytestmark = pytest.mark.filterwarnings("default")  # Playwright's own

PAGES = (
    "/cameras",
    "/browse",
    "/browse?camera=yard&min_quality=0.2",
    "/tracklets/3",
    "/compare?a=3&b=7",
    "/video/1?at_s=5",
    "/search?tracklet=3",
    "/searches/1",
    "/cases",
    "/cases/1",
    "/account",
    "/admin/users",
    "/admin/retention",
    "/admin/erasure?tracklet=1,2",
    "/admin/audit",
    "/admin/index",
    "/nothing/here",
)
LOOKS = (("light", 1280), ("dark", 1280), ("light", 320))


class Site:
    """A server started from the command line, as its owner does, and a browser on it."""

    def __init__(self, folder: Path, browser: Any) -> None:
        self.folder, self.port = folder, free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        command = [sys.executable, str(ROOT / "run_pipeline.py"), "serve", "--gallery", str(folder)]
        self.process: Any = subprocess.Popen(
            [*command, "--listen", f"127.0.0.1:{self.port}"], stdout=subprocess.PIPE, text=True
        )
        self.invitation = self._said(rf"{self.url}/invitation/\S+")
        self._said("Retrace is at")
        self.context = browser.new_context(
            viewport={"width": 1280, "height": 900}, timezone_id="Europe/Berlin"
        )
        self.page = self.context.new_page()
        self.problems: list[str] = []
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("console", lambda said: said.type == "error" and self.problems.append(said.text))
        self.page.on("requestfailed", lambda request: self._failed(request))

    def close(self) -> None:
        """End both; the server must end well."""
        self.context.close()
        self.process.terminate()
        assert self.process.wait(20) == 0
        self.process.stdout.close()

    def _said(self, pattern: str) -> str:
        for line in self.process.stdout:
            if found := re.search(pattern, line):
                return found[0]
        raise AssertionError(f"the server ended without saying {pattern}")

    def _failed(self, request: Any) -> None:
        if not request.url.startswith(self.url):
            self.problems.append(f"something beyond this machine was asked for: {request.url}")

    def go(self, path: str) -> None:
        """Open a page and wait until keys and buttons work."""
        self.page.goto(self.url + path)
        self.page.wait_for_selector("html[data-ready]")

    def picture(self, name: str) -> None:
        """A picture of the page for the documents, if they are asked for."""
        if PICTURES:
            self.page.wait_for_load_state("networkidle") if name != "browse" else self.page.wait_for_timeout(
                800
            )
            self.page.screenshot(path=ROOT / PICTURES / f"page-{name}.jpg", type="jpeg", quality=70)


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory, browser: Any) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site") / "g"
    site.fill(folder)
    made = Site(folder, browser)
    yield made
    made.close()


def test_from_the_first_start_to_the_exported_case(opened: Site, tmp_path: Path) -> None:
    page = opened.page
    page.goto(opened.invitation)
    for field in page.locator("input[type=password]").all():
        field.fill(PASSWORD)
    page.click("main form button")
    page.wait_for_url(f"{opened.url}/cameras")
    page.wait_for_selector("html[data-ready]")
    assert {"entrance", "yard", "bicycles"} <= set(page.inner_text("main").split())
    opened.picture("cameras")

    opened.go("/cases")
    page.fill("[name=name]", "2026-114 bag at the bicycles")
    page.fill("[name=description]", "A bag was left at the bicycles.")
    page.click("main form .primary")
    page.wait_for_url(f"{opened.url}/cases/1")

    opened.go("/browse")
    assert page.locator("#grid .card").count() == 16
    opened.picture("browse")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("x")
    page.keyboard.press("w")
    page.wait_for_selector(".tray li")
    page.wait_for_selector("html[data-ready]")
    page.fill("[name=reason]", "report 114, who left the bag")
    page.select_option("[name=case_id]", label="2026-114 bag at the bicycles")
    page.click("[data-search-form] .primary")
    page.wait_for_url(f"{opened.url}/searches/1")
    page.wait_for_selector("html[data-ready]")
    opened.picture("search")

    first = page.locator(".result").first
    tracklet = first.get_attribute("data-tracklet")
    first.locator("[data-decide=same]").click()
    page.wait_for_selector(f"#r{tracklet}[data-kind=confirmed]")
    second = page.locator(".result:not([data-kind=confirmed])").first
    other = second.get_attribute("data-tracklet")
    second.locator("[data-decide=different]").click()
    page.wait_for_selector(f"#r{other}[data-kind=rejected]")
    opened.picture("decided")

    opened.go(f"/compare?a={tracklet}&b={other}")
    opened.picture("compare")
    opened.go("/searches/1")
    page.click(f"#r{tracklet} [data-open]")
    page.wait_for_url(re.compile(f"/tracklets/{tracklet}"))
    page.wait_for_selector("html[data-ready]")
    opened.picture("tracklet")
    opened.go("/video/1?at_s=5")
    opened.picture("video")

    opened.go("/cases/1")
    page.fill("[name=text]", "The person in the first result carries the bag.")
    page.click("form:has([name=text]) button")
    page.wait_for_selector("text=carries the bag.")
    with page.expect_download() as download:
        page.click("[data-download] button")
    archive = tmp_path / "case.zip"
    download.value.save_as(archive)
    opened.picture("case")
    _check_export(archive, str(tracklet), tmp_path / "case")

    opened.go("/admin/audit")
    with page.expect_response("**/audit/verify*") as answer:
        page.click("text=Check the chain")
    assert answer.value.json()["ok"]
    opened.picture("audit")
    with Gallery.open(opened.folder, read_only=True) as gallery:
        actions = {entry.action for entry in gallery.audit.entries(limit=100)}
        assert actions >= {
            "log-in",
            "search",
            "decision",
            "result opened",
            "note",
            "export",
            "audit verified",
        }
        assert gallery.audit.verify().ok
    assert opened.problems == []


def _check_export(archive: Path, tracklet: str, out: Path) -> None:
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(out)
    for line in (out / "SHA256SUMS").read_text().splitlines():
        digest, name = line.split("  ", 1)
        assert sha256((out / name).read_bytes()).hexdigest() == digest, name
    report = (out / "report.html").read_text()
    assert "2026-114 bag at the bicycles" in report
    assert "carries the bag" in report
    assert not re.search(r'(?:src|href)="https?:', report)  # it needs nothing from elsewhere
    assert [file for file in (out / "crops").rglob("*.jpg") if tracklet in file.as_posix()]
    assert list((out / "clips").glob("*.mp4"))


@pytest.mark.parametrize(("theme", "width"), LOOKS)
def test_no_page_breaks_a_rule_of_accessibility(opened: Site, theme: str, width: int) -> None:
    """axe-core over every page: what it can find out by itself, WCAG 2.2 AA and good practice."""
    page = opened.page
    page.emulate_media(color_scheme=theme)
    page.set_viewport_size({"width": width, "height": 900})
    if "/invitation/" in page.url:
        pytest.skip("the test before this one logs in")
    broken = {}
    for path in PAGES:
        page.goto(opened.url + path)
        page.wait_for_selector("html[data-ready]")
        broken |= _broken_rules(page, path)
        overflow = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert overflow <= 0, f"{path} is {overflow} pixels wider than the window"
        if path.startswith("/admin/erasure"):
            assert page.is_visible("[data-erasure]")
    page.goto(f"{opened.url}/tracklets/3")
    page.wait_for_selector("html[data-ready]")
    page.keyboard.press("?")
    page.wait_for_selector("#keys[open]")
    broken |= _broken_rules(page, "open dialog")
    page.click("#keys button")
    stranger = page.context.browser.new_page(color_scheme=theme, viewport={"width": width, "height": 900})
    stranger.goto(f"{opened.url}/login")
    stranger.wait_for_selector("html[data-ready]")
    broken |= _broken_rules(stranger, "/login")
    stranger.close()
    assert broken == {}


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_verdict_can_be_read_while_the_mouse_rests_on_it(opened: Site, theme: str) -> None:
    page = opened.page
    page.emulate_media(color_scheme=theme)
    page.set_viewport_size({"width": 1280, "height": 900})
    opened.go("/searches/1")
    card = page.locator(".result:not([data-kind=confirmed], [data-kind=rejected])").first
    button = card.locator("[data-decide=unsure]")
    button.click()
    chosen = page.locator(f"#{card.get_attribute('id')} [data-decide=unsure][aria-pressed=true]")
    chosen.wait_for()
    chosen.hover()
    page.evaluate("Promise.all(document.getAnimations().map((each) => each.finished))")
    assert _broken_rules(page, "while hovering") == {}
    chosen.click()  # takes it back
    page.wait_for_selector("[data-decide=unsure][aria-pressed=true]", state="detached")


def _broken_rules(page: Any, path: str) -> dict[str, str | None]:
    page.evaluate(AXE.read_text())
    found = page.evaluate("axe.run({resultTypes: ['violations']})")
    return {
        f"{path} {each['id']}: {node['html'][:120]}": node.get("failureSummary")
        for each in found["violations"]
        for node in each["nodes"]
    }


def test_a_page_comes_within_a_second_and_a_hundred_kilobytes(opened: Site) -> None:
    page = opened.page
    page.set_viewport_size({"width": 1280, "height": 900})
    for path in ("/cameras", "/browse"):
        opened.go(path)
        entries = page.evaluate("performance.getEntries().map(e => [e.name, e.decodedBodySize || 0])")
        own = [size for name, size in entries if not re.search(r"thumbnail|/frame|/api/", name)]
        assert sum(own) < 100_000, entries
        ready = page.evaluate("performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd")
        assert ready < 1000, f"{path} was ready after {ready:.0f} ms"
