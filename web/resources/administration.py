"""Retention, erasure, the audit trail, weights, the index."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from web.resources.common import (
    Days,
    Given,
    Id,
    Line,
    Name,
)


class Rule(Given):
    """Days after which things leave; null: never. The camera "" is for all that have no rule of their own."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"camera": "door", "crops_days": 14, "embeddings_days": 30, "metadata_days": 90}]
        }
    )

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
    """A person's tracklets, and searches with pictures of the person, that shall leave no trace."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"tracklets": [17, 23], "reason": "request of 2026-11-20", "dry_run": True}]
        }
    )

    tracklets: list[Id] = Field(max_length=10_000, description="may be empty where there are searches")
    searches: list[Id] = Field(
        [], max_length=1000, description="searches whose pictures show the person, too"
    )
    reason: Line = Field(min_length=1, examples=["request of 2026-11-20"])
    dry_run: bool = True

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.tracklets and not self.searches:
            raise ValueError("nothing to erase: name tracklets or searches")
        return self


class ErasureView(BaseModel):
    """What was, or would be, deleted, by kind; and what the check afterwards still found (nothing)."""

    dry_run: bool
    tracklets: int
    counts: dict[str, int]
    searches: list[int] = Field(description="those that are deleted, or lose examples or decisions")
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
    without_crops: int = Field(
        description="tracklets that are found now and have no crops left: a re-index would lose them"
    )
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


class EmbedderView(BaseModel):
    """An embedder that can run on this machine, with its weights."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"embedder": "ste_nvan", "weights": "ste_nvan_r50_synthetic"}]}
    )

    embedder: str
    weights: str | None = Field(description="name of a card; null: it needs none")


class NewReindex(Given):
    """Embed the gallery anew with another embedder."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"embedder": "ste_nvan", "weights": "ste_nvan_r50_synthetic"}]}
    )

    embedder: Name = Field(examples=["ste_nvan"])
    weights: Name | None = Field(None, description="name of a card; null: those that came with Retrace")


class Health(BaseModel):
    """Whether the server answers."""

    status: Literal["ok"]
