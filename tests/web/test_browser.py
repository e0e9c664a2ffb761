"""An investigator's work in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.web.conftest import Server
from tests.web.window import Window, window_on

pytestmark = pytest.mark.filterwarnings("default")  # Playwright's own


@pytest.fixture
def window(server: Server, browser: Any) -> Iterator[Window]:
    with window_on(server, browser) as opened:
        yield opened
    assert opened.problems == []


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


def test_undo_takes_back_what_was_decided_last_wherever_that_was(server: Server, window: Window) -> None:
    page, cases = window.page, server.gallery.cases
    window.search_with(1)
    page.click("#r3 [data-decide=same]")
    page.wait_for_selector("#r3[data-kind=confirmed]")
    cases.decide(1, 3, "different", "ada")  # in another tab
    cases.decide(1, 5, "same", "somebody else")
    page.keyboard.press("z")
    page.wait_for_selector("#announce:has-text('not this person')", state="attached")
    left = {each.tracklet_id: each.verdict for each in cases.search(1).decisions}
    assert left == {3: "same", 5: "same"}
    page.keyboard.press("z")
    page.wait_for_selector("#r3:not([data-kind=confirmed])")
    page.wait_for_selector("[data-undo]:disabled")
    assert [each.tracklet_id for each in cases.search(1).decisions] == [5]
    page.keyboard.press("z")
    page.wait_for_selector("#announce:has-text('no decision')", state="attached")


def test_a_closed_case_keeps_its_decisions_from_keys_too(server: Server, window: Window) -> None:
    page, cases = window.page, server.gallery.cases
    window.search_with(1)
    cases.decide(1, 3, "same", "ada")
    cases.add_case("bag", "", "ada")
    cases.update_search(1, case_id=1)
    cases.update_case(1, closed=True)
    window.go("/searches/1")
    page.keyboard.press("ArrowRight")
    for key in "dz":
        page.keyboard.press(key)
    assert page.locator("[data-undo]").is_disabled()
    assert page.locator("#threshold").is_disabled()
    page.wait_for_load_state("networkidle")
    assert [each.verdict for each in cases.search(1).decisions] == ["same"]


def test_a_search_is_taken_out_of_its_case(server: Server, window: Window) -> None:
    page, cases = window.page, server.gallery.cases
    window.search_with(1)
    cases.add_case("bag", "", "ada")
    cases.update_search(1, case_id=1)
    window.go("/searches/1")
    page.click("text=Take out of the case")
    page.click("#confirm [value=yes]")
    page.wait_for_url(f"{window.url}/cases/1")
    window.ready()
    assert cases.search(1).case_id is None
    assert "No search belongs to this case yet" in window.words("main")


def test_a_note_just_written_is_seen_at_once_in_a_case_of_many(server: Server, window: Window) -> None:
    page, cases = window.page, server.gallery.cases
    case = cases.add_case("bag", "", "ada").id
    for number in range(60):
        cases.add_note(case, "ada", f"note {number}.")

    def write(words: str) -> None:
        page.fill("[name=text]", words)
        page.click("text=Add note")
        page.wait_for_selector(f"#notes ~ ul > li:first-child:has-text('{words}')")
        window.ready()

    window.go(f"/cases/{case}")
    write("on the newest page")
    page.click("text=Older notes")
    window.led_to(f"/cases/{case}?notes_after=*")
    assert "on the newest page" not in window.words("#notes ~ ul")
    write("on an older page")
    assert page.url == f"{window.url}/cases/{case}#notes"
    assert page.locator("#notes ~ ul > li").count() == 50


def test_an_erasure_says_which_searches_it_changes(server: Server, window: Window) -> None:
    page = window.page
    window.search_with(1)
    window.search_with(2)
    window.go("/admin/erasure?tracklet=1")
    page.click("[data-preview] a:text-is('search 1')")
    page.wait_for_selector(".result")
    window.go("/admin/erasure?tracklet=1")
    page.wait_for_selector("[data-preview] li")
    assert "search 2" not in window.words("[data-preview]")
    page.fill("[name=reason]", "letter")
    page.fill("[name=confirmation]", "erase 1")
    page.click("[data-erase]")
    page.wait_for_selector("[data-preview] .good")
    assert "search 1" in window.words("[data-preview]")
    assert page.locator("[data-preview] a").count() == 0, "it is gone"
    assert [each.id for each in server.gallery.cases.searches()] == [2]


def test_without_scripts_nothing_is_shown_that_does_nothing(window: Window) -> None:
    window.search_with(1)
    browser = window.page.context.browser
    assert browser is not None
    context = browser.new_context(
        java_script_enabled=False, storage_state=window.page.context.storage_state()
    )
    page = context.new_page()
    for path in ("/searches/1", "/browse", "/tracklets/1"):
        page.goto(window.url + path)
        shown = page.locator("button:visible, .time-line:visible, input:visible:not(form[method=get] *)")
        assert shown.count() == 0, (path, shown.first.evaluate("each => each.outerHTML"))
    context.close()


def test_time_without_pictures_is_hatched_and_read_out(server: Server, window: Window) -> None:
    gallery = server.gallery
    gallery.end_gap(gallery.begin_gap(gallery.sources()[0].id, 1001.5, "disk full"), 1003.0)
    window.go("/browse?start=1000&end=1010")
    hatched = window.page.locator(".time-line [fill='url(#hatch)']")
    assert hatched.count() == 1
    words = str(hatched.get_attribute("aria-label"))
    assert words.startswith("here, no pictures from ")
    assert words.endswith(": disk full")
    box = hatched.bounding_box()
    assert box is not None
    whole = window.page.locator(".time-line svg").bounding_box()
    assert whole is not None
    assert box["width"] == pytest.approx(0.15 * whole["width"], rel=0.05)
    window.search_with(3)
    assert window.page.locator(".time-line [fill='url(#hatch)']").count() == 1


def test_a_form_names_its_fields_in_its_own_words(window: Window) -> None:
    page = window.page
    window.go("/search?tracklet=1")
    page.evaluate("document.querySelector('[data-search-form]').noValidate = true")
    page.click("[data-search-form] summary")
    page.fill("[name=reason]", "test")
    page.fill("[name='filter.min_quality']", "7")
    page.click("[data-search-form] .primary")
    page.wait_for_selector("[data-search-form] .error:not(:empty)")
    assert window.words("[data-search-form] .error").startswith("Quality at least: Input should be less than")
    window.problems.clear()  # the browser counts a refused request as one


def test_a_user_who_would_see_no_camera_is_asked_about(server: Server, window: Window) -> None:
    page, users = window.page, server.gallery.accounts
    window.go("/admin/users")
    form = page.locator("[data-api='POST /api/v1/users']")
    form.locator("[name=name]").fill("grace")
    form.locator("[name=all_cameras]").uncheck()
    form.locator(".primary").click()
    page.wait_for_selector("#confirm[open]")
    page.click("#confirm [value=no]")
    assert users.user_named("grace") is None
    form.locator("[name=cameras]").first.check()
    form.locator(".primary").click()
    page.wait_for_selector("#secret[open]")
    user = users.user_named("grace")
    assert user is not None
    assert user.cameras == {"here"}


def test_a_trail_is_checked_against_a_head_noted_down(server: Server, window: Window) -> None:
    page = window.page
    window.go("/admin/audit")
    seq, digest = server.gallery.audit.head()
    page.fill("[name=head]", f"{seq}:{digest}")
    page.click("form[data-verify] button")
    page.wait_for_selector("[data-verify-words].good")
    page.fill("[name=head]", f"{seq}:{'0' * 64}")
    page.click("form[data-verify] button")
    page.wait_for_selector("[data-verify-words].error")
    assert "Not whole" in window.words("[data-verify-words]")


def test_a_threshold_above_everything_leaves_candidates_and_says_so(server: Server, window: Window) -> None:
    page = window.page
    window.search_with(1)
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
