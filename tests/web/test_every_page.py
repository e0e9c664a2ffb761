"""Each page's main action, done with mouse or keyboard in a real browser: one server, one log-in for all."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from pipeline.crops import encode_jpeg
from pipeline.embedding import build_embedder, embed_tracklets
from pipeline.hooks import Hooks
from storage.case_records import NewExample
from storage.gallery import EVERYTHING
from tests.storage.making import tracklet
from tests.web.conftest import PASSWORD, Filled, Server, serve_copy
from tests.web.window import Window, window_on
from web.tokens import token_hash

pytestmark = pytest.mark.filterwarnings("default")  # Playwright's own

NUM_AT_GATE = 60


@pytest.fixture(scope="module")
def server(filled: Filled, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The painted gallery with a third camera, "gate", whose tracklets fill more than a page."""
    made = serve_copy(filled, tmp_path_factory.mktemp("every page") / "g")
    add_strangers(made, "gate", range(NUM_AT_GATE))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("web.api.events._LOOK_EVERY_S", 0.1)
        yield made
    made.close()


@pytest.fixture(scope="module")
def opened(server: Server, browser: Any) -> Iterator[Window]:
    with window_on(server, browser) as window:
        yield window


@pytest.fixture
def window(opened: Window) -> Iterator[Window]:
    opened.problems.clear()
    yield opened
    assert opened.problems == []


def add_strangers(server: Server, camera: str, tracks: range) -> list[int]:
    """Tracklets of people who look like nobody else; their ids."""
    gallery, embedder = server.gallery, build_embedder(server.services.config.embedder)
    source = gallery.begin_source(camera, f"{camera}.mp4", f"content of {camera}", 1000.0, "settings")
    crops = [tuple(noise(track, i) for i in range(3)) for track in tracks]
    vectors = embed_tracklets(embedder, crops, 8)
    made = [
        tracklet(track, vector, crops=pictures)
        for track, vector, pictures in zip(tracks, vectors, crops, strict=True)
    ]
    return gallery.add_tracklets(source.id, made, embedder.spec)


def noise(*seed: int) -> bytes:
    """A picture of which no piece is in another one."""
    return encode_jpeg(np.random.default_rng(seed).integers(0, 256, (96, 48, 3), np.uint8), 90)


def test_a_camera_leads_to_its_tracklets_and_its_recordings(window: Window) -> None:
    page = window.page
    window.go("/cameras")
    page.click(".camera h2 >> text=there")
    window.led_to("/browse?camera=there")
    assert page.locator("#grid .card").count() == 3
    window.go("/cameras")
    page.click("tr:has-text('there.mp4') a")
    window.led_to("/video/2")
    window.says("h1", "there.mp4")


def test_filters_are_in_the_address_and_can_be_taken_away(window: Window) -> None:
    page = window.page
    window.go("/browse")
    page.click("[data-filters] summary")
    page.check("[name=camera][value=here]")
    page.select_option("[name=order]", "oldest")
    page.click("[data-filters] .primary")
    window.led_to("/browse?camera=here&order=oldest")
    assert page.locator("#grid .card").count() == 2
    page.click("[data-bars] a >> nth=0")
    window.led_to("/browse?camera=here&order=oldest&start=*&end=*")
    page.click("[aria-label='Remove filter here']")
    window.led_to("/browse?start=*&end=*&order=oldest")
    assert page.get_by_role("list", name="Filters in use").locator(".chip").count() == 2


def test_a_camera_and_an_actor_called_0_are_filters_too(window: Window, server: Server) -> None:
    page = window.page
    [tracklet] = add_strangers(server, "0", range(1000, 1001))
    window.go("/browse")
    page.click("[data-filters] summary")
    page.check("[name=camera][value='0']")
    page.click("[data-filters] .primary")
    window.led_to("/browse?camera=0")  # and no quality of 0, which is every quality
    assert page.locator("#grid .card").count() == 1
    server.gallery.delete_tracklets([tracklet])
    window.go("/admin/audit")
    page.fill("[name=actor]", "0")
    page.click("[data-filters] button")
    window.led_to("/admin/audit?actor=0")


