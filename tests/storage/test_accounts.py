"""Accounts: who may log in, for how long, and what is left of a right that was taken."""

from __future__ import annotations

import threading
from hashlib import sha256
from typing import Any

import pytest
import sqlalchemy as sa

from storage.account_records import Role, Session, User
from storage.errors import GalleryReadOnly, LastAdmin, TokenNotFound, UserExists, UserNotFound
from storage.gallery import Gallery
from tests.storage.making import Place

HASH = "$argon2id$v=19$m=65536,t=3,p=4$c2FsdA$aGFzaA"
OTHER_HASH = "$argon2id$v=19$m=65536,t=3,p=4$c2FsdA$b3RoZXI"
LIMITS = {"idle_s": 1800.0, "absolute_s": 43200.0, "grace_s": 10.0}


def digest(token: str) -> str:
    return sha256(token.encode()).hexdigest()


def begun(gallery: Gallery, user: User, token: str = "cookie", now: float = 1000.0) -> Session:
    return gallery.accounts.begin_session(user.id, digest(token), "csrf", "192.0.2.7", now)


def is_in(gallery: Gallery, token: str = "cookie", now: float = 1000.0, **limits: float) -> bool:
    return gallery.accounts.session(digest(token), now, **(LIMITS | limits)) is not None


def count(gallery: Gallery, table: str) -> int:
    with gallery._database.reading() as connection:
        return int(connection.execute(sa.text(f"SELECT COUNT(*) FROM {table}")).scalar_one())


# Users


def test_a_user_comes_back_as_added(gallery: Gallery) -> None:
    accounts = gallery.accounts
    assert not accounts.any_user()
    assert accounts.users() == []
    zoe = accounts.add_user("  Zo\u0065\u0308 ", "operator", ["Ku\u0308che", "door"], now=7.5)
    assert zoe == User(
        zoe.id, "zo\u00eb", "operator", frozenset({"K\u00fcche", "door"}), True, 7.5, has_password=False
    )
    admin = accounts.add_user("admin", "admin")
    nobody = accounts.add_user("blind", "viewer", frozenset())
    assert (admin.cameras, nobody.cameras) == (None, frozenset())
    assert accounts.any_user()
    assert accounts.users() == [admin, nobody, zoe]
    assert accounts.users(limit=2) == [admin, nobody]
    assert accounts.users(after="blind", limit=2) == accounts.users(after="c") == [zoe]
    assert accounts.users(after=zoe.name) == []
    assert accounts.roles(["blind", "zo\u00eb", "who"]) == {"blind": "viewer", "zo\u00eb": "operator"}
    assert accounts.roles([]) == {}
    assert accounts.user(zoe.id) == accounts.user_named("ZO\u00cb") == zoe
    assert accounts.user_named("somebody") is None
    assert accounts.user_named("\0" * 300) is None
    with pytest.raises(UserNotFound, match="no user has the id 99"):
        accounts.user(99)


def test_a_name_is_given_once_however_it_is_written(gallery: Gallery) -> None:
    gallery.accounts.add_user("anna", "viewer")
    for same in ("anna", "Anna", "ANNA", " anna "):
        with pytest.raises(UserExists, match="user 'anna' already"):
            gallery.accounts.add_user(same, "viewer")
    assert len(gallery.accounts.users()) == 1


WRONG_USERS = [
    (("", "viewer"), "1 to 64 visible"),
    ((" \t ", "viewer"), "1 to 64 visible"),
    (("a" * 65, "viewer"), "1 to 64 visible"),
    (("a\0b", "viewer"), "1 to 64 visible"),
    (("a\nb", "viewer"), "1 to 64 visible"),
    (("a\u202eb", "viewer"), "1 to 64 visible"),
    (("\ud800", "viewer"), "1 to 64 visible"),
    (("anna", "root"), "no role 'root'"),
    (("anna", "viewer", "door"), "set of camera names"),
    (("anna", "viewer", [" "]), "camera name"),
]


