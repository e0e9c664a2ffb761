"""Frames of recordings in a real browser: the ones that the words name, and the boxes where the persons are.

The person's shade of grey tells which frame of the recording one looks at.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import pytest
from painted import write_video

from pipeline.config import load_config
from pipeline.ingest import ingest
from pipeline.video import SourceSpec
from storage.gallery import Gallery
from storage.records import Trajectory
from tests.web.conftest import Filled, Server, serve_copy
from tests.web.window import Window, window_on
from web import clip_cache

pytestmark = pytest.mark.filterwarnings("default")  # Playwright's own

RATE, FIRST, LAST = 25, 60, 84  # of the recordings; the person is there in these frames
DARKEST, STEP = 25, 9
START = 1000.0
GREY = """canvas => canvas.hidden ? null
    : canvas.getContext("2d").getImageData(canvas.width / 2, canvas.height / 2, 1, 1).data[0]"""

UNDER_THE_BOX = """async (since) => {
    const video = document.querySelector("video");
    await new Promise((seeked) => {
        video.addEventListener("seeked", seeked, { once: true });
        video.currentTime = Number(video.dataset.offset) + since + 0.01;
    });
    await new Promise(requestAnimationFrame);
    const overlay = document.querySelector("[data-trajectory]");
    const { width, height } = overlay.viewBox.baseVal;
    const context = new OffscreenCanvas(width, height).getContext("2d");
    context.drawImage(video, 0, 0, width, height);
    const box = overlay.querySelector("rect").getBBox();
    const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
    return [context.getImageData(x, y, 1, 1).data[0], [box.x, box.y, box.x + box.width, box.y + box.height]];
}"""


def box(frame: int) -> tuple[int, int, int, int]:
    """left, top, width, height of the person."""
    return 30 + 2 * (frame - FIRST), 12, 40, 96


def record(folder: Path, camera: str, width: int, codec: str) -> SourceSpec:
    """A recording of somebody who becomes brighter with every frame, on blue ground."""
    pictures = []
    for frame in range(LAST + RATE):
        picture = np.full((120, width, 3), (0, 0, 150), np.uint8)
        if FIRST <= frame <= LAST:
            left, top, w, h = box(frame)
            picture[top : top + h, left : left + w] = DARKEST + STEP * (frame - FIRST)
        pictures.append(picture)
    return SourceSpec(camera, str(write_video(folder / f"{camera}.mp4", pictures, RATE, codec)), START)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Cameras with a tracklet each: browsers play "plays", not those cut; the recording of "gone" is gone."""
    folder = tmp_path_factory.mktemp("frames")
    boxes = folder / "boxes.txt"
    rows = (f"{i + 1},1,{','.join(map(str, box(i)))},0.9,1,1" for i in range(FIRST, LAST + 1))
    boxes.write_text("\n".join(rows))
    config = load_config(
        overrides=["embedder.name=colour_stripes", "detector.name=mot_file", f"detector.path={boxes}"]
    )
    specs = [
        record(folder, "plays", 320, "libx264"),
        record(folder, "cut", 1200, "mpeg4"),  # a clip is 960 pixels wide
        record(folder, "cut as well", 1200, "mpeg4"),
        record(folder, "gone", 320, "libx264"),
    ]
    with Gallery.open(folder / "g", create=True) as gallery:
        for spec in specs:
            ingest(gallery, [spec], config)
    (folder / "gone.mp4").unlink()
    made = serve_copy(Filled(folder / "g", {}), folder / "served", config)
    yield made
    made.close()


@pytest.fixture(scope="module")
def opened(server: Server, browser: Any) -> Iterator[Window]:
    with window_on(server, browser, "/cameras") as window:
        yield window


@pytest.fixture
def window(opened: Window) -> Iterator[Window]:
    opened.problems.clear()
    yield opened
    assert opened.problems == []


def of(server: Server, camera: str) -> tuple[int, Trajectory]:
    """The camera's tracklet."""
    [number] = [each.id for each in server.gallery.tracklets() if each.camera == camera]
    return number, server.gallery.trajectory(number)


def frames(path: Trajectory) -> list[int]:
    """Which frames of the recording a tracklet was seen in."""
    return [round((time - START) * RATE) for time in path.timestamps.tolist()]


def compare(server: Server, window: Window, *cameras: str) -> None:
    a, b = (of(server, camera)[0] for camera in cameras)
    window.go(f"/compare?a={a}&b={b}")