def test_more_tracklets_are_loaded_and_arrow_keys_move_among_them(window: Window) -> None:
    page, cards = window.page, window.page.locator("#grid .card")
    window.go("/browse?camera=gate")
    assert cards.count() == 48
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    first, below = cards.nth(0).bounding_box(), page.locator(".card:has(:focus)").bounding_box()
    assert (below["x"], below["y"] > first["y"]) == (first["x"], True)
    page.keyboard.press("End")
    window.says("#end", "That is all.")
    shown = {card.get_attribute("data-tracklet") for card in cards.all()}
    assert (len(shown), cards.count()) == (NUM_AT_GATE, NUM_AT_GATE)
    opened = page.locator(".card:has(:focus)").get_attribute("data-tracklet")
    page.keyboard.press("Enter")
    window.led_to(f"/tracklets/{opened}")


def test_two_tracklets_are_chosen_to_be_compared(window: Window) -> None:
    page = window.page
    window.go("/browse?camera=here")
    page.check("#t1 input")
    assert page.is_disabled("[data-do=compare]")
    page.check("#t2 input")
    page.click("[data-do=compare]")
    window.led_to("/compare?a=1&b=2")


def test_a_new_tracklet_is_announced_while_one_browses(server: Server, window: Window) -> None:
    page = window.page
    with page.expect_response("**/api/v1/events"):
        window.go("/browse")
    page.wait_for_timeout(500)  # the server notes what is there when it is first asked
    assert page.is_hidden("[data-new]")
    [new] = add_strangers(server, "attic", range(200, 201))
    window.says("#announce", "1 new tracklet")
    assert window.words("[data-new]") == "1 new tracklet – show"
    page.click("[data-new]")
    page.wait_for_selector(f"#t{new}")


def test_a_tab_that_was_hidden_is_told_what_came_in_meanwhile(server: Server, window: Window) -> None:
    hide = """(hidden) => {
        Object.defineProperty(document, "hidden", { get: () => hidden, configurable: true });
        document.dispatchEvent(new Event("visibilitychange"));
    }"""
    with window.page.expect_response("**/api/v1/events"):
        window.go("/browse")
    window.page.wait_for_timeout(500)  # for the stream's first event
    window.page.evaluate(hide, True)
    add_strangers(server, "hidden", range(2))
    window.page.evaluate(hide, False)
    window.says("[data-new]", "2 new tracklets")


def test_the_moment_of_a_tracklet_is_played_with_the_box(window: Window) -> None:
    page = window.page
    window.go("/tracklets/2")
    left = "Number(document.querySelector('[data-trajectory] rect')?.getAttribute('x') ?? NaN)"
    window.until(f"{left} > 0")
    before = page.evaluate(left)
    page.focus("video")
    page.keyboard.press("Space")
    window.until(f"{left} < {before} - 10")  # this person walks to the left
    assert window.words("[data-flip-words]").startswith("Crop 1 of"), "the key is the video's"


def test_crops_are_leafed_through_and_played(window: Window) -> None:
    page = window.page
    window.go("/tracklets/1")
    page.keyboard.press("ArrowRight")
    window.says("[data-flip-words]", "Crop 2 of 16")
    assert page.get_attribute("[data-flip] img", "src") == "/api/v1/tracklets/1/crops/1"
    page.click("[data-flip-step='-1']")
    window.says("[data-flip-words]", "Crop 1 of 16")
    page.click("[data-flip-play]")
    window.says("[data-flip-words]", "Crop 3 of 16")


def test_a_person_is_picked_in_a_recording_by_number_and_searched_for(window: Window) -> None:
    page = window.page
    window.go("/video/1?at_s=1")
    page.click("[data-step='1']")
    page.wait_for_url("**/video/1?at_s=2")
    page.wait_for_selector("img[alt='Picture at 0:02.0']")
    page.wait_for_selector("[data-persons] button >> nth=1")
    page.keyboard.press("2")
    assert window.words("[data-box-words]").endswith("at 0:02.0")
    assert page.get_attribute("[data-persons] button >> nth=1", "aria-pressed") == "true"
    page.click("[data-where-else]")
    window.led_to("/search")
    assert window.words(".tray li [data-words]") == "here.mp4 at 0:02.0"
    page.click("[data-remove]")
    assert page.is_visible("[data-tray-empty]")
    assert page.is_disabled("[data-search-form] .primary")


