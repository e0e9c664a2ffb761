"""PRID-2011: Hirzer et al., "Person Re-Identification by Descriptive and Discriminative Classification",
SCIA 2011.

    ROOT/multi_shot/{cam_a,cam_b}/person_0001/0001.png  or ROOT/prid_2011/multi_shot/...
    ROOT/splits_prid2011.json       optional: [{"train": ["person_0001", ...], "test": [...]}, ...]
    ROOT/train-test people splits/train_test_splits_prid.mat    optional (ls_set, 10 x 178)

Statistics: 2 cameras; 385 people in camera A, 749 in camera B, the first 200 numbers are the same people in
both; 5 to 675 crops a sequence.
Protocol: the usual one tests on the 178 people with long sequences in both cameras, half of them to train
on, over ten random splits; query is camera A, gallery camera B. Papers give the threshold as "more than 21"
(Wang et al., ECCV 2014) or "more than 27" frames, with the same 178 people; here it is `min_frames`, and a
note tells when another number of people remains. With `splits_prid2011.json`, the file of deep-person-reid
(Torchreid), its people are taken as they are; with the `.mat` of Wang et al., as for iLIDS-VID, by positions
among the people of `min_frames`. Without either, split k is a random half by a generator seeded
with k: such numbers are comparable among themselves only.
Source: tugraz.at/institute/icg/research/team-bischof/lrs/downloads/PRID11.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from evaluation.datasets._layout import chosen_split, crop_names, crops, halves, number, required, subfolders
from evaluation.datasets._types import DatasetError, LabelledTracklet, ReidDataset

PUBLISHED = {"train": 178, "query": 89, "gallery": 89}
NUM_SPLITS = 10
_LAST_SHARED = 200
_SOURCE = "unpack prid_2011.zip (the multi-shot version) into this folder"


def load(root: Path, split: int = 0, min_frames: int = 28) -> ReidDataset:
    """Read one split of PRID-2011.

    Args:
        root: holds `multi_shot`, or `prid_2011` with it.
        split: number of the split, from 0.
        min_frames: crops that a person needs in both cameras; used without a split file only.

    Raises:
        DatasetError: a folder is missing, the split file is damaged, or fewer than two people remain.
        ValueError: there is no such split.
    """
    nested = root / "prid_2011" / "multi_shot"
    folder = nested if nested.is_dir() else root / "multi_shot"
    cameras = [required(folder / name, _SOURCE) for name in ("cam_a", "cam_b")]
    path = root / "splits_prid2011.json"
    table = root / "train-test people splits" / "train_test_splits_prid.mat"
    if path.exists():
        trained, tested = _read_split(path, split)
    elif table.exists():
        trained, tested = halves(table, _long_enough(cameras, min_frames), split)
    else:
        trained, tested = _random_halves(_long_enough(cameras, min_frames), split)
    train = tuple(_tracklet(cameras, camid, person) for person in trained for camid in (1, 2))
    query, gallery = (tuple(_tracklet(cameras, camid, person) for person in tested) for camid in (1, 2))
    return ReidDataset("prid2011", train, query, gallery).compared_with(PUBLISHED)


def _read_split(path: Path, split: int) -> tuple[list[str], list[str]]:
    try:
        splits = json.loads(path.read_text(encoding="utf-8"))
        people = [(list(map(str, one["train"])), list(map(str, one["test"]))) for one in splits]
    except (ValueError, TypeError, KeyError) as error:
        raise DatasetError(f'{path} must be a list of {{"train": [names], "test": [names]}}') from error
    return people[chosen_split(split, len(people))]


def _long_enough(cameras: list[Path], min_frames: int) -> list[str]:
    both = set(subfolders(cameras[0])) & set(subfolders(cameras[1]))
    people = [
        person
        for person in sorted(both)
        if number(person, cameras[0]) <= _LAST_SHARED  # above, a number is another person in each camera
        and all(len(crop_names(camera / person)) >= min_frames for camera in cameras)
    ]
    if len(people) < 2:
        raise DatasetError(
            f"{cameras[0].parent}: {len(people)} people have {min_frames} frames in both cameras; {_SOURCE}"
        )
    return people


def _random_halves(people: list[str], split: int) -> tuple[list[str], list[str]]:
    order = np.random.default_rng(chosen_split(split, NUM_SPLITS)).permutation(len(people))
    half = len(people) // 2
    trained, tested = (sorted(people[row] for row in rows) for rows in (order[:half], order[half:]))
    return trained, tested


def _tracklet(cameras: list[Path], camid: int, person: str) -> LabelledTracklet:
    folder = required(cameras[camid - 1] / person, _SOURCE)
    return LabelledTracklet(number(person, cameras[camid - 1]), camid, crops(folder))
