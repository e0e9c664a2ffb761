"""Where else did this person appear? A tracklet, pictures, or a box in a video -> ranked matches."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import plugins
from pipeline.config import Config
from pipeline.crops import encode_jpeg, evenly
from pipeline.embedding import (
    Embedder,
    Embedding,
    build_embedder,
    embed_images,
    on_device,
    settings_of,
    unit,
)
from pipeline.hooks import Hooks
from pipeline.pointing import Box, QueryError, cut, cut_people, follow_person
from pipeline.types import Frame, Image
from pipeline.video import SourceSpec, open_source, read_image
from storage.errors import CropsExpired, GalleryDamaged
from storage.gallery import Gallery
from storage.records import EmbedderSpec, GalleryFilter, Hit, SourceRecord

TRACK_S = 4.0  # how far a person is followed forward and back from the moment that was pointed at
_SHOWN = 8  # pictures of the person that an answer shows


@dataclass(frozen=True)
class Query:
    """A person to look for.

    Attributes:
        kind: "tracklet", "image" or "video".
        description: what was asked, as JSON values.
        embedding: (D,) float32 unit vector.
        crops: JPEG pictures of the person as the query sees them.
        span: (camera, start, end) of the query's own appearance where that is known, seconds UTC.
    """

    kind: str
    description: dict[str, Any]
    embedding: Embedding
    crops: tuple[bytes, ...]
    span: tuple[str, float, float] | None = None


@dataclass(frozen=True)
class Answer:
    """A query, the model that compared, what was searched, and the matches, best first."""

    query: Query
    spec: EmbedderSpec
    fallback: str | None
    filter: GalleryFilter
    matches: list[Hit] = field(default_factory=list)


def load_embedder(gallery: Gallery, device: str | None = None) -> Embedder:
    """The model that made the gallery's current embeddings, loaded again.

    Args:
        gallery: says which model.
        device: where it shall run; None: the GPU if there is one.

    Raises:
        QueryError: the gallery is empty, or the model's files are not what they were.
    """
    current = gallery.generations.current()
    if current is None:
        raise QueryError(f"the gallery {gallery.folder} holds no tracklets yet: run ingest first")
    embedder = build_embedder(on_device(settings_of(current.spec), device))
    if not embedder.spec.same_as(current.spec):
        raise QueryError(
            f"the gallery's embeddings are of {current.spec}, but those weights are now {embedder.spec}: "
            "put the old weights back, or run reindex"
        )
    return embedder


def search(gallery: Gallery, query: Query, top_k: int, wanted: GalleryFilter) -> Answer:
    """Rank the gallery's tracklets by similarity to the query.

    Unless the filter says otherwise, the query's own camera is left out within its own time span.
    """
    current = gallery.generations.current()
    if current is None:
        raise QueryError(f"the gallery {gallery.folder} holds no tracklets yet: run ingest first")
    if query.span is not None and wanted.exclude_span is None:
        wanted = GalleryFilter(
            wanted.cameras, wanted.exclude_cameras, wanted.start, wanted.end, wanted.min_quality, query.span
        )
    matches = gallery.search(query.embedding[None], current.spec, top_k, wanted)[0]
    fallback = plugins.load("embedders", settings_of(current.spec).name).FALLBACK
    return Answer(query, current.spec, fallback, wanted, matches)


def query_by_tracklet(gallery: Gallery, tracklet_id: int) -> Query:
    """A stored tracklet as the query; its stored embedding is used, no model is loaded."""
    record = gallery.tracklet(tracklet_id)
    try:
        crops = tuple(gallery.crops(tracklet_id))
    except (CropsExpired, GalleryDamaged):
        crops = ()  # they are only shown; the stored embedding answers the question without them
    return Query(
        "tracklet",
        {"tracklet": record.id, "camera": record.camera},
        gallery.embedding(tracklet_id),
        crops,
        (record.camera, record.start, record.end),
    )


def query_by_images(paths: Sequence[Path], boxes: Sequence[Box], embedder: Embedder, config: Config) -> Query:
    """Picture files of one person as the query.

    Args:
        paths: one or more picture files.
        boxes: none, or one for each picture.
        embedder, config: as `query_by_pictures` has them.

    Raises:
        QueryError: a picture cannot be read, or it is not clear who in it is meant.
    """
    return query_by_pictures(read_pictures(paths, boxes), embedder, config, [str(path) for path in paths])


def query_by_pictures(
    pictures: Sequence[tuple[Image, Box | None]], embedder: Embedder, config: Config, names: Sequence[str]
) -> Query:
    """Pictures of one person as the query: the mean of their embeddings.

    Args:
        pictures: RGB pictures, each with the person's box or None, as `cut_people` takes them.
        embedder: the model of the gallery.
        config: names the detector, which is loaded only when it is needed.
        names: what messages and the query's description call the pictures.

    Raises:
        QueryError: it is not clear who in a picture is meant (`UnclearPerson`), or nothing can be embedded.
    """
    crops, used = cut_people(pictures, names, config)
    rows = [
        row
        for row in embed_images(embedder, [[crop] for crop in crops], config.batch.clips)
        if row is not None
    ]
    if not rows:
        raise QueryError(f"{embedder.spec.name} gives no embedding of {', '.join(names)}")
    embedding = unit(np.mean(rows, axis=0)[None])[0]
    description = {"images": list(names), "boxes": [list(box) if box else None for box in used]}
    return Query("image", description, embedding, tuple(encode_jpeg(crop, 92) for crop in crops))


def read_pictures(paths: Sequence[Path], boxes: Sequence[Box]) -> list[tuple[Image, Box | None]]:
    """Picture files as `query_by_pictures` takes them.

    Raises:
        QueryError: there are as many boxes as neither none nor pictures, or a file cannot be read.
    """
    if boxes and len(boxes) != len(paths):
        raise QueryError(
            f"{len(paths)} pictures and {len(boxes)} boxes: give one --box for each picture, or none"
        )
    return [(_read(path), boxes[i] if boxes else None) for i, path in enumerate(paths)]


def query_by_video(
    gallery: Gallery,
    path: Path,
    at_s: float,
    box: Box,
    embedder: Embedder,
    config: Config,
    hooks: Hooks | None = None,
    name: str | None = None,
) -> Query:
    """A box in a video file at a time as the query.

    Args:
        gallery: tells whether this recording is one of its sources, and so the query's camera and time.
        path: video file.
        at_s: seconds from the start of the video.
        box, embedder, config, hooks: as `query_by_frames` has them.
        name: what messages and the query's description call the video; by default its path.

    Raises:
        QueryError: the time is outside the video, or the box outside the picture.
        VideoSourceError: the file cannot be read.
    """
    name = name or str(path)
    source = open_source(SourceSpec("query", str(path)), config.video)
    if not (math.isfinite(at_s) and 0 <= at_s <= (source.duration_s or at_s)):
        length = f", which is {source.duration_s:.1f} s long" if source.duration_s else ""
        raise QueryError(f"--at {at_s:g} is outside {name}{length}")
    frames = list(source.frames(max(0.0, at_s - TRACK_S), at_s + TRACK_S))
    known = next((s for s in gallery.sources() if s.fingerprint == source.fingerprint), None)
    return query_by_frames(
        frames, at_s, box, embedder, config,
        name=name, frame_rate=source.analysed_rate, start=source.start, known=known, hooks=hooks,
    )  # fmt: skip


def query_by_frames(
    frames: Sequence[Frame],
    at_s: float,
    box: Box,
    embedder: Embedder,
    config: Config,
    *,
    name: str,
    frame_rate: float,
    start: float = 0.0,
    known: SourceRecord | None = None,
    hooks: Hooks | None = None,
) -> Query:
    """A box in one of several frames as the query: the person is tracked forward and back from there.

    Args:
        frames: of one clip, in order of time, from about `TRACK_S` before the moment to as much after it.
        at_s: the moment, seconds from the start of the clip; the frame next to it is taken.
        box: xyxy in pixels of the frame shown then.
        embedder: the model of the gallery.
        config: names detector and tracker.
        name: what messages and the query's description call the clip.
        frame_rate: frames a second.
        start: time stamp of the clip's start.
        known: the gallery's source that the clip is of.
        hooks: told about progress.

    Raises:
        QueryError: there is no frame, the box is outside it or too small, or it gives no embedding.
    """
    hooks = hooks or Hooks()
    if not frames:
        raise QueryError(f"{name} has no frame near {at_s:g} s")
    moments = [frame.timestamp - start for frame in frames]
    middle = int(np.argmin(np.abs(np.array(moments) - at_s)))
    cut(frames[middle].image, box, name)  # refuses what is no person at all before the work begins
    track = follow_person(frames, middle, box, frame_rate, config, hooks)
    crops = [cut(frame.image, tuple(found.tolist()), name) for frame, found in track]
    embedding = embed_images(embedder, [crops], config.batch.clips)[0]
    if embedding is None:
        raise QueryError(f"{embedder.spec.name} gives no embedding of the box in {name}")
    first, last = track[0][0].timestamp - start, track[-1][0].timestamp - start
    span = (known.camera, known.start + first, known.start + last) if known else None
    description = {
        "video": name,
        "at": at_s,
        "box": list(box),
        "camera": known.camera if known else None,
        "followed_s": [round(first, 3), round(last, 3)],
        "frames": len(track),
    }
    shown = tuple(encode_jpeg(crops[i], 92) for i in evenly(len(crops), _SHOWN))
    return Query("video", description, embedding, shown, span)


def _read(path: Path) -> Image:
    if not path.is_file():
        raise QueryError(f"there is no picture {path}")
    image = read_image(path)
    if image is None:
        raise QueryError(f"{path} is not a picture that can be read: it is damaged, too large, or no picture")
    return image