def test_a_person_is_searched_for_with_a_picture(server: Server, window: Window) -> None:
    page = window.page
    window.go("/search")
    picture = {"name": "somebody.jpg", "mimeType": "image/jpeg", "buffer": server.gallery.crops(1)[3]}
    page.set_input_files("[type=file]", picture)
    page.wait_for_selector("img[alt='Picture at 0:00.0']")
    page.click("[data-use-whole]")
    assert window.words(".tray li [data-words]") == "somebody.jpg"
    page.fill("[name=reason]", "a picture from outside")
    page.press("[name=reason]", "Enter")
    window.led_to("/searches/*")
    best = [card.get_attribute("data-tracklet") for card in page.locator(".result").all()[:2]]
    assert "1" in best
    assert server.gallery.cases.searches()[0].reason == "a picture from outside"


def test_a_search_says_that_it_runs(window: Window) -> None:
    page, asked = window.page, list[Any]()
    page.route("**/api/v1/searches", lambda route: asked.append(route))
    for goes_well in (False, True):
        window.go("/search?tracklet=1")
        page.fill("[name=reason]", "test")
        page.click("[data-search-form] .primary")
        page.wait_for_selector("[data-searching]:visible:text-is('Searching…')")
        while not asked:
            page.wait_for_timeout(20)
        route = asked.pop()
        if goes_well:
            route.continue_()
            window.led_to("/searches/*")
        else:
            route.abort()
            window.says("[data-search-form] .error", "cannot be reached")
            assert window.words("[data-searching]") == ""
    page.unroute("**/api/v1/searches")
    window.problems.clear()  # the browser counts a request that failed as one


def test_marks_of_the_time_line_lead_to_results(window: Window) -> None:
    page, focused = window.page, "document.activeElement.closest('.result')?.dataset.tracklet"
    window.search_with(1)
    page.click("[data-marks] a[href='#r3']")
    assert page.evaluate(focused) == "3"
    page.focus("[data-marks] a[tabindex='0'] >> nth=-1")
    marks = [page.evaluate("document.activeElement.getAttribute('href')")]
    page.keyboard.press("ArrowRight")
    marks.append(page.evaluate("document.activeElement.getAttribute('href')"))
    page.keyboard.press("Enter")
    assert f"#r{page.evaluate(focused)}" == marks[1] != marks[0]


def test_the_threshold_is_moved_with_keys_and_kept(server: Server, window: Window) -> None:
    page = window.page
    window.search_with(1)
    number = int(page.url.rpartition("/")[2])
    for key, threshold, empty in (("Home", 0.0, "candidates"), ("End", 1.0, "matches")):
        with page.expect_response(lambda answer: answer.request.method == "PATCH"):
            page.press("#threshold", key)
        assert page.locator(f"[data-{empty}] .result").count() == 0
        assert server.gallery.cases.search(number).threshold == threshold
    assert window.words("[data-threshold-words]") == "1.000"


def test_a_result_is_played_compared_and_confirmed(server: Server, window: Window) -> None:
    page = window.page
    window.search_with(1)
    number = int(page.url.rpartition("/")[2])
    page.focus("#r3 .picture")
    page.keyboard.press("p")
    window.until("document.querySelector('#r3 img').src.endsWith('/3/crops/2')")
    page.keyboard.press("p")
    page.wait_for_selector("#r3 img[src$='/thumbnail']")
    opened = server.gallery.audit.entries(action="result opened", limit=1)[0].subject
    assert opened == {"search_id": number, "tracklet": 3}
    path = "**/opened/*"
    page.route(path, lambda route: route.fulfill(status=503, json={"detail": "the trail is away"}))
    page.click("#r3 [data-play]")
    window.says("#r3 .error", "The trail is away.")
    assert page.get_attribute("#r3 img", "src").endswith("/thumbnail"), "what is not noted is not played"
    page.unroute(path)
    window.problems.clear()  # the browser counts a request that failed as one
    page.focus("#r3 .picture")
    page.keyboard.press("c")
    window.led_to(f"/compare?search={number}&a=1&b=3")
    page.click("button:text-is('Same')")
    page.wait_for_selector("#r3[data-kind=confirmed]")
    [decision] = server.gallery.cases.search(number).decisions
    assert (decision.tracklet_id, decision.verdict) == (3, "same")


