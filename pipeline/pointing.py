"""Who is meant? The person of a picture, or of a box in a clip, cut out to be embedded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline import plugins
from pipeline.config import Config
from pipeline.hooks import Hooks
from pipeline.source_run import Detector, Tracker
from pipeline.types import CLIP_LENGTH, Detections, Frame, Image, box_iou, clip_to_frame

Box = tuple[float, float, float, float]
Seen = tuple[Frame, npt.NDArray[np.float32]]
"""A frame and the (4,) xyxy box of the person in it."""

SAME_PERSON_IOU = 0.3  # a detection that overlaps the user's box by this much is the person meant
SURE = 0.4  # confidence of a detection that is offered as a person
MIN_SIDE_PX = 8  # of the picture of a person: with less, anybody is as similar as anybody else
PERSON_SHAPE = (1.5, 4.5)  # height / width of a picture that is taken for a crop of one person


class QueryError(ValueError):
    """A query that cannot be answered as it was put; the message says what to change."""


class UnclearPerson(QueryError):
    """It is not clear who in a picture is meant.

    Attributes:
        people: whom there is to choose from, as `people_in` gives them; may be nobody.
    """

    def __init__(self, message: str, people: Sequence[tuple[Box, float]]) -> None:
        super().__init__(message)
        self.people = tuple(people)


def people_in(image: Image, detector: Detector, min_confidence: float = SURE) -> list[tuple[Box, float]]:
    """The persons found in a picture.

    Args:
        image: (H, W, 3) RGB.
        detector: finds them.
        min_confidence: below this nobody is offered, in [0, 1].

    Returns:
        xyxy box in pixels and confidence of each, as the detector orders them.
    """
    found = detector.detect([Frame("query", 0, 0.0, image)])[0]
    people = []
    for (left, top, right, bottom), confidence in zip(
        found.xyxy.tolist(), found.confidence.tolist(), strict=True
    ):
        if confidence >= min_confidence:
            people.append(((left, top, right, bottom), confidence))
    return people


def cut_people(
    pictures: Sequence[tuple[Image, Box | None]], names: Sequence[str], config: Config
) -> tuple[list[Image], list[Box | None]]:
    """The person of each picture, cut out; and the boxes that were cut, None for a whole picture.

    Args:
        pictures: RGB pictures, each with the person's box. Without one, a picture of a person's proportions
            is taken whole; in any other exactly one person must be detected.
        names: what messages call the pictures.
        config: names the detector, which is loaded only when it is needed.

    Raises:
        UnclearPerson: nobody or several persons are in a picture without a box.
        QueryError: a box is outside its picture or too small.
    """
    if not pictures:
        raise QueryError("a query by pictures needs at least one picture")
    detector: Detector | None = None
    crops: list[Image] = []
    used: list[Box | None] = []
    for (image, box), name in zip(pictures, names, strict=True):
        if box is None and not _is_person_shaped(image):
            detector = detector or plugins.build("detectors", config.detector)
            box = _only_person(image, name, detector)
        crops.append(cut(image, box or (0, 0, image.shape[1], image.shape[0]), name))
        used.append(box)
    return crops, used


def follow_person(
    frames: Sequence[Frame],
    middle: int,
    box: Box,
    frame_rate: float,
    config: Config,
    hooks: Hooks,
) -> list[Seen]:
    """The person of a box, tracked forward and back from the frame that it was drawn in.

    Args:
        frames: in order of time.
        middle: position of the frame that was pointed at.
        box: xyxy in pixels of that frame, inside it.
        frame_rate: frames a second.
        config: names detector and tracker.
        hooks: told about progress, and when the person is not detected or soon lost.

    Returns:
        Each frame that shows the person with the box, in order; the pointed-at one at least.
    """
    detector: Detector = plugins.build("detectors", config.detector)
    pointed = _pointed_at(frames[middle], box, detector.detect(frames[middle : middle + 1])[0], hooks)
    forward = _follow(frames[middle:], pointed, detector, config, frame_rate, hooks)
    back = _follow(frames[middle::-1], pointed, detector, config, frame_rate, hooks)
    track = back[:0:-1] + forward  # the pointed-at frame is in both
    # A person who leaves the picture ends as a sliver at its border.
    seen = [one for one in track if min(one[1][2:] - one[1][:2]) >= MIN_SIDE_PX] or forward[:1]
    if len(seen) < CLIP_LENGTH:
        hooks.on_note(
            f"the person could be followed for {len(seen)} frames only; a full clip has {CLIP_LENGTH}: "
            "draw the box closely around the person, or choose another moment"
        )
    return seen


def _follow(
    frames: Sequence[Frame],
    pointed: Detections,
    detector: Detector,
    config: Config,
    frame_rate: float,
    hooks: Hooks,
) -> list[Seen]:
    """The boxes of the track that begins at the last of `pointed` in the first frame, until it is lost."""
    tracker: Tracker = plugins.build("trackers", config.tracker, frame_rate=frame_rate)
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
        raise QueryError(f"the box {as_text(box)} is outside the frame of {width}x{height} pixels")
    overlap = box_iou(given.xyxy, detections.xyxy)[0]
    best = int(np.argmax(overlap)) if len(overlap) else -1
    if best >= 0 and overlap[best] >= SAME_PERSON_IOU:
        meant, others = detections.xyxy[best], np.delete(np.arange(len(detections)), best)
    else:
        meant, others = given.xyxy[0], np.arange(len(detections))
        hooks.on_note(f"no person is detected at the box {as_text(box)}; it is taken as it is")
    return Detections(
        np.concatenate([detections.xyxy[others], meant[None]]).astype(np.float32),
        np.concatenate([detections.confidence[others], np.ones(1, np.float32)]).astype(np.float32),
    )


def _only_person(image: Image, name: str, detector: Detector) -> Box:
    people = people_in(image, detector)
    if not people:
        raise UnclearPerson(f"no person is found in {name}; point at one with --box x1,y1,x2,y2", people)
    if len(people) > 1:
        boxes = "; ".join(as_text([round(value) for value in box]) for box, _ in people)
        raise UnclearPerson(f"{len(people)} persons are in {name}; choose one with --box: {boxes}", people)
    return people[0][0]


def cut(image: Image, box: Any, name: str) -> Image:
    """The part of a picture within an xyxy box.

    Raises:
        QueryError: the box is outside, or too small to show a person.
    """
    height, width = image.shape[:2]
    left, top = int(max(0, np.floor(box[0]))), int(max(0, np.floor(box[1])))
    right, bottom = int(min(width, np.ceil(box[2]))), int(min(height, np.ceil(box[3])))
    if right <= left or bottom <= top:
        raise QueryError(f"the box {as_text(box)} is outside the frame of {width}x{height} pixels of {name}")
    if right - left < MIN_SIDE_PX or bottom - top < MIN_SIDE_PX:
        raise QueryError(
            f"the box {as_text(box)} shows {right - left}x{bottom - top} pixels of {name}; "
            f"a person needs {MIN_SIDE_PX}x{MIN_SIDE_PX} at least"
        )
    return image[top:bottom, left:right]


def _is_person_shaped(image: Image) -> bool:
    low, high = PERSON_SHAPE
    return bool(low <= image.shape[0] / image.shape[1] <= high)


def as_text(box: Any) -> str:
    """A box as the command line takes it."""
    return ",".join(f"{value:g}" for value in box)
