"""DukeMTMC-VideoReID: Wu et al., "Exploit the Unknown Gradually: One-Shot Video-Based Person
Re-Identification by Stepwise Learning", CVPR 2018, cut from DukeMTMC (Ristani et al., 2016).

    ROOT/{train,query,gallery}/0001/0001/0001C6F0099X30823.jpg
    person / tracklet / person, camera, frame of the tracklet, frame of the video; or 0001_C6_F0099_X30823.jpg

Statistics: 8 cameras; train 702 people, 2,196 tracklets, 369,656 crops; test 702 people and 408 distracting
ones, 2,636 tracklets, 445,764 crops, of which 702 tracklets are queries.
Protocol: the folder `query` repeats tracklets of `gallery`; such a query is the gallery's own tracklet here
and so junk to itself. Distractors have numbers of their own, which no query has.
Source: the authors have withdrawn DukeMTMC; use what copy you may.
"""

from __future__ import annotations

import re
from pathlib import Path

from evaluation.datasets._layout import crop_names, number, required, subfolders
from evaluation.datasets._types import DatasetError, LabelledTracklet, ReidDataset

PUBLISHED = {"train": 2196, "query": 702, "gallery": 2636}
_NAME = re.compile(r"\d+_?C(\d+)_?F(\d+)_?X(\d+)\.")

_Keyed = dict[tuple[str, str], LabelledTracklet]


def load(root: Path) -> ReidDataset:
    """Read DukeMTMC-VideoReID.

    Raises:
        DatasetError: a folder is missing or empty, or a file's name does not say its camera.
    """
    train, query, gallery = (_tracklets(root / part) for part in ("train", "query", "gallery"))
    queries = tuple(gallery.get(key, tracklet) for key, tracklet in query.items())
    dataset = ReidDataset("dukemtmc_videoreid", tuple(train.values()), queries, tuple(gallery.values()))
    return dataset.compared_with(PUBLISHED)


def _tracklets(folder: Path) -> _Keyed:
    """Tracklets by the names of their two folders."""
    required(folder, "unpack DukeMTMC-VideoReID into this folder")
    tracklets: _Keyed = {}
    for person in subfolders(folder):
        pid = number(person, folder)
        for track in subfolders(folder / person):
            tracklets[person, track] = _tracklet(folder / person / track, pid)
    if not tracklets:
        raise DatasetError(f"{folder} holds no tracklets such as 0001/0001: unpack the data set again")
    return tracklets


def _tracklet(folder: Path, pid: int) -> LabelledTracklet:
    frames: list[tuple[int, int, str]] = []
    cameras = set()
    for name in crop_names(folder):
        match = _NAME.match(name)
        if match is None:
            raise DatasetError(f"{folder / name} is not named like 0001C6F0099X30823.jpg")
        camera, frame, original = map(int, match.groups())
        cameras.add(camera)
        frames.append((frame, original, name))
    if len(cameras) != 1:
        raise DatasetError(f"{folder} must hold crops of one camera, it has {len(cameras)}")
    return LabelledTracklet(pid, cameras.pop(), tuple(folder / name for _, _, name in sorted(frames)))
