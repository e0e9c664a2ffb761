"""Where else did this person appear? A tracklet, pictures, or a box in a video -> ranked matches."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline import plugins
from pipeline.config import Config
from pipeline.crops import encode_jpeg
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
from pipeline.source_run import Detector, Tracker
from pipeline.types import CLIP_LENGTH, Detections, Frame, Image, box_iou, clip_to_frame
from pipeline.video import Source, SourceSpec, open_source, read_image
from storage.errors import CropsExpired, GalleryDamaged
from storage.gallery import Gallery
from storage.records import EmbedderSpec, GalleryFilter, Hit

Box = tuple[float, float, float, float]

TRACK_S = 4.0  # how far a person is followed forward and back from the moment that was pointed at
SAME_PERSON_IOU = 0.3  # a detection that overlaps the user's box by this much is the person meant
MIN_SIDE_PX = 8  # of the picture of a person: with less, anybody is as similar as anybody else
PERSON_SHAPE = (1.5, 4.5)  # height / width of a picture that is taken for a crop of one person


class QueryError(ValueError):
    """A query that cannot be answered as it was put; the message says what to change."""


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
    current = gallery.current_generation()
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
    current = gallery.current_generation()
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
    """Pictures of one person as the query: the mean of their embeddings.

    Args:
        paths: one or more picture files.
        boxes: none, or one for each picture. Without a box, a picture of a person's proportions is taken
            whole; in any other exactly one person must be detected.
        embedder: the model of the gallery.
        config: names the detector, which is loaded only when it is needed.
    """
    crops, used = person_crops(paths, boxes, config)
    rows = [
        row
        for row in embed_images(embedder, [[crop] for crop in crops], config.batch.clips)
        if row is not None
    ]
    if not rows:
        raise QueryError(f"{embedder.spec.name} gives no embedding of {', '.join(map(str, paths))}")
    embedding = unit(np.mean(rows, axis=0)[None])[0]
    description = {
        "images": [str(path) for path in paths],
        "boxes": [list(box) if box else None for box in used],
    }
    return Query("image", description, embedding, tuple(encode_jpeg(crop, 92) for crop in crops))


def person_crops(
    paths: Sequence[Path], boxes: Sequence[Box], config: Config
) -> tuple[list[Image], list[Box | None]]:
    """The person of each picture, cut out; and the boxes that were cut, None for a whole picture.

    Args:
        paths, boxes, config: as `query_by_images` has them.

    Raises:
        QueryError: a picture cannot be read, or it is not clear who in it is meant.
    """
    if not paths:
        raise QueryError("a query by pictures needs at least one picture")
    if boxes and len(boxes) != len(paths):
        raise QueryError(
            f"{len(paths)} pictures and {len(boxes)} boxes: give one --box for each picture, or none"
        )
    images = [_read(path) for path in paths]
    detector: Detector | None = None
    crops: list[Image] = []
    used: list[Box | None] = []
    for i, (path, image) in enumerate(zip(paths, images, strict=True)):
        box = boxes[i] if boxes else None
        if box is None and not _is_person_shaped(image):
            detector = detector or plugins.build("detectors", config.detector)
            box = _only_person(image, path, detector)
        crops.append(_cut(image, box or (0, 0, image.shape[1], image.shape[0]), str(path)))
        used.append(box)
    return crops, used


def query_by_video(
    gallery: Gallery,
    path: Path,
    at_s: float,
    box: Box,
    embedder: Embedder,
    config: Config,
    hooks: Hooks | None = None,
) -> Query:
    """A box in a video at a time as the query: the person is tracked forward and back from there.

    Args:
        gallery: tells whether this recording is one of its sources, and so the query's camera and time.
        path: video file.
        at_s: seconds from the start of the video.
        box: xyxy in pixels of the frame shown then.
        embedder: the model of the gallery.
        config: names detector and tracker.
        hooks: told about progress.
    """
    hooks = hooks or Hooks()
    source = open_source(SourceSpec("query", str(path)), config.video)
    if not (math.isfinite(at_s) and 0 <= at_s <= (source.duration_s or at_s)):
        length = f", which is {source.duration_s:.1f} s long" if source.duration_s else ""
        raise QueryError(f"--at {at_s:g} is outside {path}{length}")
    detector: Detector = plugins.build("detectors", config.detector)
    frames = list(source.frames(max(0.0, at_s - TRACK_S), at_s + TRACK_S))
    if not frames:
        raise QueryError(f"{path} has no frame near {at_s:g} s")
    moments = [frame.timestamp - source.start for frame in frames]
    middle = int(np.argmin(np.abs(np.array(moments) - at_s)))
    _cut(frames[middle].image, box, str(path))  # refuses what is no person at all before the work begins
    pointed = _pointed_at(frames[middle], box, detector.detect(frames[middle : middle + 1])[0], hooks)
    forward = _follow(frames[middle:], pointed, detector, config, source, hooks)
    back = _follow(frames[middle::-1], pointed, detector, config, source, hooks)
    track = back[:0:-1] + forward  # the pointed-at frame is in both
    # A person who leaves the picture ends as a sliver at its border.
    track = [seen for seen in track if min(seen[1][2:] - seen[1][:2]) >= MIN_SIDE_PX] or track[
        len(back) - 1 :
    ][:1]
    if len(track) < CLIP_LENGTH:
        hooks.on_note(
            f"the person could be followed for {len(track)} frames only; a full clip has {CLIP_LENGTH}: "
            "draw the box closely around the person, or choose another moment"
        )
    crops = [_cut(frame.image, tuple(found.tolist()), str(path)) for frame, found in track]
    embedding = embed_images(embedder, [crops], config.batch.clips)[0]
    if embedding is None:
        raise QueryError(f"{embedder.spec.name} gives no embedding of the box in {path}")
    known = next((s for s in gallery.sources() if s.fingerprint == source.fingerprint), None)
    first, last = track[0][0].timestamp - source.start, track[-1][0].timestamp - source.start
    span = (known.camera, known.start + first, known.start + last) if known else None
    description = {
        "video": str(path),
        "at": at_s,
        "box": list(box),
        "camera": known.camera if known else None,
        "followed_s": [round(first, 3), round(last, 3)],
        "frames": len(track),
    }
    return Query(
        "video", description, embedding, tuple(encode_jpeg(crop, 92) for crop in _spread(crops)), span
    )


def _follow(
    frames: Sequence[Frame],
    pointed: Detections,
    detector: Detector,
    config: Config,
    source: Source,
    hooks: Hooks,
) -> list[tuple[Frame, npt.NDArray[np.float32]]]:
    """The boxes of the track that begins at the last of `pointed` in the first frame, until it is lost."""
    tracker: Tracker = plugins.build("trackers", config.tracker, frame_rate=source.analysed_rate)
    wanted = int(tracker.update(frames[0], pointed)[-1])
    track = [(frames[0], pointed.xyxy[-1])]
    for first in range(1, len(frames), config.batch.frames):
        batch = frames[first : first + config.batch.frames]
        for frame, detections in zip(batch, detector.detect(batch), strict=True):
            ids = tracker.update(frame, detections)
            if wanted not in tracker.alive():
                return track
            for position in np.flatnonzero(ids == wanted):
                track.append((frame, detections.xyxy[position]))
        hooks.on_step("following the person", min(first + len(batch), len(frames)), len(frames))
    return track


def _pointed_at(frame: Frame, box: Box, detections: Detections, hooks: Hooks) -> Detections:
    """The detections, the person meant last and at full confidence: the detector's box if it has one."""
    height, width = frame.image.shape[:2]
    given = clip_to_frame(Detections(np.array([box], np.float32), np.ones(1, np.float32)), width, height)
    if len(given) == 0:
        raise QueryError(f"the box {_text(box)} is outside the frame of {width}x{height} pixels")
    overlap = box_iou(given.xyxy, detections.xyxy)[0]
    best = int(np.argmax(overlap)) if len(overlap) else -1
    if best >= 0 and overlap[best] >= SAME_PERSON_IOU:
        meant, others = detections.xyxy[best], np.delete(np.arange(len(detections)), best)
    else:
        meant, others = given.xyxy[0], np.arange(len(detections))
        hooks.on_note(f"no person is detected at the box {_text(box)}; it is taken as it is")
    return Detections(
        np.concatenate([detections.xyxy[others], meant[None]]).astype(np.float32),
        np.concatenate([detections.confidence[others], np.ones(1, np.float32)]).astype(np.float32),
    )


