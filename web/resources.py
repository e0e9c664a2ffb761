"""What the API takes and gives, as OpenAPI documents it. Times are seconds UTC, similarities cosines."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Role = Literal["viewer", "operator", "admin"]
Verdict = Literal["same", "different", "unsure"]

Id = Annotated[int, Field(ge=1, le=2**63 - 1)]
Seconds = Annotated[float, Field(ge=-1e11, le=1e11, allow_inf_nan=False)]
Cosine = Annotated[float, Field(ge=-1.0, le=1.0, allow_inf_nan=False)]
Days = Annotated[float, Field(gt=0, le=36_500, allow_inf_nan=False)]
Name = Annotated[
    str, StringConstraints(min_length=1, max_length=64, strip_whitespace=True, pattern=r"^[^\x00-\x1f]*$")
]
CameraName = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]
Text = Annotated[str, StringConstraints(max_length=10_000, pattern=r"^[^\x00]*$")]
Line = Annotated[str, StringConstraints(max_length=500, pattern=r"^[^\x00-\x1f]*$")]
Password = Annotated[str, StringConstraints(min_length=12, max_length=200)]


class Given(BaseModel):
    """Base of what clients send: unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class Problem(BaseModel):
    """An error, as RFC 9457 has it (application/problem+json)."""

    type: str = Field("about:blank", examples=["about:blank"])
    title: str = Field(examples=["Not Found"])
    status: int = Field(examples=[404])
    detail: str = Field(examples=["no tracklet has the id 17: list them with 'tracklets'"])
    errors: list[dict[str, Any]] | None = Field(
        None, description="which part of the request is wrong, and why"
    )


# Sessions and accounts


class LogIn(Given):
    """A user name and its password."""

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

    token: Annotated[str, StringConstraints(max_length=200)]
    password: Password


class ChangePassword(Given):
    """The old password proves who is changing it."""

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

    name: Name = Field(examples=["grace"])
    role: Role = "viewer"
    cameras: list[CameraName] | None = Field(None, description="null: every camera")


class UserChange(Given):
    """What is to change; what is not named stays."""

    role: Role | None = None
    cameras: list[CameraName] | None = None
    all_cameras: bool = Field(False, description="every camera again")
    enabled: bool | None = None


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


class NewToken(Given):
    """An API token to be made."""

    name: Name = Field(examples=["nightly report"])
    role: Role = Field("viewer", description="at most the user's own")
    days: Days | None = Field(90, description="until it expires; null: never")


class MadeToken(BaseModel):
    """A new API token; it is shown here only."""

    token: str
    view: TokenView


# Cameras, tracklets, time lines


class CameraView(BaseModel):
    """A camera, and what the last run or ingest said of it."""

    camera: str = Field(examples=["door"])
    state: str = Field(description="streaming, connecting, waiting, off, ended, recorded, or unknown")
    detail: str
    updated: float | None
    frame_time: float | None = Field(description="of the picture at /frame; null: there is none")
    tracklets: int
    start: float | None
    end: float | None
    per_hour: list[int] = Field(description="tracklets that began in each of the last 24 hours, newest last")


class TrackletView(BaseModel):
    """A tracklet: one person in one camera for a while."""

    id: int
    camera: str
    start: float
    end: float
    num_frames: int
    quality: float
    finished: bool
    has_crops: bool
    searchable: bool


class TrackletDetail(TrackletView):
    """A tracklet with what can be played of it."""

    source_id: int
    num_crops: int
    crop_times: list[float]
    video: bool = Field(description="whether /video has the moment from the recording")
    video_playable: bool = Field(
        description="whether browsers can play the recording itself at /sources/{id}/video"
    )
    offset_s: float | None = Field(description="where in the recording the tracklet begins")


class TrackletPage(BaseModel):
    """A page of tracklets; `next` asks for the page behind it."""

    tracklets: list[TrackletView]
    next: str | None


class TrajectoryView(BaseModel):
    """Boxes of a tracklet, in pixels of its camera's pictures."""

    timestamps: list[float]
    xyxy: list[tuple[float, float, float, float]]


class TimeLineView(BaseModel):
    """Tracklets per camera and span of time, by when they began."""

    start: float
    bin_s: float
    counts: dict[str, list[int]]


class SourceView(BaseModel):
    """A recording or a run of a live camera."""

    id: int
    camera: str
    name: str = Field(description="file name, or address without credentials")
    start: float
    end: float | None
    status: str
    live: bool
    video: bool = Field(description="whether its frames can be shown")
    video_playable: bool
    duration_s: float | None


# Uploads and searches


class PersonBox(BaseModel):
    """A person that the detector found."""

    box: tuple[float, float, float, float] = Field(description="left, top, right, bottom in pixels")
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