def test_a_case_is_shared_held_closed_and_opened(server: Server, window: Window) -> None:
    page, cases = window.page, server.gallery.cases
    server.user("mary", "operator")
    number = cases.add_case("bag", "", "ada").id
    window.go(f"/cases/{number}")
    page.fill("[name=members]", "mary")
    page.click("button:text-is('Save')")
    window.says("#flash", "Saved.")
    assert cases.case(number).members == {"mary"}
    page.click("text=Legal hold")
    page.click("#confirm [value=yes]")
    window.says(".head .badge", "legal hold")
    assert cases.case(number).held
    page.click("text=Close the case")
    page.click("#confirm [value=yes]")
    window.says(".head", "closed")
    assert page.locator("[name=text]").count() == 0
    page.click("text=Open again")
    page.wait_for_selector("[name=text]")
    assert cases.case(number).closed is None


def test_somebody_is_invited_chooses_passwords_and_is_shut_out(server: Server, window: Window) -> None:
    page, users = window.page, server.gallery.accounts
    window.go("/admin/users")
    invite = page.locator("[data-api='POST /api/v1/users']")
    invite.locator("[name=name]").fill("grace")
    invite.locator(".primary").click()
    link = page.input_value("#secret[open] #secret-value")
    page.click("#secret [value=ok]")
    window.says(".row:has-text('grace')", "invited")
    boxes = invite.locator("[data-user-cameras]")
    assert boxes.is_visible()
    invite.locator("[name=role]").select_option("admin")
    assert not boxes.is_visible(), "an admin sees every camera"
    row = page.locator(".row:has-text('ada')")
    row.locator("summary").click()
    assert not row.locator("[data-user-cameras]").is_visible()

    context = page.context.browser.new_context()
    guest = Window(context.new_page(), window.url)
    guest.page.goto(link)
    guest.ready()
    guest.page.fill("[name=password]", PASSWORD)
    guest.page.fill("[data-same-as=password]", "another one, mistyped")
    guest.page.click("main .primary")
    complaint = guest.page.evaluate("document.querySelector('input:invalid').validationMessage")
    assert complaint == "The two are not the same."
    guest.page.fill("[data-same-as=password]", PASSWORD)
    guest.page.click("main .primary")
    guest.led_to("/cameras")

    guest.go("/account")
    for field, password in (("[name=old]", PASSWORD), ("[name=new]", PASSWORD[::-1])):
        guest.page.fill(field, password)
    guest.page.fill("[data-same-as=new]", PASSWORD[::-1])
    guest.page.click("button:text-is('Change')")
    guest.says("#flash", "The password was changed.")
    guest.page.click("text=Log out")
    guest.led_to("/login")
    guest.go("/tracklets/1")
    guest.log_in("grace")
    guest.page.wait_for_selector("main .error:not(:empty)")
    guest.log_in("grace", PASSWORD[::-1])
    guest.led_to("/tracklets/1")

    row = page.locator(".row:has-text('grace')")
    row.locator("summary").click()
    row.locator("text=Disable").click()
    window.says(".row:has-text('grace')", "disabled")
    user = users.user_named("grace")
    assert user is not None
    assert not user.enabled
    guest.page.goto(f"{window.url}/browse")
    assert "/login" in guest.page.url
    context.close()


def test_a_token_is_made_shown_once_and_removed(server: Server, window: Window) -> None:
    page, accounts = window.page, server.gallery.accounts
    window.go("/account")
    page.fill("[name=name]", "nightly report")
    page.click("text=Make a token")
    token = page.input_value("#secret[open] #secret-value")
    assert accounts.token(token_hash(token), server.clock()) is not None
    page.click("#secret [value=ok]")
    page.click("tr:has-text('nightly report') button")
    page.click("#confirm [value=yes]")
    window.says("main", "No tokens.")
    assert accounts.token(token_hash(token), server.clock()) is None


