"""Uploads, searches, results, decisions."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from web.resources.browsing import GapView, TrackletView
from web.resources.common import Box, CameraName, Cosine, Given, Id, Line, Seconds, Verdict


class PersonBox(BaseModel):
    """A person that the detector found."""

    box: Box
    confidence: float


class UploadView(BaseModel):
    """A picture or clip that was received; it is forgotten after an hour."""

    id: str
    kind: Literal["picture", "clip"]
    width: int
    height: int
    duration_s: float
    expires: float


class Persons(BaseModel):
    """The persons in a picture or frame."""

    at_s: float
    width: int
    height: int
    persons: list[PersonBox]


class TrackletExample(Given):
    """A stored tracklet."""

    tracklet: Id


class UploadExample(Given):
    """A person in an upload: the box in a picture (none: the whole), or in the frame of a clip."""

    upload: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{8,64}$")]
    at_s: Annotated[float, Field(ge=0, le=86_400)] = 0.0
    box: Box | None = None


class SourceExample(Given):
    """A person in a recording of the gallery, at a moment."""

    source: Id
    at_s: Annotated[float, Field(ge=0, le=1e9)]
    box: Box


Example = TrackletExample | UploadExample | SourceExample


class Filter(Given):
    """Which tracklets to look at; the default is all that the user may see."""

    cameras: list[CameraName] = Field([], max_length=1000)
    exclude_cameras: list[CameraName] = Field([], max_length=1000)
    start: Seconds | None = None
    end: Seconds | None = None
    min_quality: Annotated[float, Field(ge=0, le=1)] = 0.0


class NewSearch(Given):
    """Where else did this person appear? Several examples are of one person."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "examples": [{"tracklet": 17}, {"source": 2, "at_s": 12.5, "box": [310, 120, 370, 290]}],
                    "filter": {"cameras": ["yard"], "start": 1764150000, "end": 1764160000},
                    "reason": "lost child, report 7",
                }
            ]
        }
    )

    examples: list[Example] = Field(min_length=1, max_length=16)
    filter: Filter = Filter()
    reason: Line = Field(
        "", description="why; it is kept in the audit trail", examples=["lost child, report 7"]
    )
    threshold: Cosine | None = Field(None, description="null: what was measured for the model")
    case_id: Id | None = None


class SearchChange(Given):
    """What is to change; what is not named stays."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"threshold": 0.7, "case_id": 3}]})

    threshold: Cosine | None = None
    case_id: Id | None = Field(None, description="null, where it is named: none, it is taken out of its case")
    add_examples: list[Example] = Field([], max_length=16)


class ExampleView(BaseModel):
    """An example of the person searched for."""

    id: int
    tracklet: TrackletView | None
    description: dict[str, Any]
    num_crops: int


class MatchView(BaseModel):
    """A tracklet that may be the person. `match` is false below the threshold: then it is a candidate."""

    rank: int
    tracklet: TrackletView
    similarity: float
    match: bool
    verdict: Verdict | None


class SearchView(BaseModel):
    """A search, without its results."""

    id: int
    case_id: int | None
    author: str
    created: float
    reason: str
    threshold: float
    filter: Filter = Field(description="without the cameras that the caller may not see")
    hidden_cameras: int = Field(description="of the filter, which the caller may not see")
    examples: list[ExampleView]
    hidden_examples: int = Field(description="of cameras that the caller may not see")
    decisions: dict[Verdict, int]
    last_decision: int | None = Field(description="tracklet of the caller's newest decision that stands")


class SearchResults(SearchView):
    """A search and what it finds now, best first; decisions have moved the order already."""

    model: str
    note: str | None = Field(description="what the model is not good at")
    errors: str = Field(description="how often the threshold is wrong, as far as it was measured")
    notes: list[str] = Field(
        [], description="what happened on the way, for example a person followed briefly"
    )
    matches: list[MatchView]
    query_spans: list[tuple[str, float, float]] = Field(
        description="camera, start, end of the examples themselves"
    )
    gaps: list[GapView] = Field(
        description="of the cameras and the time of these; by their start, of more than 500 the newest 500"
    )


class SearchList(BaseModel):
    """A page of searches, newest first."""

    searches: list[SearchView]
    next: str | None


class NewDecision(Given):
    """What somebody decided of a result."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"tracklet": 23, "verdict": "same"}]})

    tracklet: Id
    verdict: Verdict