def test_a_name_in_the_audit_trail_stays_its_owners(gallery: Gallery) -> None:
    accounts = gallery.accounts
    gone, quiet = accounts.add_user("zoe", "viewer"), accounts.add_user("yan", "viewer")
    gallery.audit.append("zoe", "search", {}, user_id=gone.id)
    accounts.remove_user(gone.id)
    accounts.remove_user(quiet.id)
    with pytest.raises(UserExists, match="in the audit trail"):
        accounts.add_user("Zoe", "viewer")
    with pytest.raises(UserExists, match="in the audit trail"):
        accounts.add_user("nobody", "viewer")
    assert accounts.add_user("yan", "viewer").id != quiet.id  # did nothing that could be taken for another's


def test_a_user_is_checked(gallery: Gallery) -> None:
    for values, message in WRONG_USERS:
        with pytest.raises(ValueError, match=message):
            gallery.accounts.add_user(*values)
    assert not gallery.accounts.any_user()


def test_the_last_admin_stays(gallery: Gallery) -> None:
    accounts = gallery.accounts
    first = accounts.add_user("first", "admin")
    second = accounts.add_user("second", "admin")
    other = accounts.add_user("other", "operator")
    assert accounts.update_user(second.id, enabled=False).enabled is False  # who is disabled does not count
    for take_away in (
        lambda: accounts.update_user(first.id, role="operator"),
        lambda: accounts.update_user(first.id, enabled=False),
        lambda: accounts.remove_user(first.id),
    ):
        with pytest.raises(LastAdmin, match="'first' is the last admin"):
            take_away()
        assert accounts.user(first.id) == first
    accounts.update_user(other.id, role="admin")
    accounts.remove_user(first.id)
    accounts.remove_user(second.id)  # is no admin that could be missed
    with pytest.raises(LastAdmin):
        accounts.remove_user(other.id)
    with pytest.raises(UserNotFound, match=f"no user has the id {first.id}"):
        accounts.remove_user(first.id)
    with pytest.raises(UserNotFound):
        accounts.update_user(first.id, role="viewer")
    assert accounts.add_user("first", "viewer").id not in (first.id, second.id, other.id)


def test_an_admin_is_not_limited_to_some_cameras(gallery: Gallery) -> None:
    accounts = gallery.accounts
    with pytest.raises(ValueError, match="an admin sees every camera"):
        accounts.add_user("eve", "admin", ["door"])
    boss, anna = accounts.add_user("boss", "admin"), accounts.add_user("anna", "operator", ["door"])
    changes: list[tuple[User, dict[str, Any]]] = [
        (boss, {"cameras": ["door"]}),
        (boss, {"cameras": []}),
        (anna, {"role": "admin"}),
    ]
    for user, change in changes:
        with pytest.raises(ValueError, match=f"an admin sees every camera: '{user.name}'"):
            accounts.update_user(user.id, **change)
    assert accounts.users() == [anna, boss]
    assert accounts.update_user(anna.id, role="admin", cameras=None).cameras is None
    with gallery._database.writing() as connection:  # as older galleries may have it
        connection.exec_driver_sql(f"UPDATE users SET cameras = '[\"door\"]' WHERE id = {anna.id}")
    assert not accounts.update_user(anna.id, enabled=False).enabled


def test_users_without_any_admin_can_go(gallery: Gallery) -> None:
    viewer = gallery.accounts.add_user("viewer", "viewer")
    gallery.accounts.remove_user(viewer.id)
    assert not gallery.accounts.any_user()


CHANGES_AND_WHETHER_THE_SESSION_STAYS = [
    ({}, True),
    ({"role": "operator"}, True),
    ({"role": "admin", "cameras": None}, True),
    ({"role": "viewer"}, False),
    ({"enabled": True}, True),
    ({"enabled": False}, False),
    ({"cameras": None}, True),
    ({"cameras": ["door", "hall"]}, True),
    ({"cameras": ["door", "hall", "gate"]}, True),
    ({"cameras": ["door"]}, False),
    ({"cameras": []}, False),
    ({"cameras": ["door", "gate"], "role": "operator"}, False),
]


