"""A window of a real browser on a server: Chromium as Debian packs it, driven by Playwright."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from tests.web.conftest import PASSWORD, Server, listening


@dataclass
class Window:
    """A browser's window on a server, and what went wrong in it."""

    page: Any
    url: str
    problems: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("console", lambda said: said.type == "error" and self.problems.append(said.text))

    def go(self, path: str) -> None:
        self.page.goto(self.url + path)
        self.ready()

    def ready(self) -> None:
        """Wait until keys and buttons work."""
        self.page.wait_for_selector("html[data-ready]")

    def led_to(self, path: str) -> None:
        """Wait until what was done has led to this page; a star stands for anything."""
        self.page.wait_for_url(self.url + path)
        self.ready()

    def log_in(self, name: str, password: str = PASSWORD) -> None:
        self.page.fill("[name=name]", name)
        self.page.fill("[name=password]", password)
        self.page.press("[name=password]", "Enter")

    def search_with(self, tracklet: int) -> None:
        """Ask where else somebody appeared, and wait for the results."""
        self.go(f"/search?tracklet={tracklet}")
        self.page.fill("[name=reason]", "test")
        self.page.click("[data-search-form] .primary")
        self.page.wait_for_selector(".result")
        self.ready()

    def says(self, selector: str, words: str) -> None:
        """Wait until an element, hidden or not, holds these words."""
        self.page.wait_for_selector(f'{selector}:has-text("{words}")', state="attached")

    def until(self, expression: str) -> None:
        """Wait until a script's expression is true; the policy of the pages forbids Playwright's own way."""
        deadline = monotonic() + 30
        while not self.page.evaluate(expression):
            assert monotonic() < deadline, f"never: {expression}"
            self.page.wait_for_timeout(50)

    def words(self, selector: str) -> str:
        return str(self.page.inner_text(selector))


@contextmanager
def window_on(server: Server, browser: Any, path: str = "/browse?camera=here") -> Iterator[Window]:
    """A window of somebody with the role admin, logged in through the page."""
    server.user("ada", "admin")
    with listening(server.app) as url:
        context = browser.new_context(timezone_id="Asia/Kolkata")
        window = Window(context.new_page(), url)
        window.go(path)
        window.log_in("ada")
        window.led_to(path)
        yield window
        context.close()
