"""Cases, the searches in them, and what people decided about what was found."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np

from storage.records import EmbedderSpec, Float32Array, GalleryFilter, json_object, unit_vectors

Verdict = Literal["same", "different", "unsure"]


def checked_verdict(text: str) -> Verdict:
    """`text` if it is a verdict.

    Raises:
        ValueError: It is none.
    """
    for verdict in get_args(Verdict):
        if text == verdict:
            return verdict  # type: ignore[no-any-return]
    raise ValueError(f"a verdict is one of {', '.join(get_args(Verdict))}, got {text!a}")


def checked_threshold(value: float) -> float:
    """`value` if it can be the cosine that tells matches from candidates.

    Raises:
        ValueError: It lies outside [-1, 1].
    """
    if not (math.isfinite(value) and -1.0 <= value <= 1.0):
        raise ValueError(f"threshold must be a cosine in [-1, 1], got {value}")
    return float(value)


def model_identity(spec: EmbedderSpec | None) -> str:
    """What tells a model from others, as text: equal texts mean equal specs. "" is no model."""
    if spec is None:
        return ""
    return f"{spec.name} {spec.dimension} weights:{spec.weights_hash} preprocessing:{spec.preprocessing_hash}"


@dataclass(frozen=True)
class Case:
    """A case: searches, notes and decisions of some people who work together.

    Attributes:
        owner: Name of the user whose case it is.
        members: Names of the others who may see it.
        created, closed: Seconds UTC; `closed` is None while it is open.
        held: Legal hold: what it is about is not deleted.
    """

    id: int
    name: str
    description: str
    owner: str
    members: frozenset[str]
    created: float
    closed: float | None
    held: bool
    num_searches: int
    num_notes: int


@dataclass(frozen=True)
class Note:
    """What somebody wrote into a case; created in seconds UTC."""

    id: int
    case_id: int
    author: str
    created: float
    text: str


@dataclass(frozen=True, eq=False)
class NewExample:
    """A person to search for: a stored tracklet, or pictures from elsewhere.

    Attributes:
        tracklet_id: Of a stored tracklet; its own crops and embedding count then, and there are none here.
        description: Where it comes from, as JSON values.
        crops: JPEG files of the person, else.
        vector: (D,) float32, norm 1: their embedding; None: to be made.
        spec: What made the vector; None: the gallery's current model.
    """

    tracklet_id: int | None = None
    description: Mapping[str, Any] = field(default_factory=dict)
    crops: tuple[bytes, ...] = ()
    vector: Float32Array | None = None
    spec: EmbedderSpec | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "description", json_object("description", self.description))
        object.__setattr__(self, "crops", tuple(self.crops))
        if self.tracklet_id is not None:
            object.__setattr__(self, "tracklet_id", int(self.tracklet_id))
        if (self.tracklet_id is None) != bool(self.crops):
            raise ValueError("an example is either a stored tracklet or pictures: give one of the two")
        if any(crop[:2] != b"\xff\xd8" for crop in self.crops):
            raise ValueError("every crop must be a JPEG file")
        if self.vector is not None:
            if self.tracklet_id is not None:
                raise ValueError("an example that is a tracklet is compared by the tracklet's own embedding")
            row = np.asarray(self.vector)
            object.__setattr__(self, "vector", unit_vectors(row[None], row.size)[0])


@dataclass(frozen=True)
class Example:
    """An example as it is stored; see `NewExample`.

    Attributes:
        camera: What saw it; None if it is of no camera, as an upload is.
        span: (camera, start, end) of when it was seen, seconds UTC: its tracklet's time, else the "span" of
            its description; None if that is not known.
    """

    id: int
    tracklet_id: int | None
    description: dict[str, Any]
    crops: tuple[bytes, ...]
    camera: str | None
    span: tuple[str, float, float] | None


@dataclass(frozen=True)
class Decision:
    """What somebody said of a tracklet that a search had found.

    Attributes:
        verdict: Whether it shows the person of the search.
        created, undone: Seconds UTC; `undone` is when it was taken back, None while it stands.
        undone_by: Who took it back.
    """

    id: int
    search_id: int
    tracklet_id: int
    verdict: Verdict
    author: str
    created: float
    undone: float | None = None
    undone_by: str | None = None


@dataclass(frozen=True)
class SearchRecord:
    """A stored question.

    Attributes:
        created: Seconds UTC.
        reason: Why it was asked, in its author's words.
        threshold: Cosine from which on a hit is a match; below, it is a candidate.
        model: `model_identity` of the one whose cosines the threshold is about; "" if there was none yet.
        filter: What was searched.
        examples: Fewer than were given if tracklets among them were deleted; then perhaps none.
        decisions: The ones that count: of each tracklet the newest that was not taken back.
    """

    id: int
    case_id: int | None
    author: str
    created: float
    reason: str
    threshold: float
    model: str
    filter: GalleryFilter
    examples: tuple[Example, ...]
    decisions: tuple[Decision, ...]