def test_who_may_less_than_before_is_logged_out(gallery: Gallery) -> None:
    gallery.accounts.add_user("boss", "admin")
    begun(gallery, gallery.accounts.add_user("other", "operator"), "of another")
    for number, (change, stays) in enumerate(CHANGES_AND_WHETHER_THE_SESSION_STAYS):
        user = gallery.accounts.add_user(f"anna {number}", "operator", ["door", "hall"])
        begun(gallery, user, user.name)
        changed: Any = gallery.accounts.update_user(user.id, **change)  # type: ignore[arg-type]
        assert gallery.accounts.user(user.id) == changed
        gallery.accounts.update_user(user.id, enabled=True)  # deleted is deleted
        assert is_in(gallery, user.name) is stays, change
    assert is_in(gallery, "of another")


def test_every_camera_is_more_than_any(gallery: Gallery) -> None:
    user = gallery.accounts.add_user("anna", "viewer")
    begun(gallery, user)
    gallery.accounts.update_user(user.id, cameras=["door"])
    assert not is_in(gallery)


# Passwords and invitations


def test_a_password_is_set_and_read(gallery: Gallery) -> None:
    user = gallery.accounts.add_user("anna", "viewer")
    assert gallery.accounts.password_of("Anna") == (user, None)
    assert gallery.accounts.password_of("bob") is None
    assert gallery.accounts.password_of("") is None
    for token in ("laptop", "phone"):
        begun(gallery, user, token)
    gallery.accounts.invite(user.id, digest("old link"), 9000.0, now=1000.0)
    gallery.accounts.set_password(user.id, HASH, now=1000.0)
    known = gallery.accounts.user(user.id)
    assert known.has_password
    assert gallery.accounts.password_of("anna") == (known, HASH)
    assert not is_in(gallery, "laptop")
    assert not is_in(gallery, "phone")
    assert gallery.accounts.invitation(digest("old link"), 1000.0) is None
    with pytest.raises(UserNotFound):
        gallery.accounts.set_password(99, HASH)


def test_secrets_in_clear_are_refused_and_not_repeated(gallery: Gallery) -> None:
    accounts = gallery.accounts
    user = accounts.add_user("anna", "viewer")
    for ask in (
        lambda: accounts.set_password(user.id, "hunter2"),
        lambda: accounts.invite(user.id, "hunter2", 1.0),
        lambda: accounts.accept_invitation("hunter2", HASH, 1.0),
        lambda: accounts.begin_session(user.id, "hunter2", "csrf", "", 1.0),
        lambda: accounts.rotate_session(1, digest("a"), "hunter2", 1.0),
        lambda: accounts.add_token(user.id, "script", "hunter2", "h", "viewer", None, 1.0),
        lambda: accounts.token("hunter2" * 9 + "h", 1.0),
    ):
        with pytest.raises(ValueError, match="is known by its") as caught:
            ask()
        assert "hunter2" not in str(caught.value)


def test_an_invitation_is_good_once_and_for_a_time(gallery: Gallery) -> None:
    accounts = gallery.accounts
    user = accounts.add_user("anna", "viewer")
    accounts.invite(user.id, digest("link"), 2000.0, now=1000.0)
    assert accounts.invitation(digest("link"), 1999.9) == user
    assert accounts.invitation(digest("link"), 2000.0) is None
    assert accounts.invitation(digest("another"), 1000.0) is None
    assert accounts.accept_invitation(digest("another"), HASH, 1000.0) is None
    begun(gallery, user)
    accepted = accounts.accept_invitation(digest("link"), HASH, 1500.0)
    assert accepted == accounts.user(user.id)
    assert accepted is not None
    assert accepted.has_password
    assert accounts.password_of("anna") == (accepted, HASH)
    assert not is_in(gallery)
    assert accounts.accept_invitation(digest("link"), OTHER_HASH, 1500.0) is None
    accounts.invite(user.id, digest("expired"), 2000.0, now=1500.0)
    assert accounts.accept_invitation(digest("expired"), OTHER_HASH, 2000.0) is None
    assert accounts.password_of("anna") == (accepted, HASH)
    assert count(gallery, "invitations") == 0  # it is cleaned away
    with pytest.raises(UserNotFound):
        accounts.invite(99, digest("link"), 2000.0)


