"""What goes into a gallery and what comes out: frozen dataclasses that check themselves."""

from __future__ import annotations

import json
import math
import operator
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Int32Array = npt.NDArray[np.int32]
Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]

SourceStatus = Literal["running", "complete", "interrupted"]
GenerationStatus = Literal["building", "current", "previous"]

MAX_CROPS = 16
NORM_TOLERANCE = 1e-3
"""How far from 1 the L2 norm of an embedding may lie: float16 storage and model rounding stay well below."""


def camera_name(text: str) -> str:
    """One spelling per camera: NFC, no control characters, no lone surrogates, not blank.

    Raises:
        ValueError: The name is blank or holds characters that a database cannot keep.
    """
    name = unicodedata.normalize("NFC", text)
    if not name.strip() or any(unicodedata.category(letter) in ("Cc", "Cs") for letter in name):
        raise ValueError(f"camera name {text!a} is blank or has control characters: give it a readable name")
    return name


def readable(text: str) -> str:
    """`text` as a database can keep it: bytes of a file name that are not UTF-8 become escapes."""
    return text.replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode("utf-8")


def unit_vectors(vectors: npt.ArrayLike, dimension: int) -> Float32Array:
    """Embeddings as float32, checked.

    Args:
        vectors: (N, `dimension`), L2 norm 1 each.
        dimension: Expected length of a vector.

    Raises:
        ValueError: Another shape, a value that is not finite, or a norm further from 1 than `NORM_TOLERANCE`.
    """
    checked = _array("embeddings", vectors, np.float32, (-1, dimension))
    norms = np.linalg.norm(checked, axis=1)
    if not np.all(np.abs(norms - 1.0) <= NORM_TOLERANCE):  # also catches NaN and infinity
        worst = int(np.argmax(np.where(np.isfinite(norms), np.abs(norms - 1.0), np.inf)))
        raise ValueError(f"embeddings must be finite with L2 norm 1, row {worst} has norm {norms[worst]:.4g}")
    return checked


