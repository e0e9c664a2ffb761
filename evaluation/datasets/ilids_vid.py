"""iLIDS-VID: Wang et al., "Person Re-Identification by Video Ranking", ECCV 2014.

    ROOT/i-LIDS-VID/sequences/{cam1,cam2}/person001/*.png
    ROOT/train-test people splits/train_test_splits_ilidsvid.mat (ls_set, 10 x 300)

Statistics: 300 people with one sequence in each of 2 cameras of an airport, 22 to 192 crops each, 73 in the
mean; the numbers of the people have gaps.
Protocol: ten splits; of a row of `ls_set` the first half are the people to test with, the rest those to train
on, as positions from 1 among the sorted folders. Query is camera 1, gallery camera 2. Results are
the mean over the ten splits.
Source: xiatian-zhu.github.io/downloads_qmul_iLIDS-VID_ReID_dataset.html.
"""

from __future__ import annotations

from pathlib import Path

from evaluation.datasets._layout import crops, halves, number, required, subfolders
from evaluation.datasets._types import DatasetError, LabelledTracklet, ReidDataset

PUBLISHED = {"train": 300, "query": 150, "gallery": 150}
_SOURCE = "unpack iLIDS-VID.tar into this folder"


def load(root: Path, split: int = 0) -> ReidDataset:
    """Read one split of iLIDS-VID.

    Args:
        root: holds `i-LIDS-VID` and `train-test people splits`.
        split: row of the split file, from 0.

    Raises:
        DatasetError: a folder or the split file is missing, or they do not belong together.
        ValueError: there is no such split.
        ImportError: SciPy, which reads the split file, is not installed.
    """
    cameras = [required(root / "i-LIDS-VID" / "sequences" / f"cam{n}", _SOURCE) for n in (1, 2)]
    path = required(root / "train-test people splits" / "train_test_splits_ilidsvid.mat", _SOURCE)
    people = subfolders(cameras[0])
    if subfolders(cameras[1]) != people:
        raise DatasetError(f"{cameras[0]} and {cameras[1]} must hold the same people: {_SOURCE} again")
    trained, tested = halves(path, people, split)
    train = tuple(_tracklet(cameras, camid, person) for person in trained for camid in (1, 2))
    query, gallery = (tuple(_tracklet(cameras, camid, person) for person in tested) for camid in (1, 2))
    return ReidDataset("ilids_vid", train, query, gallery).compared_with(PUBLISHED)


def _tracklet(cameras: list[Path], camid: int, person: str) -> LabelledTracklet:
    folder = cameras[camid - 1]
    return LabelledTracklet(number(person, folder), camid, crops(folder / person))