def test_a_new_invitation_voids_the_one_before(gallery: Gallery) -> None:
    anna, bob = (gallery.accounts.add_user(name, "viewer") for name in ("anna", "bob"))
    gallery.accounts.invite(bob.id, digest("bob's"), 1100.0, now=1000.0)
    gallery.accounts.invite(anna.id, digest("first"), 2000.0, now=1000.0)
    gallery.accounts.invite(anna.id, digest("second"), 2000.0, now=1000.0)
    assert gallery.accounts.invitation(digest("first"), 1000.0) is None
    assert gallery.accounts.invitation(digest("second"), 1000.0) == anna
    assert gallery.accounts.invitation(digest("bob's"), 1000.0) == bob
    gallery.accounts.invite(anna.id, digest("third"), 2000.0, now=1200.0)
    assert count(gallery, "invitations") == 1  # bob's has expired
    gallery.accounts.update_user(anna.id, enabled=False)
    assert gallery.accounts.invitation(digest("third"), 1200.0) is None
    assert gallery.accounts.accept_invitation(digest("third"), HASH, 1200.0) is None


# Sessions


def test_a_session_comes_back_as_begun(gallery: Gallery) -> None:
    user = gallery.accounts.add_user("anna", "operator", ["door"])
    session = gallery.accounts.begin_session(user.id, digest("cookie"), "csrf", "192.0.2.7\0", 1000.0)
    assert session == Session(session.id, user, "csrf", 1000.0, 1000.0, 1000.0, "192.0.2.7\\x00")
    assert gallery.accounts.session(digest("cookie"), 1001.0, **LIMITS) == session
    assert gallery.accounts.session(digest("other"), 1001.0, **LIMITS) is None
    admin = gallery.accounts.update_user(user.id, role="admin", cameras=None)
    found = gallery.accounts.session(digest("cookie"), 1001.0, **LIMITS)
    assert found is not None
    assert found.user == admin  # as it is now, not as it was at the log-in
    with pytest.raises(UserNotFound):
        gallery.accounts.begin_session(99, digest("x"), "csrf", "", 1000.0)
    viewer = gallery.accounts.add_user("viewer", "viewer")
    gallery.accounts.update_user(viewer.id, enabled=False)
    with pytest.raises(UserNotFound, match="'viewer' is disabled"):
        begun(gallery, viewer, "x")


def test_a_session_expires_by_rest_and_by_age(gallery: Gallery) -> None:
    user = gallery.accounts.add_user("anna", "viewer")
    begun(gallery, user, "idle")
    assert not is_in(gallery, "idle", 2800.0)
    assert not is_in(gallery, "idle", 1000.0)  # it is deleted, not only hidden
    begun(gallery, user, "busy")
    for now in range(2000, 44200, 1000):
        assert is_in(gallery, "busy", float(now))
    assert not is_in(gallery, "busy", 44200.0)
    assert count(gallery, "user_sessions") == 0


def test_use_is_written_down_once_a_minute(gallery: Gallery) -> None:
    user = gallery.accounts.add_user("anna", "viewer")
    begun(gallery, user)
    times = {}
    for now in (1000.0, 1059.0, 1060.0, 1119.0, 1120.0):
        session = gallery.accounts.session(digest("cookie"), now, **LIMITS)
        assert session is not None
        times[now] = session.last_seen
    assert times == {1000.0: 1000.0, 1059.0: 1000.0, 1060.0: 1060.0, 1119.0: 1060.0, 1120.0: 1120.0}
    with gallery._database.reading() as connection:
        assert connection.execute(sa.text("SELECT last_seen FROM user_sessions")).scalar_one() == 1120.0


def test_expired_sessions_are_cleaned_away(gallery: Gallery) -> None:
    user = gallery.accounts.add_user("anna", "viewer")
    begun(gallery, user, "forgotten", now=1000.0)
    begun(gallery, user, "mine", now=2700.0)
    assert is_in(gallery, "mine", 2730.0)  # nothing is written
    assert count(gallery, "user_sessions") == 2
    assert is_in(gallery, "mine", 2800.0)
    assert count(gallery, "user_sessions") == 1


