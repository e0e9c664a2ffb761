"""Lists that can grow come in pages, in the API and on the pages: nothing twice, nothing left out."""

from __future__ import annotations

import re
from typing import Any

import pytest
from fastapi.testclient import TestClient

from storage.case_records import NewExample
from storage.gallery import EVERYTHING
from tests.web.conftest import Server
from web.answers import cursor

NUMBER = 120  # two pages and a bit


def make_cases(server: Server, owner: str = "operator") -> None:
    for number in range(NUMBER):
        server.gallery.cases.add_case(f"case {number}", "", owner)


def make_search(server: Server, case_id: int) -> int:
    """A search without the ranking."""
    example = NewExample(1, {"tracklet": 1, "camera": "here"})
    made = server.gallery.cases.add_search("operator", [example], EVERYTHING, 0.5, "x", case_id)
    return made.id


def follow(client: TestClient, path: str, key: str, **params: Any) -> list[list[dict[str, Any]]]:
    """The pages of a list, to the last."""
    pages, after = [], None
    while True:
        answer = client.get(f"/api/v1{path}", params={**params, **({"after": after} if after else {})})
        assert answer.status_code == 200, answer.text
        assert set(answer.json()) == {key, "next"}
        pages.append(answer.json()[key])
        after = answer.json()["next"]
        if after is None:
            return pages


def walk(client: TestClient, path: str, words: str, row: str) -> list[str]:
    """What `row` finds on a page and those behind it, reached by the link with these words."""
    found = []
    while True:
        html = client.get(path).text
        found += re.findall(row, html)
        links = re.findall(rf'<p class="more"><a href="([^"]+)">{words}</a></p>', html)
        if not links:
            return found
        path = links[0].replace("&amp;", "&")


def test_cases_come_in_pages(server: Server) -> None:
    client = server.client("operator")
    make_cases(server)
    server.gallery.cases.add_case("of others", "", "somebody")
    pages = follow(client, "/cases", "cases")
    assert [len(page) for page in pages] == [50, 50, 20]
    names = [case["name"] for page in pages for case in page]
    assert names == [f"case {number}" for number in reversed(range(NUMBER))]
    shown = walk(client, "/cases", "Older cases", r"<b>(case \d+)</b>")
    assert shown == names
    assert [len(page) for page in follow(client, "/cases", "cases", limit=60)] == [60, 60]
    server.gallery.cases.update_case(3, closed=True)
    assert [case["id"] for [case] in follow(client, "/cases", "cases", closed=True)] == [3]
    left = follow(client, "/cases", "cases", closed=False, limit=500)
    assert len(left[0]) == NUMBER - 1


def test_a_case_shows_the_newest_of_its_notes_and_searches_and_says_how_to_go_on(server: Server) -> None:
    client = server.client("operator")
    case = server.gallery.cases.add_case("bag", "", "operator").id
    few = client.get(f"/api/v1/cases/{case}").json()
    assert (few["next_notes"], few["next_searches"]) == (None, None)
    for number in range(NUMBER):
        server.gallery.cases.add_note(case, "operator", f"note {number}.")
    made = [make_search(server, case) for _ in range(70)]
    detail = client.get(f"/api/v1/cases/{case}").json()
    assert (detail["num_notes"], detail["num_searches"]) == (NUMBER, 70)
    notes = follow(client, f"/cases/{case}/notes", "notes")
    newest_first = [f"note {number}." for number in reversed(range(NUMBER))]
    assert [note["text"] for page in notes for note in page] == newest_first
    assert detail["notes"] == notes[0]
    behind = client.get(f"/api/v1/cases/{case}/notes", params={"after": detail["next_notes"]}).json()
    assert behind["notes"] == notes[1]
    searches = follow(client, "/searches", "searches", case_id=case)
    assert [each["id"] for page in searches for each in page] == made[::-1]
    assert detail["searches"] == searches[0]
    asked = {"case_id": case, "after": detail["next_searches"]}
    assert client.get("/api/v1/searches", params=asked).json()["searches"] == searches[1]

    page = f"/cases/{case}"
    assert walk(client, page, "Older notes", r"note \d+\.") == newest_first
    assert [int(n) for n in walk(client, page, "Older searches", r"<b>Search (\d+)</b>")] == made[::-1]
    [link] = re.findall(r'href="([^"]+)">Older notes', client.get(page).text)
    [both] = re.findall(r'href="([^"]+)">Older searches', client.get(link.split("#")[0]).text)
    html = client.get(both.replace("&amp;", "&").split("#")[0]).text
    assert f"<b>Search {made[0]}</b>" in html
    assert "note 69." in html, "each list stays where it is while the other one goes on"
    assert "note 119." not in html


