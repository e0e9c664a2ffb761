"""Users, their invitations, and API tokens."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path, Query

from storage.account_records import ApiToken, User
from web.access import AdminDep, ServicesDep, ViewerDep
from web.answers import After, PageSize, paged, place
from web.audit import audited
from web.invitations import invite
from web.problems import Refused
from web.resources import (
    Invitation,
    MadeToken,
    NewToken,
    NewUser,
    TokenPage,
    TokenView,
    UserChange,
    UserPage,
    UserView,
)
from web.services import Services
from web.tokens import API_PREFIX, new_token, token_hash

router = APIRouter(tags=["users"])

Id = Annotated[int, Path(ge=1, le=2**63 - 1, examples=[2])]

_DAY_S = 86_400.0
_HINT = 8  # letters of a token, by which its owner knows it again


@router.get("/users")
def list_users(
    services: ServicesDep, caller: AdminDep, after: After = None, limit: PageSize = 50
) -> UserPage:
    """Users, by name."""
    behind = place(after, str)
    last = None if behind is None else behind[0]
    found = services.gallery.accounts.users(after=last, limit=limit + 1)
    users, following = paged(found, limit, lambda user: (user.name,))
    return UserPage(users=[user_view(user) for user in users], next=following)


@router.post("/users", status_code=HTTPStatus.CREATED)
def new_user(services: ServicesDep, caller: AdminDep, given: NewUser) -> Invitation:
    """Invite somebody: the answer has the link with which they choose their password."""
    cameras = None if given.cameras is None else frozenset(given.cameras)
    with audited(services, caller, "user added", given.model_dump(exclude={"name"})) as told:
        user = services.gallery.accounts.add_user(given.name, given.role, cameras, now=services.clock())
        told["user"] = user.name
        return _invited(services, user)


@router.patch("/users/{user_id}")
def change_user(services: ServicesDep, caller: AdminDep, user_id: Id, given: UserChange) -> UserView:
    """Change role, cameras, or whether the user may log in."""
    values = given.model_dump(exclude_none=True, exclude={"all_cameras", "cameras"})
    if given.all_cameras:
        values["cameras"] = None
    elif given.cameras is not None:
        values["cameras"] = frozenset(given.cameras)
    with audited(services, caller, "user changed", given.model_dump(exclude_none=True)) as told:
        user = services.gallery.accounts.update_user(user_id, **values)
        told["user"] = user.name
    return user_view(user)


@router.delete("/users/{user_id}", status_code=HTTPStatus.NO_CONTENT)
def delete_user(services: ServicesDep, caller: AdminDep, user_id: Id) -> None:
    """Remove a user with their sessions and tokens; what they did stays in the audit trail."""
    with audited(services, caller, "user removed") as told:
        told["user"] = services.gallery.accounts.user(user_id).name
        services.gallery.accounts.remove_user(user_id)


@router.post("/users/{user_id}/invitation")
def invite_again(services: ServicesDep, caller: AdminDep, user_id: Id) -> Invitation:
    """A new link, for a password that was forgotten; the old password stays until the link is used."""
    user = services.gallery.accounts.user(user_id)
    with audited(services, caller, "user invited", {"user": user.name}):
        return _invited(services, user)


@router.get("/tokens")
def list_tokens(
    services: ServicesDep,
    caller: ViewerDep,
    mine: Annotated[bool, Query(description="for admins: only their own", examples=[True])] = False,
    after: After = None,
    limit: PageSize = 50,
) -> TokenPage:
    """One's own API tokens, newest first; admins see all."""
    behind = place(after, int)
    found = services.gallery.accounts.tokens(
        None if caller.may("admin") and not mine else caller.user.id,
        before=None if behind is None else behind[0],
        limit=limit + 1,
    )
    tokens, following = paged(found, limit, lambda token: (token.id,))
    return TokenPage(tokens=[_token_view(token) for token in tokens], next=following)


@router.post("/tokens", status_code=HTTPStatus.CREATED)
def make_token(services: ServicesDep, caller: ViewerDep, given: NewToken) -> MadeToken:
    """Make an API token for oneself; it is shown in this answer only."""
    if caller.via != "session":
        raise Refused(HTTPStatus.FORBIDDEN, "tokens are made in the browser, not with another token")
    if not caller.may(given.role):
        raise Refused(HTTPStatus.FORBIDDEN, f"your own role is {caller.role}: a token cannot have more")
    now = services.clock()
    token = new_token(API_PREFIX)
    expires = None if given.days is None else now + given.days * _DAY_S
    with audited(services, caller, "token made", {"name": given.name, "role": given.role}) as told:
        made = services.gallery.accounts.add_token(
            caller.user.id, given.name, token_hash(token), token[:_HINT], given.role, expires, now
        )
        told["token"] = made.id
    return MadeToken(token=token, view=_token_view(made))


@router.delete("/tokens/{token_id}", status_code=HTTPStatus.NO_CONTENT)
def delete_token(services: ServicesDep, caller: ViewerDep, token_id: Id) -> None:
    """Revoke a token of one's own; admins revoke any."""
    whose = None if caller.may("admin") else caller.user.id
    with audited(services, caller, "token revoked", {"token": token_id}):
        services.gallery.accounts.remove_token(token_id, whose)


def _invited(services: Services, user: User) -> Invitation:
    path, expires = invite(services.gallery, user.id, services.clock())
    return Invitation(user=user_view(user), path=path, expires=expires)


def user_view(user: User) -> UserView:
    """A user as the API shows it."""
    return UserView(
        id=user.id,
        name=user.name,
        role=user.role,
        cameras=None if user.cameras is None else sorted(user.cameras),
        enabled=user.enabled,
        created=user.created,
        has_password=user.has_password,
    )


def _token_view(token: ApiToken) -> TokenView:
    return TokenView(
        id=token.id,
        user=token.user,
        name=token.name,
        hint=token.hint,
        role=token.role,
        created=token.created,
        expires=token.expires,
        last_used=token.last_used,
    )