def test_a_token_is_good_for_a_moment_after_its_rotation(gallery: Gallery) -> None:
    user = gallery.accounts.add_user("anna", "viewer")
    session = begun(gallery, user, "first")
    rotate = gallery.accounts.rotate_session
    assert rotate(session.id, digest("first"), digest("second"), 1100.0)
    assert not rotate(session.id, digest("first"), digest("third"), 1101.0)  # another tab was quicker
    assert is_in(gallery, "first", 1109.9)
    assert is_in(gallery, "second", 1109.9)
    assert not is_in(gallery, "first", 1110.0)
    assert not is_in(gallery, "third", 1109.9)
    found = gallery.accounts.session(digest("second"), 1110.0, **LIMITS)
    assert found is not None
    assert (found.id, found.rotated, found.csrf_token) == (session.id, 1100.0, "csrf")
    assert not rotate(session.id + 1, digest("second"), digest("third"), 1200.0)
    assert rotate(session.id, digest("second"), digest("third"), 1200.0)
    assert not is_in(gallery, "first", 1201.0)
    assert is_in(gallery, "second", 1201.0)


def test_an_answer_that_is_lost_logs_nobody_out(gallery: Gallery) -> None:
    """The browser never got the new token, and shows the old one until a rotation's answer arrives."""
    session = begun(gallery, gallery.accounts.add_user("anna", "viewer"), "first")
    rotate = gallery.accounts.rotate_session
    assert rotate(session.id, digest("first"), digest("lost"), 1100.0)
    assert is_in(gallery, "first", 1900.0)
    assert rotate(session.id, digest("first"), digest("lost again"), 2000.0)
    assert is_in(gallery, "first", 2900.0)
    assert not is_in(gallery, "lost", 2900.0)
    assert rotate(session.id, digest("first"), digest("second"), 3000.0)
    assert is_in(gallery, "second", 3600.0)
    assert not is_in(gallery, "first", 3600.0)
    assert rotate(session.id, digest("second"), digest("third"), 3700.0)
    assert is_in(gallery, "second", 4000.0)


def test_a_token_that_was_shown_at_once_ends_the_one_before(gallery: Gallery) -> None:
    """Who took the old one from somewhere cannot wait until its owner makes a pause."""
    session = begun(gallery, gallery.accounts.add_user("anna", "viewer"), "first")
    assert gallery.accounts.rotate_session(session.id, digest("first"), digest("second"), 1100.0)
    assert is_in(gallery, "second", 1100.5)
    assert is_in(gallery, "first", 1109.5)
    assert not is_in(gallery, "first", 1110.0)
    assert not gallery.accounts.rotate_session(session.id, digest("first"), digest("third"), 2000.0)
    assert is_in(gallery, "second", 2000.0)


