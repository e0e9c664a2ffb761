"""What a browser loads for a page, and how long that takes it."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

_LAST_MS = "Math.max(...performance.getEntries().map((e) => e.responseEnd || e.loadEventEnd || 0))"


def weigh(context: Any, url: str) -> tuple[dict[str, int], float]:
    """Bytes of every answer that a page needs, by path, and milliseconds until the last one was there.

    Pictures that wait until they are in view are counted if the browser loads them; so is the icon of the
    tab, for which a browser without a window does not ask.

    Args:
        context: of Playwright, with an empty cache.
    """
    page, requests = context.new_page(), []
    page.on("requestfinished", lambda request: requests.append(request))
    page.goto(url, wait_until="networkidle")
    sizes = {_path(each.url): each.sizes()["responseBodySize"] for each in requests}
    icon = page.evaluate("document.querySelector('link[rel=icon]').href")
    sizes.setdefault(_path(icon), len(context.request.get(icon).body()))
    took_ms = page.evaluate(_LAST_MS)
    page.close()
    return sizes, took_ms


def _path(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}" if parts.query else parts.path