def test_a_rule_is_set_tried_applied_and_removed(server: Server, window: Window) -> None:
    page = window.page
    window.go("/admin/retention")
    page.select_option("[name=camera]", "gate")
    page.fill("[name=crops_days]", "1")
    page.click("text=Save the rule")
    window.says("#flash", "Rule saved.")
    due = page.locator("[aria-label='What is due'] tbody tr")
    assert due.inner_text().split()[:2] == ["gate", str(NUM_AT_GATE)]
    assert server.gallery.tracklet(1).has_crops
    page.click("text=Apply the rules now")
    page.click("#confirm [value=yes]")
    window.says("[data-job-words]", "retention: done.")
    page.wait_for_selector("main:has-text('Nothing is due.')")  # the page comes anew
    page.click("tr:has-text('gate') button")
    page.click("#confirm [value=yes]")
    window.says("main", "No rules")


def test_an_erasure_is_looked_at_confirmed_and_done(server: Server, window: Window) -> None:
    page = window.page
    ids = add_strangers(server, "hall", range(100, 102))
    window.go("/admin/erasure")
    page.fill("[name=tracklet]", f"{ids[0]}, {ids[1]}")
    page.click("button:text-is('Show')")
    window.says("[data-preview]", "Would be deleted:")
    window.says("[data-preview]", "tracklets: 2")
    assert server.gallery.tracklet(ids[0]).id
    page.fill("[name=confirmation]", "erase 3")
    assert page.is_disabled("[data-erase]")
    page.fill("[name=confirmation]", "erase 2")
    page.fill("[name=reason]", "asked for on paper")
    page.wait_for_load_state("networkidle")  # a picture that is asked for later is gone
    page.click("[data-erase]")
    window.says("[data-preview]", "The check afterwards found nothing left.")
    assert not {each.id for each in server.gallery.tracklets()} & set(ids)


def test_a_search_by_an_upload_alone_is_erased_on_the_page(server: Server, window: Window) -> None:
    page, cases = window.page, server.gallery.cases
    search = cases.add_search("ada", [NewExample(crops=(noise(999),))], EVERYTHING, 0.5, "a flyer").id
    window.go("/admin/erasure")
    page.fill("[name=search]", str(search))
    page.click("button:text-is('Show')")
    window.says("[data-preview]", "search examples: 1")
    page.fill("[name=confirmation]", f"erase search {search}")
    page.fill("[name=reason]", "asked for on paper")
    page.click("[data-erase]")
    window.says("[data-preview]", "The check afterwards found nothing left.")
    assert search not in {each.id for each in cases.searches()}


def test_the_trail_is_narrowed_to_an_action(window: Window) -> None:
    page = window.page
    window.go("/admin/audit")
    page.fill("[name=action]", "log-in")
    page.press("[name=action]", "Enter")
    window.led_to("/admin/audit?action=log-in")
    actions = {row.inner_text() for row in page.locator(".audit tbody td:nth-child(4)").all()}
    assert actions == {"log-in"}


def test_work_on_the_index_tells_how_far_it_is(server: Server, window: Window) -> None:
    page, go_on = window.page, threading.Event()

    def work(hooks: Hooks) -> str:
        for done in (3, 7):
            hooks.on_step("embedding", done, 10)
            assert go_on.wait(20)
            go_on.clear()
        return "10 tracklets"

    window.go("/admin/index")
    server.services.jobs.start("counting", work)
    for done in (3, 7):
        window.says("[data-job-words]", f"counting: embedding, {done} of 10")
        assert page.evaluate("document.querySelector('[data-job-progress]').value") == done / 10
        go_on.set()
    window.says("[data-job-words]", "counting: done. 10 tracklets.")
    page.wait_for_selector("#job:has-text('Last work')")


def test_the_gallery_is_embedded_anew_by_a_form(server: Server, window: Window) -> None:
    page = window.page
    window.go("/admin/index")
    assert page.locator("[aria-label='Table of weights'] tbody tr").count() > 0
    offered = page.locator("[name=embedder] option").all_inner_texts()
    assert "colour_stripes" in offered
    assert "openvino_reid" not in offered, "it has no weights here"
    page.select_option("[name=embedder]", label="colour_stripes")
    page.click("form:has([name=embedder]) .primary")
    page.click("#confirm [value=yes]")
    window.says("[data-job-words]", "reindex: done.")
    assert page.locator("[aria-label='Table of embeddings'] tbody tr").count() == 1, "the same model"