def test_of_two_rotations_at_once_one_wins(gallery: Gallery) -> None:
    session = begun(gallery, gallery.accounts.add_user("anna", "viewer"), "first")
    start, won = threading.Barrier(4), []

    def rotate(name: str) -> None:
        start.wait()
        if gallery.accounts.rotate_session(session.id, digest("first"), digest(name), 1100.0):
            won.append(name)

    threads = [threading.Thread(target=rotate, args=(f"new {number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert is_in(gallery, won[0], 1200.0)


def test_logging_out(gallery: Gallery) -> None:
    anna, bob = (gallery.accounts.add_user(name, "viewer") for name in ("anna", "bob"))
    first = begun(gallery, anna, "first")
    begun(gallery, anna, "second")
    begun(gallery, anna, "third")
    begun(gallery, bob, "bob's")
    gallery.accounts.end_session(first.id)
    gallery.accounts.end_session(first.id)
    assert [is_in(gallery, token) for token in ("first", "second", "third", "bob's")] == [0, 1, 1, 1]
    gallery.accounts.end_sessions(anna.id)
    assert [is_in(gallery, token) for token in ("first", "second", "third", "bob's")] == [0, 0, 0, 1]


def test_a_removed_user_leaves_nothing_behind(gallery: Gallery) -> None:
    user = gallery.accounts.add_user("anna", "viewer")
    begun(gallery, user)
    gallery.accounts.add_token(user.id, "script", digest("token"), "rt_ab", "viewer", None, 1000.0)
    gallery.accounts.invite(user.id, digest("link"), 2000.0, now=1000.0)
    gallery.accounts.remove_user(user.id)
    assert not is_in(gallery)
    assert gallery.accounts.token(digest("token"), 1000.0) is None
    assert gallery.accounts.invitation(digest("link"), 1000.0) is None
    for table in ("users", "user_sessions", "api_tokens", "invitations"):
        assert count(gallery, table) == 0


# Tokens of programs


def test_a_token_comes_back_as_added(gallery: Gallery) -> None:
    accounts = gallery.accounts
    user = accounts.add_user("anna", "operator")
    other = accounts.add_user("bob", "viewer")
    token = accounts.add_token(user.id, " nightly ", digest("t"), "rt_ab", "viewer", 5000.0, 1000.0)
    assert (token.user_id, token.name, token.hint, token.role) == (user.id, "nightly", "rt_ab", "viewer")
    assert (token.created, token.expires, token.last_used) == (1000.0, 5000.0, None)
    lasting = accounts.add_token(other.id, "bob's", digest("b"), "rt_cd", "viewer", None, 1000.0)
    assert (token.user, lasting.user) == ("anna", "bob")
    assert accounts.tokens() == [lasting, token]
    assert accounts.tokens(limit=1) == [lasting]
    assert accounts.tokens(before=lasting.id) == accounts.tokens(user.id) == [token]
    assert accounts.tokens(other.id, before=lasting.id) == []
    found = accounts.token(digest("t"), 1500.0)
    assert found is not None
    assert (found[0].id, found[0].last_used, found[1]) == (token.id, 1500.0, user)
    used = [found[0].last_used for now in (1559.0, 1560.0) if (found := accounts.token(digest("t"), now))]
    assert used == [1500.0, 1560.0]
    assert [each.last_used for each in accounts.tokens()] == [None, 1560.0]
    assert accounts.token(digest("x"), 1500.0) is None
    assert accounts.token(digest("t"), 5000.0) is None
    assert accounts.token(digest("b"), 1e12) is not None
    with pytest.raises(TokenNotFound):
        accounts.remove_token(lasting.id, user.id)
    accounts.remove_token(lasting.id, other.id)
    assert accounts.token(digest("b"), 1500.0) is None
    with pytest.raises(TokenNotFound):
        accounts.remove_token(lasting.id)


def test_a_token_has_at_most_its_users_role(gallery: Gallery) -> None:
    accounts = gallery.accounts
    user = accounts.add_user("anna", "operator")
    with pytest.raises(ValueError, match="'anna' is operator"):
        accounts.add_token(user.id, "script", digest("t"), "h", "admin", None, 1000.0)
    with pytest.raises(ValueError, match="readable name"):
        accounts.add_token(user.id, "\n", digest("t"), "h", "viewer", None, 1000.0)
    with pytest.raises(UserNotFound):
        accounts.add_token(99, "script", digest("t"), "h", "viewer", None, 1000.0)
    accounts.add_token(user.id, "script", digest("t"), "h", "operator", None, 1000.0)

    def role() -> Role | None:
        found = accounts.token(digest("t"), 1000.0)
        return found and found[0].role

    accounts.update_user(user.id, role="viewer")
    assert role() == "viewer"
    assert [token.role for token in accounts.tokens()] == ["viewer"]
    accounts.update_user(user.id, role="admin")
    assert role() == "operator"
    other = accounts.add_user("other", "admin")
    accounts.update_user(user.id, enabled=False)
    assert role() is None
    accounts.update_user(user.id, enabled=True)
    assert role() == "operator"
    assert other.enabled


# Failed log-ins


ANNA = {"user:anna": (2, 60.0)}
FROM = {"address:192.0.2.7": (4, 600.0)}


def test_each_failure_beyond_some_doubles_the_wait(gallery: Gallery) -> None:
    tries = gallery.accounts.try_log_in
    now, waited = 1000.0, []
    assert [tries(ANNA, now), tries(ANNA, now)] == [0.0, 0.0]
    for _ in range(9):
        waited.append(tries(ANNA, now))
        assert tries(ANNA, now + waited[-1] / 2) == waited[-1] / 2  # asking too early counts nothing
        now += waited[-1]
        assert tries(ANNA, now) == 0.0
    assert waited == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]
    assert tries({"user:bob": (2, 60.0)}, now) == 0.0


def test_who_waits_for_one_reason_is_not_counted_for_another(gallery: Gallery) -> None:
    tries = gallery.accounts.try_log_in
    for _ in range(4):
        assert tries(FROM, 1000.0) == 0.0
    for _ in range(2):
        assert tries(ANNA, 1000.5) == 0.0
    assert tries(ANNA | FROM, 1000.75) == 0.75  # the longest: anna's, not the address's 0.25
    assert tries(ANNA | FROM, 1001.25) == 0.25
    assert tries(FROM, 1001.25) == 0.0
    assert tries(ANNA | FROM, 1003.25) == 0.0
    assert (tries(ANNA, 1003.25), tries(FROM, 1003.25)) == (2.0, 4.0)
    assert tries({}, 1003.25) == 0.0


def test_of_guesses_at_once_no_more_are_let_in_than_one_after_the_other(gallery: Gallery) -> None:
    start, found = threading.Barrier(8), []

    def guess() -> None:
        start.wait()
        found.append(gallery.accounts.try_log_in(ANNA, 1000.0))

    threads = [threading.Thread(target=guess) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [0.0] * 2 + [1.0] * 6


def test_a_log_in_that_succeeds_clears_the_name_and_takes_one_back_from_the_address(gallery: Gallery) -> None:
    accounts = gallery.accounts
    for _ in range(2):
        assert accounts.try_log_in(ANNA | FROM, 1000.0) == 0.0
    assert accounts.try_log_in(FROM, 1000.0) == 0.0
    accounts.log_in_succeeded(ANNA, FROM)
    assert count(gallery, "login_failures") == 1
    assert [accounts.try_log_in(ANNA, 1000.0) for _ in range(3)] == [0.0, 0.0, 1.0]
    assert [accounts.try_log_in(FROM, 1000.0) for _ in range(3)] == [0.0, 0.0, 1.0]
    for _ in range(9):
        accounts.log_in_succeeded([], ["nobody", *FROM])
    accounts.log_in_succeeded(ANNA, [])
    assert count(gallery, "login_failures") == 0


def test_failed_log_ins_are_forgotten_after_a_day_without_a_try(gallery: Gallery) -> None:
    for now in (1000.0, 1000.0, 80_000.0):
        assert gallery.accounts.try_log_in({"user:anna": (2, 1e9)}, now) == 0.0
    assert gallery.accounts.try_log_in(FROM, 100_000.0) == 0.0
    assert gallery.accounts.try_log_in({"user:anna": (1, 1e9)}, 80_001.0) == 3.0
    assert [gallery.accounts.try_log_in(ANNA, 80_001.0 + 86_400.0) for _ in range(3)] == [0.0, 0.0, 1.0]
    assert count(gallery, "login_failures") == 2


def test_what_was_typed_as_a_name_may_be_anything(gallery: Gallery) -> None:
    for typed in ("\0", "\ud800", "x" * 10_000_000, "'; DROP TABLE users; --", ""):
        assert [gallery.accounts.try_log_in({typed: (1, 9.0)}, 1000.0) for _ in range(2)] == [0.0, 1.0]
        gallery.accounts.log_in_succeeded([typed], [typed])
    assert count(gallery, "login_failures") == 0


def test_reading_accounts_needs_no_writing(place: Place) -> None:
    with place.create() as gallery:
        user = gallery.accounts.add_user("anna", "admin")
        begun(gallery, user)
    with place.open(read_only=True) as gallery:
        assert gallery.accounts.users() == [user]
        assert is_in(gallery, now=1001.0)
        with pytest.raises(GalleryReadOnly):
            gallery.accounts.add_user("bob", "viewer")
