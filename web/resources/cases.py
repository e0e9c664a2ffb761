"""Cases and notes."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from web.resources.common import (
    Given,
    Name,
    Text,
)
from web.resources.searching import SearchView


class NewCase(Given):
    """A case: a named set of searches, decisions and notes."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "2026-114 bag theft", "description": "at the south door"}]}
    )

    name: Name = Field(examples=["2026-114 bag theft"])
    description: Text = ""


class CaseChange(Given):
    """What is to change; what is not named stays."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"members": ["grace"], "closed": True}]})

    name: Name | None = None
    description: Text | None = None
    members: list[Name] | None = Field(None, max_length=1000)
    closed: bool | None = None
    held: bool | None = Field(None, description="legal hold: what it is about stays (admins only)")


class CaseView(BaseModel):
    """A case."""

    id: int
    name: str
    description: str
    owner: str
    members: list[str]
    created: float
    closed: float | None
    held: bool
    num_searches: int
    num_notes: int


class NewNote(Given):
    """A note."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"text": "the bag is seen in the second result"}]}
    )

    text: Annotated[str, StringConstraints(min_length=1, max_length=10_000, pattern=r"^[^\x00]*$")]


class NoteView(BaseModel):
    """A note of a case."""

    id: int
    author: str
    created: float
    text: str


class NotePage(BaseModel):
    """A page of a case's notes, newest first."""

    notes: list[NoteView]
    next: str | None


class CasePage(BaseModel):
    """A page of cases, newest first."""

    cases: list[CaseView]
    next: str | None


class CaseDetail(CaseView):
    """A case with the first page of its notes and that of its searches."""

    notes: list[NoteView]
    next_notes: str | None = Field(description="what /cases/{id}/notes takes as `after`; null: these are all")
    searches: list[SearchView]
    next_searches: str | None = Field(
        description="what /searches?case_id={id} takes as `after`; null: these are all"
    )
