"""One picture to look at: a few people of a tracklet folder, a row each, a column for each camera's crops."""

from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

_CROP = (64, 128)  # width, height on the sheet
_GAP = 6


def write_contact_sheet(folder: Path, sheet: Path, *, rows: int = 12, per_camera: int = 3) -> None:
    """Write a contact sheet of rendered tracklets.

    Args:
        folder: Of folders of people, as `bbox_train/`.
        sheet: The picture to write, PNG or JPEG by its ending.
        rows: Most people to show, evenly spread over the folder.
        per_camera: Crops of each camera.

    Raises:
        FileNotFoundError: the folder holds no crops.
    """
    people = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    people = [people[i] for i in np.linspace(0, len(people) - 1, min(rows, len(people))).astype(int)]
    strips = [_strip(person, per_camera) for person in people]
    if not strips:
        raise FileNotFoundError(f"there are no people to show in {folder}")
    width = max(strip.shape[1] for strip in strips)
    padded = [
        cv2.copyMakeBorder(
            strip, 0, _GAP, 0, width - strip.shape[1], cv2.BORDER_CONSTANT, value=(255, 255, 255)
        )
        for strip in strips
    ]
    if not cv2.imwrite(str(sheet), np.vstack(padded)):
        raise OSError(f"the contact sheet {sheet} could not be written")


def _strip(person: Path, per_camera: int) -> NDArray[np.uint8]:
    """(128, W, 3) BGR of one person, by camera."""
    tracklets: dict[str, list[Path]] = defaultdict(list)
    for crop in sorted(person.iterdir()):
        tracklets[crop.name.split("F")[0]].append(crop)
    gap = np.full((_CROP[1], _GAP, 3), 255, np.uint8)
    cells: list[NDArray[np.uint8]] = []
    for crops in tracklets.values():
        for at in np.linspace(0, len(crops) - 1, min(per_camera, len(crops))).astype(int):
            image = cv2.imread(str(crops[at]), cv2.IMREAD_COLOR)
            if image is None:
                raise ValueError(f"{crops[at]} is not a picture")
            cells.append(np.asarray(cv2.resize(image, _CROP, interpolation=cv2.INTER_AREA), np.uint8))
        cells.append(gap)
    return np.hstack(cells)