def test_the_notes_of_others_cases_do_not_exist(server: Server) -> None:
    case = server.gallery.cases.add_case("bag", "", "somebody").id
    assert server.client("operator").get(f"/api/v1/cases/{case}/notes").status_code == 404


def test_users_and_tokens_come_in_pages(server: Server) -> None:
    admin = server.client("admin")
    names = sorted(["admin", "zo\u00eb", *(f"u{number:03}" for number in range(NUMBER))])
    for name in names[1:]:
        server.gallery.accounts.add_user(name, "viewer")
    for name in names[: NUMBER // 2] * 2:
        server.token(name, "viewer")
    users = follow(admin, "/users", "users")
    assert [len(page) for page in users] == [50, 50, 22]
    assert [user["name"] for page in users for user in page] == names
    tokens = follow(admin, "/tokens", "tokens", limit=NUMBER // 4)
    assert [len(page) for page in tokens] == [NUMBER // 4] * 4
    whose = [token["user"] for page in tokens for token in page]
    assert whose == (names[: NUMBER // 2] * 2)[::-1]
    assert [len(page) for page in follow(admin, "/tokens", "tokens", mine=True)] == [2]

    assert walk(admin, "/admin/users", "More users", r"<p><b>([^<]+)</b>") == names
    row = r'<th scope="row">test</th><td>([^<]+)</td>'
    assert walk(admin, "/admin/users", "Older tokens", row) == whose
    assert len(re.findall('scope="row">test<', admin.get("/account").text)) == 2


def test_ones_own_tokens_go_on_behind_the_first_page(server: Server) -> None:
    client = server.client("viewer")
    for _ in range(60):
        server.token("viewer", "viewer")
    assert [len(page) for page in follow(client, "/tokens", "tokens")] == [50, 10]
    assert len(walk(client, "/account", "Older tokens", 'scope="row">test<')) == 60


def test_there_is_no_page_behind_a_last_one_that_is_full(server: Server) -> None:
    admin = server.client("admin")
    assert len(server.gallery.accounts.users()) == 1
    assert [len(page) for page in follow(admin, "/users", "users", limit=1)] == [1]
    for path, key in (("/tracklets", "tracklets"), ("/sources", "sources")):
        count = len(follow(admin, path, key)[0])
        assert [len(page) for page in follow(admin, path, key, limit=count)] == [count]


def test_recordings_of_a_camera_come_in_pages_for_whom_may_see_it(server: Server) -> None:
    for number in range(5):
        server.gallery.begin_source("here", f"{number}.mp4", f"of {number}", 1000.0, "settings")
    here = [each.id for each in reversed(server.gallery.sources()) if each.camera == "here"]
    viewer = server.client("viewer", ["here"])
    for params in ({}, {"camera": "here"}):
        pages = follow(viewer, "/sources", "sources", limit=4, **params)
        assert [source["id"] for page in pages for source in page] == here
    assert follow(viewer, "/sources", "sources", camera="there") == [[]]


@pytest.mark.parametrize(
    "after",
    [cursor(1.5), cursor(1, 2), cursor("a", "b"), cursor("a\0b"), cursor("\n"), cursor(2**63), cursor(True)],
)
def test_a_cursor_of_another_list_is_refused(server: Server, after: str) -> None:
    admin = server.client("admin")
    server.gallery.cases.add_case("bag", "", "admin")
    for path in ("/cases", "/cases/1/notes", "/users", "/tokens", "/searches", "/audit", "/sources"):
        answer = admin.get(f"/api/v1{path}", params={"after": after})
        assert answer.status_code == 422, (path, answer.text)
        assert "cursor" in answer.json()["detail"]


def test_the_longest_name_has_a_cursor_that_is_taken(server: Server) -> None:
    admin = server.client("admin")
    name = "\U00010330" * 64
    server.gallery.accounts.add_user(name, "viewer")
    pages = follow(admin, "/users", "users", limit=1)
    assert [user["name"] for page in pages for user in page] == ["admin", name]
    answer = admin.get("/api/v1/users", params={"after": cursor(name)})
    assert answer.json() == {"users": [], "next": None}


def test_a_case_that_is_not_among_the_newest_can_still_be_chosen(server: Server) -> None:
    client = server.client("operator")
    oldest = server.gallery.cases.add_case("the oldest", "", "operator").id
    for number in range(210):
        server.gallery.cases.add_case(f"case {number}", "", "operator")
    number = make_search(server, oldest)
    chosen = f'<option value="{oldest}" selected>the oldest</option>'
    assert chosen in client.get(f"/search?case={oldest}").text
    assert chosen in client.get(f"/searches/{number}").text
    assert "the oldest" not in client.get("/search").text
    assert client.get("/search?case=99999").status_code == 200