def _only_person(image: Image, path: Path, detector: Detector) -> Box:
    found = detector.detect([Frame("query", 0, 0.0, image)])[0]
    sure = found.xyxy[found.confidence >= 0.4]
    if len(sure) == 0:
        raise QueryError(f"no person is found in {path}; point at one with --box x1,y1,x2,y2")
    if len(sure) > 1:
        boxes = "; ".join(_text(box) for box in sure.round().tolist())
        raise QueryError(f"{len(sure)} persons are in {path}; choose one with --box: {boxes}")
    left, top, right, bottom = (float(value) for value in sure[0])
    return left, top, right, bottom


def _read(path: Path) -> Image:
    if not path.is_file():
        raise QueryError(f"there is no picture {path}")
    image = read_image(path)
    if image is None:
        raise QueryError(f"{path} is not a picture that can be read: it is damaged, too large, or no picture")
    return image


def _cut(image: Image, box: Any, name: str) -> Image:
    height, width = image.shape[:2]
    left, top = int(max(0, np.floor(box[0]))), int(max(0, np.floor(box[1])))
    right, bottom = int(min(width, np.ceil(box[2]))), int(min(height, np.ceil(box[3])))
    if right <= left or bottom <= top:
        raise QueryError(f"the box {_text(box)} is outside the frame of {width}x{height} pixels of {name}")
    if right - left < MIN_SIDE_PX or bottom - top < MIN_SIDE_PX:
        raise QueryError(
            f"the box {_text(box)} shows {right - left}x{bottom - top} pixels of {name}; "
            f"a person needs {MIN_SIDE_PX}x{MIN_SIDE_PX} at least"
        )
    return image[top:bottom, left:right]


def _is_person_shaped(image: Image) -> bool:
    low, high = PERSON_SHAPE
    return bool(low <= image.shape[0] / image.shape[1] <= high)


def _spread(crops: Sequence[Image], wanted: int = 8) -> list[Image]:
    positions = np.linspace(0, len(crops) - 1, min(wanted, len(crops))).round().astype(int)
    return [crops[i] for i in positions]


def _text(box: Any) -> str:
    return ",".join(f"{value:g}" for value in box)
