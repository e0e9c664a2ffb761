"""Tracklets rendered by our own factory, in folders like those of MARS but without its tables.

    ROOT/bbox_train/0001/0001C1T0001F001.jpg     person 1, camera 1, track 1 of that camera, frame 1
    ROOT/bbox_test/...                           optional, other people

Statistics: as many as were rendered; every number may have more digits than shown.
Protocol: everything in `bbox_train` is train. If there is a `bbox_test`, the first track of each of its
people in each camera is a query and all its tracks are the gallery. Without one, `holdout` people, those
with the highest numbers, leave the training and are tested the same way.
Source: `run_pipeline.py synthesize tracklets`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from evaluation.datasets._layout import crop_names, grouped, required, subfolders
from evaluation.datasets._types import DatasetError, LabelledTracklet, ReidDataset

_NAME = re.compile(r"(\d+)C(\d+)T(\d+)F(\d+)\.")


def load(root: Path, holdout: int = 0) -> ReidDataset:
    """Read a folder of rendered tracklets.

    Args:
        root: holds `bbox_train`.
        holdout: people of `bbox_train` to test with instead of training on them.

    Raises:
        DatasetError: `bbox_train` is missing or empty, or a file's name does not say who it shows.
        ValueError: `holdout` is below 0, leaves nobody to train on, or there is a `bbox_test` already.
    """
    train = _tracklets(required(root / "bbox_train", "render it with `run_pipeline.py synthesize tracklets`"))
    people = sorted({tracklet.pid for tracklet in train})
    if not 0 <= holdout < len(people):
        raise ValueError(f"holdout must be 0 to {len(people) - 1}, as there are {len(people)} people")
    if (root / "bbox_test").is_dir():
        if holdout:
            raise ValueError(f"{root / 'bbox_test'} holds the people to test with: leave holdout at 0")
        tested = _tracklets(root / "bbox_test")
    else:
        held = set(people[len(people) - holdout :])
        tested = [tracklet for tracklet in train if tracklet.pid in held]
        train = [tracklet for tracklet in train if tracklet.pid not in held]
    return ReidDataset("synthetic", tuple(train), tuple(_queries(tested)), tuple(tested))


def _tracklets(folder: Path) -> list[LabelledTracklet]:
    tracklets = grouped(_crops(folder))
    if not tracklets:
        raise DatasetError(f"{folder} holds no crops such as 0001/0001C1T0001F001.jpg: render them again")
    return tracklets


def _crops(folder: Path) -> Iterator[tuple[Any, int, int, tuple[int], Path]]:
    for person in subfolders(folder):
        for name in crop_names(folder / person):
            match = _NAME.match(name)
            if match is None:
                raise DatasetError(f"{folder / person / name} is not named like 0001C1T0001F001.jpg")
            pid, camid, track, frame = map(int, match.groups())
            yield (pid, camid, track), pid, camid, (frame,), folder / person / name


def _queries(tracklets: Iterable[LabelledTracklet]) -> Iterator[LabelledTracklet]:
    """The first tracklet of each person in each camera."""
    seen: set[tuple[int, int]] = set()
    for tracklet in tracklets:
        key = (tracklet.pid, tracklet.camid)
        if tracklet.pid > 0 and key not in seen:
            seen.add(key)
            yield tracklet
