"""An investigator's work in a real browser: Chromium as Debian packs it, driven by Playwright."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from tests.web.conftest import PASSWORD, Server, listening

sync_api = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
CHROMIUM = shutil.which("chromium")

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium: apt-get install chromium"),
    pytest.mark.filterwarnings("default"),  # Playwright's own
]


@dataclass
class Window:
    """A browser's window on a server, and what went wrong in it."""

    page: sync_api.Page
    url: str
    problems: list[str] = field(default_factory=list)

    def go(self, path: str) -> None:
        self.page.goto(self.url + path)
        self.ready()

    def ready(self) -> None:
        """Wait until keys and buttons work."""
        self.page.wait_for_selector("html[data-ready]")

    def words(self, selector: str) -> str:
        return str(self.page.inner_text(selector))


@pytest.fixture
def window(server: Server) -> Iterator[Window]:
    """Somebody with the role admin, logged in through the page."""
    server.user("ada", "admin")
    with listening(server.app) as url, sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        window = Window(browser.new_page(timezone_id="Asia/Kolkata"), url)
        window.page.on("pageerror", lambda error: window.problems.append(str(error)))
        window.page.on("console", lambda said: said.type == "error" and window.problems.append(said.text))
        window.go("/browse?camera=here")
        window.page.fill("[name=name]", "ada")
        window.page.fill("[name=password]", PASSWORD)
        window.page.press("[name=password]", "Enter")
        window.page.wait_for_selector("#grid")
        window.ready()
        yield window
        browser.close()
    assert window.problems == []


def test_a_person_is_selected_searched_and_decided_on_with_the_keyboard_alone(
    server: Server, window: Window
) -> None:
    page = window.page
    assert page.url == f"{window.url}/browse?camera=here"
    page.keyboard.press("ArrowRight")
    page.keyboard.press("x")
    page.keyboard.press("w")
    page.wait_for_selector(".tray li")
    window.ready()
    page.fill("[name=reason]", "lost child")
    page.press("[name=reason]", "Enter")
    page.wait_for_selector(".result")
    window.ready()
    [record] = server.gallery.cases.searches()
    assert record.reason == "lost child"

    page.keyboard.press("ArrowRight")
    card = page.evaluate("document.activeElement.closest('.result').id")
    page.keyboard.press("s")
    page.wait_for_selector(f"#{card}[data-kind=confirmed]")
    [decision] = server.gallery.cases.search(record.id).decisions
    assert (f"r{decision.tracklet_id}", decision.verdict) == (card, "same")
    assert page.evaluate("document.activeElement.closest('.result').id") == card
    page.keyboard.press("z")
    page.wait_for_selector(f"#{card}:not([data-kind=confirmed])")
    assert server.gallery.cases.search(record.id).decisions == ()


def test_a_threshold_above_everything_leaves_candidates_and_says_so(server: Server, window: Window) -> None:
    page = window.page
    window.go("/search?tracklet=1")
    page.fill("[name=reason]", "test")
    page.click("[data-search-form] .primary")
    page.wait_for_selector(".result")
    window.ready()
    page.fill(".threshold [type=number]", "0.9999")
    page.press(".threshold [type=number]", "Enter")
    assert "is below the threshold 1.000" in window.words("[data-best]")
    assert page.locator("[data-matches] .result").count() == 0
    assert page.locator("[data-candidates] .result").count() == page.locator(".result").count() > 0


def test_times_are_those_of_the_browser_and_utc_is_at_hand(window: Window) -> None:
    window.go("/tracklets/1")
    time = window.page.locator("main time").first
    assert time.inner_text() == "1970-01-01 05:46:40"  # Kolkata, for 1000 s UTC
    assert time.get_attribute("title") == "1970-01-01 00:16:40 UTC"


def test_a_box_is_drawn_in_a_recording_and_becomes_an_example(window: Window) -> None:
    page = window.page
    window.go("/video/1?at_s=1")
    page.wait_for_selector("[data-persons] button")
    area = page.locator("[data-overlay]").bounding_box()
    assert area is not None
    page.mouse.move(area["x"] + area["width"] * 0.25, area["y"] + area["height"] * 0.25)
    page.mouse.down()
    page.mouse.move(area["x"] + area["width"] * 0.5, area["y"] + area["height"] * 0.75)
    page.mouse.up()
    width = page.evaluate("document.querySelector('[data-picture]').naturalWidth")
    assert abs(float(page.input_value("[data-edge='0']")) - width * 0.25) <= 2
    assert abs(float(page.input_value("[data-edge='2']")) - width * 0.5) <= 2
    page.click("[data-use-box]")
    assert page.evaluate("JSON.parse(sessionStorage.examples)[0].example.source") == 1


def test_colours_are_remembered(window: Window) -> None:
    page = window.page
    page.click("[data-theme-switch]")
    page.click("[data-theme-switch]")
    window.go("/cameras")
    assert page.get_attribute("html", "data-theme") == "dark"