def shown(window: Window) -> list[int | None]:
    """Which frame of the recording each side shows, by its shade."""
    greys = [canvas.evaluate(GREY) for canvas in window.page.locator("[data-side] canvas").all()]
    return [None if grey is None else FIRST + round((grey - DARKEST) / STEP) for grey in greys]


def both_show(window: Window, wanted: list[int | None]) -> None:
    """Wait for it: a busy browser says that it has sought a moment before it has the picture."""
    deadline = monotonic() + 5
    while (seen := shown(window)) != wanted:
        assert monotonic() < deadline, f"{seen}, not {wanted}"
        window.page.wait_for_timeout(50)


def both_say(window: Window, words: str) -> None:
    for side in (1, 2):
        window.says(f"[data-side]:nth-child({side}) [data-side-words]", words)


def press(window: Window, times: int, repeat: bool) -> None:
    """The right arrow key, faster than any browser seeks."""
    window.page.evaluate(
        """([times, repeat]) => {
            for (let i = 0; i < times; i++)
                document.body.dispatchEvent(
                    new KeyboardEvent("keydown", { key: "ArrowRight", bubbles: true, repeat }));
        }""",
        [times, repeat],
    )


def test_every_step_shows_the_frame_that_it_names(server: Server, window: Window) -> None:
    _, path = of(server, "plays")
    wanted = frames(path)
    assert wanted == frames(of(server, "cut")[1])
    assert len(wanted) > 8
    compare(server, window, "plays", "cut")
    for number, frame in enumerate(wanted, start=1):
        both_say(window, f"frame {number} of {len(wanted)}")
        both_show(window, [frame, frame])
        assert window.words("[data-step-words]") == f"{number} of {len(wanted)}"
        window.page.keyboard.press("ArrowRight")
    both_say(window, f"frame 1 of {len(wanted)}")


def test_of_many_steps_at_once_only_the_newest_is_shown(server: Server, window: Window) -> None:
    wanted = frames(of(server, "plays")[1])
    compare(server, window, "plays", "cut")
    both_say(window, "frame 1 of")
    window.page.evaluate(
        """() => {
            window.told = [];
            for (const words of document.querySelectorAll("[data-side-words]"))
                new MutationObserver(() => told.push(words.textContent.split(",")[0]))
                    .observe(words, { childList: true });
        }"""
    )
    press(window, 8, repeat=False)
    both_say(window, "frame 9 of")
    both_show(window, [wanted[8], wanted[8]])
    assert window.page.evaluate("told") == [f"frame 9 of {len(wanted)}"] * 2


def test_a_key_that_is_held_waits_for_each_frame(server: Server, window: Window) -> None:
    compare(server, window, "plays", "cut")
    both_say(window, "frame 1 of")
    press(window, 8, repeat=True)
    both_say(window, "frame 2 of")
    assert window.words("[data-step-words]").startswith("2 of")


def test_steps_by_time_keep_both_sides_at_the_same_moment(server: Server, window: Window) -> None:
    path = of(server, "plays")[1]
    compare(server, window, "plays", "gone")
    window.page.check("[name=by][value=time]")
    slider = window.page.locator("[data-step-slider]")
    slider.press("End")
    length = path.timestamps[-1] - path.timestamps[0]
    assert slider.get_attribute("aria-valuetext") == f"{length:.1f} s since each began"
    window.says("[data-side]:nth-child(1) [data-side-words]", f"frame {len(frames(path))} of")
    both_show(window, [frames(path)[-1]])


def test_without_the_recording_there_are_crops_and_the_words_say_so(server: Server, window: Window) -> None:
    number, path = of(server, "gone")
    crops = server.gallery.crop_positions(number).tolist()
    compare(server, window, "plays", "gone")
    window.page.locator("[data-step-slider]").press("End")
    window.says("[data-side]:nth-child(1) [data-side-words]", f"frame {len(path.timestamps)} of")
    window.says("[data-side]:nth-child(2) [data-side-words]", f"crop {len(crops)} of {len(crops)}")
    source = window.page.get_attribute("[data-side]:nth-child(2) img", "src")
    assert source == f"/api/v1/tracklets/{number}/crops/{len(crops) - 1}"


