"""One picture to look at, of what was rendered: rows of small pictures, with their boxes."""

import csv
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from evaluation.tracking import read_mot

_CROP = (64, 128)  # width, height on the sheet
_FRAME_WIDTH = 480
_GAP = 6
_WHITE, _GREEN = (255, 255, 255), (80, 220, 60)

Image = NDArray[np.uint8]
_Boxes = NDArray[np.float64]  # (N, 4) xyxy in pixels


def write_contact_sheet(rows: Sequence[Sequence[Image]], sheet: Path) -> None:
    """Write rows of pictures as one.

    Args:
        rows: Pictures `(H, W, 3) uint8` BGR, those of a row equally high.
        sheet: The file, PNG or JPEG by its ending.

    Raises:
        ValueError: there is nothing to show.
        OSError: the file cannot be written.
    """
    strips = [np.hstack([_padded(cell, _GAP, _GAP) for cell in row]) for row in rows if row]
    if not strips:
        raise ValueError(f"there is nothing to show on {sheet}")
    width = max(strip.shape[1] for strip in strips)
    if not cv2.imwrite(str(sheet), np.vstack([_padded(s, 0, width - s.shape[1]) for s in strips])):
        raise OSError(f"the contact sheet {sheet} could not be written")


def tracklet_rows(folder: Path, *, people: int = 12, per_camera: int = 3) -> list[list[Image]]:
    """A row for each of some people of `bbox_train/`, spread over it, with crops of every camera."""
    chosen = _spread(sorted(path for path in folder.glob("*") if path.is_dir()), people)
    return [_crops(person, per_camera) for person in chosen]


def frame_rows(folder: Path, *, frames: int = 12, columns: int = 3) -> list[list[Image]]:
    """Some frames of a set for detectors, spread over it, with their boxes."""
    cells = [_labelled(folder, path) for path in _spread(sorted(folder.glob("images/*/*.jpg")), frames)]
    height = max((cell.shape[0] for cell in cells), default=0)
    cells = [_padded(cell, height - cell.shape[0], 0) for cell in cells]
    return [cells[i : i + columns] for i in range(0, len(cells), columns)]


def world_rows(folder: Path, *, moments: int = 4) -> list[list[Image]]:
    """A row for each camera of a world, a column for each moment; boxes bear the number of the person."""
    with (folder / "people.csv").open(newline="") as file:
        people = {(row["camera"], int(row["track"])): row["person"] for row in csv.DictReader(file)}
    rows = []
    for video in sorted(folder.glob("camera-*.mp4")):
        truth = read_mot(video.with_suffix(".gt.txt"))
        row = []
        for number, picture in _moments(video, moments):
            tracks, boxes = truth.get(number, (np.empty(0, np.int64), np.empty((0, 4))))
            row.append(_boxed(picture, boxes, [people[video.stem, track] for track in tracks.tolist()]))
        rows.append(row)
    return rows


def _spread(paths: list[Path], count: int) -> list[Path]:
    return [paths[i] for i in np.linspace(0, len(paths) - 1, min(count, len(paths))).astype(int)]


def _crops(person: Path, per_camera: int) -> list[Image]:
    tracklets: dict[str, list[Path]] = defaultdict(list)
    for crop in sorted(person.iterdir()):
        tracklets[crop.name.split("F")[0]].append(crop)
    chosen = [crop for crops in tracklets.values() for crop in _spread(crops, per_camera)]
    return [_resized(_read(crop), *_CROP) for crop in chosen]


def _labelled(folder: Path, path: Path) -> Image:
    """A frame with the boxes of its label file, which are shares of its sides."""
    picture = _read(path)
    lines = (folder / "labels" / path.parent.name / f"{path.stem}.txt").read_text().splitlines()
    shares = np.array([line.split()[1:] for line in lines], np.float64).reshape(-1, 2, 2)  # centre, size
    pixels = shares * picture.shape[1::-1]
    boxes = np.concatenate([pixels[:, 0] - pixels[:, 1] / 2, pixels[:, 0] + pixels[:, 1] / 2], axis=1)
    return _boxed(picture, boxes, [""] * len(boxes))


def _moments(video: Path, count: int) -> Iterator[tuple[int, Image]]:
    """Frames of a video with their 0-based numbers, from a tenth of it to nine tenths."""
    capture = cv2.VideoCapture(str(video))
    last = int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) - 1
    wanted = set(np.linspace(0.1 * last, 0.9 * last, count).astype(int).tolist())
    for number in range(last + 1):
        if not capture.grab():
            break
        if number in wanted:
            yield number, np.asarray(capture.retrieve()[1], np.uint8)
    capture.release()


def _boxed(picture: Image, boxes: _Boxes, names: Sequence[str]) -> Image:
    """A picture made small, with boxes and a name at each."""
    scale = _FRAME_WIDTH / picture.shape[1]
    small = _resized(picture, _FRAME_WIDTH, round(picture.shape[0] * scale))
    for (left, top, right, bottom), name in zip((boxes * scale).round().astype(int), names, strict=True):
        cv2.rectangle(small, (left, top), (right, bottom), _GREEN, 1)
        cv2.putText(small, name, (left, top - 3), cv2.FONT_HERSHEY_SIMPLEX, 0.5, _GREEN, 1, cv2.LINE_AA)
    return small


def _read(path: Path) -> Image:
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise ValueError(f"{path} is not a picture")
    return np.asarray(image, np.uint8)


def _resized(image: Image, width: int, height: int) -> Image:
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def _padded(image: Image, below: int, right: int) -> Image:
    return np.asarray(
        cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_CONSTANT, value=_WHITE), np.uint8
    )