Box = tuple[float, float, float, float]


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

    examples: list[Example] = Field(min_length=1, max_length=16)
    filter: Filter = Filter()
    reason: Line = Field(
        "", description="why; it is kept in the audit trail", examples=["lost child, report 7"]
    )
    threshold: Cosine | None = Field(None, description="null: what was measured for the model")
    case_id: Id | None = None


class SearchChange(Given):
    """What is to change; what is not named stays."""

    threshold: Cosine | None = None
    case_id: Id | None = None
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
    filter: Filter
    examples: list[ExampleView]
    decisions: dict[Verdict, int]


class SearchResults(SearchView):
    """A search and what it finds now, best first; decisions have moved the order already."""

    model: str
    note: str | None = Field(description="what the model is not good at")
    notes: list[str] = Field(
        [], description="what happened on the way, for example a person followed briefly"
    )
    matches: list[MatchView]
    query_spans: list[tuple[str, float, float]] = Field(
        description="camera, start, end of the examples themselves"
    )


class SearchList(BaseModel):
    """A page of searches, newest first."""

    searches: list[SearchView]
    next: str | None


class NewDecision(Given):
    """What somebody decided of a result."""

    tracklet: Id
    verdict: Verdict


# Cases


class NewCase(Given):
    """A case: a named set of searches, decisions and notes."""

    name: Name = Field(examples=["2026-114 bag theft"])
    description: Text = ""


class CaseChange(Given):
    """What is to change; what is not named stays."""

    name: Name | None = None
    description: Text | None = None
    members: list[Name] | None = None
    closed: bool | None = None
    held: bool | None = Field(None, description="legal hold: nothing it is about is deleted (admins only)")


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

    text: Annotated[str, StringConstraints(min_length=1, max_length=10_000, pattern=r"^[^\x00]*$")]


class NoteView(BaseModel):
    """A note of a case."""

    id: int
    author: str
    created: float
    text: str


class CaseDetail(CaseView):
    """A case with its notes and searches."""

    notes: list[NoteView]
    searches: list[SearchView]


# Administration


class Rule(Given):
    """Days after which things leave; null: never. The camera "" is for all that have no rule of their own."""

    camera: Annotated[str, StringConstraints(max_length=200, pattern=r"^[^\x00-\x1f]*$")] = Field(
        examples=["door"]
    )
    crops_days: Days | None = None
    embeddings_days: Days | None = None
    metadata_days: Days | None = None


class DueView(BaseModel):
    """What retention would delete of a camera now, or has deleted."""

    camera: str
    crops: int
    embeddings: int
    tracklets: int
    held: int = Field(description="kept by a legal hold")


class ErasureRequest(Given):
    """A person's tracklets that shall leave no trace."""

    tracklets: list[Id] = Field(min_length=1, max_length=10_000)
    searches: list[Id] = Field(
        [], max_length=1000, description="searches whose pictures show the person, too"
    )
    reason: Line = Field(min_length=1, examples=["request of 2026-11-20"])
    dry_run: bool = True


class ErasureView(BaseModel):
    """What was, or would be, deleted, by kind; and what the check afterwards still found (nothing)."""

    dry_run: bool
    tracklets: int
    counts: dict[str, int]
    remaining: list[str]


class AuditView(BaseModel):
    """A row of the audit trail."""

    seq: int
    time: float
    actor: str
    origin: str
    via: str
    action: str
    subject: dict[str, Any]
    num_crops: int
    hash: str


class AuditPage(BaseModel):
    """Rows of the audit trail, newest first."""

    entries: list[AuditView]
    next: str | None


class Verification(BaseModel):
    """Whether the audit trail is whole."""

    ok: bool
    entries: int
    head: str = Field(description="SEQ:HASH; note it down elsewhere to find a trail rewritten as a whole")
    problems: list[str]
    erased_crops: int


class WeightView(BaseModel):
    """Weights with a card."""

    name: str
    kind: str
    licence: str
    here: bool
    measured: Any


class GenerationView(BaseModel):
    """The embeddings of one model."""

    generation: int
    status: str
    embedder: dict[str, Any]
    embeddings: int
    missing: int


class IndexState(BaseModel):
    """What the gallery holds and which embeddings answer."""

    gallery: str
    backend: str
    counts: dict[str, int]
    free_bytes: int
    generations: list[GenerationView]
    job: JobView | None


class JobView(BaseModel):
    """Long work in the server."""

    kind: str = Field(examples=["reindex"])
    step: str
    done: int
    total: int | None
    state: Literal["running", "done", "failed", "stopped"]
    message: str
    started: float


class NewReindex(Given):
    """Embed the gallery anew with another embedder."""

    embedder: Name = Field(examples=["ste_nvan"])


class Health(BaseModel):
    """Whether the server answers."""

    status: Literal["ok"]


IndexState.model_rebuild()