def test_a_recording_that_breaks_leaves_the_nearest_crop(server: Server, window: Window) -> None:
    page, asked = window.page, list[Any]()
    number, path = of(server, "plays")
    positions = server.gallery.crop_positions(number)
    page.route("**/api/v1/sources/*/video", lambda route: asked.append(route))
    page.goto(f"{window.url}/compare?a={number}&b={of(server, 'cut')[0]}", wait_until="commit")
    window.ready()
    page.locator("[data-step-slider]").press("End")
    for step in (len(path.timestamps) - 2, len(path.timestamps) - 3):
        page.keyboard.press("ArrowLeft")
        window.says("[data-side]:nth-child(2) [data-side-words]", f"frame {step + 1} of")
        for route in asked:  # in the first round, while a frame is waited for
            route.abort()
        asked.clear()
        nearest = int(np.abs(path.timestamps[positions] - path.timestamps[step]).argmin())
        window.says("[data-side]:nth-child(1) [data-side-words]", f"crop {nearest + 1} of {len(positions)}")
        both_show(window, [None, frames(path)[step]])
    page.unroute("**/api/v1/sources/*/video")
    window.problems.clear()  # the browser counts a request that failed as one


def test_a_clip_that_waits_for_another_one_is_shown_when_it_is_ready(
    server: Server, window: Window, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = ("cut", "cut as well")
    server.services.clips.forget({of(server, camera)[0] for camera in both})
    cut, go_on = clip_cache.tracklet_clip, threading.Event()

    def slowly(gallery: Gallery, tracklet_id: int, out: Path) -> Path | None:
        assert go_on.wait(30)
        return cut(gallery, tracklet_id, out)

    monkeypatch.setattr(clip_cache, "tracklet_clip", slowly)
    monkeypatch.setattr(clip_cache, "_LONGEST_WAIT_S", 0.1)
    window.page.goto(f"{window.url}/compare?a={of(server, both[0])[0]}&b={of(server, both[1])[0]}")
    window.page.wait_for_selector("[data-side-words]:text-matches('^crop')")  # of the one that waits
    go_on.set()
    wanted = frames(of(server, "cut")[1])
    both_say(window, f"frame 1 of {len(wanted)}")
    both_show(window, [wanted[0], wanted[0]])
    window.page.keyboard.press("ArrowRight")
    both_show(window, [wanted[1], wanted[1]])
    assert all("503" in problem for problem in window.problems)
    window.problems.clear()


def test_a_recording_that_no_browser_plays_is_asked_for_only_once_more(
    server: Server, window: Window
) -> None:
    asked = list[Any]()
    number, path = of(server, "plays")

    def answer(route: Any) -> None:
        asked.append(route)
        route.fulfill(status=200, content_type="video/mp4", body="no video")

    window.page.route("**/api/v1/sources/*/video", answer)
    window.go(f"/compare?a={number}&b={of(server, 'cut')[0]}")
    window.says("[data-side]:nth-child(1) [data-side-words]", "crop 1 of")
    both_show(window, [None, frames(path)[0]])
    window.page.wait_for_timeout(1500)
    assert len(asked) <= 3, "twice by the player, and whether it is there"
    window.page.unroute("**/api/v1/sources/*/video")


@pytest.mark.parametrize("camera", ["plays", "cut"])
def test_the_box_is_where_the_person_is(server: Server, window: Window, camera: str) -> None:
    number, path = of(server, camera)
    window.go(f"/tracklets/{number}")
    window.page.wait_for_selector("[data-trajectory][viewBox]", state="attached")
    middle = len(path.timestamps) // 2
    since = float(path.timestamps[middle] - path.timestamps[0])
    grey, drawn = window.page.evaluate(UNDER_THE_BOX, since)
    assert FIRST + round((grey - DARKEST) / STEP) == frames(path)[middle]
    assert drawn == pytest.approx(path.xyxy[middle].tolist(), abs=0.5)
    window.page.uncheck("[data-box]")
    assert window.page.locator("[data-trajectory] rect").count() == 0


def still(window: Window, camera: str) -> int:
    """Which frame of the recording "plays" the picture to draw in shows, by its shade."""
    grey = window.page.evaluate(
        """([x, y]) => {
            const picture = document.querySelector("[data-picture]");
            const context = new OffscreenCanvas(picture.naturalWidth, picture.naturalHeight).getContext("2d");
            context.drawImage(picture, 0, 0);
            return context.getImageData(x, y, 1, 1).data[0];
        }""",
        [72, 60],  # everybody stands here in all frames from FIRST + 2 to LAST - 5
    )
    return FIRST + round((grey - DARKEST) / STEP)


def recording_of(server: Server, camera: str) -> int:
    return next(each.id for each in server.gallery.sources() if each.camera == camera)


PLAYER = "document.querySelector('[data-recording]')"
ASKED = "Number(new URL(location.href).searchParams.get('at_s'))"


def shows_the_moment_of_the_player(window: Window) -> float:
    """Wait until address and picture are of the moment at which the recording stands; that moment."""
    window.until(f"Math.abs({PLAYER}.currentTime - {ASKED}) < 0.002")
    at = float(window.page.evaluate(f"{PLAYER}.currentTime"))
    window.until(
        f"Math.abs(Number(document.querySelector('[data-at]').value) - {at}) <= 0.0501"
        " && !document.querySelector('[data-status]').textContent.startsWith('Loading')"
    )
    deadline = monotonic() + 5
    while (seen := still(window, "plays")) != int(at * RATE + 1e-6):
        assert monotonic() < deadline, f"frame {seen} at {at}"
        window.page.wait_for_timeout(50)
    return at


def test_a_box_is_drawn_in_the_frame_at_which_the_recording_is_paused(server: Server, window: Window) -> None:
    page, source = window.page, recording_of(server, "plays")
    window.go(f"/video/{source}?at_s=2.5")
    window.until(f"{PLAYER}.currentTime === 2.5")
    assert shows_the_moment_of_the_player(window) == 2.5
    page.focus("[data-recording]")
    page.keyboard.press("Space")
    window.until(f"{PLAYER}.currentTime > 2.7")
    page.evaluate(f"{PLAYER}.pause()")
    at = shows_the_moment_of_the_player(window)
    assert at > 2.7
    area = page.locator("[data-overlay]").bounding_box()
    page.mouse.move(area["x"] + area["width"] * 0.2, area["y"] + area["height"] * 0.1)
    page.mouse.down()
    page.mouse.move(area["x"] + area["width"] * 0.3, area["y"] + area["height"] * 0.9)
    page.mouse.up()
    page.click("[data-use-box]")
    [item] = page.evaluate("JSON.parse(sessionStorage.examples)")
    page.evaluate("sessionStorage.removeItem('examples')")
    assert item["example"]["source"] == source
    assert int(item["example"]["at_s"] * RATE + 1e-6) == int(at * RATE + 1e-6)


def test_player_slider_and_address_are_at_the_same_moment(server: Server, window: Window) -> None:
    page = window.page
    window.go(f"/video/{recording_of(server, 'plays')}?at_s=1")
    page.evaluate(f"{PLAYER}.currentTime = 2.845")
    window.until(f"{ASKED} === 2.845")
    assert shows_the_moment_of_the_player(window) == pytest.approx(2.845, abs=1e-3)
    assert page.input_value("[data-at]") == "2.8"
    page.evaluate(f"{PLAYER}.play()")
    page.click("[data-step='-0.1']")
    window.until(f"{ASKED} === 2.7")
    window.until(f"{PLAYER}.paused && {PLAYER}.currentTime === 2.7")
    assert shows_the_moment_of_the_player(window) == 2.7


def test_a_recording_that_browsers_do_not_play_has_no_player(server: Server, window: Window) -> None:
    window.go(f"/video/{recording_of(server, 'cut')}?at_s=2.5")
    window.page.wait_for_selector("img[alt='Picture at 0:02.5']")
    assert window.page.locator("video").count() == 0


@pytest.mark.parametrize("camera", ["plays", "cut"])
def test_the_whole_picture_is_that_of_the_moment_in_the_video(
    server: Server, window: Window, camera: str
) -> None:
    number, path = of(server, camera)
    window.go(f"/tracklets/{number}")
    link = "[data-whole]"
    assert f"at_s={path.timestamps[0] - START:.2f}" in str(window.page.get_attribute(link, "href"))
    window.until("document.querySelector('video').readyState > 0")
    window.page.evaluate(
        "for (const video of document.querySelectorAll('video'))"
        " video.currentTime = Number(video.dataset.offset) + 0.4"
    )
    wanted = f"at_s={path.timestamps[0] - START + 0.4:.2f}"
    window.until(f"document.querySelector('{link}').href.includes('{wanted}')")
