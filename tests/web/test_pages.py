"""The pages: what each role is shown, what the content security policy asks of them, and their size."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from storage.account_records import Role
from storage.case_records import NewExample
from storage.gallery import EVERYTHING
from storage.records import GalleryFilter
from storage.retention_records import Rule
from tests.web.conftest import NUM_TRACKLETS, PASSWORD, Server
from web.pages.rendering import Chip, chips, example_words
from web.resources import Filter

STATIC = Path(__file__).parents[2] / "web" / "static"
FIRST_PAGE_BYTES = 100_000

VIEWERS = ("/cameras", "/browse", "/tracklets/1", "/video/1", "/compare?a=1&b=2", "/account")
OPERATORS = ("/search", "/searches/1", "/compare?search=1&a=1&b=2", "/cases", "/cases/1")
ADMINS = (
    "/admin/users",
    "/admin/retention",
    "/admin/erasure?tracklet=1,2",
    "/admin/audit",
    "/admin/index",
)
HEADINGS = ("h1", "h2", "h3", "h4")
FIELDS = ("input", "select", "textarea")


class Page(HTMLParser):
    """What a page is made of, by its tags.

    Attributes:
        tags: each with its attributes, in order.
        unlabelled: fields that no label and no aria-label names.
    """

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.unlabelled: list[str] = []
        self._open_labels = 0
        self._labelled = set(re.findall(r'<label[^>]*\bfor="([^"]+)"', html))
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.tags.append((tag, values))
        self._open_labels += tag == "label"
        named = self._open_labels or "aria-label" in values or values.get("id") in self._labelled
        if tag in FIELDS and values.get("type") != "hidden" and not named:
            self.unlabelled.append(str(self.get_starttag_text()))

    def handle_endtag(self, tag: str) -> None:
        self._open_labels -= tag == "label"

    def links(self) -> set[str]:
        return {str(values["href"]) for tag, values in self.tags if tag == "a" and "href" in values}

    def named(self, attribute: str) -> list[dict[str, str | None]]:
        return [values for _, values in self.tags if attribute in values]


def look(client: TestClient, path: str) -> Page:
    answer = client.get(path)
    assert answer.status_code == 200, (path, answer.text)
    assert answer.headers["content-type"].startswith("text/html")
    return Page(answer.text)


@pytest.fixture
def admin(server: Server) -> TestClient:
    """An admin with a case, a search in it, a decision and a note."""
    client = server.client("admin")
    assert client.post("/api/v1/cases", json={"name": "bag"}).status_code == 201
    assert client.post("/api/v1/cases/1/notes", json={"text": "seen"}).status_code == 201
    given = {"examples": [{"tracklet": 1}], "reason": "test", "case_id": 1}
    assert client.post("/api/v1/searches", json=given).status_code == 201
    decision = {"tracklet": 3, "verdict": "same"}
    assert client.post("/api/v1/searches/1/decisions", json=decision).status_code == 200
    return client


def test_pages_hold_nothing_that_the_policy_forbids_and_can_be_read_aloud(
    server: Server, admin: TestClient
) -> None:
    pages = {path: look(admin, path) for path in (*VIEWERS, *OPERATORS, *ADMINS)}
    made = admin.post("/api/v1/users", json={"name": "grace"}).json()
    pages |= {path: look(server.anybody(), path) for path in ("/login", made["path"])}
    for path, page in pages.items():
        for tag, values in page.tags:
            assert "style" not in (tag, *values), (path, tag, values)
            assert not [name for name in values if name.startswith("on")], (path, tag, values)
            inline = tag == "script" and "src" not in values and values.get("type") != "application/json"
            assert not inline, (path, values)
            assert tag != "img" or "alt" in values, (path, values)
        assert not page.unlabelled, (path, page.unlabelled)
        ids = [values["id"] for values in page.named("id")]
        assert len(ids) == len(set(ids)), (path, sorted(ids))
        levels = [HEADINGS.index(tag) for tag, _ in page.tags if tag in HEADINGS]
        assert levels.count(0) == 1, path
        assert all(after - before <= 1 for before, after in pairwise(levels)), path


@pytest.mark.parametrize(
    ("role", "menu"),
    [
        ("viewer", {"/cameras", "/browse"}),
        ("operator", {"/cameras", "/browse", "/search", "/cases"}),
        ("admin", {"/cameras", "/browse", "/search", "/cases", "/admin"}),
    ],
)
def test_a_role_is_shown_what_it_may_do(server: Server, role: Role, menu: set[str]) -> None:
    client = server.client(role)
    links = look(client, "/browse").links()
    assert links & {"/cameras", "/browse", "/search", "/cases", "/admin"} == menu
    actions = {values["data-do"] for values in look(client, "/browse").named("data-do")}
    assert ("search" in actions) == (role != "viewer")
    assert ("erase" in actions) == (role == "admin")
    tracklet = look(client, "/tracklets/1").links()
    assert ("/search?tracklet=1" in tracklet) == (role != "viewer")
    assert ("/admin/erasure?tracklet=1" in tracklet) == (role == "admin")


def test_what_people_write_is_text(server: Server, admin: TestClient) -> None:
    evil = "<img src=x onerror=alert(1)>\"'"
    admin.patch("/api/v1/cases/1", json={"name": evil, "description": evil})
    admin.post("/api/v1/cases/1/notes", json={"text": "</script>" + evil})
    admin.post("/api/v1/searches", json={"examples": [{"tracklet": 1}], "reason": "</script>" + evil})
    for path in ("/cases", "/cases/1", "/search", "/searches/2", "/admin/audit"):
        page = look(admin, path)
        assert not page.named("onerror"), path
        assert "<img src=x" not in admin.get(path).text


@pytest.mark.parametrize(
    ("wanted", "target"),
    [
        ("/browse?camera=door&start=1.5", "/browse?camera=door&start=1.5"),
        ("https://evil.example/", "/cameras"),
        ("//evil.example/", "/cameras"),
        ("/\\evil.example/", "/cameras"),
        ("javascript:alert(1)", "/cameras"),
        ("/\t/evil.example", "/cameras"),
        ("", "/cameras"),
    ],
)
def test_a_log_in_leads_to_pages_of_ours_only(server: Server, wanted: str, target: str) -> None:
    answer = server.anybody().get("/login", params={"next": wanted})
    [form] = Page(answer.text).named("data-api")
    assert form["data-then"] == target
    server.user("ada", "viewer")
    assert server.logged_in("ada").get("/login", params={"next": wanted}).headers["location"] == target


def test_browsing_shows_each_tracklet_once_in_the_order_that_was_asked_for(server: Server) -> None:
    client = server.client("viewer")
    for order, sign in (("newest", -1), ("oldest", 1)):
        cards = look(client, f"/browse?order={order}").named("data-tracklet")
        shown = [int(str(card["data-tracklet"])) for card in cards]
        starts = [server.gallery.tracklet(id).start for id in shown]
        assert sorted(shown) == [record.id for record in server.gallery.tracklets()]
        assert starts == sorted(starts, key=lambda start: sign * start)
    assert len(shown) == NUM_TRACKLETS


def test_filters_in_the_address_can_be_taken_away_one_by_one(server: Server) -> None:
    client = server.client("viewer")
    path = "/browse?camera=here&camera=there&start=1000.0&min_quality=0.1&order=oldest"
    links = look(client, path).links()
    assert "/browse?camera=there&start=1000.0&min_quality=0.1&order=oldest" in links
    assert "/browse?camera=here&camera=there&min_quality=0.1&order=oldest" in links
    only_here = look(client, "/browse?camera=here&start=&end=").named("data-tracklet")
    assert len(only_here) == len(list(server.gallery.tracklets(GalleryFilter(frozenset({"here"})))))


def test_a_filter_without_parts_has_no_chips() -> None:
    assert chips(Filter()) == []
    assert chips(Filter(end=2.0), "/browse") == [Chip("to", "/browse", 2.0)]


def test_a_short_range_is_written_with_tenths_of_a_second(server: Server) -> None:
    viewer = server.client("viewer")
    short = viewer.get("/browse?start=1000.25&end=1000.75").text
    assert "00:16:40.2 UTC</time>" in short
    assert "00:16:40.7 UTC</time>" in short
    assert "00:16:40 UTC</time>" in viewer.get("/browse?start=1000.25&end=2000.75").text


def test_a_used_or_expired_invitation_says_so_before_a_password_is_chosen(server: Server) -> None:
    admin = server.client("admin")
    used = admin.post("/api/v1/users", json={"name": "grace"}).json()["path"]
    chosen = {"token": used.removeprefix("/invitation/"), "password": PASSWORD}
    assert 'type="password"' in server.anybody().get(used).text
    assert server.anybody().post("/api/v1/invitation", json=chosen).status_code == 200
    late = admin.post("/api/v1/users", json={"name": "joan"}).json()
    server.clock.now = late["expires"] + 1
    for path in (used, late["path"], "/invitation/abc"):
        answer = server.anybody().get(path)
        assert answer.status_code == 404
        assert "was used, or has expired" in answer.text
        assert 'type="password"' not in answer.text


def test_a_search_tells_which_of_the_tracklets_asked_for_there_are(server: Server) -> None:
    html = server.client("operator", ["here"]).get("/search?tracklet=1&tracklet=999&tracklet=3").text
    assert server.gallery.tracklet(3).camera == "there"
    assert "There is no tracklet 999. " in html
    assert "There is no tracklet 3. " in html
    assert re.findall(r"data-examples-of>(.*?)</script>", html) == ['[{"camera": "here", "id": 1}]']


def test_results_say_what_was_not_searched_and_why_numbers_can_disagree(
    server: Server, admin: TestClient
) -> None:
    html = admin.get("/searches/1").text
    seen = server.gallery.tracklet(1)
    [words] = re.findall(r"<dt>Not searched</dt><dd>(.*?)</dd>", html)
    assert words.startswith(f"{seen.camera} from <time")
    assert words.endswith("where the example itself is seen")
    assert "everything that you may see" not in html
    [explained] = look(admin, "/searches/1").named("data-order-words")
    assert "hidden" in explained
    admin.post("/api/v1/searches/1/decisions", json={"tracklet": 5, "verdict": "different"})
    [explained] = look(admin, "/searches/1").named("data-order-words")
    assert "hidden" not in explained


def test_a_search_of_a_closed_case_can_be_read_not_changed(server: Server, admin: TestClient) -> None:
    def verdicts(path: str) -> list[bool]:
        return ["disabled" in values for values in look(admin, path).named("data-decide")]

    assert not any(verdicts("/searches/1"))
    assert len(look(admin, "/searches/1").named("data-case")) == 1
    assert 'name="verdict"' in admin.get("/compare?search=1&a=1&b=2").text
    admin.patch("/api/v1/cases/1", json={"closed": True})
    assert all(verdicts("/searches/1"))
    html = admin.get("/searches/1").text
    assert "The case bag is closed" in html
    assert "data-case>" not in html
    compared = admin.get("/compare?search=1&a=1&b=2").text
    assert "The case bag is closed" in compared
    assert 'name="verdict"' not in compared
    closed = admin.get("/cases/1").text
    assert "/notes" not in closed
    assert "/export" in closed


def test_the_retention_page_says_that_nothing_is_due(server: Server, admin: TestClient) -> None:
    nothing, retention = "Nothing is due.", server.gallery.retention

    def due() -> tuple[bool, bool, bool]:
        """Whether the page says that nothing is, lists something, and offers to apply the rules."""
        html = admin.get("/admin/retention").text
        return nothing in html, 'aria-label="What is due"' in html, "/retention/apply" in html

    assert due() == (True, False, False), "without a rule"
    retention.set_rule(Rule("here", 36_500.0, None, None))
    assert due() == (True, False, False), "with a rule, and nothing as old"
    retention.set_rule(Rule("here", 1.0, None, None))
    assert due() == (False, True, True)
    here = server.gallery.tracklets(GalleryFilter(frozenset({"here"})))
    examples = [NewExample(each.id) for each in here]
    server.gallery.cases.add_search("admin", examples, EVERYTHING, 0.5, "test", 1)
    server.gallery.cases.update_case(1, held=True)
    assert due() == (True, True, False), "what would be is held, and the table says so"


def test_a_case_is_changed_and_deleted_by_its_owner_or_an_admin(server: Server, admin: TestClient) -> None:
    member = server.client("operator")
    admin.patch("/api/v1/cases/1", json={"members": ["operator"]})
    for client, may in ((admin, True), (member, False)):
        page = look(client, "/cases/1")
        apis = [values["data-api"] for values in page.named("data-api")]
        assert ("DELETE /api/v1/cases/1" in apis) == may
        assert any(values.get("name") == "members" for _, values in page.tags) == may
        assert "POST /api/v1/cases/1/notes" in apis


def test_who_may_take_a_search_out_of_its_case_finds_the_button(server: Server, admin: TestClient) -> None:
    member = server.client("operator")
    admin.patch("/api/v1/cases/1", json={"members": ["operator"]})

    def offered(client: TestClient) -> bool:
        return "Take out of the case" in client.get("/searches/1").text

    assert (offered(admin), offered(member)) == (True, False)
    admin.patch("/api/v1/cases/1", json={"closed": True})
    assert not offered(admin)
    admin.patch("/api/v1/cases/1", json={"closed": False})
    admin.patch("/api/v1/searches/1", json={"case_id": None})
    assert not offered(admin)


def test_of_many_recordings_the_newest_are_shown_and_the_others_behind_them(server: Server) -> None:
    viewer = server.client("viewer")
    assert "Older recordings" not in viewer.get("/cameras").text
    for number in range(60):
        server.gallery.begin_source("here", f"/nowhere/{number}.mp4", f"of {number}", 1000.0, "settings")
    first = look(viewer, "/cameras")
    shown = {link for link in first.links() if link.startswith("/cameras?after=")}
    assert len(shown) == 1
    text = viewer.get("/cameras").text
    assert "59.mp4" in text
    assert "/nowhere" not in text
    assert {"/video/1", "/video/2"} <= look(viewer, shown.pop()).links()


def test_an_example_says_what_it_was_cut_out_of() -> None:
    assert example_words({"kind": "video", "at": 12.5, "camera": "yard"}) == "yard, a recording at 0:12.5"
    assert example_words({"kind": "video", "at": 12.5, "camera": None}) == "a clip at 0:12.5, uploaded"
    assert example_words({"kind": "image"}) == "a picture, uploaded"


def test_results_stand_on_their_side_of_the_line(server: Server, admin: TestClient) -> None:
    admin.patch("/api/v1/searches/1", json={"threshold": 1.0})
    html = admin.get("/searches/1").text
    above, below = html.split("Below this line", 1)
    assert 'data-tracklet="3"' in above, "decided by a person, whatever its similarity"
    others = {record.id for record in server.gallery.tracklets()} - {1, 3}
    below = below.split("<template", 1)[0]
    assert {int(id) for id in re.findall(r'data-tracklet="(\d+)"', below)} <= others
    assert 'data-kind="match"' not in html


def test_an_erasure_takes_the_tracklets_of_a_search_and_refuses_nonsense(
    server: Server, admin: TestClient
) -> None:
    [form] = look(admin, "/admin/erasure?search=1").named("data-erasure")
    assert form["data-tracklets"] == "[1, 3]"
    assert form["data-searches"] == "[1]"
    assert "&#39;x&#39; is no number of a tracklet" in admin.get("/admin/erasure?tracklet=1,x").text


def test_a_page_that_is_not_there_says_so_in_a_page(server: Server) -> None:
    answer = server.client("viewer").get("/tracklets/999")
    assert answer.status_code == 404
    assert "No tracklet has the id 999" in answer.text
    assert "<h1>Not Found</h1>" in answer.text


@pytest.mark.parametrize(
    ("path", "scripts"), [("/login", ()), ("/cameras", ()), ("/browse", ("browse.js",))], ids=str
)
def test_a_first_page_is_small(server: Server, path: str, scripts: tuple[str, ...]) -> None:
    client = server.anybody() if path == "/login" else server.client("admin")
    files = {"retrace.css", "favicon.svg", *_imported({"retrace.js", *scripts})}
    size = len(client.get(path).content) + sum((STATIC / name).stat().st_size for name in files)
    assert size < FIRST_PAGE_BYTES


def test_scripts_import_what_is_there_and_are_served(server: Server) -> None:
    client = server.anybody()
    start = (STATIC / "retrace.js").read_text()
    pages = set(re.findall(r'"\./(\w+\.js)", "(\w+)"', start))
    assert {name for name, _ in pages} <= {file.name for file in STATIC.glob("*.js")}
    for name, function in pages:
        assert re.search(rf"export (async )?function {function}\b", (STATIC / name).read_text())
    for file in STATIC.iterdir():
        for names, source in re.findall(r'import \{ ([^}]+) \} from "\./(\w+\.js)"', file.read_text()):
            text = (STATIC / source).read_text()
            for name in names.split(", "):
                assert re.search(rf"export (async )?(function|const) {name}\b", text), (file.name, name)
        assert client.get(f"/static/{file.name}").status_code == 200


def _imported(names: set[str]) -> set[str]:
    """Scripts and what they import."""
    found = set(names)
    for name in names:
        found |= _imported(set(re.findall(r'from "\./(\w+\.js)"', (STATIC / name).read_text())))
    return found