def json_object(name: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """`values` as a database gives them back.

    Raises:
        ValueError: Something in it is not JSON (NaN and infinity are not).
    """
    try:
        plain: dict[str, Any] = json.loads(json.dumps(dict(values), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be JSON: {error}") from error
    return plain


def _array(name: str, value: npt.ArrayLike, dtype: Any, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """`value` as a read-only array of `dtype`; -1 in `shape` stands for any length."""
    given = np.asarray(value)
    fits = given.ndim == len(shape) and all(
        want in (-1, got) for want, got in zip(shape, given.shape, strict=True)
    )
    if not fits:
        raise ValueError(f"{name}: expected shape {shape} (-1: any), got {given.shape}")
    if not np.can_cast(given.dtype, dtype, "same_kind"):
        raise ValueError(f"{name}: expected {np.dtype(dtype).name}, got {given.dtype.name}")
    checked = given.astype(dtype, copy=False).view()
    checked.flags.writeable = False
    return checked


def _check_times(start: float | None, end: float | None) -> None:
    for name, value in (("start", start), ("end", end)):
        if value is not None and not math.isfinite(value):
            raise ValueError(f"{name} must be seconds UTC, got {value}")
    if start is not None and end is not None and end < start:
        raise ValueError(f"the time range ends ({end}) before it starts ({start})")


@dataclass(frozen=True)
class EmbedderSpec:
    """What made an embedding. Specs are equal if the first four fields are; only then compare their vectors.

    Attributes:
        name: Plug-in name, for example "ste_nvan".
        weights_hash: SHA-256 of the weights file; "" for an embedder without weights.
        preprocessing_hash: Hash of everything done to a crop before the network.
        dimension: Length D of an embedding.
        config: JSON of what is needed to load the embedder again; no part of its identity.
    """

    name: str
    weights_hash: str
    preprocessing_hash: str
    dimension: int
    config: Mapping[str, Any] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("an embedder needs a name")
        if self.dimension < 1:
            raise ValueError(f"dimension must be at least 1, got {self.dimension}")
        object.__setattr__(self, "config", json_object("config", self.config))

    def same_as(self, other: EmbedderSpec) -> bool:
        """Whether vectors of `other` may be compared with vectors of this one."""
        return self == other

    def __str__(self) -> str:
        weights = f", weights {self.weights_hash[:12]}" if self.weights_hash else ""
        return f"{self.name} ({self.dimension}-d{weights}, preprocessing {self.preprocessing_hash[:12]})"


@dataclass(frozen=True, eq=False)
class Trajectory:
    """Where a tracklet was, frame by frame.

    Attributes:
        frame_indices: (T,) int32, 0-based, strictly increasing.
        timestamps: (T,) float64, seconds UTC, never decreasing.
        xyxy: (T, 4) float32, pixels.
        confidence: (T,) float32, [0, 1].
    """

    frame_indices: Int32Array
    timestamps: Float64Array
    xyxy: Float32Array
    confidence: Float32Array

    def __post_init__(self) -> None:
        frames = _array("frame_indices", self.frame_indices, np.int32, (-1,))
        length = len(frames)
        if length == 0 or frames[0] < 0 or np.any(np.diff(frames) <= 0):
            raise ValueError("frame_indices must be at least one number, from 0 and strictly increasing")
        timestamps = _array("timestamps", self.timestamps, np.float64, (length,))
        if not np.all(np.isfinite(timestamps)) or np.any(np.diff(timestamps) < 0):
            raise ValueError("timestamps must be finite seconds UTC that never decrease")
        xyxy = _array("xyxy", self.xyxy, np.float32, (length, 4))
        if not np.all(np.isfinite(xyxy)) or np.any(xyxy[:, 2:] < xyxy[:, :2]):
            raise ValueError("xyxy must be finite boxes with x1 <= x2 and y1 <= y2")
        confidence = _array("confidence", self.confidence, np.float32, (length,))
        if not np.all((confidence >= 0) & (confidence <= 1)):
            raise ValueError("confidence must lie in [0, 1]")
        for name, checked in (
            ("frame_indices", frames),
            ("timestamps", timestamps),
            ("xyxy", xyxy),
            ("confidence", confidence),
        ):
            object.__setattr__(self, name, checked)


@dataclass(frozen=True, eq=False)
class NewTracklet:
    """A tracklet on its way into the gallery.

    Attributes:
        track_id: The tracker's number, from 0, unique within one run of one source.
        frame_indices, timestamps, xyxy, confidence: As in `Trajectory`, T frames.
        quality: [0, 1].
        crops: 1 to 16 JPEG files, in time order.
        crop_positions: (K,) int32, position of each crop among the T frames, strictly increasing.
        thumbnail: Which crop shows the person best, 0-based.
        embedding: (D,) float32, L2 norm 1.
        finished: Whether the track has ended; one still in view is replaced when more of it is known.
    """

    track_id: int
    frame_indices: Int32Array
    timestamps: Float64Array
    xyxy: Float32Array
    confidence: Float32Array
    quality: float
    crops: tuple[bytes, ...]
    crop_positions: Int32Array
    thumbnail: int
    embedding: Float32Array
    finished: bool = True

    def __post_init__(self) -> None:
        trajectory = self.trajectory()
        for name in ("frame_indices", "timestamps", "xyxy", "confidence"):
            object.__setattr__(self, name, getattr(trajectory, name))
        for name in ("track_id", "thumbnail"):  # plain numbers: databases do not take those of numpy
            object.__setattr__(self, name, operator.index(getattr(self, name)))
        object.__setattr__(self, "quality", float(self.quality))
        object.__setattr__(self, "finished", bool(self.finished))
        if self.track_id < 0:
            raise ValueError(f"track_id must be 0 or more (-1 means not confirmed), got {self.track_id}")
        if not 0.0 <= self.quality <= 1.0:
            raise ValueError(f"quality must lie in [0, 1], got {self.quality}")
        self._check_crops()
        embedding = unit_vectors(np.asarray(self.embedding)[None], np.asarray(self.embedding).size)[0]
        object.__setattr__(self, "embedding", embedding)

    def _check_crops(self) -> None:
        object.__setattr__(self, "crops", tuple(self.crops))
        if not 1 <= len(self.crops) <= MAX_CROPS:
            raise ValueError(f"a tracklet keeps 1 to {MAX_CROPS} crops, got {len(self.crops)}")
        if any(crop[:2] != b"\xff\xd8" for crop in self.crops):
            raise ValueError("every crop must be a JPEG file")
        positions = _array("crop_positions", self.crop_positions, np.int32, (len(self.crops),))
        if positions[0] < 0 or positions[-1] >= len(self.frame_indices) or np.any(np.diff(positions) <= 0):
            raise ValueError(f"crop_positions must increase within the {len(self.frame_indices)} frames")
        object.__setattr__(self, "crop_positions", positions)
        if not 0 <= self.thumbnail < len(self.crops):
            raise ValueError(f"thumbnail must name one of the {len(self.crops)} crops, got {self.thumbnail}")

    def trajectory(self) -> Trajectory:
        """The boxes alone."""
        return Trajectory(self.frame_indices, self.timestamps, self.xyxy, self.confidence)

    @property
    def key(self) -> tuple[int, int]:
        """(track_id, first frame): unique within a source."""
        return self.track_id, int(self.frame_indices[0])

    @property
    def extent(self) -> tuple[int, bool]:
        """(number of frames, finished): of two versions of a tracklet, the one with the larger counts."""
        return len(self.frame_indices), self.finished


@dataclass(frozen=True)
class TrackletRecord:
    """A stored tracklet: one person in one camera.

    Attributes:
        id: Database key, the index's id too; never reused.
        start, end: Time of the first and the last frame, seconds UTC.
        finished: False while the person is in view.
        has_crops: False once retention has taken them; the thumbnail is gone with them.
        searchable: False once retention has taken its embeddings.
        thumbnail: Absolute path of a JPEG file. A tracklet that is refined gets another file.
    """

    id: int
    camera: str
    source: str
    start: float
    end: float
    num_frames: int
    quality: float
    track_id: int
    finished: bool
    has_crops: bool
    searchable: bool
    thumbnail: Path


@dataclass(frozen=True)
class GalleryFilter:
    """Which tracklets to look at; the default is all of them.

    Attributes:
        cameras: Only these; empty means every camera.
        exclude_cameras: None of these.
        start, end: Only tracklets that overlap [start, end], seconds UTC; None leaves that side open.
        min_quality: Only tracklets of at least this quality.
        exclude_span: (camera, start, end): without that camera's tracklets that overlap that span.
    """

    cameras: frozenset[str] = frozenset()
    exclude_cameras: frozenset[str] = frozenset()
    start: float | None = None
    end: float | None = None
    min_quality: float = 0.0
    exclude_span: tuple[str, float, float] | None = None

    def __post_init__(self) -> None:
        for name in ("cameras", "exclude_cameras"):
            if isinstance(getattr(self, name), str):
                raise ValueError(f"{name} must be a set of camera names, got one string")
            object.__setattr__(self, name, frozenset(camera_name(camera) for camera in getattr(self, name)))
        for name in ("start", "end"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, float(getattr(self, name)))
        object.__setattr__(self, "min_quality", float(self.min_quality))
        _check_times(self.start, self.end)
        if not 0.0 <= self.min_quality <= 1.0:
            raise ValueError(f"min_quality must lie in [0, 1], got {self.min_quality}")
        if self.exclude_span is not None:
            camera, start, end = self.exclude_span
            _check_times(start, end)
            object.__setattr__(self, "exclude_span", (camera_name(camera), float(start), float(end)))


@dataclass(frozen=True)
class Hit:
    """One answer of a search: `similarity` is the cosine, in [-1, 1]."""

    record: TrackletRecord
    similarity: float


@dataclass(frozen=True)
class SourceRecord:
    """One video, folder or stream that was, or is being, ingested.

    Attributes:
        fingerprint: Tells two sources of one camera apart whatever their names.
        start: Time of the first frame, seconds UTC.
        settings_hash: Of the settings its tracklets were made with.
        status: "interrupted" is a live run that died.
        num_frames_done: How far the run has come.
        counts: What the finished run counted; empty before.
        end: Time of the last analysed frame, seconds UTC; None if it was not noted.
        live: Whether it is a camera's stream, which ends when it is told to.
        masked: Whether parts of its pictures were blacked out, so that its video must not be shown.
    """

    id: int
    camera: str
    uri: str
    fingerprint: str
    start: float
    settings_hash: str
    status: SourceStatus
    num_frames_done: int
    counts: dict[str, Any]
    end: float | None = None
    live: bool = False
    masked: bool = False


@dataclass(frozen=True)
class Gap:
    """A time in which a source gave no frames: start and end in seconds UTC, end None while it lasts."""

    id: int
    source_id: int
    camera: str
    start: float
    end: float | None
    reason: str


@dataclass(frozen=True)
class CameraSummary:
    """One camera's share of the gallery; start and end (seconds UTC) are None without tracklets."""

    camera: str
    num_sources: int
    num_tracklets: int
    start: float | None
    end: float | None


@dataclass(frozen=True)
class Generation:
    """The embeddings that one model made; with the first tracklet, one generation becomes the current one."""

    id: int
    spec: EmbedderSpec
    status: GenerationStatus
    num_embeddings: int


@dataclass(frozen=True)
class CurrentModel:
    """The generation that searches use: its id, and the model that made its embeddings."""

    id: int
    spec: EmbedderSpec
