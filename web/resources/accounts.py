"""Sessions, users and tokens."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from web.resources.common import (
    CameraName,
    Days,
    Given,
    Name,
    Password,
    Role,
)


class LogIn(Given):
    """A user name and its password."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "ada", "password": "correct horse battery"}]}
    )

    name: Name = Field(examples=["ada"])
    password: Annotated[str, StringConstraints(max_length=200)] = Field(examples=["correct horse battery"])


class Me(BaseModel):
    """Who is asking, and what they may do."""

    name: str = Field(examples=["ada"])
    role: Role
    cameras: list[str] | None = Field(description="cameras this user may see; null: all")
    csrf_token: str | None = Field(
        description="to be sent as X-CSRF-Token with every change; null for API tokens"
    )


class ChoosePassword(Given):
    """The password chosen with an invitation."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"token": "4fJ0x_the_rest_of_the_link", "password": "correct horse battery"}]
        }
    )

    token: Annotated[str, StringConstraints(max_length=200)]
    password: Password


class ChangePassword(Given):
    """The old password proves who is changing it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"old": "correct horse battery", "new": "another horse, another battery"}]
        }
    )

    old: Annotated[str, StringConstraints(max_length=200)]
    new: Password


class UserView(BaseModel):
    """A user."""

    id: int
    name: str
    role: Role
    cameras: list[str] | None
    enabled: bool
    created: float
    has_password: bool = Field(description="false until the invitation was used")


class NewUser(Given):
    """A user to be invited."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "grace", "role": "operator", "cameras": ["door", "yard"]}]}
    )

    name: Name = Field(examples=["grace"])
    role: Role = "viewer"
    cameras: list[CameraName] | None = Field(None, description="null: every camera, as every admin has")


class UserChange(Given):
    """What is to change; what is not named stays."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"role": "viewer", "cameras": ["door"]}]})

    role: Role | None = None
    cameras: list[CameraName] | None = Field(None, description="not for admins, who see every camera")
    all_cameras: bool = Field(False, description="every camera again")
    enabled: bool | None = None


class UserPage(BaseModel):
    """A page of users, by name."""

    users: list[UserView]
    next: str | None


class Invitation(BaseModel):
    """A link with which a password is chosen, once. It is shown here only."""

    user: UserView
    path: str = Field(examples=["/invitation/4fJ…"])
    expires: float


class TokenView(BaseModel):
    """An API token, without the token."""

    id: int
    user: str
    name: str
    hint: str = Field(examples=["rt_4fJ9"])
    role: Role
    created: float
    expires: float | None
    last_used: float | None


class TokenPage(BaseModel):
    """A page of API tokens, newest first."""

    tokens: list[TokenView]
    next: str | None


class NewToken(Given):
    """An API token to be made."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "nightly report", "role": "viewer", "days": 90}]}
    )

    name: Name = Field(examples=["nightly report"])
    role: Role = Field("viewer", description="at most the user's own")
    days: Days | None = Field(90, description="until it expires; null: never")


class MadeToken(BaseModel):
    """A new API token; it is shown here only."""

    token: str
    view: TokenView
